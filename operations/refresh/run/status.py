"""How far a refresh is, as a look from outside tells."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from migration.journeys import NodeKind
from operations.refresh.cluster.lease import Lease
from operations.refresh.engine import explain
from operations.refresh.engine.engine import Engine
from operations.refresh.model.request import RefreshRequest
from operations.refresh.model.terms import Awaited
from operations.refresh.run import whole
from operations.refresh.run.goal import goal_of, meant
from operations.refresh.run.session import Session


@dataclass(frozen=True)
class Status:
    """What is seen."""

    target: NodeKind
    begun: bool
    """One has begun and was not taken back, or is asked about."""
    done: int
    total: int
    holder: str
    """Who runs it; empty: nobody."""
    paused: bool
    groups: Mapping[str, str]
    """Name -> minimum/desired/maximum."""
    waits: tuple[Awaited, ...]
    unproved: str
    """Why a run would begin nothing now, as policy is not proved; empty when it is."""


def status(session: Session, towards: NodeKind | None) -> Status:
    """Reads only.

    Args:
        towards: the refresh meant; None: the one that is remembered.
    """
    lease = Lease(session.kube)
    lease.read()
    request = RefreshRequest.towards(meant(lease.memory, towards))
    begun = bool(lease.memory.towards or towards)
    with session.watched(request) as live, session.proof() as proof:
        goal = goal_of(session.groups, request, lease.memory, live.world)
        engine = Engine(live.world, request, goal, whole.pace())
        decision = engine.decide(time.monotonic(), stopping=True)
        return Status(
            target=request.target,
            begun=begun,
            done=engine.done,
            total=goal.total,
            holder=lease.other,
            paused=lease.paused,
            groups={name: str(group.sizes) for name, group in sorted(live.world.groups.items())},
            waits=explain.waits(engine, decision) if begun else (),
            unproved=proof.trouble(),
        )
