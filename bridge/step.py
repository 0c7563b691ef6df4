"""Whether the bridge is in step: since when the oldest thing is wrong, which pods have no identity, and conflicts."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from bridge.decide import Decision, decide
from bridge.known import Known
from bridge.seen import Key

_SHOWN: Final = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """How far the bridge is in step at one time."""

    complete: bool
    """Everything there is has been seen once, and can be seen now."""
    lag: float
    """Seconds for which the oldest thing has been wrong; 0 when nothing is."""
    behind: int
    """How many things are wrong: endpoints that are missing, not right, or should be gone."""
    without: tuple[Key, ...]
    """Pods of legacy nodes without their own identity."""
    conflicts: tuple[str, ...]
    """What stays wrong until somebody else does something."""
    blind: str = ""
    """What cannot be read, and why."""

    def late(self, limit: float) -> str:
        """Why the bridge is not in step; empty while it is.

        Args:
            limit: seconds that a pod may be without its identity.
        """
        if self.blind:
            return f"it cannot read {self.blind}"
        if not self.complete:
            return "it has not seen everything yet"
        if self.lag <= limit:
            return ""
        names = ", ".join("/".join(key) for key in self.without[:_SHOWN])
        more = f" and {len(self.without) - _SHOWN} more" if len(self.without) > _SHOWN else ""
        pods = f"; pods without their identity: {names}{more}" if names else ""
        conflicts = "".join(f"; {text}" for text in self.conflicts[:_SHOWN])
        return f"{self.behind} things have been wrong for up to {self.lag:.0f} s{pods}{conflicts}"

    def as_json(self) -> str:
        """For the annotation of the Lease: short, and the same for the same state."""
        whole: dict[str, Any] = {
            "complete": self.complete,
            "lag": round(self.lag, 1),
            "behind": self.behind,
            "without": len(self.without),
            "pods": ["/".join(key) for key in self.without[:_SHOWN]],
            "conflicts": list(self.conflicts[:_SHOWN]),
            "blind": self.blind,
        }
        return json.dumps(whole, sort_keys=True)


@dataclass
class Tracker:
    """Since when each thing has been wrong. Times are those of a clock that never goes back, in seconds."""

    _since: dict[Key, float] = field(default_factory=dict)
    _without: set[Key] = field(default_factory=set)
    _conflicts: dict[Key, str] = field(default_factory=dict)

    def noted(self, decision: Decision, now: float) -> None:
        """Take in a decision. What is right now is forgotten."""
        for key in decision.keys:
            if key in decision.behind:
                self._since.setdefault(key, now)
            else:
                self._since.pop(key, None)
            if key in decision.conflicts:
                self._conflicts[key] = decision.conflicts[key]
            else:
                self._conflicts.pop(key, None)
        self._without -= decision.keys
        self._without |= decision.without

    def changed(self, keys: Iterable[Key], now: float) -> None:
        """These may be wrong from now on; the next decision says whether they are."""
        for key in keys:
            self._since.setdefault(key, now)

    def step(self, now: float, *, complete: bool, blind: str = "") -> Step:
        """The state at this time."""
        return Step(
            complete=complete,
            lag=max((now - since for since in self._since.values()), default=0.0),
            behind=len(self._since),
            without=tuple(sorted(self._without)),
            conflicts=tuple(self._conflicts[key] for key in sorted(self._conflicts)),
            blind=blind,
        )


def missing(known: Known) -> dict[Key, str]:
    """Pods of legacy nodes without their own identity -> why, asked of everything that is known.

    For whoever reads pods, identities and endpoints on their own and wants to know whether the bridge is in step.
    """
    decision = decide(known, known.everything(), lambda first, _last: first)
    return {key: decision.behind[key] for key in sorted(decision.without)}
