"""AWS under the nodes: addresses, and whether new nodes stand as the old ones do."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kube.transport import Obj
from migration.journeys import CheckId, NodeKind
from operations.access.connection import Aws
from operations.access.context import Context
from operations.checks import check
from operations.cluster import objects
from operations.evidence import Answer, Finding, UnknownError
from operations.refresh.blockers import addresses
from operations.refresh.blockers.addresses import Addresses
from operations.refresh.plan import gather

UNNEEDED: Final = frozenset({"AmazonEKS_CNI_Policy"})
"""Policies of legacy nodes that Cilium's do without: its operator has a role of its own."""
PULL: Final = frozenset({"AmazonEC2ContainerRegistryReadOnly", "AmazonEC2ContainerRegistryPullOnly"})
"""Either lets a node pull images."""
WORKER: Final = "AmazonEKSWorkerNodePolicy"


# -- addresses --------------------------------------------------------------------------------------


@check(CheckId.ADDRESSES_SUFFICE)
def addresses_suffice(context: Context) -> Answer:
    """The subnets of Cilium's interfaces have addresses for the nodes to come and their pods, in each zone."""
    if context.stage is not None and context.stage.workloads is NodeKind.LEGACY:
        found = _of_canaries(context)
    else:
        found = gather.addresses_of(context, gather.picture(context), gather.configured(context.settings).strategy)
    if found.unknown:
        blocker = next(addresses.blockers(found))
        raise UnknownError(blocker.problem, blocker.fix, about=blocker.object)
    needed = found.needed()
    shown = ", ".join(f"{zone} {found.free[zone]} free of {needed[zone]} needed" for zone in needed)
    return Answer(shown, tuple(Finding(b.object, b.problem, b.fix) for b in addresses.blockers(found)))


def _of_canaries(context: Context) -> Addresses:
    """For one canary node in each zone."""
    canaries = sum(objects.is_canary(n) for n in context.kube.nodes() if objects.is_cilium(n))
    zones = gather.addresses(context, 0, (), ()).free
    wanted = [context.settings.cilium.canary.instance_type]
    return gather.addresses(context, max(0, len(zones) - canaries), wanted, ())


# -- nodes ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a node stands in AWS."""

    name: str
    security_groups: frozenset[str]
    zone: str
    way_out: str
    """internet-gateway | nat | other | none: where its subnet's default route leads."""
    hop_limit: int
    policies: frozenset[str]
    """Names of the policies of its role; inline ones begin with `inline:`."""


@check(CheckId.NODES_ALIKE)
def nodes_alike(context: Context) -> Answer:
    """Cilium nodes have the security groups, zones, way out, metadata hop limit and rights that legacy nodes have."""
    nodes = context.kube.nodes()
    legacy = standings(context, [n for n in nodes if objects.is_legacy(n)])
    ours = standings(context, [n for n in nodes if objects.is_cilium(n)])
    if not legacy:
        return Answer("no legacy node is left to compare with")
    findings = (*unlike(legacy, ours), *guarded_otherwise(legacy, planned(context)))
    return Answer(f"{len(ours)} Cilium nodes compared with {len(legacy)} legacy ones", findings)


def planned(context: Context) -> dict[str, frozenset[str]]:
    """Cilium group -> security groups that its nodes will have. The nodes that stand for it now, canaries, have those
    that all share."""
    common = context.settings.network.security_group_ids or (context.facts.security_group_ids if context.facts else ())
    if not common:
        cluster = context.aws.cluster(context.cluster_name) or {}
        common = ((cluster.get("resourcesVpcConfig") or {}).get("clusterSecurityGroupId", ""),)
    return {group.name: frozenset({*common, *group.security_group_ids}) for group in context.settings.cilium.groups}


def guarded_otherwise(legacy: Iterable[Standing], groups: Mapping[str, frozenset[str]]) -> Iterator[Finding]:
    """Legacy nodes whose security groups no Cilium group has, and groups that have one of nobody's."""
    sets = {node.security_groups: node.name for node in legacy}
    every = frozenset().union(*sets)
    for old, node in sorted(sets.items(), key=lambda it: it[1]):
        nearest = min(groups, key=lambda name: (len(old - groups[name]), name))
        if lacking := old - groups[nearest]:
            yield Finding(
                f"node {node}",
                f"has {objects.some(old)}, and no Cilium group has all of them: {nearest} will lack "
                f"{objects.some(lacking)}",
                "Set securityGroupIds of the group that takes its workloads, or network.securityGroupIds for all nodes",
            )
    for name, own in groups.items():
        if extra := own - every:
            yield Finding(
                f"node group {name}",
                f"gives its nodes {objects.some(extra)}, which no legacy node has",
                "Take it out of securityGroupIds",
            )


def unlike(legacy: Iterable[Standing], ours: Iterable[Standing]) -> Iterator[Finding]:
    """How Cilium nodes stand worse, or other, than legacy ones."""
    old, new = list(legacy), list(ours)
    common = frozenset.intersection(*(n.security_groups for n in old))
    every = frozenset.union(*(n.security_groups for n in old))
    rights = frozenset.union(*(n.policies for n in old)) - UNNEEDED - PULL | {WORKER}
    for zone in sorted({n.zone for n in old} - {n.zone for n in new}):
        yield Finding(f"zone {zone}", "has legacy nodes and no Cilium node", "Give cilium groups a subnet there")
    for node in new:
        about = f"node {node.name}"
        lacking, extra = common - node.security_groups, node.security_groups - every
        if lacking:
            yield Finding(
                about, f"lacks {objects.some(lacking)}, which legacy nodes have", "Set network.securityGroupIds"
            )
        if extra:
            yield Finding(about, f"has {objects.some(extra)}, which no legacy node has", "Set network.securityGroupIds")
        ways = {n.way_out for n in old if n.zone == node.zone} or {n.way_out for n in old}
        if node.way_out not in ways:
            yield Finding(
                about,
                f"leaves by {node.way_out}, legacy nodes by {', '.join(sorted(ways))}",
                "Use subnets with the same default route",
            )
        hops = min(n.hop_limit for n in old)
        if node.hop_limit < hops:
            yield Finding(
                about,
                f"its metadata hop limit is {node.hop_limit}, legacy nodes have {hops} or more: pods that ask the "
                "instance metadata service would get no answer",
                "Raise the hop limit in the launch template, or give these pods roles of their own",
            )
        missing = rights - node.policies
        if missing:
            yield Finding(about, f"its role lacks {objects.some(missing)}", "Attach them to the role of Cilium nodes")
        if not node.policies & PULL:
            yield Finding(about, "its role may not pull images", f"Attach {min(PULL)}")


def standings(context: Context, nodes: Iterable[Obj]) -> list[Standing]:
    """How nodes stand; nodes that are no EC2 instance any more are left out."""
    by_id = {instance_id(node): node for node in nodes}
    if not by_id:
        return []
    reservations = context.aws.pages(
        "ec2", "describe_instances", "Reservations", InstanceIds=sorted(i for i in by_id if i)
    )
    instances = [i for r in reservations for i in r["Instances"]]
    groups = {str(g["nodegroupName"]): str(g["nodeRole"]) for g in context.aws.nodegroups(context.cluster_name)}
    tables = context.aws.pages("ec2", "describe_route_tables", "RouteTables")
    found = []
    for instance in instances:
        node = by_id[instance["InstanceId"]]
        role = groups.get(objects.labels(node).get(objects.NODEGROUP, "")) or _profile_role(context.aws, instance)
        found.append(
            Standing(
                name=objects.name(node),
                security_groups=frozenset(str(g["GroupId"]) for g in instance.get("SecurityGroups") or []),
                zone=objects.zone(node),
                way_out=way_out(instance["SubnetId"], instance["VpcId"], tables),
                hop_limit=int((instance.get("MetadataOptions") or {}).get("HttpPutResponseHopLimit", 1)),
                policies=_policies(context.aws, role.rsplit("/", 1)[-1]),
            )
        )
    return found


def instance_id(node: Obj) -> str:
    """From the node's provider id, aws:///ZONE/ID."""
    return str(node.get("spec", {}).get("providerID", "")).rsplit("/", 1)[-1]


def way_out(subnet: str, vpc: str, tables: Iterable[Obj]) -> str:
    """Where the default route of a subnet leads; without a route table of its own the VPC's main one counts."""
    main = None
    for table in tables:
        for association in table.get("Associations") or []:
            if association.get("SubnetId") == subnet:
                return _default_route(table)
            if association.get("Main") and table.get("VpcId") == vpc:
                main = table
    return _default_route(main) if main else "none"


def _default_route(table: Obj) -> str:
    route = next((r for r in table.get("Routes") or [] if r.get("DestinationCidrBlock") == "0.0.0.0/0"), None)
    if route is None:
        return "none"
    if str(route.get("GatewayId", "")).startswith("igw-"):
        return "internet-gateway"
    return "nat" if route.get("NatGatewayId") else "other"


def _profile_role(aws: Aws, instance: Obj) -> str:
    profile = str((instance.get("IamInstanceProfile") or {}).get("Arn", "")).rsplit("/", 1)[-1]
    if not profile:
        raise UnknownError(f"instance {instance['InstanceId']} has no instance profile")
    found: Any = aws.once(
        ("profile", profile), lambda: aws.client("iam").get_instance_profile(InstanceProfileName=profile)
    )
    return str(found["InstanceProfile"]["Roles"][0]["Arn"])


def _policies(aws: Aws, role: str) -> frozenset[str]:
    attached = aws.pages("iam", "list_attached_role_policies", "AttachedPolicies", RoleName=role)
    inline = aws.pages("iam", "list_role_policies", "PolicyNames", RoleName=role)
    return frozenset({*(str(p["PolicyName"]) for p in attached), *(f"inline:{name}" for name in inline)})
