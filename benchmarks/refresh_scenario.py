"""The scenario of the refresh benchmark: workloads, their budgets, and the lower bound that follows from them alone."""

# ruff: noqa: S311

from __future__ import annotations

import hashlib
import json
import math
import random
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from migration.names import CNI_LABEL
from operations.refresh.model.request import CNI_OF, RefreshRequest
from operations.refresh.model.values import DisruptionBudget, Node, Owner, Pod
from operations.refresh.model.world import World
from operations.refresh.plan.bound import Bound, Times, lower_bound

SEED = 5
PODS_A_NODE = 10
"""Old nodes have room for no more. Of more than a hundred nodes the scheduler looks at some only, so a pod may land on
an old node that has room, though others are preferred, and be moved once more: with (c) alone, since (a) and (b) close
all nodes before, which a cluster under load does not always survive."""
LARGE = 500
"""Nodes from which on a cluster has applications of full size."""
AT_ONCE, AT_ONCE_LARGE = 1 / 20, 1 / 30
"""Share of the nodes on their way out at once, for (b) and (c); three at least."""
ENDING = 0.5
"""Seconds from the end of an instance until its Node object is gone, the same for all three."""
NEW_CAPACITY = 100
"""Pods for which a new node is made."""
START, STOP = (0.5, 1.0, 2.0, 5.0), (0.2, 1.0, 2.0, 5.0)
ZONES = ("a", "b", "c")
STATEFUL, STATELESS = "stateful", "stateless"
APPS_A_NAMESPACE = 5
POOL = 0.2
"""Share of the nodes that is set apart for what is stateful: the last group, as people keep it for last."""
LARGEST, TIGHT = 120, (20, 30, 40, 50)
"""Replicas of applications that may miss one pod at a time, and take the longest to start: one, and all others."""
TIGHT_SHARE = 0.77
"""Of the pods of the stateful nodes."""


@dataclass(frozen=True)
class App:
    """A ReplicaSet and its budget. A Deployment over it would only copy its status, with a quarter of all writes."""

    name: str
    pool: str
    replicas: int
    may_miss: int
    """maxUnavailable of its PodDisruptionBudget; 0: it has none."""
    start: float
    stop: float
    namespace: str


@dataclass(frozen=True)
class Kind:
    """Where objects of a namespaced kind are."""

    api: str
    plural: str

    @property
    def all(self) -> str:
        return f"{self.api}/{self.plural}"

    def of(self, app: App) -> str:
        return f"{self.api}/namespaces/{app.namespace}/{self.plural}"


REPLICA_SETS, BUDGETS = Kind("/apis/apps/v1", "replicasets"), Kind("/apis/policy/v1", "poddisruptionbudgets")


def stateful(nodes: int) -> int:
    """Nodes of the stateful pool."""
    return max(2, round(POOL * nodes))


@dataclass(frozen=True)
class Scenario:
    """The workloads of a cluster of so many old nodes, ten pods a node."""

    nodes: int
    apps: tuple[App, ...]

    @property
    def pods(self) -> int:
        return sum(app.replicas for app in self.apps)

    @property
    def budget(self) -> str:
        """Nodes on their way out at once."""
        share = AT_ONCE_LARGE if self.nodes >= LARGE else AT_ONCE
        return str(max(3, round(share * self.nodes)))

    def pool(self, number: int) -> str:
        """Of the old node with this number."""
        return STATELESS if number < self.nodes - stateful(self.nodes) else STATEFUL

    def new_pools(self) -> list[str]:
        """One for each new node: enough of them for all pods."""
        pods = Counter[str]()
        for app in self.apps:
            pods[app.pool] += app.replicas
        return [pool for pool, number in pods.items() for _ in range(math.ceil(number / NEW_CAPACITY))]

    def digest(self) -> str:
        """Twelve characters that differ when anything does."""
        manifests = [[replica_set(app), budget(app), app.pool] for app in self.apps]
        everything = json.dumps([self.nodes, PODS_A_NODE, asdict(REPLICA_SETS), manifests, agents()])
        return hashlib.sha256(everything.encode()).hexdigest()[:12]


def scenario(nodes: int) -> Scenario:
    """Uneven on purpose.

    A fifth of the nodes is a group of its own, as databases and queues often have one. Most of its pods belong to
    applications that may miss one pod at a time (what most charts ship) and take five seconds to start; one of these
    is larger than the others, and binds. Of all other applications two in five may miss one pod too, and as many each a
    tenth, a third, or any (no budget); none binds more than half as much. Small clusters have smaller applications.
    """
    rng, apps = random.Random(SEED), list[App]()
    smaller = 1 if nodes >= LARGE else 3 if nodes >= 50 else 10
    largest, others = LARGEST // smaller, [max(2, size // smaller) for size in TIGHT]
    sets = max(1, round((TIGHT_SHARE * stateful(nodes) * PODS_A_NODE - largest) / sum(others)))
    tight = [largest, *(others * sets)]

    def team() -> str:
        return f"team-{len(apps) // APPS_A_NAMESPACE}"

    for size in tight:
        apps.append(App(f"tight-{len(apps)}", STATEFUL, size, 1, max(START), rng.choice(STOP), team()))
    half = largest * max(START) / 2
    left = {STATEFUL: stateful(nodes) * PODS_A_NODE - sum(tight)}
    left[STATELESS] = (nodes - stateful(nodes)) * PODS_A_NODE
    for pool, pods in left.items():
        more = pods
        while more > 0:
            size, start = min(more, rng.choice((5, 10, 20, 40, 80))), rng.choice(START)
            share = rng.choice((size, size, 10, 3, 0))
            may_miss = max(1, size // share, math.ceil(size * start / half)) if share else 0
            apps.append(App(f"app-{len(apps)}", pool, size, may_miss, start, rng.choice(STOP), team()))
            more -= size
    return Scenario(nodes, tuple(apps))


def declared_bound(given: Scenario, request: RefreshRequest) -> Bound:
    """From the scenario alone: nothing that was measured enters it."""
    nodes, apps = given.nodes, given.apps
    world = World(CNI_OF[request.source], CNI_OF[request.target])
    for n in range(nodes):
        world.see_node(Node(f"old-{n}", cni=world.source, instance=f"i-old-{n}"))
    for app in apps:
        if app.may_miss:
            key = (app.namespace, app.name)
            world.see_budget(
                DisruptionBudget(
                    key, {"matchLabels": {"app": app.name}}, expected=app.replicas, desired=app.replicas - app.may_miss
                )
            )
    numbers = iter(range(10**9))
    for app in apps:
        for n in range(app.replicas):
            node = f"old-{next(numbers) % nodes}"
            owner = Owner("ReplicaSet", app.name, app.name)
            world.see_pod(
                Pod(f"{app.name}-{n}", app.namespace, f"{app.name}-{n}", node, owner, {"app": app.name}, ready=True)
            )
    # which pods share a node is the scheduler's choice: a node takes at least as long as the quickest pod to stop
    times = Times(stop=min(STOP), terminate=ENDING, boot=0.0, evictions_a_second=math.inf)
    own = {(app.namespace, app.name): app.start for app in apps}
    return lower_bound(world, request, times, new_missing=0, turnarounds=own)


def node(name: str, cni: str, number: int, pods: int, pool: str) -> dict[str, Any]:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    size = {"cpu": "64", "memory": "256Gi", "pods": str(pods)}
    labels = {CNI_LABEL: cni, "topology.kubernetes.io/zone": ZONES[number % 3], "kubernetes.io/hostname": name}
    labels["pool"] = pool
    return {
        "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "spec": {"providerID": f"aws:///{ZONES[number % 3]}/i-{name}"},
        "status": {
            "capacity": size,
            "allocatable": size,
            "addresses": [{"type": "InternalIP", "address": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"}],
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now,
                 "lastTransitionTime": now}
            ],
        },
    }  # fmt: skip


def _template(labels: dict[str, str], notes: dict[str, str], **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"labels": labels, "annotations": notes},
        "spec": {"hostNetwork": True, "containers": [{"name": "c", "image": "c"}], **spec},
    }


def replica_set(app: App) -> dict[str, Any]:
    labels = {"app": app.name}
    notes = {"sandbox/start-delay": f"{int(app.start * 1000)}ms", "sandbox/stop-delay": f"{int(app.stop * 1000)}ms"}
    return {
        "metadata": {"name": app.name},
        "spec": {
            "replicas": app.replicas,
            "selector": {"matchLabels": labels},
            "template": _template(labels, notes, terminationGracePeriodSeconds=30, nodeSelector={"pool": app.pool}),
        },
    }


def budget(app: App) -> dict[str, Any]:
    return {
        "metadata": {"name": app.name},
        "spec": {"maxUnavailable": app.may_miss, "selector": {"matchLabels": {"app": app.name}}},
    }


def agents() -> dict[str, Any]:
    labels = {"k8s-app": "cilium"}
    return {
        "metadata": {"name": "cilium"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": _template(labels, {}, nodeSelector={CNI_LABEL: "cilium"}, tolerations=[{"operator": "Exists"}]),
        },
    }
