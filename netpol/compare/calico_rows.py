"""Calico's rows: tiers, policies and rules walked with sets instead of single flows."""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable, Iterable, Mapping

from netpol.compare.calico_shared import CalicoShared
from netpol.compare.calico_steps import Applied, CalicoStep, CalicoTier, Plan, Rules
from netpol.compare.sets import LabelIndex, Product, Row, bits, merged, union
from netpol.compare.universe import PortSignature
from netpol.decide import calico
from netpol.decide.models import calico_model
from netpol.model.selector import Selector
from netpol.model.values import ANYBODY, DIRECTIONS, EGRESS, INGRESS, CalicoPolicy, CalicoRule, Entity, NetworkSet, Port


class CalicoRows:
    """One world's Calico (or plain Kubernetes) decisions over a universe."""

    def __init__(self, shared: CalicoShared, world: int, *, kubernetes_only: bool = False) -> None:
        self.shared = shared
        self.universe = universe = shared.universe
        self.model = calico_model(universe.worlds[world], kubernetes_only=kubernetes_only)
        self.index = shared.labels(world)
        self._as_first = self._sees_as_first()
        self._sets = LabelIndex((i, labels) for i, (_, labels) in enumerate(self.model.sets))
        self._selected: dict[tuple[Selector, int], int] = {}
        self._plans: dict[Hashable, Plan] = {}
        self.tiers = {d: [self._tier(tier, d) for tier in self.model.tiers] for d in DIRECTIONS}
        self._policies: dict[str, list[Applied]] = {d: [] for d in DIRECTIONS}
        self._of_class: dict[str, list[list[int]]] = {d: [[] for _ in universe.classes] for d in DIRECTIONS}
        for direction in DIRECTIONS:
            self._assign(direction)
        # Policies that do not match alike for all pods that they select.
        self._special = {d: {n for n, p in enumerate(self._policies[d]) if p.fixed < 0} for d in DIRECTIONS}
        self._varied: dict[Hashable, int] = {}

    def _tier(self, tier: calico.EvaluatedTier, direction: str) -> CalicoTier:
        out = CalicoTier(tier.default_action)
        for policy in tier.applied(direction):
            selected = self.index.find(self.model.subject(policy))
            if selected:
                out.policies.append((policy, selected, self.steps(policy, direction)))
        return out

    def _assign(self, direction: str) -> None:
        """Which policies apply to which class, by number, in the order of evaluation."""
        for number, tier in enumerate(self.tiers[direction]):
            for _, selected, steps in tier.policies:
                at = len(self._policies[direction])
                self._policies[direction].append(self._applied(number, steps, selected))
                for subject in self.shared.members(selected):
                    self._of_class[direction][subject].append(at)

    def _applied(self, tier: int, steps: tuple[CalicoStep, ...], selected: int) -> Applied:
        key = (tier, id(steps), selected)
        found = self.shared.applied.get(key) if self._as_first else None
        if found is None:
            sides = dict.fromkeys(m & selected for s in steps for _, m in s.subjects if selected & ~m)
            names = frozenset[str]().union(*(s.names for s in steps))
            first = (selected & -selected).bit_length() - 1
            fixed = self._number(steps, first, ()) if not sides and not names else -1
            found = Applied(tier, steps, tuple(sides), names, fixed)
            if self._as_first:
                self.shared.applied[key] = found
        return found

    def steps(self, policy: CalicoPolicy, direction: str) -> tuple[CalicoStep, ...]:
        twin = self.universe.twins.get(id(policy)) if self._as_first else None
        key = (id(twin or policy), direction)
        found = self.shared.steps.get(key) if self._as_first else None
        if found is None:
            found = tuple([self._step(r, policy, direction) for r in policy.rules(direction) if r.action != "Log"])
            if self._as_first:
                self.shared.steps[key] = found
        return found

    def _sees_as_first(self) -> bool:
        """Whether equal policies match the same here as in the universe's first world."""
        first = calico_model(self.universe.worlds[0])
        return (
            not self.model.kubernetes_only
            and self.shared.are_first(self.index)
            and _by_name(self.model.sets) == _by_name(first.sets)
            and self.model.all_host_endpoints == first.all_host_endpoints
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
            for endpoint in self.model.all_host_endpoints:
                if selector.matches(self.model.host_labels(endpoint)):
                    found |= self._host(endpoint.node) & self.universe.in_networks(endpoint.expected_ips, family)
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
            for name, protocol, number, _ in signature:
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
            own = union(p for _, p in self._service(mine, namespace, with_port=False) or ())
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
        signature = self.universe.classes[subject].ports
        special = self._special[direction]
        return numbers, tuple([policies[n].look(subject, signature) for n in numbers if n in special])

    def row(self, subject: int, direction: str) -> Row:
        """What pods of the class allow in the direction."""
        key = self.plan(subject, direction)
        row = self.shared.walks.get(key)
        if row is None:
            rules = self.shared.rules
            plan = tuple((action, tuple(r for n in numbers for r in rules[n])) for action, numbers in key[1])
            row = self.shared.walks[key] = self._walk(plan, direction)
        return row

    def plan(self, subject: int, direction: str) -> Plan:
        """What decides about the class, in order and by number: worlds with equal plans have equal rows."""
        key = (direction, self._key(subject, direction))
        found = self._plans.get(key)
        if found is None:
            found = self._plans[key] = self._plan(subject, direction)
        return found

    def _plan(self, subject: int, direction: str) -> Plan:
        signature = self.universe.classes[subject].ports
        by_tier: dict[int, list[int]] = {}
        for number in self._of_class[direction][subject]:
            applied = self._policies[direction][number]
            rules = applied.fixed
            if rules < 0:
                key = (direction, number, applied.look(subject, signature))
                known = self._varied.get(key)
                if known is None:
                    known = self._varied[key] = self._number(applied.steps, subject, signature)
                rules = known
            by_tier.setdefault(applied.tier, []).append(rules)
        tiers = self.tiers[direction]
        return direction, tuple((tiers[n].default_action, tuple(rules)) for n, rules in by_tier.items())

    def _number(self, steps: tuple[CalicoStep, ...], subject: int, signature: PortSignature) -> int:
        return self.shared.number(tuple((s.action, p) for s in steps if (p := s.at(subject, signature))))

    def _walk(self, plan: tuple[tuple[str, Rules], ...], direction: str) -> Row:
        """First match, with sets: what is still undecided, in parts of the cells that split where rules divide them."""
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
        return merged(out)


def _by_name(sets: Iterable[tuple[NetworkSet, Mapping[str, str]]]) -> dict[tuple[str, str], object]:
    return {(s.meta.namespace, s.meta.name): (s.nets, labels) for s, labels in sets}


def _narrow(product: Product, service: list[Product] | None) -> list[Product]:
    if service is None:
        return [product]
    return [(product[0] & c, product[1] & p) for c, p in service if product[0] & c and product[1] & p]


def _names(entity: Entity) -> frozenset[str]:
    return frozenset(p.name.lower() for p in (*entity.ports, *entity.not_ports) if p.name)
