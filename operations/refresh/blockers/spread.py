"""Topology spread beside canary nodes: a node that takes no workload counts as an empty place all the same.

Source: Kubernetes, "Pod Topology Spread Constraints" (1.26 and later). A DoNotSchedule constraint compares with the
emptiest place of all nodes that have its key. `nodeTaintsPolicy`, left out, is Ignore: a tainted node is such a place.
`nodeAffinityPolicy`, left out, is Honor: one that the pod's node selector or affinity excludes is none. While a place
stays empty, no other may hold more than `maxSkew` pods: the rest is not scheduled again once it restarts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from migration.names import CANARY_TAINT
from operations.cluster import selectors
from operations.refresh.blockers import Blocker, Weight
from operations.refresh.blockers.homes import Place
from operations.refresh.model.present import Present
from operations.refresh.model.values import Pod, Spread

CANARY: Final[Mapping[str, str]] = {"key": CANARY_TAINT, "value": "true", "effect": "NoSchedule"}


@dataclass(frozen=True)
class Spreading:
    """Where pods may be spread."""

    canaries: Sequence[Place]
    """Those that are there, else those that the stage makes."""
    moments: Mapping[str, Sequence[Place]]
    """When -> nodes that take workloads then."""


def blockers(pods: Iterable[Pod], present: Present, around: Spreading) -> Iterator[Blocker]:
    """Workloads of which not all replicas could be scheduled again.

    Args:
        pods: those to look at; of each workload one is.
        present: says how many replicas it wants.
    """
    every: dict[tuple[str, str], list[Pod]] = {}
    for pod in pods:
        if pod.spread and not pod.terminating:
            every.setdefault((pod.namespace, str(pod.workload or pod.name)), []).append(pod)
    for together in every.values():
        first = together[0]
        for rule in first.spread:
            yield from _of(first, rule, max(len(together), _wanted(first, present)), around)


def _wanted(pod: Pod, present: Present) -> int:
    known = present.workloads.get(pod.workload) if pod.workload else None
    return known.replicas if known is not None else 1


def _of(pod: Pod, rule: Spread, replicas: int, around: Spreading) -> Iterator[Blocker]:
    empty = [
        place.labels[rule.key]
        for place in around.canaries
        if rule.key in place.labels
        and not (rule.honours_taints and not place.takes(pod))
        and (place.asked_for(pod) or not rule.honours_affinity)
        and not (place.takes(pod) and place.asked_for(pod))  # one that it may run on does not stay empty
    ]
    if not empty or not _counts_itself(pod, rule):
        return
    for when, places in around.moments.items():
        usable = {p.labels[rule.key] for p in places if rule.key in p.labels and p.takes(pod) and p.asked_for(pod)}
        most = rule.skew * len(usable)
        if usable and replicas > most and not usable.issuperset(empty):
            kind, namespace, name = pod.workload or ("Pod", pod.namespace, pod.name)
            yield Blocker(
                f"{kind.lower()} {namespace}/{name}",
                f"spreads its {replicas} replicas by {rule.key} with maxSkew {rule.skew} (DoNotSchedule), and counts "
                f"the canary nodes, on which it cannot run, as empty: {when}, {replicas - most} of them could not be "
                "scheduled once they restart",
                "Set nodeTaintsPolicy: Honor in that constraint; or raise its maxSkew",
                Weight.NEVER,
            )
            return


def _counts_itself(pod: Pod, rule: Spread) -> bool:
    try:
        return rule.selector is not None and selectors.matches(rule.selector, pod.labels)
    except selectors.UnknownOperator:
        return True
