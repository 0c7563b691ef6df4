"""What the prover in the cluster says, as a refresh reads it: nothing new is begun while policy is not proved equal."""

import threading
import time
from typing import Final, Protocol

from migration.names import PROOF, SYSTEM_NAMESPACE
from operations.refresh.cluster.kube import Kube
from prover.said import Said, Seen

SECONDS: Final = 2.0
"""Between two looks."""
PATH: Final = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps/{PROOF}"


class Proof(Protocol):
    """What tells whether policy is proved."""

    def trouble(self) -> str:
        """Why nothing may rest on the last proof; empty when something may."""

    def counterexample(self) -> str:
        """The flow that changes its verdict, with the rules; empty where none is known."""


class Unasked:
    """Of a stack without the bridge, which has no prover either."""

    def trouble(self) -> str:
        return ""

    def counterexample(self) -> str:
        return ""


class Published:
    """What the prover publishes, looked at now and again by a thread of its own."""

    def __init__(self, kube: Kube) -> None:
        self._kube, self._seen, self._lock = kube, Seen(), threading.Lock()
        self._halted = threading.Event()
        self._unread = ""

    def look(self) -> None:
        """Once. What cannot be read now is what it was, and grows old."""
        at = time.monotonic()
        answer = self._kube.request("GET", PATH, seconds=5.0)
        with self._lock:
            self._unread = "" if answer.ok or answer.status == 404 else answer.text
            if not self._unread:
                said = Said.of(answer.body.get("data") or {}) if answer.ok else None
                self._seen.look(said, at=at, wall=time.time())

    def __enter__(self) -> "Published":
        self.look()
        threading.Thread(target=self._again, name="proof", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._halted.set()

    def _again(self) -> None:
        while not self._halted.wait(SECONDS):
            self.look()

    def trouble(self) -> str:
        with self._lock:
            if self._unread and self._seen.said is None:
                return f"what the prover publishes cannot be read: {self._unread}"
            return self._seen.trouble(at=time.monotonic())

    def counterexample(self) -> str:
        with self._lock:
            return self._seen.said.counterexample if self._seen.said is not None else ""
