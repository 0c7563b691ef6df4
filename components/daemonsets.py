"""aws-node and kube-proxy: as managed add-ons, or as DaemonSets that somebody else made."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from components.cluster import Cluster
from components.common import Component, token
from components.deploy import Deploy
from components.imported import others, state_of, untouched
from migration.desired import SystemDaemonSet
from migration.names import AWS_NODE, FIELD_MANAGER, SYSTEM_NAMESPACE
from migration.rules import addon_values

ADDON: Final = "aws:eks/addon:Addon"
_KINDS = {AWS_NODE: "VpcCni", "kube-proxy": "KubeProxy"}


def legacy_network(deploy: Deploy, cluster: Cluster, *, after: Sequence[pulumi.Resource]) -> list[pulumi.Resource]:
    """What legacy nodes have to wait for; nothing once both are gone."""
    return [
        resource
        for wanted in (deploy.wanted.vpc_cni, deploy.wanted.kube_proxy)
        if wanted is not None
        for resource in NetworkDaemonSet(
            wanted,
            cluster=cluster.name,
            cluster_name=deploy.settings.cluster.name,
            provider=cluster.provider,
            stage=deploy.move.stage.id,
            earlier=deploy.earlier,
            after=after,
        ).resources
    ]


class NetworkDaemonSet(Component):
    """One of the two. `resources` is what nodes have to wait for."""

    def __init__(
        self,
        wanted: SystemDaemonSet,
        *,
        cluster: pulumi.Input[str],
        cluster_name: str,
        provider: pulumi.ProviderResource,
        stage: str,
        earlier: Mapping[str, Any],
        after: Sequence[pulumi.Resource],
    ) -> None:
        super().__init__(token("network", _KINDS[wanted.name]), wanted.name, after=after, provider=provider)
        self._stage, self._earlier = stage, earlier
        self.resources: list[pulumi.Resource] = []
        if wanted.addon is not None:
            self.resources.append(self._addon(wanted, wanted.addon, cluster, cluster_name))
        if wanted.patched:
            self.resources.append(self._patch(wanted))
        self.register_outputs({})

    def _addon(
        self, wanted: SystemDaemonSet, addon: str, cluster: pulumi.Input[str], cluster_name: str
    ) -> pulumi.Resource:
        # Without resolveConflicts EKS refuses to overwrite what others own: as it should.
        ours = {} if wanted.imported else {"resolve_conflicts_on_create": "OVERWRITE"}
        # AWS and the owner raise the version: a deploy with older facts must not take it down again.
        theirs: dict[str, Any] = {}
        if wanted.imported:
            known = state_of(self._earlier, ADDON, addon)
            # An add-on without a configuration stays without one: an empty one would roll its pods out again.
            changes = wanted.configured and (
                addon_values.parse(wanted.configuration) or addon_values.parse(known.get("configurationValues"))
            )
            asked = {"configurationValues": ("affinity",)} if changes else {}
            theirs = {
                "import_": f"{cluster_name}:{addon}",
                "ignore_changes": others(aws.eks.AddonArgs, {"addonName", "clusterName", *asked}),
                "hooks": untouched(f"the add-on {addon}", self._stage, asked),
            }
        return aws.eks.Addon(
            addon,
            cluster_name=cluster,
            addon_name=addon,
            addon_version=wanted.version,
            configuration_values=wanted.configuration,
            service_account_role_arn=wanted.service_account_role_arn,
            opts=self.child(
                protect=wanted.protect,
                retain_on_delete=wanted.keep,
                custom_timeouts=pulumi.CustomTimeouts(create="20m", update="30m", delete="20m"),
                **theirs,
            ),
            **ours,
        )

    def _patch(self, wanted: SystemDaemonSet) -> pulumi.Resource:
        """Server-side apply of the affinity alone. Leaving the program must not revert it, so it is retained; going
        back applies the original explicitly."""
        spec = {"template": {"spec": {"affinity": wanted.affinity}}} if wanted.affinity else None
        return kubernetes.apps.v1.DaemonSetPatch(
            wanted.name,
            metadata={
                "name": wanted.name,
                "namespace": SYSTEM_NAMESPACE,
                "annotations": {
                    "pulumi.com/patchForce": "true",
                    "pulumi.com/patchFieldManager": FIELD_MANAGER,
                },
            },
            spec=spec,
            opts=self.kubernetes_child(after=self.resources, retain_on_delete=True),
        )
