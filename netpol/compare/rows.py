"""Decisions for all flows of a pod class at once.

A row is what one class of pods allows in one direction: a partition of the cells, and for each part the set of peers
that are allowed. Calico's is made by walking tiers, policies and rules with sets instead of single flows, Cilium's
by its entries in order of precedence; several engines on one node are intersected.
"""

from __future__ import annotations

from collections.abc import Hashable

from netpol.compare.calico_rows import CalicoRows
from netpol.compare.calico_shared import CalicoShared
from netpol.compare.cilium_rows import CiliumRows
from netpol.compare.sets import Row, merged, overlay
from netpol.compare.universe import Universe
from netpol.model.world import Engine


def rows_of(universe: Universe) -> tuple[Rows, ...]:
    """The rows of each of the universe's worlds, in their order."""
    shared = CalicoShared(universe)
    return tuple(Rows(universe, world, shared) for world in range(len(universe.worlds)))


class Rows:
    """The decisions of one of the universe's worlds, whoever enforces on which node."""

    def __init__(self, universe: Universe, world: int, shared: CalicoShared) -> None:
        self.universe = universe
        self.world = world
        engines = {e for c in universe.classes for e in c.nodes[world].engines}
        self.calico = CalicoRows(shared, world) if Engine.CALICO in engines else None
        self.kubernetes = CalicoRows(shared, world, kubernetes_only=True) if Engine.KUBERNETES in engines else None
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
                # Rules have their numbers from what is shared; plans with numbers from elsewhere are not alike.
                return rows.shared, rows.plan(subject, direction)
        return None

    def _row(self, subject: int, direction: str) -> Row:
        engines = self.universe.classes[subject].nodes[self.world].engines
        rows = [spoken.row(subject, direction) for engine, spoken in self._speakers.items() if engine in engines]
        if not rows:
            return ((self.universe.all_cells, self.universe.all_peers),)
        out = rows[0]
        for other in rows[1:]:
            out = merged([(c & d, p & q) for c, p in out for d, q in other if c & d])
        return out

    def allowed(self, subject: int, direction: str, cells: int, peer: int) -> int:
        """Of these cells, the ones in which the class allows the peer."""
        out = 0
        for part, peers in self.row(subject, direction):
            if peers >> peer & 1:
                out |= part
        return out & cells
