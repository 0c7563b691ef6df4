"""The loop: what was seen goes in, what is decided goes out. One thread knows the cluster; others carry messages."""

import heapq
import logging
import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from bridge.decide import Decision, Verb, Write, decide
from bridge.known import Known
from bridge.process.requests import READS, WRITES, Done, carry_out, look
from bridge.seen import CiliumNode, Endpoint, Identity, Key, Namespace, Node, Pod
from bridge.step import Step, Tracker
from kube.transport import Obj, Streaming
from kube.watch import Changed, Listed, Trouble, Watcher

log = logging.getLogger("bridge")

_WRITERS: Final = 8
_BATCH: Final = 400
"""Keys in one decision: while its writes are under way, nothing else is taken in."""
_PAUSE: Final = 0.02
"""Seconds in which a burst of changes becomes one decision."""
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 30.0
_WHOLE: Final = 300.0
"""Seconds after which everything is looked at again, whether or not something changed."""
_IDENTITIES, _ENDPOINTS = "ciliumidentities", "ciliumendpoints"


class Worker(threading.Thread):
    """Watches, decides, writes.

    Args:
        mine: whether this bridge may write now.
        clock: seconds, never going back.
    """

    def __init__(
        self,
        transport: Streaming,
        known: Known,
        *,
        mine: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name="work", daemon=True)
        self._transport, self.known, self._mine, self._clock = transport, known, mine, clock
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._halted = threading.Event()
        self._random = random.SystemRandom()
        self._dirty: set[Key] = set()
        self._waiting: list[tuple[float, Key]] = []
        self._failed: Counter[Key] = Counter()
        self._unsure: set[tuple[str, Key]] = set()
        self._listed: set[str] = set()
        self._blind: dict[str, str] = {}
        self._writing = False
        self._whole_at = clock() + _WHOLE
        self.tracker = Tracker()
        self.counts: Counter[str] = Counter()
        """Writes by kind, and those that failed as "failed"."""
        self.alive_at = clock()
        self.failure = ""
        """Why the loop ended by itself; empty while it did not."""
        self._step = Step(complete=False, lag=0.0, behind=0, without=(), conflicts=())
        self._watchers = [
            Watcher(transport, kind, path, self._kinds()[kind][0], self._events) for kind, path in READS.items()
        ]

    # -- from outside ---------------------------------------------------------------------------------

    def step(self) -> Step:
        """How far it was in step at the end of the last round, the time since then counted in."""
        return self._step

    @property
    def writes(self) -> bool:
        """Whether this bridge wrote in its last round."""
        return self._writing

    def configured(self, change: Callable[[Known], None]) -> None:
        """Change the configuration, and look at everything again."""
        self._events.put(change)

    def halt(self) -> None:
        """End after the writes that are under way."""
        self._halted.set()
        self._events.put(None)
        for watcher in self._watchers:
            watcher.halt()

    # -- the loop -------------------------------------------------------------------------------------

    def run(self) -> None:
        try:
            self._loop()
        except Exception as error:  # a loop that ends unnoticed would leave everybody waiting for it
            self.failure = f"{type(error).__name__}: {error}"
            log.error("the loop ended: %s", self.failure)  # noqa: TRY400 - one line, for people

    def _loop(self) -> None:
        for watcher in self._watchers:
            watcher.start()
        with ThreadPoolExecutor(_WRITERS, thread_name_prefix="write") as pool:
            while not self._halted.is_set():
                self._take_in(self._patience())
                self._round(pool)

    def _patience(self) -> float:
        if self._dirty and self._complete:
            return 0.0
        soonest = self._waiting[0][0] - self._clock() if self._waiting else 1.0
        return min(1.0, max(0.0, soonest))

    @property
    def _complete(self) -> bool:
        return len(self._listed) == len(READS)

    def _take_in(self, patience: float) -> None:
        """All events there are; waits for the first, and a moment for what comes with it."""
        try:
            event = self._events.get(timeout=patience) if patience else self._events.get_nowait()
        except queue.Empty:
            return
        until = self._clock() + _PAUSE
        while True:
            if event is not None:
                self._event(event)
            try:
                event = self._events.get(timeout=max(0.0, until - self._clock()))
            except queue.Empty:
                return
            if self._clock() > until + 0.2:
                self._event(event) if event is not None else None
                return

    def _event(self, event: Any) -> None:
        if isinstance(event, Changed):
            self._changed(event.kind, event.item, gone=event.gone)
        elif isinstance(event, Listed):
            self._all_of(event.kind, event.items)
        elif isinstance(event, Trouble):
            if event.text and self._blind.get(event.kind) != event.text:
                log.warning("cannot read %s: %s", event.kind, event.text)
            self._blind.pop(event.kind, None)
            if event.text:
                self._blind[event.kind] = event.text
        else:
            event(self.known)
            self._dirty |= self.known.everything()

    def _kinds(self) -> dict[str, tuple[Callable[[Obj], Any], Callable[[Any], set[Key]], Callable[[Any], set[Key]]]]:
        known = self.known
        return {
            "pods": (Pod.of, known.put_pod, lambda pod: known.drop_pod(pod.key)),
            "nodes": (Node.of, known.put_node, lambda node: known.drop_node(node.name)),
            "namespaces": (Namespace.of, known.put_namespace, lambda n: known.drop_namespace(n.name)),
            "ciliumnodes": (CiliumNode.of, known.put_cilium_node, lambda n: known.drop_cilium_node(n.name)),
            _IDENTITIES: (Identity.of, known.put_identity, lambda i: known.drop_identity(i.number)),
            _ENDPOINTS: (Endpoint.of, known.put_endpoint, lambda e: known.drop_endpoint(e.key)),
        }

    def _there(self, kind: str, item: Any) -> Any:
        """What is known of the same object, of the kinds that the bridge writes itself."""
        if kind == _ENDPOINTS:
            return self.known.endpoints.get(item.key)
        return self.known.identities.get(item.number) if kind == _IDENTITIES else None

    def _changed(self, kind: str, item: Any, *, gone: bool) -> None:
        there = self._there(kind, item)
        if there is not None and _number(item.version) < _number(there.version):
            return  # older than what a write of ours was answered
        _, put, drop = self._kinds()[kind]
        self._again(drop(item) if gone else put(item))

    def _all_of(self, kind: str, items: list[Any]) -> None:
        _, _, drop = self._kinds()[kind]
        names = {_name(item) for item in items}
        for item in [item for item in self._known_of(kind) if _name(item) not in names]:
            self._again(drop(item))
        for item in items:
            self._changed(kind, item, gone=False)
        self._listed.add(kind)
        if self._complete:
            self._dirty |= self.known.everything()

    def _known_of(self, kind: str) -> list[Any]:
        known = self.known
        kept: dict[str, dict[Any, Any]] = {
            "pods": known.pods,
            "nodes": known.nodes,
            "namespaces": known.namespaces,
            "ciliumnodes": known.cilium_nodes,
            _IDENTITIES: known.identities,
            _ENDPOINTS: known.endpoints,
        }
        return list(kept[kind].values())

    def _again(self, keys: Iterable[Key]) -> None:
        self._dirty.update(keys)

    def _round(self, pool: ThreadPoolExecutor) -> None:
        now = self.alive_at = self._clock()
        while self._waiting and self._waiting[0][0] <= now:
            self._dirty.add(heapq.heappop(self._waiting)[1])
        mine = self._complete and not self._blind and self._mine()
        if (mine and not self._writing) or now > self._whole_at:
            self._dirty |= self.known.everything()
            self._whole_at = now + _WHOLE
        if mine != self._writing:
            log.info("this bridge %s", "writes from now on" if mine else "writes no more")
        self._writing = mine
        if self._complete and self._dirty and (not self._unsure or self._look_again(pool)):
            self._decide(pool, mine=mine)
        blind = "; ".join(f"{kind} ({text})" for kind, text in sorted(self._blind.items()))
        self._step = self.tracker.step(self._clock(), complete=self._complete, blind=blind)

    def _decide(self, pool: ThreadPoolExecutor, *, mine: bool) -> None:
        batch: set[Key] = set()
        while self._dirty and len(batch) < _BATCH:
            batch.add(self._dirty.pop())
        decision = decide(self.known, batch, self._random.randint)
        self._dirty -= decision.keys
        self.tracker.noted(decision, self._clock())
        if mine and decision.writes:
            self._carry_out(pool, decision)

    def _carry_out(self, pool: ThreadPoolExecutor, decision: Decision) -> None:
        def one(write: Write) -> Done | None:
            # Asked right before each: a pause of this process may have been longer than the Lease.
            return carry_out(self._transport, write) if self._mine() else None

        for write, done in zip(decision.writes, pool.map(one, decision.writes), strict=True):
            self._again({write.key, *write.asked_by} if write.key[0] else write.asked_by)
            if done is None:
                continue
            if done.carried_out:
                self.counts[write.verb] += 1
                for key in (write.key, *write.asked_by):
                    self._failed.pop(key, None)
                self._answered(write, done)
            else:
                self.counts["failed"] += 1
                self._refused(write, done)

    def _answered(self, write: Write, done: Done) -> None:
        kind = WRITES[write.verb][0]
        make, _, _ = self._kinds()[kind]
        if done.there is not None:
            self._changed(kind, make(done.there), gone=False)
        elif write.verb == Verb.DELETE:
            there = self.known.endpoints.get(write.key)
            if there is not None and there.uid == write.uid:
                self._again(self.known.drop_endpoint(write.key))

    def _refused(self, write: Write, done: Done) -> None:
        """Not carried out, or nobody knows: look what is there before anything else is decided about it."""
        log.warning("%s", done.text)
        self._unsure.add((WRITES[write.verb][0], write.key))
        for key in (write.key, *write.asked_by):
            if key[0]:
                self._later(key, done.retry_after)

    def _later(self, key: Key, least: float) -> None:
        self._failed[key] += 1
        wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(self._failed[key] - 1, 10))
        self._dirty.discard(key)
        heapq.heappush(self._waiting, (self._clock() + max(least, wait * self._random.uniform(0.8, 1.2)), key))

    def _look_again(self, pool: ThreadPoolExecutor) -> bool:
        """Read what is not sure; says whether all of it is now."""
        asked = sorted(self._unsure)
        for (kind, key), answer in zip(asked, pool.map(lambda it: look(self._transport, *it), asked), strict=True):
            if not (answer.ok or answer.status == 404):
                log.warning("cannot look at %s %s: %s", kind, "/".join(filter(None, key)), answer.text)
                self._halted.wait(_FIRST_WAIT)
                continue
            self._unsure.discard((kind, key))
            if answer.ok:
                self._changed(kind, self._kinds()[kind][0](answer.body), gone=False)
            elif kind == _ENDPOINTS:
                self._again(self.known.drop_endpoint(key))
            else:
                self._again(self.known.drop_identity(int(key[1])))
        return not self._unsure


def _number(version: str) -> int:
    # Versions of one API server are numbers that grow (Kubernetes 1.35 promises it; etcd always did so).
    return int(version) if version.isascii() and version.isdigit() else 0


def _name(item: Any) -> Any:
    if isinstance(item, Pod | Endpoint):
        return item.key
    return item.number if isinstance(item, Identity) else item.name
