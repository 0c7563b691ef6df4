"""Pods that have still to go, by budget and by node."""

from collections import Counter, defaultdict
from typing import TypeVar

from operations.refresh.model.values import BudgetKey, Pod

_T = TypeVar("_T")


class Remaining:
    """Kept up pod by pod, so that nobody has to count thousands."""

    def __init__(self) -> None:
        self.pods = 0
        """All of them, under budgets or not."""
        self.under: Counter[BudgetKey] = Counter()
        """Under each budget, over all old nodes."""
        self.of_node: dict[str, Counter[BudgetKey]] = defaultdict(Counter)
        """Old node -> how many of its pods stand under each budget."""
        self.of_budget: dict[BudgetKey, Counter[str]] = defaultdict(Counter)
        """The other way round."""

    def add(self, pod: Pod, by: int) -> None:
        """One pod more, or less."""
        self.pods += by
        for key in pod.budgets:
            _add(self.under, key, by)
            _add(self.of_node[pod.node], key, by)
            _add(self.of_budget[key], pod.node, by)


def _add(counter: Counter[_T], key: _T, by: int) -> None:
    """What is at zero is not kept."""
    counter[key] += by
    if not counter[key]:
        del counter[key]
