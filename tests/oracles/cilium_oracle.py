"""Cilium's real policy engine as an oracle: built once from pinned Go modules, spoken to over pipes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

SOURCE = Path(__file__).parent / "cilium"
_BUILD_SECONDS = 1800


def cache_dir() -> Path:
    """The user's cache directory, as XDG says."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "eks-cilium" / "oracles"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def build() -> Path:
    """The oracle's binary, keyed by its sources and pins; the first build takes minutes. Raises RuntimeError."""
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum", "main.go"):
        digest.update((SOURCE / name).read_bytes())
    binary = cache_dir() / f"cilium-oracle-{digest.hexdigest()[:16]}"
    with _locked(binary.with_suffix(".lock")):
        if not binary.exists():
            half = binary.with_suffix(".part")
            done = subprocess.run(
                ["go", "build", "-mod=mod", "-o", str(half), "."],
                cwd=SOURCE,
                env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": ""},
                capture_output=True,
                text=True,
                timeout=_BUILD_SECONDS,
                check=False,
            )
            if done.returncode:
                raise RuntimeError(f"the Cilium oracle does not build:\n{done.stderr[-4000:]}")
            half.rename(binary)
    return binary


class CiliumOracle:
    """One running oracle. Use it as a context manager; it ends with its standard input."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [str(build())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def ask(self, case: dict[str, Any]) -> dict[str, Any]:
        """The engine's answer to one case: `verdicts` in the order of the flows, or `errors`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(case) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the Cilium oracle ended early")
        answer: dict[str, Any] = json.loads(line)
        return answer
