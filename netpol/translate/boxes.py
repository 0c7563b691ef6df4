"""Regions of flows in terms that a policy can be written in: who (a selector), with whom, in which packets.

A Calico rule is a few boxes. Boxes can be intersected and subtracted, and stay boxes; that is how rules with an
order become rules without one. Every box also knows what it covers in a universe, so that nothing is done about
overlaps that do not exist.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from netpol.compare.calico_rows import CalicoRows
from netpol.compare.sets import Product
from netpol.compare.universe import PortSignature, Universe
from netpol.decide import calico
from netpol.model.ranges import Ranges, everything, of_networks
from netpol.model.selector import ALL, NOTHING, Selector, both, negate, to_dnf
from netpol.model.values import INGRESS, WITH_PORTS, CalicoPolicy, CalicoRule, Entity, Port
from netpol.translate.services import reason

FULL = {4: everything(4), 6: everything(6)}
NONE = {4: Ranges(), 6: Ranges()}
Space = dict[int, Ranges]
"""Addresses by family."""


class UnsayableError(Exception):
    """What a rule asks for has no exact words in Cilium; the text says what."""


@dataclass(frozen=True)
class Others:
    """A set of peers: pods that match `pods` and whose address is in `pod_space`; and bare addresses in `space`."""

    pods: Selector
    pod_space: tuple[Ranges, Ranges]
    space: tuple[Ranges, Ranges]

    @property
    def any_pod_address(self) -> bool:
        return self.pod_space == (FULL[4], FULL[6])

    @property
    def everybody(self) -> bool:
        return self.pods == ALL and self.any_pod_address and self.space == (FULL[4], FULL[6])


EVERYBODY = Others(ALL, (FULL[4], FULL[6]), (FULL[4], FULL[6]))
_EMPTY = (Ranges(), Ranges())


@dataclass(frozen=True)
class Box:
    """One region: subjects, their peers, and packets. `names` are named ports (protocol, name) besides `cells`."""

    subject: Selector
    others: Others
    cells: int
    names: frozenset[tuple[int, str]] = frozenset()


class Boxes:
    """Box arithmetic over one universe, with Calico's labels."""

    def __init__(self, universe: Universe, rows: CalicoRows) -> None:
        self.universe = universe
        self.rows = rows
        self._spaces: dict[tuple[Ranges, int], int] = {}
        self._peer_sets: dict[tuple[Others, int], int] = {}
        self._covers: dict[int, tuple[Box, int, dict[int, int], int]] = {}

    # --- what a box covers
    def subjects(self, box: Box) -> int:
        return self._cover(box)[1]

    def _cover(self, box: Box) -> tuple[Box, int, dict[int, int], int]:
        """The box, its subjects, its peers by family, its cells; worked out once, as most boxes are asked often.

        Boxes are known by identity, for their selectors are long; the table keeps them, so that their ids stay theirs.
        """
        found = self._covers.get(id(box))
        if found is None:
            peers = {f: self.peers(box.others, f) for f in self.universe.families}
            found = self._covers[id(box)] = (box, self.rows.index.find(box.subject), peers, self._reach(box))
        return found

    def peers(self, others: Others, family: int) -> int:
        """The peers covered, in flows of the family."""
        key = (others, family)
        found = self._peer_sets.get(key)
        if found is None:
            found = self._peer_sets[key] = self._peers(others, family)
        return found

    def _peers(self, others: Others, family: int) -> int:
        universe = self.universe
        at = 0 if family == 4 else 1
        pods = self.rows.index.find(others.pods)
        if pods and not others.any_pod_address:
            pods &= self._in(others.pod_space[at], family)
        rest = universe.all_peers & ~universe.pod_peers
        return pods | (rest & self._in(others.space[at], family))

    def _in(self, space: Ranges, family: int) -> int:
        if space == FULL[family]:
            return self.universe.all_peers
        key = (space, family)
        if key in self._spaces:
            return self._spaces[key]
        at = 0 if family == 4 else 1
        out = 0
        for i, peer in enumerate(self.universe.peers):
            address = peer.addresses[at]
            if address is not None and int(address) in space:
                out |= 1 << i
        self._spaces[key] = out
        return out

    def products(self, box: Box, direction: str, subject: int) -> list[Product]:
        """What a box covers for one pod class; a named port means the destination's number for it."""
        out = []
        for family in self.universe.families:
            scope = self.universe.family_cells[family]
            peers = self._cover(box)[2][family]
            if not peers:
                continue
            if box.cells & scope:
                out.append((box.cells & scope, peers))
            if not box.names:
                continue
            if direction == INGRESS:
                cells = self._numbers(box, self.universe.classes[subject].ports) & scope
                if cells:
                    out.append((cells, peers))
                continue
            for signature, group in self.universe.signature_peers.items():
                cells = self._numbers(box, signature) & scope
                if cells and peers & group:
                    out.append((cells, peers & group))
        return out

    def _numbers(self, box: Box, signature: PortSignature) -> int:
        out = 0
        for name, protocol, number, _ in signature:
            if (protocol, name) in box.names:
                out |= self.universe.cells_where(
                    ("exact", protocol, number),
                    lambda p, protocol=protocol, number=number: (p.protocol, p.port) == (protocol, number),  # type: ignore[misc]
                )
        return out

    # --- from rules to boxes
    def of_rule(self, rule: CalicoRule, policy: CalicoPolicy, direction: str) -> list[Box]:
        """The boxes of one rule. Raises UnsayableError for what boxes cannot hold."""
        mine, theirs = (rule.destination, rule.source) if direction == INGRESS else (rule.source, rule.destination)
        namespace = policy.meta.namespace
        subject = both(self.rows.model.subject(policy), self._own_side(mine, namespace))
        key = ("packet", rule.protocol, rule.not_protocol, rule.icmp, rule.not_icmp, rule.ip_version)
        cells = self.universe.cells_where(key, lambda packet: calico.packet_matches(rule, packet))
        # Destination ports are the subject's on ingress and the peer's on egress; source ports the other way.
        for entity, source in ((rule.source, True), (rule.destination, False)):
            numbers = replace(entity, ports=_numbers(entity.ports), not_ports=_numbers(entity.not_ports))
            if any(p.name for p in entity.not_ports):
                raise UnsayableError("notPorts with a port name")
            if any(p.name for p in entity.ports) and source:
                raise UnsayableError("named source ports")
            only_names = bool(entity.ports) and not numbers.ports
            numbered = 0 if only_names else self.rows.ports(numbers, (), source=source)
            if not source and any(p.name for p in entity.ports):
                names = frozenset((rule.protocol or 0, p.name.lower()) for p in entity.ports if p.name)
                if rule.protocol not in WITH_PORTS:
                    names = frozenset((q, n) for _, n in names for q in WITH_PORTS)
                return [Box(subject, others, cells & numbered, names) for others in self.of_entity(theirs, namespace)]
            cells &= numbered
        return [Box(subject, others, cells) for others in self.of_entity(theirs, namespace)] if cells else []

    def _own_side(self, entity: Entity, namespace: str) -> Selector:
        """The subject's own side of a rule as a selector."""
        if entity.nets or entity.not_nets or entity.service is not None:
            raise UnsayableError("a match on the pod's own address")
        wanted, unwanted = calico.entity_selectors(entity, namespace)
        if (wanted is not None or unwanted is not None) and self.rows.model.sets:
            relevant = [s for s, labels in self.rows.model.sets for w in (wanted, unwanted) if w and w.matches(labels)]
            if relevant:
                raise UnsayableError("a network set on the pod's own side")
        return both(wanted, None if unwanted is None else negate(unwanted))

    def of_entity(self, entity: Entity, namespace: str) -> list[Others]:
        """The peers of a rule's other side."""
        if entity.service is not None:
            raise UnsayableError(reason(self.rows.model.world, entity.service, namespace))
        wanted, unwanted = calico.entity_selectors(entity, namespace)
        found = [EVERYBODY] if wanted is None else self._by_selector(wanted)
        if unwanted is not None:
            for other in self._by_selector(unwanted):
                found = [piece for one in found for piece in self.minus(one, other)]
        if entity.nets:
            space = _space(entity.nets)
            found = [self._within(one, space) for one in found]
        if entity.not_nets:
            outside = tuple(
                FULL[f] - of_networks(entity.not_nets, f) if any(n.version == f for n in entity.not_nets) else Ranges()
                for f in (4, 6)
            )
            found = [self._within(one, (outside[0], outside[1])) for one in found]
        return [one for one in found if not _nobody(one)]

    def _by_selector(self, selector: Selector) -> list[Others]:
        out = [Others(selector, (FULL[4], FULL[6]), _EMPTY)]
        nets = tuple(n for s, labels in self.rows.model.sets if selector.matches(labels) for n in s.nets)
        if nets:
            space = _space(nets)
            out.append(Others(ALL, space, space))
        return out

    def _within(self, one: Others, space: tuple[Ranges, Ranges]) -> Others:
        return Others(
            one.pods,
            (one.pod_space[0] & space[0], one.pod_space[1] & space[1]),
            (one.space[0] & space[0], one.space[1] & space[1]),
        )

    # --- arithmetic
    def minus(self, one: Others, other: Others) -> list[Others]:
        space = (one.space[0] - other.space[0], one.space[1] - other.space[1])
        out = [Others(both(one.pods, negate(other.pods)), one.pod_space, space)]
        if not other.any_pod_address:
            pod_space = (one.pod_space[0] - other.pod_space[0], one.pod_space[1] - other.pod_space[1])
            out.append(Others(both(one.pods, other.pods), pod_space, _EMPTY))
        return [o for o in out if not _nobody(o)]

    def meet(self, one: Others, other: Others) -> Others:
        return Others(
            both(one.pods, other.pods),
            (one.pod_space[0] & other.pod_space[0], one.pod_space[1] & other.pod_space[1]),
            (one.space[0] & other.space[0], one.space[1] & other.space[1]),
        )

    def overlap(self, one: Box, other: Box) -> bool:
        """Whether the two share a flow. Named ports are taken to overlap whatever shares their protocol."""
        _, subjects, peers, cells = self._cover(one)
        _, other_subjects, other_peers, other_cells = self._cover(other)
        if not subjects & other_subjects:
            return False
        shared = cells & other_cells
        if not shared:
            return False
        return any(shared & self.universe.family_cells[f] and peers[f] & other_peers[f] for f in self.universe.families)

    def _reach(self, box: Box) -> int:
        cells = box.cells
        for protocol, _ in box.names:
            cells |= self.universe.cells_where(
                ("protocol", protocol),
                lambda p, protocol=protocol: p.protocol == protocol,  # type: ignore[misc]
            )
        return cells

    def subtract(self, box: Box, other: Box) -> list[Box]:
        """`box` without `other`, as boxes that do not overlap."""
        if not self.overlap(box, other):
            return [box]
        if box.names or other.names:
            raise UnsayableError("a named port in a rule whose order matters")
        here = both(box.subject, other.subject)
        out = [Box(both(box.subject, negate(other.subject)), box.others, box.cells)]
        out += [Box(here, others, box.cells) for others in self.minus(box.others, other.others)]
        out.append(Box(here, self.meet(box.others, other.others), box.cells & ~other.cells))
        return [b for b in out if not self.void(b)]

    def intersect(self, box: Box, other: Box) -> Box:
        if box == other:
            return box
        if other.names or (box.names and other.cells != self.universe.all_cells):
            raise UnsayableError("a named port in a rule whose order matters")
        return Box(
            both(box.subject, other.subject),
            self.meet(box.others, other.others),
            box.cells & other.cells,
            box.names,
        )

    def of_both_families(self, one: Box, other: Box) -> Box | None:
        """The union of two boxes that say one thing, each for an address family of its own; else None."""
        if (one.subject, one.others.pods, one.names) != (other.subject, other.others.pods, other.names):
            return None
        mine, theirs = self._families(one), self._families(other)
        if not mine or not theirs or mine & theirs:
            return None
        first, second = (one if f in mine else other for f in (4, 6))
        others = Others(
            one.others.pods,
            (first.others.pod_space[0], second.others.pod_space[1]),
            (first.others.space[0], second.others.space[1]),
        )
        cells = self.universe.family_cells
        return replace(
            one,
            others=others,
            cells=one.cells & sum(cells[f] for f in mine) | other.cells & sum(cells[f] for f in theirs),
        )

    def _families(self, box: Box) -> set[int]:
        """The families of which the box holds anything."""
        return {
            f
            for at, f in enumerate((4, 6))
            if f in self.universe.families
            and (box.others.pod_space[at] or box.others.space[at])
            and (box.names or box.cells & self.universe.family_cells[f])
        }

    def void(self, box: Box) -> bool:
        """Whether no flow can ever be in the box, whatever pods there are."""
        if not box.cells and not box.names:
            return True
        return _nobody(box.others) or never(box.subject)


@lru_cache(maxsize=65536)
def never(selector: Selector) -> bool:
    """Whether no labels can satisfy the selector."""
    try:
        return not to_dnf(selector)
    except OverflowError:
        return False


def _nobody(others: Others) -> bool:
    pods = others.pods == NOTHING or not any(others.pod_space) or never(others.pods)
    return pods and not any(others.space)


def _numbers(ports: tuple[Port, ...]) -> tuple[Port, ...]:
    return tuple(p for p in ports if not p.name)


def _space(nets: tuple[object, ...]) -> tuple[Ranges, Ranges]:
    return of_networks(nets, 4), of_networks(nets, 6)  # type: ignore[arg-type]
