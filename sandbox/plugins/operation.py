"""One call of the engine: what it is about, the state that it starts from, and how it may fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sandbox.plugins.values import Properties

POLL = 0.1
"""Seconds between two looks at something that is waited for."""


class ProviderError(Exception):
    """The operation failed: the text is what the user reads, nothing is left in the stack's state."""


class Cancelled(ProviderError):
    """The user cancelled the deployment while the operation ran."""


class CheckFailed(Exception):
    """Inputs that the type refuses: reasons by property name (``""`` for the resource as a whole)."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__("; ".join(reasons.values()))
        self.reasons = dict(reasons)


class PartialFailure(Exception):
    """The thing exists but is not as it should be: it is kept in the state, and the deployment fails.

    ``inputs`` are stored as the resource's inputs where they are not those that were asked for.
    """

    def __init__(self, id: str, outputs: Properties, reasons: Sequence[str], inputs: Properties | None = None) -> None:
        super().__init__("; ".join(reasons))
        self.id, self.outputs, self.reasons, self.inputs = id, outputs, list(reasons), inputs


@dataclass(frozen=True)
class State:
    """What the stack remembers of a resource."""

    id: str
    inputs: Properties
    outputs: Properties


@dataclass
class Diff:
    """What a change of inputs means: leaf paths with ADD/DELETE/UPDATE, and those that need a new resource."""

    changes: dict[str, str] = field(default_factory=dict)
    replaces: list[str] = field(default_factory=list)
    delete_before_replace: bool = False


class Display(Protocol):
    """Where the lines of an operation go: the provider, which sends them to the engine."""

    def log(self, text: str, *, urn: str = "", severity: str = "INFO", ephemeral: bool = False) -> None: ...


@dataclass
class Operation:
    """One call of the engine: what it is about, how long it may take, whether it was cancelled, where logs go."""

    provider: Display
    urn: str = ""
    type: str = ""
    name: str = ""
    preview: bool = False
    timeout: float = 0.0
    """Seconds from the resource's ``custom_timeouts``; 0 when none is set."""
    started: float = field(default_factory=time.monotonic)
    ignored: Sequence[str] = ()
    """Paths of ``ignore_changes``, in an update."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set when the deployment is cancelled; an event of its own makes an operation that goes on regardless."""

    def deadline(self, default: float) -> float:
        """The `time.monotonic` instant at which the operation ends, ``default`` seconds after its start unless set."""
        return self.started + (self.timeout or default)

    @property
    def cancelled(self) -> bool:
        return self.stop.is_set()

    def sleep(self, seconds: float) -> None:
        """Waits; raises `Cancelled` at once when the deployment is cancelled."""
        if self.stop.wait(seconds):
            raise Cancelled("the operation was cancelled")

    def wait(
        self, ready: Callable[[], bool], *, default: float, what: str, every: float = POLL, status: str = ""
    ) -> None:
        """Waits until ``ready``; `ProviderError` "timed out waiting for WHAT" after the deadline."""
        deadline = self.deadline(default)
        if status:
            self.status(status)
        while not ready():
            if time.monotonic() >= deadline:
                limit = self.timeout or default
                raise ProviderError(f"timed out after {limit:g} s waiting for {what}")
            self.sleep(every)

    def status(self, text: str) -> None:
        """A line beside the resource while it runs; it is not kept."""
        self.provider.log(text, urn=self.urn, ephemeral=True)

    def log(self, text: str, severity: str = "INFO") -> None:
        """A line that stays: DEBUG, INFO, WARNING or ERROR."""
        self.provider.log(text, urn=self.urn, severity=severity)
