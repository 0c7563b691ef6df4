"""What would keep a refresh from ending, or what it would cost, foreseen from the cluster as it is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from operations.refresh.request import RefreshRequest, Strategy
from operations.refresh.terms import Goal
from operations.refresh.values import Pod
from operations.refresh.world import World


class Weight(StrEnum):
    STOPS = "stops"
    """The refresh cannot end while this is so."""
    NOTE = "note"
    """It ends, but somebody should know before."""


@dataclass(frozen=True)
class Foreseen:
    """One thing that is foreseen."""

    weight: Weight
    object: str
    problem: str
    fix: str


@dataclass(frozen=True)
class Volume:
    """A PersistentVolume that is bound to a claim."""

    claim: tuple[str, str]
    zones: frozenset[str]
    """Zones in which it can be used; empty: everywhere."""
    local: bool
    """On the disk of one node."""


@dataclass(frozen=True)
class Surroundings:
    """What a plan looks at besides the world of the engine."""

    volumes: Sequence[Volume] = ()
    new_zones: frozenset[str] = frozenset()
    """Zones in which the new groups can launch."""
    closed_webhooks: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Webhook configuration that fails closed and concerns pods, nodes or evictions -> nodes of its backend pods."""
    free_addresses: int | None = None
    """In the subnets of the new nodes."""
    needed_addresses: int = 0
    autoscalers: Sequence[str] = ()
    """Deployments that change the number of nodes."""


def foresee(world: World, request: RefreshRequest, goal: Goal, around: Surroundings) -> tuple[Foreseen, ...]:
    """Everything, what stops first."""
    found = [
        *_of_groups(world, goal),
        *_of_budgets(world),
        *_of_pods(world),
        *_of_volumes(world, around),
        *_of_webhooks(world, around),
        *_of_capacity(request, around),
        *_of_autoscalers(around),
    ]
    return tuple(sorted(found, key=lambda f: (f.weight is not Weight.STOPS, f.object)))


def _leaving(world: World) -> Iterator[Pod]:
    for name in world.old:
        yield from world.leaving(name)


def _of_groups(world: World, goal: Goal) -> Iterator[Foreseen]:
    for name, node in world.old.items():
        instance = world.instances.get(node.instance)
        if instance is None or instance.group not in goal.sources:
            yield Foreseen(
                Weight.STOPS,
                f"node {name}",
                "belongs to no node group of the settings or facts, so nothing here may end it",
                "survey again, or remove the node by hand",
            )
    for group in world.groups.values():
        for issue in group.issues:
            yield Foreseen(Weight.STOPS, f"node group {group.name}", issue, "repair the group in EKS")


def _of_budgets(world: World) -> Iterator[Foreseen]:
    for key in world.remaining.under:
        budget = world.budgets[key]
        if budget.whole == 0:
            yield Foreseen(
                Weight.STOPS,
                f"PodDisruptionBudget {budget}",
                f"never allows a disruption: it wants {budget.desired} of {budget.expected} pods healthy",
                "raise the replicas, or lower what it wants",
            )
        elif budget.allowed == 0:
            yield Foreseen(
                Weight.STOPS,
                f"PodDisruptionBudget {budget}",
                f"allows none now: {budget.healthy} of {budget.expected} pods are healthy, it wants {budget.desired}",
                "repair its pods; where broken ones may go, set unhealthyPodEvictionPolicy: AlwaysAllow",
            )


def _of_pods(world: World) -> Iterator[Foreseen]:
    for pod in _leaving(world):
        if len(pod.budgets) > 1:
            names = ", ".join(sorted(key[1] for key in pod.budgets))
            yield Foreseen(
                Weight.STOPS,
                f"pod {pod}",
                f"is selected by more than one PodDisruptionBudget ({names}), and the API never evicts such a pod",
                "leave one of them",
            )
        if pod.bare:
            yield Foreseen(
                Weight.STOPS,
                f"pod {pod}",
                "has no controller, so nothing would make it again",
                "delete it, or give it a controller",
            )
        elif pod.pinned:
            yield Foreseen(
                Weight.STOPS,
                f"pod {pod}",
                f"can run on node {pod.node} only",
                "take the node's name out of its selector or affinity",
            )
        if pod.scratch and not pod.bare:
            yield Foreseen(Weight.NOTE, f"pod {pod}", "has an emptyDir or a hostPath, whose data stays behind", "")
        if pod.tolerates_cordon:
            yield Foreseen(
                Weight.NOTE,
                f"pod {pod}",
                "tolerates a cordoned node, so the scheduler may put it back; after three times it goes with its node",
                "",
            )


def _of_volumes(world: World, around: Surroundings) -> Iterator[Foreseen]:
    by_claim = {volume.claim: volume for volume in around.volumes}
    for pod in _leaving(world):
        for claim in pod.claims:
            volume = by_claim.get((pod.namespace, claim))
            if volume is None:
                continue
            if volume.local:
                yield Foreseen(
                    Weight.STOPS,
                    f"pod {pod}",
                    f"its volume {claim} is on the disk of node {pod.node}",
                    "move the data, or delete the claim",
                )
            elif volume.zones and around.new_zones and not volume.zones & around.new_zones:
                yield Foreseen(
                    Weight.STOPS,
                    f"pod {pod}",
                    f"its volume {claim} is in {', '.join(sorted(volume.zones))}, where no new node can be",
                    "give a new group a subnet of that zone",
                )


def _of_webhooks(world: World, around: Surroundings) -> Iterator[Foreseen]:
    for name, nodes in around.closed_webhooks.items():
        if nodes and nodes <= set(world.old):
            yield Foreseen(
                Weight.NOTE if len(nodes) > 1 else Weight.STOPS,
                name,
                f"fails closed, and all its pods are on {len(nodes)} nodes that go: while none answers, "
                "no pod can be made",
                "run at least two replicas under a PodDisruptionBudget, or set failurePolicy: Ignore",
            )


def _of_capacity(request: RefreshRequest, around: Surroundings) -> Iterator[Foreseen]:
    free = around.free_addresses
    if request.strategy is not Strategy.SHRINK and free is not None and free < around.needed_addresses:
        yield Foreseen(
            Weight.STOPS,
            "subnets of the new nodes",
            f"have {free} free addresses, the new nodes and their pods need {around.needed_addresses}",
            "add subnets, use smaller groups, or the strategy replace",
        )


def _of_autoscalers(around: Surroundings) -> Iterator[Foreseen]:
    for name in around.autoscalers:
        yield Foreseen(
            Weight.NOTE,
            name,
            "changes the number of nodes as well: it may remove new nodes that are still empty",
            "scale it to zero while the refresh runs",
        )
