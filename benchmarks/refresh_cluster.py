"""The cluster of the refresh benchmark: a control plane with simulated nodes, filled once, put back for each run."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from kubernetes import config

from benchmarks import refresh_scenario as scenario
from benchmarks.refresh_scenario import BUDGETS, ENDING, NEW_CAPACITY, PODS_A_NODE, REPLICA_SETS, App, Scenario
from kube.transport import MERGE
from operations.access.connection import Api
from operations.refresh.cluster.kube import Kube
from sandbox import lifecycle

LEASE_SECONDS = 600
"""The heartbeats of thousands of simulated nodes would take a processor of their own."""
QUIET = 0.25
"""Processor time of the API server, seconds a second, from which on nothing goes on in the cluster any more."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Cluster:
    """Old nodes with all workloads on them, and empty new ones.

    Args:
        directory: of the sandbox. Its save is used when it is of the same scenario, and otherwise made.
    """

    def __init__(self, directory: Path, given: Scenario) -> None:
        self.directory, self.given = directory, given
        self.kubeconfig = directory / "kubeconfig"
        self.old = [f"old-{n}" for n in range(given.nodes)]
        """Group by group."""
        self.new = {f"new-{n}": pool for n, pool in enumerate(given.new_pools())}
        """Names with the pool that each belongs to."""

    def ready(self) -> None:
        """Every pod runs on an old node, whatever was before; returns when the cluster is quiet."""
        save = f"filled-{self.given.digest()}"
        if save in lifecycle.status(self.directory)["saves"]:
            lifecycle.restore(self.directory, save, say)
            self._connect()
            self._whole(300)
        else:
            lifecycle.up(self.directory, say, daemon=False, lease_seconds=LEASE_SECONDS)
            self._connect()
            self._fill()
            self._whole(1800)
            lifecycle.save(self.directory, save, say)
        self._until(self._quiet, 300, "a quiet API server")

    def down(self, *, keep: bool) -> None:
        lifecycle.down(self.directory, say, purge=not keep)

    def _connect(self) -> None:
        self.api = Api(config.new_client_from_config(str(self.kubeconfig))).wide(24)
        self.kube = Kube(self.api)

    def _fill(self) -> None:
        given, new = self.given, list(self.new.items())
        say(f"filling {given.nodes} nodes with {given.pods} pods (kept for the next run)")
        for namespace in {app.namespace for app in given.apps}:
            self._post("/api/v1/namespaces", {"metadata": {"name": namespace}})
        self._post("/apis/apps/v1/namespaces/kube-system/daemonsets", scenario.agents())

        def old(n: int) -> None:
            self._post("/api/v1/nodes", scenario.node(self.old[n], "aws", n, PODS_A_NODE, given.pool(n)))

        def fresh(n: int) -> None:
            self._post("/api/v1/nodes", scenario.node(new[n][0], "cilium", n, NEW_CAPACITY + 10, new[n][1]))

        _each(old, range(len(self.old)))
        # as many at a time as are soon ready: thousands of new pods at once only wait for each other
        for app in given.apps:
            self._apply(app)
            self._until(lambda: self._pending() < 300, 1800, "pods ready")
        # a pod that is still to be made would find the new nodes
        self._until(lambda: self._ready_pods() == given.pods, 1800, "all pods ready")
        _each(fresh, range(len(new)))

    def _apply(self, app: App) -> None:
        self._post(REPLICA_SETS.of(app), scenario.replica_set(app))
        if app.may_miss:
            self._post(BUDGETS.of(app), scenario.budget(app))

    def _pending(self) -> int:
        path = "/api/v1/pods?limit=500&fieldSelector=status.phase%3DPending"
        return len(self.kube.request("GET", path).body.get("items") or [])

    def _whole(self, seconds: float) -> None:
        self._until(lambda: self._ready_pods() == self.given.pods, seconds, f"{self.given.pods} pods ready")
        self._until(lambda: self._agents_ready() == len(self.new), seconds, "agents ready")
        self._until(self._budgets_whole, seconds, "budgets counted")

    def _ready_pods(self) -> int:
        return sum(int(s.get("status", {}).get("readyReplicas", 0)) for s in self._items(REPLICA_SETS.all))

    def _agents_ready(self) -> int:
        found = self.kube.request("GET", "/apis/apps/v1/namespaces/kube-system/daemonsets/cilium").body
        return int(found.get("status", {}).get("numberReady", 0))

    def _budgets_whole(self) -> bool:
        return all(b.get("status", {}).get("disruptionsAllowed", 0) > 0 for b in self._items(BUDGETS.all))

    def _quiet(self) -> bool:
        before = self.server_cpu()
        time.sleep(4)
        return (self.server_cpu() - before) / 4 < QUIET

    def cordon(self) -> None:
        """All old nodes, before a clock runs: `kubectl cordon` takes 0.4 s for each."""

        def close(name: str) -> None:
            response = self.kube.request("PATCH", f"/api/v1/nodes/{name}", {"spec": {"unschedulable": True}}, MERGE)
            if not response.ok:
                raise RuntimeError(f"cordon {name}: {response.text}")

        _each(close, self.old)

    def evictions(self) -> float:
        """Evictions that the API server has answered, by its own metrics."""
        return sum(v for k, v in self.metrics("apiserver_request_total").items() if 'subresource="eviction"' in k)

    def server_cpu(self) -> float:
        """Processor time of the API server so far, seconds."""
        return self.metrics("process_cpu_seconds_total").get("process_cpu_seconds_total", 0.0)

    def turned_away(self) -> float:
        """Requests that the API server had no room for, so far."""
        return sum(self.metrics("apiserver_flowcontrol_rejected_requests_total").values())

    def metrics(self, name: str) -> dict[str, float]:
        text = self.api.text("/metrics", seconds=30)
        rows = (line.rsplit(" ", 1) for line in text.splitlines() if line.startswith(name))
        return {key: float(value) for key, value in rows}

    def _items(self, path: str) -> list[Any]:
        return list(self.kube.request("GET", path, seconds=60).body.get("items") or [])

    def _post(self, path: str, body: dict[str, Any]) -> None:
        response = self.kube.request("POST", path, body)
        if not response.ok and response.status != 409:
            raise RuntimeError(f"POST {path}: {response.text}")

    @staticmethod
    def _until(true: Callable[[], bool], seconds: float, what: str) -> None:
        end = time.monotonic() + seconds
        while not true():
            if time.monotonic() > end:
                raise RuntimeError(f"not within {seconds:.0f} s: {what}")
            time.sleep(0.5)


def end_node(kube: Kube, name: str) -> None:
    """The instance of a node ends: the same for all three."""
    time.sleep(ENDING)
    kube.request("DELETE", f"/api/v1/nodes/{name}")


def _each(what: Callable[[Any], object], items: Iterable[Any]) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(what, items))
