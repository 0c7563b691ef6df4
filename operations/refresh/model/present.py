"""Replicas of workloads, wherever they are: how many are wanted, there, and ready."""

from collections import Counter
from collections.abc import Iterable

from operations.refresh.model.values import Pod, Workload, WorkloadKey, share


class Present:
    """Kept up pod by pod."""

    def __init__(self) -> None:
        self.workloads: dict[WorkloadKey, Workload] = {}
        """Those of which is known how many replicas they want."""
        self.pods: dict[str, tuple[WorkloadKey, bool]] = {}
        """Pod that is not stopping -> what it belongs to, and whether it is ready."""
        self._there: Counter[WorkloadKey] = Counter()
        self._ready: Counter[WorkloadKey] = Counter()

    def add(self, pod: Pod) -> None:
        key = None if pod.stays or pod.terminating else pod.workload
        if key is not None:
            self.pods[pod.uid] = key, pod.ready
            self._there[key] += 1
            self._ready[key] += pod.ready

    def remove(self, uid: str) -> None:
        found = self.pods.pop(uid, None)
        if found is not None:
            self._there[found[0]] -= 1
            self._ready[found[0]] -= found[1]

    def replace(self, kind: str, workloads: Iterable[Workload]) -> None:
        """All of a kind, after a list."""
        others = {key: known for key, known in self.workloads.items() if key[0] != kind}
        self.workloads = others | {workload.key: workload for workload in workloads}

    def at_once(self, key: WorkloadKey) -> int:
        """How many replicas of a workload may be missing at once; one at least."""
        known = self.workloads.get(key)
        return known.at_once if known is not None else share(self._there[key])

    def unready(self, key: WorkloadKey) -> int:
        """Replicas that are there and not ready."""
        return self._there[key] - self._ready[key]

    def absent(self, key: WorkloadKey) -> int:
        """Replicas that are wanted and not there, as far as is known."""
        known = self.workloads.get(key)
        return max(0, known.replicas - self._there[key]) if known is not None else 0
