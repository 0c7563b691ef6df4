"""What people see of a refresh: a bar on a terminal, plain lines elsewhere, JSON lines for machines."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TextIO

from operations.refresh.model.terms import Awaited, duration

WIDTH: Final = 28
LINE_SECONDS: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Where a refresh is."""

    seconds: float
    done: int
    total: int
    active: int
    new_ready: int
    new_wanted: int
    evicted: int
    waits: tuple[Awaited, ...] = ()
    unproved: str = ""
    """Why nothing new is begun, as policy is not proved; empty while it is."""

    def eta(self) -> float | None:
        """Seconds that are left at the pace so far; None before that can be told."""
        if not self.done or self.seconds < 1:
            return None
        return (self.total - self.done) * self.seconds / self.done


def reasons(waits: Sequence[Awaited], limit: int = 3) -> str:
    """The most frequent reasons, with how many wait for each."""
    counted = Counter(awaited.reason for awaited in waits)
    shown = [f"{n} times {reason}" if n > 1 else reason for reason, n in counted.most_common(limit)]
    rest = len(counted) - limit
    return "; ".join(shown) + (f"; {rest} more reasons" if rest > 0 else "")


class Progress:
    """Shows snapshots.

    Args:
        stream: for people (stderr).
        as_json: JSON lines instead.
    """

    def __init__(
        self, stream: TextIO | None = None, *, as_json: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.stream, self.as_json, self.clock = stream or sys.stderr, as_json, clock
        self.bar = not as_json and self.stream.isatty()
        self._shown: tuple[int, int, bool] = (-1, -1, False)
        self._at = float("-inf")
        self._dirty = False
        self._broken = False
        self._start_done: int | None = None

    def say(self, text: str) -> None:
        """A line of its own."""
        self._write(f"{self._clear()}{text}\n" if not self.as_json else _json({"event": "note", "text": text}))

    def show(self, snapshot: Snapshot) -> None:
        """At once when a node more is done, else now and then."""
        now = self.clock()
        key = (snapshot.done, snapshot.active, bool(snapshot.unproved))
        if now - self._at < (0.25 if self.bar else 0.5 if key != self._shown else LINE_SECONDS):
            return
        self._at, self._shown = now, key
        if self.as_json:
            self._write(_json({"event": "progress"} | _plain(snapshot)))
        elif self.bar:
            self._write(f"{self._clear()}{_bar(snapshot)}")
            self._dirty = True
        else:
            self._write(f"{_line(snapshot)}\n")

    def _clear(self) -> str:
        if not self._dirty:
            return ""
        self._dirty = False
        return "\r\033[K"

    def _write(self, text: str) -> None:
        if self._broken:
            return
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError):
            self._broken = True  # nobody reads any more: the refresh itself goes on


def _line(s: Snapshot) -> str:
    eta = s.eta()
    parts = [
        f"{s.done} of {s.total} nodes done",
        f"{s.active} on their way",
        f"{s.evicted} pods moved",
        f"new nodes {s.new_ready} of {s.new_wanted}",
        duration(s.seconds) + (f", about {duration(eta)} left" if eta and s.done < s.total else ""),
    ]
    waits = f"; waits: {reasons(s.waits)}" if s.waits else ""
    return (f"paused, policy is not proved ({s.unproved}): " if s.unproved else "") + ", ".join(parts) + waits


def _bar(s: Snapshot) -> str:
    full = WIDTH * s.done // max(1, s.total)
    eta = s.eta()
    left = f" ETA {duration(eta)}" if eta is not None and s.done < s.total else ""
    waits = f" | {reasons(s.waits, 1)[:60]}" if s.waits else ""
    waits = f" | paused, policy is not proved: {s.unproved[:60]}" if s.unproved else waits
    return (
        f"[{'#' * full}{'.' * (WIDTH - full)}] {s.done}/{s.total} nodes, {s.active} leaving, "
        f"{s.evicted} pods{left}{waits}"
    )


def _plain(s: Snapshot) -> dict[str, Any]:
    eta = s.eta()
    return {
        "seconds": round(s.seconds, 1),
        "done": s.done,
        "total": s.total,
        "active": s.active,
        "new_ready": s.new_ready,
        "new_wanted": s.new_wanted,
        "evicted": s.evicted,
        "eta": round(eta) if eta is not None else None,
        "unproved": s.unproved,
        "waiting": dict(Counter(awaited.reason for awaited in s.waits).most_common(10)),
    }


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":")) + "\n"
