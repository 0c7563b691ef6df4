"""Gates in the resource graph: the marker of a deploy, the gate before its changes, the settling after them.

The marker is written first. Its attempt is the trigger of both commands, so a deploy that is tried again asks
everything again; what passed once is never taken as passed for another attempt.
"""

import subprocess
from collections.abc import Sequence

import pulumi
import pulumi_command as command

from components.common import Component, token
from migration.transition import Move

MARKER, GATE, SETTLE, REACHED, CRDS = "marker", "gate", "settle", "reached", "cilium-crds"
_GATE_WAIT, _SETTLE_WAIT = 60, 600
"""Seconds for which checks that have not passed are asked again."""


def operations(*words: str | int) -> str:
    """The shell command for the operations command line; paths stay relative, so that it is the same everywhere."""
    return " ".join(["sh", "operations/run", *map(str, words)])


class Gate(Component):
    """Marker and gate. Everything that a stage changes comes after `resources`."""

    def __init__(self, move: Move, stack: str, *, after: Sequence[pulumi.Resource]) -> None:
        super().__init__(token("migration", "Gate"), GATE)
        self.marker = pulumi.Stash(MARKER, input=move.marker.dump(), opts=self.child())
        self.command = command.local.Command(
            GATE,
            create=f"{gate_command(move, stack)} --wait {_GATE_WAIT}",
            triggers=[move.marker.attempt],
            opts=self.child(after=[self.marker, *after], custom_timeouts=pulumi.CustomTimeouts(create="10m")),
        )
        self.resources: list[pulumi.Resource] = [self.command]
        self.register_outputs({"evidence": self.command.stdout})


class Settle(Component):
    """The last resource of a deploy: the stage counts as reached only when this has passed."""

    def __init__(self, move: Move, stack: str, *, after: Sequence[pulumi.Resource]) -> None:
        super().__init__(token("migration", "Settle"), SETTLE, after=after)
        self.command = command.local.Command(
            SETTLE,
            create=operations(
                "check", "--stack", stack, "--place", move.stage.place, "--settle", "--wait", _SETTLE_WAIT
            ),
            triggers=[move.marker.attempt],
            opts=self.child(custom_timeouts=pulumi.CustomTimeouts(create="30m")),
        )
        # Nothing is deleted before what depends on it: while anything is protected, `destroy` ends here, and has not
        # begun with what happens to need no protection of its own.
        pulumi.Stash(
            REACHED,
            input=move.stage.place,
            opts=self.child(after=[self.command], protect=bool(move.desired.protected)),
        )
        self.register_outputs({"evidence": self.command.stdout})


class Established(Component):
    """Waits until Cilium's operator has registered its CRDs: its chart carries none."""

    def __init__(self, stack: str, *, after: Sequence[pulumi.Resource]) -> None:
        super().__init__(token("migration", "Established"), CRDS, after=after)
        self.command = command.local.Command(
            CRDS,
            create=operations("check", "--stack", stack, "--check", "crds-established", "--wait", _SETTLE_WAIT),
            opts=self.child(custom_timeouts=pulumi.CustomTimeouts(create="30m")),
        )
        self.register_outputs({})


def gate_command(move: Move, stack: str) -> str:
    """The command that asks the gate of a move."""
    leaving = ("--leaving", move.marker.leaving) if move.marker.leaving else ()
    return operations("check", "--stack", stack, "--place", move.stage.place, "--gate", *leaving)


def ask(move: Move, stack: str) -> str | None:
    """Ask the gate here and now, without changing anything.

    Returns:
        None when it passes, else the report for people.
    """
    done = subprocess.run(
        ["sh", "-c", gate_command(move, stack)], check=False, capture_output=True, text=True, timeout=300
    )
    return None if done.returncode == 0 else done.stderr.strip() or f"the gate ended with code {done.returncode}"
