"""What run.json says of a sandbox: where it answers, and which processes it consists of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sandbox.processes import Process

ACCOUNT = "111122223333"
DAEMON = "daemon"
PLUGINS = "plugins"
LEASE_SECONDS = 40
"""How long a node's lease is good for, unless said otherwise: Kubernetes' default."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One sandbox. `real` names the stand-ins that are left out; `ports` has one for each server."""

    directory: Path
    region: str
    ports: Mapping[str, int]
    real: tuple[str, ...]
    processes: Mapping[str, Process]
    helpers: tuple[Process, ...] = ()
    """Processes that only look on. They end with the sandbox, and it runs without them."""
    lease_seconds: int = LEASE_SECONDS
    """As ControlPlane has it."""

    @property
    def aws_endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports[DAEMON]}"

    @property
    def apiserver(self) -> str:
        return f"https://127.0.0.1:{self.ports['apiserver']}"

    def running(self) -> bool:
        """Whether every process that it cannot do without runs: plugins start by themselves too, only slower."""
        needed = [process for name, process in self.processes.items() if name != PLUGINS]
        return bool(needed) and all(process.alive() for process in needed)

    def plane_only(self) -> bool:
        """Whether it was started without an account. What a start that failed has left behind says nothing."""
        return bool(self.processes) and not {DAEMON, PLUGINS} & self.processes.keys()

    def with_process(self, process: Process) -> Run:
        return self.with_processes([*self.processes.values(), process])

    def with_processes(self, found: Iterable[Process]) -> Run:
        return replace(self, processes={process.name: process for process in found})

    def write(self) -> None:
        content = {
            "directory": str(self.directory),
            "aws_endpoint": self.aws_endpoint,
            "apiserver": self.apiserver,
            "kubeconfig": str(self.directory / "kubeconfig"),
            "account": ACCOUNT,
            "region": self.region,
            "real": list(self.real),
            "lease_seconds": self.lease_seconds,
            "ports": dict(self.ports),
            "pids": {name: process.pid for name, process in self.processes.items()},
            "processes": {name: process.to_json() for name, process in self.processes.items()},
            "helpers": [{"name": helper.name, **helper.to_json()} for helper in self.helpers],
        }
        fresh = self.directory / ".run.json.new"
        fresh.write_text(json.dumps(content, indent=1))
        fresh.replace(self.directory / "run.json")


def read(directory: Path) -> Run | None:
    """The record of the sandbox in this directory, None when there is none."""
    try:
        content: dict[str, Any] = json.loads((directory / "run.json").read_text())
    except FileNotFoundError:
        return None
    return Run(
        directory=directory,
        region=content["region"],
        ports=content["ports"],
        real=tuple(content["real"]),
        processes={
            name: Process(name=name, pid=int(found["pid"]), started=str(found["started"]))
            for name, found in content["processes"].items()
        },
        helpers=tuple(Process(**helper) for helper in content["helpers"]),
        lease_seconds=content.get("lease_seconds", LEASE_SECONDS),
    )
