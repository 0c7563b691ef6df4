"""Port names of egress rules in Cilium before 1.20: one number for the whole cluster, or none.

Source: pkg/types/portmap.go, GetNamedPort, of 1.18 and 1.19. Since 1.20 a name is looked up in each identity, and the
ports that a pod names are part of its identity; so it is the destination's own number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from netpol.decide.cilium_entries import Entry
from netpol.model.values import EGRESS, WITH_PORTS, CiliumPort, IcmpType, Port
from netpol.model.world import Pod

PER_IDENTITY = (1, 20)
"""Version of Cilium that looks names up in identities."""


def names(entries: Iterable[Entry]) -> list[str]:
    """The port names that egress rules ask for."""
    return sorted(
        {
            p.port.name
            for e in entries
            if e.direction == EGRESS
            for p in e.ports or ()
            if isinstance(p, CiliumPort) and p.port is not None and p.port.name
        }
    )


def of_cluster(entries: Iterable[Entry], pods: Iterable[Pod]) -> Iterator[Entry]:
    """The entries with numbers in place of the names on egress, whoever the peer is.

    A name that no pod (of those that Cilium knows) declares for the protocol, or that two declare for different
    numbers, matches nothing.
    """
    numbers: dict[tuple[str, int], set[int]] = {}
    for pod in pods:
        for port in (p for p in pod.ports if not p.calico_only):
            numbers.setdefault((port.name.lower(), port.protocol), set()).add(port.number)
    for entry in entries:
        if entry.direction == EGRESS and entry.ports is not None:
            yield replace(entry, ports=tuple(p for port in entry.ports for p in _numbered(port, numbers)))
        else:
            yield entry


def _numbered(port: CiliumPort | IcmpType, numbers: dict[tuple[str, int], set[int]]) -> Iterator[CiliumPort | IcmpType]:
    if isinstance(port, IcmpType) or port.port is None or not port.port.name:
        yield port
        return
    for protocol in WITH_PORTS if port.protocol is None else (port.protocol,):
        found = numbers.get((port.port.name, protocol), set())
        if len(found) == 1:
            (number,) = found
            yield replace(port, protocol=protocol, port=Port(number, number))
