"""Cilium: the operator's role and the Helm release."""

import json
from collections.abc import Sequence

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from components.cluster import Cluster
from components.common import Component, fill, token
from components.deploy import Deploy
from migration.cilium_values import Slot
from migration.desired import CiliumDesired
from migration.iam import operator_policy, operator_trust
from migration.names import CILIUM, SYSTEM_NAMESPACE
from migration.settings import Settings


def cilium_release(deploy: Deploy, cluster: Cluster, *, after: Sequence[pulumi.Resource]) -> list[pulumi.Resource]:
    """Cilium, from the stage on that installs it; nothing before."""
    wanted = deploy.wanted.cilium
    return [] if wanted is None else [Cilium(wanted, deploy.settings, cluster, after=after).release]


class Cilium(Component):
    """`release` never waits for itself: its operator needs a node, and nodes need Cilium to be Ready."""

    def __init__(
        self, wanted: CiliumDesired, settings: Settings, cluster: Cluster, *, after: Sequence[pulumi.Resource]
    ) -> None:
        super().__init__(token("network", "Cilium"), CILIUM, after=after, provider=cluster.provider)
        role = aws.iam.Role(
            "cilium-operator",
            assume_role_policy=pulumi.Output.all(cluster.oidc_provider_arn, cluster.oidc_issuer).apply(
                lambda args: json.dumps(operator_trust(*args))
            ),
            permissions_boundary=settings.permissions_boundary,
            opts=self.child(protect=wanted.protect),
        )
        policy = aws.iam.RolePolicy(
            "cilium-operator",
            role=role.name,
            policy=cluster.partition.apply(lambda it: json.dumps(operator_policy(settings, it))),
            opts=self.child(protect=wanted.protect),
        )
        chart = settings.cilium.chart
        slots = {
            str(Slot.ENDPOINT_HOST): cluster.endpoint_host,
            str(Slot.ENDPOINT_PORT): cluster.endpoint_port,
            str(Slot.OPERATOR_ROLE_ARN): role.arn,
            str(Slot.SECURITY_GROUP_IDS): cluster.security_group_ids,
            str(Slot.REGION): cluster.region,
        }
        self.release = kubernetes.helm.v3.Release(
            CILIUM,
            name=CILIUM,
            namespace=SYSTEM_NAMESPACE,
            chart=chart.name,
            repository_opts=kubernetes.helm.v3.RepositoryOptsArgs(repo=chart.repository) if chart.repository else None,
            version=wanted.version if chart.repository else None,
            values=fill(wanted.values, slots),
            skip_await=True,
            opts=self.kubernetes_child(after=[policy], protect=wanted.protect),
        )
        self.register_outputs({})
