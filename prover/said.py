"""What the prover publishes, and how old it is to somebody who reads it. Pure.

Clocks of two machines are never compared for longer than until the first renewal is seen: what counts then is how
long ago, by the reader's own clock, the publication changed last.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, Self

BEAT: Final = 5.0
"""Seconds between two publications when nothing happens."""
MOST_AGE: Final = 60.0
"""Seconds after which a verdict counts no more."""
_LONGEST: Final = 8000


class Verdict(StrEnum):
    EQUAL = "equal"
    DIFFERENT = "different"
    UNDECIDED = "undecided"


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """One publication.

    Attributes:
        verdict: about everything that had been seen when the proof began.
        why: in words for people: the moment of the journey, or what keeps it from being decided; empty when equal.
        counterexample: the smallest flow found that differs, with the rules that decided on each side.
        since: when the verdict became what it is, UTC.
        published: when this was written, UTC.
        age: seconds, at the publication, since the verdict last covered the newest change seen.
        beat: grows with each publication of one replica.
        by: that replica.
    """

    verdict: Verdict
    why: str = ""
    counterexample: str = ""
    since: str = ""
    published: str = ""
    age: float = 0.0
    beat: int = 0
    by: str = ""

    def data(self) -> dict[str, str]:
        """For a ConfigMap."""
        return {field.name: str(getattr(self, field.name))[:_LONGEST] for field in fields(self)}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self | None:
        """Of a ConfigMap's data; None where nothing was published yet, or nothing that can be read."""
        try:
            age = float(data["age"])
            if not age >= 0:
                return None
            return cls(
                verdict=Verdict(data["verdict"]),
                why=str(data["why"]),
                counterexample=str(data["counterexample"]),
                since=str(data["since"]),
                published=str(data["published"]),
                age=age,
                beat=int(data["beat"]),
                by=str(data["by"]),
            )
        except (KeyError, OverflowError, TypeError, ValueError):
            return None


def now() -> str:
    """As times are published."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Seen:
    """Publications as one reader sees them, and how old the verdict is to it.

    >>> seen = Seen()
    >>> seen.look(Said(verdict=Verdict.EQUAL, age=1.0, beat=7, by="a"), at=100.0, wall=0.0)
    >>> round(seen.age(at=103.0))
    4
    """

    def __init__(self) -> None:
        self.said: Said | None = None
        self._at = float("-inf")
        self._before = 0.0
        """Seconds that the first publication seen may have been there before."""

    def look(self, said: Said | None, *, at: float, wall: float) -> None:
        """Take in what is published now.

        Args:
            at: seconds of the reader's steady clock, before it asked.
            wall: seconds since 1970 of the reader's clock, for the first one alone.
        """
        if said is None or (self.said is not None and (said.by, said.beat) == (self.said.by, self.said.beat)):
            self.said = said and self.said
            return
        self._before = 0.0 if self.said is not None else max(0.0, wall - _seconds(said.published, wall))
        self.said, self._at = said, at

    def age(self, *, at: float) -> float:
        """Seconds since the verdict covered the newest change seen; infinite where nothing is published."""
        return float("inf") if self.said is None else self.said.age + self._before + max(0.0, at - self._at)

    def trouble(self, *, at: float) -> str:
        """Why nothing may rest on the verdict now; empty when something may."""
        if self.said is None:
            return "nothing is published: the prover does not run, or has not proved anything yet"
        age = self.age(at=at)
        if age > MOST_AGE:
            return f"the last proof is {age:.0f} s old: the prover does not run, or does not come round"
        if self.said.verdict is Verdict.EQUAL:
            return ""
        return f"{self.said.verdict}: {self.said.why}"


def _seconds(text: str, otherwise: float) -> float:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return otherwise
