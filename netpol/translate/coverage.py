"""What boxes let in and keep out, held against what Calico decides."""

from __future__ import annotations

from netpol.compare.sets import Product, Row, bits
from netpol.model.values import INGRESS
from netpol.translate.boxes import Box, Boxes


class Coverage:
    """Boxes over one universe, next to Calico's rows."""

    def __init__(self, boxes: Boxes) -> None:
        self.boxes = boxes
        self.rows = boxes.rows
        self.universe = boxes.universe

    def meets(self, box: Box, direction: str, *, allowed: bool) -> bool:
        """Whether Calico allows (or denies) any flow of the box."""
        seen: set[tuple[object, ...]] = set()
        for subject in bits(self.boxes.subjects(box)):
            row = self.rows.row(subject, direction)
            pods = self.universe.classes[subject]
            key = (id(row), pods.node_class, pods.ports, pods.addresses[0] is None, pods.addresses[1] is None)
            if key in seen:
                continue
            seen.add(key)
            products = self.boxes.products(box, direction, subject)
            if self._cuts(subject, row, products, direction, allowed=allowed):
                return True
        return False

    def _cuts(self, subject: int, row: Row, products: list[Product], direction: str, *, allowed: bool) -> bool:
        for cells, peers in products:
            for part, yes in row:
                for family in self.universe.families:
                    if cells & part & self.universe.family_cells[family]:
                        reachable = self._policed(subject, family, direction)
                        if peers & reachable & (yes if allowed else ~yes):
                            return True
        return False

    def _policed(self, subject: int, family: int, direction: str) -> int:
        """The peers that a deny speaks about: on ingress not the pod's own node, which no engine keeps out."""
        out = self.universe.reachable(subject, family, direction)
        own = self.universe.kinds["own"] | self.universe.kinds["local"]
        return out & ~own if direction == INGRESS else out

    def exceeds(self, box: Box, direction: str, denied: dict[int, list[Product]]) -> bool:
        """Whether the box lets through what Calico denies and no draft denies."""
        seen: set[tuple[object, ...]] = set()
        for subject in bits(self.boxes.subjects(box)):
            row, pods = self.rows.row(subject, direction), self.universe.classes[subject]
            said = denied.get(subject, [])
            key = (id(row), pods.node_class, pods.ports, *(a is None for a in pods.addresses), tuple(said))
            if key in seen:
                continue
            seen.add(key)
            products = self.boxes.products(box, direction, subject)
            if self._over(subject, row, products, direction, said):
                return True
        return False

    def _over(self, subject: int, row: Row, products: list[Product], direction: str, denied: list[Product]) -> bool:
        for cells, peers in products:
            for part, yes in row:
                both_cells = cells & part
                for family in self.universe.families:
                    shared = both_cells & self.universe.family_cells[family]
                    if not shared:
                        continue
                    over = peers & ~yes & self.universe.reachable(subject, family, direction)
                    if over and not _covered(shared, over, denied):
                        return True
        return False


def _covered(cells: int, peers: int, denied: list[Product]) -> bool:
    for cell in bits(cells):
        left = peers
        for denied_cells, denied_peers in denied:
            if denied_cells >> cell & 1:
                left &= ~denied_peers
        if left:
            return False
    return True
