"""Volumes that cannot follow their pod."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kube.transport import Obj
from operations.refresh.blockers import Blocker, Weight
from operations.refresh.model.values import Pod


@dataclass(frozen=True)
class Volume:
    """A PersistentVolume that is bound to a claim."""

    name: str
    claim: tuple[str, str]
    """Namespace and name."""
    zones: frozenset[str] = frozenset()
    """Zones in which it can be used; empty: everywhere."""
    places: frozenset[str] = frozenset()
    """What else its node affinity asks of a node, as values: the name of a host among them binds it to that host."""
    local: bool = False
    """On the disk of a node, and it does not say of which."""


def volume(obj: Obj) -> Volume | None:
    """A PersistentVolume that is bound; None for any other."""
    spec: Mapping[str, Any] = obj.get("spec") or {}
    claim = spec.get("claimRef")
    if not claim:
        return None
    zones, places = set[str](), set[str]()
    for term in ((spec.get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or []:
        for expression in [*(term.get("matchExpressions") or []), *(term.get("matchFields") or [])]:
            if expression.get("operator", "In") == "In":
                here = zones if str(expression.get("key", "")).endswith("/zone") else places
                here.update(map(str, expression.get("values") or []))
    local = ("local" in spec or "hostPath" in spec) and not places
    key = (str(claim["namespace"]), str(claim["name"]))
    return Volume(obj["metadata"]["name"], key, frozenset(zones), frozenset(places), local)


def blockers(
    pods: Iterable[Pod], volumes: Iterable[Volume], leaving: Collection[str], new_zones: Collection[str]
) -> Iterator[Blocker]:
    """Pods whose volumes stay where they are.

    Args:
        pods: those that have to move.
        leaving: names of the nodes that go. A driver may call a host by any label (kubernetes.io/hostname,
            topology.topolvm.io/node); the value is the name of the node.
        new_zones: zones in which new nodes can be; empty: not known.
    """
    by_claim = {volume.claim: volume for volume in volumes}
    for pod in pods:
        for claim in pod.claims:
            held = by_claim.get((pod.namespace, claim))
            if held is None:
                continue
            if held.local or not held.places.isdisjoint(leaving):
                yield Blocker(
                    f"pod {pod}",
                    f"its volume {held.name} is a disk of {pod.node} and stays behind",
                    "Move the data to a volume that can follow, or remove the pod and its claim",
                    Weight.NEVER,
                )
            elif held.zones and new_zones and held.zones.isdisjoint(new_zones):
                yield Blocker(
                    f"pod {pod}",
                    f"its volume {held.name} is in {', '.join(sorted(held.zones))}, where no new node can be",
                    "Give a new group a subnet of that zone",
                    Weight.NEVER,
                )
