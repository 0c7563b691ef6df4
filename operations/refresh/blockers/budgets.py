"""PodDisruptionBudgets that let no pod go."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from operations.cluster import objects
from operations.refresh.blockers import Blocker, Weight
from operations.refresh.model.values import BudgetKey, DisruptionBudget, Pod


def blockers(
    budgets: Mapping[BudgetKey, DisruptionBudget], under: Mapping[BudgetKey, Sequence[str]]
) -> Iterator[Blocker]:
    """Budgets that keep pods from moving.

    Args:
        under: budget -> names of the pods under it that have to move.
    """
    for key, names in sorted(under.items()):
        yield from of(
            budgets[key], f", and {objects.count(len(names), 'pod')} under it must move: {objects.some(names)}"
        )


def of(budget: DisruptionBudget, who: str = "") -> Iterator[Blocker]:
    """Why a budget lets no pod go at the moment.

    Args:
        who: about the pods that have to move, for the end of the sentence.
    """
    about, weight = f"poddisruptionbudget {budget}", Weight.NOT_NOW
    if budget.unreadable:
        problem = f"has an operator in its selector that is not known here ({', '.join(sorted(budget.unreadable))})"
        fix, weight = "Write its selector with In, NotIn, Exists or DoesNotExist", Weight.NEVER
    elif budget.failure:
        problem, weight = f"cannot be counted, so it allows no disruption: {budget.failure}", Weight.NEVER
        fix = "Let it select pods of Deployments, ReplicaSets or StatefulSets only, or set minAvailable to a number"
    elif not budget.current or not budget.expected:
        problem, fix = (
            "has not been counted by its controller yet",
            "Wait; look at the controller manager if it stays so",
        )
    elif budget.whole == 0:
        problem, weight = "never allows a disruption", Weight.NEVER
        fix = (
            f"It wants {budget.desired} of {budget.expected} healthy. Allow one pod to be away (maxUnavailable: 1), "
            "or run one more replica"
        )
    elif budget.allowed == 0:
        problem = (
            f"allows no disruption now ({budget.healthy} of {budget.expected} pods are healthy, it wants "
            f"{budget.desired})"
        )
        fix = "Repair its pods; where broken ones may go, set unhealthyPodEvictionPolicy: AlwaysAllow"
    else:
        return
    yield Blocker(about, f"{problem}{who}", fix, weight)


def several(pods: Iterable[Pod], budgets: Mapping[BudgetKey, DisruptionBudget]) -> Iterator[Blocker]:
    """Pods under more than one budget: the eviction API refuses them, whatever the budgets allow (Kubernetes 1.35,
    pkg/registry/core/pod/storage/eviction.go)."""
    for pod in pods:
        names = sorted(key[1] for key in pod.budgets if key in budgets and not budgets[key].unreadable)
        if len(names) > 1:
            yield Blocker(
                f"pod {pod}",
                f"more than one PodDisruptionBudget selects it ({', '.join(names)}), so the API server never evicts it",
                "Leave one of them",
                Weight.NEVER,
            )
