"""Packets and addresses cut where policies divide them, into pieces that nothing divides further."""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from netpol.model.packets import Packet
from netpol.model.ranges import ADDRESS_BITS, PORT_MAX, IPAddress, IPNetwork, span
from netpol.model.values import ICMP, ICMP6, SCTP, TCP, UDP, WITH_PORTS, Port


@dataclass(frozen=True, slots=True)
class Cell:
    """Packets that nothing tells apart: a representative, and how far the ranges around it reach."""

    packet: Packet
    ports: tuple[int, int]
    source_ports: tuple[int, int]


class Cuts:
    """Where policies divide packets."""

    def __init__(self) -> None:
        self.ports: set[tuple[int, int]] = set()
        self.source_ports: set[tuple[int, int]] = set()
        self.icmp: dict[int, dict[int, set[int]]] = {ICMP: {}, ICMP6: {}}
        self.protocols: set[int] = set()
        self.names: set[str] = set()
        self.source_names: set[str] = set()

    def port(self, port: Port, *, source: bool = False) -> None:
        if port.name:
            self.names.add(port.name.lower())
            if source:
                self.source_names.add(port.name.lower())
        else:
            (self.source_ports if source else self.ports).add((port.first, port.last))

    def cells(self, families: Iterable[int], *, others: bool = True) -> list[Cell]:
        """Every cell of every family: ports by intervals, ICMP by type and code, other protocols by number.

        `others`: whether there are any packets of other protocols.
        """
        out: list[Cell] = []
        destination, source = _intervals(self.ports), _intervals(self.source_ports)
        whole = (1, PORT_MAX)
        for family in sorted(families):
            for protocol in WITH_PORTS:
                for ports in destination:
                    for sources in source:
                        spare = sources[0] if self.source_ports else 0
                        packet = Packet(family, protocol, port=ports[0], source_port=spare)
                        out.append(Cell(packet, ports, sources))
            icmp = ICMP if family == 4 else ICMP6
            for kind, codes in _types(self.icmp[icmp]):
                out += [Cell(Packet(family, icmp, icmp_type=kind, icmp_code=c), whole, whole) for c in codes]
            if not others:
                continue
            special = {TCP, UDP, SCTP, ICMP, ICMP6}
            rest = sorted(self.protocols - special)
            rest.append(next(p for p in range(253, 0, -1) if p not in self.protocols | special))
            out += [Cell(Packet(family, p), whole, whole) for p in rest]
        return out


def _intervals(ranges: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Port 0 is left out: nothing can listen there, and to Cilium it means every port."""
    starts = {1} | {first for first, _ in ranges} | {last + 1 for _, last in ranges}
    edges = sorted(s for s in starts if 1 <= s <= PORT_MAX)
    return [(first, (edges[i + 1] if i + 1 < len(edges) else PORT_MAX + 1) - 1) for i, first in enumerate(edges)]


def _types(mentioned: dict[int, set[int]]) -> list[tuple[int, list[int]]]:
    out = []
    for kind in sorted(mentioned):
        codes = sorted(mentioned[kind])
        spare = next((c for c in range(256) if c not in mentioned[kind]), None)
        out.append((kind, codes + ([] if spare is None else [spare])))
    # Eight is what ping sends to IPv4; a representative that people know makes better counterexamples.
    rest = next((t for t in (8, 128, *range(255)) if t not in mentioned), None)
    return out + ([] if rest is None else [(rest, [0])])


class Atoms:
    """Addresses of one family, divided by every network that a policy mentions."""

    def __init__(self, networks: Iterable[IPNetwork], family: int) -> None:
        self.family = family
        self.networks = sorted({n for n in networks if n.version == family}, key=lambda n: (int(n[0]), n.prefixlen))
        top = 1 << ADDRESS_BITS[family]
        edges = sorted({0} | {e for n in self.networks for e in (span(n)[0], span(n)[1] + 1)} - {top})
        self.edges = edges
        self.ends = [*edges[1:], top]
        signatures = [0] * len(edges)
        for i, network in enumerate(self.networks):
            first, last = span(network)
            at = bisect_right(edges, first) - 1
            while at < len(edges) and edges[at] <= last:
                signatures[at] |= 1 << i
                at += 1
        self.signatures = signatures
        ids: dict[int, int] = {}
        self.atom_of_interval = [ids.setdefault(s, len(ids)) for s in signatures]
        self.count = len(ids)
        self.atom_signatures = list(ids)
        self._intervals: list[list[int]] = [[] for _ in ids]
        for i, atom in enumerate(self.atom_of_interval):
            self._intervals[atom].append(i)

    def atom(self, address: IPAddress) -> int:
        return self.atom_of_interval[bisect_right(self.edges, int(address)) - 1]

    def intervals(self, atom: int) -> Iterator[tuple[int, int]]:
        for i in self._intervals[atom]:
            yield self.edges[i], self.ends[i] - 1

    def outsider(self, atom: int, taken: set[int]) -> IPAddress | None:
        """An address of the atom that nobody in `taken` has; None when there is none left."""
        make = ipaddress.IPv4Address if self.family == 4 else ipaddress.IPv6Address
        for first, last in self.intervals(atom):
            # Skip the all-zero host address where there is a choice: it makes odd counterexamples.
            for candidate in range(first + 1 if first == 0 or last > first else first, last + 1):
                if candidate not in taken:
                    return make(candidate)
            if first not in taken:
                return make(first)
        return None
