"""The commands that are one file each, and the list of all."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, Protocol


class Fill(Protocol):
    """Gives a command its arguments, and what carries it out as the default `run`."""

    def __call__(self, command: Any) -> None: ...


@dataclass(frozen=True)
class Command:
    """A command of `python -m operations`."""

    name: str
    help: str
    module: str
    """Below `operations`; has `fill`. It is read only when the command is asked for: a deploy runs this program seven
    times and more, and reading them all is most of what such a run takes."""

    def load(self) -> Fill:
        fill: Fill = import_module(f"operations.{self.module}").fill
        return fill


COMMANDS: Final = (
    Command("check", "ask the checks of a stage; reads only", "commands.check"),
    Command("journey", "print the stages of a journey", "commands.journey"),
    Command("label", "label nodes and managed groups as legacy, or take that back", "label"),
    Command("instances", "what instance types have; --refresh reads it anew from EC2", "commands.instances"),
    Command("schema", "print the JSON schema of the settings", "commands.schema"),
    Command("survey", "read an adopted cluster and write down its facts; changes nothing", "survey.cli"),
    Command("refresh", "move workloads between legacy and Cilium nodes", "refresh.cli"),
    Command(
        "recover",
        "after a killed deploy: its lock and pending operations; shows a plan, acts with --yes",
        "recover.cli",
    ),
    Command("policy", "explain, translate, prove and lint network policies", "policy.cli"),
    Command("mark", "show which stack moves this cluster; deploys write it", "commands.mark"),
    Command("unused", "whether nothing needs a part of the cluster; asked before a deletion", "commands.unused"),
    Command("guard", "see, open and close what keeps the network from being deleted", "guarding.guard"),
    Command("freeze", "called by deploys: the freeze of Calico's policies", "commands.freeze"),
    Command("workloads", "how workloads stood before the move, and how they stand now", "guarding.workloads"),
    Command(
        "bridge", "called by deploys: what tells Cilium who legacy pods are leaves, or comes back", "guarding.bridge"
    ),
)
