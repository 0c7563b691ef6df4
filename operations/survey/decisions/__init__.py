"""Every item of the survey: recognised, and decided or refused, for the journey `replace`.

Each decider is a pure function from `Seen` to one `Decision`, registered in the order in which people read them. The
survey asks all of them once; gates ask again those that still matter.
"""

from collections.abc import Iterable
from typing import Final

from migration.facts import Decision
from migration.journeys import Piece, Stage
from operations.survey.decisions import calico, cluster, nodes, pods, vpc_cni
from operations.survey.decisions.base import Decider, Seen

DECIDERS: tuple[Decider, ...] = (
    *cluster.DECIDERS,
    *vpc_cni.DECIDERS,
    *calico.DECIDERS,
    *nodes.DECIDERS,
    *pods.DECIDERS,
)

_OF_THE_OWNER: Final = frozenset({cluster.identity_provider, vpc_cni.is_there, nodes.group_names})
"""What an owned cluster gets from its stack: it may not be there yet, or is there under this name."""


def mattering(stage: Stage | None, *, adopted: bool) -> tuple[Decider, ...]:
    """The deciders whose answer matters for a deploy of a stage; without a stage, all of an adopted cluster's."""
    if stage is not None and Piece.CALICO not in stage.pieces:
        return calico.ON_REMOVAL
    found = DECIDERS if adopted else tuple(d for d in DECIDERS if d not in _OF_THE_OWNER)
    if stage is not None and Piece.VPC_CNI not in stage.pieces:
        found = tuple(d for d in found if d is not vpc_cni.is_there)
    return found


def decide(seen: Seen, deciders: Iterable[Decider] = DECIDERS) -> tuple[Decision, ...]:
    """One decision for each item, in a fixed order."""
    return tuple(decider(seen) for decider in deciders)


__all__ = ["DECIDERS", "Seen", "decide", "mattering"]
