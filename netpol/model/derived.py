"""What was worked out about a value, kept with the value."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

T = TypeVar("T")


class Derived:
    """Results that follow from one frozen value alone, each made once.

    They hang on the value because most hold it: a table elsewhere would keep both alive for ever, or lose a result
    whose parts somebody still knows by identity.
    """

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: dict[Hashable, object] = {}

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """The result under `key`, which must determine what `make` makes."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]  # type: ignore[return-value]
