"""Whether Cilium knows the pods of legacy nodes, read from pods, identities and endpoints alone. Pure.

A pod is recognised when one endpoint says its addresses and its node, and the identity that it names has the pod's
labels. Whoever wrote them is not asked: this is what agents read (Cilium 1.20, pkg/k8s/watchers/cilium_endpoint.go).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kube.transport import Obj
from netpol.model.identity import identity_labels
from netpol.model.world import CiliumOptions
from operations.cluster import objects

SOURCE = "k8s:"


@dataclass(frozen=True)
class Stranger:
    """A pod of a legacy node that Cilium does not know, or takes for somebody else."""

    pod: str
    """namespace/name"""
    why: str


def expected_labels(pod: Obj, namespace: Mapping[str, str], options: CiliumOptions) -> dict[str, str]:
    """Labels of the identity of a pod.

    Args:
        pod: the object.
        namespace: labels of its namespace.
        options: of the agents.
    """
    account = pod["spec"].get("serviceAccountName") or ""
    own, where = objects.labels(pod), objects.namespace(pod)
    return identity_labels(own, where, namespace, account, options.cluster, counts=options.counts)


def to_be_known(pods: Iterable[Obj], nodes: Iterable[Obj]) -> list[Obj]:
    """The pods that need an identity: of legacy nodes, with an address of their own, not over yet."""
    legacy = {objects.name(n) for n in nodes if objects.is_legacy(n)}
    return [
        pod
        for pod in pods
        if objects.node_of(pod) in legacy
        and not objects.host_network(pod)
        and _addresses(pod)
        and not objects.is_over(pod)
    ]


def strangers(
    pods: Iterable[Obj],
    namespaces: Mapping[str, Mapping[str, str]],
    endpoints: Iterable[Obj],
    identities: Iterable[Obj],
    options: CiliumOptions,
) -> Iterator[Stranger]:
    """Of the pods, those that are not recognised.

    Args:
        pods: from `to_be_known`.
        namespaces: name -> labels.
        endpoints: every CiliumEndpoint.
        identities: every CiliumIdentity.
        options: of the agents.
    """
    labels_of = {objects.name(i): _labels(i) for i in identities}
    by_name = {objects.key(e): e for e in endpoints}
    holders: dict[str, list[str]] = defaultdict(list)
    for key, endpoint in by_name.items():
        for address in _said(endpoint):
            holders[address].append(key)
    for pod in pods:
        key = objects.key(pod)
        why = _why(pod, by_name.get(key), holders, labels_of)
        if not why:
            wanted = expected_labels(pod, namespaces.get(objects.namespace(pod), {}), options)
            why = _unlike(wanted, labels_of[_identity(by_name[key])])
        if why:
            yield Stranger(key, why)


def _why(
    pod: Obj, endpoint: Obj | None, holders: Mapping[str, list[str]], labels_of: Mapping[str, Mapping[str, str]]
) -> str:
    if endpoint is None:
        return "has no CiliumEndpoint"
    owners = {str(o.get("uid")) for o in endpoint["metadata"].get("ownerReferences") or []}
    addresses, identity = _addresses(pod), _identity(endpoint)
    others = sorted({key for a in addresses for key in holders[a]} - {objects.key(pod)})
    faults = (
        ("has a CiliumEndpoint of an earlier pod of its name", owners and pod["metadata"].get("uid") not in owners),
        (
            f"has {', '.join(sorted(addresses - _said(endpoint)))}, which its CiliumEndpoint does not say",
            addresses - _said(endpoint),
        ),
        (
            "has a CiliumEndpoint that names another node",
            str(_networking(endpoint).get("node") or "") != str(pod["status"].get("hostIP") or ""),
        ),
        (f"shares an address with the CiliumEndpoint {', '.join(others[:1])}", others),
        (f"has the identity {identity or 'none'}, for which there is no CiliumIdentity", identity not in labels_of),
    )
    return next((text for text, holds in faults if holds), "")


def _unlike(wanted: Mapping[str, str], found: Mapping[str, str]) -> str:
    keys = sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))
    return f"has an identity with other labels: {objects.some(keys)}" if keys else ""


def _addresses(pod: Obj) -> set[str]:
    status = pod.get("status") or {}
    listed = [str(item.get("ip") or "") for item in status.get("podIPs") or []]
    return {a for a in (*listed, str(status.get("podIP") or "")) if a}


def _networking(endpoint: Obj) -> Mapping[str, Any]:
    return (endpoint.get("status") or {}).get("networking") or {}


def _said(endpoint: Obj) -> set[str]:
    pairs = _networking(endpoint).get("addressing") or []
    return {str(pair[family]) for pair in pairs for family in ("ipv4", "ipv6") if pair.get(family)}


def _identity(endpoint: Obj) -> str:
    return str(((endpoint.get("status") or {}).get("identity") or {}).get("id") or "")


def _labels(identity: Obj) -> dict[str, str]:
    """Of the source `k8s`: Cilium's own additions of other sources decide nothing about a selector for pods."""
    found = identity.get("security-labels") or {}
    return {k.removeprefix(SOURCE): str(v) for k, v in found.items() if k.startswith(SOURCE)}
