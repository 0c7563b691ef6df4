"""How many evictions a second the disruption controller can count.

It does not complain: it is only late, and with it every budget, also the one that everything else waits for. While it
has a queue, what it counts is all that it can; so that is what it is asked for, a little less until the queue is gone.
"""

import math
from dataclasses import dataclass

from operations.refresh.throttle import Bucket

LATE = 1.0
"""Seconds that it may be behind before evictions slow down."""
FAR_BEHIND = 2.0
"""Seconds behind from which on its queue has to become shorter soon."""
CALM = 3.0
"""Seconds without being late until more is tried at all."""
CAREFUL = 30.0
"""Seconds without being late until more is tried boldly."""
OF_LATE = 2.0
"""Seconds over which it is reckoned how many it counts."""


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
    """Evictions a second that it counted when it was late."""
    _counted: int = 0
    _a_second: float = 0.0
    _at: float = float("-inf")
    _late_at: float = float("-inf")
    _cut_at: float = float("-inf")

    def look(self, behind: float, counted: int, now: float) -> None:
        """How it stands.

        Args:
            behind: seconds that the controller is behind.
            counted: evictions that it has counted so far.
        """
        passed, more = now - self._at, counted - self._counted
        fading = math.exp(-passed / OF_LATE)
        self._a_second = max(0.0, self._a_second * fading + more / OF_LATE)
        self._counted, self._at = counted, now
        if behind > LATE:
            self._slow_down(behind, now)
        elif now - self._late_at >= CALM:
            # often it was not too much, but something else kept the server busy for a moment
            boldly = self.rate < self.enough or now - self._late_at >= CAREFUL
            self.rate = min(self.highest, self.rate * math.exp((0.25 if boldly else 0.04) * min(1.0, passed)))

    def _slow_down(self, behind: float, now: float) -> None:
        new = now - self._late_at >= CALM
        self._late_at = now
        self.enough = self._a_second if new else max(self.enough, self._a_second)
        if now - self._cut_at >= OF_LATE:  # until then what was cut before has hardly shown
            share = 0.8 if behind < FAR_BEHIND else 0.5
            self.rate = min(self.rate, max(self.lowest, share * self._a_second))
            self._cut_at = now
