"""Which stage may follow which: what a stack's own state says, and whether the configured stage may be next.

Everything refused here is refused before a single resource is registered.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

from migration import layer7
from migration.declared import digest
from migration.desired import Desired, desired
from migration.facts import Facts
from migration.guarding.guard import guarded
from migration.journeys import JOURNEYS, Journey, Piece, Stage
from migration.manifests import Manifest
from migration.settings import Settings
from reading.failure import Failure


class Refused(Failure):
    """The configured stage may not be next. The text names the stage, the reason and what to do."""


class Asks(StrEnum):
    """What a deploy asks the cluster before it registers anything."""

    GATE = "gate"
    STEADY = "steady"
    IDENTITY = "identity"


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
    id: str | None = None
    """Of this stack, random, for its mark in the cluster. None in the state of a version without marks."""
    declared: str | None = None
    """Digest of what the deploy declared; None in the state of a version that kept none."""
    asks: Asks = Asks.GATE
    """What the deploy asked."""
    cilium: str | None = None
    """Version of Cilium that the deploy declared; None without Cilium."""
    cilium_before: str | None = None
    """The version that the last finished deploy before it had declared."""
    guarded: tuple[str, ...] | None = None
    """Pieces that nobody may delete while the deploy runs; None in the state of a version without a guard."""

    def dump(self) -> dict[str, Any]:
        return {
            "id": self.id or "",
            "declared": self.declared or "",
            "asks": self.asks,
            "cilium": self.cilium or "",
            "ciliumBefore": self.cilium_before or "",
            "guarded": list(self.guarded or ()),
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
            id=values.get("id") or None,
            declared=values.get("declared") or None,
            asks=Asks(values.get("asks") or Asks.GATE),
            cilium=values.get("cilium") or None,
            cilium_before=values.get("ciliumBefore") or None,
            guarded=tuple(values["guarded"] or ()) if "guarded" in values else None,
        )


def _whole(value: Any) -> Any:
    """The engine hands every number over as a float."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What the stack says about itself: its outputs, its marker, and the last settling that passed."""

    journey: str | None = None
    stage: str | None = None
    """Stage that was reached last; an unfinished deploy does not change it."""
    marker: Marker | None = None
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
    came_from = _reached(recorded, journey, target)
    wanted = desired(settings, facts, target.id)
    left = _left(recorded, settings, facts, came_from)
    _refuse_step(recorded, journey, came_from, target)
    _refuse_unless_gone(left, journey, came_from, wanted)
    _refuse_early_removal(recorded, wanted)
    _refuse_thaw(recorded, settings, came_from, target)
    _refuse_version(recorded, settings, came_from, target)
    _refuse_layer7(settings, policies.get("cilium", ()))
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
            declared=None if direction is Direction.STAY and _keeps_no_digest(recorded) else declared,
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
    half = _begun(recorded, came_from)
    begun = [stage for stage in journey.stages if half is not None and stage.place == half]
    return tuple(sorted(map(str, guarded(target, *([came_from] if came_from else []), *begun))))


def _changes(recorded: Recorded, declared: str) -> bool:
    """Whether a deploy that stays changes something: what is declared, or what one before it left unfinished."""
    marker = recorded.marker
    if marker is None:
        return False
    return _unfinished(recorded) or (marker.declared is not None and marker.declared != declared)


def _unfinished(recorded: Recorded) -> bool:
    marker = recorded.marker
    return marker is not None and recorded.settle_attempt is not None and marker.attempt != recorded.settle_attempt


def _asks(direction: Direction, recorded: Recorded) -> Asks:
    if direction is Direction.CHANGE:
        # What did not finish may have broken the very agents that would be asked; it has to be put right or taken
        # back somehow. The settling asks them afterwards.
        return Asks.IDENTITY if _unfinished(recorded) else Asks.STEADY
    if direction is not Direction.STAY:
        return Asks.GATE
    return Asks.STEADY if _keeps_no_digest(recorded) else Asks.IDENTITY


def _keeps_no_digest(recorded: Recorded) -> bool:
    """Whether the state is of a version that kept none: nobody can tell then whether a deploy that stays changes
    anything, until the next one that moves."""
    return recorded.marker is None or recorded.marker.declared is None


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
    """Place of a deploy that began and did not finish.

    The gate is asked before anything is registered, so a marker means that it had passed. Whether the Command that
    asks it once more has run says nothing: `--exclude` and `--target` leave it out and change the rest.
    """
    marker = recorded.marker
    if marker is None or marker.attempt == recorded.settle_attempt:
        return None
    if came_from is not None and marker.place != came_from.place:
        return marker.place
    return marker.unfinished


def _at(journey: Journey, place: str) -> Stage:
    found = next((stage for stage in journey.stages if stage.place == place), None)
    if found is None:
        raise Refused(
            f"the last deploy of this stack began at {place}, which the journey {journey.name} does not have. Set "
            "eks-cilium:journey and eks-cilium:stage back to what they were, and deploy that again"
        )
    return found


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
        begun = _at(journey, half)
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


def _refuse_layer7(settings: Settings, policies: Sequence[Manifest]) -> None:
    if found := layer7.lacking_proxy(settings, policies):
        listed = "\n".join(f"  - {manifest.source}: {manifest.key}" for manifest in found)
        raise Refused(
            "cilium.values.l7Proxy is false, and without the proxy agents refuse these policies as a whole:\n"
            f"{listed}\nLeave l7Proxy out, or take names and layer 7 rules out of the policies"
        )


def _refuse_version(recorded: Recorded, settings: Settings, came_from: Stage | None, target: Stage) -> None:
    """Cilium goes up one minor version at a time, never down, and not in the deploy that moves a stage.

    Source: Cilium's upgrade guide (1.20): consecutive minor releases only. Back is allowed to the version that an
    upgrade which did not finish came from.
    """
    marker = recorded.marker
    if marker is None or came_from is None or not {Piece.CILIUM} <= came_from.pieces & target.pieces:
        return
    last, now = marker.cilium, settings.cilium.version
    if last is None:
        return
    finished = marker.attempt == recorded.settle_attempt
    base = last if finished else marker.cilium_before or last
    moves = target.place != came_from.place or _begun(recorded, came_from) is not None
    if moves and now != base:
        raise Refused(
            f"this deploy would move between {came_from.id} and {target.id} and take Cilium from {base} to {now} at "
            f"once. Set cilium.version to {base} and finish the move, then change the version"
        )
    if moves and last != base:
        raise Refused(
            f"Cilium was on its way from {base} to {last}, which did not finish. Deploy {came_from.id} with either of "
            "the two, then move"
        )
    if now in {last, base}:
        return
    old, new = _version(base), _version(now)
    if new < max(old, _version(last)):
        raise Refused(
            f"cilium.version was {last}, is now {now}: Cilium does not go down, newer agents may have written what "
            f"older ones cannot read. Set it to {last} or a later version"
        )
    if new[:2] != old[:2] and new[:2] != (old[0], old[1] + 1):
        raise Refused(
            f"cilium.version was {base}, is now {now}: Cilium goes up one minor version at a time. "
            f"Set it to a version {old[0]}.{old[1] + 1}.x first"
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)[:3]))


def _direction(recorded: Recorded, journey: Journey, came_from: Stage | None, target: Stage) -> Direction:
    if came_from is None:
        return Direction.START
    here, there = journey.index[came_from.id], journey.index[target.id]
    if there != here:
        return Direction.FORWARD if there > here else Direction.BACK
    half = _begun(recorded, came_from)
    if half is None:
        return Direction.STAY
    begun = _at(journey, half)
    return Direction.BACK if journey.index[begun.id] > here else Direction.FORWARD


def _marker(
    recorded: Recorded, settings: Settings, wanted: Desired, *, direction: Direction, came_from: Stage | None
) -> Marker:
    last, target = recorded.marker, wanted.stage
    # A settling may have run without its marker, which --target can leave out: its number is used up too.
    attempt = max(last.attempt if last else 0, recorded.settle_attempt or 0) + 1
    leaving, unfinished = None, _begun(recorded, came_from)
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
        id=last.id if last else None,
        asks=asks,
        cilium=cilium,
        cilium_before=before if cilium else None,
    )


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"  - {line}" for line in lines)
