"""The one place from which other programs are started: as argument lists, never through a shell."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reading.failure import UNKNOWN, Failure


class CommandError(Failure):
    """A program is missing, failed, or took too long. The text names it, and what it said last."""

    exit_code = UNKNOWN


@dataclass(frozen=True)
class Done:
    """What a program left behind."""

    code: int
    out: str
    err: str

    @property
    def last_words(self) -> str:
        lines = [line for line in (self.err or self.out).splitlines() if line.strip()]
        return "\n".join(lines[-12:])


def run(
    arguments: Sequence[str],
    *,
    directory: Path | None = None,
    seconds: float = 120.0,
    check: bool = True,
    environment: Mapping[str, str] | None = None,
) -> Done:
    """Run a program to its end.

    Args:
        arguments: the program's name and its arguments.
        seconds: time limit; the program is ended after it.
        check: whether an exit code other than 0 is an error.
        environment: added to our own.

    Raises:
        CommandError: see there.
    """
    shown = " ".join(arguments[:3])
    try:
        done = subprocess.run(
            list(arguments),
            cwd=directory,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        if directory is not None and not directory.is_dir():
            raise CommandError(f"`{shown}` cannot be run in {directory}: there is no such directory") from None
        raise CommandError(f"{arguments[0]} is not on PATH: install it, or add its directory to PATH") from None
    except OSError as error:
        raise CommandError(f"`{shown}` cannot be started: {error}") from None
    except subprocess.TimeoutExpired:
        raise CommandError(f"`{shown}` did not end within {seconds:.0f} s") from None
    result = Done(done.returncode, done.stdout, done.stderr)
    if check and result.code:
        raise CommandError(f"`{shown}` failed with exit code {result.code}:\n{result.last_words}")
    return result
