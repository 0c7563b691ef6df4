"""Who holds the lock of a stack, and whether that deploy can still be at work.

Backends of files and of S3 keep a lock as a small JSON file under `.pulumi/locks`, one for each deploy
(pulumi/pkg/backend/diy/lock.go). Other backends do not show theirs, which is no word on whether there is one.
"""

import json
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from reading.failure import UNKNOWN, Failure

LOCKS: Final = ".pulumi/locks"
_NO_MATTER: Final = frozenset(
    {"ssetype", "kmskeyid", "request_checksum_calculation", "response_checksum_validation", "awssdk", "dualstack"}
)
"""Options of a backend in S3 that say how to write, or which way to go, and not where the locks are."""


class UnseenError(Failure):
    """The locks of this backend cannot be read; the text says why."""

    exit_code = UNKNOWN


class Life(StrEnum):
    """Of the deploy that made a lock."""

    RUNS = "runs"
    """Its process is on this machine and alive."""
    DEAD = "dead"
    """It was on this machine, and its process is gone."""
    UNKNOWN = "unknown"
    """It is on another machine, or the lock does not say."""


@dataclass(frozen=True)
class Lock:
    """A lock that a deploy left, or still holds."""

    id: str
    """Of this lock and no other one."""
    holder: str
    """Process, user, host and time."""
    life: Life

    @property
    def runs(self) -> bool:
        return self.life is Life.RUNS


def read(backend: str, project: str, stack: str, *, s3: Callable[..., Any] | None = None) -> list[Lock]:
    """The locks of a stack.

    Args:
        backend: for example "file:///var/state" or "s3://bucket/prefix?region=eu-west-1"; of a file, `~` counts as
            the home directory.
        s3: makes the botocore client, given `region_name`, `endpoint_url`, `config` and `profile`.

    Raises:
        UnseenError: they cannot be read.
    """

    def mine(path: PurePosixPath) -> bool:  # stacks are kept by project, in old backends by name only
        return path.suffix == ".json" and (path.parts[1:-1] == (project, stack) or path.parts[:-1] == (stack,))

    try:
        scheme = urlsplit(backend).scheme
        if scheme == "file":
            found = list(_in_files(backend, mine))
        elif scheme == "s3":
            found = list(_in_s3(backend, s3 or _client, mine))
        else:
            kind = f"{scheme}://…" if scheme else repr(backend)
            raise UnseenError(f"the locks of a backend {kind} cannot be read from here")
    except (OSError, ValueError, BotoCoreError, ClientError) as error:
        raise UnseenError(f"the locks in {_shown(backend)} cannot be read: {error}") from error
    return [_lock(path, text) for path, text in sorted(found)]


def _shown(backend: str) -> str:
    try:
        parts = urlsplit(backend)
    except ValueError:
        return repr(backend)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _in_files(backend: str, mine: Callable[[PurePosixPath], bool]) -> Iterator[tuple[PurePosixPath, str]]:
    root = root_of(backend)
    if root is None or not root.is_dir():
        raise FileNotFoundError(f"{root} is not a directory")
    above = root / LOCKS
    if not above.exists():
        return
    for directory, _, names in os.walk(above, onerror=_raise):  # Path.rglob passes over what it may not read
        for path in (Path(directory) / name for name in names):
            short = PurePosixPath(path.relative_to(above).as_posix())
            if not mine(short):
                continue
            try:
                yield short, path.read_text(errors="replace")
            except FileNotFoundError:  # its deploy has just ended
                continue


def _raise(error: OSError) -> None:
    raise error


def _in_s3(
    backend: str, make: Callable[..., Any], mine: Callable[[PurePosixPath], bool]
) -> Iterator[tuple[PurePosixPath, str]]:
    from botocore.config import Config  # noqa: PLC0415 - only for this backend

    parts = urlsplit(backend)
    options = {key: values[-1] for key, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()}
    region, endpoint, profile = (options.pop(key, None) for key in ("region", "endpoint", "profile"))
    plain = [_yes(options.pop(key, "false")) for key in ("disableSSL", "disable_https")]
    paths = [_yes(options.pop(key, "false")) for key in ("s3ForcePathStyle", "use_path_style", "hostname_immutable")]
    if further := sorted(set(options) - _NO_MATTER):
        raise ValueError(f"what its option {further[0]} means for them is not known here")
    if endpoint and "://" not in endpoint:
        endpoint = f"{'http' if any(plain) else 'https'}://{endpoint}"
    client = make(
        profile=profile,
        region_name=region,
        endpoint_url=endpoint,
        config=Config(connect_timeout=5, read_timeout=20, s3={"addressing_style": "path" if any(paths) else "auto"}),
    )
    prefix = parts.path.strip("/")
    above = f"{prefix}/{LOCKS}/" if prefix else f"{LOCKS}/"
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=parts.netloc, Prefix=above):
        for item in page.get("Contents") or ():
            path = PurePosixPath(item["Key"].removeprefix(above))
            if not mine(path):
                continue
            try:
                body = client.get_object(Bucket=parts.netloc, Key=item["Key"])["Body"].read()
            except ClientError as error:
                if error.response["Error"]["Code"] in ("NoSuchKey", "404"):  # its deploy has just ended
                    continue
                raise
            yield path, body.decode(errors="replace")


def _yes(text: str) -> bool:
    """As Go reads it."""
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if text in ("0", "f", "F", "FALSE", "false", "False"):
        return False
    raise ValueError(f"an option is {text!r}: write true or false")


def _client(*, profile: str | None, **arguments: Any) -> Any:
    import botocore.session  # noqa: PLC0415 - only for this backend

    return botocore.session.Session(profile=profile).create_client("s3", **arguments)


def _lock(path: PurePosixPath, text: str) -> Lock:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    said = value if isinstance(value, dict) else {}
    pid, host = said.get("pid"), said.get("hostname")
    who = f"process {pid!s:.20} of {said.get('username', '?')!s:.80} on {host or '?'}"
    when = f" since {said['timestamp']!s:.40}" if said.get("timestamp") else ""
    holder = f"{who}{when}" if said else "somebody: the lock cannot be read"
    life = Life.UNKNOWN
    if host == socket.gethostname() and isinstance(pid, int) and not isinstance(pid, bool) and 0 < pid < 2**31:
        life = Life.RUNS if alive(pid) else Life.DEAD
    return Lock(path.stem, holder, life)


def root_of(backend: str) -> Path | None:
    """The directory of a backend of files; None for other backends."""
    try:
        parts = urlsplit(backend)
    except ValueError:
        return None
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
