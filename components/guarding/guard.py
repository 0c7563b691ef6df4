"""The guard: the API server refuses to let go what nodes need, whoever asks."""

from collections.abc import Sequence

import pulumi
import pulumi_command as command
import pulumi_kubernetes as kubernetes

from components.common import Component, token
from components.guarding.gate import deletion, operations
from migration.guarding import guard
from migration.journeys import Piece
from migration.names import GUARD_POLICY
from migration.transition import Move


class Guard(Component):
    """A ValidatingAdmissionPolicy with the mark as its parameter; what it guards is in the mark.

    Admission policies are not subject to admission, so nothing guards the guard itself: whatever it guards comes after
    `resources`, and a `destroy` that may not delete the one does not get to the other.
    """

    def __init__(
        self,
        move: Move,
        stack: str,
        cluster: str,
        *,
        provider: pulumi.ProviderResource,
        after: Sequence[pulumi.Resource],
    ) -> None:
        super().__init__(token("migration", "Guard"), "guard", after=after, provider=provider)
        # The mark goes after the guard, and an API server may take a moment to notice that there is none any more.
        gone = command.local.Command(
            "guard-gone",
            create=operations("mark", "show", "--stack", stack),
            delete=deletion("guard", "gone", stack=stack, cluster=cluster),
            opts=self.child(custom_timeouts=pulumi.CustomTimeouts(delete="10m")),
        )
        policy = kubernetes.admissionregistration.v1.ValidatingAdmissionPolicy(
            GUARD_POLICY,
            metadata={"name": GUARD_POLICY},
            spec=guard.policy(),
            opts=self.kubernetes_child(after=[gone], protect=Piece.GUARD in move.desired.protected),
        )
        binding = kubernetes.admissionregistration.v1.ValidatingAdmissionPolicyBinding(
            GUARD_POLICY,
            metadata={"name": GUARD_POLICY},
            spec=guard.binding(),
            opts=self.kubernetes_child(after=[policy], protect=Piece.GUARD in move.desired.protected),
        )
        in_force = command.local.Command(
            "guard-in-force",
            create=operations("guard", "wait", "--stack", stack, "--attempt", move.marker.attempt),
            triggers=[move.marker.attempt, guard.revision()],
            opts=self.child(after=[binding], custom_timeouts=pulumi.CustomTimeouts(create="10m")),
        )
        self.resources: list[pulumi.Resource] = [policy, binding, in_force]
        self.register_outputs({})
