"""Settings that are facts as well: what the configuration says of VPC, subnets and versions is what is there."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from kube.transport import Obj
from migration.journeys import CheckId, Piece
from migration.settings import Settings
from operations.access.connection import Aws
from operations.access.context import Context
from operations.checks import check
from operations.cluster import objects
from operations.evidence import Answer, Finding
from operations.survey import describe
from operations.survey.gathered import is_true

NOWHERE: Final = "nothing"
_LOCAL: Final = "local"


@check(CheckId.SETTINGS_AGREE)
def settings_agree(context: Context) -> Answer:
    """VPC, blocks, subnets, security groups and versions in the configuration are those of the account."""
    settings, aws = context.settings, context.aws
    network = settings.network
    vpc = next(iter(_existing(aws, "describe_vpcs", "Vpcs", "vpc-id", [network.vpc_id])), None)
    if vpc is None:
        about = f"network.vpcId {network.vpc_id}"
        return Answer("no VPC", (Finding(about, f"does not exist in {aws.region}", "Correct the id or the region"),))
    findings = [*block_findings(settings, vpc)]
    live = aws.cluster(context.cluster_name)
    if live is not None:
        findings += cluster_findings(settings, live)
        findings += version_findings(_versions(context))
    used, today = subnets_of(settings), _today(context)
    ids = sorted({subnet for subnets in used.values() for subnet in subnets} | set(today))
    subnets = {str(s["SubnetId"]): s for s in _existing(aws, "describe_subnets", "Subnets", "subnet-id", ids)}
    findings += subnet_findings(settings, used, subnets)
    groups = _existing(aws, "describe_security_groups", "SecurityGroups", "group-id", network.security_group_ids)
    findings += security_group_findings(settings, groups)
    tables = aws.pages("ec2", "describe_route_tables", "RouteTables")
    findings += way_findings(used, today, {s: routes(subnet, tables) for s, subnet in subnets.items()})
    blocks = ", ".join(map(str, network.vpc_cidrs))
    return Answer(f"{network.vpc_id} ({blocks}), {objects.count(len(ids), 'subnet')}", tuple(findings))


def _existing(aws: Aws, operation: str, key: str, name: str, ids: Sequence[str]) -> list[Obj]:
    """Those that exist; asked by filter, because EC2 refuses the whole question for one id that does not."""
    if not ids:
        return []
    return aws.pages("ec2", operation, key, Filters=[{"Name": name, "Values": list(ids)}])


# -- VPC and cluster --------------------------------------------------------------------------------


def block_findings(settings: Settings, vpc: Obj) -> Iterator[Finding]:
    """How `network.vpcCidrs` differs from the blocks of the VPC."""
    live, said = set(describe.vpc_blocks(vpc)), set(settings.network.vpc_cidrs)
    name = settings.network.vpc_id
    for block in sorted(live - said):
        yield Finding(
            "network.vpcCidrs",
            f"lacks {block} of {name}: what pods send there would get the address of their node, so policies there "
            "would not know them",
            f'Add "{block}"',
        )
    for block in sorted(said - live):
        yield Finding(
            "network.vpcCidrs",
            f"has {block}, which is not a block of {name}",
            "Take it out; blocks of networks beside the VPC belong into network.peerCidrs",
        )


def cluster_findings(settings: Settings, live: Obj) -> Iterator[Finding]:
    """How the configuration differs from EKS DescribeCluster."""
    network = settings.network
    vpc = str(live["resourcesVpcConfig"]["vpcId"])
    service = (live.get("kubernetesNetworkConfig") or {}).get("serviceIpv4Cidr")
    if vpc != network.vpc_id:
        yield Finding("network.vpcId", f"is {network.vpc_id}, the cluster lives in {vpc}", f"Set it to {vpc}")
    if service and service != str(network.service_cidr):
        yield Finding(
            "network.serviceCidr", f"is {network.service_cidr}, the cluster's is {service}", f"Set it to {service}"
        )


def _versions(context: Context) -> Iterator[tuple[str, str | None, str | None]]:
    """(setting, what it asks for, what runs), of what an owned cluster has."""
    settings, pieces = context.settings, context.stage.pieces if context.stage else frozenset(Piece)
    live = context.aws.cluster(context.cluster_name) or {}
    if not context.adopted:
        yield "cluster.version", settings.cluster.version, live.get("version")
        legacy = settings.legacy
        addons = [(Piece.COREDNS, "coredns", "coredns", settings.coredns.version)]
        if legacy is not None:
            addons.append((Piece.VPC_CNI, "legacy.vpcCni", "vpc-cni", legacy.vpc_cni.version))
            addons.append((Piece.KUBE_PROXY, "legacy.kubeProxy", "kube-proxy", legacy.kube_proxy.version))
        for piece, key, addon, version in addons:
            if version is not None and piece in pieces:
                record = context.aws.addon(context.cluster_name, addon) or {}
                yield f"{key}.version", version, record.get("addonVersion")
    running = {str(g["nodegroupName"]): g for g in context.aws.nodegroups(context.cluster_name)}
    sections = {"cilium.groups": settings.cilium.groups}
    if settings.legacy is not None:
        sections["legacy.groups"] = settings.legacy.groups
    for section, groups in sections.items():
        for index, group in enumerate(groups):
            release = running.get(group.name, {}).get("releaseVersion")
            yield f"{section}.{index}.releaseVersion", group.release_version, release


def version_findings(versions: Iterable[tuple[str, str | None, str | None]]) -> Iterator[Finding]:
    """Settings that ask for less than what runs: AWS or somebody raised it, and a deploy would take it down."""
    for key, said, live in versions:
        if said and live and _numbers(said) < _numbers(live):
            yield Finding(
                key, f"asks for {said}, and {live} runs: a deploy would take it down, or fail at it", f'Set "{live}"'
            )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


# -- subnets ----------------------------------------------------------------------------------------


def subnets_of(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Setting → the subnets that it names."""
    network = settings.network
    found = {"network.subnetIds": network.subnet_ids, "network.podSubnetIds": network.pod_subnet_ids}
    found |= {f"cilium.groups.{i}.subnetIds": g.subnet_ids for i, g in enumerate(settings.cilium.groups)}
    return {key: subnets for key, subnets in found.items() if subnets}


def subnet_findings(
    settings: Settings, used: Mapping[str, Sequence[str]], subnets: Mapping[str, Obj]
) -> Iterator[Finding]:
    """Whether the subnets exist, in the VPC, in the zones where they are needed."""
    vpc = settings.network.vpc_id
    zones: dict[str, set[str]] = {}
    for key, ids in used.items():
        for subnet in ids:
            found = subnets.get(subnet)
            if found is None:
                yield Finding(f"{key} {subnet}", "does not exist", "Correct the id")
            elif found["VpcId"] != vpc:
                yield Finding(f"{key} {subnet}", f"is in {found['VpcId']}, not in {vpc}", "Use a subnet of that VPC")
            else:
                zones.setdefault(key, set()).add(str(found["AvailabilityZone"]))
    nodes = zones.get("network.subnetIds", set())
    if len(nodes) == 1:
        yield Finding("network.subnetIds", f"are all in {min(nodes)}", "Name subnets in at least two zones")
    if settings.network.pod_subnet_ids:
        every = set().union(*(found for key, found in zones.items() if key != "network.podSubnetIds"))
        for zone in sorted(every - zones.get("network.podSubnetIds", set())):
            yield Finding(
                "network.podSubnetIds",
                f"has no subnet in {zone}, where nodes stand: an interface cannot leave the zone of its node",
                f"Add a subnet in {zone}",
            )


def security_group_findings(settings: Settings, found: Iterable[Obj]) -> Iterator[Finding]:
    vpcs = {str(g["GroupId"]): str(g["VpcId"]) for g in found}
    for group in settings.network.security_group_ids:
        about = f"network.securityGroupIds {group}"
        if group not in vpcs:
            yield Finding(about, "does not exist", "Correct the id")
        elif vpcs[group] != settings.network.vpc_id:
            yield Finding(about, f"is of {vpcs[group]}, not of {settings.network.vpc_id}", "Use a group of that VPC")


# -- ways out ---------------------------------------------------------------------------------------


def _today(context: Context) -> tuple[str, ...]:
    """Subnets from which pods leave today: of the surveyed nodes; of an owned cluster, of its nodes."""
    network = context.settings.network
    if context.facts is None:
        legacy = context.settings.legacy.groups if context.settings.legacy else ()
        return (*network.subnet_ids, *(subnet for group in legacy for subnet in group.subnet_ids))
    nodes = tuple(s.id for s in context.facts.subnets)
    # with custom networking the pods stand elsewhere already: the survey has seen to it that it is here
    elsewhere = is_true(context.facts.vpc_cni.env.get("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG"))
    return (*nodes, *network.pod_subnet_ids) if elsewhere else nodes


def routes(subnet: Obj, tables: Iterable[Obj]) -> dict[str, str]:
    """Destination → where it leads, for what leaves the VPC; without a table of its own the VPC's main one counts."""
    own: Obj | None = None
    main: Obj | None = None
    for table in tables:
        for association in table.get("Associations") or []:
            if association.get("SubnetId") == subnet["SubnetId"]:
                own = table
            elif association.get("Main") and table.get("VpcId") == subnet["VpcId"]:
                main = table
    found = {}
    for route in (own or main or {}).get("Routes") or []:
        destination = route.get("DestinationCidrBlock") or route.get("DestinationPrefixListId")
        if destination and _target(route) != _LOCAL:
            found[str(destination)] = _target(route)
    return found


def _target(route: Obj) -> str:
    if route.get("State") == "blackhole":
        return "a gateway that is gone"
    targets = (str(v) for k, v in route.items() if k.endswith(("Id", "Arn")) and not k.startswith("Destination"))
    return next((t for t in targets if t), NOWHERE)


def way_findings(
    used: Mapping[str, Sequence[str]], today: Sequence[str], ways: Mapping[str, Mapping[str, str]]
) -> Iterator[Finding]:
    """Subnets that reach a network by another way than pods do today, so that others see another address of theirs.

    Args:
        ways: routes of each subnet that exists.
    """
    known = [ways[subnet] for subnet in today if subnet in ways]
    if not known:
        return
    new = {s: key for key, subnets in used.items() for s in subnets if s in ways and s not in today}
    for subnet, key in new.items():
        for destination in sorted({d for way in (ways[subnet], *known) for d in way}):
            way = ways[subnet].get(destination, NOWHERE)
            allowed = sorted({w.get(destination, NOWHERE) for w in known})
            if way not in allowed:
                yield Finding(
                    f"{key} {subnet}",
                    f"leaves to {destination} by {way}, pods leave by {' or '.join(allowed)} today",
                    "Give its route table the same route, or choose other subnets",
                )
