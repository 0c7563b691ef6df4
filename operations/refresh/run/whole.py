"""A whole run, from the rights that it needs to its closing words."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from migration.journeys import NodeKind
from operations.evidence import simulated
from operations.refresh.cluster import rights
from operations.refresh.cluster.lease import Lease, forget
from operations.refresh.cluster.rights import RIGHTS
from operations.refresh.engine.engine import Engine
from operations.refresh.model.request import RefreshRequest
from operations.refresh.model.terms import Goal, Pace, duration
from operations.refresh.model.world import World
from operations.refresh.plan import planning
from operations.refresh.plan.bound import Bound
from operations.refresh.run.goal import goal_of, nothing_to_do, remembered
from operations.refresh.run.progress import Snapshot
from operations.refresh.run.runner import Ended, Runner
from operations.refresh.run.session import Session
from reading.failure import Failure


class DeniedError(Failure):
    """This identity has not the rights that a refresh needs. Nothing was touched."""


def whole_run(
    session: Session,
    request: RefreshRequest,
    *,
    deadline: float,
    signals: Callable[[threading.Event], AbstractContextManager[None]],
    say: Callable[[str], None],
    show: Callable[[Snapshot], None],
) -> Ended:
    """Do what is asked for, or as much of it as there is time for.

    Args:
        deadline: seconds of the steady clock.
        signals: sets the event when the run is to stop cleanly.
        say, show: opening and closing words, and how far it is.

    Raises:
        DeniedError: a right is missing. Nothing was touched.
        LeaseError: somebody else runs a refresh, or the Lease cannot be read or written.
        UnreadableError: the cluster cannot be read.
        UnknownGroupError: a configured group does not exist.
    """
    lacking = rights.missing(session.kube)
    if lacking:
        raise DeniedError(f"this identity may not {', '.join(lacking)}. {RIGHTS}")
    lease = Lease(session.kube)
    lease.read()
    with session.watched(request) as live:
        goal = goal_of(session.groups, request, lease.memory, live.world)
        if nothing_to_do(live.world, goal, request, lease.memory):
            _forget_what_is_over(lease, request)
            return Ended("", goal.total, goal.total, 0.0)
        lease.acquire()
        try:
            lease.remember(remembered(lease.memory, request, live.world, goal))
            goal = goal_of(session.groups, request, lease.memory, live.world)
            say(_opening(request, goal, live.world))
            engine = Engine(live.world, request, goal, pace())
            bound = planning.bound(engine)
            runner = Runner(
                engine=engine,
                live=live,
                kube=session.kube,
                cloud=session.cloud,
                lease=lease,
                deadline=deadline,
                show=show,
            )
            with session.proof() as runner.proof, signals(runner.interrupted):
                ended = runner.run()
            if not ended.reason and request.target is NodeKind.LEGACY:
                lease.remember(forget(lease.memory))
        finally:
            lease.release()
    if not ended.reason:
        say(_efficiency(engine, ended, bound))
    return ended


def _forget_what_is_over(lease: Lease, request: RefreshRequest) -> None:
    """A run that was ended behind its last step, on the way back, has left its memory."""
    if request.target is NodeKind.LEGACY and lease.memory.towards == request.target:
        lease.acquire()
        try:
            lease.remember(forget(lease.memory))
        finally:
            lease.release()


def pace() -> Pace:
    """AWS takes seconds for everything; the local cluster does not, so it is looked at more often."""
    return Pace(look=1.0, idle_look=5.0, node_object=10.0, in_service=10.0) if simulated() else Pace()


def _opening(request: RefreshRequest, goal: Goal, world: World) -> str:
    done = goal.total - len(world.old)
    begun = f", {done} done before" if done else ""
    return (
        f"refresh to {request.target}: {goal.total} {request.source} nodes{begun}; {request.strategy}, "
        f"node budget {request.node_budget} ({request.node_budget.of(goal.total)}), "
        f"{duration(request.deadline)} at most"
    )


def _efficiency(engine: Engine, ended: Ended, bound: Bound) -> str:
    """Closing words of a run: how near it came to the bound that was told before it."""
    asked = engine.requests / max(1, engine.evictions)
    shortest = bound.seconds
    text = f"{engine.evictions} pods moved, {asked:.1f} requests for each, {duration(ended.seconds)}; "
    if shortest > ended.seconds:  # AWS, or the pods, were quicker than what the bound supposes of them
        return f"{text}{duration(shortest)} were foreseen by {bound.binding.name}, at typical times"
    return f"{text}at least {duration(shortest)} by {bound.binding.name}: efficiency {shortest / ended.seconds:.2f}"
