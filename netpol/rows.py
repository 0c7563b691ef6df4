"""Decisions for all flows of a pod class at once.

A row is what one class of pods allows in one direction: a partition of the cells, and for each part the set
of
peers that are allowed. Calico's is made by walking tiers, policies and rules with sets instead of single
flows,
Cilium's by its entries in order of precedence; several engines on one node are intersected.
"""

# ruff: noqa: PLR0911 - one branch per kind of value reads best

from __future__ import annotations

import ipaddress
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from netpol import calico, cilium
from netpol.decide import calico_model, cilium_model
from netpol.packets import Packet, Party
from netpol.selector import All, And, Global, Has, In, Not, NotIn, Or, Selector, Text
from netpol.universe import PortSignature, Universe, bits
from netpol.values import (
    DIRECTIONS,
    EGRESS,
    ICMP,
    ICMP6,
    INGRESS,
    WITH_PORTS,
    CalicoPolicy,
    CalicoRule,
    CidrPeer,
    CiliumPort,
    Entity,
    IcmpType,
    Port,
)
from netpol.world import Engine

Row = tuple[tuple[int, int], ...]
"""(cells, allowed peers) pairs; the cells are disjoint and cover everything."""

Product = tuple[int, int]
"""(cells, peers): every packet of these cells with every one of these peers."""


class LabelIndex:
    """Selectors answered with sets: which members carry which label."""

    def __init__(self, labels: Iterable[tuple[int, Mapping[str, str]]]) -> None:
        self.full = 0
        self.by_key: dict[str, dict[str, int]] = {}
        for member, mapping in labels:
            bit = 1 << member
            self.full |= bit
            for key, value in mapping.items():
                values = self.by_key.setdefault(key, {})
                values[value] = values.get(value, 0) | bit
        self.has = {key: _union(values.values()) for key, values in self.by_key.items()}
        self._cache: dict[Selector, int] = {}

    def find(self, selector: Selector) -> int:
        """The members that the selector matches."""
        found = self._cache.get(selector)
        if found is None:
            found = self._cache[selector] = self._find(selector)
        return found

    def _find(self, selector: Selector) -> int:
        match selector:
            case All() | Global():
                return self.full
            case Has(key):
                return self.has.get(key, 0)
            case In(key, values):
                return self._values(key, values)
            case NotIn(key, values):
                return self.full & ~self._values(key, values)
            case Text(key):
                return _union(m for v, m in self.by_key.get(key, {}).items() if selector.accepts(v))
            case Not(inner):
                return self.full & ~self.find(inner)
            case And(terms):
                out = self.full
                for term in terms:
                    out &= self.find(term)
                return out
            case Or(terms):
                return _union(self.find(term) for term in terms)
        raise TypeError(f"not a selector: {selector!r}")

    def _values(self, key: str, values: Iterable[str]) -> int:
        known = self.by_key.get(key, {})
        return _union(known.get(v, 0) for v in values)


def _union(masks: Iterable[int]) -> int:
    out = 0
    for mask in masks:
        out |= mask
    return out


def refine(parts: Iterable[int], masks: Iterable[int]) -> list[int]:
    """The coarsest partition that is finer than `parts` and than each of `masks`."""
    out = list(parts)
    for mask in masks:
        divided: list[int] = []
        for part in out:
            inside = part & mask
            if inside and inside != part:
                divided.append(inside)
                divided.append(part & ~mask)
            else:
                divided.append(part)
        out = divided
    return out


@dataclass(frozen=True, slots=True)
class CalicoStep:
    """A rule ready for sets: where its subject must be (per family), and what it matches (per port
    signature).
    """

    action: str
    rule: CalicoRule
    policy: CalicoPolicy
    subjects: tuple[tuple[int, int], ...]
    """(cells of a family, pod classes that satisfy the rule's own side in it)."""
    products: Mapping[PortSignature, tuple[Product, ...]]
    names: frozenset[str]

    def at(self, subject: int, signature: PortSignature) -> tuple[Product, ...]:
        """What the rule matches for one pod class."""
        cells = 0
        for family_cells, members in self.subjects:
            if members >> subject & 1:
                cells |= family_cells
        if not cells:
            return ()
        key = tuple(s for s in signature if s[0] in self.names) if self.names else ()
        return tuple((c & cells, p) for c, p in self.products.get(key, ()) if c & cells)


@dataclass(slots=True)
class CalicoStage:
    default_action: str
    policies: list[tuple[CalicoPolicy, int, tuple[CalicoStep, ...]]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Applied:
    """A policy in its place. `bound`: the own sides of its rules differ between the pods that it selects."""

    stage: int
    steps: tuple[CalicoStep, ...]
    bound: bool
    named: bool
    fixed: tuple[tuple[str, tuple[Product, ...]], ...]
    """What the rules match for every pod that the policy selects, when that is the same for all of them."""


class CalicoRows:
    """One world's Calico (or plain Kubernetes) decisions over a universe."""

    def __init__(self, universe: Universe, world: int, *, kubernetes_only: bool = False) -> None:
        self.universe = universe
        self.model = calico_model(universe.worlds[world], kubernetes_only=kubernetes_only)
        self.index = LabelIndex((i, self.model.pod_labels(c.pods[world])) for i, c in enumerate(universe.classes))
        self._selected: dict[tuple[Selector, int], int] = {}
        self._cache: dict[Hashable, Row] = {}
        self.stages = {d: [self._stage(stage, d) for stage in self.model.stages] for d in DIRECTIONS}
        self._policies: dict[str, list[_Applied]] = {d: [] for d in DIRECTIONS}
        self._of_class: dict[str, list[list[int]]] = {d: [[] for _ in universe.classes] for d in DIRECTIONS}
        for direction in DIRECTIONS:
            self._assign(direction)

    def _stage(self, stage: calico.Stage, direction: str) -> CalicoStage:
        out = CalicoStage(stage.default_action)
        for policy in stage.applied(direction):
            selected = self.index.find(self.model.subject(policy))
            if selected:
                out.policies.append((policy, selected, self.steps(policy, direction)))
        return out

    def _assign(self, direction: str) -> None:
        """Which policies apply to which class, by number, in the order of evaluation."""
        for number, stage in enumerate(self.stages[direction]):
            for _, selected, steps in stage.policies:
                bound = any(selected & ~members for s in steps for _, members in s.subjects)
                named = any(s.names for s in steps)
                at = len(self._policies[direction])
                fixed: tuple[tuple[str, tuple[Product, ...]], ...] = ()
                if not bound and not named and selected:
                    first = (selected & -selected).bit_length() - 1
                    fixed = tuple((s.action, p) for s in steps if (p := s.at(first, ())))
                self._policies[direction].append(_Applied(number, steps, bound, named, fixed))
                for subject in bits(selected):
                    self._of_class[direction][subject].append(at)

    def steps(self, policy: CalicoPolicy, direction: str) -> tuple[CalicoStep, ...]:
        return tuple(self._step(r, policy, direction) for r in policy.rules(direction) if r.action != "Log")

    # --- what a selector, an entity and a rule match
    def selected(self, selector: Selector, family: int) -> int:
        """The peers a selector finds: pods by label, and whoever has an address in a matching set."""
        key = (selector, family)
        found = self._selected.get(key)
        if found is None:
            found = self.index.find(selector)
            for network_set, labels in self.model.sets:
                if selector.matches(labels):
                    found |= self.universe.in_networks(network_set.nets, family)
            for node, endpoint in self.model.host_endpoints.items():
                if selector.matches(endpoint.meta.labels):
                    found |= self._host(node) & self.universe.in_networks(endpoint.expected_ips, family)
            self._selected[key] = found
        return found

    def _host(self, name: str) -> int:
        out = 0
        for i, peer in enumerate(self.universe.peers):
            if peer.kind in ("remote", "own") and any(
                n.name == name for nodes in self.universe.node_classes[peer.index].nodes for n in nodes
            ):
                out |= 1 << i
        return out

    def entity(self, entity: Entity, namespace: str, family: int) -> int:
        """The peers that satisfy one side of a rule, ports apart, in flows of the family."""
        universe = self.universe
        wanted, unwanted = calico.entity_selectors(entity, namespace)
        out = universe.all_peers if wanted is None else self.selected(wanted, family)
        if unwanted is not None:
            out &= ~self.selected(unwanted, family)
        if entity.nets:
            out &= universe.in_networks(entity.nets, family)
        if entity.not_nets:
            if not any(n.version == family for n in entity.not_nets):
                return 0
            out &= ~universe.in_networks(entity.not_nets, family)
        return out

    def ports(self, entity: Entity, signature: PortSignature, *, source: bool) -> int:
        """The cells whose port on this side the entity accepts, for an end that declares `signature`."""
        if not entity.ports and not entity.not_ports:
            return self.universe.all_cells
        key = ("ports", entity.ports, entity.not_ports, signature, source)

        def holds(packet: Packet) -> bool:
            port = packet.source_port if source else packet.port
            if entity.ports and not _accepts(entity.ports, signature, packet, port):
                return False
            return not _accepts(entity.not_ports, signature, packet, port)

        return self.universe.cells_where(key, holds)

    def _step(self, rule: CalicoRule, policy: CalicoPolicy, direction: str) -> CalicoStep:
        universe, namespace = self.universe, policy.meta.namespace
        mine, theirs = (rule.destination, rule.source) if direction == INGRESS else (rule.source, rule.destination)
        subject_is_source = direction == EGRESS
        key = (
            "packet",
            rule.protocol,
            rule.not_protocol,
            rule.icmp,
            rule.not_icmp,
            rule.ip_version,
        )
        base = universe.cells_where(key, lambda packet: calico.packet_matches(rule, packet))
        subjects: list[tuple[int, int]] = []
        peers: list[tuple[int, int]] = []
        for family in universe.families:
            cells = base & universe.family_cells[family]
            if cells:
                subjects.append((cells, self.entity(mine, namespace, family) & universe.pod_peers))
                peers.append((cells, self.entity(theirs, namespace, family)))
        names = _names(mine)
        their_groups = universe.signatures_for(_names(theirs))
        service = self._service(theirs, namespace, with_port=subject_is_source)
        products: dict[PortSignature, tuple[Product, ...]] = {}
        for signature in universe.signatures_for(names):
            allowed = self.ports(mine, signature, source=subject_is_source)
            found: list[Product] = []
            for cells, mask in peers:
                for their_signature, group in their_groups.items():
                    matched = cells & allowed & self.ports(theirs, their_signature, source=not subject_is_source)
                    if matched and mask & group:
                        found += _narrow((matched, mask & group), service)
            products[signature] = tuple(found)
        if mine.service is not None:
            # A rule's own side by service: only as if the endpoint's address were listed.
            own = _union(p for _, p in self._service(mine, namespace, with_port=False) or ())
            subjects = [(c, m & own) for c, m in subjects]
        return CalicoStep(rule.action, rule, policy, tuple(subjects), products, names)

    def _service(self, entity: Entity, namespace: str, *, with_port: bool) -> list[Product] | None:
        """The (cells, peers) of a service's endpoints; None when the entity names no service."""
        if entity.service is None:
            return None
        out: list[Product] = []
        for backend in self.model.service_backends(entity, namespace):
            peers = self.universe.in_networks((ipaddress.ip_network(backend.address),), backend.address.version)
            if not with_port:
                out.append((self.universe.all_cells, peers))
                continue
            for protocol, number in backend.ports.values():
                cells = self.universe.cells_where(
                    ("exact", protocol, number),
                    lambda p, protocol=protocol, number=number: (p.protocol, p.port) == (protocol, number),  # type: ignore[misc]
                )
                out.append((cells, peers))
        return out

    # --- rows
    def row(self, subject: int, direction: str) -> Row:
        """What pods of the class allow in the direction."""
        numbers = self._of_class[direction][subject]
        policies = self._policies[direction]
        signature = self.universe.classes[subject].ports
        named = signature if any(policies[n].named for n in numbers) else ()
        sides = tuple(
            members >> subject & 1
            for n in numbers
            if policies[n].bound
            for step in policies[n].steps
            for _, members in step.subjects
        )
        key = (direction, tuple(numbers), named, sides)
        found = self._cache.get(key)
        if found is None:
            found = self._cache[key] = self._row(numbers, direction, subject, signature)
        return found

    def _row(self, numbers: list[int], direction: str, subject: int, signature: PortSignature) -> Row:
        plan: dict[int, list[tuple[str, tuple[Product, ...]]]] = {}
        for number in numbers:
            applied = self._policies[direction][number]
            rules = plan.setdefault(applied.stage, [])
            if not applied.bound and not applied.named:
                rules += applied.fixed
                continue
            for step in applied.steps:
                products = step.at(subject, signature)
                if products:
                    rules.append((step.action, products))
        stages = self.stages[direction]
        ordered = tuple((stages[n].default_action, tuple(rules)) for n, rules in plan.items())
        # Two worlds that say the same thing about a pod share the work.
        row = self.universe.walks.get(ordered)
        if row is None:
            row = self.universe.walks[ordered] = self._walk(ordered)
        if direction == INGRESS:
            own = self.universe.kinds["own"] | self.universe.kinds["local"]
            return tuple((cells, allowed | own) for cells, allowed in row)
        return row

    def _walk(self, plan: tuple[tuple[str, tuple[tuple[str, tuple[Product, ...]], ...]], ...]) -> Row:
        universe = self.universe
        cuts = dict.fromkeys(c for _, rules in plan for _, products in rules for c, _ in products)
        out: list[tuple[int, int]] = []
        for part in refine([universe.all_cells], cuts):
            undecided, allowed = universe.all_peers, 0
            for default_action, rules in plan:
                here, passed = undecided, 0
                for action, products in rules:
                    matched = 0
                    for cells, peers in products:
                        if cells & part:
                            matched |= peers
                    matched &= here
                    if not matched:
                        continue
                    here ^= matched
                    if action == "Allow":
                        allowed |= matched
                    elif action == "Pass":
                        passed |= matched
                undecided = passed | here if default_action == "Pass" else passed
                if not undecided:
                    break
            out.append((part, allowed | undecided))
        return _merged(out)


def _merged(row: list[tuple[int, int]]) -> Row:
    by_peers: dict[int, int] = {}
    for cells, peers in row:
        by_peers[peers] = by_peers.get(peers, 0) | cells
    return tuple((cells, peers) for peers, cells in by_peers.items())


def _narrow(product: Product, service: list[Product] | None) -> list[Product]:
    if service is None:
        return [product]
    return [(product[0] & c, product[1] & p) for c, p in service if product[0] & c and product[1] & p]


def _names(entity: Entity) -> frozenset[str]:
    return frozenset(p.name.lower() for p in (*entity.ports, *entity.not_ports) if p.name)


def _accepts(ports: Iterable[Port], signature: PortSignature, packet: Packet, port: int) -> bool:
    for wanted in ports:
        if wanted.name:
            if (wanted.name.lower(), packet.protocol, port) in signature:
                return True
        elif packet.protocol in WITH_PORTS and wanted.first <= port <= wanted.last:
            return True
    return False


@dataclass(frozen=True, slots=True)
class CiliumStep:
    """An entry ready for sets."""

    entry: cilium.Entry
    products: Mapping[PortSignature, tuple[Product, ...]]
    names: frozenset[str]

    def at(self, signature: PortSignature) -> tuple[Product, ...]:
        key = tuple(s for s in signature if s[0] in self.names) if self.names else ()
        return self.products.get(key, ())


class CiliumRows:
    """One world's Cilium decisions over a universe."""

    def __init__(self, universe: Universe, world: int, entries: Sequence[cilium.Entry] | None = None) -> None:
        self.universe = universe
        self.world = world
        self.model = cilium_model(universe.worlds[world])
        self._parties: dict[int, list[Party]] = {
            f: [universe.party(world, i, f) for i in range(len(universe.peers))] for f in universe.families
        }
        self.subjects = LabelIndex((i, self.model.pod_labels(c.pods[world])) for i, c in enumerate(universe.classes))
        first = next(iter(self._parties.values()))
        self.known = _union(1 << i for i, who in enumerate(first) if self.model.recognised(who))
        self.host = _union(1 << i for i, who in enumerate(first) if self.model.is_host(who))
        self.remote = _union(1 << i for i, who in enumerate(first) if self.model.is_remote_node(who))
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
    def peers(self, peers: cilium.Peers, family: int) -> int:
        key = (peers, family)
        found = self._peer_cache.get(key)
        if found is None:
            found = self._peer_cache[key] = self._peers(peers, family)
        return found

    def _peers(self, peers: cilium.Peers, family: int) -> int:
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
        if options.cidr_match_nodes:
            scope |= self.host | self.remote
        found = 0
        for net in self.model.group_nets(peer):
            if net.prefixlen == 0 and not self.model.dual_stack:
                found |= self._addressed(family)
            else:
                found |= self.universe.in_networks((net,), family)
        return scope & found & ~self.universe.in_networks(peer.excepted, family)

    def _addressed(self, family: int) -> int:
        at = 0 if family == 4 else 1
        return _union(
            1 << i
            for i, p in enumerate(self.universe.peers)
            if p.addresses[at] is not None or p.addresses == (None, None)
        )

    # --- entries
    def step(self, entry: cilium.Entry) -> CiliumStep:
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
    def row(self, subject: int, direction: str) -> Row:
        signature = self.universe.classes[subject].ports
        plan = [(step.entry, step.at(signature)) for selected, step in self.steps[direction] if selected >> subject & 1]
        return self.evaluate(plan, direction)

    def evaluate(self, plan: list[tuple[cilium.Entry, tuple[Product, ...]]], direction: str) -> Row:
        """The row of a pod that these entries (in order of precedence) select."""
        default_deny = self.model.options.always_enforce or any(e.default_deny for e, _ in plan)
        key = (direction, default_deny, tuple((e.tier, e.priority, e.verdict, p) for e, p in plan if p))
        found = self._cache.get(key)
        if found is None:
            found = self._cache[key] = self._walk(plan, direction, default_deny=default_deny)
        return found

    def _walk(self, plan: list[tuple[cilium.Entry, tuple[Product, ...]]], direction: str, *, default_deny: bool) -> Row:
        universe = self.universe
        cuts = dict.fromkeys(c for _, products in plan for c, _ in products)
        otherwise = universe.all_peers if not default_deny else self.host if direction == INGRESS else 0
        out: list[tuple[int, int]] = []
        for part in refine([universe.all_cells], cuts):
            undecided, allowed, tier, passed = universe.all_peers, 0, 0, 0
            for entry, products in plan:
                if entry.tier != tier:
                    undecided, passed, tier = undecided | passed, 0, entry.tier
                matched = 0
                for cells, peers in products:
                    if cells & part:
                        matched |= peers
                matched &= undecided
                if not matched:
                    continue
                undecided ^= matched
                if entry.verdict == "allow":
                    allowed |= matched
                elif entry.verdict == "pass":
                    passed |= matched
            out.append((part, allowed | ((undecided | passed) & otherwise)))
        return _merged(out)


def _ranked(entries: Sequence[cilium.Entry]) -> dict[str, tuple[cilium.Entry, ...]]:
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
        return (port.port.name, packet.protocol, packet.port) in signature
    return port.port.first <= packet.port <= port.port.last


class Rows:
    """The decisions of one of the universe's worlds, whoever enforces on which node."""

    def __init__(self, universe: Universe, world: int) -> None:
        self.universe = universe
        self.world = world
        engines = {e for c in universe.classes for e in c.nodes[world].engines}
        self.calico = CalicoRows(universe, world) if Engine.CALICO in engines else None
        self.kubernetes = CalicoRows(universe, world, kubernetes_only=True) if Engine.KUBERNETES in engines else None
        self.cilium = CiliumRows(universe, world) if Engine.CILIUM in engines else None
        self._rows: dict[tuple[int, str], Row] = {}

    def row(self, subject: int, direction: str) -> Row:
        """What the class allows in the direction, all engines of its node together."""
        key = (subject, direction)
        found = self._rows.get(key)
        if found is None:
            found = self._rows[key] = self._row(subject, direction)
        return found

    def _row(self, subject: int, direction: str) -> Row:
        engines = self.universe.classes[subject].nodes[self.world].engines
        rows: list[Row] = []
        if Engine.CALICO in engines and self.calico is not None:
            rows.append(self.calico.row(subject, direction))
        if Engine.CILIUM in engines and self.cilium is not None:
            rows.append(self.cilium.row(subject, direction))
        if Engine.KUBERNETES in engines and self.kubernetes is not None:
            rows.append(self.kubernetes.row(subject, direction))
        if not rows:
            return ((self.universe.all_cells, self.universe.all_peers),)
        out = rows[0]
        for other in rows[1:]:
            out = _merged([(c & d, p & q) for c, p in out for d, q in other if c & d])
        return out

    def allowed(self, subject: int, direction: str, cells: int, peer: int) -> int:
        """Of these cells, the ones in which the class allows the peer."""
        out = 0
        for part, peers in self.row(subject, direction):
            if peers >> peer & 1:
                out |= part
        return out & cells


__all__ = ["CalicoRows", "CiliumRows", "LabelIndex", "Row", "Rows", "bits", "refine"]
