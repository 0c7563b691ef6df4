"""In which order nodes would begin, if each wave waited for the one before: first fit by rank.

What fills up while a wave is packed (a budget, a workload, a zone) is a station. A node that does not fit waits at the
first station that is full, and of those that wait there with the same load only the first is looked at again, as the
others would not fit either. So a wave costs what it takes in, not a look at all that is left.
"""

from collections import Counter, defaultdict
from heapq import heapify, heappop, heappush

from operations.refresh.model.request import RefreshRequest
from operations.refresh.model.world import World
from operations.refresh.pacing import admission

Station = tuple[str, ...]
Queue = tuple[Station, int]
"""Where a node waits, and with how many pods."""


def waves(world: World, request: RefreshRequest, total: int) -> tuple[tuple[str, ...], ...]:
    """Names of nodes, wave by wave. A run does not wait: as soon as a node is done, the next one begins.

    Args:
        total: old nodes when the refresh began.
    """
    packing, found = _Packing(world, request), list[tuple[str, ...]]()
    done = max(0, total - len(world.old))  # nodes may have joined since
    while packing.left:
        most = min(request.node_budget.of(total), admission.wave(done))
        names = packing.wave(most) if done else packing.first()
        found.append(tuple(names))
        done += len(names)
    return tuple(found)


class _Packing:
    """Nodes that are in no wave yet."""

    def __init__(self, world: World, request: RefreshRequest) -> None:
        self.left = set(world.old)
        self._queues = admission.Queues(world)
        self._room: dict[Station, int] = {}
        self._loads = {name: self._loaded(world, request, name) for name in world.old}
        if request.zone_node_budget is not None:
            for zone, nodes in Counter(node.zone for node in world.old.values()).items():
                self._room["zone", zone] = request.zone_node_budget.of(nodes)
        order = sorted(world.old, key=lambda name: (*self._queues.rank(name), name))
        self._next: list[tuple[int, str, Queue | None]] = [(place, name, None) for place, name in enumerate(order)]
        self._waiting: dict[Queue, list[tuple[int, str]]] = defaultdict(list)

    def _loaded(self, world: World, request: RefreshRequest, name: str) -> dict[Station, int]:
        """Station -> what a node takes there."""
        found: Counter[Station] = Counter()
        for pod in world.leaving(name):
            key = None if pod.budgets or pod.terminating else pod.workload
            if key is not None:
                found[key] += 1
                self._room[key] = world.present.at_once(key)
        for budget, pods in self._queues.carried(name).items():
            found["budget", *budget, ""] += pods
            self._room["budget", *budget, ""] = self._queues.slots[budget]
        if request.zone_node_budget is not None:
            found["zone", world.old[name].zone] = 1
        return found

    def first(self) -> list[str]:
        """The one that everything else waits for."""
        name = min(self.left, key=lambda name: (*self._queues.rank(name, first=True), name))
        self.left.discard(name)
        self._next = [item for item in self._next if item[1] != name]
        heapify(self._next)
        return [name]

    def wave(self, most: int) -> list[str]:
        """As many nodes as fit; one at least."""
        used: Counter[Station] = Counter()
        chosen: list[str] = []
        full: set[Queue] = set()
        while self._next and len(chosen) < most:
            place, name, queue = heappop(self._next)
            loads = self._loads[name]
            at = next((s for s, load in loads.items() if chosen and used[s] + load > self._room[s]), None)
            if at is None:
                chosen.append(name)
                used.update(loads)
            else:
                own = at, loads[at]
                heappush(self._waiting[own], (place, name))
                full.add(own)
            if queue is not None and queue not in full:
                self._call(queue)
        for queue in full:
            self._call(queue)
        self.left.difference_update(chosen)
        return chosen

    def _call(self, queue: Queue) -> None:
        """Let the first of a queue be looked at again."""
        waiting = self._waiting[queue]
        if waiting:
            heappush(self._next, (*heappop(waiting), queue))
