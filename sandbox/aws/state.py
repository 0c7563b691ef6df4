"""The emulated account as one JSON-serialisable dict behind one lock.

Every handler and every controller of the sandbox changes the account through `Aws`. Times are seconds
since the epoch, so a state that was saved yesterday goes on today: what was due is simply due.
"""

from __future__ import annotations

import copy
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandbox.aws.errors import AwsError
from sandbox.aws.settings import Settings

__all__ = ["ACCOUNT", "Aws", "Json", "tags_as_list"]

Json = dict[str, Any]
ACCOUNT = "111122223333"
PARTITION = "aws"


def tags_as_list(tags: dict[str, str]) -> list[dict[str, str]]:
    """Tags in the `[{Key, Value}]` form of EC2, Auto Scaling, IAM and ELB."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


class Aws:
    """One account in one region.

    `table("ec2.vpcs")` is a dict by id inside the state; hold `lock` (re-entrant) around every use.
    `touch()` marks the state as changed: it is written to `path` a moment later (`flush()` at once),
    and everyone who subscribed is woken.
    """

    def __init__(self, path: Path | None, region: str, settings: Settings) -> None:
        self.path = path
        self.region = region
        self.settings = settings
        self.lock = threading.RLock()
        self.kubernetes: Callable[[], tuple[str, str]] = _no_control_plane
        """Returns (server URL, CA certificate in base64) of the control plane behind the one cluster slot."""
        self.endpoint = ""
        self._wakeups: list[threading.Event] = []
        self._dirty = False
        self._state: Json = {}
        self._faults: dict[str, int] = {}
        if path is not None and path.exists():
            self._state = json.loads(path.read_text(encoding="utf-8"))

    # -- tables ---------------------------------------------------------------------------------

    def table(self, name: str) -> dict[str, Any]:
        """The dict called `name`, made on first use."""
        table: dict[str, Any] = self._state.setdefault(name, {})
        return table

    def find(self, table: str, key: str, code: str, what: str, status: int = 400) -> Json:
        """The record `key` of `table`, else an AwsError with `code` that names it."""
        record: Json | None = self.table(table).get(key)
        if record is None:
            raise AwsError(code, f"{what} '{key}' does not exist", status)
        return record

    def snapshot(self) -> Json:
        """A deep copy of the whole account, for tests and for `sandbox status`."""
        with self.lock:
            return copy.deepcopy(self._state)

    # -- names ----------------------------------------------------------------------------------

    def new_id(self, prefix: str) -> str:
        """`prefix-0…` with 17 hex digits, unique and in order of creation within the account."""
        counters = self.table("counters")
        number = counters[prefix] = counters.get(prefix, 0) + 1
        return f"{prefix}-0{number * 2654435761 % (1 << 32):08x}{number:08x}"

    def arn(self, service: str, resource: str, *, regional: bool = True) -> str:
        """`arn:aws:SERVICE:REGION:ACCOUNT:RESOURCE`, without the region for IAM and STS."""
        return f"arn:{PARTITION}:{service}:{self.region if regional else ''}:{ACCOUNT}:{resource}"

    def zones(self) -> list[str]:
        """The three availability zones of the region."""
        return [f"{self.region}{letter}" for letter in "abc"]

    # -- change ---------------------------------------------------------------------------------

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def subscribe(self, wakeup: threading.Event) -> None:
        """Set `wakeup` after every change of the state."""
        self._wakeups.append(wakeup)

    def touch(self) -> None:
        """The state changed: write it soon, wake those who watch it."""
        self._dirty = True
        for wakeup in self._wakeups:
            wakeup.set()

    @contextmanager
    def change(self) -> Iterator[None]:
        """Hold the lock, and touch the state at the end."""
        with self.lock:
            yield
            self.touch()

    def flush(self) -> None:
        """Write the state to its file if it changed; a reader never sees half of it."""
        if self.path is None:
            return
        with self.lock:
            if not self._dirty:
                return
            text = json.dumps(self._state, separators=(",", ":"))
            self._dirty = False
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, self.path)

    # -- injected faults ------------------------------------------------------------------------

    def fault(self, service: str, operation: str) -> AwsError | None:
        """The fault that world.json asks for on this call, if any.

        `faults` is a list of {service, operation ("*" for all), code, message, status, times}; one with
        `times` is used up after so many calls, counted for as long as the daemon lives.
        """
        faults: Iterable[Json] = self.settings.get("faults", [])
        for fault in faults:
            if fault["service"] != service or fault.get("operation", "*") not in ("*", operation):
                continue
            key = json.dumps(fault, sort_keys=True)
            used = self._faults.get(key, 0)
            if "times" in fault and used >= fault["times"]:
                continue
            self._faults[key] = used + 1
            return AwsError(fault["code"], fault.get("message", "injected by world.json"), fault.get("status", 400))
        return None


def _no_control_plane() -> tuple[str, str]:
    return "", ""
