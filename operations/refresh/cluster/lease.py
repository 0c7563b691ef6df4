"""One refresh at a time: a Lease, and what has to be remembered between runs as its annotations.

A Lease that was not renewed for its duration, as measured here and by our own clock, may be taken over.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

import reading
from kube.transport import Response
from migration.names import ANNOTATION_PREFIX, REFRESH_LEASE, SYSTEM_NAMESPACE
from operations.refresh.cluster.kube import Kube
from operations.refresh.model.values import Sizes
from reading.failure import Failure

SECONDS: Final = 15.0
"""Without renewal for so long, another run may take over."""
RENEW_SECONDS: Final = 4.0
PATH: Final = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM_NAMESPACE}/leases"
MEMORY: Final = f"{ANNOTATION_PREFIX}/refresh"
PAUSED: Final = f"{ANNOTATION_PREFIX}/paused"


class LeaseError(Failure):
    """Somebody else runs a refresh, or the Lease cannot be read or written."""


class ConflictError(LeaseError):
    """It changed between reading and writing."""


@dataclass(frozen=True)
class Memory:
    """What cannot be read from the cluster again once a refresh has begun."""

    towards: str = ""
    """legacy | cilium; empty when none has begun."""
    total: int = 0
    """Old nodes at the beginning."""
    sizes: Mapping[str, Sizes] = field(default_factory=dict)
    """Sizes of the groups before the first node was touched, until everything is back."""
    rebalancing: frozenset[str] = frozenset()
    """Groups whose rebalancing was on."""
    unhealthy: tuple[str, ...] = ()
    """Controllers with pods that were not ready, before."""

    def dump(self) -> str:
        value = {
            "towards": self.towards,
            "total": self.total,
            "sizes": {k: [v.minimum, v.desired, v.maximum] for k, v in sorted(self.sizes.items())},
            "rebalancing": sorted(self.rebalancing),
            "unhealthy": sorted(self.unhealthy)[:50],
        }
        return json.dumps(value, separators=(",", ":"))

    @classmethod
    def read(cls, text: str | None) -> "Memory":
        """What is damaged counts as not there: sizes then come from settings or facts."""
        try:
            value = reading.json_value(text or "{}")
            return cls(
                towards=str(value.get("towards", "")),
                total=int(value.get("total", 0)),
                sizes={str(k): Sizes(*map(int, v)) for k, v in (value.get("sizes") or {}).items()},
                rebalancing=frozenset(map(str, value.get("rebalancing") or ())),
                unhealthy=tuple(map(str, value.get("unhealthy") or ())),
            )
        except (ValueError, TypeError, AttributeError, OverflowError):
            return cls()


def identity() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"


class Lease:
    """The Lease as this process sees it.

    Args:
        clock: steady seconds.
    """

    def __init__(self, kube: Kube, holder: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self.kube, self.holder, self.clock = kube, holder or identity(), clock
        self.memory, self.paused = Memory(), False
        self.other = ""
        """Who else holds it."""
        self.lost = False
        """It was ours, and somebody else has taken it over, even if only for a while."""
        self._ours = False
        self._renewed = float("-inf")
        self._lock = threading.Lock()
        self._halt = threading.Event()
        self._thread: threading.Thread | None = None

    # -- reading ----------------------------------------------------------------------------------

    def read(self) -> dict[str, Any] | None:
        """The object; None when there is none. Memory, pause and holder are taken from it.

        Raises:
            LeaseError: it cannot be read.
        """
        response = self.kube.request("GET", f"{PATH}/{REFRESH_LEASE}", seconds=5)
        if response.status == 404:
            self.memory, self.paused, self.other, self._ours = Memory(), False, "", False
            return None
        if not response.ok:
            raise LeaseError(f"the Lease {SYSTEM_NAMESPACE}/{REFRESH_LEASE} cannot be read: {response.text}")
        self._take_in(response.body)
        return response.body

    def _take_in(self, obj: Mapping[str, Any]) -> None:
        notes = obj["metadata"].get("annotations") or {}
        self.memory, self.paused = Memory.read(notes.get(MEMORY)), notes.get(PAUSED) == "true"
        holder = str((obj.get("spec") or {}).get("holderIdentity") or "")
        self._ours = holder == self.holder
        self.other = "" if self._ours else holder

    # -- holding ----------------------------------------------------------------------------------

    def acquire(self, wait: float = SECONDS + 2) -> None:
        """Take it, also from a holder that is silent for `SECONDS`; then keep it.

        Raises:
            LeaseError: somebody else keeps renewing it, or it cannot be written.
        """
        end, seen, since = self.clock() + wait, ("", ""), self.clock()
        while True:
            try:
                obj = self.read()
            except LeaseError:
                if self.clock() >= end:
                    raise
                time.sleep(1.0)
                continue
            stamp = (self.other, str(((obj or {}).get("spec") or {}).get("renewTime")))
            if stamp != seen:
                seen, since = stamp, self.clock()
            if not self.other or self.clock() - since >= SECONDS:
                try:
                    with self._lock:
                        self._put(obj, self.memory, paused=False)
                    break
                except ConflictError:
                    continue  # somebody was quicker: look who
                except LeaseError:  # perhaps it was written all the same: the next look tells
                    if self.clock() >= end:
                        raise
            elif self.clock() >= end:
                raise LeaseError(
                    f"{self.other} runs a refresh of this cluster now. Wait for it, or stop it with "
                    "`refresh pause`, then run again"
                )
            time.sleep(1.0)
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def held(self) -> bool:
        """Whether it is surely still ours: nothing may be changed otherwise."""
        return self.clock() - self._renewed < SECONDS - RENEW_SECONDS

    def remember(self, memory: Memory, wait: float = SECONDS) -> None:
        """Write the memory; what other runs must know is there before anything is done.

        Raises:
            LeaseError: it could not be written for so many seconds, or somebody else took the Lease.
        """
        end = self.clock() + wait
        while True:
            try:
                with self._lock:
                    obj = self.read()
                    if not self.other:
                        self._put(obj, memory, paused=self.paused)
            except LeaseError:
                if self.clock() >= end:
                    raise
                time.sleep(1.0)
                continue
            if self.other:
                raise LeaseError(f"{self.other} took the refresh over")
            return

    def release(self) -> None:
        self._halt.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        with self._lock:
            try:
                obj = self.read()
                if obj is not None and not self.other:
                    self._put(obj, self.memory, paused=self.paused, holder="")
            except LeaseError:
                pass  # it runs out by itself
        self._renewed = float("-inf")

    def set_pause(self, paused: bool) -> bool:
        """Ask whoever runs a refresh to stop cleanly; True when somebody does.

        Raises:
            LeaseError: it cannot be written.
        """
        for _ in range(5):
            obj = self.read()
            if obj is None:
                return False
            obj["metadata"].setdefault("annotations", {})[PAUSED] = "true" if paused else "false"
            response = self.kube.request("PUT", f"{PATH}/{REFRESH_LEASE}", obj, seconds=5)
            if response.ok:
                return bool(self.other)
            if response.status != 409:
                raise LeaseError(f"the Lease cannot be written: {response.text}")
        raise LeaseError("the Lease changes too often to be written: try again")

    # -- writing ----------------------------------------------------------------------------------

    def _keep(self) -> None:
        while not self._halt.wait(RENEW_SECONDS):
            with self._lock:
                try:
                    obj = self.read()
                    if not self._ours:
                        self._renewed, self.lost = float("-inf"), True
                        return
                    self._put(obj, self.memory, paused=self.paused)
                except LeaseError:
                    continue  # `held` turns false in time

    def _put(self, obj: dict[str, Any] | None, memory: Memory, *, paused: bool, holder: str | None = None) -> None:
        began = self.clock()
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        new = obj or {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": REFRESH_LEASE, "namespace": SYSTEM_NAMESPACE},
        }
        notes = new["metadata"].setdefault("annotations", {})
        notes[MEMORY], notes[PAUSED] = memory.dump(), "true" if paused else "false"
        new["spec"] = {
            "holderIdentity": self.holder if holder is None else holder,
            "leaseDurationSeconds": int(SECONDS),
            "renewTime": now,
        }
        response: Response = (
            self.kube.request("PUT", f"{PATH}/{REFRESH_LEASE}", new, seconds=5)
            if obj
            else self.kube.request("POST", PATH, new, seconds=5)
        )
        if not response.ok:
            kind = ConflictError if response.status == 409 else LeaseError
            raise kind(f"the Lease {SYSTEM_NAMESPACE}/{REFRESH_LEASE} cannot be written: {response.text}")
        self._renewed, self.memory, self.paused, self.other = began, memory, paused, ""


def forget(memory: Memory) -> Memory:
    """After everything is back as it was."""
    return replace(memory, towards="", total=0, sizes={}, rebalancing=frozenset(), unhealthy=())
