"""How old a verdict is: since when there are changes that no proof covers. Pure.

A verdict covers what had been seen when its proof began. While nothing is left uncovered it is as good as new, however
long ago the proof was.
"""

from dataclasses import dataclass


@dataclass
class Covering:
    """Times are those of a clock that never goes back, in seconds."""

    began: float
    """Since when there has been anything to cover: nothing is before the first proof."""
    _waiting: float | None = None
    """When the first change was seen that no proof has begun for."""
    _proving: float | None = None
    """The same of the proof that is under way."""
    _proved: bool = False

    def changed(self, at: float) -> None:
        """Something was seen that a verdict has to cover; or nothing can be seen any more."""
        if self._waiting is None:
            self._waiting = at

    def begins(self) -> None:
        """A proof begins, of everything seen so far."""
        if self._proving is None:
            self._proving = self._waiting
        self._waiting = None

    def ends(self) -> None:
        """It has a verdict."""
        self._proving, self._proved = None, True

    def fails(self) -> None:
        """It has none: what it would have covered waits on."""
        self._waiting = self._proving if self._proving is not None else self._waiting
        self._proving = None

    @property
    def waiting(self) -> bool:
        """Whether something was seen that no proof has begun for."""
        return self._waiting is not None

    def age(self, now: float) -> float:
        """Seconds since the verdict last covered the newest change seen."""
        if not self._proved:
            return now - self.began
        first = min((t for t in (self._waiting, self._proving) if t is not None), default=now)
        return max(0.0, now - first)
