"""Webhooks that fail closed: while nothing answers, what they are asked about cannot be done."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from kube.transport import Obj
from operations.cluster import objects
from operations.refresh.blockers import Blocker, Weight

WATCHED: Final = (
    ("", "nodes"),
    ("coordination.k8s.io", "leases"),
    ("", "pods"),
    ("", "pods/eviction"),
    ("", "pods/binding"),
    ("", "pods/status"),
    ("storage.k8s.io", "volumeattachments"),
)
"""What a refresh, the scheduler and kubelets must be able to write for a pod to leave one node and run on another."""


@dataclass(frozen=True)
class Hook:
    """A webhook that fails closed and is served from within the cluster."""

    about: str
    """As kind and name, of the webhook and its configuration."""
    service: str
    """`namespace/name`."""
    matched: tuple[str, ...]
    """Of `WATCHED`: the resources that it is asked about."""
    nodes: frozenset[str]
    """With a ready endpoint of the service; "" for endpoints of no node."""


def hooks(configurations: Iterable[Obj], slices: Iterable[Obj]) -> list[Hook]:
    """Every webhook that fails closed on a service.

    Args:
        configurations: validating and mutating ones.
        slices: EndpointSlices of the cluster.
    """
    served: dict[str, set[str]] = {}
    for part in slices:
        service = f"{objects.namespace(part)}/{objects.labels(part).get('kubernetes.io/service-name', '')}"
        served.setdefault(service, set()).update(serving(part))
    found = []
    for configuration in configurations:
        for hook in configuration.get("webhooks") or []:
            service = _service(hook.get("clientConfig") or {})
            if hook.get("failurePolicy", "Fail") == "Fail" and service:
                about = f"webhook {hook['name']} of {objects.name(configuration)}"
                nodes = frozenset(served.get(service, ()))
                found.append(Hook(about, service, tuple(matched_resources(hook)), nodes))
    return found


def _service(client: Obj) -> str:
    """`namespace/name` of the service that is asked, also where a URL leads to one; empty: outside the cluster."""
    service = client.get("service")
    if service:
        return f"{service['namespace']}/{service['name']}"
    parts = (urlsplit(str(client.get("url") or "")).hostname or "").split(".")
    return f"{parts[1]}/{parts[0]}" if len(parts) > 2 and parts[2] == "svc" else ""


def serving(part: Obj) -> set[str]:
    """Nodes with a ready endpoint in an EndpointSlice; "" for endpoints of no node."""
    return {
        str(e.get("nodeName") or "")
        for e in part.get("endpoints") or []
        if (e.get("conditions") or {}).get("ready") is not False
    }


def matched_resources(hook: Obj) -> list[str]:
    """Of what a refresh needs written: the resources that a webhook is asked about."""
    found = []
    for group, resource in WATCHED:
        plain, _, sub = resource.partition("/")
        names = {resource, f"{plain}/*", "*/*"} | ({f"*/{sub}"} if sub else {"*"})
        for rule in hook.get("rules") or []:
            groups, resources = set(rule.get("apiGroups") or []), set(rule.get("resources") or [])
            if groups & {group, "*"} and resources & names:
                found.append(resource)
                break
    return found


def blockers(found: Iterable[Hook], leaving: Collection[str]) -> Iterator[Blocker]:
    """Webhooks that would block the API or the refresh.

    Args:
        leaving: names of the nodes to be replaced.
    """
    for hook in found:
        listed = ", ".join(hook.matched)
        if not hook.nodes:
            yield Blocker(
                hook.about,
                f"fails closed, and service {hook.service} has no ready endpoint",
                "Repair its pods, or remove the webhook",
                Weight.NOT_NOW,
            )
        elif hook.matched and hook.nodes <= set(leaving):
            alone, where = len(hook.nodes) == 1, objects.some(hook.nodes)
            yield Blocker(
                hook.about,
                f"fails closed on {listed}, and is served from {where} alone, which will be replaced",
                "Run it on two nodes or more, or set failurePolicy: Ignore for these"
                if alone
                else "Give it a PodDisruptionBudget, so that one of its pods always answers",
                Weight.NEVER if alone else Weight.NOTE,
            )
