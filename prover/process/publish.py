"""Publishing: one replica says the verdict when it changes, and every few seconds that it still holds."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from kube.events import AGAIN
from kube.transport import Transport
from prover.options import Options
from prover.process import requests
from prover.process.work import State
from prover.said import BEAT, Said, Verdict, now

log = logging.getLogger("prover")

_LOOK: Final = 0.5
"""Seconds between two looks whether it is this replica's turn."""


class Publisher(threading.Thread):
    """Keeps the ConfigMap up to date while this replica holds the Lease.

    Args:
        me: name of this replica.
        mine: whether it may publish now.
        state: the verdict as it stands.
    """

    def __init__(
        self,
        transport: Transport,
        options: Options,
        me: str,
        *,
        mine: Callable[[], bool],
        state: Callable[[], State],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name="publish", daemon=True)
        self._transport, self._options, self._me = transport, options, me
        self._mine, self._state, self._clock = mine, state, clock
        self._halted, self._wanted = threading.Event(), threading.Event()
        self._shown: tuple[str, str, str] | None = None
        self._since = ""
        self._at = self._told_at = float("-inf")
        self._told: Verdict | None = None
        self._beat = int(time.time())
        """Counts on through a start of the process anew, by which a reader would miss a renewal."""
        self.published = 0

    def wake(self) -> None:
        """The verdict may be another one."""
        self._wanted.set()

    def halt(self) -> None:
        self._halted.set()
        self._wanted.set()

    def run(self) -> None:
        while not self._halted.is_set():
            self._wanted.wait(_LOOK)
            self._wanted.clear()
            try:
                self.round()
            except Exception:  # a thread that ends unnoticed would let the last verdict grow old
                log.exception("cannot publish")

    def round(self) -> None:
        """Publish if it is time."""
        if self._halted.is_set() or not self._mine():
            self._shown = None
            return
        state = self._state()
        found = state.judgement
        if found is None:
            return
        shown = (str(found.verdict), found.why.partition(" for ")[0], found.counterexample)
        if shown == self._shown and self._clock() - self._at < BEAT:
            return
        if self._shown is None or self._shown[0] != shown[0]:
            self._since = now()
        self._beat += 1
        said = Said(
            verdict=found.verdict,
            why=found.why,
            counterexample=found.counterexample,
            since=self._since,
            published=now(),
            age=round(state.age, 1),
            beat=self._beat,
            by=self._me,
        )
        answer = requests.publish(self._transport, self._options, said)
        if not answer.ok:
            log.warning("cannot publish: %s", answer.text)
            self._halted.wait(_LOOK)
            return
        self._shown, self._at = shown, self._clock()
        self.published += 1
        self._tell(said)

    def _tell(self, said: Said) -> None:
        """An Event when the verdict is another one, and now and then while it is not *equal*."""
        again = said.verdict is not Verdict.EQUAL and self._clock() - self._told_at >= AGAIN
        if said.verdict is not self._told or again:
            trouble = requests.event(self._transport, self._options, said)
            if trouble:
                log.warning("cannot make an Event: %s", trouble)
            self._told_at = self._clock()
        self._told = said.verdict
