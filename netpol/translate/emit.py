"""From boxes to Cilium's rules, exactly or not at all."""

# ruff: noqa: PLR0911 - one branch per kind of value reads best

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from netpol.compare.sets import bits, union
from netpol.decide import calico
from netpol.decide.calico_kubernetes import ORCHESTRATOR
from netpol.model.identity import NAMESPACE, NAMESPACE_LABELS, SERVICE_ACCOUNT, is_key, is_value
from netpol.model.ranges import Ranges, of_networks
from netpol.model.selector import ALL, NOTHING, Has, In, Not, NotIn, Selector, Text, both, either, equals, to_dnf
from netpol.model.values import INGRESS, NetworkSet
from netpol.translate.boxes import FULL, Box, Boxes, UnsayableError
from netpol.translate.cidrs import cidr_set
from netpol.translate.groups import Groups
from netpol.translate.ports import ONE_FAMILY, Ports

_MOST_TERMS = 64
_CIDR_SETS = ("fromCIDRSet", "toCIDRSet")
PODS, NODES, REST = "pods", "nodes", "rest"
_Said = dict[tuple[int, tuple[int, ...]], list[str]]
"""Entities by the cells in which they are meant, and the families that they have."""


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
    copied: frozenset[str] = frozenset()
    """Objects of which the rule holds a copy: it has to be made anew when they change."""

    @property
    def groups(self) -> set[str]:
        """The CIDR groups that the rule names."""
        sets = (peer for side in _CIDR_SETS for peer in self.rule.get(side, ()))
        return {peer["cidrGroupRef"] for peer in sets if "cidrGroupRef" in peer}

    @property
    def key(self) -> str:
        side = f"{self.direction}{'Deny' if self.deny else ''}"
        return f"{side} {sorted(map(str, self.subject))} {sorted(map(repr, _flat(self.rule)))}"


@dataclass(frozen=True)
class Part:
    """Rules about one kind of peers, and what of a box they cannot say (then they say less)."""

    kind: str
    rules: tuple[Mapping[str, Any], ...]
    unsaid: tuple[str, ...]
    copied: frozenset[str] = frozenset()


def _flat(rule: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(key, repr(value)) for key, value in rule.items()]


class Writer:
    """Writes boxes as drafts, in Cilium's labels, for one world."""

    def __init__(self, boxes: Boxes, groups: Groups) -> None:
        self.boxes = boxes
        self.groups = groups
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
        self.ports = Ports(self.universe, extended=self.world.cilium.extended_protocols)
        self.finds_nodes = self.world.cilium.cidr_match_nodes
        self.expanded: set[str] = set()
        self._literals: dict[Selector, tuple[list[tuple[Selector, ...]], frozenset[str]]] = {}

    # --- selectors
    def literals(self, selector: Selector) -> list[tuple[Selector, ...]]:
        """The selector over Cilium's labels: a disjunction of conjunctions of what Cilium can ask."""
        found = self._literals.get(selector)
        if found is None:
            known, self.expanded = self.expanded, set()
            try:
                found = self._literals[selector] = (self._terms(selector), frozenset(self.expanded))
            finally:
                self.expanded |= known
        terms, expanded = found
        self.expanded |= expanded
        return terms

    def _terms(self, selector: Selector) -> list[tuple[Selector, ...]]:
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
        if not self.world.cilium.counts(target):
            raise UnsayableError(f"label {key} is not part of Cilium identities")
        if isinstance(selector, Text):
            values = frozenset(v for v in self._values(key) if selector.accepts(v))
            self.expanded.add(key)
            return In(target, values) if values else NOTHING
        # The API server refuses selectors by labels that it gives to nobody.
        if not is_key(key.removeprefix(calico.NAMESPACE_PREFIX)):
            return ALL if isinstance(selector, NotIn) else NOTHING
        if isinstance(selector, Has):
            return Has(target)
        values = frozenset(filter(is_value, selector.values))
        if not values:
            return NOTHING if isinstance(selector, In) else ALL
        return type(selector)(target, values, single=len(values) == 1)

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
    def drafts(self, part: Part, subject: Selector, like: Draft) -> list[Draft]:
        """The part's rules for whoever the selector finds. Raises UnsayableError where Cilium cannot select them."""
        return [
            replace(like, subject=term, rule=rule, expanded=frozenset(self.expanded), copied=like.copied | part.copied)
            for rule in part.rules
            for term in self.literals(subject)
        ]

    def parts(self, box: Box, direction: str, *, deny: bool, sets: Sequence[NetworkSet] = ()) -> list[Part]:
        """Rules for pods, for nodes and for addresses; one kind of peer each, as Cilium wants it.

        `sets`: the network sets that the rule finds, which are named where the box holds all of their addresses.
        """
        side = _side(direction)
        everywhere = self.universe.families
        if box.others.everybody and not (deny and direction == INGRESS):
            unsaid: list[str] = []
            rules = self.ports.rules({f"{side}Entities": ["all"]}, box.cells, box.names, everywhere, unsaid)
            if not unsaid:
                return [Part(REST, tuple(rules), ())]
        nodes: list[str] = []
        said = self._entities([box], direction, nodes)
        space = {4: box.others.space[0], 6: box.others.space[1]}
        rest: list[dict[str, Any]] = []
        whole = self._whole(box)
        if whole:
            said.setdefault((box.cells, everywhere), []).append("world")
        named = self._named(said, [box], side, nodes)
        copied: frozenset[str] = frozenset()
        if not whole:
            space, found, copied = self._sets(box, side, space, sets)
            rest += found
        for family in () if whole else everywhere:
            cells = box.cells & self.universe.family_cells[family]
            if space[family] and (cells or box.names):
                peers = {f"{side}CIDRSet": cidr_set(space[family], family, world=not self.finds_nodes)}
                rest += self.ports.rules(peers, cells, box.names, (family,), [])
        return [
            self._pods([box], direction),
            Part(NODES, tuple(named), tuple(nodes)),
            Part(REST, tuple(rest), (), copied),
        ]

    def _sets(
        self, box: Box, side: str, space: dict[int, Ranges], sets: Sequence[NetworkSet]
    ) -> tuple[dict[int, Ranges], list[dict[str, Any]], frozenset[str]]:
        """What is left of the space, the rules that name sets for the rest of it, and the sets that are written out."""
        named = self.groups.named(sets, box.others.space)
        rules: list[dict[str, Any]] = []
        families = tuple(f for f in self.universe.families if any(of_networks(s.nets, f) for s in named))
        if families:
            unsaid: list[str] = []
            peers = {f"{side}CIDRSet": [{"cidrGroupRef": self.groups.names[s.meta]} for s in named]}
            rules = self.ports.rules(peers, box.cells, box.names, families, unsaid)
            if unsaid:
                rules, named = [], []
        left = {f: r - of_networks([n for s in named for n in s.nets], f) for f, r in space.items()}
        written = [s for s in sets if s not in named and any(of_networks(s.nets, f) & left[f] for f in left)]
        return left, rules, frozenset(str(s.meta) for s in written)

    def joint(self, kind: str, boxes: Sequence[Box], direction: str) -> Part:
        """What boxes with one subject say together of pods (that one selector finds) or of nodes."""
        if kind == PODS:
            return self._pods(boxes, direction)
        unsaid: list[str] = []
        said = self._entities(boxes, direction, unsaid)
        return Part(NODES, tuple(self._named(said, boxes, _side(direction), unsaid)), tuple(unsaid))

    def _whole(self, box: Box) -> bool:
        """Whether the box holds the whole world, alike in every family, so that one rule without a family says it."""
        unsaid: list[str] = []
        everywhere = self.universe.families
        if not all((box.others.space[0] if f == 4 else box.others.space[1]) == FULL[f] for f in everywhere):
            return False
        self.ports.rules({}, box.cells, box.names, everywhere, unsaid)
        return not unsaid

    def _named(self, said: _Said, boxes: Sequence[Box], side: str, unsaid: list[str]) -> list[dict[str, Any]]:
        out: list[dict[str, Any]] = []
        for (cells, relevant), entities in said.items():
            out += self.ports.rules({f"{side}Entities": entities}, cells, boxes[0].names, relevant, unsaid)
        return out

    def _pods(self, boxes: Sequence[Box], direction: str) -> Part:
        """The rule for pods: those the boxes' selector finds, where the boxes' addresses cover all of them."""
        unsaid: list[str] = []
        pods = boxes[0].others.pods
        if pods == NOTHING or not any(any(b.others.pod_space) for b in boxes):
            return Part(PODS, (), ())
        relevant: list[int] = []
        cells = 0
        inside: list[int] = []
        known = [self.universe.classes[i].addresses for i in bits(self.boxes.rows.index.find(pods))]
        for family in self.native:
            at = 0 if family == 4 else 1
            addressed = [a for a in known if a[at] is not None or a == (None, None)]
            if known and not addressed:
                continue
            relevant.append(family)
            for part, space in self._spaces(boxes, family):
                within = [space == FULL[family] or ((n := a[at]) is not None and int(n) in space) for a in addressed]
                if all(within) and (within or space == FULL[family]):
                    cells |= part
                    inside.append(family)
                elif any(within):
                    unsaid.append("addresses that only some of the pods have: Cilium's CIDR rules do not find pods")
        if not inside:
            return Part(PODS, (), tuple(unsaid))
        if boxes[0].names and set(inside) != set(relevant):
            unsaid.append(ONE_FAMILY)
        try:
            terms = self.literals(pods)
        except UnsayableError as error:
            return Part(PODS, (), (*unsaid, str(error)))
        if not terms:
            return Part(PODS, (), tuple(unsaid))
        peers = {f"{_side(direction)}Endpoints": [("selector", term) for term in terms]}
        rules = self.ports.rules(peers, cells, boxes[0].names, tuple(relevant), unsaid)
        return Part(PODS, tuple(rules), tuple(unsaid))

    def _spaces(self, boxes: Sequence[Box], family: int) -> list[tuple[int, Ranges]]:
        """The family's cells, in parts, with the addresses of pods that the boxes hold there together."""
        at = 0 if family == 4 else 1
        parts = [(self.universe.family_cells[family], Ranges())]
        for box in boxes:
            space = box.others.pod_space[at]
            # A named port has no cells of its own: pods say its number.
            held = self.universe.family_cells[family] if box.names else box.cells
            if space:
                parts = [
                    piece
                    for cells, known in parts
                    for piece in ((cells & held, known | space), (cells & ~held, known))
                    if piece[0]
                ]
        if boxes[0].names:
            own = union(b.cells for b in boxes)
            return [(cells & own, space) for cells, space in parts]
        return parts

    def _entities(self, boxes: Sequence[Box], direction: str, unsaid: list[str]) -> _Said:
        # A node always reaches its own pods, so nothing is said about it on ingress.
        kinds = [("own", "host")] if direction != INGRESS else []
        # Where CIDR rules find nodes, they say it address by address.
        if not self.finds_nodes or any(self._whole(box) for box in boxes):
            kinds = [("remote", "remote-node"), *kinds]
        out: _Said = {}
        for kind, entity in kinds:
            cells, relevant, held = self._nodes(boxes, kind, unsaid)
            if held:
                out.setdefault((cells, relevant), []).append(entity)
        return out

    def _torn(self, kind: str, everyone: int, held: int, family: int) -> str:
        """Which addresses keep an entity from being in the boxes as a whole."""
        at = 0 if family == 4 else 1
        inside, outside = (
            ", ".join(str(a) for i in bits(part) if (a := self.universe.peers[i].addresses[at]) is not None)
            for part in (held, everyone & ~held)
        )
        whose = "a pod's own node" if kind == "own" else "other nodes"
        return (
            f"only some of the addresses that belong to nodes: to Cilium those of {whose} are one entity, and "
            f"{inside or 'some'} {_is(inside)} meant, {outside or 'others'} {_is(outside)} not"
        )

    def _nodes(self, boxes: Sequence[Box], kind: str, unsaid: list[str]) -> tuple[int, tuple[int, ...], bool]:
        """The cells in which the boxes hold every node of the kind, the families that nodes have, and whether any."""
        universe = self.universe
        everyone = universe.kinds[kind] | (universe.kinds["local"] if kind == "own" else 0)
        found = 0
        inside: set[int] = set()
        relevant: list[int] = []
        for family in self.native:
            at = 0 if family == 4 else 1
            addressed = union(
                1 << i
                for i in bits(everyone)
                if universe.peers[i].addresses[at] is not None or universe.peers[i].addresses == (None, None)
            )
            if not addressed:
                continue
            relevant.append(family)
            parts = [(universe.family_cells[family], 0)]
            for box in boxes:
                held = self.boxes.peers(box.others, family) & addressed
                scope = universe.family_cells[family] if box.names else box.cells
                parts = [
                    piece
                    for cells, known in parts
                    for piece in ((cells & scope, known | held), (cells & ~scope, known))
                    if piece[0]
                ]
            for cells, held in parts:
                if held == addressed:
                    found |= cells
                    inside.add(family)
                elif held:
                    unsaid.append(self._torn(kind, addressed, held, family))
        if boxes[0].names:
            found &= union(b.cells for b in boxes)
            if inside and inside != set(relevant):
                unsaid.append(ONE_FAMILY)
        return found, tuple(relevant), bool(inside)


def _is(listed: str) -> str:
    return "are" if "," in listed or not listed else "is"


def _side(direction: str) -> str:
    return "from" if direction == INGRESS else "to"


def _cilium_key(key: str) -> str:
    if key == calico.NAMESPACE or key == calico.NAMESPACE_PREFIX + calico.NAME:
        return NAMESPACE
    if key == calico.ACCOUNT or key == calico.ACCOUNT_PREFIX + calico.NAME:
        return SERVICE_ACCOUNT
    if key.startswith(calico.NAMESPACE_PREFIX):
        return NAMESPACE_LABELS + key.removeprefix(calico.NAMESPACE_PREFIX)
    return key
