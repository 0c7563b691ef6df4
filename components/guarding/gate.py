"""Gates in the resource graph: the marker of a deploy, the gate before its changes, the settling after them.

The marker is written first. Its attempt is the trigger of both commands, so a deploy that is tried again asks
everything again; what passed once is never taken as passed for another attempt.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

import pulumi
import pulumi_command as command

import programs
from components.common import Component, token
from migration.guarding.guard import guarded
from migration.guarding.mark import Own
from migration.transition import Asks, Move

MARKER, GATE, SETTLE, REACHED, CRDS = "marker", "gate", "settle", "reached", "cilium-crds"
_GATE_WAIT, _SETTLE_WAIT = 60, 600
"""Seconds for which checks that have not passed are asked again."""
_ASK_SECONDS: Final = 300.0


def words(*parts: str | int) -> list[str]:
    """The operations command line as an argument list; paths stay relative, so that it is the same everywhere."""
    return ["sh", "operations/run", *map(str, parts)]


def operations(*parts: str | int) -> str:
    """The same for a Command, which wants one text and hands it to a shell: quoted, whatever the parts hold."""
    return shlex.join(words(*parts))


def deletion(*parts: str | int, stack: str, cluster: str) -> str:
    """`operations` for what runs when a Command is deleted, which may be after the stack was renamed: its text is of
    the deploy before, so it names the cluster too."""
    return operations(*parts, "--stack", stack, "--cluster", cluster)


class Gate(Component):
    """Marker and gate. Everything that a stage changes comes after `resources`."""

    def __init__(self, move: Move, stack: str, *, after: Sequence[pulumi.Resource]) -> None:
        super().__init__(token("migration", "Gate"), GATE)
        self.marker = pulumi.Stash(MARKER, input=move.marker.dump(), opts=self.child())
        self.command = command.local.Command(
            GATE,
            create=operations(*gate_words(move, stack), "--wait", _GATE_WAIT),
            triggers=[move.marker.attempt],
            opts=self.child(after=[self.marker, *after], custom_timeouts=pulumi.CustomTimeouts(create="10m")),
        )
        self.resources: list[pulumi.Resource] = [self.command]
        self.register_outputs({})  # evidence as an output would be one more unknown in every preview


class Settle(Component):
    """The last resource of a deploy: the stage counts as reached only when this has passed."""

    def __init__(self, move: Move, stack: str, *, marker: pulumi.Output[Any], after: Sequence[pulumi.Resource]) -> None:
        super().__init__(token("migration", "Settle"), SETTLE, after=after)
        self.command = command.local.Command(
            SETTLE,
            create=operations(
                "check", "--stack", stack, "--place", move.stage.place, "--settle", "--wait", _SETTLE_WAIT
            ),
            triggers=[move.marker.attempt],
            opts=self.child(custom_timeouts=pulumi.CustomTimeouts(create="30m")),
        )
        where = ("--place", move.stage.place, "--attempt", move.marker.attempt)
        kept = ",".join(sorted(map(str, guarded(move.stage))))
        told = command.local.Command(
            "mark-reached",
            create=operations(
                "mark", "reach", "--stack", stack, "--id", move.marker.id or "", *where, "--guarded", kept
            ),
            triggers=[move.marker.attempt],
            opts=self.child(after=[self.command], custom_timeouts=pulumi.CustomTimeouts(create="10m")),
        )
        # Nothing is deleted before what depends on it: while anything is protected, `destroy` ends here, and has not
        # begun with what happens to need no protection of its own.
        pulumi.Stash(
            REACHED,
            input=move.stage.place,
            opts=self.child(after=[self.command, told], protect=bool(move.desired.protected)),
        )
        seen = pulumi.Output.all(self.command.stdout, self.command.triggers, marker)
        self.reached: pulumi.Output[bool] = seen.apply(lambda found: reached(found[0], found[1], found[2], move))
        self.register_outputs({})


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


def gate_words(move: Move, stack: str) -> list[str]:
    """The command line that asks what a move must ask, without its waiting."""
    kind = f"--{move.marker.asks}"
    leaving = ["--leaving", move.marker.leaving] if move.marker.leaving else []
    return ["check", "--stack", stack, "--place", move.stage.place, kind, *leaving]


class Answered(StrEnum):
    """What asking came to."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Answer:
    """What the cluster said, before anything was registered."""

    answered: Answered
    report: str
    """For people."""


def ask(move: Move, stack: str, own: Own, *, wait: bool) -> Answer:
    """Ask here and now whether a move may be made, without changing anything.

    Args:
        own: what the state says about the mark: the engine holds the state while the program runs.
        wait: whether checks that have not passed are asked again for a minute, as the Command does.
    """
    if move.asks is Asks.GATE:
        asked = gate_words(move, stack)
    else:
        asked = ["check", "--stack", stack, "--place", move.stage.place, f"--{move.asks}"]
    patience = _GATE_WAIT if wait else 0
    line = words(*asked, "--own", json.dumps(asdict(own)), "--wait", patience)
    try:
        done = programs.run(line, seconds=_ASK_SECONDS, check=False)
    except programs.CommandError as error:
        return Answer(Answered.UNKNOWN, f"{error}. Run it by hand: `{shlex.join(words(*asked))}`")
    found = {0: Answered.PASSED, 1: Answered.FAILED}.get(done.code, Answered.UNKNOWN)
    return Answer(found, done.err.strip() or f"it ended with code {done.code}")


def reached(stdout: str, triggers: Sequence[Any], marker: Any, move: Move) -> bool:
    """Whether the settling in the state is that of this deploy and passed.

    With `--target` or `--exclude` the engine hands over what an earlier deploy left: another attempt, another place.

    Args:
        stdout: of the settling, its report in JSON.
        triggers: the attempt with which it ran.
        marker: the marker in the state: without this deploy's own, the settling alone was deployed.
    """
    try:
        report = json.loads(stdout)
        attempts = {int(triggers[0]), int(marker["attempt"])}
    except (ValueError, TypeError, IndexError, KeyError):
        return False
    if not isinstance(report, Mapping):
        return False
    places = {move.stage.place, None}  # a version before this one did not say the place
    return report.get("verdict") == "passed" and attempts == {move.marker.attempt} and report.get("place") in places
