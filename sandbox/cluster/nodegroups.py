"""Draining, as EKS does it when it deletes or replaces nodes of a managed group: cordon, evict, wait.

`sandbox.aws.eks.nodegroup_life` asks for it by `drain` in an instance, with the time after which it no longer
waits; what is done is written back as `done`.
"""

from __future__ import annotations

import logging
from typing import Any

from sandbox.world import Controller, KubeError, World

__all__ = ["DrainController", "controllers", "movable"]

log = logging.getLogger(__name__)

Json = dict[str, Any]
_RETRY = 1.0  # seconds between two evictions of the same pod


def movable(pod: Json) -> bool:
    """Whether a drain evicts this pod: not a DaemonSet's, not a mirror pod, not finished."""
    metadata = pod["metadata"]
    owners = metadata.get("ownerReferences") or []
    return (
        not any(owner["kind"] == "DaemonSet" for owner in owners)
        and "kubernetes.io/config.mirror" not in (metadata.get("annotations") or {})
        and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
    )


class DrainController:
    """Empties the nodes of instances that are to be drained."""

    name = "nodegroups"

    def __init__(self, world: World) -> None:
        self._world = world
        self._aws = world.aws
        self._aws.subscribe(world.wakeup)
        self._nodes = world.informer("/api/v1/nodes")
        self._pods = world.informer("/api/v1/pods")
        self._tried: dict[str, float] = {}

    def reconcile(self) -> None:
        """One round of evictions on every instance that is being drained."""
        with self._aws.lock:
            waiting = [i for i in self._aws.table("ec2.instances").values() if not i.get("drain", {}).get("done", True)]
        if not waiting or not self._pods.synced:
            return
        for instance in waiting:
            if self._drain(instance.get("node", {}).get("name", "")):
                with self._aws.change():
                    instance["drain"]["done"] = True

    def _drain(self, name: str) -> bool:
        node = self._nodes.get(name) if name else None
        if node is None:
            return True
        if not node["spec"].get("unschedulable"):
            self._world.patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": True}})
        left = [pod for pod in self._pods.list() if pod["spec"].get("nodeName") == name and movable(pod)]
        for pod in left:
            self._evict(pod)
        return not left

    def _evict(self, pod: Json) -> None:
        metadata, now = pod["metadata"], self._aws.now()
        if metadata.get("deletionTimestamp") or now < self._tried.get(metadata["uid"], 0.0) + _RETRY:
            return
        self._tried[metadata["uid"]] = now
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/eviction"
        reference = {"name": metadata["name"], "namespace": metadata["namespace"]}
        try:
            self._world.call("POST", path, {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": reference})
        except KubeError as error:
            if error.status not in (404, 429):
                log.warning("eviction of %s/%s: %s", metadata["namespace"], metadata["name"], error)


controllers = [DrainController]
_: type[Controller] = DrainController
