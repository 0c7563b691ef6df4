"""Reads what the judge looks at. A gate reads everything here; `refresh plan` has nodes and pods from its watches."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import cycle
from typing import Any, Final

from migration.journeys import NodeKind
from migration.names import CANARY_GROUP, CILIUM_CNI, CNI_LABEL, LEGACY_CNI
from migration.settings import NodeGroup, Settings
from operations.access.context import Context
from operations.cluster import objects
from operations.evidence import UnknownError
from operations.refresh.blockers.addresses import Addresses, count
from operations.refresh.blockers.homes import Place
from operations.refresh.blockers.judge import Surroundings
from operations.refresh.blockers.spread import CANARY, Spreading
from operations.refresh.blockers.volumes import volume
from operations.refresh.blockers.webhooks import Hook, hooks
from operations.refresh.cluster import groups as grouping
from operations.refresh.cluster import parse
from operations.refresh.cluster.cloud import Cloud, UnknownGroupError
from operations.refresh.cluster.lease import Memory
from operations.refresh.cluster.live import WORKLOADS
from operations.refresh.model.request import InvalidRequest, RefreshRequest, Strategy
from operations.refresh.model.terms import Goal
from operations.refresh.model.world import World
from operations.refresh.plan import coming

ADMISSION: Final = "/apis/admissionregistration.k8s.io/v1"
AUTOSCALERS: Final = ("cluster-autoscaler", "karpenter")


def picture(context: Context) -> World:
    """Nodes, pods and budgets of a refresh to Cilium nodes, read once, as the watches of a run would show them. All
    checks of a round look at the same one: of thousands of nodes it takes seconds to make."""
    found: World = context.kube.once("picture", lambda: _picture(context))
    return found


def _picture(context: Context) -> World:
    kube, world = context.kube, World(LEGACY_CNI, CILIUM_CNI)
    world.replace_nodes(map(parse.node, kube.nodes()))
    world.replace_budgets(map(parse.budget, kube.items("/apis/policy/v1/poddisruptionbudgets")))
    for kind, path in WORKLOADS.items():
        world.present.replace(kind, [parse.workload(item, kind) for item in kube.items(path)])
    world.replace_pods(map(partial(parse.pod, target_cni=CILIUM_CNI), kube.pods()))
    return world


def see_groups(context: Context, world: World) -> Goal:
    """Node groups and instances, into the picture; the one check that asks for them is the only one to look at them.

    Raises:
        UnknownError: they cannot be told.
    """
    request = configured(context.settings)
    described = context.aws.cluster(context.cluster_name)
    if described is None:
        raise UnknownError(f"EKS cluster {context.cluster_name} does not exist in {context.aws.region}")
    try:
        known = grouping.groups(context.settings, context.facts if context.adopted else None)
        cloud = Cloud(context.aws, context.cluster_name, known.refs, described["resourcesVpcConfig"]["vpcId"])
        world.see_cloud(cloud.look(frozenset()), 0.0)
    except (InvalidRequest, UnknownGroupError) as error:
        raise UnknownError(str(error), "Deploy the stage that the stack is at again", about="node groups") from None
    sources = tuple(ref.name for ref in known.of(request.source))
    return Goal(sources, grouping.wanted(known, request.target, Memory()), len(world.old))


def configured(settings: Settings) -> RefreshRequest:
    """The refresh to Cilium nodes that a deploy makes."""
    refresh = settings.refresh
    return RefreshRequest.towards(
        NodeKind.CILIUM,
        strategy=refresh.strategy,
        node_budget=refresh.budget,
        marked=refresh.evict_marked,
        deadline=refresh.deadline_minutes * 60,
    )


def surroundings(context: Context, world: World, request: RefreshRequest | None = None) -> Surroundings:
    """What there is besides nodes and pods.

    Args:
        request: left out: as the settings say.
    """
    kube, settings = context.kube, context.settings
    strategy = (request or configured(settings)).strategy
    found = addresses_of(context, world, strategy) if world.target == CILIUM_CNI else None
    zones = frozenset(found.free) if found is not None else frozenset(node.zone for node in world.new.values())
    return Surroundings(
        volumes=[v for v in map(volume, kube.items("/api/v1/persistentvolumes")) if v is not None],
        new_zones=zones - {""},
        places=places(context, world) if world.target == CILIUM_CNI else (),
        hooks=webhooks(context),
        addresses=found,
        spreading=spreading(context, sorted(zones)) if world.target == CILIUM_CNI else None,
        autoscalers=[
            f"deployment {objects.key(d)}"
            for d in kube.items("/apis/apps/v1/deployments")
            if any(a in objects.name(d) for a in AUTOSCALERS) and int(d["spec"].get("replicas", 1)) > 0
        ],
    )


def webhooks(context: Context) -> list[Hook]:
    """Every webhook of the cluster that fails closed, and where it is served."""
    kube = context.kube
    configurations = [
        *kube.items(f"{ADMISSION}/validatingwebhookconfigurations"),
        *kube.items(f"{ADMISSION}/mutatingwebhookconfigurations"),
    ]
    return hooks(configurations, kube.items("/apis/discovery.k8s.io/v1/endpointslices"))


def places(context: Context, world: World) -> list[Place]:
    """The Cilium nodes that are there, canaries too, and for each group and type one of those that it will make."""
    there = [node for node in context.kube.nodes() if objects.name(node) in world.new]
    groups = context.settings.cilium.groups
    sized = any(group.size for group in groups)  # where none is, an autoscaler may make nodes of any
    return [
        *(Place(objects.labels(node), node["spec"].get("taints") or (), whole=False) for node in there),
        *(place for group in groups if group.size or not sized for place in coming.places(group)),
    ]


def spreading(context: Context, zones: Sequence[str]) -> Spreading:
    """Nodes that take workloads, now and once all have moved, and the canary nodes beside them.

    Args:
        zones: of the subnets.
    """
    nodes = context.kube.nodes()
    live = [Place(objects.labels(n), n["spec"].get("taints") or ()) for n in nodes if objects.is_canary(n)]
    own = {CNI_LABEL: CILIUM_CNI}
    made = [_to_come({**own, objects.NODEGROUP: CANARY_GROUP}, f"canary {z}", z, (CANARY,)) for z in zones]
    there = [n for n in nodes if not objects.is_canary(n) and not n["spec"].get("unschedulable")]
    others = [Place(objects.labels(n), n["spec"].get("taints") or ()) for n in there if objects.is_cilium(n)]
    groups = [group for group in context.settings.cilium.groups for _ in range(group.size)]
    later = [
        _to_come({**group.labels, **own, objects.NODEGROUP: group.name}, f"to come {n}", z, coming.taints(group))
        for n, (group, z) in enumerate(zip(groups, cycle(zones or [""]), strict=False))
    ]
    return Spreading(
        canaries=live or made,
        moments={
            "now": [Place(objects.labels(n), n["spec"].get("taints") or ()) for n in there],
            "when all have moved": [*others, *later[len(others) :]],
        },
    )


def _to_come(labels: Mapping[str, str], name: str, zone: str, taints: Sequence[Mapping[str, str]]) -> Place:
    known = {parse.HOSTNAME: name, objects.ZONE: zone, "kubernetes.io/os": "linux"}
    return Place({**labels, **known}, taints, whole=False)


# -- addresses --------------------------------------------------------------------------------------


def addresses_of(context: Context, world: World, strategy: Strategy) -> Addresses:
    """For the nodes to come and the pods that have still to move."""
    moving = (node.zone for name, node in world.old.items() for pod in world.leaving(name) if not pod.host_network)
    groups = context.settings.cilium.groups
    wanted = 0 if strategy is Strategy.SHRINK else sum(group.size for group in groups)
    return addresses(context, max(0, wanted - len(world.new)), types(groups), moving)


def types(groups: Iterable[NodeGroup]) -> list[str]:
    return [name for group in groups if group.size for name in group.types]


def addresses(context: Context, nodes: int, kinds: Iterable[str], moving: Iterable[str]) -> Addresses:
    """Addresses for nodes to come.

    Args:
        nodes: how many.
        kinds: their instance types.
        moving: zone of each pod that has to move.
    """
    network = context.settings.network
    subnets = context.aws.pages(
        "ec2", "describe_subnets", "Subnets", SubnetIds=list(network.pod_subnet_ids or network.subnet_ids)
    )
    free: dict[str, int] = {}
    for subnet in subnets:
        zone = str(subnet["AvailabilityZone"])
        free[zone] = free.get(zone, 0) + int(subnet["AvailableIpAddressCount"])
    return Addresses(
        free=free,
        nodes=nodes,
        types=tuple(kinds),
        moving=count(moving),
        each=sum(not _on_host(daemonset) for daemonset in context.kube.daemonsets()),
    )


def _on_host(daemonset: Mapping[str, Any]) -> bool:
    return bool(daemonset["spec"]["template"]["spec"].get("hostNetwork"))
