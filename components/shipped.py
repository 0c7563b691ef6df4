"""Objects of programs that run in the cluster without an image of ours, as resources."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pulumi
import pulumi_kubernetes as kubernetes

from components.common import Component

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


class Shipped(Component):
    """A component with such objects."""

    def shipped(
        self, obj: Mapping[str, Any], *, after: Sequence[pulumi.Resource], protect: bool, **options: Any
    ) -> pulumi.Resource:
        """One object as a resource.

        Args:
            after: what it needs.
            protect: whether the engine refuses to delete it.
            options: further options of the resource.
        """
        rest = {_snake(key): value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata")}
        made: pulumi.Resource = _KINDS[obj["kind"]](
            f"{obj['metadata']['name']}-{obj['kind'].lower()}",
            metadata=obj["metadata"],
            **rest,
            opts=self.kubernetes_child(
                after=after, protect=protect, custom_timeouts=pulumi.CustomTimeouts(create="10m"), **options
            ),
        )
        return made


def _snake(key: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)
