"""Carries a refresh out: events in, actions out, one thread that decides."""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from operations.refresh.cluster import parse
from operations.refresh.cluster.cloud import Cloud, UnknownGroupError, refused
from operations.refresh.cluster.kube import Kube, as_outcome
from operations.refresh.cluster.live import Live
from operations.refresh.cluster.proof import Proof, Unasked
from operations.refresh.cluster.rights import RIGHTS
from operations.refresh.engine import explain
from operations.refresh.engine.decision import Decision
from operations.refresh.engine.engine import Engine
from operations.refresh.model.actions import (
    Action,
    Cordon,
    Deregister,
    DropNode,
    Evict,
    Look,
    Outcome,
    Rebalance,
    Reopen,
    Resize,
    SoftTaint,
    Terminate,
)
from operations.refresh.model.pausing import Pausing
from operations.refresh.model.terms import Awaited
from operations.refresh.model.world import World
from operations.refresh.run.progress import Snapshot

WORKERS: Final = 32
SHOWN_SECONDS: Final = 0.25
"""Between two snapshots: each asks everything that is waited for why."""
PAUSE: Final = (0.01, 0.25)
"""Seconds between two decisions, at least and at most, in which nothing is decided."""
SHARE_DECIDING: Final = 0.1
SHARE_SHOWING: Final = 0.02
"""Of the time that goes into each, as far as the pause allows it: both take longer with more nodes."""


class Holder(Protocol):
    """What keeps a second refresh away (`lease.Lease`)."""

    paused: bool
    lost: bool

    def held(self) -> bool: ...


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    reason: str
    """Empty: finished. Otherwise why it stopped before."""
    done: int
    total: int
    seconds: float
    waits: tuple[Awaited, ...] = ()
    counterexample: str = ""
    """Of a run that ended because policy is not proved: the flow that changes its verdict."""


@dataclass(frozen=True)
class _Done:
    action: Action
    outcome: Outcome


class Runner:
    """One run.

    Args:
        engine: decides; its world is `live.world`.
        lease: asked before every round.
        proof: says whether policy is proved; nothing new is begun while it is not.
        deadline: clock at which to stop.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        live: Live,
        kube: Kube,
        cloud: Cloud,
        lease: Holder,
        deadline: float,
        proof: Proof | None = None,
        show: Callable[[Snapshot], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        workers: int = WORKERS,
    ) -> None:
        self.engine, self.live, self.kube, self.cloud, self.lease = engine, live, kube, cloud, lease
        self.deadline, self.show, self.clock, self.workers = deadline, show, clock, workers
        self.proof = proof or Unasked()
        self.interrupted = threading.Event()
        self._pausing = Pausing()
        self._denied = ""
        self._next_shown = float("-inf")

    def run(self) -> Ended:
        """Until everything is done, or a reason to stop: what is under way is brought to its end first."""
        began, reason = self.clock(), ""
        engine, events = self.engine, self.live.events
        with ThreadPoolExecutor(self.workers, thread_name_prefix="refresh") as pool:
            while True:
                self._drain(events)
                now = self.clock()
                unproved = self._pausing.look(self.proof.trouble(), now)
                reason = reason or self._stop_reason(now)
                # without the API server nobody can take the refresh over either: it waits, and then goes on
                blind = bool(self.live.troubles) or not self.lease.held()
                before = time.thread_time()
                decision = engine.decide(now, stopping=bool(reason) or blind or unproved)
                cost = time.thread_time() - before
                for action in decision.actions:
                    self._submit(pool, action)
                if not reason and not blind and engine.finished():
                    break
                if reason and not engine.busy:
                    break
                if now >= self._next_shown:
                    self._show(decision, now, began)
                self._wait(events, now, decision.wake_at, min(PAUSE[1], max(PAUSE[0], cost / SHARE_DECIDING)))
        now = self.clock()
        self.show(self._snapshot(decision, now - began))
        example = self.proof.counterexample() if self._pausing.why else ""
        waits = self._waits(decision) if reason else ()
        return Ended(reason, engine.done, engine.goal.total, now - began, waits, example if reason else "")

    def _stop_reason(self, now: float) -> str:
        if self.interrupted.is_set():
            return "interrupted"
        if self._denied:
            return f"a right is missing: {self._denied}. {RIGHTS}"
        if self.lease.lost:
            return "somebody else has taken the refresh over: the Lease is not ours any more"
        if self.lease.paused:
            return "paused"
        if over := self._pausing.over(now):
            return over
        return "the time is over" if now >= self.deadline else ""

    def _drain(self, events: "queue.SimpleQueue[Any]") -> None:
        while True:
            try:
                self._apply(events.get_nowait())
            except queue.Empty:
                return

    def _apply(self, event: Any) -> None:
        if isinstance(event, _Done):
            if event.outcome.denied:
                self._denied = self._denied or event.outcome.text
            self.engine.settle(event.action, event.outcome, self.clock())
        else:
            self.live.apply(event)

    def _show(self, decision: Decision, now: float, began: float) -> None:
        before = time.thread_time()
        self.show(self._snapshot(decision, now - began))
        self._next_shown = now + max(SHOWN_SECONDS, (time.thread_time() - before) / SHARE_SHOWING)

    def _wait(self, events: "queue.SimpleQueue[Any]", now: float, wake_at: float, pause: float) -> None:
        """Until something happens or is due; at least for `pause`: what comes together is decided on together."""
        until, began = min(wake_at - now, self.deadline - now, 1.0), time.monotonic()
        try:
            self._apply(events.get(timeout=max(0.02, pause, until)))
        except queue.Empty:
            return
        time.sleep(max(0.0, began + pause - time.monotonic()))

    def _submit(self, pool: ThreadPoolExecutor, action: Action) -> None:
        def report(future: "Future[Outcome]") -> None:
            error = future.exception()
            outcome = Outcome(False, f"{type(error).__name__}: {error}") if error else future.result()
            self.live.events.put(_Done(action, outcome))

        pool.submit(carry_out, action, self.kube, self.cloud, self.engine.world).add_done_callback(report)

    def _waits(self, decision: Decision) -> tuple[Awaited, ...]:
        away = tuple(Awaited(f"API server: {kind}", text) for kind, text in self.live.troubles.items())
        if not self.lease.held():
            away += (Awaited("Lease", "could not be renewed: nothing is done until it is"),)
        return away + explain.waits(self.engine, decision)

    def _snapshot(self, decision: Decision, seconds: float) -> Snapshot:
        engine = self.engine
        return Snapshot(
            seconds=seconds,
            done=engine.done,
            total=engine.goal.total,
            active=len(engine.world.active),
            new_ready=len(engine.world.ready_new),
            new_wanted=engine.sizing.needed_at_the_end,
            evicted=engine.evictions,
            waits=self._waits(decision),
            unproved=self._pausing.why,
        )


def carry_out(action: Action, kube: Kube, cloud: Cloud, world: World) -> Outcome:
    """Do it. Called in many threads: reads of `world` are of single values only."""
    match action:
        case Evict():
            outcome = kube.evict(action.uid, action.namespace, action.name)
        case SoftTaint():
            node = world.nodes.get(action.node)
            outcome = kube.soft_taint(node) if node is not None else Outcome(True)
        case Cordon():
            outcome = kube.cordon(action.node, already=action.already)
        case Reopen():
            outcome = kube.reopen(action.node)
        case DropNode():
            outcome = kube.drop_node(action.node, action.uid)
        case Terminate():
            outcome = terminate(action, kube, cloud, world.target)
        case Deregister():
            outcome = cloud.deregister(action.instance, action.target_group)
        case Resize():
            outcome = cloud.resize(action)
        case Rebalance():
            outcome = cloud.rebalance(world.groups[action.group], allowed=action.allowed)
        case Look():
            outcome = look(cloud, action)
    return outcome


def look(cloud: Cloud, action: Look) -> Outcome:
    try:
        return Outcome(True, view=cloud.look(action.instances))
    except (ClientError, BotoCoreError, UnknownGroupError) as error:
        return refused(error)


def terminate(action: Terminate, kube: Kube, cloud: Cloud, target_cni: str) -> Outcome:
    """What watches showed may be old: node and pods are read once more, straight from the API server."""
    if not action.node:
        return cloud.terminate(action.instance)
    found = kube.request("GET", f"/api/v1/nodes/{action.node}")
    if found.ok and not parse.node(found.body).active:
        return Outcome(False, "somebody uncordoned it")
    if not found.ok and found.status != 404:
        return as_outcome(found)
    pods = kube.pods_on(action.node, target_cni)
    if pods is None:
        return Outcome(False, "its pods cannot be read")
    for pod in pods:
        goes = pod.owner is not None and pod.owner.uid in action.left
        if not (pod.stays or goes or (action.silent and pod.terminating)):
            return Outcome(False, f"pod {pod} is on it")
    return cloud.terminate(action.instance)
