"""A `pulumi up` that is still running: watched line by line, and stopped where a test wants it to stop."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time

from sandbox import lifecycle
from tests.engine.journey import Journey, Outcome

_SECONDS = 120.0


class Deploy:
    """A deploy in a process group of its own, as a shell starts it."""

    def __init__(self, journey: Journey) -> None:
        self.lines: list[str] = []
        argv = ["pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--color", "never"]
        self._process = subprocess.Popen(
            [*argv, "--stack", journey.stack.name],
            cwd=lifecycle.ROOT,
            env=journey.stack.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self.lines.extend(self._process.stdout)

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def reach(self, kind: str, name: str, doing: str) -> Deploy:
        """Wait until the engine says that a resource is e.g. `creating`: its operation has begun and not ended.

        The gate has passed by then: everything that a stage changes comes after it.
        """
        begun = re.compile(rf"^ *[-+~]+ +{re.escape(kind)} {re.escape(name)} {doing}\b", re.MULTILINE)
        deadline = time.monotonic() + _SECONDS
        while not begun.search(self.text):
            assert self._process.poll() is None, f"the deploy ended before {kind} {name}:\n{self.text[-6000:]}"
            assert time.monotonic() < deadline, f"{kind} {name} is not {doing} in time:\n{self.text[-6000:]}"
            time.sleep(0.02)
        assert re.search(r"command:local:Command gate (created|replaced)", self.text), self.text[-6000:]
        return self

    def interrupt(self) -> Outcome:
        """Ctrl-C, once; wait for the end that the CLI makes of it."""
        os.killpg(self._process.pid, signal.SIGINT)
        return self._end()

    def kill(self) -> Outcome:
        """No chance to say good-bye: lock and pending operations stay behind."""
        os.killpg(self._process.pid, signal.SIGKILL)
        return self._end()

    def _end(self) -> Outcome:
        code = self._process.wait(timeout=_SECONDS)
        self._reader.join(timeout=10)  # plugins that outlive the CLI for a moment hold its output open
        return Outcome(code, self.text)
