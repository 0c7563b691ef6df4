"""Cilium's decision (v1.20): entries without order except for tiers, deny before allow, default deny by switch.

Every policy becomes entries, as in pkg/policy/types/policyentry.go. At an endpoint and in a direction the entries
that select it are asked tier by tier and priority by priority; among equals a deny wins. What nobody matched is
allowed unless an entry switched default deny on. Peers are identities: a pod that Cilium knows is its labels, every
other address is `world` and its CIDRs, and CIDR rules match nothing but `world` (unless the options say otherwise).

Sources: pkg/policy/{repository,l4,mapstate}.go, pkg/policy/utils/parserules.go, pkg/k8s/network_policy.go,
pkg/k8s/cluster_network_policy.go, pkg/k8s/apis/cilium.io/utils/utils.go, pkg/labelsfilter/filter.go.
"""

# ruff: noqa: PLR0911 - one branch per kind of value reads best

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from netpol.decide.calico import within
from netpol.decide.cilium_entries import (
    Entry,
    Peers,
    cluster_entries,
    endpoint_selector,
    in_this_cluster,
    kubernetes_entries,
)
from netpol.decide.cilium_ports import PER_IDENTITY, names, of_cluster
from netpol.model.errors import UndecidableError
from netpol.model.identity import NAMESPACE, identity_labels
from netpol.model.packets import Packet, Party
from netpol.model.ranges import IPAddress, IPNetwork
from netpol.model.selector import Selector, both, equals, keys
from netpol.model.values import (
    DIRECTIONS,
    EGRESS,
    ICMP,
    ICMP6,
    INGRESS,
    WITH_PORTS,
    CidrGroup,
    CidrPeer,
    CiliumPolicy,
    CiliumPort,
    CiliumRule,
    CiliumService,
    CiliumSpec,
    ClusterPolicy,
    IcmpType,
    KubernetesPolicy,
    Meta,
)
from netpol.model.world import CiliumOptions, Enforcement, Node, Pod, Recognition, Rest, World

_INIT = "reserved:init"
_UNNAMED = "default"
"""What Cilium calls a cluster that nobody named."""


_RANK = {"deny": 0, "allow": 1, "pass": 2}


@dataclass(frozen=True, slots=True)
class CiliumRuling:
    """Cilium's answer for one direction at one endpoint."""

    allowed: bool
    entry: Entry | None
    reason: str


class CiliumModel:
    """The world as a Cilium agent sees it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.options: CiliumOptions = world.cilium
        self.groups: list[CidrGroup] = world.of(CidrGroup)
        self.names_of_cluster: list[str] = []
        """Port names that are looked up among all pods; known once `entries` are."""
        self._labels: dict[tuple[str, str], dict[str, str]] = {}

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """Every policy's entries: Cilium's, Kubernetes', and cluster policies where the agents enforce them."""
        out: list[Entry] = []
        for policy in self.world.policies:
            if isinstance(policy, CiliumPolicy):
                out += [e for spec in policy.specs for e in self.own_entries(policy, spec)]
            elif isinstance(policy, KubernetesPolicy):
                out += kubernetes_entries(policy)
            elif isinstance(policy, ClusterPolicy) and self.options.cluster_policies:
                out += cluster_entries(policy)
        self.names_of_cluster = names(out) if self.options.version < PER_IDENTITY else []
        if not self.names_of_cluster:
            return tuple(out)
        if self.world.rest in (Rest.UNKNOWN, Rest.OPEN):
            raise UndecidableError(
                f"before 1.20, Cilium looks up the port names of egress rules ({', '.join(self.names_of_cluster)}) "
                "among all pods of the cluster: give them all and say --whole, or write numbers in the policies"
            )
        return tuple(of_cluster(out, (p for p in self.world.pods if self._has_identity(p))))

    @cached_property
    def for_pods(self) -> dict[str, tuple[Entry, ...]]:
        """The entries with pods as subjects, by direction, in the order of precedence."""
        ranked = sorted((e for e in self.entries if not e.node), key=lambda e: (e.tier, e.priority, _RANK[e.verdict]))
        return {d: tuple(e for e in ranked if e.direction == d) for d in DIRECTIONS}

    # --- identities
    def pod_labels(self, pod: Pod) -> Mapping[str, str]:
        """A pod's identity labels."""
        key = (pod.namespace, pod.name)
        if key not in self._labels:
            of_namespace = pod.namespace_labels
            if of_namespace is None:
                of_namespace = self.world.namespace_labels.get(pod.namespace, {})
            self._labels[key] = identity_labels(
                pod.labels,
                pod.namespace,
                of_namespace,
                pod.service_account,
                self.options.cluster or _UNNAMED,
                counts=self.options.counts,
            )
        return self._labels[key]

    def _has_identity(self, pod: Pod) -> bool:
        return not pod.host_network and self.world.node_of(pod).recognised is not Recognition.WORLD

    def recognised(self, who: Party) -> bool:
        """Whether a pod has an identity; an unrecognised one is `world` to every Cilium node."""
        return who.pod is not None and who.node is not None and who.node.recognised is not Recognition.WORLD

    def labels_of(self, who: Party, family: int) -> Mapping[str, str]:
        """The labels by which selectors can find this end in a flow of the family."""
        if who.pod is not None and self.recognised(who):
            return self.pod_labels(who.pod)
        if self.is_host(who):
            return {"reserved:host": ""}
        if self.is_remote_node(who):
            return {"reserved:remote-node": ""}
        return {f"reserved:world-ipv{family}" if self.dual_stack else "reserved:world": ""}

    def is_host(self, who: Party) -> bool:
        return who.pod is None and who.local

    def is_remote_node(self, who: Party) -> bool:
        return who.pod is None and not who.local and who.node is not None and who.node.is_remote_node

    def is_world(self, who: Party) -> bool:
        return not self.recognised(who) and not self.is_host(who) and not self.is_remote_node(who)

    def is_apiserver(self, who: Party, family: int) -> bool:
        return self.is_world(who) and within(who, self.world.apiserver, family)

    def entity(self, name: str, who: Party, family: int) -> bool:
        """Whether an entity covers this end (pkg/policy/api/entity.go)."""
        match name:
            case "all":
                return True
            case "world":
                return self.is_world(who)
            case "world-ipv4" | "world-ipv6":
                # A single-stack agent has one `world` and no identity of this name.
                return self.dual_stack and self.is_world(who) and family == int(name[-1])
            case "host":
                return self.is_host(who)
            case "remote-node":
                return self.is_remote_node(who)
            case "cluster" | "cluster-mesh":
                return not self.is_world(who) or self.is_apiserver(who, family)
            case "kube-apiserver":
                return self.is_apiserver(who, family)
        return False

    @property
    def dual_stack(self) -> bool:
        return self.world.families == frozenset((4, 6))

    def cidr_applies(self, who: Party) -> bool:
        """CIDR rules look at the world only, unless the agents are told to match nodes or pods as well."""
        if self.is_world(who):
            return True
        return who.pod is not None and self.options.cidr_match_pods

    def cidr_of_node(self, peer: CidrPeer, addresses: Iterable[IPAddress]) -> bool:
        """Whether a CIDR rule finds a node by these addresses (pkg/policy/types/selector.go, CIDRSelector).

        A whole family is `world`, which no node is; a group's networks are labels that a node's addresses inherit.
        """
        nets = [n for n in self.group_nets(peer) if n.prefixlen or peer.cidr is None]
        known = tuple(addresses)
        return _any_in(known, nets) and not _any_in(known, peer.excepted)

    def cidr_of_host(self, peer: CidrPeer, own: Node | None) -> bool:
        """Whether a CIDR rule finds a pod's own node: one identity, with the labels of all of the node's addresses
        (pkg/ipcache/metadata.go, updateReservedHostLabels).
        """
        return self.cidr_of_node(peer, (*(own.addresses if own is not None else ()), *self.world.host_addresses))

    def group_nets(self, peer: CidrPeer) -> tuple[IPNetwork, ...]:
        """The networks that a CIDR peer names; none for a group that does not exist."""
        if peer.cidr is not None:
            return (peer.cidr,)
        if peer.group:
            return tuple(n for g in self.groups if g.meta.name == peer.group for n in g.nets)
        assert peer.group_selector is not None  # noqa: S101
        return tuple(n for g in self.groups if peer.group_selector.matches(g.meta.labels) for n in g.nets)

    def cidr(self, peer: CidrPeer, who: Party, family: int, own: Node | None = None) -> bool:
        if self.options.cidr_match_nodes and self.is_host(who):
            return self.cidr_of_host(peer, who.node or own)
        if self.options.cidr_match_nodes and self.is_remote_node(who):
            return self.cidr_of_node(peer, () if who.address is None else (who.address,))
        if not self.cidr_applies(who):
            return False
        nets = self.group_nets(peer)
        # To a single-stack agent 0.0.0.0/0 and ::/0 are both plain `reserved:world` (pkg/labels/cidr.go).
        whole = not self.dual_stack and any(n.prefixlen == 0 for n in nets)
        return (whole or within(who, nets, family)) and not within(who, peer.excepted, family)

    def peers_match(self, peers: Peers, who: Party, family: int, own: Node | None = None) -> bool:
        """Whether the peers hold this end; `own` is the node of the pod at the other end."""
        if peers.every:
            return True
        labels = self.labels_of(who, family)
        return (
            any(s.matches(labels) for s in peers.selectors)
            or any(self.entity(e, who, family) for e in peers.entities)
            or any(self.cidr(c, who, family, own) for c in peers.cidrs)
            or (self.is_remote_node(who) and who.node is not None and _any(peers.nodes, who.node.labels))
            or (self.is_world(who) and str(who.address) in peers.addresses)
        )

    # --- the decision
    def decide(self, direction: str, subject: Party, peer: Party, packet: Packet) -> CiliumRuling:
        """The ruling at `subject`, which must be a pod."""
        assert subject.pod is not None  # noqa: S101
        if self.options.enforcement is Enforcement.NEVER:
            return CiliumRuling(True, None, "the agents are told to enforce no policy")
        labels = self.pod_labels(subject.pod)
        applied = [e for e in self.for_pods[direction] if e.subject.matches(labels)]
        default_deny = self.closes(e.default_deny for e in applied)
        owner = subject if direction == INGRESS else peer
        skip_below = 0
        for entry in applied:
            if entry.tier < skip_below:
                continue
            if not self.peers_match(entry.peers, peer, packet.family, subject.node):
                continue
            if not self.ports_match(entry, owner, packet):
                continue
            if entry.verdict == "pass":
                skip_below = entry.tier + 1
                continue
            return CiliumRuling(entry.verdict == "allow", entry, f"{entry.verdict} rule")
        if not default_deny:
            return CiliumRuling(True, None, "no policy selects the pod in this direction with default deny")
        if direction == INGRESS and self.spares_host(applied) and self.is_host(peer):
            return CiliumRuling(True, None, "the local host reaches its pods unless a rule denies it")
        deciding = next((e for e in applied if e.default_deny), None)
        return CiliumRuling(False, deciding, "no rule allows it, and default deny is on")

    def closes(self, switches: Iterable[bool]) -> bool:
        """Whether what no rule allows is denied, by the switches of the entries that select a pod in a direction."""
        return self.options.enforcement is Enforcement.ALWAYS or any(switches)

    def spares_host(self, applied: Sequence[object]) -> bool:
        """Whether the local host reaches a pod that denies by default: the engine adds that to the pod's rules, where
        it has any (pkg/policy/repository.go, computePolicyEnforcementAndRules).
        """
        return self.options.local_host_reaches_pods and bool(applied)

    def ports_match(self, entry: Entry, owner: Party, packet: Packet) -> bool:
        """`owner` is the end whose named ports count: the destination, if Cilium knows its ports."""
        if entry.ports is None:
            return True
        return any(self.port_matches(p, entry.direction, owner, packet) for p in entry.ports)

    def port_matches(self, port: CiliumPort | IcmpType, direction: str, owner: Party, packet: Packet) -> bool:
        if isinstance(port, IcmpType):
            protocol = ICMP if port.family == 4 else ICMP6
            # The type travels as the port of the policy key, where zero is the wildcard.
            return packet.protocol == protocol and port.type in (0, packet.icmp_type)
        if port.protocol is None:
            if packet.protocol not in WITH_PORTS:
                return False
        elif packet.protocol != port.protocol:
            return False
        if port.port is None:
            return True
        if not port.port.name:
            return port.port.first <= packet.port <= port.port.last
        if owner.pod is None or (direction == EGRESS and not self.recognised(owner)):
            return False
        return any(
            p.name.lower() == port.port.name
            and (p.protocol, p.number) == (packet.protocol, packet.port)
            and not p.calico_only
            for p in owner.pod.ports
        )

    # --- entries of Cilium's own policies
    def own_entries(self, policy: CiliumPolicy, spec: CiliumSpec) -> list[Entry]:
        """What one spec of a Cilium policy asks for in this world."""
        namespace = policy.meta.namespace
        subject = spec.endpoints if spec.endpoints is not None else spec.nodes
        assert subject is not None  # noqa: S101
        subject = in_this_cluster(subject, self.options.cluster, policy.meta)
        if namespace:
            subject = both(equals(NAMESPACE, namespace), subject)
        init = spec.endpoints is not None and _INIT in keys(spec.endpoints)
        out: list[Entry] = []
        for rule in spec.rules:
            switch = spec.default_deny.get(rule.direction)
            ports: tuple[CiliumPort | IcmpType, ...] | None = None
            if rule.ports is not None or rule.icmps is not None:
                ports = (*(rule.ports or ()), *(rule.icmps or ()))
            peers = self._peers(rule, namespace, policy.meta, init=init)
            out.append(
                Entry(
                    direction=rule.direction,
                    verdict="deny" if rule.deny else "allow",
                    subject=subject,
                    peers=peers,
                    ports=ports,
                    default_deny=True if switch is None else switch,
                    node=spec.nodes is not None,
                    l7=rule.l7,
                    policy=policy.meta,
                    where=rule.where,
                    place=rule.place,
                )
            )
        return out

    def _peers(self, rule: CiliumRule, namespace: str, meta: Meta, *, init: bool) -> Peers:
        if rule.domains:
            raise UndecidableError(f"{meta} {rule.where}: toFQDNs depends on DNS answers, which nobody can prove")
        if rule.groups:
            raise UndecidableError(f"{meta} {rule.where}: groups are resolved by a cloud provider at run time")
        if rule.nodes is not None and rule.nodes:
            raise UndecidableError(
                f"{meta} {rule.where}: fromNodes and toNodes need node selector labels, which are off by default"
            )
        if _no_peer_lists(rule):
            # No peers: everybody, if ports are given; with neither, the rule matches nobody (mergeL4Filter).
            return Peers(every=rule.ports is not None or rule.icmps is not None)
        found = [self._service_peers(s, namespace) for s in rule.services or ()]
        return Peers(
            selectors=(
                *(
                    in_this_cluster(endpoint_selector(s, namespace, init=init), self.options.cluster, meta)
                    for s in rule.endpoints or ()
                ),
                *(s for part in found for s in part.selectors),
            ),
            entities=frozenset(rule.entities or ()),
            cidrs=rule.cidrs or (),
            addresses=frozenset(a for part in found for a in part.addresses),
        )

    def _service_peers(self, wanted: CiliumService, namespace: str) -> Peers:
        """toServices: pods by the service's selector, addresses for a service that has none."""
        selectors: list[Selector] = []
        addresses: list[str] = []
        for service in self.world.services:
            if wanted.selector is not None:
                hit = wanted.selector.matches(service.labels) and wanted.namespace in ("", service.namespace)
            else:
                hit = wanted.name == service.name and (wanted.namespace or namespace) == service.namespace
            if not hit:
                continue
            if service.selector:
                labels = {NAMESPACE: service.namespace, **service.selector}
                selectors.append(both(*(equals(k, v) for k, v in sorted(labels.items()))))
            else:
                addresses += [str(b.address) for b in self.world.backends(service)]
        return Peers(selectors=tuple(selectors), addresses=frozenset(addresses))


def _any_in(addresses: Iterable[IPAddress], nets: Iterable[IPNetwork]) -> bool:
    listed = tuple(nets)
    return any(a.version == n.version and a in n for a in addresses for n in listed)


def _any(selectors: tuple[Selector, ...], labels: Mapping[str, str]) -> bool:
    return any(s.matches(labels) for s in selectors)


def _no_peer_lists(rule: CiliumRule) -> bool:
    return all(part is None for part in (rule.endpoints, rule.nodes, rule.entities, rule.cidrs, rule.services))
