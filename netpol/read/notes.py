"""What a run has to say about its input, besides what it read: what is wrong and what was left out."""

from __future__ import annotations

from dataclasses import dataclass, field

from netpol.model.errors import Place, PolicyError


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Something that was given and not read: `what` it is, `why`, and how often, first at `place`."""

    place: Place
    what: str
    why: str
    count: int = 1

    def __str__(self) -> str:
        what = f"{self.what} ({self.count} of them, this is the first)" if self.count > 1 else self.what
        return f"skipped: {self.place}: {what}: {self.why}"


@dataclass(slots=True)
class Notes:
    """Collects faults and omissions, so that a run tells all of them at once.

    Who passes notes to a reader asks them afterwards: `fail()` raises everything that is wrong, as one PolicyError.
    """

    errors: list[PolicyError] = field(default_factory=list)
    _skipped: dict[tuple[str, str, str], Skipped] = field(default_factory=dict)
    _told: set[tuple[str, str, str, int]] = field(default_factory=set)

    def wrong(self, error: PolicyError) -> None:
        self.errors.append(error)

    def skip(self, place: Place, what: str, why: str) -> None:
        """Note an omission; those of one file, kind and reason are one line."""
        key = (place.file, what, why)
        if (*key, place.line) in self._told:
            return
        self._told.add((*key, place.line))
        known = self._skipped.get(key)
        first = known.place if known else place
        self._skipped[key] = Skipped(place=first, what=what, why=why, count=(known.count if known else 0) + 1)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        return tuple(self._skipped.values())

    def fail(self) -> None:
        if self.errors:
            raise PolicyError.of(self.errors)
