"""aws-node and kube-proxy: as managed add-ons, or as DaemonSets that somebody else made."""

from collections.abc import Sequence

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from components.common import Component, token
from migration.desired import SystemDaemonSet
from migration.names import AWS_NODE, FIELD_MANAGER, SYSTEM_NAMESPACE

_KINDS = {AWS_NODE: "VpcCni", "kube-proxy": "KubeProxy"}


class NetworkDaemonSet(Component):
    """One of the two. `resources` is what nodes have to wait for."""

    def __init__(
        self,
        wanted: SystemDaemonSet,
        *,
        cluster: pulumi.Input[str],
        cluster_name: str,
        provider: pulumi.ProviderResource,
        after: Sequence[pulumi.Resource],
    ) -> None:
        super().__init__(token("network", _KINDS[wanted.name]), wanted.name, after=after, provider=provider)
        self.resources: list[pulumi.Resource] = []
        if wanted.addon is not None:
            self.resources.append(self._addon(wanted, wanted.addon, cluster, cluster_name))
        if wanted.patched:
            self.resources.append(self._patch(wanted))
        self.register_outputs({})

    def _addon(
        self, wanted: SystemDaemonSet, addon: str, cluster: pulumi.Input[str], cluster_name: str
    ) -> pulumi.Resource:
        # What the import of somebody else's add-on does not read back must not be declared for it: the import would
        # be refused as different. Without resolveConflicts EKS refuses to overwrite what others own: as it should.
        ours = {} if wanted.imported else {"resolve_conflicts_on_create": "OVERWRITE"}
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
                import_=f"{cluster_name}:{addon}" if wanted.imported else None,
                # AWS and the owner raise it; a deploy with older facts must not take it down again.
                ignore_changes=["addonVersion"] if wanted.imported else None,
                custom_timeouts=pulumi.CustomTimeouts(create="20m", update="30m", delete="20m"),
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
