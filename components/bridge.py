"""The bridge: tells Cilium, while both kinds of nodes run, who the pods of legacy nodes are."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pulumi
import pulumi_command as command
import pulumi_kubernetes as kubernetes

from bridge.options import Options
from bridge.ship import manifests, zipapp
from components.common import Component, token
from components.guarding.gate import deletion, operations
from migration.desired import Desired
from migration.journeys import Piece
from migration.names import BRIDGE, CILIUM_CNI, CNI_LABEL, SYSTEM_NAMESPACE
from migration.rules.versions import minor
from migration.settings import Settings

LEAVES: Final = "bridge-leaves"
_KINDS: Final[Mapping[str, Any]] = {
    "ServiceAccount": kubernetes.core.v1.ServiceAccount,
    "ConfigMap": kubernetes.core.v1.ConfigMap,
    "ClusterRole": kubernetes.rbac.v1.ClusterRole,
    "ClusterRoleBinding": kubernetes.rbac.v1.ClusterRoleBinding,
    "Role": kubernetes.rbac.v1.Role,
    "RoleBinding": kubernetes.rbac.v1.RoleBinding,
    "PodDisruptionBudget": kubernetes.policy.v1.PodDisruptionBudget,
    "Deployment": kubernetes.apps.v1.Deployment,
}
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


class Bridge(Component):
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
            self.resources.append(self._object(obj, protect=protect))
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

    def _object(self, obj: Mapping[str, Any], *, protect: bool) -> pulumi.Resource:
        rest = {_snake(key): value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata")}
        make = _KINDS[obj["kind"]]
        made: pulumi.Resource = make(
            f"{BRIDGE}-{obj['kind'].lower()}",
            metadata=obj["metadata"],
            **rest,
            opts=self.kubernetes_child(
                after=self.resources, protect=protect, custom_timeouts=pulumi.CustomTimeouts(create="10m")
            ),
        )
        return made


def _snake(key: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)
