"""Whether what was moved is ready again."""

from operations.refresh.engine.alarm import Alarm
from operations.refresh.model.terms import Awaited, Goal, Pace, controller
from operations.refresh.model.world import World


class Health:
    """Since when pods are not ready.

    Args:
        alarm: is set to when a pod will have taken too long.
    """

    def __init__(self, world: World, goal: Goal, pace: Pace, alarm: Alarm) -> None:
        self._world, self._goal, self._pace, self._alarm = world, goal, pace, alarm
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
        if done == 0:
            return ()
        grace, late = 0.0 if done == 1 else self._pace.recovery, list[Awaited]()
        for uid, since in self._since.items():
            pod = self._world.unready.get(uid)
            if pod is None or controller(pod) in self._goal.unhealthy_before:
                continue
            if self._alarm.over(now - since, grace, now):
                late.append(Awaited(f"pod {pod}", pod.problem or "is not ready", pod.node))
        return tuple(late)
