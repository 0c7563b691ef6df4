"""How many requests a second: more while the API server keeps up, half as many as soon as it complains."""

from dataclasses import dataclass


@dataclass
class Throttle:
    """Additive increase, multiplicative decrease, over a bucket of one second's worth of requests.

    Args:
        rate: requests a second to begin with.
        lowest, highest: bounds of the rate.
    """

    rate: float = 50.0
    lowest: float = 1.0
    highest: float = 400.0
    tokens: float = 0.0
    at: float = float("-inf")
    quiet_until: float = float("-inf")
    cut_at: float = float("-inf")

    def take(self, now: float) -> bool:
        """Whether one more request may be made now."""
        if now < self.quiet_until:
            return False
        self.tokens = (
            min(self.rate, self.tokens + (now - self.at) * self.rate) if self.at > float("-inf") else self.rate
        )
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def next_at(self, now: float) -> float:
        """When a request may be made next."""
        return max(self.quiet_until, now + max(0.0, 1 - self.tokens) / self.rate)

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
