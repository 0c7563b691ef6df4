"""Errors of the room: each names the place, the value, the reason and, where there is one, the way out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reading.failure import FAILED, UNKNOWN, USAGE, Failure

_MOST_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was written: `file` (or a name for what was not a file) and `line`, counted from 1."""

    file: str = "<value>"
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class PolicyError(Failure, ValueError):
    """Policies or cluster objects that cannot be read: file, line, object, field and reason of the first fault.

    `about`: kind and name of the object. `within`: the field of the mapping that the fault is about as a whole.
    `unreadable`: the file could not be taken apart at all. `errors`: every fault, this one first.
    """

    def __init__(
        self,
        place: Place,
        field: str,
        reason: str,
        *,
        about: str = "",
        within: str | None = None,
        unreadable: bool = False,
        others: tuple[PolicyError, ...] = (),
    ) -> None:
        text = ": ".join(part for part in (str(place), field, reason) if part)
        super().__init__(f"{text} [{about}]" if about else text)
        self.place = place
        self.field = field
        self.reason = reason
        self.about = about
        self.within = within
        self.unreadable = unreadable
        self._others = others
        self.exit_code = USAGE if any(error.unreadable for error in (self, *others)) else FAILED

    @classmethod
    def of(cls, errors: Sequence[PolicyError]) -> PolicyError:
        """One error that stands for all of these, of which there is at least one."""
        first, *others = [single for error in errors for single in error.errors]
        return first.beside(tuple(others))

    def beside(self, others: tuple[PolicyError, ...]) -> PolicyError:
        """This fault, together with these and no others."""
        return PolicyError(
            self.place,
            self.field,
            self.reason,
            about=self.about,
            within=self.within,
            unreadable=self.unreadable,
            others=others,
        )

    @property
    def errors(self) -> tuple[PolicyError, ...]:
        return (self.beside(()), *self._others) if self._others else (self,)

    def told(self) -> str:
        return "\n".join(map(str, self.errors))

    def __str__(self) -> str:
        shown = [super().__str__(), *(str(error) for error in self._others[: _MOST_SHOWN - 1])]
        more = len(self._others) + 1 - len(shown)
        return "\n".join(shown) + (f"\nand {more} more" if more else "")


class WorldError(Failure, ValueError):
    """Objects that are readable each, and make no cluster together."""

    exit_code = USAGE


class UndecidableError(Failure, ValueError):
    """A well-formed value whose verdict the model does not know; never guessed."""

    exit_code = UNKNOWN
