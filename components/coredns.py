"""CoreDNS of an owned cluster, as the managed add-on. It comes last: its pods need nodes that are wired."""

from collections.abc import Sequence

import pulumi
import pulumi_aws as aws

from components.cluster import Cluster
from components.common import Component, token
from components.deploy import Deploy
from migration.settings import Addon


def coredns(deploy: Deploy, cluster: Cluster, *, after: Sequence[pulumi.Resource]) -> list[pulumi.Resource]:
    """CoreDNS; nothing on an adopted cluster, whose owner has it."""
    wanted = deploy.wanted.coredns
    return [] if wanted is None else [CoreDns(wanted, cluster=cluster.name, after=after).addon]


class CoreDns(Component):
    def __init__(self, wanted: Addon, *, cluster: pulumi.Input[str], after: Sequence[pulumi.Resource]) -> None:
        super().__init__(token("network", "CoreDns"), "coredns", after=after)
        self.addon = aws.eks.Addon(
            "coredns",
            cluster_name=cluster,
            addon_name="coredns",
            addon_version=wanted.version,
            configuration_values=pulumi.Output.json_dumps(dict(wanted.configuration)),
            resolve_conflicts_on_create="OVERWRITE",
            opts=self.child(custom_timeouts=pulumi.CustomTimeouts(create="20m")),
        )
        self.register_outputs({})
