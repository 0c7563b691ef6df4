"""Cilium's rows: entries in order of precedence, with sets instead of single flows."""

# ruff: noqa: PLR0911 - one branch per kind of value reads best

from __future__ import annotations

import ipaddress
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from netpol.compare.sets import LabelIndex, Product, Row, bits, merged, refine, union
from netpol.compare.universe import PortSignature, Universe
from netpol.decide.cilium_entries import Entry, Peers
from netpol.decide.models import cilium_model
from netpol.model.packets import Packet, Party
from netpol.model.values import DIRECTIONS, ICMP, ICMP6, INGRESS, WITH_PORTS, CidrPeer, CiliumPort, IcmpType
from netpol.model.world import Enforcement

Plan = Sequence[tuple[Entry, tuple[Product, ...]]]
"""Entries in order of precedence, and what each matches of one subject."""


@dataclass(frozen=True, slots=True)
class CiliumStep:
    """An entry ready for sets."""

    entry: Entry
    products: Mapping[PortSignature, tuple[Product, ...]]
    names: frozenset[str]

    def at(self, signature: PortSignature) -> tuple[Product, ...]:
        key = tuple(s for s in signature if s[0] in self.names) if self.names else ()
        return self.products.get(key, ())


class CiliumRows:
    """One world's Cilium decisions over a universe."""

    def __init__(self, universe: Universe, world: int, entries: Sequence[Entry] | None = None) -> None:
        self.universe = universe
        self.world = world
        self.model = cilium_model(universe.worlds[world])
        self._parties: dict[int, list[Party]] = {
            f: [universe.party(world, i, f) for i in range(len(universe.peers))] for f in universe.families
        }
        self.subjects = LabelIndex((i, self.model.pod_labels(c.pods[world])) for i, c in enumerate(universe.classes))
        first = next(iter(self._parties.values()))
        self.known = union(1 << i for i, who in enumerate(first) if self.model.recognised(who))
        self.host = union(1 << i for i, who in enumerate(first) if self.model.is_host(who))
        self.remote = union(1 << i for i, who in enumerate(first) if self.model.is_remote_node(who))
        self.outside = universe.all_peers & ~self.known & ~self.host & ~self.remote
        self.identities = LabelIndex(
            (i, self.model.pod_labels(c.pods[world])) for i, c in enumerate(universe.classes) if self.known >> i & 1
        )
        self._cache: dict[Hashable, Row] = {}
        self._peer_cache: dict[Hashable, int] = {}
        source = self.model.for_pods if entries is None else _ranked(entries)
        self.steps: dict[str, list[tuple[int, CiliumStep]]] = {d: [] for d in DIRECTIONS}
        for direction in DIRECTIONS:
            for entry in source[direction]:
                selected = self.subjects.find(entry.subject)
                if selected:
                    self.steps[direction].append((selected, self.step(entry)))

    # --- peers
    def peers(self, peers: Peers, family: int) -> int:
        key = (peers, family)
        found = self._peer_cache.get(key)
        if found is None:
            found = self._peer_cache[key] = self._peers(peers, family)
        return found

    def _peers(self, peers: Peers, family: int) -> int:
        universe = self.universe
        if peers.every:
            return universe.all_peers
        out = 0
        for selector in peers.selectors:
            out |= self.identities.find(selector)
            for group, labels in self._reserved(family):
                if selector.matches(labels):
                    out |= group
        for entity in peers.entities:
            out |= self._entity(entity, family)
        for cidr in peers.cidrs:
            out |= self._cidr(cidr, family)
        for address in peers.addresses:
            out |= self.outside & universe.in_networks((ipaddress.ip_network(address),), family)
        return out

    def _reserved(self, family: int) -> list[tuple[int, Mapping[str, str]]]:
        world = f"reserved:world-ipv{family}" if self.model.dual_stack else "reserved:world"
        return [
            (self.host, {"reserved:host": ""}),
            (self.remote, {"reserved:remote-node": ""}),
            (self.outside, {world: ""}),
        ]

    @cached_property
    def apiserver(self) -> dict[int, int]:
        nets = self.universe.worlds[self.world].apiserver
        return {f: self.outside & self.universe.in_networks(nets, f) for f in self.universe.families}

    def _entity(self, name: str, family: int) -> int:
        match name:
            case "all":
                return self.universe.all_peers
            case "world":
                return self.outside
            case "world-ipv4" | "world-ipv6":
                return self.outside if self.model.dual_stack and family == int(name[-1]) else 0
            case "host":
                return self.host
            case "remote-node":
                return self.remote
            case "cluster" | "cluster-mesh":
                return self.known | self.host | self.remote | self.apiserver[family]
            case "kube-apiserver":
                return self.apiserver[family]
        return 0

    def _cidr(self, peer: CidrPeer, family: int) -> int:
        options = self.model.options
        scope = self.outside
        if options.cidr_match_pods:
            scope |= self.known
        found = 0
        for net in self.model.group_nets(peer):
            if net.prefixlen == 0 and not self.model.dual_stack:
                found |= self._addressed(family)
            else:
                found |= self.universe.in_networks((net,), family)
        found = scope & found & ~self.universe.in_networks(peer.excepted, family)
        return found | self._nodes(peer, family) if options.cidr_match_nodes else found

    def _nodes(self, peer: CidrPeer, family: int) -> int:
        """The nodes that a CIDR rule finds where the agents let it: others by their address, the own one by any."""
        out = 0
        at = 0 if family == 4 else 1
        for i in bits(self.remote):
            address = self.universe.peers[i].addresses[at]
            if address is not None and self.model.cidr_of_node(peer, (address,)):
                out |= 1 << i
        own = [self.model.cidr_of_host(peer, nodes.nodes[0][self.world]) for nodes in self.universe.node_classes]
        own = own or [self.model.cidr_of_host(peer, None)]
        for i in bits(self.host):
            what = self.universe.peers[i]
            if own[what.index] if what.kind == "own" else any(own):
                out |= 1 << i
        return out

    def _addressed(self, family: int) -> int:
        at = 0 if family == 4 else 1
        return union(
            1 << i
            for i, p in enumerate(self.universe.peers)
            if p.addresses[at] is not None or p.addresses == (None, None)
        )

    # --- entries
    def step(self, entry: Entry) -> CiliumStep:
        universe = self.universe
        names = frozenset(
            p.port.name for p in entry.ports or () if isinstance(p, CiliumPort) and p.port is not None and p.port.name
        )
        ingress = entry.direction == INGRESS
        groups = universe.signatures_for(frozenset() if ingress else names)
        if not ingress and names:
            # Names are looked up in identities: pods without one, and everything else, have no names.
            masked = {s: m & self.known for s, m in groups.items()}
            masked[()] = masked.get((), 0) | (universe.all_peers & ~self.known)
            groups = masked
        products: dict[PortSignature, tuple[Product, ...]] = {}
        for signature in universe.signatures_for(names if ingress else frozenset()):
            found: list[Product] = []
            for family in universe.families:
                peers = self.peers(entry.peers, family)
                for theirs, group in groups.items():
                    cells = universe.family_cells[family] & self.ports(entry.ports, signature if ingress else theirs)
                    if cells and peers & group:
                        found.append((cells, peers & group))
            products[signature] = tuple(found)
        return CiliumStep(entry, products, names if ingress else frozenset())

    def ports(self, ports: tuple[CiliumPort | IcmpType, ...] | None, signature: PortSignature) -> int:
        if ports is None:
            return self.universe.all_cells
        out = 0
        for port in ports:
            named = isinstance(port, CiliumPort) and port.port is not None and bool(port.port.name)
            key = ("cilium", port, signature if named else ())
            out |= self.universe.cells_where(key, lambda p, port=port: _cilium_port(port, signature, p))  # type: ignore[misc]
        return out

    # --- rows
    def groups(self, direction: str) -> dict[Hashable, int]:
        """The pod classes by what decides about them; those of one group have one row."""
        numbers: list[list[int]] = [[] for _ in self.universe.classes]
        for number, (selected, _) in enumerate(self.steps[direction]):
            for subject in bits(selected):
                numbers[subject].append(number)
        names = frozenset[str]().union(*(step.names for _, step in self.steps[direction]))
        out: dict[Hashable, int] = {}
        for subject, chosen in enumerate(numbers):
            signature = tuple(s for s in self.universe.classes[subject].ports if s[0] in names)
            node = self.universe.classes[subject].node_class if self.model.options.cidr_match_nodes else 0
            key = (tuple(chosen), signature, node)
            out[key] = out.get(key, 0) | 1 << subject
        return out

    def row(self, subject: int, direction: str) -> Row:
        signature = self.universe.classes[subject].ports
        plan = [(step.entry, step.at(signature)) for selected, step in self.steps[direction] if selected >> subject & 1]
        row = self.evaluate(plan, direction)
        return self._as_one_host(row, subject) if self.model.options.cidr_match_nodes else row

    def _as_one_host(self, row: Row, subject: int) -> Row:
        """The row in which addresses that a node serves itself are what its own are: one identity to Cilium."""
        universe = self.universe
        node = universe.classes[subject].node_class
        local = universe.kinds["local"]
        if node < 0 or not local:
            return row
        own = 1 << next(i for i in bits(universe.kinds["own"]) if universe.peers[i].index == node)
        return merged([(cells, allowed | local if allowed & own else allowed & ~local) for cells, allowed in row])

    def evaluate(self, plan: Plan, direction: str) -> Row:
        """The row of a pod that these entries (in order of precedence) select."""
        otherwise = self.otherwise(direction, [e for e, _ in plan])
        if self.model.options.enforcement is Enforcement.NEVER:
            plan = ()
        key = (otherwise, tuple((e.tier, e.priority, e.verdict, p) for e, p in plan if p))
        found = self._cache.get(key)
        if found is None:
            found = self._cache[key] = self._walk(plan, otherwise)
        return found

    def _walk(self, plan: Plan, otherwise: int) -> Row:
        universe = self.universe
        cuts = dict.fromkeys(c for _, products in plan for c, _ in products)
        parts = refine([universe.all_cells], cuts)
        return merged([(part, allowed_by(plan, part, universe.all_peers, otherwise)) for part in parts])

    def otherwise(self, direction: str, applied: Sequence[Entry]) -> int:
        """The peers that are allowed where no entry decides, of those that select a pod in a direction."""
        model = self.model
        if model.options.enforcement is Enforcement.NEVER or not model.closes(e.default_deny for e in applied):
            return self.universe.all_peers
        return self.host if direction == INGRESS and model.spares_host(applied) else 0


def allowed_by(plan: Plan, part: int, peers: int, otherwise: int) -> int:
    """Of these peers, the ones that are allowed in cells that no entry of the plan divides.

    Args:
        plan: entries in order of precedence, as one subject has them.
        part: the cells.
        peers: who is asked about.
        otherwise: who is allowed where no entry decides.
    """
    undecided, allowed, tier, passed = peers, 0, 0, 0
    for entry, products in plan:
        if entry.tier != tier:
            undecided, passed, tier = undecided | passed, 0, entry.tier
        if not undecided:
            continue
        matched = 0
        for cells, theirs in products:
            if cells & part:
                matched |= theirs
        matched &= undecided
        if not matched:
            continue
        undecided ^= matched
        if entry.verdict == "allow":
            allowed |= matched
        elif entry.verdict == "pass":
            passed |= matched
    return allowed | ((undecided | passed) & otherwise)


def _ranked(entries: Sequence[Entry]) -> dict[str, tuple[Entry, ...]]:
    order = {"deny": 0, "allow": 1, "pass": 2}
    ranked = sorted(entries, key=lambda e: (e.tier, e.priority, order[e.verdict]))
    return {d: tuple(e for e in ranked if e.direction == d and not e.node) for d in DIRECTIONS}


def _cilium_port(port: CiliumPort | IcmpType, signature: PortSignature, packet: Packet) -> bool:
    if isinstance(port, IcmpType):
        return packet.protocol == (ICMP if port.family == 4 else ICMP6) and port.type in (0, packet.icmp_type)
    if port.protocol is None:
        if packet.protocol not in WITH_PORTS:
            return False
    elif packet.protocol != port.protocol:
        return False
    if port.port is None:
        return True
    if port.port.name:
        return (port.port.name, packet.protocol, packet.port, False) in signature
    return port.port.first <= packet.port <= port.port.last
