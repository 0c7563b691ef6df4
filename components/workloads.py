"""What a deploy does to nodes that exist: labels on legacy ones, and moving workloads from one kind to the other."""

from collections.abc import Sequence

import pulumi
import pulumi_command as command

from components.common import Component, token
from components.deploy import Deploy
from components.guarding.gate import operations
from migration.transition import Move


def legacy_label(deploy: Deploy, *, after: Sequence[pulumi.Resource]) -> list[pulumi.Resource]:
    """The label of nodes that the stack does not make; nothing where the stage leaves them alone."""
    wanted = deploy.wanted.legacy_label
    return [] if wanted is None else [LegacyLabel(wanted, deploy.move, deploy.stack, after=after).command]


def moved_workloads(deploy: Deploy, *, after: Sequence[pulumi.Resource]) -> list[pulumi.Resource]:
    """The refresh, at the stages that move workloads."""
    to, minutes = deploy.wanted.refresh_to, deploy.settings.refresh.deadline_minutes
    return [] if to is None else [Workloads(to, minutes, deploy.move, deploy.stack, after=after).command]


class LegacyLabel(Component):
    """Legacy nodes carry the label, or no longer carry what we put there. Idempotent; asked again at each attempt."""

    def __init__(self, wanted: str, move: Move, stack: str, *, after: Sequence[pulumi.Resource]) -> None:
        super().__init__(token("nodes", "LegacyLabel"), "legacy-label", after=after)
        self.command = command.local.Command(
            "label",
            create=operations("label", "--stack", stack, "--legacy", wanted),
            triggers=[move.marker.attempt],
            opts=self.child(custom_timeouts=pulumi.CustomTimeouts(create="20m")),
        )
        self.register_outputs({})


class Workloads(Component):
    """Where workloads live. The refresh keeps a deadline of its own and goes on where it stopped."""

    def __init__(
        self, target: str, deadline_minutes: int, move: Move, stack: str, *, after: Sequence[pulumi.Resource]
    ) -> None:
        super().__init__(token("nodes", "Workloads"), "workloads", after=after)
        self.command = command.local.Command(
            "refresh",
            create=operations("refresh", "run", "--stack", stack, "--to", target),
            triggers=[move.marker.attempt],
            opts=self.child(custom_timeouts=pulumi.CustomTimeouts(create=f"{deadline_minutes + 15}m")),
        )
        self.register_outputs({})
