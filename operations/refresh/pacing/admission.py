"""Which nodes begin next: a rolling schedule, tightest budget first.

Each PodDisruptionBudget is a station that serves so many pods at once. A node is let in when the queues of all its
stations are short, so that no slot of the node budget is spent on waiting, and no station runs dry: a greedy list
schedule with the longest work first (Garey and Graham).
"""

from collections import Counter
from collections.abc import Collection, Iterator
from itertools import groupby

from operations.refresh.model.request import NodeBudget
from operations.refresh.model.values import BudgetKey
from operations.refresh.model.world import World

QUEUE: int = 2
"""How many times what it allows may stand before a budget: being served, and next."""


def wave(done: int) -> int:
    """Most nodes at once: one until the first has gone through every check, then twice as many as have."""
    return 1 if done == 0 else 2 * done


class Queues:
    """The queues before all budgets, told once for each budget and not for each of thousands of nodes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.slots = {key: world.slots(key) for key in world.remaining.under}
        """Pods that each budget lets go at once; one at least."""
        self.lengths = {key: world.queue(key) for key in world.remaining.under}
        self._never = {key for key in world.remaining.under if key in world.budgets and world.budgets[key].whole == 0}

    def carried(self, node: str) -> Counter[BudgetKey]:
        """How many pods of a node stand in each queue."""
        return self._world.remaining.of_node.get(node, Counter())

    def rank(self, node: str, *, first: bool = False) -> tuple[bool, float, float]:
        """The less, the sooner it should begin: by the longest queue that its pods stand in, and by how much of that
        queue is on the node: of nodes under the same budget the one with most of its pods keeps that budget busy on its
        own.

        Args:
            first: everything else waits until this one has gone: the fewest turns that its pods need instead.
        """
        carried = self.carried(node)
        length, part = max(((self.lengths[key], n / self.slots[key]) for key, n in carried.items()), default=(0.0, 0.0))
        turns = max((n / self.slots[key] for key, n in carried.items()), default=0.0)
        return self.stuck(node), -length, turns if first else -part

    def stuck(self, node: str) -> bool:
        """A budget never lets one of its pods go."""
        return not self._never.isdisjoint(self.carried(node))

    def in_order(self, zones: Counter[str]) -> Iterator[str]:
        """Old nodes by their rank, then by how many of a zone are on their way: only as many are looked at as are
        asked for, and those that stand in the same queue.

        Args:
            zones: nodes on their way by zone.
        """
        old, told, stuck = self._world.old, set[str](), list[str]()
        for _, keys in groupby(sorted(self.lengths, key=lambda k: (-self.lengths[k], k)), self.lengths.__getitem__):
            parts = dict[str, float]()
            for key in keys:
                for name, n in self._world.remaining.of_budget[key].items():
                    parts[name] = max(parts.get(name, 0.0), n / self.slots[key])
            here = [(-part, zones[old[name].zone], name) for name, part in parts.items() if name in old]
            for _, _, name in sorted(here):
                if name not in told:
                    told.add(name)
                    if self.stuck(name):
                        stuck.append(name)
                    else:
                        yield name
        yield from sorted(old.keys() - told, key=lambda name: (zones[old[name].zone], name))
        yield from stuck


def choose(
    world: World,
    *,
    active: set[str],
    room: int,
    zone_node_budget: NodeBudget | None = None,
    held: Collection[str] = (),
    first: bool = False,
    only: BudgetKey | None = None,
) -> list[str]:
    """Names of old nodes to begin with now, at most `room`.

    Args:
        first: everything else waits until this one has gone.
        only: nodes with pods under this budget alone.
    """
    if room <= 0 or not world.old:
        return []
    zones: Counter[str] = Counter(world.old[name].zone for name in active if name in world.old)
    sizes = Counter(node.zone for node in world.old.values()) if zone_node_budget is not None else Counter()
    queued: Counter[BudgetKey] = Counter()
    for name in active:
        queued.update(world.remaining.of_node.get(name, Counter()))

    queues = Queues(world)
    by_rank = queues.in_order(Counter(zones))
    if first:
        by_rank = iter(sorted(world.old, key=lambda name: (*queues.rank(name, first=True), name)))
    chosen: list[str] = []
    for name in by_rank:
        if len(chosen) >= room:
            break
        zone, carried = world.old[name].zone, queues.carried(name)
        if name in active or name in held or (only is not None and only not in carried):
            continue
        if zone_node_budget is not None and zones[zone] >= zone_node_budget.of(sizes[zone]):
            continue
        if any(queued[key] and queued[key] + n > QUEUE * queues.slots[key] for key, n in carried.items()):
            continue
        if chosen and queues.stuck(name):
            continue
        chosen.append(name)
        zones[zone] += 1
        queued.update(carried)
    return chosen
