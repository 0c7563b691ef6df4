"""When to decide again though nothing happens."""

from dataclasses import dataclass

LONGEST = 3600.0


@dataclass
class Alarm:
    """Set anew in every round of decisions; rings at the earliest of what was asked for.

    Args:
        at: seconds of the clock of the decisions.
    """

    at: float = float("inf")

    def reset(self, now: float) -> None:
        """Nothing is waited for yet."""
        self.at = now + LONGEST

    def set(self, at: float) -> None:
        """Ring then, or before."""
        self.at = min(self.at, at)

    def over(self, waited: float, limit: float, now: float) -> bool:
        """Whether something has waited for so long; if not, ring when it will have."""
        if waited < limit:
            self.set(now + limit - waited)
        return waited >= limit
