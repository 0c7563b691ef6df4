"""The CiliumEndpoint of a pod or of a node, as Cilium itself would write it, with the bridge's label.

Fields by `pkg/endpoint/endpoint_status.go` and `pkg/endpointmanager/endpointsynchronizer.go` of Cilium 1.20. An id
and a state are what only agents write. No encryption: to legacy nodes nothing is encrypted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final

from bridge.known import Known
from bridge.labels import Labels, NamedPort, in_words
from bridge.names import MARKER, TOUCHED
from bridge.seen import Endpoint, Key, Node, Pod

REMOTE_NODE: Final = 6
"""Cilium's own identity of other nodes."""
_REMOTE_NODE_LABELS: Final = {"reserved:remote-node": ""}


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """An endpoint that should be there."""

    key: Key
    owner_kind: str
    owner_name: str
    owner: str
    """uid."""
    labels: Labels
    """Of its identity."""
    addresses: tuple[str, ...]
    node: str
    """Address of its node."""
    mirrored: Mapping[str, str]
    """The pod's own labels."""
    ports: tuple[NamedPort, ...] = ()
    service_account: str = ""

    @property
    def reserved(self) -> int:
        """The number of an identity that Cilium knows by itself; 0 for pods."""
        return REMOTE_NODE if self.owner_kind == "Node" else 0


def of_pod(known: Known, pod: Pod, addresses: Sequence[str]) -> Wanted | None:
    """The endpoint of a pod with these addresses; None while its namespace or its node's address is not known."""
    labels, node = known.labels(pod), known.nodes.get(pod.node)
    if labels is None or node is None or not node.addresses:
        return None
    return Wanted(
        key=pod.key,
        owner_kind="Pod",
        owner_name=pod.key[1],
        owner=pod.uid,
        labels=labels,
        addresses=tuple(addresses),
        node=_node_address(known, node),
        mirrored=pod.labels,
        ports=pod.ports,
        service_account=pod.service_account,
    )


def of_node(known: Known, node: Node) -> Wanted | None:
    """The entry of a legacy node itself; None while it has no address."""
    addresses = tuple(a for a in node.addresses if (known.cilium.ipv6 if ":" in a else known.cilium.ipv4))
    if not addresses:
        return None
    return Wanted(
        key=known.entry_of(node.name),
        owner_kind="Node",
        owner_name=node.name,
        owner=node.uid,
        labels=_REMOTE_NODE_LABELS,
        addresses=addresses,
        node=_node_address(known, node),
        mirrored={},
    )


def _node_address(known: Known, node: Node) -> str:
    """The one that agents write: of IPv4 where Cilium has it."""
    v4 = [a for a in node.addresses if ":" not in a]
    return (v4 if known.cilium.ipv4 and v4 else node.addresses)[0]


def differs(there: Endpoint, wanted: Wanted, number: int) -> str:
    """What is not as it should be, in a word; empty when all is right."""
    pairs = (
        ("owner", there.owner, wanted.owner),
        ("address", set(there.addresses), set(wanted.addresses)),
        ("identity", there.identity, number),
        ("node", there.node, wanted.node),
        ("named ports", there.ports, wanted.ports),
        ("service account", there.service_account, wanted.service_account),
    )
    return next((word for word, is_, should in pairs if is_ != should), "")


def body(wanted: Wanted, number: int, *, instead_of: Endpoint | None = None, touched: str = "") -> dict[str, Any]:
    """The whole object.

    Args:
        instead_of: what it replaces; nothing else is overwritten.
        touched: value of the annotation by which agents are told again.
    """
    metadata: dict[str, Any] = {
        "name": wanted.key[1],
        "namespace": wanted.key[0],
        "labels": {**wanted.mirrored, MARKER: "true"},
        "ownerReferences": [
            {"apiVersion": "v1", "kind": wanted.owner_kind, "name": wanted.owner_name, "uid": wanted.owner}
        ],
    }
    if touched:
        metadata["annotations"] = {TOUCHED: touched}
    if instead_of is not None:
        metadata |= {"uid": instead_of.uid, "resourceVersion": instead_of.version}
    v4 = [a for a in wanted.addresses if ":" not in a]
    v6 = [a for a in wanted.addresses if ":" in a]
    pairs = [
        {**({"ipv4": four} if four else {}), **({"ipv6": six} if six else {})} for four, six in zip_longest(v4, v6)
    ]
    status: dict[str, Any] = {
        "identity": {"id": number, "labels": in_words(wanted.labels)},
        "networking": {"node": wanted.node, "addressing": pairs},
        "encryption": {},
    }
    if wanted.ports:
        status["named-ports"] = [{"name": p.name, "port": p.number, "protocol": p.protocol} for p in wanted.ports]
    if wanted.service_account:
        status["service-account"] = wanted.service_account
    return {"apiVersion": "cilium.io/v2", "kind": "CiliumEndpoint", "metadata": metadata, "status": status}
