"""Differences that somebody accepts: which flows, why, who says so and until when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from netpol.model.errors import Place
from netpol.model.identity import NAMESPACE
from netpol.model.ranges import IPNetwork, Ranges
from netpol.model.selector import ALL, Selector, both, equals
from netpol.model.values import PROTOCOL_NAMES

CLOSES, OPENS = "closes", "opens"


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedSide:
    """One end of the flows that are meant. Everything given must hold; nothing given is anybody."""

    namespace: str = ""
    labels: Selector | None = None
    nets: tuple[IPNetwork, ...] = ()
    nodes: bool = False

    @property
    def of_pods(self) -> bool:
        return bool(self.namespace) or self.labels is not None

    @property
    def selector(self) -> Selector:
        """The pods that are meant, by their labels and the name of their namespace."""
        where = equals(NAMESPACE, self.namespace) if self.namespace else ALL
        return both(where, self.labels)

    def holds_pod(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether a pod is meant, its address apart."""
        if self.nodes or self.namespace not in ("", namespace):
            return False
        return self.labels is None or self.labels.matches(labels)

    def holds_other(self, *, node: bool) -> bool:
        """Whether an end that is no pod is meant, its address apart; `node`: one, or an address that nodes serve."""
        return not self.of_pods and (node or not self.nodes)

    def __str__(self) -> str:
        parts = ["nodes"] if self.nodes else []
        if self.of_pods:
            parts.append(f"pods of {self.namespace or 'any namespace'}{f' with {self.labels}' if self.labels else ''}")
        parts += [", ".join(map(str, self.nets))] if self.nets else []
        return " at ".join(parts) or "anybody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """One accepted difference. `protocol` None: any; `ports`: of TCP, UDP and SCTP, all of them where there are none.

    `change`: `closes` (allowed before and no more), `opens` (the other way), or either.
    """

    reason: str
    who: str
    until: date
    source: AcceptedSide = AcceptedSide()
    destination: AcceptedSide = AcceptedSide()
    protocol: int | None = None
    ports: Ranges = field(default_factory=Ranges)
    change: str = ""
    place: Place = field(default_factory=Place, compare=False)

    def expired(self, today: date) -> bool:
        """Whether it is past its last day."""
        return today > self.until

    @property
    def flows(self) -> str:
        what = "" if self.protocol is None else f" {PROTOCOL_NAMES.get(self.protocol, self.protocol)}"
        what += f" {', '.join(f'{a}-{b}' if a != b else str(a) for a, b in self.ports)}" if self.ports else ""
        return f"{self.source} -> {self.destination}{what}{f' ({self.change})' if self.change else ''}"

    def __str__(self) -> str:
        return f"{self.flows}: {self.reason} ({self.who}, until {self.until})"
