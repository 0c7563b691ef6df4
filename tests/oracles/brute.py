"""All flows of a small world, one at a time: every pair of ends, every kind of packet, decided singly."""

from __future__ import annotations

from collections.abc import Iterator

from netpol.compare.universe import Universe
from netpol.decide.flow import judge
from netpol.model.packets import Packet, Party
from netpol.model.world import World


def flows(universe: Universe) -> Iterator[tuple[int, int, int]]:
    """(source, destination, cell) of every flow with a pod at one end; indices of peers."""
    pods = len(universe.classes)
    for subject in range(pods):
        for cell, _ in enumerate(universe.cells):
            family = universe.cells[cell].packet.family
            outward = universe.reachable(subject, family, "egress")
            inward = universe.reachable(subject, family, "ingress")
            for peer in range(len(universe.peers)):
                if outward >> peer & 1:
                    yield subject, peer, cell
                if inward >> peer & 1 and peer >= pods:
                    yield peer, subject, cell


def ends(universe: Universe, world: int, source: int, destination: int, packet: Packet) -> tuple[Party, Party]:
    pods = len(universe.classes)
    return (
        universe.party(world, source, packet.family, destination if destination < pods else None),
        universe.party(world, destination, packet.family, source if source < pods else None),
    )


def verdicts(universe: Universe, world: int) -> dict[tuple[int, int, int], bool]:
    """Every flow's verdict in one of the universe's worlds."""
    value: World = universe.worlds[world]
    out: dict[tuple[int, int, int], bool] = {}
    for source, destination, cell in flows(universe):
        packet = universe.cells[cell].packet
        first, second = ends(universe, world, source, destination, packet)
        out[source, destination, cell] = judge(value, first, second, packet).allowed
    return out
