"""Looking again right before a deletion: for each part of the cluster a Command that goes before the part does."""

from collections.abc import Mapping, Sequence

import pulumi
import pulumi_command as command

from components.common import Component, token
from components.gate import deletion


def unused(parts: Mapping[str, Sequence[pulumi.Resource]], stack: str, cluster: str) -> list[pulumi.Resource]:
    """One for each part of which there is something."""
    return [Unused(what, stack, cluster, parts=resources).command for what, resources in parts.items() if resources]


class Unused(Component):
    """Deleted before `parts` are, with everything that stays; fails, and so keeps them, while something needs them.

    A Command and not a hook of the engine: `pulumi destroy` runs no program, and would know no hook.
    """

    def __init__(self, what: str, stack: str, cluster: str, *, parts: Sequence[pulumi.Resource]) -> None:
        super().__init__(token("migration", "Unused"), f"{what}-unused", after=parts)
        self.command = command.local.Command(
            f"{what}-unused",
            delete=deletion("unused", what, stack=stack, cluster=cluster),
            opts=self.child(custom_timeouts=pulumi.CustomTimeouts(delete="10m")),
        )
        self.register_outputs({})
