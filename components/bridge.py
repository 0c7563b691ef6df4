"""The bridge: tells Cilium, while both kinds of nodes run, who the pods of legacy nodes are."""

from collections.abc import Sequence
from typing import Final

import pulumi
import pulumi_command as command

from bridge.options import Options
from bridge.ship import manifests, zipapp
from components.common import token
from components.guarding.gate import deletion, operations
from components.shipped import Shipped
from migration.desired import Desired
from migration.journeys import Piece
from migration.names import BRIDGE, CILIUM_CNI, CNI_LABEL, SYSTEM_NAMESPACE
from migration.rules.versions import minor
from migration.settings import Settings

LEAVES: Final = "bridge-leaves"
_WITH_PORT_LABELS: Final = (1, 20)
"""Cilium from here on puts the names of a pod's ports into its identity."""


def options(settings: Settings) -> Options:
    """What the bridge is told."""
    return Options(
        namespace=SYSTEM_NAMESPACE,
        node_label=CNI_LABEL,
        cilium_nodes=(CILIUM_CNI,),
        named_ports_label=minor(settings.cilium.version) >= _WITH_PORT_LABELS,
    )


def bridged(
    settings: Settings,
    wanted: Desired,
    stack: str,
    *,
    provider: pulumi.ProviderResource,
    after: Sequence[pulumi.Resource],
) -> list[pulumi.Resource]:
    """The bridge, where the stage has one. Nodes of Cilium come after it."""
    if Piece.BRIDGE not in wanted.pieces:
        return []
    return Bridge(settings, stack, protect=Piece.BRIDGE in wanted.protected, provider=provider, after=after).resources


class Bridge(Shipped):
    """Rights, program and two replicas, and what takes the bridge's endpoints away before it goes.

    Args:
        settings: of the stack, which name the cluster.
        stack: whose settings are asked when it goes.
        protect: whether the engine refuses to delete it.
    """

    def __init__(
        self,
        settings: Settings,
        stack: str,
        *,
        protect: bool,
        provider: pulumi.ProviderResource,
        after: Sequence[pulumi.Resource],
    ) -> None:
        super().__init__(token("policy", "Bridge"), BRIDGE, after=after, provider=provider)
        self.resources: list[pulumi.Resource] = []
        told = options(settings)
        for obj in manifests.objects(told, image=settings.bridge.image, pack=zipapp.build()):
            self.resources.append(self.shipped(obj, after=self.resources, protect=protect))
        # Deleted first: the bridge writes no more then, and what it wrote goes while it still has its rights.
        leaves = command.local.Command(
            LEAVES,
            create=operations("bridge", "come-back", "--stack", stack),
            delete=deletion("bridge", "leave", stack=stack, cluster=settings.cluster.name),
            opts=self.child(
                after=self.resources, custom_timeouts=pulumi.CustomTimeouts(create="10m", delete="10m"), protect=protect
            ),
        )
        self.resources.append(leaves)
        self.register_outputs({})
