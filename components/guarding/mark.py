"""The mark in the cluster: taken once, entered behind each gate, given up when the stack is destroyed."""

from collections.abc import Sequence
from typing import Final

import pulumi
import pulumi_command as command

from components.common import Component, token
from components.guarding.gate import deletion, operations
from migration.rules.deployers import PARAM_KIND
from migration.transition import Move

MARK: Final = "mark"


class Mark(Component):
    """Comes behind the gate, and before everything that a stage changes, which waits for `resources`.

    Commands, as server-side apply would take over another stack's mark instead of refusing.
    """

    def __init__(self, move: Move, stack: str, cluster: str, *, after: Sequence[pulumi.Resource]) -> None:
        super().__init__(token("migration", "Mark"), MARK, after=after)
        whose = ("--id", move.marker.id or "")
        identity = ("--stack", stack, *whose)
        where = ("--place", move.stage.place, "--attempt", move.marker.attempt)
        self.taken = command.local.Command(
            MARK,
            # A text of its own for each form of the mark: a state of a version before runs it once more, in place.
            create=operations("mark", "take", *identity, "--form", PARAM_KIND["kind"]),
            delete=deletion("mark", "give-up", *whose, stack=stack, cluster=cluster),
            opts=self.child(custom_timeouts=pulumi.CustomTimeouts(create="10m", delete="10m")),
        )
        self.entering = command.local.Command(
            "entering",
            create=operations("mark", "enter", *identity, *where, "--guarded", ",".join(move.marker.guarded or ())),
            triggers=[move.marker.attempt],
            opts=self.child(after=[self.taken], custom_timeouts=pulumi.CustomTimeouts(create="10m")),
        )
        self.resources: list[pulumi.Resource] = [self.taken, self.entering]
        self.register_outputs({})
