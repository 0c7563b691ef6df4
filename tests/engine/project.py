"""A small Pulumi project for a test: its program, its stack, and the real CLI with the stand-in plugins."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PLUGINS = Path(__file__).parents[2] / "sandbox" / "plugins" / "bin"
COMMANDS = Path(__file__).parents[2] / "sandbox" / "bin"


def environment(directory: Path, tools: Path) -> dict[str, str]:
    """A file backend below the directory; ``tools`` holds ``pulumi`` (and ``helm``)."""
    (directory / "state").mkdir(parents=True, exist_ok=True)
    path = [
        str(PLUGINS),
        str(COMMANDS),
        str(Path(sys.executable).parent),
        str(tools),
        os.environ.get("PATH", os.defpath),
    ]
    return {
        **os.environ,
        "PATH": os.pathsep.join(path),
        "PULUMI_BACKEND_URL": f"file://{directory / 'state'}",
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_HOME": str(directory / "home"),
    }


class Project:
    """One project with the stack ``dev``; settings go to the program through the environment."""

    def __init__(self, directory: Path, environment: dict[str, str], program: str, name: str = "test") -> None:
        self.directory, self.environment = directory, environment
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "Pulumi.yaml").write_text(f"name: {name}\nruntime:\n  name: python\n")
        (directory / "__main__.py").write_text(textwrap.dedent(program))
        self.pulumi("stack", "init", "dev")

    def pulumi(self, *arguments: str, fails: bool = False, **settings: Any) -> str:
        """Runs a command; everything that it wrote. Asserts that it succeeds, or that it fails."""
        done = self.start(*arguments, **settings)
        out, _ = done.communicate(timeout=60)
        assert (done.returncode != 0) == fails, out
        return re.sub(r"^warning: using pulumi-.*\n", "", out, flags=re.MULTILINE)

    def start(self, *arguments: str, **settings: Any) -> subprocess.Popen[str]:
        """Starts a command, its stderr within its stdout."""
        given = {key.upper(): str(value) for key, value in settings.items()}
        return subprocess.Popen(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.directory,
            env=self.environment | given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def up(self, *arguments: str, fails: bool = False, **settings: Any) -> str:
        return self.pulumi("up", "--yes", "--skip-preview", *arguments, fails=fails, **settings)

    def steps(self, **settings: Any) -> dict[str, str]:
        """What a preview would do: operation by resource name, without those that stay the same."""
        out = self.pulumi("preview", "--json", **settings)
        plan = json.loads(out[out.index("{") :])
        found = {step["urn"].rsplit("::", 1)[1]: step["op"] for step in plan["steps"]}
        return {name: operation for name, operation in found.items() if operation != "same"}

    def resources(self) -> dict[str, dict[str, Any]]:
        """The stack's resources by name."""
        state = json.loads(self.pulumi("stack", "export"))
        return {item["urn"].rsplit("::", 1)[1]: item for item in state["deployment"].get("resources", [])}

    def outputs(self) -> dict[str, Any]:
        return dict(json.loads(self.pulumi("stack", "output", "--json", "--show-secrets")))


def interrupt(process: subprocess.Popen[str]) -> str:
    """Ends a command as Ctrl-C does; everything that it wrote."""
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    return out


def eventually(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether the process still runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
