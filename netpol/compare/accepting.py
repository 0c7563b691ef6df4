"""Differences that somebody accepts are taken out of a proof, and each is shown with a flow."""

from __future__ import annotations

from dataclasses import dataclass, field

from netpol.compare.sets import bits
from netpol.compare.universe import Universe
from netpol.model.accepted import CLOSES, Accepted, AcceptedSide
from netpol.model.values import EGRESS, WITH_PORTS


@dataclass
class Accepting:
    """What is accepted of the differences between the first two worlds of a universe.

    `used`: for each accepted difference that took part, one of its flows: direction, subject, peer and cells.
    """

    universe: Universe
    used: dict[Accepted, tuple[str, int, int, int]] = field(default_factory=dict)
    _ends: dict[tuple[AcceptedSide, int], int] = field(default_factory=dict)

    def left(self, direction: str, subject: int, peer: int, cells: int, before: int) -> int:
        """The cells of a difference that nobody accepts; `before`: those of them that were allowed."""
        universe = self.universe
        for one in universe.worlds[0].accepted:
            source, destination = (subject, peer) if direction == EGRESS else (peer, subject)
            wanted = cells & self._cells(one)
            if one.change:
                wanted &= before if one.change == CLOSES else ~before
            for family in universe.families:
                found = wanted & universe.family_cells[family]
                ends = self._end(one.source, family) >> source & self._end(one.destination, family) >> destination & 1
                if found and ends:
                    self.used.setdefault(one, (direction, subject, peer, found))
                    cells &= ~found
        return cells

    def _cells(self, one: Accepted) -> int:
        universe = self.universe
        if one.protocol is None:
            return universe.all_cells
        out = universe.of_protocol(one.protocol)
        if one.ports and one.protocol in WITH_PORTS:
            ports = 0
            for first, last in one.ports:
                ports |= universe.ports(first, last)
            out &= ports
        return out

    def _end(self, side: AcceptedSide, family: int) -> int:
        """The peers that the side means."""
        key = (side, family)
        if key not in self._ends:
            universe = self.universe
            found = universe.in_networks(side.nets, family) if side.nets else universe.all_peers
            self._ends[key] = sum(1 << i for i in bits(found) if self._means(side, i))
        return self._ends[key]

    def _means(self, side: AcceptedSide, peer: int) -> bool:
        what = self.universe.peers[peer]
        if what.kind != "pod":
            return side.holds_other(node=what.kind != "address")
        pod = self.universe.classes[what.index].pods[0]
        return side.holds_pod(pod.namespace, pod.labels)
