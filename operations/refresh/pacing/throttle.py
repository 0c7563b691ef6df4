"""How many requests a second the API server takes: more while it keeps up, half as many as soon as it complains."""

from dataclasses import dataclass


@dataclass
class Bucket:
    """One second's worth of requests may be made at once.

    Args:
        rate: requests a second.
    """

    rate: float
    tokens: float = 0.0
    at: float = float("-inf")

    def saved(self, now: float) -> float:
        """Requests that may be made now."""
        return min(self.rate, self.tokens + (now - self.at) * self.rate)

    def fill(self, now: float) -> None:
        """Before it is asked whether one may be made: what was saved up until now, was at the rate until now."""
        self.tokens, self.at = self.saved(now), now

    def has(self, now: float) -> bool:
        """Whether one more request may be made now."""
        return self.saved(now) >= 1

    def spend(self) -> None:
        """It is made."""
        self.tokens -= 1

    def take(self, now: float) -> bool:
        """Make one more if that may be done now."""
        self.fill(now)
        may = self.has(now)
        if may:
            self.spend()
        return may

    def next_at(self, now: float) -> float:
        """When a request may be made next."""
        return now + max(0.0, 1 - self.saved(now)) / self.rate


@dataclass
class Throttle(Bucket):
    """Additive increase, multiplicative decrease.

    Args:
        rate: requests a second to begin with.
        lowest, highest: bounds of the rate.
    """

    rate: float = 50.0
    lowest: float = 1.0
    highest: float = 400.0
    quiet_until: float = float("-inf")
    cut_at: float = float("-inf")

    def saved(self, now: float) -> float:
        return super().saved(now) if now >= self.quiet_until else self.tokens

    def fill(self, now: float) -> None:
        if now >= self.quiet_until:
            super().fill(now)

    def has(self, now: float) -> bool:
        return now >= self.quiet_until and super().has(now)

    def next_at(self, now: float) -> float:
        return max(self.quiet_until, super().next_at(now))

    def well(self) -> None:
        """A request was answered."""
        self.rate = min(self.highest, self.rate + 0.25)

    def complained(self, now: float, retry_after: float = 0.0) -> None:
        """The server asked for fewer requests. Complaints about one burst count once."""
        if now - self.cut_at >= 1:
            self.rate = max(self.lowest, self.rate / 2)
            self.cut_at = now
            self.tokens = 0
        self.quiet_until = max(self.quiet_until, now + max(retry_after, 1.0))
