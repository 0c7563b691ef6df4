"""Which nodes begin next: a rolling schedule, tightest budget first.

Each PodDisruptionBudget is a station that serves so many pods at once. A node is let in when the queues of all its
stations are short, so that no slot of the node budget is spent on waiting, and no station runs dry: a greedy list
schedule with the longest work first (Garey and Graham).
"""

from collections import Counter
from collections.abc import Collection

from operations.refresh.request import Budget
from operations.refresh.values import BudgetKey, Node
from operations.refresh.world import World

QUEUE: int = 2
"""How many times what it allows may stand before a budget: being served, and next."""


def wave(done: int) -> int:
    """Most nodes at once: one until the first has gone through every check, then twice as many as have."""
    return 1 if done == 0 else 2 * done


class Queues:
    """The queues before all budgets, told once for each budget and not for each of thousands of nodes."""

    def __init__(self, world: World) -> None:
        self._carries = world.carries
        self.slots = {key: world.slots(key) for key in world.load}
        """Pods that each budget lets go at once; one at least."""
        self.lengths = {key: world.queue(key) for key in world.load}
        self._never = {key for key in world.load if key in world.budgets and world.budgets[key].whole == 0}

    def weight(self, node: str) -> tuple[float, float]:
        """How long the longest queue is that a node's pods stand in, and how much of it is on the node: of
        nodes under the same budget the one with most of its pods keeps that budget busy on its own."""
        carried = self._carries.get(node, Counter[BudgetKey]())
        return max(((self.lengths[key], n / self.slots[key]) for key, n in carried.items()), default=(0.0, 0.0))

    def stuck(self, node: str) -> bool:
        """A budget never lets one of its pods go."""
        return not self._never.isdisjoint(self._carries.get(node, ()))


def choose(
    world: World, *, active: set[str], room: int, zone_budget: Budget | None = None, held: Collection[str] = ()
) -> list[str]:
    """Names of old nodes to begin with now, at most `room`."""
    waiting = [node for name, node in world.old.items() if name not in active and name not in held]
    if room <= 0 or not waiting:
        return []
    zones: Counter[str] = Counter(world.old[name].zone for name in active if name in world.old)
    sizes = Counter(node.zone for node in world.old.values())
    queued: Counter[BudgetKey] = Counter()
    for name in active:
        queued.update(world.carries.get(name, Counter()))

    queues = Queues(world)

    def rank(node: Node) -> tuple[bool, float, float, int, str]:
        length, part = queues.weight(node.name)
        return queues.stuck(node.name), -length, -part, zones[node.zone], node.name

    chosen: list[str] = []
    for node in sorted(waiting, key=rank):
        if len(chosen) >= room:
            break
        if zone_budget is not None and zones[node.zone] >= zone_budget.of(sizes[node.zone]):
            continue
        carried = world.carries.get(node.name, Counter())
        if any(queued[key] and queued[key] + n > QUEUE * queues.slots[key] for key, n in carried.items()):
            continue
        if chosen and queues.stuck(node.name):
            continue
        chosen.append(node.name)
        zones[node.zone] += 1
        queued.update(carried)
    return chosen
