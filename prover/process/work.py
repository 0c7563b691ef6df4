"""The loop: what was seen goes in, a verdict comes out. One thread knows the cluster; others carry messages."""

import gc
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, Final

from kube.transport import Streaming
from kube.watch import Changed, Listed, Trouble, Watcher
from prover.covering import Covering
from prover.judge import Bridge, Judgement, Prover
from prover.kinds import CORE, Of, Read, of_calico, read
from prover.known import Known
from prover.options import Options
from prover.process.looks import Blind, Calico, Config, Lease, Looks
from prover.said import Verdict

log = logging.getLogger("prover")

_PAUSE: Final = 0.05
"""Seconds in which a burst of changes becomes one proof."""
_LONGEST: Final = 0.5
"""Seconds for which changes that go on coming are gathered."""
_ABSENT: Final = 10.0
"""Seconds between two looks for a kind that the cluster does not serve."""
BLIND_SECONDS: Final = 20.0
"""What cannot be read for longer makes the verdict *undecided*: an API server that restarts does not."""


@dataclass(frozen=True)
class State:
    """The verdict as it stands."""

    judgement: Judgement | None
    """None before the first proof."""
    age: float
    """Seconds since it last covered the newest change seen."""
    proofs: int
    seconds: float
    """Of the last proof."""


class Worker(threading.Thread):
    """Watches, proves.

    Args:
        clock: seconds, never going back.
        today: the day, on which differences that somebody accepts depend.
    """

    def __init__(
        self,
        transport: Streaming,
        options: Options,
        *,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
    ) -> None:
        super().__init__(name="work", daemon=True)
        self._transport, self._options, self._clock, self._today = transport, options, clock, today
        self.told: Callable[[], None] = lambda: None
        """Called when the verdict may be another one."""
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._halted = threading.Event()
        self._known = Known(options=options)
        self._prover = Prover(options)
        self._bridge = Bridge(float(options.late_seconds))
        self._covering = Covering(clock())
        self._wanted: set[str] = {of.name for of in CORE} | {"Calico", "Cilium's configuration"}
        self._there: set[str] = set()
        self._blind: dict[str, tuple[str, float]] = {}
        """What cannot be read -> why, and since when."""
        self._day = today()
        self._proved: Judgement | None = None
        self._proofs, self._seconds = 0, 0.0
        self._looks = Looks(transport, options, self._events)
        self._watchers = {of.name: self._watcher(of) for of in CORE}
        self._calico = ""
        self.alive_at = clock()
        self.failure = ""
        """Why the loop ended by itself; empty while it did not."""

    # -- from outside ---------------------------------------------------------------------------------

    def state(self) -> State:
        """The verdict as it stands: of the proof, unless the bridge is out of step or something cannot be read."""
        now = self._clock()
        judgement = self._proved
        if judgement is not None and judgement.verdict is not Verdict.DIFFERENT:
            out = self._bridge.out(now) if self._options.bridge else ""
            blind = [f"{what} ({why})" for what, (why, at) in [*self._blind.items()] if now - at > BLIND_SECONDS]
            if out:
                judgement = Judgement(verdict=Verdict.DIFFERENT, why=out)
            elif blind:
                judgement = Judgement(verdict=Verdict.UNDECIDED, why=f"it cannot read {'; '.join(sorted(blind))}")
        return State(judgement, self._covering.age(now), self._proofs, self._seconds)

    def halt(self) -> None:
        """End after the proof that is under way."""
        self._halted.set()
        self._events.put(None)
        self._looks.halt()
        for watcher in self._watchers.values():
            watcher.halt()

    # -- the loop -------------------------------------------------------------------------------------

    def run(self) -> None:
        try:
            self._loop()
        except Exception as error:  # a loop that ends unnoticed would leave everybody waiting for it
            self.failure = f"{type(error).__name__}: {error}"
            log.exception("the loop ended")

    def _loop(self) -> None:
        self._looks.start()
        for watcher in list(self._watchers.values()):
            watcher.start()
        while not self._halted.is_set():
            changed = self._take_in()
            self.alive_at = self._clock()
            if self._today() != self._day:
                self._day, changed = self._today(), True
                self._covering.changed(self._clock())
            if self._wanted <= self._there and not self._blind and (changed or self._waiting):
                self._prove()

    def _take_in(self) -> bool:
        """All events there are; waits for the first, and a moment for what comes with it."""
        changed = False
        patience = 1.0
        began: float | None = None
        while True:
            try:
                event = self._events.get(timeout=patience)
            except queue.Empty:
                return changed
            if event is None:
                return changed
            if self._event(event):
                changed = True
                self._covering.changed(self._clock())
            began = self._clock() if began is None else began
            if self._clock() - began > _LONGEST:
                return changed
            patience = _PAUSE

    @property
    def _waiting(self) -> bool:
        return self._proved is None or self._covering.waiting

    def _event(self, event: Any) -> bool:  # noqa: PLR0911 - a line for each kind of event
        """Whether it changed something that a verdict has to cover."""
        known = self._known
        match event:
            case Changed(kind, gone, item):
                return kind in self._watchers and (known.drop(kind, item.key) if gone else known.put(kind, item))
            case Listed(kind, items):
                if kind not in self._watchers:
                    return False
                self._there.add(kind)
                return known.all_of(kind, items)
            case Trouble(kind, text, _):
                return kind in self._watchers and self._trouble(kind, text)
            case Blind(what, text):
                return self._trouble(what, text)
            case Lease(there, trouble):
                self._look_at_bridge(there, trouble)
                return False
            case Config(data, laid_over):
                self._there.add("Cilium's configuration")
                before = known.config, known.laid_over
                known.config, known.laid_over = data, laid_over
                return before != (data, laid_over)
            case Calico():
                return self._follow(event)
        return False

    def _trouble(self, what: str, text: str) -> bool:
        """What cannot be seen may change meanwhile: no verdict covers it until it can be seen again."""
        if not text:
            return self._blind.pop(what, None) is not None
        if what not in self._blind:
            log.warning("cannot read %s: %s", what, text)
        self._blind[what] = (text, self._blind.get(what, ("", self._clock()))[1])
        return True

    def _look_at_bridge(self, there: Any, trouble: str) -> None:
        now = self._clock()
        before = self._bridge.out(now)
        if trouble:
            self._bridge.unreadable(trouble, now)
        else:
            self._bridge.look(there, now)
        if bool(before) != bool(self._bridge.out(now)) or bool(before):
            self.told()

    def _follow(self, seen: Calico) -> bool:
        """Where Calico's policies are; those of another group are not read any more."""
        known = self._known
        before = (self._calico, known.calico_version, known.trouble)
        known.calico_version, known.trouble = seen.version, seen.trouble
        self._there.add("Calico")
        if seen.api != self._calico:
            for of in of_calico(self._calico) if self._calico else ():
                self._watchers.pop(of.name).halt()
                self._wanted.discard(of.name)
                self._blind.pop(of.name, None)
                known.forget(of.name)
            self._calico = seen.api
            for of in of_calico(seen.api):
                self._wanted.add(of.name)
                self._there.discard(of.name)
                self._watchers[of.name] = self._watcher(of)
                self._watchers[of.name].start()
        return before != (self._calico, known.calico_version, known.trouble)

    def _watcher(self, of: Of) -> Watcher:
        make: Callable[[Any], Read] = partial(read, of)
        absent = None if of.always else _ABSENT
        return Watcher(self._transport, of.name, of.path, make, self._events, absent=absent)

    def _prove(self) -> None:
        began = self._clock()
        self._covering.begins()
        judgement = self._prover.judge(self._known, self._day)
        self._seconds = self._clock() - began
        first = self._proved is None
        before, self._proved = self._proved, judgement
        self._covering.ends()
        self._proofs += 1
        self.told()
        if before is None or before.verdict is not judgement.verdict:
            log.info("%s in %.2f s %s", judgement.verdict, self._seconds, judgement.why)
        self._prover.prepare()
        if first:
            # What is known now stays: the collector need not look through it again and again.
            gc.collect()
            gc.freeze()
