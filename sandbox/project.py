"""What walks know of the project: how people drive a stack of it. Its CLI, its commands, its settings, its state.

With the settings that `seeds.settings` writes, it is all of the project that the sandbox knows: names, no import.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sandbox import lifecycle
from sandbox.lifecycle import ROOT

PROJECT = "eks-cilium"
_COMMAND = "command:local:Command"
# A gate in a preview does not wait, and a cluster takes a moment to settle: as long as a person would try again.
_PREVIEW_PATIENCE = 120.0
_PREVIEW_PAUSE = 5.0
_DEPLOY_TIMEOUT = 3600.0
_INTERRUPT_GRACE = 60.0

_NOISE = re.compile(r"^@ |warning: using pulumi-|^.{600}")


class ProjectFailed(RuntimeError):
    """The CLI or a command did not do what it should; the text ends with what it said itself."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """One stack of the project, driven through the CLI. Everything it prints goes to a log of its own."""

    name: str
    directory: Path
    """Of the sandbox."""
    environment: Mapping[str, str]

    @property
    def logs(self) -> Path:
        return self.directory / "walk" / self.name

    def pulumi(self, *arguments: str, log: str = "pulumi", timeout: float = _DEPLOY_TIMEOUT) -> tuple[int, str]:
        """Run `pulumi ARGUMENTS --stack NAME`; return exit code and stdout. Stderr goes to the log."""
        self.logs.mkdir(parents=True, exist_ok=True)
        argv = ["pulumi", *arguments, "--stack", self.name, "--non-interactive", "--color", "never"]
        with (self.logs / f"{log}.log").open("a") as output:
            print(f"$ {' '.join(argv)}", file=output, flush=True)
            with (
                subprocess.Popen(
                    argv, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, stderr=output, text=True
                ) as process,
                _ended(process),
            ):
                answer = process.communicate(timeout=timeout)[0]
            print(answer, file=output, flush=True)
        return process.returncode, answer

    def must(self, *arguments: str, log: str = "pulumi") -> str:
        code, answer = self.pulumi(*arguments, log=log)
        if code:
            raise ProjectFailed(f"pulumi {' '.join(arguments[:2])} ended with code {code}:\n{self.tail(log)}")
        return answer

    def tail(self, log: str, lines: int = 40) -> str:
        """What a log says in the end: the engine's diagnostics where it gave some."""
        path = self.logs / f"{log}.log"
        text = path.read_text().rpartition("\nDiagnostics:\n")[2]
        shown = [line for line in text.splitlines() if line.strip() and not _NOISE.search(line)]
        return "\n".join(shown[-lines:]) + f"\n(all of it: {path})"

    def configure(self, values: Mapping[str, Any]) -> None:
        """Write the project's settings into Pulumi.NAME.yaml; what the CLI keeps there besides stays."""
        path = ROOT / f"Pulumi.{self.name}.yaml"
        content = (yaml.safe_load(path.read_text()) if path.exists() else None) or {}
        given = {f"{PROJECT}:{key}": value for key, value in values.items()}
        content["config"] = {"aws:region": self.environment["AWS_REGION"], **given}
        path.write_text(yaml.safe_dump(content, sort_keys=False))

    def set(self, key: str, value: str) -> None:
        self.must("config", "set", f"{PROJECT}:{key}", value)

    def exists(self) -> bool:
        return self.pulumi("stack", "output", "--json")[0] == 0

    def reached(self) -> str | None:
        """The stage that its last complete deploy reached."""
        outputs: dict[str, str] = json.loads(self.must("stack", "output", "--json") or "{}")
        return outputs.get("stage")

    def preview(self, log: str) -> dict[str, Any]:
        """The engine's own JSON of a preview. Tried again while a gate does not pass yet.

        Raises ProjectFailed with the reason that the preview gave.
        """
        deadline = time.monotonic() + _PREVIEW_PATIENCE
        while True:
            code, answer = self.pulumi("preview", "--json", log=log)
            found = json_of(answer)
            if code == 0:
                return found
            reasons = _diagnostics(found) or self.tail(log)
            if "does not pass" not in reasons or time.monotonic() > deadline:
                raise ProjectFailed(f"{log} fails:\n{reasons}")
            time.sleep(_PREVIEW_PAUSE)

    def reports(self) -> list[dict[str, Any]]:
        """What the gates in the stack's state answered: one report for each Command whose stdout is one."""
        state = json.loads(self.must("stack", "export"))
        found = []
        for resource in state["deployment"].get("resources", []):
            if resource["type"] == _COMMAND:
                report = json_of(str(resource.get("outputs", {}).get("stdout") or ""))
                if "verdict" in report and "checks" in report:
                    found.append(report)
        return found


def survey(walked: Stack) -> None:
    (ROOT / f"facts.{walked.name}.yaml").unlink(missing_ok=True)
    _operations(walked, "survey", log="survey")


def translate(walked: Stack) -> None:
    """What Cilium will enforce, as files for review: a walk takes them as they are."""
    policies = walked.directory / lifecycle.POLICIES
    _operations(
        walked, "policy", "translate", "--live", policies / "calico", "--out", policies / "cilium", log="translate"
    )


def _operations(walked: Stack, *words: str | Path, log: str) -> None:
    """A command of the project for this stack. Raises ProjectFailed with what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "operations", *map(str, words), "--stack", walked.name],
        cwd=ROOT,
        env=walked.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    walked.logs.mkdir(parents=True, exist_ok=True)
    (walked.logs / f"{log}.log").write_text(f"{done.stdout}\n{done.stderr}")
    if done.returncode:
        raise ProjectFailed(f"`operations {words[0]} …` ended with code {done.returncode}:\n{done.stderr.strip()}")


def stages_of(journey: str, environment: Mapping[str, str], until: str | None) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "operations", "journey", "--json", journey],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ProjectFailed(f"the journey {journey!r} is not known:\n{done.stderr.strip()}")
    found: list[str] = json.loads(done.stdout)
    if until is not None and until not in found:
        raise ProjectFailed(f"{journey} has no stage {until!r}: choose among {', '.join(found)}")
    return found


@contextlib.contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[None]:
    """Interrupt the CLI when the walk itself is interrupted or out of patience, so that it lets go of its lock."""
    try:
        yield
    except BaseException:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_INTERRUPT_GRACE)
        if process.poll() is None:
            process.kill()
        raise


def _diagnostics(found: Mapping[str, Any]) -> str:
    """The errors in a preview's JSON."""
    listed = found.get("diagnostics") or []
    return "\n".join(str(entry["message"]).strip() for entry in listed if entry.get("severity") == "error")


def json_of(text: str) -> dict[str, Any]:
    """The JSON object in a text that may have other lines before it; empty when there is none."""
    for begin in (0, text.find("\n{") + 1):
        with contextlib.suppress(json.JSONDecodeError):
            found = json.loads(text[begin:])
            return found if isinstance(found, dict) else {}
    return {}
