"""What each PodDisruptionBudget would let go at the moment, as far as is known here.

The API server decides; knowing before only saves requests that it would refuse.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from operations.refresh.model.values import BudgetKey, Pod
from operations.refresh.model.world import World

NEVER_DELETED = 30.0
"""Seconds after which an eviction is not waiting to be counted: its pod was not deleted, and is forgotten later."""

REFRESHED = 1.0
"""Seconds for which the length of the longest queue is good."""


@dataclass
class DisruptionBudgets:
    """Requests under way, and evictions that the budgets' status does not show yet."""

    world: World
    asking: Counter[BudgetKey] = field(default_factory=Counter)
    spent: Counter[BudgetKey] = field(default_factory=Counter)
    short: set[BudgetKey] = field(default_factory=set)
    """Budgets that had no room for a pod since they last let one go: others stand before them."""
    _seen: dict[BudgetKey, str] = field(default_factory=dict)
    _unnoted: dict[tuple[BudgetKey, str], float] = field(default_factory=dict)
    _longest: float = 0.0
    _measured_at: float = float("-inf")
    _evicted: int = 0

    def begin(self, keys: Iterable[BudgetKey]) -> None:
        self.asking.update(keys)

    def end(self, keys: Collection[BudgetKey], *, evicted: bool) -> None:
        self._evicted += evicted
        for key in keys:
            self.asking[key] -= 1
            self.spent[key] += evicted

    # -- one pod --------------------------------------------------------------------------------

    def lets_go(self, pod: Pod, chosen: Counter[BudgetKey]) -> bool:
        """Whether it is worth asking for this pod now.

        Args:
            chosen: pods chosen in this round, by budget.
        """
        return not self._busy(pod, chosen) and self._full(pod) is None

    def choose(self, pod: Pod, chosen: Counter[BudgetKey]) -> bool:
        """Choose the pod if it is worth asking for it now: it then counts as chosen."""
        if not pod.budgets:
            return True
        for key in pod.budgets:
            version = self.world.budgets[key].version
            if self._seen.get(key) != version:  # a newer status has counted what was spent
                self._seen[key] = version
                self.spent[key] = 0
        if self._busy(pod, chosen):
            return False
        full = self._full(pod)
        if full is not None:
            self.short.add(full)
            return False
        chosen.update(pod.budgets)
        return True

    def _busy(self, pod: Pod, chosen: Counter[BudgetKey]) -> bool:
        """Two at once on one budget make the server wait for itself."""
        for key in pod.budgets:  # noqa: SIM110 - asked for thousands of pods in each round
            if self.asking[key] + chosen[key] >= 1:
                return True
        return False

    def _full(self, pod: Pod) -> BudgetKey | None:
        """The pod's budget, if it allows none now. A pod that is not ready may go beyond it, by its unhealthy pod
        policy; of several budgets none lets it go, and the API server says so."""
        if not pod.ready or len(pod.budgets) != 1:
            return None
        key = pod.budgets[0]
        budget = self.world.budgets[key]
        spent = self.spent[key] if self._seen.get(key) == budget.version else 0
        return key if budget.allowed <= spent else None

    def spare(self, pod: Pod) -> bool:
        """Whether all its budgets allow a disruption."""
        return all(self.world.budgets[key].allowed > 0 for key in pod.budgets)

    # -- the disruption controller --------------------------------------------------------------

    def see_uncounted(self, now: float) -> None:
        """Since when evictions wait to be counted."""
        budgets = self.world.budgets
        here = {(key, pod) for key in self.world.behind for pod in budgets[key].unnoted}
        self._unnoted = {each: self._unnoted.get(each, now) for each in here}

    def behind(self, now: float) -> float:
        """Seconds that the disruption controller is behind: the age of the oldest eviction that it has not counted.

        It is one goroutine for all budgets of the cluster (Kubernetes 1.35, pkg/controller/disruption): when more is
        evicted than it can count, every budget waits, also the one that everything else waits for.
        """
        ages = (now - since for since in self._unnoted.values())
        return max((age for age in ages if age < NEVER_DELETED), default=0.0)

    @property
    def counted(self) -> int:
        """Evictions so far that the disruption controller has counted, or need not count, as was seen last."""
        return self._evicted - len(self._unnoted)

    # -- queues ---------------------------------------------------------------------------------

    def measure(self, now: float) -> None:
        """The longest queue, now and then."""
        if now >= self._measured_at + REFRESHED:
            self._measured_at = now
            self._longest = max(map(self.world.queue, self.world.remaining.under), default=0.0)

    def urgency(self, pod: Pod) -> float:
        """Turns that the longest queue takes in which a pod stands; 0 if others take twice as long. Of those, the pods
        of one node go together: it is done sooner, and another one can begin in its place."""
        length = max(map(self.world.queue, pod.budgets), default=0.0)
        return length if 2 * length > self._longest else 0.0
