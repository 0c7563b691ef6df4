"""Who holds the lock of a stack, as far as the backend lets it be seen."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import reading

_MOST_BYTES: Final = 2**20
_MOST_PID: Final = 2**31


@dataclass(frozen=True)
class Lock:
    """A lock that a deploy left, or still holds."""

    holder: str
    """Process, user, host and time."""
    runs: bool
    """The process is on this machine and alive."""


def of_files(backend: str, project: str, stack: str) -> list[Lock] | None:
    """Locks in a backend of files; None for other backends, whose locks cannot be seen from here.

    Args:
        backend: for example "file:///var/state"; `~` counts as the home directory.
    """
    root = root_of(backend)
    if root is None:
        return None
    found = []
    for path in sorted((root / ".pulumi" / "locks").glob(f"*/{project}/{stack}/*.json")):
        value = _lock(path)
        pid, host = value.get("pid"), str(value.get("hostname", "?"))
        pid = pid if type(pid) is int and 0 < pid < _MOST_PID else 0
        when = f" since {value['timestamp']}" if value.get("timestamp") else ""
        holder = f"process {pid or '?'} of {value.get('username', '?')} on {host}{when}"
        found.append(Lock(holder, host == socket.gethostname() and alive(pid)))
    return found


def _lock(path: Path) -> dict[str, Any]:
    """What a lock file says; nothing when it is half-written, or no lock."""
    try:
        found = reading.json_value(reading.text_of(path, _MOST_BYTES))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def root_of(backend: str) -> Path | None:
    """The directory of a backend of files; None for other backends."""
    parts = urlsplit(backend)
    return Path(unquote(parts.netloc + parts.path) or "/").expanduser() if parts.scheme == "file" else None


def alive(pid: int) -> bool:
    """Whether a process of this machine runs."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
