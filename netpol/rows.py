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
    ANYBODY,
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
    NetworkSet,
    Port,
)
from netpol.world import Engine

Row = tuple[tuple[int, int], ...]
"""(cells, allowed peers) pairs; the cells are disjoint and cover everything."""

Product = tuple[int, int]
"""(cells, peers): every packet of these cells with every one of these peers."""


_Rules = tuple[tuple[str, tuple[Product, ...]], ...]
"""Rules in order: action, and what they match."""
_Plan = tuple[str, tuple[tuple[str, tuple[int, ...]], ...]]
"""The direction, and per tier its default action and its policies' rules by number."""


class LabelIndex:
    """Selectors answered with sets: which members carry which label."""

    def __init__(self, labels: Iterable[tuple[int, Mapping[str, str]]]) -> None:
        self._members = [(1 << member, mapping) for member, mapping in labels]
        self.full = _union(bit for bit, _ in self._members)
        self._values: dict[str, dict[str, int]] = {}
        self._cache: dict[Selector, int] = {}

    def values(self, key: str) -> dict[str, int]:
        """Who carries each value of the label. Few of all labels are ever asked for."""
        found = self._values.get(key)
        if found is None:
            found = self._values[key] = {}
            for bit, mapping in self._members:
                value = mapping.get(key)
                if value is not None:
                    found[value] = found.get(value, 0) | bit
        return found

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
                return _union(self.values(key).values())
            case In(key, values):
                return self._one_of(key, values)
            case NotIn(key, values):
                return self.full & ~self._one_of(key, values)
            case Text(key):
                return _union(m for v, m in self.values(key).items() if selector.accepts(v))
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

    def _one_of(self, key: str, values: Iterable[str]) -> int:
        known = self.values(key)
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


def overlay(parts: Sequence[int], others: Sequence[int]) -> list[int]:
    """The common refinement of two partitions (what lies in no part of one is left out)."""
    if len(parts) == 1:
        return [o & parts[0] for o in others if o & parts[0]]
    if set(parts) == set(others):
        return list(parts)
    names: dict[int, int] = {}
    for number, other in enumerate(others):
        for member in bits(other):
            names[member] = number
    out: list[int] = []
    for part in parts:
        divided: dict[int, int] = {}
        for member in bits(part):
            number = names.get(member, -1)
            if number >= 0:
                divided[number] = divided.get(number, 0) | 1 << member
        out += divided.values()
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
    fixed: int
    """What the rules match for every pod that the policy selects, when that is the same for all of them."""


class CalicoRows:
    """One world's Calico (or plain Kubernetes) decisions over a universe."""

    def __init__(self, universe: Universe, world: int, *, kubernetes_only: bool = False) -> None:
        self.universe = universe
        self.model = calico_model(universe.worlds[world], kubernetes_only=kubernetes_only)
        self.index = _calico_labels(universe, world)
        self._as_first = self._sees_as_first()
        self._sets = LabelIndex((i, labels) for i, (_, labels) in enumerate(self.model.sets))
        self._selected: dict[tuple[Selector, int], int] = {}
        self._plans: dict[Hashable, _Plan] = {}
        self.stages = {d: [self._stage(stage, d) for stage in self.model.stages] for d in DIRECTIONS}
        self._policies: dict[str, list[_Applied]] = {d: [] for d in DIRECTIONS}
        self._of_class: dict[str, list[list[int]]] = {d: [[] for _ in universe.classes] for d in DIRECTIONS}
        for direction in DIRECTIONS:
            self._assign(direction)
        # Policies that do not match alike for all pods that they select.
        self._special = {d: {n for n, p in enumerate(self._policies[d]) if p.bound or p.named} for d in DIRECTIONS}

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
                at = len(self._policies[direction])
                self._policies[direction].append(self._applied(number, steps, selected))
                for subject in self.universe.members(selected):
                    self._of_class[direction][subject].append(at)

    def _applied(self, stage: int, steps: tuple[CalicoStep, ...], selected: int) -> _Applied:
        key = ("applied", stage, id(steps), selected)
        found: _Applied | None = self.universe.shared.get(key) if self._as_first else None
        if found is None:
            bound = any(selected & ~members for s in steps for _, members in s.subjects)
            named = any(s.names for s in steps)
            first = (selected & -selected).bit_length() - 1
            fixed = self._intern(steps, first, ()) if not bound and not named else -1
            found = _Applied(stage, steps, bound, named, fixed)
            if self._as_first:
                # The value holds the steps, so their id stays theirs.
                self.universe.shared[key] = found
        return found

    def steps(self, policy: CalicoPolicy, direction: str) -> tuple[CalicoStep, ...]:
        twin = self.universe.twins.get(id(policy)) if self._as_first else None
        key = ("steps", id(twin or policy), direction)
        found: tuple[CalicoStep, ...] | None = self.universe.shared.get(key) if self._as_first else None
        if found is None:
            found = tuple([self._step(r, policy, direction) for r in policy.rules(direction) if r.action != "Log"])
            if self._as_first:
                self.universe.shared[key] = found
        return found

    def _sees_as_first(self) -> bool:
        """Whether equal policies match the same here as in the universe's first world."""
        first = calico_model(self.universe.worlds[0])
        return (
            not self.model.kubernetes_only
            and self.index is self.universe.shared.get((0, "calico labels"))
            and _by_name(self.model.sets) == _by_name(first.sets)
            and self.model.host_endpoints == first.host_endpoints
        )

    # --- what a selector, an entity and a rule match
    def selected(self, selector: Selector, family: int) -> int:
        """The peers a selector finds: pods by label, and whoever has an address in a matching set."""
        key = (selector, family)
        found = self._selected.get(key)
        if found is None:
            found = self.index.find(selector)
            for number in bits(self._sets.find(selector)):
                found |= self.universe.in_networks(self.model.sets[number][0].nets, family)
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
        if entity is ANYBODY:
            return universe.all_peers
        wanted, unwanted = self.model.selectors(entity, namespace)
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
        out = self._port_cells(entity.ports, signature, source=source) if entity.ports else self.universe.all_cells
        return out & ~self._port_cells(entity.not_ports, signature, source=source)

    def _port_cells(self, ports: Iterable[Port], signature: PortSignature, *, source: bool) -> int:
        out = 0
        for wanted in ports:
            if not wanted.name:
                out |= self.universe.ports(wanted.first, wanted.last, source=source)
                continue
            for name, protocol, number in signature:
                if name == wanted.name.lower():
                    out |= self.universe.ports(number, number, source=source) & self.universe.of_protocol(protocol)
        return out

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
    def groups(self, direction: str) -> dict[Hashable, int]:
        """The pod classes by what decides about them; those of one group have one row."""
        out: dict[Hashable, int] = {}
        for subject in range(len(self.universe.classes)):
            key = self._key(subject, direction)
            out[key] = out.get(key, 0) | 1 << subject
        return out

    def _key(self, subject: int, direction: str) -> Hashable:
        policies = self._policies[direction]
        numbers = tuple(self._of_class[direction][subject])
        if self._special[direction].isdisjoint(numbers):
            return numbers
        named = any(policies[n].named for n in numbers)
        sides = tuple(
            members >> subject & 1
            for n in numbers
            if policies[n].bound
            for step in policies[n].steps
            for _, members in step.subjects
        )
        return numbers, self.universe.classes[subject].ports if named else (), sides

    def row(self, subject: int, direction: str) -> Row:
        """What pods of the class allow in the direction."""
        key = self.plan(subject, direction)
        row = self.universe.walks.get(key)
        if row is None:
            rules: list[_Rules] = self.universe.rules
            plan = tuple((action, tuple(r for n in numbers for r in rules[n])) for action, numbers in key[1])
            row = self.universe.walks[key] = self._walk(plan, direction)
        return row

    def plan(self, subject: int, direction: str) -> _Plan:
        """What decides about the class, in order and by number: worlds with equal plans have equal rows."""
        key = (direction, self._key(subject, direction))
        found = self._plans.get(key)
        if found is None:
            found = self._plans[key] = self._plan(subject, direction)
        return found

    def _plan(self, subject: int, direction: str) -> _Plan:
        signature = self.universe.classes[subject].ports
        by_stage: dict[int, list[int]] = {}
        for number in self._of_class[direction][subject]:
            applied = self._policies[direction][number]
            rules = applied.fixed if applied.fixed >= 0 else self._intern(applied.steps, subject, signature)
            by_stage.setdefault(applied.stage, []).append(rules)
        stages = self.stages[direction]
        return direction, tuple((stages[n].default_action, tuple(rules)) for n, rules in by_stage.items())

    def _intern(self, steps: tuple[CalicoStep, ...], subject: int, signature: PortSignature) -> int:
        """A number for what the rules match; the same in every world for the same sets in the same order."""
        rules: _Rules = tuple((s.action, p) for s in steps if (p := s.at(subject, signature)))
        known: list[_Rules] = self.universe.rules
        number = self.universe.interned.setdefault(rules, len(known))
        if number == len(known):
            known.append(rules)
        return number

    def _walk(self, plan: tuple[tuple[str, _Rules], ...], direction: str) -> Row:
        """First match, with sets: what is still undecided, in parts of the cells that split where rules
        divide them.
        """
        universe = self.universe
        kinds = universe.kinds
        always = kinds["own"] | kinds["local"] if direction == INGRESS else 0
        out: list[tuple[int, int]] = []
        reached = [(universe.all_cells, universe.all_peers, 0)]
        for default_action, rules in plan:
            parts = [(cells, undecided, 0, allowed) for cells, undecided, allowed in reached]
            for action, products in rules:
                # Products of one rule share its action, so one after the other they are their union.
                for scope, peers in products:
                    for at in range(len(parts)):
                        cells, here, passed, allowed = parts[at]
                        inside = cells & scope
                        if not inside:
                            continue
                        matched = here & peers
                        if not matched:
                            continue
                        if inside != cells:
                            parts.append((cells ^ inside, here, passed, allowed))
                        if action == "Allow":
                            allowed |= matched
                        elif action == "Pass":
                            passed |= matched
                        parts[at] = (inside, here ^ matched, passed, allowed)
            reached = []
            for cells, here, passed, allowed in parts:
                undecided = passed | here if default_action == "Pass" else passed
                if undecided:
                    reached.append((cells, undecided, allowed))
                else:
                    out.append((cells, allowed | always))
        out += [(cells, allowed | undecided | always) for cells, undecided, allowed in reached]
        return _merged(out)


def _calico_labels(universe: Universe, world: int) -> LabelIndex:
    """The index of Calico's labels; one for all worlds that give their pods the same ones."""
    for other in range(world):
        if (other, "calico labels") in universe.shared and _same_labels(universe, world, other):
            world = other
            break
    key = (world, "calico labels")
    if key not in universe.shared:
        model = calico_model(universe.worlds[world])
        universe.shared[key] = LabelIndex((i, model.pod_labels(c.pods[world])) for i, c in enumerate(universe.classes))
    index: LabelIndex = universe.shared[key]
    return index


def _by_name(sets: Iterable[tuple[NetworkSet, Mapping[str, str]]]) -> dict[tuple[str, str], object]:
    return {(s.meta.namespace, s.meta.name): (s.nets, labels) for s, labels in sets}


def _same_labels(universe: Universe, one: int, other: int) -> bool:
    first, second = universe.worlds[one], universe.worlds[other]
    return (
        first.namespaces == second.namespaces
        and first.service_accounts == second.service_accounts
        and all(c.pods[one] is c.pods[other] for c in universe.classes)
    )


def _merged(row: list[tuple[int, int]]) -> Row:
    """The row in its one form: equal rows are equal values."""
    by_peers: dict[int, int] = {}
    for cells, peers in row:
        by_peers[peers] = by_peers.get(peers, 0) | cells
    return tuple((cells, peers) for peers, cells in sorted(by_peers.items()))


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
            key = (tuple(chosen), signature)
            out[key] = out.get(key, 0) | 1 << subject
        return out

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
        speakers = {Engine.CALICO: self.calico, Engine.CILIUM: self.cilium, Engine.KUBERNETES: self.kubernetes}
        self._speakers = {engine: rows for engine, rows in speakers.items() if rows is not None}

    def row(self, subject: int, direction: str) -> Row:
        """What the class allows in the direction, all engines of its node together."""
        key = (subject, direction)
        found = self._rows.get(key)
        if found is None:
            found = self._rows[key] = self._row(subject, direction)
        return found

    def alike(self, direction: str) -> list[int]:
        """The pod classes in sets of which each has one row."""
        by_engines: dict[frozenset[Engine], int] = {}
        for i, pods in enumerate(self.universe.classes):
            engines = pods.nodes[self.world].engines
            by_engines[engines] = by_engines.get(engines, 0) | 1 << i
        parts: list[int] = []
        for engines, members in by_engines.items():
            divided = [members]
            speakers = (
                (Engine.CALICO, self.calico),
                (Engine.CILIUM, self.cilium),
                (Engine.KUBERNETES, self.kubernetes),
            )
            for engine, rows in speakers:
                if engine in engines and rows is not None:
                    divided = overlay(divided, list(rows.groups(direction).values()))
            parts += divided
        return parts

    def plan(self, subject: int, direction: str) -> Hashable:
        """What decides about the class, where that can be had without deciding; None elsewhere."""
        engines = self.universe.classes[subject].nodes[self.world].engines
        for alone, rows in ((Engine.CALICO, self.calico), (Engine.KUBERNETES, self.kubernetes)):
            if engines == {alone} and rows is not None:
                return rows.plan(subject, direction)
        return None

    def _row(self, subject: int, direction: str) -> Row:
        engines = self.universe.classes[subject].nodes[self.world].engines
        rows = [spoken.row(subject, direction) for engine, spoken in self._speakers.items() if engine in engines]
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
