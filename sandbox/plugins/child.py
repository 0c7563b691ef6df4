"""Child processes of a plugin: followed line by line, in a group of their own, never left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from sandbox.plugins.operation import Operation, ProviderError

GRACE = 2.0
"""Seconds that a child has between SIGTERM and SIGKILL when it is cancelled or overdue."""


@dataclass(frozen=True)
class Finished:
    """How a child ended: ``reason`` is None when it exited with code 0, else what went wrong."""

    reason: str | None
    stdout: str
    stderr: str
    combined: str


@dataclass
class Children:
    """The children of this plugin that still run."""

    _pids: set[int] = field(default_factory=set)

    def kill_all(self) -> None:
        """Ends every child's group at once: for the end of the process."""
        for pid in list(self._pids):
            _signal_group(pid, signal.SIGKILL)

    def run(
        self,
        op: Operation,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        directory: str | None = None,
        stdin: str | None = None,
        line: Callable[[str, str], None] = lambda _stream, _text: None,
        grace: float = GRACE,
    ) -> Finished:
        """Runs to the end, to the operation's own time limit, or to its cancelling.

        ``line`` is called with "stdout" or "stderr" and each line as it comes. Raises `ProviderError` when the program
        cannot be started.
        """
        try:
            process = subprocess.Popen(
                argv,
                env=environment,
                cwd=directory,
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise ProviderError(f"cannot start {argv[0]!r}: {error}") from error
        self._pids.add(process.pid)
        try:
            return _follow(op, process, stdin, line, grace)
        finally:
            self._pids.discard(process.pid)


def _follow(
    op: Operation,
    process: subprocess.Popen[bytes],
    stdin: str | None,
    line: Callable[[str, str], None],
    grace: float,
) -> Finished:
    texts: dict[str, list[str]] = {"stdout": [], "stderr": []}
    combined: list[str] = []

    def read(name: str, stream: IO[bytes]) -> None:
        for raw in stream:
            text = raw.decode(errors="replace")
            texts[name].append(text)
            combined.append(text)
            line(name, text.rstrip("\r\n"))

    def write(stream: IO[bytes], text: str) -> None:
        with contextlib.suppress(BrokenPipeError), stream:
            stream.write(text.encode())

    work: list[tuple[Any, tuple[Any, ...]]] = [
        (read, ("stdout", process.stdout)),
        (read, ("stderr", process.stderr)),
    ]
    if stdin is not None:
        work.append((write, (process.stdin, stdin)))
    threads = [threading.Thread(target=target, args=args, daemon=True) for target, args in work]
    for thread in threads:
        thread.start()
    reason = _wait(op, process, grace)
    _signal_group(process.pid, signal.SIGKILL)  # what it left behind in its group would keep the pipes open
    for thread in threads:
        thread.join()
    if reason is None and process.returncode:
        code = process.returncode
        reason = f"exit status {code}" if code > 0 else f"signal: {signal.Signals(-code).name}"
    return Finished(reason, "".join(texts["stdout"]), "".join(texts["stderr"]), "".join(combined))


def _wait(op: Operation, process: subprocess.Popen[bytes], grace: float) -> str | None:
    """Waits for the end; what cut it short, if anything did."""
    pause = 0.002
    while process.poll() is None:
        late = bool(op.timeout) and time.monotonic() - op.started > op.timeout
        if op.cancelled or late:
            _signal_group(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(grace)
            _signal_group(process.pid, signal.SIGKILL)
            process.wait()
            return f"timed out after {op.timeout:g} s" if late else "cancelled"
        op.stop.wait(pause)
        pause = min(pause * 2, 0.1)
    return None


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
