"""Every item of the survey: recognised, and decided or refused, for the journey `replace`.

Each decider is a pure function from `Seen` to one `Decision`, registered in the order in which people read them.
"""

from collections.abc import Iterable

from migration.facts import Decision
from operations.survey.decisions import calico, cluster, nodes, pods, vpc_cni
from operations.survey.decisions.base import Decider, Seen

DECIDERS: tuple[Decider, ...] = (
    *cluster.DECIDERS,
    *vpc_cni.DECIDERS,
    *calico.DECIDERS,
    *nodes.DECIDERS,
    *pods.DECIDERS,
)


def decide(seen: Seen, deciders: Iterable[Decider] = DECIDERS) -> tuple[Decision, ...]:
    """One decision for each item, in a fixed order."""
    return tuple(decider(seen) for decider in deciders)


__all__ = ["DECIDERS", "Seen", "decide"]
