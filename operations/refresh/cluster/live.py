"""A world that is kept up by watches."""

import queue
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from kube.watch import Changed, Listed, Lister, Trouble, Watcher
from operations.refresh.cluster import parse
from operations.refresh.cluster.kube import Kube
from operations.refresh.cluster.rights import RIGHTS
from operations.refresh.model.world import World
from reading.failure import UNKNOWN, Failure

FIRST_LISTS_SECONDS: Final = 60.0
WORKLOADS: Final = {"Deployment": "/apis/apps/v1/deployments", "StatefulSet": "/apis/apps/v1/statefulsets"}
"""Kind -> where it is listed: how many replicas are wanted, and how many may be missing."""


class UnreadableError(Failure):
    """The cluster cannot be read: nothing is known, so nothing is done."""

    exit_code = UNKNOWN


@dataclass
class Live:
    """See the module.

    Args:
        kube: to ask.
        world: is filled.
    """

    kube: Kube
    world: World
    events: "queue.SimpleQueue[Any]" = field(default_factory=queue.SimpleQueue)
    troubles: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        make_pod = partial(parse.pod, target_cni=self.world.target)
        self._watchers = [
            Watcher(self.kube.transport, kind, path, make, self.events)
            for kind, path, make in (
                ("nodes", "/api/v1/nodes", parse.node),
                ("budgets", "/apis/policy/v1/poddisruptionbudgets", parse.budget),
                ("pods", "/api/v1/pods", make_pod),
                ("attachments", "/apis/storage.k8s.io/v1/volumeattachments", parse.attachment),
            )
        ]
        self._watchers += [
            Lister(self.kube.transport, path.rsplit("/", 1)[-1], path, partial(parse.workload, kind=kind), self.events)
            for kind, path in WORKLOADS.items()
        ]
        self._listed: set[str] = set()
        self._early: list[Any] = []

    def start(self, seconds: float = FIRST_LISTS_SECONDS) -> None:
        """Begin, and wait until every kind was read once.

        Raises:
            UnreadableError: that took too long.
        """
        for watcher in self._watchers:
            watcher.start()
        end = time.monotonic() + seconds
        while len(self._listed) < len(self._watchers):
            try:
                self._take(self.events.get(timeout=max(0.05, end - time.monotonic())))
            except queue.Empty:
                raise UnreadableError(
                    f"the API server did not list {', '.join(self._missing())} within {seconds:.0f} s"
                    + (f": {'; '.join(self.troubles.values())}" if self.troubles else "")
                ) from None

    def _missing(self) -> list[str]:
        return sorted({watcher.kind for watcher in self._watchers} - self._listed)

    def _take(self, event: Any) -> None:
        """Before all is listed: nodes and budgets first, because pods are filed by them."""
        if isinstance(event, Trouble):
            if event.denied:
                raise UnreadableError(f"this identity may not read {event.kind}: {event.text}. {RIGHTS}")
            self.apply(event)
            return
        if isinstance(event, Listed):
            self._listed.add(event.kind)
        self._early.append(event)
        if not self._missing():
            order = {"nodes": 0, "budgets": 1}
            for early in sorted(self._early, key=lambda e: order.get(e.kind, 2)):  # stable: a kind keeps its order
                self.apply(early)
            self._early.clear()

    def stop(self) -> None:
        for watcher in self._watchers:
            watcher.halt()

    def apply(self, event: Any) -> None:
        world = self.world
        match event:
            case Listed("nodes", items):
                world.replace_nodes(items)
            case Listed("pods", items):
                world.replace_pods(items)
            case Listed("budgets", items):
                world.replace_budgets(items)
            case Listed("attachments", items):
                world.replace_attachments(items)
            case Listed("deployments", items):
                world.present.replace("Deployment", items)
            case Listed("statefulsets", items):
                world.present.replace("StatefulSet", items)
            case Changed("nodes", gone, node):
                world.lose_node(node.name) if gone else world.see_node(node)
            case Changed("pods", gone, pod):
                world.lose_pod(pod.uid) if gone else world.see_pod(pod)
            case Changed("budgets", gone, budget):
                world.lose_budget(budget.key) if gone else world.see_budget(budget)
            case Changed("attachments", gone, (name, node)):
                world.lose_attachment(name) if gone else world.see_attachment(name, node)
            case Trouble(kind, text, _):
                self.troubles.pop(kind, None)
                if text:
                    self.troubles[kind] = text
