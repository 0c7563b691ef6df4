"""When what failed may be tried again."""

import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from operations.refresh.model.actions import Key, Outcome
from operations.refresh.model.answers import Answer


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
    _kinds: dict[str, dict[str, Try]] = field(default_factory=lambda: defaultdict(dict))
    """Kind of action -> what it is about; what concerns few must not cost a look at thousands."""

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - jitter, no secret

    def of(self, key: Key) -> Try | None:
        return self._kinds.get(key[0], {}).get(key[1])

    def of_kind(self, kind: str) -> Iterator[tuple[str, Try]]:
        """What each is about, and how it stands."""
        yield from self._kinds.get(kind, {}).items()

    def ready_at(self, key: Key) -> float:
        entry = self.of(key)
        return entry.at if entry is not None else float("-inf")

    def rest(self, key: Key, until: float) -> None:
        """It went well; should the world not show it, it is asked for again later."""
        self._kinds[key[0]][key[1]] = Try(at=until)

    def failed(self, key: Key, outcome: Outcome, now: float, span: tuple[float, float]) -> None:
        """Wait, the longer the more often it fails in the same way.

        Args:
            span: seconds at first, and at most.
        """
        entry = self._kinds[key[0]].setdefault(key[1], Try())
        entry.failures = 1 if entry.answer is not outcome.answer else entry.failures + 1
        entry.text, entry.answer = outcome.text, outcome.answer
        first, most = span
        wait = max(min(most, first * 2.0 ** min(entry.failures - 1, 10)), outcome.retry_after)
        entry.at = now + wait * self._random.uniform(1.0, 1.25)

    def forget(self, key: Key) -> None:
        self._kinds[key[0]].pop(key[1], None)

    def prune(self, now: float) -> None:
        """Forget what went well and is shown by now."""
        for entries in self._kinds.values():
            for about in [about for about, entry in entries.items() if not entry.failures and now >= entry.at]:
                del entries[about]

    def keep(self, kinds: Collection[str], wanted: Callable[[Key], bool]) -> None:
        """Forget the entries of these kinds that nobody wants any more."""
        for kind in kinds:
            entries = self._kinds[kind]
            for about in [about for about in entries if not wanted((kind, about))]:
                del entries[about]
