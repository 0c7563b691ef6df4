"""When what failed may be tried again."""

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from operations.refresh.actions import Key, Outcome
from operations.refresh.answers import Answer


@dataclass
class Try:
    """One action that failed, or that need not be repeated for a while."""

    failures: int = 0
    at: float = float("-inf")
    """Not before."""
    text: str = ""
    answer: Answer | None = None


@dataclass
class Retries:
    """Exponential back-off with jitter, for each action by its key.

    Args:
        seed: of the jitter.
    """

    seed: int = 0
    entries: dict[Key, Try] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - jitter, no secret

    def of(self, key: Key) -> Try | None:
        return self.entries.get(key)

    def ready_at(self, key: Key) -> float:
        entry = self.entries.get(key)
        return entry.at if entry is not None else float("-inf")

    def rest(self, key: Key, until: float) -> None:
        """It went well; should the world not show it, it is asked for again later."""
        self.entries[key] = Try(at=until)

    def failed(self, key: Key, outcome: Outcome, now: float, span: tuple[float, float]) -> None:
        """Wait, the longer the more often it fails in the same way.

        Args:
            span: seconds at first, and at most.
        """
        entry = self.entries.setdefault(key, Try())
        entry.failures = 1 if entry.answer is not outcome.answer else entry.failures + 1
        entry.text, entry.answer = outcome.text, outcome.answer
        first, most = span
        wait = max(min(most, first * 2.0 ** min(entry.failures - 1, 10)), outcome.retry_after)
        entry.at = now + wait * self._random.uniform(1.0, 1.25)

    def forget(self, key: Key) -> None:
        self.entries.pop(key, None)

    def prune(self, now: float) -> None:
        """Forget what was over long ago."""
        self.entries = {key: entry for key, entry in self.entries.items() if now < entry.at + 300}

    def keep(self, kinds: Collection[str], wanted: Callable[[Key], bool]) -> None:
        """Forget the entries of these kinds that nobody wants any more."""
        for key in [key for key in self.entries if key[0] in kinds and not wanted(key)]:
            del self.entries[key]
