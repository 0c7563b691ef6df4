"""How many evictions a second the disruption controller can count.

It does not complain: it is only late, and with it every budget, also the one that everything else waits for. Often
that was no more than a moment in which something else kept the server busy. If not, what it counts while it has a queue
is all that it can: that is what it is asked for, and less until the queue is gone.
"""

import math
from dataclasses import dataclass, field

from operations.refresh.pacing.throttle import Bucket

LATE = 1.0
"""Seconds that it may be behind before evictions slow down."""
FAR_BEHIND = 2.0
"""Seconds behind from which on its queue has to become shorter soon."""
CALM = 3.0
"""Seconds without being late until more is tried at all."""
CAREFUL = 30.0
"""Seconds without being late until more is tried boldly."""
OF_LATE = 2.0
"""Seconds over which what is made, and what it counts, is reckoned."""


@dataclass
class Meter:
    """How many a second of late."""

    _value: float = 0.0
    _at: float = float("-inf")

    def add(self, number: int, now: float) -> None:
        self._value, self._at = max(0.0, self.a_second(now) + number / OF_LATE), now

    def a_second(self, now: float) -> float:
        return self._value * math.exp((self._at - now) / OF_LATE)


@dataclass
class Easing(Bucket):
    """A rate for all evictions.

    Args:
        rate, highest: evictions a second to begin with, and at most.
        lowest: evictions that are always made, so that what is late can be seen to be late no more.
    """

    rate: float = 400.0
    highest: float = 400.0
    lowest: float = 5.0
    enough: float = 0.0
    """Evictions a second when it was late the last time, a little less."""
    made: Meter = field(default_factory=Meter)
    counted: Meter = field(default_factory=Meter)
    _counted: int = 0
    _looked_at: float = float("-inf")
    _late_at: float = float("-inf")
    _cut_at: float = float("-inf")

    def spend(self) -> None:
        super().spend()
        self.made.add(1, self.at)

    def look(self, behind: float, counted: int, now: float) -> None:
        """How it stands.

        Args:
            behind: seconds that the controller is behind.
            counted: evictions so far that it need not count, or has counted.
        """
        self.counted.add(counted - self._counted, now)
        self._counted, passed, self._looked_at = counted, now - self._looked_at, now
        calm = now - self._late_at
        if behind > LATE:
            self._slow_down(behind, now)
        elif calm >= CALM:
            boldly = self.rate < self.enough or calm >= CAREFUL
            self.rate = min(self.highest, self.rate * math.exp((0.25 if boldly else 0.04) * min(1.0, passed)))

    def _slow_down(self, behind: float, now: float) -> None:
        began = now - self._late_at >= CALM
        self._late_at = now
        if began:
            made, most = self.made.a_second(now), 2 * self.counted.a_second(now)
            self.enough, self._cut_at = min(most, 0.9 * made), now
            self.rate = min(self.rate, max(self.lowest, min(most, 0.8 * made)))
        elif now - self._cut_at >= OF_LATE:  # until then what was cut before has hardly shown
            share = 0.8 if behind < FAR_BEHIND else 0.5
            self.rate = min(self.rate, max(self.lowest, share * self.counted.a_second(now)))
            self._cut_at = now
