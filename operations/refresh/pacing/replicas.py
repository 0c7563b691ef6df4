"""Replicas without a PodDisruptionBudget: no more are taken at once than the workload's own rolling update would take.

Nobody but the refresh keeps to it, so what it asked for counts until the watch shows what became of it.
"""

from collections import Counter
from dataclasses import dataclass, field

from operations.refresh.model.answers import Answer
from operations.refresh.model.terms import SHOWN_LATE, Goal, controller
from operations.refresh.model.values import Pod, WorkloadKey
from operations.refresh.model.world import World

_UNSURE = frozenset({Answer.EVICTED, Answer.LOST, Answer.SERVER, None})
"""After these answers the pod may be on its way out."""


@dataclass
class Replicas:
    """Evictions that the watch does not show yet."""

    world: World
    goal: Goal
    _asked: dict[str, tuple[WorkloadKey, float]] = field(default_factory=dict)
    """Pod -> its workload, and when it was asked for."""
    _out: Counter[WorkloadKey] = field(default_factory=Counter)
    _absent: dict[WorkloadKey, float] = field(default_factory=dict)
    """Workload -> since when replicas of it were wanted and not there."""
    _now: float = 0.0

    def look(self, now: float) -> None:
        """Forget what the watch shows by now, or has had the time to."""
        self._now = now
        for uid, (_, at) in list(self._asked.items()):
            pod = self.world.pods.get(uid)
            if pod is None or pod.terminating or now > at + SHOWN_LATE:
                self._forget(uid)

    def begin(self, pod: Pod, now: float) -> None:
        """It is asked for."""
        key = pod.workload
        if key is not None and pod.ready and pod.uid not in self._asked:
            self._asked[pod.uid] = key, now
            self._out[key] += 1

    def end(self, uid: str, answer: Answer | None) -> None:
        """What became of it."""
        if answer not in _UNSURE:
            self._forget(uid)

    def _forget(self, uid: str) -> None:
        found = self._asked.pop(uid, None)
        if found is not None:
            self._out[found[0]] -= 1

    def see(self, pod: Pod) -> None:
        """Before it is asked whether a pod must stay: since when are its like absent?"""
        key = self._counted(pod)
        if key is None:
            return
        absent = bool(self.world.present.absent(key))
        if absent != (key in self._absent) and controller(pod) not in self.goal.unhealthy_before:
            if absent:
                self._absent[key] = self._now
            else:
                del self._absent[key]

    @staticmethod
    def _counted(pod: Pod) -> WorkloadKey | None:
        """The workload of a pod whose absence counts here. A budget itself says what may be missing of its pods, and
        one that is not ready is missing already."""
        return pod.workload if pod.ready and not pod.budgets else None

    def short(self, pod: Pod, chosen: Counter[WorkloadKey]) -> bool:
        """Whether a pod must stay for now, as too many of its like are missing.

        Args:
            chosen: pods chosen in this round.
        """
        key = self._counted(pod)
        if key is None:
            return False
        missing = self._out[key] + chosen[key]
        # what was broken before need not be whole before it moves, or it never would
        if controller(pod) not in self.goal.unhealthy_before:
            missing += self.world.present.unready(key) + self._gap(key)
        return missing >= self.world.present.at_once(key)

    def _gap(self, key: WorkloadKey) -> int:
        """Replicas that were taken and not yet made anew. Those that are not made for long nobody took: a quota, or a
        list of workloads that is older than its pods."""
        return self.world.present.absent(key) if self._now - self._absent.get(key, self._now) <= SHOWN_LATE else 0
