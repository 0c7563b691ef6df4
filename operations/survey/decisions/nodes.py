"""Nodes: which kinds there are, who makes them, and where they stand."""

from typing import Final

from kube.transport import Obj
from migration.facts import Decision
from migration.names import CANARY_GROUP, CNI_LABEL, LEGACY_CNI
from migration.rules import versions
from operations.cluster import objects
from operations.survey.decisions.base import Decider, Seen, absent, handled, named, refused

AUTOSCALER: Final = "cluster-autoscaler"


def _of_type(seen: Seen, kind: str) -> list[str]:
    return [objects.name(n) for n in seen.gathered.nodes if objects.labels(n).get(objects.COMPUTE_TYPE) == kind]


def windows(seen: Seen) -> Decision:
    nodes = [objects.name(n) for n in seen.gathered.nodes if objects.labels(n).get("kubernetes.io/os") == "windows"]
    groups = [g["nodegroupName"] for g in seen.gathered.nodegroups if str(g.get("amiType", "")).startswith("WINDOWS")]
    if nodes or groups:
        return refused(
            "Windows nodes",
            named("node", nodes) if nodes else named("node group", groups),
            "Cilium runs on Linux only, so their pods would have no identity and no policy",
            "Move the Windows workloads to a cluster of their own",
        )
    return absent("Windows nodes", "the nodes' operating system and the node groups' images")


def fargate(seen: Seen) -> Decision:
    profiles, nodes = seen.gathered.fargate_profiles, _of_type(seen, "fargate")
    if profiles or nodes:
        return refused(
            "Fargate",
            named("profile", profiles) if profiles else named("node", nodes),
            "neither Calico nor Cilium reaches those pods, and Cilium would take them for strangers",
            "Move their pods to EC2 nodes and delete the profiles",
        )
    return absent("Fargate", "Fargate profiles and nodes")


def hybrid(seen: Seen) -> Decision:
    nodes = _of_type(seen, "hybrid")
    if nodes:
        return refused(
            "hybrid nodes",
            named("node", nodes),
            "ENI mode has no interfaces outside AWS",
            "Move their workloads to EC2 nodes, or to a cluster of their own",
        )
    return absent("hybrid nodes", objects.COMPUTE_TYPE)


def auto_mode(seen: Seen) -> Decision:
    enabled = bool((seen.gathered.cluster.get("computeConfig") or {}).get("enabled"))
    nodes = _of_type(seen, "auto")
    if enabled or nodes:
        return refused(
            "Auto Mode",
            named("node", nodes) if nodes else "computeConfig.enabled",
            "its nodes bring a CNI of their own that cannot be exchanged",
            "Turn Auto Mode off and use managed node groups",
        )
    return absent("Auto Mode", "computeConfig and the nodes' compute type")


def self_managed_groups(seen: Seen) -> Decision:
    names = [g.name for g in seen.groups if g.kind == "self-managed"]
    if names:
        return handled(
            "self-managed groups",
            named("Auto Scaling group", names),
            f"emptied through Auto Scaling; nodes that join later need {CNI_LABEL}={LEGACY_CNI} from "
            "kubelet (--node-labels in their user data), which a gate checks",
        )
    single = [g.name for g in seen.groups if g.kind == "other"]
    if single:
        nodes = sum(g.desired for g in seen.groups if g.kind == "other")
        return refused(
            "self-managed groups",
            f"{objects.count(nodes, 'node')} of no Auto Scaling group",
            "nothing says how such a node is ended or made again",
            "Replace them by nodes of a group, then survey again",
        )
    return absent("self-managed groups", "every EC2 node belongs to a managed node group")


def karpenter(seen: Seen) -> Decision:
    pools = {objects.name(p): p for p in seen.gathered.objects_of("nodepools")}
    populated = {g.name for g in seen.groups if g.kind == "karpenter"}
    making = {name for name, pool in pools.items() if not _makes_none(pool)} | populated
    if making:
        return refused(
            "Karpenter",
            named("NodePool", making),
            "it would answer every evicted pod with another node that the VPC CNI wires",
            "Give the workloads managed node groups, set a limit of each NodePool to zero (spec.limits.cpu: 0) and let "
            f"its nodes go; after the migration it may make nodes with {CNI_LABEL}=cilium again",
        )
    if pools:
        return handled("Karpenter", named("NodePool", pools), "a limit of zero keeps it from making nodes")
    return absent("Karpenter", "NodePool objects and nodes with its label")


def _makes_none(pool: Obj) -> bool:
    limits = (pool.get("spec") or {}).get("limits") or {}
    return any(str(limit).strip() == "0" for limit in limits.values())


def group_names(seen: Seen) -> Decision:
    """Node groups that this stack is to make, under names that somebody has given already."""
    item, ours = "names of node groups", {g.name for g in seen.settings.cilium.groups} | {CANARY_GROUP}
    taken = ours & {str(g["nodegroupName"]) for g in seen.gathered.nodegroups}
    if taken and not seen.begun:
        return refused(
            item,
            named("node group", taken),
            "this stack makes groups of these names, and would take these for its own",
            f"Choose other names in cilium.groups ({CANARY_GROUP} is the canary nodes'), or delete the groups",
        )
    return absent(item, "the names in cilium.groups are free, or used by this stack")


def cluster_autoscaler(seen: Seen) -> Decision:
    running = [
        objects.key(d)
        for d in seen.gathered.deployments
        if AUTOSCALER in objects.name(d) and objects.available(d)[0] > 0
    ]
    if running:
        return handled(
            "Cluster Autoscaler",
            named("Deployment", running),
            "scale it to zero while workloads move: it may end new nodes that are still empty",
        )
    return absent("Cluster Autoscaler", "Deployments of that name")


def kernels(seen: Seen) -> Decision:
    oldest = ".".join(map(str, versions.MINIMUM_KERNEL))
    old = {}
    for node in seen.gathered.nodes:
        text = ((node.get("status") or {}).get("nodeInfo") or {}).get("kernelVersion", "")
        try:
            if text and versions.minor(text) < versions.MINIMUM_KERNEL:
                old[objects.name(node)] = text
        except ValueError:
            continue
    if old:
        return handled(
            "old kernels",
            named("node", (f"{n} ({k})" for n, k in old.items())),
            f"Cilium needs {oldest} and runs on new nodes only; theirs is newer",
        )
    return absent("old kernels", f"every node's kernel is {oldest} or later, or not told")


def public_subnets(seen: Seen) -> Decision:
    item, public = "nodes in public subnets", [s.id for s in seen.subnets if s.public]
    if not public:
        return absent(item, "the routes of the subnets that nodes use")
    if seen.settings.cilium.egress_source == "pod":
        return refused(
            item,
            named("subnet", public),
            "a pod's own address has no way to the internet from there",
            "Leave out cilium.egressSource, or set it to node; or move the nodes behind a NAT gateway",
        )
    return handled(item, named("subnet", public), "pods leave the VPC with the address of their node")


def hop_limit(seen: Seen) -> Decision:
    limits = {
        name: (template.get("MetadataOptions") or {}).get("HttpPutResponseHopLimit")
        for name, template in seen.gathered.templates.items()
    }
    told = {name: limit for name, limit in limits.items() if limit is not None}
    if told:
        found = objects.some(f"{name}: {limit}" for name, limit in told.items())
        return handled("metadata hop limit", found, "a gate compares new nodes with old ones")
    return absent("metadata hop limit", "the launch templates do not set one")


DECIDERS: tuple[Decider, ...] = (
    windows,
    fargate,
    hybrid,
    auto_mode,
    self_managed_groups,
    karpenter,
    group_names,
    cluster_autoscaler,
    kernels,
    public_subnets,
    hop_limit,
)
