"""What would keep a node refresh from ending: pods that may not or cannot be moved. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from operations import objects, selectors
from operations.cluster import Obj
from operations.evidence import Finding


def budget_blockers(pods: Iterable[Obj], budgets: Iterable[Obj]) -> Iterator[Finding]:
    """Budgets that allow no eviction of a pod that has to move, and pods under more than one.

    Args:
        pods: those that have to move.
        budgets: every PodDisruptionBudget.
    """
    by_namespace: dict[str, list[Obj]] = {}
    for budget in budgets:
        by_namespace.setdefault(objects.namespace(budget), []).append(budget)
    stuck: dict[str, list[str]] = {}
    for pod in pods:
        over = [
            b
            for b in by_namespace.get(objects.namespace(pod), [])
            if "selector" in b["spec"] and selectors.matches(b["spec"]["selector"], objects.labels(pod))
        ]
        if len(over) > 1:
            listed = objects.some(objects.name(b) for b in over)
            yield Finding(
                f"pod {objects.key(pod)}",
                f"is under {len(over)} budgets ({listed}): the API server refuses to evict it",
                "Leave one budget that selects it",
            )
        for budget in over:
            if never_allows(budget):
                stuck.setdefault(objects.key(budget), []).append(objects.name(pod))
    for key, names in sorted(stuck.items()):
        yield Finding(
            f"poddisruptionbudget {key}",
            f"never allows a disruption, and {objects.count(len(names), 'pod')} under it must move: "
            f"{objects.some(names)}",
            "Allow one pod to be away (maxUnavailable: 1), or run one more replica",
        )


def never_allows(budget: Obj) -> bool:
    """Whether a budget allows nothing although everything under it is healthy: waiting would not help."""
    status = budget.get("status") or {}
    healthy, expected = status.get("currentHealthy", 0), status.get("expectedPods", 0)
    return bool(expected) and not status.get("disruptionsAllowed", 0) and healthy >= expected


def bare_pods(pods: Iterable[Obj]) -> Iterator[Finding]:
    """Pods that nobody makes again."""
    for pod in pods:
        if not objects.owner_kind(pod):
            yield Finding(
                f"pod {objects.key(pod)}",
                "has no controller: once evicted it is gone",
                "Put it under a Deployment or Job, or delete it",
            )


def local_volumes(pods: Iterable[Obj], claims: Mapping[str, Obj], volumes: Mapping[str, Obj]) -> Iterator[Finding]:
    """Pods whose volumes are disks of their node.

    Args:
        claims: PersistentVolumeClaims by `namespace/name`.
        volumes: PersistentVolumes by name.
    """
    for pod in pods:
        for volume in pod["spec"].get("volumes") or []:
            claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            bound = (claims.get(f"{objects.namespace(pod)}/{claim}") or {}).get("spec", {}).get("volumeName")
            spec = (volumes.get(bound or "") or {}).get("spec") or {}
            if "local" in spec or "hostPath" in spec:
                yield Finding(
                    f"pod {objects.key(pod)}",
                    f"its volume {bound} is a disk of {objects.node_of(pod)} and stays behind",
                    "Move the data to a volume that can follow, or remove the pod and its claim",
                )
