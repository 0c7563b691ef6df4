"""One round of decisions."""

from collections import Counter
from dataclasses import dataclass, field

from operations.refresh.model.values import BudgetKey, WorkloadKey

LONGEST = 3600.0
"""Seconds until the next round where nothing is waited for."""


@dataclass
class Round:
    """What a round has found so far. Who takes one decides; a question takes none, and so cannot change when the next
    round comes.

    Args:
        now: seconds of the clock of the decisions.
    """

    now: float
    wake_at: float = field(init=False)
    """When to decide again though nothing happens: the earliest of what was asked for."""
    budgets: Counter[BudgetKey] = field(default_factory=Counter)
    """Pods chosen for eviction, by PodDisruptionBudget."""
    replicas: Counter[WorkloadKey] = field(default_factory=Counter)
    """The same by workload."""

    def __post_init__(self) -> None:
        self.wake_at = self.now + LONGEST

    def wake(self, at: float) -> None:
        """Decide again then, or before."""
        self.wake_at = min(self.wake_at, at)

    def over(self, waited: float, limit: float) -> bool:
        """Whether something has waited for so long; if not, decide again when it will have."""
        if waited < limit:
            self.wake(self.now + limit - waited)
        return waited >= limit
