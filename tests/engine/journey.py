"""A walked journey to start tests from: the sandbox as it was after each stage, and the real CLI to go on with."""

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from kubernetes import client, config

from sandbox import lifecycle
from sandbox.project import Stack

_OPERATIONS = re.compile(r"^\s*[-+~±]+\s.*\b(creating|updating|deleting|replacing|creating failed)\b", re.MULTILINE)


def quiet(_: str) -> None:
    """Reports of the life cycle are not part of a test's output."""


@dataclass(frozen=True)
class Outcome:
    """One run of the CLI."""

    code: int
    text: str
    """Both streams, as a person sees them."""

    @property
    def operations(self) -> int:
        """Resource operations that the engine began."""
        return len(_OPERATIONS.findall(self.text))

    def __str__(self) -> str:
        return f"code {self.code}\n{self.text[-6000:]}"


@dataclass(frozen=True)
class Journey:
    """A stack of `replace` in a sandbox that has a save for each stage."""

    stack: Stack
    journey: str

    @property
    def directory(self) -> Path:
        return self.stack.directory

    def at(self, stage: str) -> "Journey":
        """Put the whole sandbox back to just after a stage."""
        lifecycle.restore(self.directory, f"{self.journey}-{stage}", quiet)
        return self

    def pulumi(self, *words: str, timeout: float = 600) -> Outcome:
        return self._run(
            ["pulumi", *words, "--stack", self.stack.name, "--non-interactive", "--color", "never"], timeout
        )

    def operations(self, *words: str, timeout: float = 600) -> Outcome:
        """`python -m operations WORDS --stack NAME`."""
        return self._run(["sh", "operations/run", *words, "--stack", self.stack.name], timeout)

    def _run(self, argv: list[str], timeout: float) -> Outcome:
        done = subprocess.run(
            argv,
            cwd=lifecycle.ROOT,
            env=self.stack.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
        outcome = Outcome(done.returncode, done.stdout)
        if outcome.code:
            print(f"{' '.join(argv)}\n{outcome}")  # pytest shows it whole if the test fails, but cuts what is asserted
        return outcome

    def set(self, **values: Any) -> "Journey":
        """Change settings of the stack: `set(stage="canary")`."""
        for key, value in values.items():
            text = value if isinstance(value, str) else json.dumps(value)
            self.stack.set(key, text)
        return self

    def preview(self, *flags: str) -> Outcome:
        return self.pulumi("preview", *flags)

    def up(self, *flags: str) -> Outcome:
        return self.pulumi("up", "--yes", *(flags or ("--skip-preview",)))

    def reached(self) -> str | None:
        return self.stack.reached()

    def resources(self) -> list[dict[str, Any]]:
        """The stack's state."""
        exported = json.loads(self.stack.must("stack", "export"))
        found: list[dict[str, Any]] = exported["deployment"].get("resources") or []
        return found

    def aws(self, service: str) -> Any:
        """A client of the emulated account."""
        environment = self.stack.environment
        make: Any = boto3.client  # its overloads name every service
        return make(
            service,
            region_name=environment["AWS_REGION"],
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        )

    def cluster(self) -> client.ApiClient:
        """An administrator's client of the cluster."""
        return config.new_client_from_config(str(self.directory / "kubeconfig"))

    def world(self, **settings: Any) -> None:
        """Change the sandbox's own settings (delays, faults)."""
        path = self.directory / "world.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def names(items: Sequence[dict[str, Any]]) -> list[str]:
    """Type and name of each resource of a state."""
    return sorted(f"{item['type']} {item['urn'].split('::')[-1]}" for item in items)
