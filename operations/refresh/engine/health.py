"""Whether what was moved is ready again."""

from collections.abc import Iterator
from math import inf

from operations.refresh.model.terms import Awaited, Goal, Pace, controller
from operations.refresh.model.values import Pod
from operations.refresh.model.world import World


class Health:
    """Since when pods are not ready."""

    def __init__(self, world: World, goal: Goal, pace: Pace) -> None:
        self._world, self._goal, self._pace = world, goal, pace
        self._since: dict[str, float] = {}

    def look(self, now: float) -> None:
        """Before anything is decided."""
        self._since = {uid: self._since.get(uid, now) for uid in self._world.unready}

    def homeless(self, now: float) -> bool:
        """Pods have found no node for a while."""
        unready = self._world.unready
        waited = (now - since for uid, since in self._since.items() if not unready[uid].node)
        return max(waited, default=0.0) >= self._pace.recovery

    def hold(self, done: int, now: float) -> tuple[Awaited, ...]:
        """Workloads that must be ready again before a further node begins: any after the first node, later those
        that take too long.

        Args:
            done: old nodes that are gone.
        """
        grace = self._grace(done)
        late = (pod for pod, waited in self._awaited(done, now) if waited >= grace)
        return tuple(Awaited(f"pod {pod}", pod.problem or "is not ready", pod.node) for pod in late)

    def next_at(self, done: int, now: float) -> float:
        """When a further workload will have taken too long."""
        grace = self._grace(done)
        return min((now + grace - waited for _, waited in self._awaited(done, now) if waited < grace), default=inf)

    def _grace(self, done: int) -> float:
        return 0.0 if done == 1 else self._pace.recovery

    def _awaited(self, done: int, now: float) -> Iterator[tuple[Pod, float]]:
        """What was moved and is not ready, and for how long."""
        for uid, since in self._since.items() if done else ():
            pod = self._world.unready.get(uid)
            if pod is not None and controller(pod) not in self._goal.unhealthy_before:
                yield pod, now - since
