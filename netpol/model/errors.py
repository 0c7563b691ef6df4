"""Errors of the room: each names the place, the value, the reason and, where there is one, the way out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was written: `file` (or a name for what was not a file) and `line`, counted from 1."""

    file: str = "<value>"
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class PolicyError(ValueError):
    """A policy or cluster object that cannot be read: file, line, field and reason."""

    def __init__(self, place: Place, field: str, reason: str) -> None:
        super().__init__(f"{place}: {field}: {reason}" if field else f"{place}: {reason}")
        self.place = place
        self.field = field
        self.reason = reason


class WorldError(ValueError):
    """Objects that are readable each, and make no cluster together."""


class UndecidableError(ValueError):
    """A well-formed value whose verdict the model does not know; never guessed."""
