"""Where a run ends, and what has to be remembered before it begins."""

from dataclasses import replace

from migration.journeys import NodeKind
from operations.refresh.cluster import groups as grouping
from operations.refresh.cluster.groups import Groups
from operations.refresh.cluster.lease import Memory
from operations.refresh.engine.engine import Engine
from operations.refresh.model.request import RefreshRequest
from operations.refresh.model.terms import Goal, unhealthy
from operations.refresh.model.world import World


def meant(memory: Memory, asked: NodeKind | None) -> NodeKind:
    """Where the refresh leads that is asked about: the remembered one, where nothing is said."""
    return asked or NodeKind(memory.towards or NodeKind.CILIUM)


def goal_of(groups: Groups, request: RefreshRequest, memory: Memory, world: World) -> Goal:
    """Where the run ends, from the configuration and what is remembered of an earlier one."""
    goes_on = memory.towards == request.target
    return Goal(
        sources=tuple(ref.name for ref in groups.of(request.source)),
        targets=grouping.wanted(groups, request.target, memory),
        total=max(memory.total if goes_on else 0, len(world.old)),
        unhealthy_before=frozenset(memory.unhealthy) if goes_on else frozenset(),
        resume_rebalancing=memory.rebalancing,
    )


def remembered(memory: Memory, request: RefreshRequest, world: World, goal: Goal) -> Memory:
    """What the Lease must hold before the first change."""
    if memory.towards == request.target:
        return replace(memory, total=goal.total)
    sizes = {name: group.sizes for name, group in world.groups.items()} | dict(memory.sizes)
    for name in goal.sources:  # what is emptied now is what an undo gives back
        here = world.groups[name].sizes
        if here.desired > sizes[name].desired:
            sizes[name] = here
    on = {name for name, group in world.groups.items() if group.rebalancing}
    return Memory(
        towards=str(request.target),
        total=len(world.old),
        sizes=sizes,
        rebalancing=memory.rebalancing | on,
        unhealthy=tuple(sorted(unhealthy(world.unready.values()))),
    )


def nothing_to_do(world: World, goal: Goal, request: RefreshRequest, memory: Memory) -> bool:
    """No old node, no old instance, and the new groups are as they should be. Legacy groups that no refresh has
    shrunk are left at the sizes that their owner, or an autoscaler, gave them."""
    if world.old or any(i.alive and i.group in goal.sources for i in world.instances.values()):
        return False
    untouched = request.target is NodeKind.LEGACY and not memory.towards
    if untouched and any(i.alive and i.group in goal.targets for i in world.instances.values()):
        return True
    return Engine(world, request, goal).finished()
