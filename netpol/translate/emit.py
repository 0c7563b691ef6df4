"""From boxes to Cilium's rules, exactly or not at all."""

# ruff: noqa: PLR0911 - one branch per kind of value reads best

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from netpol.compare.sets import bits
from netpol.decide import calico
from netpol.decide.calico_kubernetes import ORCHESTRATOR
from netpol.model.identity import NAMESPACE, NAMESPACE_LABELS, SERVICE_ACCOUNT, in_identity
from netpol.model.ranges import PORT_MAX, Ranges
from netpol.model.selector import ALL, NOTHING, Has, In, Not, NotIn, Selector, Text, both, either, equals, to_dnf
from netpol.model.values import EXTENDED_PROTOCOLS, ICMP, ICMP6, INGRESS, SCTP, TCP, UDP, WITH_PORTS
from netpol.read.cilium import MAX_ITEMS
from netpol.read.common import is_port_name
from netpol.translate.boxes import FULL, Box, Boxes, UnsayableError
from netpol.translate.cidrs import cidr_set

_NAMES = {TCP: "TCP", UDP: "UDP", SCTP: "SCTP"}
_EXTENDED = {number: name for name, number in EXTENDED_PROTOCOLS.items()}
_MOST_TERMS = 64


@dataclass(frozen=True)
class Draft:
    """One Cilium rule before it is put into a policy: its subject, its one kind of peer, its ports."""

    owner: int
    direction: str
    deny: bool
    default_deny: bool
    subject: tuple[Selector, ...]
    rule: Mapping[str, Any] = field(hash=False)
    origin: str = ""
    expanded: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        side = f"{self.direction}{'Deny' if self.deny else ''}"
        return f"{side} {sorted(map(str, self.subject))} {sorted(map(repr, _flat(self.rule)))}"


def _flat(rule: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(key, repr(value)) for key, value in rule.items()]


class Writer:
    """Writes boxes as drafts, in Cilium's labels, for one world."""

    def __init__(self, boxes: Boxes) -> None:
        self.boxes = boxes
        self.universe = boxes.universe
        self.world = boxes.rows.model.world
        # Families in which pods have addresses of their own; in others they reach bare addresses only.
        self.native = tuple(
            f
            for f in self.universe.families
            if not self.universe.classes
            or any(
                c.addresses == (None, None) or c.addresses[0 if f == 4 else 1] is not None
                for c in self.universe.classes
            )
        )
        self.expanded: set[str] = set()

    # --- selectors
    def literals(self, selector: Selector) -> list[tuple[Selector, ...]]:
        """The selector over Cilium's labels: a disjunction of conjunctions of what Cilium can ask."""
        try:
            terms = to_dnf(self._rewrite(selector))
        except OverflowError as error:
            raise UnsayableError(str(error)) from error
        if len(terms) > _MOST_TERMS:
            raise UnsayableError(f"the selector needs {len(terms)} alternatives")
        return [tuple(term) for term in terms]

    def _rewrite(self, selector: Selector) -> Selector:
        """The same pods in Cilium's labels, without the operators that Cilium lacks."""
        parts = selector.parts()
        if parts:
            inner = [self._rewrite(p) for p in parts]
            if isinstance(selector, Not):
                return NOTHING if inner[0] == ALL else ALL if inner[0] == NOTHING else Not(inner[0])
            return both(*inner) if type(selector).__name__ == "And" else either(*inner)
        if not isinstance(selector, Has | In | NotIn | Text):
            return ALL
        key = selector.key
        if key == ORCHESTRATOR:
            return ALL if selector.matches({key: "k8s"}) else NOTHING
        if key.startswith(calico.ACCOUNT_PREFIX) and key != calico.ACCOUNT_PREFIX + calico.NAME:
            return self._accounts(selector)
        target = _cilium_key(key)
        if target in (NAMESPACE, SERVICE_ACCOUNT) and isinstance(selector, Has):
            return ALL
        if not in_identity(target):
            raise UnsayableError(f"label {key} is not part of Cilium identities")
        if isinstance(selector, Text):
            values = frozenset(v for v in self._values(key) if selector.accepts(v))
            self.expanded.add(key)
            return In(target, values) if values else NOTHING
        if isinstance(selector, Has):
            return Has(target)
        if not selector.values:
            return NOTHING if isinstance(selector, In) else ALL
        return type(selector)(target, selector.values, single=len(selector.values) == 1)

    def _values(self, key: str) -> Iterable[str]:
        """The values that a label has in this world, on pods or their namespaces."""
        return sorted(self.boxes.rows.index.values(key))

    def _accounts(self, selector: Selector) -> Selector:
        """Labels of service accounts are no identity labels: name the accounts that have them instead."""
        (key,) = [selector.key] if isinstance(selector, Has | In | NotIn | Text) else [""]
        self.expanded.add(key)
        found: list[Selector] = []
        for account in self.world.service_accounts:
            labels = {calico.ACCOUNT_PREFIX + k: v for k, v in account.labels.items()}
            if selector.matches(labels):
                found.append(
                    both(
                        equals(NAMESPACE, account.namespace),
                        equals(SERVICE_ACCOUNT, account.name),
                    )
                )
        return either(*found)

    # --- whole boxes
    def drafts(
        self, box: Box, *, owner: int, direction: str, deny: bool, default_deny: bool, origin: str
    ) -> tuple[list[Draft], list[str]]:
        """The drafts that say the box, and what of it they cannot say (then the drafts say less)."""
        self.expanded = set()
        unsaid: list[str] = []
        out: list[Draft] = []
        try:
            subjects = self.literals(box.subject)
        except UnsayableError as error:
            return [], [str(error)]
        for peers in self._peer_rules(box, direction, deny=deny, unsaid=unsaid):
            for subject in subjects:
                out.append(  # noqa: PERF401 - two loops deep, a comprehension hides the order
                    Draft(
                        owner=owner,
                        direction=direction,
                        deny=deny,
                        default_deny=default_deny,
                        subject=subject,
                        rule=peers,
                        origin=origin,
                        expanded=frozenset(self.expanded),
                    )
                )
        return out, unsaid

    def _peer_rules(self, box: Box, direction: str, *, deny: bool, unsaid: list[str]) -> list[dict[str, Any]]:
        """Rules for pods, for nodes and for addresses; one kind of peer each, as Cilium wants it."""
        side = "from" if direction == INGRESS else "to"
        everywhere = self.universe.families
        if box.others.everybody and not (deny and direction == INGRESS):
            return self._with_ports({f"{side}Entities": ["all"]}, box, everywhere, everywhere, unsaid)
        out = self._pods(box, side, unsaid)
        # A node always reaches its own pods, so nothing is said about it on ingress.
        kinds = [("remote", "remote-node")] + ([("own", "host")] if side == "to" else [])
        said: dict[tuple[tuple[int, ...], tuple[int, ...]], list[str]] = {}
        for kind, entity in kinds:
            inside, relevant = self._nodes(box, kind, unsaid)
            if inside:
                said.setdefault((inside, relevant), []).append(entity)
        space = {4: box.others.space[0], 6: box.others.space[1]}
        whole = all(space[f] == FULL[f] for f in everywhere)
        if whole:
            said.setdefault((everywhere, everywhere), []).append("world")
        for (inside, relevant), entities in said.items():
            out += self._with_ports({f"{side}Entities": entities}, box, inside, relevant, unsaid)
        for family in () if whole else everywhere:
            if space[family] and (box.cells & self.universe.family_cells[family] or box.names):
                peers = {f"{side}CIDRSet": cidr_set(space[family], family)}
                out += self._with_ports(peers, box, (family,), (family,), unsaid)
        return out

    def _pods(self, box: Box, side: str, unsaid: list[str]) -> list[dict[str, Any]]:
        """The rule for pods: those the box's selector finds, if the box's addresses cover all of them."""
        others = box.others
        if others.pods == NOTHING or not any(others.pod_space):
            return []
        inside: list[int] = []
        relevant: list[int] = []
        known = [self.universe.classes[i].addresses for i in bits(self.boxes.rows.index.find(others.pods))]
        for family in self.native:
            at = 0 if family == 4 else 1
            space = others.pod_space[at]
            addressed = [a for a in known if a[at] is not None or a == (None, None)]
            if known and not addressed:
                continue
            relevant.append(family)
            within = [space == FULL[family] or ((n := a[at]) is not None and int(n) in space) for a in addressed]
            if all(within) and (within or space == FULL[family]):
                inside.append(family)
            elif any(within):
                unsaid.append("addresses that only some of the pods have: Cilium's CIDR rules do not find pods")
        if not inside:
            return []
        try:
            terms = self.literals(others.pods)
        except UnsayableError as error:
            unsaid.append(str(error))
            return []
        if not terms:
            return []
        peers = {f"{side}Endpoints": [("selector", term) for term in terms]}
        return self._with_ports(peers, box, tuple(inside), tuple(relevant), unsaid)

    def _nodes(self, box: Box, kind: str, unsaid: list[str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The families in which the box covers every node of the kind, and those in which there are any."""
        everyone = self.universe.kinds[kind] | (self.universe.kinds["local"] if kind == "own" else 0)
        inside: list[int] = []
        relevant: list[int] = []
        for family in self.native:
            at = 0 if family == 4 else 1
            addressed = [
                i
                for i in bits(everyone)
                if self.universe.peers[i].addresses[at] is not None or self.universe.peers[i].addresses == (None, None)
            ]
            if not addressed:
                continue
            relevant.append(family)
            covered = self.boxes.peers(box.others, family)
            found = [bool(covered >> i & 1) for i in addressed]
            if all(found):
                inside.append(family)
            elif any(found):
                unsaid.append("only some of the addresses that belong to nodes: to Cilium they are one entity")
        return tuple(inside), tuple(relevant)

    # --- ports
    def _with_ports(
        self,
        peers: dict[str, Any],
        box: Box,
        inside: tuple[int, ...],
        relevant: tuple[int, ...],
        unsaid: list[str],
    ) -> list[dict[str, Any]]:
        """The rule once for its ports and once for its ICMP types, or once without either.

        `inside`: the families in which the box covers these peers; `relevant`: those that the peers have at all, for
        which a rule without an address family is bound to speak.
        """
        bound = sum(self.universe.family_cells[f] for f in relevant)
        cells = box.cells & sum(self.universe.family_cells[f] for f in inside)
        if cells == bound:
            return [dict(peers)]
        # Calico takes names that no pod can declare; they match nothing, and Cilium refuses them.
        declared = [(protocol, name) for protocol, name in sorted(box.names) if is_port_name(name)]
        ports = [{"port": name, "protocol": _NAMES[protocol]} for protocol, name in declared]
        ports += self._ports(cells, bound, unsaid)
        types = self._icmp(cells, bound, unsaid)
        return [
            *({**peers, "toPorts": [{"ports": part}]} for part in _chunks(ports)),
            *({**peers, "icmps": [{"fields": part}]} for part in _chunks(types)),
        ]

    def _ports(self, cells: int, bound: int, unsaid: list[str]) -> list[dict[str, Any]]:
        by_protocol: dict[int, Ranges] = {}
        ported = set(WITH_PORTS)
        for protocol in WITH_PORTS:
            whole: dict[tuple[int, int], bool] = {}
            some: set[tuple[int, int]] = set()
            for i in bits(bound):
                cell = self.universe.cells[i]
                if cell.packet.protocol != protocol:
                    continue
                inside = bool(cells >> i & 1)
                whole[cell.ports] = whole.get(cell.ports, True) and inside
                if inside:
                    some.add(cell.ports)
            if any(not whole[ports] for ports in some):
                unsaid.append("source ports, or ports of one address family only")
            by_protocol[protocol] = Ranges.of(p for p in some if whole[p])
        for i in bits(cells):
            protocol = self.universe.cells[i].packet.protocol
            if protocol not in ported and protocol not in (ICMP, ICMP6):
                name = _EXTENDED.get(protocol)
                if name is None or not self.world.cilium.extended_protocols:
                    unsaid.append(f"IP protocol {protocol} on its own")
        extended = sorted(
            {
                _EXTENDED[self.universe.cells[i].packet.protocol]
                for i in bits(cells)
                if self.universe.cells[i].packet.protocol in _EXTENDED and self.world.cilium.extended_protocols
            }
        )
        out: list[dict[str, Any]] = [{"protocol": name} for name in extended]
        same = len(set(by_protocol.values())) == 1
        for protocol, ranges in by_protocol.items():
            name = "ANY" if same else _NAMES[protocol]
            out += [_port(span, name) for span in ranges]
            if same:
                break
        return out

    def _icmp(self, cells: int, bound: int, unsaid: list[str]) -> list[dict[str, Any]]:
        out: list[dict[str, Any]] = []
        for family, protocol in ((4, ICMP), (6, ICMP6)):
            whole: dict[int, bool] = {}
            some: set[int] = set()
            rest = -1
            mentioned = 0
            for i in bits(bound):
                packet = self.universe.cells[i].packet
                if packet.protocol != protocol:
                    continue
                kind = packet.icmp_type
                inside = bool(cells >> i & 1)
                whole[kind] = whole.get(kind, True) and inside
                some |= {kind} if inside else set()
                mentioned, rest = mentioned + 1, kind
            if not some:
                continue
            if all(whole.values()):
                # Type 0 is the wildcard of Cilium's policy keys, so it stands for every type.
                out.append({"family": f"IPv{family}", "type": 0})
                continue
            if any(not whole[kind] for kind in some):
                unsaid.append("ICMP codes")
            exact = sorted(kind for kind in some if whole[kind])
            if 0 in exact:
                unsaid.append("ICMP type 0 alone, which to Cilium is every type")
                exact.remove(0)
            if rest in exact:
                # The last cell stands for every type that nobody mentions.
                others = [t for t in range(1, 256) if t not in whole or t == rest]
                exact = sorted(set(exact) - {rest} | set(others))
            out += [{"family": f"IPv{family}", "type": kind} for kind in exact]
        return out


def _chunks(items: list[dict[str, Any]]) -> Iterable[list[dict[str, Any]]]:
    return (items[i : i + MAX_ITEMS] for i in range(0, len(items), MAX_ITEMS))


def _port(span: tuple[int, int], protocol: str) -> dict[str, Any]:
    first, last = span
    if (first, last) == (1, PORT_MAX):
        return {"port": "0", "protocol": protocol}
    out: dict[str, Any] = {"port": str(first), "protocol": protocol}
    return out if first == last else out | {"endPort": last}


def _cilium_key(key: str) -> str:
    if key == calico.NAMESPACE or key == calico.NAMESPACE_PREFIX + calico.NAME:
        return NAMESPACE
    if key == calico.ACCOUNT or key == calico.ACCOUNT_PREFIX + calico.NAME:
        return SERVICE_ACCOUNT
    if key.startswith(calico.NAMESPACE_PREFIX):
        return NAMESPACE_LABELS + key.removeprefix(calico.NAMESPACE_PREFIX)
    return key
