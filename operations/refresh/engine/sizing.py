"""Sizes of the groups: what they should be by now, and what is still missing."""

import math
from dataclasses import dataclass, field

from operations.refresh.model.actions import Action, Rebalance, Resize
from operations.refresh.model.request import RefreshRequest, Strategy
from operations.refresh.model.terms import Goal
from operations.refresh.model.values import Sizes
from operations.refresh.model.world import World


@dataclass
class Sizing:
    """Arithmetic over the world and the goal."""

    world: World
    request: RefreshRequest
    goal: Goal
    cramped: bool = field(default=False)
    """Pods fit nowhere: one new node more is needed, also where none should come ahead of time."""

    @property
    def done(self) -> int:
        """Old nodes that are gone, with their Node objects."""
        return max(0, self.goal.total - len(self.world.old))

    def needed(self, gone: int) -> int:
        """New nodes that must be ready when so many old ones are gone."""
        if self.goal.total == 0 or self.request.strategy is Strategy.SHRINK:
            return 0
        return min(self.goal.wanted, math.ceil(gone * self.goal.wanted / self.goal.total))

    @property
    def needed_at_the_end(self) -> int:
        return self.needed(self.goal.total)

    def in_service(self) -> list[str]:
        """Instances of the old groups that may have, or soon get, a node."""
        return [i.id for i in self.world.instances.values() if i.group in self.goal.sources and i.state == "in-service"]

    def complete(self) -> bool:
        """No old instance, every group at its size, every new node ready."""
        world = self.world
        if any(i.alive and i.group in self.goal.sources for i in world.instances.values()):
            return False
        if any(group.changing for group in world.groups.values()):
            return False  # what it will be, the next look tells
        if self.to_set(final=True) or self.rebalancing():
            return False
        return len(world.ready_new) >= self.needed_at_the_end

    def to_set(self, *, final: bool) -> list[Action]:
        """Groups whose sizes are not what they should be by now. No wish is lowered while pods may live there."""
        actions: list[Action] = []
        idle = final and not self.in_service()
        for name in self.goal.sources:
            group = self.world.groups.get(name)
            if group is None or group.changing:
                continue
            empty = idle and group.sizes.desired > 0
            if group.sizes.minimum > 0 or empty:
                actions.append(Resize(name, minimum=0, desired=0 if empty else None))
        for name, wish in self._grown(final).items():
            group = self.world.groups.get(name)
            if group is None or group.changing:
                continue
            desired = max(wish.desired, group.sizes.desired)
            fitting = Sizes(wish.minimum, desired, max(wish.maximum, desired, 1))
            if group.sizes != fitting:
                actions.append(Resize(name, fitting.minimum, fitting.desired, fitting.maximum))
        return actions

    def _grown(self, final: bool) -> dict[str, Sizes]:
        """What the target groups should be now: in full with `surge`, step by step with `replace`."""
        strategy = self.request.strategy
        if strategy is Strategy.SHRINK:
            return {}
        if strategy is Strategy.SURGE or final:
            return dict(self.goal.targets)
        alive = sum(i.alive and i.group in self.goal.sources for i in self.world.instances.values())
        ended = max(0, self.goal.total - alive)
        room, grown = self.needed(ended + self.cramped), {}
        for name, wish in self.goal.targets.items():
            desired = min(wish.desired, room)
            room -= desired
            grown[name] = Sizes(min(wish.minimum, desired), desired, wish.maximum)
        return grown

    def rebalancing(self) -> list[Action]:
        """Off while old nodes are there, on again afterwards where it was on before: also in groups that are filled,
        where a refresh in the other direction has left it off."""
        busy, actions = bool(self.world.old), list[Action]()
        for name, group in self.world.groups.items():
            if group.changing:
                continue
            if busy and group.rebalancing and name in self.goal.sources:
                actions.append(Rebalance(name, allowed=False))
            elif not busy and not group.rebalancing and name in self.goal.resume_rebalancing:
                actions.append(Rebalance(name, allowed=True))
        return actions
