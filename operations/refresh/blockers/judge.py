"""Everything that is known to keep a refresh from ending, or to cost something, from the cluster as it is."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from operations.refresh.blockers import (
    Blocker,
    Weight,
    addresses,
    budgets,
    homes,
    in_order,
    pods,
    spread,
    volumes,
    webhooks,
)
from operations.refresh.blockers.addresses import Addresses
from operations.refresh.blockers.homes import Place
from operations.refresh.blockers.spread import Spreading
from operations.refresh.blockers.volumes import Volume
from operations.refresh.blockers.webhooks import Hook
from operations.refresh.model.request import RefreshRequest
from operations.refresh.model.terms import Goal
from operations.refresh.model.values import BudgetKey, Pod
from operations.refresh.model.world import World


@dataclass(frozen=True)
class Surroundings:
    """What is looked at besides nodes, pods, budgets and groups."""

    volumes: Sequence[Volume] = ()
    new_zones: frozenset[str] = frozenset()
    """Zones in which new nodes can be; empty: not known."""
    places: Sequence[Place] = ()
    """Nodes that take pods in, there or to come; empty: not known."""
    hooks: Sequence[Hook] = ()
    addresses: Addresses | None = None
    """None where nodes are given back to groups that stand in subnets of their own."""
    spreading: Spreading | None = None
    """None where there are no canary nodes on the way."""
    autoscalers: Sequence[str] = ()
    """Deployments that change the number of nodes."""


def judge(world: World, request: RefreshRequest, goal: Goal, around: Surroundings) -> tuple[Blocker, ...]:
    """Everything, what stops first."""
    leaving = [pod for name in world.old for pod in world.leaving(name)]
    under = defaultdict[BudgetKey, list[str]](list)
    for pod in leaving:
        if not pod.terminating:
            for key in pod.budgets:
                under[key].append(pod.name)
    found = [
        *groups(world, goal),
        *budgets.blockers(world.budgets, under),
        *budgets.several(leaving, world.budgets),
        *volumes.blockers(leaving, around.volumes, world.old, around.new_zones),
        *webhooks.blockers(around.hooks, world.old),
        *(addresses.blockers(around.addresses) if around.addresses is not None else ()),
        *(spread.blockers(leaving, world.present, around.spreading) if around.spreading is not None else ()),
        *autoscalers(around.autoscalers),
    ]
    for pod in leaving:
        found += pods.blockers(pod, world.old, world.nodes, marked=request.marked)
        found += homes.blockers(pod, around.places)
    return in_order(found)


def of_pod(pod: Pod, world: World, *, marked: bool = False) -> Iterator[Blocker]:
    """What keeps one pod where it is, whatever is asked for: what can be told without looking around."""
    if not pod.terminating:
        yield from (b for b in pods.blockers(pod, world.old, world.nodes, marked=marked) if b.stops)
        yield from budgets.several([pod], world.budgets)
        yield from (b for key in pod.budgets for b in budgets.of(world.budgets[key]) if b.weight is Weight.NEVER)


def groups(world: World, goal: Goal) -> Iterator[Blocker]:
    """Nodes that nothing here may end, and groups that EKS or Auto Scaling complains about."""
    for name, node in world.old.items():
        instance = world.instances.get(node.instance)
        if instance is None or instance.group not in goal.sources:
            yield outside(name)
    for group in world.groups.values():
        for issue in group.issues:
            yield Blocker(f"node group {group.name}", issue, "Repair the group in EKS", Weight.NOT_NOW)


def outside(node: str) -> Blocker:
    """A node of no known group."""
    return Blocker(
        f"node {node}",
        "belongs to no node group of the settings or facts, so nothing here may end it",
        "Survey again, or remove the node by hand",
        Weight.NEVER,
    )


def autoscalers(names: Sequence[str]) -> Iterator[Blocker]:
    for name in names:
        yield Blocker(
            name,
            "changes the number of nodes as well: it may remove new nodes that are still empty",
            "Scale it to zero while the refresh runs",
            Weight.NOTE,
        )
