"""Looking again right before a deletion: for each part of the cluster a Command that goes before the part does."""

from collections.abc import Mapping, Sequence

import pulumi
import pulumi_command as command

from components.common import Component, token
from components.guarding.gate import deletion


def unused(
    parts: Mapping[str, Sequence[pulumi.Resource]], stack: str, cluster: str, *, after: Sequence[pulumi.Resource]
) -> list[pulumi.Resource]:
    """One for each part of which there is something.

    Args:
        after: everything that the stack makes: a `destroy` that is refused must not have begun elsewhere, with
            CoreDNS or the administrators.
    """
    return [Unused(what, stack, cluster, after=after).command for what, resources in parts.items() if resources]


class Unused(Component):
    """Deleted before everything else; fails, and so keeps all of it, while something needs the part.

    A Command and not a hook of the engine: `pulumi destroy` runs no program, and would know no hook.
    """

    def __init__(self, what: str, stack: str, cluster: str, *, after: Sequence[pulumi.Resource]) -> None:
        super().__init__(token("migration", "Unused"), f"{what}-unused", after=after)
        self.command = command.local.Command(
            f"{what}-unused",
            delete=deletion("unused", what, stack=stack, cluster=cluster),
            opts=self.child(custom_timeouts=pulumi.CustomTimeouts(delete="10m")),
        )
        self.register_outputs({})
