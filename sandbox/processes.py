"""Background processes that outlive the command that starts them, recorded so that a later command can end them.

A pid alone is no identity: pids are reused. Each record holds the instant at which the kernel says the process
started, and a process whose instant differs is somebody else's and is never signalled.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

RECORD = "process.json"
"""File in which the process of a directory is kept."""
_POLL_SECONDS = 0.05
_SERVER_PORTS = (20000, 32000)
"""Linux connects from 32768 on, others from 49152 on, and few services have a port of their own in here."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """A started process: its name in the sandbox, pid, and start instant as `started_at` words it."""

    name: str
    pid: int
    started: str

    def alive(self) -> bool:
        """Whether this very process (not a later one with its pid) still runs."""
        _reap(self.pid)
        return started_at(self.pid) == self.started

    def to_json(self) -> dict[str, str | int]:
        return {"pid": self.pid, "started": self.started}


class ProcessFailed(RuntimeError):
    """A process ended, or did not answer in time, while the sandbox was being started."""


def started_at(pid: int) -> str | None:
    """The start instant of a live process in the kernel's own words; None when it is gone or wholly a zombie.

    Linux: field 22 of /proc/PID/stat (clock ticks since boot) with the boot id, so that a record left by an
    earlier boot matches nothing. Elsewhere: what ps prints.
    """
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The first thread may be a zombie while others still end and hold the ports: the last one closes them.
        ended = fields[0] == "X" or (fields[0] == "Z" and int(fields[17]) <= 1)
        return None if ended else f"{_boot_id()}:{fields[19]}"
    answer = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split(maxsplit=1)
    return None if len(answer) < 2 or answer[0].startswith("Z") else answer[1].strip()


def start(
    name: str,
    argv: Sequence[str | Path],
    *,
    log: Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Process:
    """Start `argv` in a session of its own, its output appended to `log`; return at once.

    `env` is added to this process's own environment.

    Raises ProcessFailed when the program cannot be started.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        try:
            child = subprocess.Popen(
                [str(word) for word in argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=cwd,
                env={**os.environ, **(env or {})},
            )
        except OSError as error:
            raise ProcessFailed(f"{name} cannot be started: {error}") from error
    # The command that starts it may exit first: whoever reaps it then, this object must not complain about it.
    child.returncode = 0
    started = started_at(child.pid)
    if started is None:
        raise ProcessFailed(f"{name} ended at once; the end of {log}:\n{tail(log)}")
    return Process(name=name, pid=child.pid, started=started)


def stop(processes: Sequence[Process], *, grace_seconds: float = 10.0) -> list[str]:
    """End these processes together: SIGTERM, then SIGKILL after the grace. Returns the names that were killed."""
    _signal(processes, signal.SIGTERM)
    if wait_gone(processes, grace_seconds):
        return []
    stubborn = [process for process in processes if process.alive()]
    kill(stubborn, seconds=grace_seconds)
    return [process.name for process in stubborn]


def kill(processes: Sequence[Process], *, seconds: float = 10.0) -> None:
    """End these processes at once, for when nothing that they hold is wanted any more. Raises ProcessFailed."""
    _signal(processes, signal.SIGKILL)
    if not wait_gone(processes, seconds):
        left = ", ".join(f"{process.name} (pid {process.pid})" for process in processes if process.alive())
        raise ProcessFailed(f"{left} did not end on SIGKILL within {seconds:g} s; look at it with ps")


def sweep(directory: Path) -> None:
    """End the processes that are recorded in DIRECTORY/*/process.json, and delete the directory."""
    left = []
    for path in directory.glob(f"*/{RECORD}"):
        with contextlib.suppress(ValueError, KeyError, OSError):
            held = json.loads(path.read_text())
            left.append(Process(name=path.parent.name, pid=int(held["pid"]), started=str(held["started"])))
    stop(left, grace_seconds=2.0)
    shutil.rmtree(directory, ignore_errors=True)


def freeze(processes: Sequence[Process]) -> None:
    """Let them stand still until `thaw`: what they have written stays as it is meanwhile."""
    _signal(processes, signal.SIGSTOP)


def thaw(processes: Sequence[Process]) -> None:
    """Let frozen processes go on."""
    _signal(processes, signal.SIGCONT)


def wait_gone(processes: Sequence[Process], seconds: float) -> bool:
    """Whether all of them ended within so many seconds."""
    deadline = time.monotonic() + seconds
    while any(process.alive() for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def free_ports(names: Sequence[str]) -> dict[str, int]:
    """One free loopback port per name, all different (each is held until all are known).

    They lie below the range from which the kernel serves outgoing connections: a server that is stopped and started
    again, as at every restore, would now and then find its port in use by somebody's connection.
    """
    with contextlib.ExitStack() as stack:
        ports = {}
        for name in names:
            holder = stack.enter_context(socket.socket())
            _bind(holder)
            ports[name] = int(holder.getsockname()[1])
        return ports


def _bind(holder: socket.socket) -> None:
    for port in random.sample(range(*_SERVER_PORTS), 50):
        with contextlib.suppress(OSError):
            return holder.bind(("127.0.0.1", port))
    holder.bind(("127.0.0.1", 0))


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def ports_taken(ports: Mapping[str, int], *, within_seconds: float = 5.0) -> dict[str, int]:
    """Those of the ports that are still in use when the time is over; none of them: empty, and at once.

    What was killed an instant ago may still be closing its sockets.
    """
    deadline = time.monotonic() + within_seconds
    while taken := {name: port for name, port in ports.items() if not port_is_free(port)}:
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL_SECONDS)
    return taken


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, for error messages."""
    if not log.exists():
        return "(no log)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _signal(processes: Sequence[Process], number: signal.Signals) -> None:
    for process in processes:
        if process.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)


def _reap(pid: int) -> None:
    """Collect it if it is a child of this very process; otherwise init does."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "boot"
