"""What takes part in a case: the kinds of everything in the rules that select the end where the case is decided.

Read from the raw objects that the engine got, not from our values of them.
"""

from __future__ import annotations

import re
from typing import Any

from netpol.decide.cilium import CiliumModel
from netpol.decide.cilium_entries import Entry
from netpol.model.identity import in_identity
from netpol.model.packets import Packet, Party
from netpol.model.values import DIRECTIONS
from netpol.model.world import CiliumOptions
from tests.oracles.random_cilium import ENTITIES, Case

KINDS = (
    "CiliumNetworkPolicy",
    "CiliumClusterwideNetworkPolicy",
    "NetworkPolicy",
    "ClusterNetworkPolicy",
    "ingress",
    "egress",
    "ingressDeny",
    "egressDeny",
    "fromEndpoints",
    "toEndpoints",
    "fromCIDR",
    "toCIDR",
    "fromCIDRSet",
    "toCIDRSet",
    "except",
    "cidrGroupRef",
    "cidrGroupSelector",
    "no peers",
    "no ports",
    "icmps",
    "named port",
    "port range",
    "port 0",
    "NetworkPolicy ingress",
    "NetworkPolicy egress",
    "NetworkPolicy without rules",
    "podSelector",
    "namespaceSelector",
    "ipBlock",
    "cluster Accept",
    "cluster Deny",
    "cluster Pass",
    "networks",
    *(f"enableDefaultDeny {d} {on}" for d in DIRECTIONS for on in ("true", "false")),
    *(f"entity {e}" for e in ENTITIES),
    "CIDR of the own node",
    "CIDR of another node",
    "name of the cluster",
)
"""Everything that a campaign must have tried often enough."""
_STEP = re.compile(r"([A-Za-z]+)(?:\[(\d+)\])?")


class Parts:
    """The kinds that take part, per end and direction of one policy set."""

    def __init__(self, case: Case, model: CiliumModel) -> None:
        self.model = model
        self._objects = {
            (o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]): o for o in case.objects
        }
        self._entries = {d: [(e, self._kinds(e)) for e in model.for_pods[d]] for d in DIRECTIONS}
        self._known: dict[tuple[str, str, str], frozenset[str]] = {}

    def at(self, direction: str, subject: Party) -> frozenset[str]:
        assert subject.pod is not None
        key = (direction, subject.pod.namespace, subject.pod.name)
        if key not in self._known:
            labels = self.model.pod_labels(subject.pod)
            found = [kinds for e, kinds in self._entries[direction] if e.subject.matches(labels)]
            self._known[key] = frozenset().union(*found)
        return self._known[key]

    def _kinds(self, entry: Entry) -> frozenset[str]:
        meta = entry.policy
        item = self._objects[meta.kind, meta.namespace, meta.name]
        out = {meta.kind}
        if meta.kind == "NetworkPolicy":
            out.add(f"NetworkPolicy {entry.direction}")
            if "[" not in entry.where:
                return frozenset(out | {"NetworkPolicy without rules"})
        spec, key, rule = _raw(item, entry.where)
        if meta.kind.startswith("Cilium"):
            out.add(key)
            switch = spec.get("enableDefaultDeny", {}).get(entry.direction)
            if switch is not None:
                out.add(f"enableDefaultDeny {entry.direction} {str(switch).lower()}")
            return frozenset(out | _cilium(rule))
        if meta.kind == "ClusterNetworkPolicy":
            out.add(f"cluster {rule['action']}")
        return frozenset(out | _peers(rule) | _ports(rule))


def _raw(item: dict[str, Any], where: str) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """The spec, the field and the rule that `where` names; a path without a spec is in `spec`."""
    found: Any = item if where.startswith("spec") else item["spec"]
    spec, key = found, ""
    for name, index in _STEP.findall(where):
        if name in ("ingress", "egress", "ingressDeny", "egressDeny"):
            spec, key = found, name
        found = found[name] if not index else found[name][int(index)]
    return spec, key, found


def _cilium(rule: dict[str, Any]) -> set[str]:
    out = {name for name in rule if name.endswith(("Endpoints", "CIDR"))}
    if "io.cilium.k8s.policy.cluster" in repr(rule):
        out.add("name of the cluster")
    for side in ("from", "to"):
        out |= {f"entity {e}" for e in rule.get(f"{side}Entities", ())}
        for peer in rule.get(f"{side}CIDRSet", ()):
            out |= {f"{side}CIDRSet", *({"except", "cidrGroupRef", "cidrGroupSelector"} & peer.keys())}
    if not any(name.startswith(("from", "to")) and name != "toPorts" for name in rule):
        out.add("no peers")
    if "icmps" in rule:
        out.add("icmps")
    elif "toPorts" not in rule:
        out.add("no ports")
    return out | {kind for group in rule.get("toPorts", ()) for port in group["ports"] for kind in _port(port)}


def _port(port: dict[str, Any]) -> set[str]:
    out = set()
    if "port" in port and not str(port["port"]).isdigit():
        out.add("named port")
    if str(port.get("port")) == "0":
        out.add("port 0")
    if "endPort" in port:
        out.add("port range")
    return out


def _peers(rule: dict[str, Any]) -> set[str]:
    return {key for side in ("from", "to") for peer in rule.get(side, ()) for key in _keys(peer)}


def _keys(peer: dict[str, Any]) -> set[str]:
    return set(peer) | {key for value in peer.values() if isinstance(value, dict) for key in value}


def _ports(rule: dict[str, Any]) -> set[str]:
    out = {kind for port in rule.get("ports", ()) for kind in _port(port)}
    if any("destinationNamedPort" in port for port in rule.get("protocols", ())):
        out.add("named port")
    return out


OPTIONS = ("enforcement always", "enforcement never", "own node by policy", "labels of identities")


def of_options(options: CiliumOptions) -> set[str]:
    """What of the agents' configuration is not as the chart has it."""
    found = {f"enforcement {options.enforcement.value}"} & set(OPTIONS)
    if not options.local_host_reaches_pods:
        found.add("own node by policy")
    if options.counts is not in_identity:
        found.add("labels of identities")
    return found


def peer_kind(model: CiliumModel, peer: Party, packet: Packet) -> str:
    """What the other end of a case is to Cilium."""
    if model.recognised(peer):
        return "peer pod"
    if model.is_host(peer):
        return "peer host"
    if model.is_remote_node(peer):
        return "peer remote-node"
    if model.is_apiserver(peer, packet.family):
        return "peer kube-apiserver"
    return "peer pod without identity" if peer.pod is not None else "peer world"


def of_nodes(model: CiliumModel, direction: str, subject: Party, peer: Party, family: int) -> set[str]:
    """Whether CIDR rules that select the subject find the node at the other end."""
    assert subject.pod is not None
    if not model.options.cidr_match_nodes or not (model.is_host(peer) or model.is_remote_node(peer)):
        return set()
    labels = model.pod_labels(subject.pod)
    entries = (e for e in model.for_pods[direction] if e.peers.cidrs and e.subject.matches(labels))
    if not any(model.cidr(c, peer, family, subject.node) for e in entries for c in e.peers.cidrs):
        return set()
    return {"CIDR of the own node" if model.is_host(peer) else "CIDR of another node"}


PEERS = ("peer pod", "peer host", "peer remote-node", "peer kube-apiserver", "peer pod without identity", "peer world")
REASONS = (
    "allow rule",
    "deny rule",
    "no rule allows it, and default deny is on",
    "no policy selects the pod in this direction with default deny",
    "the local host reaches its pods unless a rule denies it",
    "the agents are told to enforce no policy",
)
