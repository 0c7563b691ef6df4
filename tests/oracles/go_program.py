"""Programs of other people's engines: built once from pinned Go modules, spoken to over pipes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_BUILD_SECONDS = 1800


def cache_dir() -> Path:
    """The user's cache directory, as XDG says."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "eks-cilium" / "oracles"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One maker at a time, across processes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def path_of(source: Path) -> Path:
    """Where the program of a directory with go.mod, go.sum and main.go is kept, keyed by those."""
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum", "main.go"):
        digest.update((source / name).read_bytes())
    return cache_dir() / f"{source.name}-oracle-{digest.hexdigest()[:16]}"


def build(source: Path) -> Path:
    """The program of a directory; the first build may take minutes. Raises RuntimeError."""
    binary = path_of(source)
    with locked(binary.with_suffix(".lock")):
        if not binary.exists():
            half = binary.with_suffix(".part")
            done = subprocess.run(
                ["go", "build", "-mod=mod", "-o", str(half), "."],
                cwd=source,
                env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": ""},
                capture_output=True,
                text=True,
                timeout=_BUILD_SECONDS,
                check=False,
            )
            if done.returncode:
                raise RuntimeError(f"the oracle {source.name} does not build:\n{done.stderr[-4000:]}")
            half.rename(binary)
    return binary


class Piped:
    """A running program that answers each line of JSON with one. A context manager; it ends with its input."""

    def __init__(self, name: str, argv: Sequence[str], *, quiet: bool = False) -> None:
        """`quiet` throws away what the program says on its standard error."""
        self._name = name
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            text=True,
            bufsize=1,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)

    def ask(self, case: Any) -> dict[str, Any]:
        """The answer to one case."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(case) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} ended early")
        answer: dict[str, Any] = json.loads(line)
        return answer


class GoProgram(Piped):
    """The program of a directory, built when it is first needed."""

    source: Path

    def __init__(self) -> None:
        super().__init__(f"the oracle {self.source.name}", [str(build(self.source))])
