"""Managed node groups, each with a launch template of its own, and the role of their nodes."""

import json
from collections.abc import Mapping, Sequence

import pulumi
import pulumi_aws as aws

from components.cluster import Cluster
from components.common import Component, token
from components.deploy import Deploy
from migration.iam import NODE_POLICIES, VPC_CNI_POLICY, node_trust
from migration.journeys import Piece
from migration.node_groups import Group, GroupRole
from migration.user_data import node_user_data

_CREATE_TIMEOUT = "30m"


def node_groups(
    deploy: Deploy,
    cluster: Cluster,
    *,
    before: Mapping[GroupRole, Sequence[pulumi.Resource]],
    after: Sequence[pulumi.Resource],
) -> dict[GroupRole, list[pulumi.Resource]]:
    """The groups of each role; of a role without groups at this stage, none.

    Args:
        before: what groups of a role wait for besides: the agents of their nodes.
    """
    settings, facts, wanted = deploy.settings, deploy.facts, deploy.wanted
    members = {role: [group for group in wanted.groups if group.role is role] for role in before}
    if not any(members.values()):
        return {role: [] for role in before}
    node_role = NodeRole(
        settings.cluster.name,
        partition=cluster.partition,
        boundary=settings.permissions_boundary,
        with_vpc_cni=Piece.LEGACY_GROUPS in wanted.pieces,
        after=after,
    )
    return {
        role: NodeGroups(
            role,
            groups,
            cluster=cluster.name,
            node_role=node_role,
            security_group_ids=settings.network.security_group_ids or (facts.security_group_ids if facts else ()),
            cluster_security_groups=cluster.security_group_ids,
            tags=settings.cluster.tags,
            after=[*after, *before[role]],
        ).groups
        if groups
        else []
        for role, groups in members.items()
    }


class NodeRole(Component):
    """The IAM role of every node that this stack makes."""

    def __init__(
        self,
        cluster: str,
        *,
        partition: pulumi.Input[str],
        boundary: str | None,
        with_vpc_cni: bool,
        after: Sequence[pulumi.Resource],
    ) -> None:
        super().__init__(token("nodes", "NodeRole"), f"{cluster}-node", after=after)
        self.role = aws.iam.Role(
            "node",
            assume_role_policy=json.dumps(node_trust()),
            permissions_boundary=boundary,
            opts=self.child(),
        )
        self.attachments = [
            self._attach(policy, partition) for policy in (*NODE_POLICIES, *((VPC_CNI_POLICY,) if with_vpc_cni else ()))
        ]
        self.register_outputs({"arn": self.role.arn})

    def _attach(self, policy: str, partition: pulumi.Input[str]) -> pulumi.Resource:
        return aws.iam.RolePolicyAttachment(
            f"node-{policy}",
            role=self.role.name,
            policy_arn=pulumi.Output.format("arn:{0}:iam::aws:policy/{1}", partition, policy),
            opts=self.child(),
        )


class NodeGroups(Component):
    """The node groups of one role: legacy, canary or Cilium."""

    def __init__(
        self,
        role: GroupRole,
        groups: Sequence[Group],
        *,
        cluster: pulumi.Input[str],
        node_role: NodeRole,
        security_group_ids: Sequence[str],
        cluster_security_groups: pulumi.Input[Sequence[str]],
        tags: Mapping[str, str],
        after: Sequence[pulumi.Resource],
    ) -> None:
        super().__init__(token("nodes", "NodeGroups"), f"{role}-nodes", after=after)
        self._cluster, self._node_role = cluster, node_role
        self._security_group_ids, self._tags = list(security_group_ids), dict(tags)
        self._cluster_security_groups = cluster_security_groups
        self.groups: list[pulumi.Resource] = [self._group(group) for group in groups]
        self.register_outputs({"names": [group.name for group in groups]})

    def _security_groups(self, group: Group) -> pulumi.Input[Sequence[str]] | None:
        """None leaves them to EKS, which gives nodes the cluster's own; a group that names more has to repeat it."""
        if not group.security_group_ids:
            return self._security_group_ids or None
        common = pulumi.Output.from_input(self._security_group_ids or self._cluster_security_groups)
        return common.apply(lambda ids: list(dict.fromkeys([*ids, *group.security_group_ids])))

    def _group(self, group: Group) -> pulumi.Resource:
        tags = {**self._tags, **group.tags}
        template = aws.ec2.LaunchTemplate(
            group.name,
            user_data=node_user_data(group),
            update_default_version=True,
            vpc_security_group_ids=self._security_groups(group),
            metadata_options=aws.ec2.LaunchTemplateMetadataOptionsArgs(
                http_tokens=group.metadata_tokens, http_put_response_hop_limit=group.metadata_hop_limit
            ),
            block_device_mappings=[
                aws.ec2.LaunchTemplateBlockDeviceMappingArgs(
                    device_name=group.disk.device,
                    ebs=aws.ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
                        volume_size=group.disk.gib,
                        volume_type=group.disk.type,
                        iops=group.disk.iops,
                        throughput=group.disk.throughput,
                        kms_key_id=group.disk.kms_key,
                        encrypted="true",
                        delete_on_termination="true",
                    ),
                )
            ],
            tag_specifications=[
                aws.ec2.LaunchTemplateTagSpecificationArgs(resource_type=kind, tags=dict(group.tags))
                for kind in ("instance", "volume")
                if group.tags
            ]
            or None,
            tags=tags,
            opts=self.child(),
        )
        return aws.eks.NodeGroup(
            group.name,
            cluster_name=self._cluster,
            node_group_name=group.name,
            node_role_arn=self._node_role.role.arn,
            subnet_ids=list(group.subnet_ids),
            ami_type=group.ami_type,
            capacity_type="SPOT" if group.spot else None,
            instance_types=list(group.instance_types),
            release_version=group.release_version,
            launch_template=aws.eks.NodeGroupLaunchTemplateArgs(
                id=template.id, version=template.latest_version.apply(str)
            ),
            scaling_config=aws.eks.NodeGroupScalingConfigArgs(
                desired_size=group.initial_size, min_size=0, max_size=group.max_size
            ),
            update_config=_update(group),
            tags=tags,
            opts=self.child(
                after=self._node_role.attachments,
                protect=group.protect,
                ignore_changes=["scalingConfig"],
                custom_timeouts=pulumi.CustomTimeouts(create=_CREATE_TIMEOUT, update="60m", delete="30m"),
            ),
        )


def _update(group: Group) -> aws.eks.NodeGroupUpdateConfigArgs:
    share = group.max_unavailable.endswith("%")
    number = int(group.max_unavailable.rstrip("%"))
    return aws.eks.NodeGroupUpdateConfigArgs(
        max_unavailable=None if share else number,
        max_unavailable_percentage=number if share else None,
        update_strategy="MINIMAL" if group.minimal_update else None,
    )
