"""How fast is fast enough: everything else need not end before the longest queue does.

Nobody can hurry the queue before a PodDisruptionBudget. Evictions that are ahead of it save no time, and what they take
from the API server and from the disruption controller is what that queue waits for.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from operations.refresh.model.values import BudgetKey, Pod
from operations.refresh.model.world import World
from operations.refresh.pacing.disruption_budgets import REFRESHED, DisruptionBudgets
from operations.refresh.pacing.throttle import Bucket

AHEAD = 1.1
"""How much faster than needed. What has fallen behind is made good at the next look, so there is no need for more."""
LEAST = 5.0
"""Evictions a second that are never worth saving."""
REMEMBERED = 8
"""Turns of a budget from which its quickest one is taken."""


@dataclass
class Tempo:
    """A rate for the evictions that stand in no long queue."""

    world: World
    budgets: DisruptionBudgets
    bucket: Bucket = field(default_factory=lambda: Bucket(LEAST))
    _evicted: dict[BudgetKey, deque[float]] = field(default_factory=dict)
    _turns: dict[BudgetKey, deque[float]] = field(default_factory=dict)
    _free: dict[BudgetKey, float] = field(default_factory=dict)
    longest: BudgetKey | None = None
    """The budget whose queue takes longest; None while that is not known."""
    _at: float = float("-inf")

    def evicted(self, budgets: Iterable[BudgetKey], now: float) -> None:
        """A pod under these budgets was evicted. Where others stood before it, its place was that of the one so many
        before as have room, and what lies between is a turn, up to when it could have gone: if a rate kept it waiting
        from then on, that says nothing about the queue, and would make the next rate lower still."""
        for key in budgets:
            free = self._free.pop(key, now)
            slots = self.world.slots(key)
            times = self._evicted.get(key)
            if times is None or times.maxlen != slots:
                times = self._evicted[key] = deque(maxlen=slots)
            if len(times) == slots and key in self.budgets.short:
                self._turns.setdefault(key, deque(maxlen=REMEMBERED)).append(free - times[0])
            times.append(now)
            self.budgets.short.discard(key)

    def refused(self, budgets: Iterable[BudgetKey]) -> None:
        """A pod under these budgets could not go yet."""
        for key in budgets:
            self._free.pop(key, None)

    def free(self, pod: Pod, now: float) -> None:
        """The pod's budgets allow its eviction now: from here on it is a rate that keeps it waiting."""
        self._look(now)
        for key in pod.budgets:
            self._free.setdefault(key, now)

    def limits(self, pod: Pod) -> list[Bucket]:
        """What holds back an eviction that the pod's budgets allow: nothing, if it stands in the longest queue."""
        return [] if self.longest is None or self.longest in pod.budgets else [self.bucket]

    @property
    def rate(self) -> float:
        """Evictions a second outside the longest queue."""
        return math.inf if self.longest is None else self.bucket.rate

    def _look(self, now: float) -> None:
        if now < self._at + REFRESHED:
            return
        self._at = now
        # the quickest turn that was seen: one that waited for something else says little about the queue
        known = ((key, turns) for key, turns in self._turns.items() if len(turns) > 1)
        lasts = {key: self.world.queue(key) * min(turns) for key, turns in known}
        self.longest = max(lasts, key=lambda key: (lasts[key], key), default=None)
        if self.longest is None or lasts[self.longest] <= 0:
            self.longest = None
            return
        others = self.world.remaining.pods - self.world.remaining.under[self.longest]
        self.bucket.rate = max(LEAST, AHEAD * others / lasts[self.longest])
