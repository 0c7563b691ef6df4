"""Which moves are refused, each with the reason and what to do."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from migration import layer7
from migration.desired import Desired
from migration.journeys import JOURNEYS, Journey, Piece, Stage
from migration.manifests import Manifest
from migration.settings import Settings
from migration.transition.recorded import Recorded, half_way
from reading.failure import Failure


class Refused(Failure):
    """The configured stage may not be next. The text names the stage, the reason and what to do."""


def reached(recorded: Recorded, journey: Journey, target: Stage) -> Stage | None:
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


def stage_at(journey: Journey, place: str) -> Stage:
    """The first stage of a journey with this place; the last deploy began there."""
    found = next((stage for stage in journey.stages if stage.place == place), None)
    if found is None:
        raise Refused(
            f"the last deploy of this stack began at {place}, which the journey {journey.name} does not have. Set "
            "eks-cilium:journey and eks-cilium:stage back to what they were, and deploy that again"
        )
    return found


def refuse_unless_gone(left: frozenset[Piece], journey: Journey, came_from: Stage | None, wanted: Desired) -> None:
    """A neighbouring stage that has what is left may follow: it takes it in again."""
    if came_from is None or not left or wanted.stage.id == came_from.id or left <= wanted.pieces:
        return
    raise Refused(
        f"the deploy of {came_from.id} has not deleted everything yet ({', '.join(sorted(left))}), so "
        f"{wanted.stage.id} cannot follow. Set eks-cilium:stage to {came_from.id} and deploy again"
    )


def refuse_step(recorded: Recorded, journey: Journey, came_from: Stage | None, target: Stage) -> None:
    if came_from is None:
        if target is not journey.first:
            raise Refused(
                f"a stack begins at {journey.first.id}, not at {target.id}: set eks-cilium:stage to "
                f"{journey.first.id} and deploy that first"
            )
        return
    here, there = journey.index[came_from.id], journey.index[target.id]
    half = half_way(recorded, came_from)
    if half is not None:
        begun = stage_at(journey, half)
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


def refuse_early_removal(recorded: Recorded, wanted: Desired) -> None:
    gone = sorted(set(recorded.marker.protected if recorded.marker else ()) - wanted.names)
    if gone:
        raise Refused(
            f"this deploy would delete {', '.join(gone)}, which is protected at the stage the stack is at: nothing has "
            "proved it unused yet. Put it back into the configuration; a later stage of the journey removes it"
        )


def fixed(settings: Settings, stage: Stage) -> dict[str, Any]:
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


_WHY_FIXED: Mapping[str, str] = {
    "cluster.name": "another name is another cluster",
    "cluster.adopt": "who owns the cluster is decided at the first deploy",
    "network.vpcId": "a cluster cannot leave its VPC",
    "network.serviceCidr": "EKS fixes it when the cluster is made",
    "cilium.clusterName": "every Cilium pod would have to restart (the name is part of each identity)",
    "cilium.clusterId": "every Cilium pod would have to restart (the id is part of each identity)",
    "cilium.prefixDelegation": "a node keeps the kind of addresses it started with",
    "cluster.takeOver": "what is kept or deleted is decided one deploy before the deletion",
}


def refuse_changed_values(recorded: Recorded, settings: Settings, came_from: Stage | None, target: Stage) -> None:
    if recorded.marker is None:
        return
    now: dict[str, Any] = {**fixed(settings, target), "cluster.takeOver": settings.cluster.take_over}
    before = dict(recorded.marker.fixed)
    removal = came_from is not None and Piece.VPC_CNI in came_from.pieces - target.pieces
    if not removal:
        before.pop("cluster.takeOver", None)
    changed = [key for key, value in before.items() if key in now and now[key] != value]
    if changed:
        lines = [f"{key} was {before[key]!r}, is now {now[key]!r}: {_WHY_FIXED[key]}" for key in changed]
        raise Refused("values that may not change at this stage have changed:\n" + _bullets(lines) + "\nSet them back")


def refuse_layer7(settings: Settings, policies: Sequence[Manifest]) -> None:
    if found := layer7.lacking_proxy(settings, policies):
        listed = "\n".join(f"  - {manifest.source}: {manifest.key}" for manifest in found)
        raise Refused(
            "cilium.values.l7Proxy is false, and without the proxy agents refuse these policies as a whole:\n"
            f"{listed}\nLeave l7Proxy out, or take names and layer 7 rules out of the policies"
        )


def refuse_version(recorded: Recorded, settings: Settings, came_from: Stage | None, target: Stage) -> None:
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
    moves = target.place != came_from.place or half_way(recorded, came_from) is not None
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


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"  - {line}" for line in lines)
