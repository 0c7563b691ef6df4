"""Which stage may follow which: what a stack's own state says, and whether the configured stage may be next.

Everything refused here is refused before a single resource is registered.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from migration.desired import Desired, desired
from migration.facts import Facts
from migration.journeys import JOURNEYS, Journey, Piece, Stage
from migration.settings import Settings


class Refused(Exception):
    """The configured stage may not be next. The text names the stage, the reason and what to do."""


@dataclass(frozen=True, kw_only=True)
class Marker:
    """What the stack's marker resource holds: the deploy that began last."""

    place: str
    attempt: int
    leaving: str | None = None
    """Stage that was left backwards; its `leave` checks belong to the gate."""
    unfinished: str | None = None
    """Place of an earlier deploy that made changes and did not finish."""
    protected: tuple[str, ...] = ()
    frozen: Mapping[str, Any] = field(default_factory=dict)

    def dump(self) -> dict[str, Any]:
        return {
            "place": self.place,
            "attempt": self.attempt,
            "leaving": self.leaving or "",
            "unfinished": self.unfinished or "",
            "protected": list(self.protected),
            "frozen": dict(self.frozen),
        }

    @classmethod
    def load(cls, values: Mapping[str, Any]) -> Self:
        return cls(
            place=values["place"],
            attempt=int(values["attempt"]),
            leaving=values.get("leaving") or None,
            unfinished=values.get("unfinished") or None,
            protected=tuple(values.get("protected") or ()),
            frozen={key: _whole(value) for key, value in (values.get("frozen") or {}).items()},
        )


def _whole(value: Any) -> Any:
    """The engine hands every number over as a float."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What the stack says about itself: its outputs, its marker, and the last gate that passed."""

    journey: str | None = None
    stage: str | None = None
    """Stage that was reached last; an unfinished deploy does not change it."""
    marker: Marker | None = None
    gate_attempt: int | None = None
    """Attempt of the last gate that passed: changes were made only behind it."""
    settle_attempt: int | None = None
    """Attempt of the last deploy that finished, but for deletions: the engine makes these last of all."""
    present: frozenset[Piece] = frozenset()
    """Pieces of which the stack still has something."""


class Direction(StrEnum):
    START = "start"
    STAY = "stay"
    FORWARD = "forward"
    BACK = "back"
    FINISH = "finish"
    """The stage is reached, and what it deletes is not gone yet."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """A deploy that is allowed."""

    stage: Stage
    direction: Direction
    marker: Marker
    desired: Desired
    removes: frozenset[Piece]
    """Pieces that this deploy deletes: their gate runs before anything is registered."""

    @property
    def stays(self) -> bool:
        return self.direction is Direction.STAY


def plan_move(recorded: Recorded, settings: Settings, facts: Facts | None) -> Move:
    """Whether the configured stage may be next, and how it is entered.

    Raises:
        Refused: a skip, an unknown stage, a change of journey half-way, a step back over a point of no return, a
            protected piece that would go early, or a changed value that this stage fixes.
    """
    journey = JOURNEYS[settings.journey]
    if settings.stage not in journey.index:
        raise Refused(
            f"stage {settings.stage!r} does not exist on the journey {journey.name}. "
            f"Its stages are: {', '.join(journey.index)}. Correct eks-cilium:stage"
        )
    target = journey[settings.stage]
    came_from = _reached(recorded, journey, target)
    wanted = desired(settings, facts, target.id)
    left = _left(recorded, settings, facts, came_from)
    _refuse_step(recorded, journey, came_from, target)
    _refuse_unless_gone(left, journey, came_from, wanted)
    _refuse_early_removal(recorded, wanted)
    _refuse_thaw(recorded, settings, came_from, target)
    direction = _direction(recorded, journey, came_from, target)
    if direction is Direction.STAY and left:
        direction = Direction.FINISH
    removes: frozenset[Piece] = frozenset() if came_from is None else came_from.pieces - target.pieces
    return Move(
        stage=target,
        direction=direction,
        marker=_marker(recorded, settings, wanted, direction=direction, came_from=came_from),
        desired=wanted,
        removes=left if direction is Direction.FINISH else removes,
    )


def _reached(recorded: Recorded, journey: Journey, target: Stage) -> Stage | None:
    """The stage the stack is at, in terms of the configured journey."""
    if recorded.stage is None or recorded.journey is None:
        return None
    before = JOURNEYS.get(recorded.journey)
    if before is None or recorded.stage not in before.index:
        raise Refused(
            f"the stack says that it is at {recorded.journey}/{recorded.stage}, which this version does not know. "
            "Use the version of the program that deployed it"
        )
    if before.name == journey.name:
        return before[recorded.stage]
    at_the_end = before[recorded.stage].place == journey.last.place == target.place
    if at_the_end and target is journey.last and len(journey.stages) == 1:
        return target
    raise Refused(
        f"the journey cannot change from {before.name} to {journey.name} at stage {recorded.stage}: only its last "
        f"stage, {before.last.id}, may become greenfield. Set eks-cilium:journey back to {before.name}"
    )


def _begun(recorded: Recorded, came_from: Stage | None) -> str | None:
    """Place of a deploy that passed its gate, made changes, and did not finish."""
    marker = recorded.marker
    if marker is None or marker.attempt == recorded.settle_attempt:
        return None
    passed_its_gate = marker.attempt == recorded.gate_attempt
    if passed_its_gate and came_from is not None and marker.place != came_from.place:
        return marker.place
    return marker.unfinished


def _left(recorded: Recorded, settings: Settings, facts: Facts | None, came_from: Stage | None) -> frozenset[Piece]:
    """What the stage that was reached should have deleted: a deletion that fails does so behind the settling."""
    if came_from is None or _begun(recorded, came_from) is not None:
        return frozenset()
    return recorded.present - desired(settings, facts, came_from.id).pieces


def _refuse_unless_gone(left: frozenset[Piece], journey: Journey, came_from: Stage | None, wanted: Desired) -> None:
    """A neighbouring stage that has what is left may follow: it takes it in again."""
    if came_from is None or not left or wanted.stage.id == came_from.id or left <= wanted.pieces:
        return
    raise Refused(
        f"the deploy of {came_from.id} has not deleted everything yet ({', '.join(sorted(left))}), so "
        f"{wanted.stage.id} cannot follow. Set eks-cilium:stage to {came_from.id} and deploy again"
    )


def _refuse_step(recorded: Recorded, journey: Journey, came_from: Stage | None, target: Stage) -> None:
    if came_from is None:
        if target is not journey.first:
            raise Refused(
                f"a stack begins at {journey.first.id}, not at {target.id}: set eks-cilium:stage to "
                f"{journey.first.id} and deploy that first"
            )
        return
    here, there = journey.index[came_from.id], journey.index[target.id]
    half = _begun(recorded, came_from)
    if half is not None:
        begun = next(stage for stage in journey.stages if stage.place == half)
        way_back = begun.reversible or journey.index[begun.id] < here
        allowed = {begun.id} | ({came_from.id} if way_back else set())
        if target.id not in allowed:
            back = f", or back to {came_from.id}" if way_back else "; it has no way back"
            raise Refused(
                f"the deploy of {begun.id} began and did not finish, so {target.id} cannot follow. Set "
                f"eks-cilium:stage to {begun.id} and deploy again{back}"
            )
        return
    if abs(there - here) > 1:
        step = journey.stages[here + (1 if there > here else -1)].id
        raise Refused(
            f"{target.id} is {abs(there - here)} stages from {came_from.id}, where this stack is; each deploy moves "
            f"one. Set eks-cilium:stage to {step} first"
        )
    if there < here and not came_from.reversible:
        raise Refused(
            f"there is no way back from {came_from.id} to {target.id}: {came_from.title}. "
            f"Set eks-cilium:stage to {came_from.id}"
        )


def _refuse_early_removal(recorded: Recorded, wanted: Desired) -> None:
    gone = sorted(set(recorded.marker.protected if recorded.marker else ()) - wanted.names)
    if gone:
        raise Refused(
            f"this deploy would delete {', '.join(gone)}, which is protected at the stage the stack is at: nothing has "
            "proved it unused yet. Put it back into the configuration; a later stage of the journey removes it"
        )


def _frozen(settings: Settings, stage: Stage) -> dict[str, Any]:
    """Values that may not change any more once a stage has been entered."""
    values: dict[str, Any] = {
        "cluster.name": settings.cluster.name,
        "cluster.adopt": settings.cluster.adopt,
        "network.vpcId": settings.network.vpc_id,
        "network.serviceCidr": str(settings.network.service_cidr),
    }
    if Piece.CILIUM in stage.pieces:
        values |= {
            "cilium.clusterName": settings.cilium.cluster_name,
            "cilium.clusterId": settings.cilium.cluster_id,
            "cilium.prefixDelegation": settings.cilium.prefix_delegation,
        }
    return values


_WHY_FROZEN: Mapping[str, str] = {
    "cluster.name": "another name is another cluster",
    "cluster.adopt": "who owns the cluster is decided at the first deploy",
    "network.vpcId": "a cluster cannot leave its VPC",
    "network.serviceCidr": "EKS fixes it when the cluster is made",
    "cilium.clusterName": "every Cilium pod would have to restart (the name is part of each identity)",
    "cilium.clusterId": "every Cilium pod would have to restart (the id is part of each identity)",
    "cilium.prefixDelegation": "a node keeps the kind of addresses it started with",
    "cluster.takeOver": "what is kept or deleted is decided one deploy before the deletion",
}


def _refuse_thaw(recorded: Recorded, settings: Settings, came_from: Stage | None, target: Stage) -> None:
    if recorded.marker is None:
        return
    now: dict[str, Any] = {**_frozen(settings, target), "cluster.takeOver": settings.cluster.take_over}
    before = dict(recorded.marker.frozen)
    removal = came_from is not None and Piece.VPC_CNI in came_from.pieces - target.pieces
    if not removal:
        before.pop("cluster.takeOver", None)
    changed = [key for key, value in before.items() if key in now and now[key] != value]
    if changed:
        lines = [f"{key} was {before[key]!r}, is now {now[key]!r}: {_WHY_FROZEN[key]}" for key in changed]
        raise Refused("values that may not change at this stage have changed:\n" + _bullets(lines) + "\nSet them back")


def _direction(recorded: Recorded, journey: Journey, came_from: Stage | None, target: Stage) -> Direction:
    if came_from is None:
        return Direction.START
    here, there = journey.index[came_from.id], journey.index[target.id]
    if there != here:
        return Direction.FORWARD if there > here else Direction.BACK
    half = _begun(recorded, came_from)
    if half is None:
        return Direction.STAY
    begun = next(stage for stage in journey.stages if stage.place == half)
    return Direction.BACK if journey.index[begun.id] > here else Direction.FORWARD


def _marker(
    recorded: Recorded, settings: Settings, wanted: Desired, *, direction: Direction, came_from: Stage | None
) -> Marker:
    last, target = recorded.marker, wanted.stage
    attempt = (last.attempt if last else 0) + 1
    leaving, unfinished = None, _begun(recorded, came_from)
    if direction is Direction.STAY and last is not None:
        # Nothing was changed since the last gate that passed: keep its attempt, so that nothing runs again.
        attempt = recorded.gate_attempt or last.attempt
        leaving, unfinished = last.leaving, last.unfinished
    elif direction is Direction.FINISH and last is not None:
        leaving = last.leaving
    elif direction is Direction.BACK:
        leaving = came_from.id if came_from and came_from.id != target.id else unfinished
    frozen = _frozen(settings, target)
    if settings.cluster.adopt:
        frozen["cluster.takeOver"] = settings.cluster.take_over
    return Marker(
        place=target.place,
        attempt=attempt,
        leaving=leaving,
        unfinished=unfinished,
        protected=tuple(sorted(wanted.protected_names)),
        frozen=frozen,
    )


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"  - {line}" for line in lines)
