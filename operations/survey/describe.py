"""What was gathered → facts. Pure."""

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network
from typing import Any, Final, Literal

from kube.transport import Obj
from migration.facts import (
    CalicoFacts,
    ClusterFacts,
    DaemonSetFacts,
    GroupFacts,
    SubnetFacts,
)
from migration.names import (
    AWS_NODE,
    CALICO_NAMESPACE,
    CALICO_NODE,
    CNI_LABEL,
    KUBE_PROXY,
    LABELLED_BY_US,
    SYSTEM_NAMESPACE,
)
from migration.rules import addon_values
from operations.cluster import objects
from operations.cluster.calico import told_version
from operations.survey.gather import instance_id, scaling_group_names
from operations.survey.gathered import Gathered, env_of, is_true

Kind = Literal["managed", "self-managed", "karpenter", "other"]
NODEPOOL: Final = "karpenter.sh/nodepool"
AWS_CHART: Final = "aws-calico"


def cluster(g: Gathered) -> ClusterFacts:
    network = g.cluster.get("kubernetesNetworkConfig") or {}
    return ClusterFacts(
        name=g.cluster["name"],
        arn=g.cluster["arn"],
        account=g.account,
        region=g.region,
        version=g.cluster["version"],
        vpc_id=g.cluster["resourcesVpcConfig"]["vpcId"],
        vpc_cidrs=vpc_blocks(g.vpc),
        service_cidr=IPv4Network(network.get("serviceIpv4Cidr") or "172.20.0.0/16"),
        oidc_issuer=((g.cluster.get("identity") or {}).get("oidc") or {}).get("issuer", ""),
        security_group_id=g.cluster["resourcesVpcConfig"].get("clusterSecurityGroupId", ""),
    )


def vpc_blocks(vpc: Obj) -> tuple[IPv4Network, ...]:
    """The IPv4 blocks of a VPC, from EC2 DescribeVpcs."""
    found = [a["CidrBlock"] for a in vpc.get("CidrBlockAssociationSet") or [] if _associated(a)]
    return tuple(IPv4Network(block) for block in found or [vpc["CidrBlock"]])


def _associated(block: Mapping[str, Any]) -> bool:
    return bool((block.get("CidrBlockState") or {}).get("State", "associated") == "associated")


# -- networking DaemonSets ----------------------------------------------------------------------------


def daemonset(g: Gathered, name: str, addon: str) -> DaemonSetFacts:
    """aws-node with the add-on vpc-cni, or kube-proxy."""
    live, record = g.daemonset(SYSTEM_NAMESPACE, name), g.addons.get(addon)
    if live is None and record is None:
        return DaemonSetFacts(kind="absent")
    return DaemonSetFacts(
        kind="self-managed" if record is None else "addon",
        addon_version=record.get("addonVersion") if record else None,
        configuration=record.get("configurationValues") if record else None,
        service_account_role_arn=record.get("serviceAccountRoleArn") if record else None,
        image=objects.images(live)[0] if live else None,
        affinity=(live["spec"]["template"]["spec"].get("affinity") or None) if live else None,
        env=env_of(live),
    )


def vpc_cni(g: Gathered) -> DaemonSetFacts:
    return daemonset(g, AWS_NODE, "vpc-cni")


def kube_proxy(g: Gathered) -> DaemonSetFacts:
    return daemonset(g, KUBE_PROXY, "kube-proxy")


def configuration(addon: Obj | None) -> dict[str, Any]:
    """`configurationValues` of an add-on; empty for what cannot be read, which a decision of its own refuses."""
    try:
        return addon_values.parse((addon or {}).get("configurationValues"))
    except ValueError:
        return {}


def snat_exclusions(env: Mapping[str, str]) -> tuple[tuple[IPv4Network, ...], tuple[str, ...]]:
    """Blocks to which aws-node keeps a pod's own address, and the entries that it ignores.

    Entries lose their host bits; IPv6 and what is no block is skipped, and everything is with
    AWS_VPC_K8S_CNI_EXTERNALSNAT (amazon-vpc-cni-k8s, pkg/networkutils/network.go, parseCIDRString).
    """
    entries = [e.strip() for e in env.get("AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS", "").split(",") if e.strip()]
    if is_true(env.get("AWS_VPC_K8S_CNI_EXTERNALSNAT")):
        return (), tuple(entries)
    found = {entry: _block(entry) for entry in entries}
    blocks = tuple(dict.fromkeys(block for block in found.values() if block is not None))
    return blocks, tuple(entry for entry, block in found.items() if block is None)


def _block(entry: str) -> IPv4Network | None:
    address, _, bits = entry.partition("/")
    try:
        return IPv4Network(f"{address}/{bits}", strict=False) if bits.isdecimal() else None
    except ValueError:
        return None


# -- Calico -------------------------------------------------------------------------------------------


def calico_daemonset(g: Gathered) -> Obj | None:
    """calico-node, in whichever namespace; the operator's own first."""
    found = [d for d in g.daemonsets if objects.name(d) == CALICO_NODE]
    return min(found, key=lambda d: objects.namespace(d) != CALICO_NAMESPACE, default=None)


def installation(g: Gathered) -> Obj | None:
    return next((i for i in g.objects_of("installations") if objects.name(i) == "default"), None)


def by_aws_chart(live: Obj) -> bool:
    """Made by the Helm chart aws-calico (its labels name the chart or the release)."""
    marks = {**objects.labels(live), **objects.annotations(live)}
    return any(AWS_CHART in str(value) for value in marks.values())


def calico(g: Gathered) -> CalicoFacts:
    live, operated = calico_daemonset(g), installation(g)
    if live is None and operated is None:
        return CalicoFacts(kind="absent")
    policies = len(g.objects_of("globalnetworkpolicies")) + len(g.objects_of("networkpolicies"))
    namespace = objects.namespace(live) if live else CALICO_NAMESPACE
    version = told_version(
        live, operated, next((i for i in g.objects_of("clusterinformations") if objects.name(i) == "default"), None)
    )
    if operated is not None and namespace == CALICO_NAMESPACE:
        override: dict[str, Any] = operated.get("spec") or {}
        for key in ("calicoNodeDaemonSet", "spec", "template", "spec", "affinity"):
            override = override.get(key) or {}
        return CalicoFacts(
            kind="operator", version=version, namespace=namespace, affinity=override or None, policies=policies
        )
    assert live is not None  # noqa: S101 - an Installation without a DaemonSet was the case above
    return CalicoFacts(
        kind="aws-chart" if by_aws_chart(live) else "manifest",
        version=version,
        namespace=namespace,
        affinity=live["spec"]["template"]["spec"].get("affinity") or None,
        policies=policies,
    )


# -- nodes ----------------------------------------------------------------------------------------------


def groups(g: Gathered) -> tuple[GroupFacts, ...]:
    """Managed groups, then self-managed ones, Karpenter's pools, and nodes of no group."""
    found = [_managed(g, group) for group in sorted(g.nodegroups, key=lambda n: str(n["nodegroupName"]))]
    managed = {name for group in g.nodegroups for name in scaling_group_names(group)}
    rest: dict[tuple[Kind, str], list[Obj]] = {}
    for node in g.nodes:
        instance = instance_id(node)
        scaling = g.scaling_group_of.get(instance)
        if scaling in managed or objects.labels(node).get(objects.NODEGROUP) or not instance:
            continue
        pool = objects.labels(node).get(NODEPOOL)
        key: tuple[Kind, str] = ("other", "single-nodes")
        if pool or scaling:
            key = ("karpenter", pool) if pool else ("self-managed", str(scaling))
        rest.setdefault(key, []).append(node)
    for (kind, name), nodes in sorted(rest.items()):
        sizes = g.scaling_groups.get(name, {})
        mine = _instances(g, {instance_id(n) for n in nodes})
        found.append(
            GroupFacts(
                name=name,
                kind=kind,
                scaling_group=name if kind == "self-managed" else None,
                desired=sizes.get("DesiredCapacity", len(nodes)),
                min_size=sizes.get("MinSize", 0),
                max_size=sizes.get("MaxSize", 0),
                instance_types=_types(mine),
                subnet_ids=tuple(sorted({i["SubnetId"] for i in mine})),
                security_group_ids=_security_groups(mine, g.templates.get(name)),
                labels={},
            )
        )
    return tuple(found)


def _managed(g: Gathered, group: Obj) -> GroupFacts:
    name, sizes, scaling = group["nodegroupName"], group["scalingConfig"], scaling_group_names(group)
    mine = _instances(g, {i for i, s in g.scaling_group_of.items() if s in scaling})
    template = g.templates.get(name)
    types = _types(mine) or tuple(group.get("instanceTypes") or ())
    if not types and template and template.get("InstanceType"):
        types = (template["InstanceType"],)
    return GroupFacts(
        name=name,
        kind="managed",
        scaling_group=scaling[0] if scaling else None,
        desired=sizes["desiredSize"],
        min_size=sizes["minSize"],
        max_size=sizes["maxSize"],
        instance_types=types,
        subnet_ids=tuple(sorted(group.get("subnets") or ())),
        security_group_ids=_security_groups(mine, template),
        labels=dict(sorted((k, v) for k, v in (group.get("labels") or {}).items() if k not in _labels_of_ours(group))),
    )


def _labels_of_ours(group: Obj) -> set[str]:
    return {CNI_LABEL} if LABELLED_BY_US in (group.get("tags") or {}) else set()


def _instances(g: Gathered, ids: set[str]) -> list[Obj]:
    return [i for i in g.instances if i["InstanceId"] in ids]


def _types(instances: list[Obj]) -> tuple[str, ...]:
    return tuple(sorted({i["InstanceType"] for i in instances}))


def _security_groups(instances: list[Obj], template: Obj | None) -> tuple[str, ...]:
    """Those that every instance of the group has; without instances, those of its launch template."""
    sets = [{s["GroupId"] for s in i.get("SecurityGroups") or []} for i in instances]
    if sets:
        return tuple(sorted(set.intersection(*sets)))
    named = set((template or {}).get("SecurityGroupIds") or ())
    for interface in (template or {}).get("NetworkInterfaces") or []:
        named |= set(interface.get("Groups") or ())
    return tuple(sorted(named))


# -- subnets ----------------------------------------------------------------------------------------------


def subnets(g: Gathered, used: set[str]) -> tuple[SubnetFacts, ...]:
    """Those that nodes use."""
    public = set(public_subnets(g))
    return tuple(
        SubnetFacts(
            id=s["SubnetId"],
            zone=s["AvailabilityZone"],
            cidr=s["CidrBlock"],
            free=s["AvailableIpAddressCount"],
            public=s["SubnetId"] in public,
        )
        for s in sorted(g.subnets, key=lambda s: str(s["SubnetId"]))
        if s["SubnetId"] in used
    )


def public_subnets(g: Gathered) -> Iterator[str]:
    """Subnets whose way to the internet is an internet gateway."""
    own: dict[str, Obj] = {}
    main: Obj = {}
    for table in g.route_tables:
        for association in table.get("Associations") or []:
            if association.get("SubnetId"):
                own[association["SubnetId"]] = table
            elif association.get("Main"):
                main = table
    for subnet in g.subnets:
        table = own.get(subnet["SubnetId"], main)
        for route in table.get("Routes") or []:
            default = route.get("DestinationCidrBlock") == "0.0.0.0/0"
            if default and str(route.get("GatewayId") or "").startswith("igw-"):
                yield subnet["SubnetId"]
                break
