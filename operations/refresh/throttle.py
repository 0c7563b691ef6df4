"""How many requests a second: more while the API server keeps up, half as many as soon as it complains."""

import math
from dataclasses import dataclass

FAR_BEHIND = 2.0
"""Seconds of lag at which the rate is not a little too high, but was wrong."""
CAREFUL = 30.0
"""Seconds without a lag until more is tried boldly again."""
CALM = 3.0
"""Seconds without a lag until it is over, and more is tried at all."""
OF_LATE = 2.0
"""Seconds over which the rate that is really made is reckoned."""


@dataclass
class Bucket:
    """One second's worth of requests may be made at once.

    Args:
        rate: requests a second.
    """

    rate: float
    tokens: float = 0.0
    at: float = float("-inf")

    def take(self, now: float) -> bool:
        """Whether one more request may be made now."""
        if self.at > float("-inf"):
            self.tokens = min(self.rate, self.tokens + (now - self.at) * self.rate)
        else:
            self.tokens = self.rate
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def next_at(self, now: float) -> float:
        """When a request may be made next."""
        return now + max(0.0, 1 - self.tokens) / self.rate


@dataclass
class Throttle(Bucket):
    """Additive increase, multiplicative decrease.

    Args:
        rate: requests a second to begin with.
        lowest, highest: bounds of the rate.
        lowest_lagging: the same for a server that does not complain and is only slow.
    """

    rate: float = 50.0
    lowest: float = 1.0
    highest: float = 400.0
    lowest_lagging: float = 5.0
    quiet_until: float = float("-inf")
    cut_at: float = float("-inf")
    lagged_at: float = float("-inf")
    well_at: float = float("-inf")
    too_much: float = 0.0
    """Requests a second when the last lag began."""
    _made: float = 0.0
    _made_at: float = float("-inf")

    def take(self, now: float) -> bool:
        if now < self.quiet_until or not super().take(now):
            return False
        self._made, self._made_at = self.going(now) + 1 / OF_LATE, now
        return True

    def going(self, now: float) -> float:
        """Requests a second that were made of late; fewer than the rate when there is less to do."""
        return self._made * math.exp((self._made_at - now) / OF_LATE)

    def next_at(self, now: float) -> float:
        return max(self.quiet_until, super().next_at(now))

    def well(self, now: float) -> None:
        """A request was answered. After a lag the rate comes back quickly, and what is more is sought slowly: often it
        was not too much, but something else kept the server busy for a moment."""
        since, more = now - self.lagged_at, 0.0
        if since >= CAREFUL:
            more = 0.25
        elif since >= CALM:
            more = self.rate * (0.25 if self.rate < self.too_much else 0.04) * min(1.0, now - self.well_at)
        self.rate, self.well_at = min(self.highest, self.rate + more), now

    def lagging(self, now: float, seconds: float) -> None:
        """What the requests set off is late by so many seconds; at least a few requests go on.

        It was too much for what was really asked, not for a rate that nobody made use of.
        """
        if now - self.lagged_at > CALM:
            self.too_much = self.rate = min(self.rate, max(self.going(now), self.lowest_lagging))
        self.lagged_at = now
        if now - self.cut_at >= 2:  # until then what was cut before has hardly shown
            self.rate = max(min(self.rate, self.lowest_lagging), self.rate * (0.8 if seconds < FAR_BEHIND else 0.5))
            self.cut_at = now

    def complained(self, now: float, retry_after: float = 0.0) -> None:
        """The server asked for fewer requests. Complaints about one burst count once."""
        if now - self.cut_at >= 1:
            self.rate = max(self.lowest, self.rate / 2)
            self.cut_at = now
            self.tokens = 0
        self.quiet_until = max(self.quiet_until, now + max(retry_after, 1.0))
