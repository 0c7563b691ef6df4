"""What a stack's own state says: the stage that was reached, and the deploy that began last."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from migration.journeys import Piece, Stage


class Asks(StrEnum):
    """What a deploy asks the cluster before it registers anything."""

    GATE = "gate"
    STEADY = "steady"
    IDENTITY = "identity"


@dataclass(frozen=True, kw_only=True)
class Marker:
    """What the stack's marker resource holds: the deploy that began last."""

    place: str
    attempt: int
    leaving: str | None = None
    """Stage that was left backwards; its `leave` checks belong to the gate."""
    unfinished: str | None = None
    """Place of an earlier deploy that made changes and did not finish."""
    protected: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Values of settings that may not change any more; the state calls them `frozen`."""
    id: str | None = None
    """Of this stack, random, for its mark in the cluster. None in the state of a version without marks."""
    declared: str | None = None
    """Digest of what the deploy declared; None in the state of a version that kept none."""
    asks: Asks = Asks.GATE
    """What the deploy asked."""
    cilium: str | None = None
    """Version of Cilium that the deploy declared; None without Cilium."""
    cilium_before: str | None = None
    """The version that the last finished deploy before it had declared."""
    guarded: tuple[str, ...] | None = None
    """Pieces that nobody may delete while the deploy runs; None in the state of a version without a guard."""

    def dump(self) -> dict[str, Any]:
        return {
            "id": self.id or "",
            "declared": self.declared or "",
            "asks": self.asks,
            "cilium": self.cilium or "",
            "ciliumBefore": self.cilium_before or "",
            "guarded": list(self.guarded or ()),
            "place": self.place,
            "attempt": self.attempt,
            "leaving": self.leaving or "",
            "unfinished": self.unfinished or "",
            "protected": list(self.protected),
            "frozen": dict(self.fixed),
        }

    @classmethod
    def load(cls, values: Mapping[str, Any]) -> Self:
        return cls(
            place=values["place"],
            attempt=int(values["attempt"]),
            leaving=values.get("leaving") or None,
            unfinished=values.get("unfinished") or None,
            protected=tuple(values.get("protected") or ()),
            fixed={key: _whole(value) for key, value in (values.get("frozen") or {}).items()},
            id=values.get("id") or None,
            declared=values.get("declared") or None,
            asks=Asks(values.get("asks") or Asks.GATE),
            cilium=values.get("cilium") or None,
            cilium_before=values.get("ciliumBefore") or None,
            guarded=tuple(values["guarded"] or ()) if "guarded" in values else None,
        )


def _whole(value: Any) -> Any:
    """The engine hands every number over as a float."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What the stack says about itself: its outputs, its marker, and the last settling that passed."""

    journey: str | None = None
    stage: str | None = None
    """Stage that was reached last; an unfinished deploy does not change it."""
    marker: Marker | None = None
    settle_attempt: int | None = None
    """Attempt of the last deploy that finished, but for deletions: the engine makes these last of all."""
    present: frozenset[Piece] = frozenset()
    """Pieces of which the stack still has something."""


def half_way(recorded: Recorded, came_from: Stage | None) -> str | None:
    """Place of a deploy that began and did not finish.

    The gate is asked before anything is registered, so a marker means that it had passed. Whether the Command that
    asks it once more has run says nothing: `--exclude` and `--target` leave it out and change the rest.
    """
    marker = recorded.marker
    if marker is None or marker.attempt == recorded.settle_attempt:
        return None
    if came_from is not None and marker.place != came_from.place:
        return marker.place
    return marker.unfinished


def is_unfinished(recorded: Recorded) -> bool:
    """Whether the deploy that began last did not finish, after one that had."""
    marker = recorded.marker
    return marker is not None and recorded.settle_attempt is not None and marker.attempt != recorded.settle_attempt


def keeps_no_digest(recorded: Recorded) -> bool:
    """Whether the state is of a version that kept none: nobody can tell then whether a deploy that stays changes
    anything, until the next one that moves."""
    return recorded.marker is None or recorded.marker.declared is None
