"""The reads of a survey. Nothing is changed."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from botocore.exceptions import ClientError

from kube.cluster import Cluster
from kube.transport import Obj
from migration.guarding.freeze import CLUSTER_POLICIES, POLICY_GROUP
from operations.access.connection import Aws, WrongClusterError
from operations.cluster import calico
from operations.evidence import UnknownError
from operations.guarding.freeze import served
from operations.survey.gathered import Gathered

CUSTOM: Final = {
    "securitygrouppolicies": "vpcresources.k8s.aws/v1beta1",
    "eniconfigs": "crd.k8s.amazonaws.com/v1alpha1",
    "policyendpoints": "networking.k8s.aws/v1alpha1",
    "installations": "operator.tigera.io/v1",
    "nodepools": "karpenter.sh/v1",
}
"""Plural → API version of the custom kinds that are looked at."""
CALICO: Final = (
    *("hostendpoints", "clusterinformations", "felixconfigurations", "globalnetworkpolicies", "networkpolicies"),
    *("globalnetworksets", "networksets", "tiers", "bgppeers"),
)
"""Plurals of Calico's kinds that are looked at, under the API group that Calico uses."""
_AT_ONCE: Final = 50


def gather(aws: Aws, kube: Cluster, name: str) -> Gathered:
    """Read everything.

    Raises:
        WrongClusterError: there is no such cluster.
        kube.transport.KubeError, botocore.exceptions.ClientError: something may not, or cannot, be read.
    """
    cluster = aws.cluster(name)
    if cluster is None:
        raise WrongClusterError(
            f"EKS cluster {name} does not exist in {aws.region}. Correct cluster.name or the region"
        )
    with ThreadPoolExecutor(8) as pool:
        nodes = pool.submit(kube.nodes)
        in_cluster: dict[str, Any] = {
            "pods": pool.submit(kube.pods),
            "daemonsets": pool.submit(kube.daemonsets),
            "deployments": pool.submit(kube.items, "/apis/apps/v1/deployments"),
            "webhooks": pool.submit(_webhooks, kube),
        }
        custom = {plural: pool.submit(kube.custom, version, plural) for plural, version in CUSTOM.items()}
        custom |= {plural: pool.submit(served, kube, POLICY_GROUP, plural) for plural in CLUSTER_POLICIES}
        api, untold = _calico(kube)
        custom |= {plural: pool.submit(kube.custom, api, plural) for plural in CALICO}
        groups = aws.nodegroups(name)
        ids = [i for i in map(instance_id, nodes.result()) if i]
        scaling_of = _scaling_groups_of(aws, ids)
        names = set(scaling_of.values()) | {n for group in groups for n in scaling_group_names(group)}
        scaling = _scaling_groups(aws, sorted(names))
        vpc = cluster["resourcesVpcConfig"]["vpcId"]
        here = [{"Name": "vpc-id", "Values": [vpc]}]
        return Gathered(
            account=str(aws.caller()["Account"]),
            region=aws.region,
            cluster=cluster,
            vpc=aws.client("ec2").describe_vpcs(VpcIds=[vpc])["Vpcs"][0],
            nodegroups=groups,
            addons=_addons(aws, name),
            fargate_profiles=aws.pages("eks", "list_fargate_profiles", "fargateProfileNames", clusterName=name),
            pod_identities=aws.pages("eks", "list_pod_identity_associations", "associations", clusterName=name),
            oidc_providers=[
                p["Arn"] for p in aws.client("iam").list_open_id_connect_providers()["OpenIDConnectProviderList"]
            ],
            instances=_instances(aws, ids),
            scaling_group_of=scaling_of,
            scaling_groups=scaling,
            subnets=aws.pages("ec2", "describe_subnets", "Subnets", Filters=here),
            route_tables=aws.pages("ec2", "describe_route_tables", "RouteTables", Filters=here),
            templates=_templates(aws, groups, scaling),
            calico_api=api,
            calico_untold=untold,
            nodes=nodes.result(),
            custom={plural: future.result() for plural, future in custom.items()},
            **{key: future.result() for key, future in in_cluster.items()},
        )


def instance_id(node: Obj) -> str:
    """EC2 instance of a node; empty for other kinds of machine."""
    provider = str((node.get("spec") or {}).get("providerID") or "")
    last = provider.rsplit("/", 1)[-1]
    return last if provider.startswith("aws:") and last.startswith("i-") else ""


def scaling_group_names(group: Obj) -> list[str]:
    return [g["name"] for g in (group.get("resources") or {}).get("autoScalingGroups") or []]


def _calico(kube: Cluster) -> tuple[str, str]:
    """The API group from which Calico enforces, and why it cannot be told; then what is stored is read."""
    try:
        return calico.api(kube), ""
    except UnknownError as error:
        return calico.STORED, str(error)


def _webhooks(kube: Cluster) -> list[Obj]:
    base = "/apis/admissionregistration.k8s.io/v1"
    return [
        *kube.items(f"{base}/validatingwebhookconfigurations"),
        *kube.items(f"{base}/mutatingwebhookconfigurations"),
    ]


def _addons(aws: Aws, cluster: str) -> dict[str, Obj]:
    names = aws.pages("eks", "list_addons", "addons", clusterName=cluster)
    found = {name: aws.addon(cluster, name) for name in names}
    return {name: addon for name, addon in found.items() if addon is not None}


def _at_once(read: Callable[[Sequence[str]], list[Any]], items: Sequence[str]) -> list[Any]:
    """What `read` gives for all items, some of them in each request: a cluster may have thousands of nodes."""
    chunks = [items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE)]
    with ThreadPoolExecutor(8) as pool:
        return [found for some in pool.map(read, chunks) for found in some]


def _instances(aws: Aws, ids: Sequence[str]) -> list[Obj]:
    pager = aws.client("ec2").get_paginator("describe_instances")

    def read(some: Sequence[str]) -> list[Obj]:
        pages = pager.paginate(Filters=[{"Name": "instance-id", "Values": list(some)}])
        return [i for page in pages for reservation in page["Reservations"] for i in reservation["Instances"]]

    return _at_once(read, ids)


def _scaling_groups_of(aws: Aws, ids: Sequence[str]) -> dict[str, str]:
    client = aws.client("autoscaling")

    def read(some: Sequence[str]) -> list[Obj]:
        found: list[Obj] = client.describe_auto_scaling_instances(InstanceIds=list(some))["AutoScalingInstances"]
        return found

    return {i["InstanceId"]: i["AutoScalingGroupName"] for i in _at_once(read, ids)}


def _scaling_groups(aws: Aws, names: Sequence[str]) -> dict[str, Obj]:
    pager = aws.client("autoscaling").get_paginator("describe_auto_scaling_groups")

    def read(some: Sequence[str]) -> list[Obj]:
        return [g for page in pager.paginate(AutoScalingGroupNames=list(some)) for g in page["AutoScalingGroups"]]

    return {g["AutoScalingGroupName"]: g for g in _at_once(read, names)}


def _templates(aws: Aws, groups: Sequence[Obj], scaling: Mapping[str, Obj]) -> dict[str, Obj]:
    """Launch templates of managed groups by group name, of self-managed ones by the name of the scaling group."""
    wanted: dict[str, Obj] = {g["nodegroupName"]: g["launchTemplate"] for g in groups if g.get("launchTemplate")}
    managed = {name for group in groups for name in scaling_group_names(group)}
    for name, group in scaling.items():
        mixed = (group.get("MixedInstancesPolicy") or {}).get("LaunchTemplate") or {}
        template = group.get("LaunchTemplate") or mixed.get("LaunchTemplateSpecification")
        if name not in managed and template:
            wanted[name] = {"id": template.get("LaunchTemplateId"), "version": template.get("Version", "$Default")}
    found = {}
    for name, template in wanted.items():
        try:
            versions = aws.client("ec2").describe_launch_template_versions(
                LaunchTemplateId=template["id"], Versions=[str(template.get("version") or "$Default")]
            )["LaunchTemplateVersions"]
        except ClientError as error:
            if "NotFound" not in error.response["Error"]["Code"]:
                raise
            continue  # deleted after the group was made: its nodes say the same
        found[name] = versions[0]["LaunchTemplateData"] if versions else {}
    return found
