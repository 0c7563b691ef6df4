"""IAM documents: exactly the rights that a part needs."""

from typing import Any, Final

from migration.names import CILIUM_OPERATOR, SYSTEM_NAMESPACE
from migration.settings import Settings

_ALWAYS: Final = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:AttachNetworkInterface",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeManagedPrefixLists",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeRouteTables",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    "ec2:GetManagedPrefixListEntries",
    "ec2:ModifyNetworkInterfaceAttribute",
)
"""What Cilium's operator calls in ENI mode (Documentation/network/concepts/ipam/eni.rst, Cilium 1.20)."""

NODE_POLICIES: Final = ("AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly")
"""AWS managed policies of every node's role."""
VPC_CNI_POLICY: Final = "AmazonEKS_CNI_Policy"
"""Legacy nodes' role besides: aws-node uses the node's credentials."""


def operator_actions(settings: Settings) -> tuple[str, ...]:
    """EC2 actions of Cilium's operator under these settings, sorted; but for CreateTags, which is conditional."""
    actions = set(_ALWAYS)
    eni = settings.cilium.values.get("eni") or {}
    if settings.cilium.cluster_name == "default" and not eni.get("gcTags"):
        actions.add("ec2:DescribeTags")  # the collector of left-over interfaces tells clusters apart by tags
    if eni.get("awsReleaseExcessIPs"):
        actions.add("ec2:UnassignPrivateIpAddresses")
    if eni.get("instanceTagsFilter"):
        actions.add("ec2:DescribeInstances")
    return tuple(sorted(actions))


def operator_policy(settings: Settings, partition: str) -> dict[str, Any]:
    """Policy document of the operator's role. EC2 Describe actions know no resources, hence `*`.

    The operator tags an interface in the request that makes it and never afterwards (pkg/aws/api, Cilium 1.20), so it
    may tag nothing else: whoever can tag anything can make himself the owner of things whose rights go by tags.

    Args:
        partition: of AWS, for example "aws-cn".
    """
    tags_what_it_makes = {
        "Effect": "Allow",
        "Action": "ec2:CreateTags",
        "Resource": f"arn:{partition}:ec2:*:*:network-interface/*",
        "Condition": {"StringEquals": {"ec2:CreateAction": "CreateNetworkInterface"}},
    }
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": list(operator_actions(settings)), "Resource": "*"},
            tags_what_it_makes,
        ],
    }


def operator_trust(provider_arn: str, issuer: str) -> dict[str, Any]:
    """Trust document: only the operator's service account may assume the role.

    Args:
        provider_arn: of the cluster's IAM OIDC provider.
        issuer: of the cluster, with or without `https://`.
    """
    host = issuer.removeprefix("https://")
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Principal": {"Federated": provider_arn},
                "Condition": {
                    "StringEquals": {
                        f"{host}:aud": "sts.amazonaws.com",
                        f"{host}:sub": f"system:serviceaccount:{SYSTEM_NAMESPACE}:{CILIUM_OPERATOR}",
                    }
                },
            }
        ],
    }


def node_trust() -> dict[str, Any]:
    """Trust document of node roles."""
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}],
    }
