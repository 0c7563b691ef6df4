"""Whether the configured stage may be next, and how it is entered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from migration.declared import digest
from migration.desired import Desired, desired
from migration.facts import Facts
from migration.guarding.guard import guarded
from migration.journeys import JOURNEYS, Journey, Piece, Stage
from migration.manifests import Manifest
from migration.settings import Settings
from migration.transition.recorded import Asks, Marker, Recorded, half_way, is_unfinished, keeps_no_digest
from migration.transition.refusals import (
    Refused,
    fixed,
    reached,
    refuse_changed_values,
    refuse_early_removal,
    refuse_layer7,
    refuse_step,
    refuse_unless_gone,
    refuse_version,
    stage_at,
)


class Direction(StrEnum):
    START = "start"
    STAY = "stay"
    FORWARD = "forward"
    BACK = "back"
    FINISH = "finish"
    """The stage is reached, and what it deletes is not gone yet."""
    CHANGE = "change"
    """The stage is reached, and what is declared at it changes."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """A deploy that is allowed."""

    stage: Stage
    direction: Direction
    marker: Marker
    desired: Desired
    removes: frozenset[Piece]
    """Pieces that this deploy deletes."""
    asks: Asks

    @property
    def stays(self) -> bool:
        return self.direction is Direction.STAY


def plan_move(
    recorded: Recorded,
    settings: Settings,
    facts: Facts | None,
    *,
    policies: Mapping[str, Sequence[Manifest]] = {},
    new_id: str | None = None,
) -> Move:
    """Whether the configured stage may be next, and how it is entered.

    Args:
        policies: by engine, as the files say.
        new_id: random; becomes the id of a stack that has none yet.

    Raises:
        Refused: a skip, an unknown stage, a change of journey half-way, a step back over a point of no return, a
            protected piece that would go early, a changed value that this stage fixes, or a version of Cilium that
            cannot follow the one that runs.
    """
    journey = JOURNEYS[settings.journey]
    if settings.stage not in journey.index:
        raise Refused(
            f"stage {settings.stage!r} does not exist on the journey {journey.name}. "
            f"Its stages are: {', '.join(journey.index)}. Correct eks-cilium:stage"
        )
    target = journey[settings.stage]
    came_from = reached(recorded, journey, target)
    wanted = desired(settings, facts, target.id)
    left = _left(recorded, settings, facts, came_from)
    refuse_step(recorded, journey, came_from, target)
    refuse_unless_gone(left, journey, came_from, wanted)
    refuse_early_removal(recorded, wanted)
    refuse_changed_values(recorded, settings, came_from, target)
    refuse_version(recorded, settings, came_from, target)
    refuse_layer7(settings, policies.get("cilium", ()))
    declared = digest(settings, wanted, policies)
    direction = _direction(recorded, journey, came_from, target)
    if direction is Direction.STAY and left:
        direction = Direction.FINISH
    elif direction is Direction.STAY and _changes(recorded, declared):
        direction = Direction.CHANGE
    marker = _marker(recorded, settings, wanted, direction=direction, came_from=came_from)
    removes: frozenset[Piece] = frozenset() if came_from is None else came_from.pieces - target.pieces
    return Move(
        stage=target,
        direction=direction,
        marker=replace(
            marker,
            declared=None if direction is Direction.STAY and keeps_no_digest(recorded) else declared,
            id=marker.id or new_id,
            guarded=_guarded(recorded, journey, came_from, target, direction),
        ),
        desired=wanted,
        removes=left if direction is Direction.FINISH else removes,
        asks=_asks(direction, recorded),
    )


def _guarded(
    recorded: Recorded, journey: Journey, came_from: Stage | None, target: Stage, direction: Direction
) -> tuple[str, ...]:
    """What is guarded meanwhile: also for nodes of the stage that was reached, and of one that did not finish."""
    last = recorded.marker
    if direction is Direction.STAY and last is not None and last.guarded is not None:
        return last.guarded
    half = half_way(recorded, came_from)
    begun = [stage for stage in journey.stages if half is not None and stage.place == half]
    return tuple(sorted(map(str, guarded(target, *([came_from] if came_from else []), *begun))))


def _changes(recorded: Recorded, declared: str) -> bool:
    """Whether a deploy that stays changes something: what is declared, or what one before it left unfinished."""
    marker = recorded.marker
    if marker is None:
        return False
    return is_unfinished(recorded) or (marker.declared is not None and marker.declared != declared)


def _asks(direction: Direction, recorded: Recorded) -> Asks:
    if direction is Direction.CHANGE:
        # What did not finish may have broken the very agents that would be asked; it has to be put right or taken
        # back somehow. The settling asks them afterwards.
        return Asks.IDENTITY if is_unfinished(recorded) else Asks.STEADY
    if direction is not Direction.STAY:
        return Asks.GATE
    return Asks.STEADY if keeps_no_digest(recorded) else Asks.IDENTITY


def _left(recorded: Recorded, settings: Settings, facts: Facts | None, came_from: Stage | None) -> frozenset[Piece]:
    """What the stage that was reached should have deleted: a deletion that fails does so behind the settling."""
    if came_from is None or half_way(recorded, came_from) is not None:
        return frozenset()
    return recorded.present - desired(settings, facts, came_from.id).pieces


def _direction(recorded: Recorded, journey: Journey, came_from: Stage | None, target: Stage) -> Direction:
    if came_from is None:
        return Direction.START
    here, there = journey.index[came_from.id], journey.index[target.id]
    if there != here:
        return Direction.FORWARD if there > here else Direction.BACK
    half = half_way(recorded, came_from)
    if half is None:
        return Direction.STAY
    begun = stage_at(journey, half)
    return Direction.BACK if journey.index[begun.id] > here else Direction.FORWARD


def _marker(
    recorded: Recorded, settings: Settings, wanted: Desired, *, direction: Direction, came_from: Stage | None
) -> Marker:
    last, target = recorded.marker, wanted.stage
    # A settling may have run without its marker, which --target can leave out: its number is used up too.
    attempt = max(last.attempt if last else 0, recorded.settle_attempt or 0) + 1
    leaving, unfinished = None, half_way(recorded, came_from)
    asks = _asks(direction, recorded)
    cilium = settings.cilium.version if Piece.CILIUM in target.pieces else None
    before = last.cilium if last else None
    if last is not None and last.attempt != recorded.settle_attempt:
        before = last.cilium_before
    if direction is Direction.STAY and last is not None:
        # Nothing was changed since the last deploy: keep its attempt, so that nothing runs again.
        attempt, asks = last.attempt, last.asks
        leaving, unfinished, before = last.leaving, last.unfinished, last.cilium_before
    elif direction is Direction.FINISH and last is not None:
        leaving = last.leaving
    elif direction is Direction.BACK:
        leaving = came_from.id if came_from and came_from.id != target.id else unfinished
    may_not_change = fixed(settings, target)
    if settings.cluster.adopt:
        may_not_change["cluster.takeOver"] = settings.cluster.take_over
    return Marker(
        place=target.place,
        attempt=attempt,
        leaving=leaving,
        unfinished=unfinished,
        protected=tuple(sorted(wanted.protected_names)),
        fixed=may_not_change,
        id=last.id if last else None,
        asks=asks,
        cilium=cilium,
        cilium_before=before if cilium else None,
    )
