"""Packets as Cilium's rules ask for them: ports, names of ports and ICMP types, exactly or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from netpol.compare.sets import bits
from netpol.compare.universe import Universe
from netpol.model.ranges import PORT_MAX, Ranges
from netpol.model.values import EXTENDED_PROTOCOLS, ICMP, ICMP6, SCTP, TCP, UDP, WITH_PORTS
from netpol.read.cilium import MAX_ITEMS
from netpol.read.common import is_port_name

ONE_FAMILY = "source ports, or ports of one address family only"
_NAMES = {TCP: "TCP", UDP: "UDP", SCTP: "SCTP"}
_EXTENDED = {number: name for name, number in EXTENDED_PROTOCOLS.items()}


class Ports:
    """Writes cells of a universe as ports and ICMP types. `extended`: whether the agents know more protocols."""

    def __init__(self, universe: Universe, *, extended: bool) -> None:
        self.universe = universe
        self.extended = extended
        self._written: dict[tuple[int, int], tuple[list[dict[str, Any]], list[dict[str, Any]], list[str]]] = {}

    def rules(
        self,
        peers: dict[str, Any],
        cells: int,
        names: frozenset[tuple[int, str]],
        relevant: tuple[int, ...],
        unsaid: list[str],
    ) -> list[dict[str, Any]]:
        """The rule once for its ports and once for its ICMP types, or once without either.

        `relevant`: the families that the peers have at all, for which a rule without an address family is bound to
        speak.
        """
        bound = sum(self.universe.family_cells[f] for f in relevant)
        cells &= bound
        if cells == bound:
            return [dict(peers)]
        # Calico takes names that no pod can declare; they match nothing, and Cilium refuses them.
        declared = [(protocol, name) for protocol, name in sorted(names) if is_port_name(name)]
        ports = [{"port": name, "protocol": _NAMES[protocol]} for protocol, name in declared]
        if (cells, bound) not in self._written:
            # Few of all sets of packets are ever met, and most of them often.
            why: list[str] = []
            self._written[cells, bound] = self._ports(cells, bound, why), self._icmp(cells, bound, why), why
        numbered, types, why = self._written[cells, bound]
        unsaid += why
        ports += numbered
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
                unsaid.append(ONE_FAMILY)
            by_protocol[protocol] = Ranges.of(p for p in some if whole[p])
        for i in bits(cells):
            protocol = self.universe.cells[i].packet.protocol
            if protocol not in ported and protocol not in (ICMP, ICMP6):
                name = _EXTENDED.get(protocol)
                if name is None or not self.extended:
                    unsaid.append(f"IP protocol {protocol} on its own")
        extended = sorted(
            {
                _EXTENDED[self.universe.cells[i].packet.protocol]
                for i in bits(cells)
                if self.universe.cells[i].packet.protocol in _EXTENDED and self.extended
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
