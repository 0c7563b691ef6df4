"""Node refresh against `kubectl drain`, side by side: `python benchmarks/refresh.py [--nodes N] [--only a,b,c]`.

One control plane with simulated nodes, the same workloads and the same budget of nodes for each:

(a) a serial loop: cordon every old node, then for each `kubectl drain`, end the instance, wait for the Node to go;
(b) as many of these drains at once as the budget allows, group by group, as people do it;
(c) the refresh engine of this repository, in a process of its own, with its real Kubernetes side and a fake AWS side.

The scenario is fixed here; the lower bound is computed from it, and printed, before anything runs. (a) is measured on
a part of the nodes, drawn over all groups, and extrapolated when the whole would take more than ten minutes. (b) may be
stopped early: then its time until then is a lower bound, and the ratio too. The last line is one JSON object.
"""

# ruff: noqa: S311

from __future__ import annotations

import argparse
import json
import math
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kubernetes import client, config

from migration.journeys import NodeKind
from migration.names import CNI_LABEL
from operations.refresh.actions import Outcome, Resize
from operations.refresh.bound import Bound, Times, lower_bound
from operations.refresh.engine import Engine
from operations.refresh.kube import Kube
from operations.refresh.request import CNI_OF, RefreshRequest
from operations.refresh.runner import Live, Runner
from operations.refresh.terms import Goal, Pace
from operations.refresh.values import CloudView, Disruption, Group, Instance, Node, Owner, Pod, Sizes
from operations.refresh.world import World
from sandbox import lifecycle, toolcache

SEED = 5
PODS_A_NODE = 10
BUDGET = "10%"
ENDING = 0.5
"""Seconds from the end of an instance until its Node object is gone, the same for all three."""
NEW_CAPACITY = 100
"""Pods for which a new node is made."""
START, STOP = (0.5, 1.0, 2.0, 5.0), (0.2, 1.0, 2.0, 5.0)
MEASURED_AT_MOST = 600.0
LEASE_SECONDS = 600
"""The heartbeats of thousands of simulated nodes would take a processor of their own."""
ZONES = ("a", "b", "c")
STATEFUL, STATELESS = "stateful", "stateless"
APPS_A_NAMESPACE = 5
POOL = 0.3
"""Share of the nodes that is set apart for what is stateful."""
LARGEST, TIGHT = 120, (20, 30, 40, 50)
"""Replicas of applications that may miss one pod at a time, and take the longest to start: one, and all others."""
TIGHT_SHARE = 0.77
"""Of the pods of the stateful nodes."""


@dataclass(frozen=True)
class App:
    """A Deployment and its budget."""

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


DEPLOYMENTS, BUDGETS = Kind("/apis/apps/v1", "deployments"), Kind("/apis/policy/v1", "poddisruptionbudgets")


def stateful(nodes: int) -> int:
    """Nodes of the stateful pool."""
    return max(2, round(POOL * nodes))


def scenario(nodes: int) -> list[App]:
    """The workloads of a cluster of so many old nodes: uneven on purpose.

    Three tenths of the nodes are a group of their own, as databases and queues often have one. Most of their pods
    belong to applications that may miss one pod at a time (what most charts ship) and take five seconds to start; one
    of these is larger than the others, and binds. Of all other applications some may miss a tenth, some a third, some
    have no budget, and none binds more than half as much. Small clusters have smaller applications.
    """
    rng, apps = random.Random(SEED), list[App]()
    smaller = 1 if nodes >= 500 else 3 if nodes >= 50 else 10
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
            share = rng.choice((10, 3, 0))
            may_miss = max(1, size // share, math.ceil(size * start / half)) if share else 0
            apps.append(App(f"app-{len(apps)}", pool, size, may_miss, start, rng.choice(STOP), team()))
            more -= size
    return apps


def declared_bound(apps: list[App], nodes: int, request: RefreshRequest) -> Bound:
    """From the scenario alone: nothing that was measured enters it."""
    world = World(CNI_OF[request.source], CNI_OF[request.target])
    for n in range(nodes):
        world.see_node(Node(f"old-{n}", cni=world.source, instance=f"i-old-{n}"))
    for app in apps:
        if app.may_miss:
            key = (app.namespace, app.name)
            world.see_budget(
                Disruption(
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


# -- the cluster ----------------------------------------------------------------------------------------


class Bench:
    """A control plane with old and new nodes; `fill` puts the workloads on the old ones."""

    def __init__(self, directory: Path, nodes: int, apps: list[App]) -> None:
        self.directory, self.nodes, self.apps = directory, nodes, apps
        self.round = 0

    def up(self) -> None:
        lifecycle.up(self.directory, _say, daemon=False, lease_seconds=LEASE_SECONDS)
        self.kubeconfig = self.directory / "kubeconfig"
        self.kube = Kube(config.new_client_from_config(str(self.kubeconfig)), connections=16)
        for namespace in {app.namespace for app in self.apps}:
            self._post("/api/v1/namespaces", {"metadata": {"name": namespace}})
        self._post("/apis/apps/v1/namespaces/kube-system/daemonsets", _agents())

    def down(self) -> None:
        lifecycle.down(self.directory, _say, purge=True)

    def old_names(self) -> list[str]:
        """Group by group."""
        return [f"old-{self.round}-{n}" for n in range(self.nodes)]

    def new_names(self) -> dict[str, str]:
        """Empty nodes with their pools: enough for all pods."""
        pods = Counter[str]()
        for app in self.apps:
            pods[app.pool] += app.replicas
        pools = [pool for pool, number in pods.items() for _ in range(math.ceil(number / NEW_CAPACITY))]
        return {f"new-{self.round}-{n}": pool for n, pool in enumerate(pools)}

    def _pool(self, number: int) -> str:
        return STATEFUL if number < stateful(self.nodes) else STATELESS

    def fill(self) -> None:
        """Fresh old nodes with all workloads on them, fresh empty new nodes."""
        self.round += 1
        self._delete_all()
        names, new = self.old_names(), list(self.new_names().items())
        room = PODS_A_NODE + 5

        def old(n: int) -> None:
            self._post("/api/v1/nodes", _node(names[n], "aws", n, room, self._pool(n)))

        def fresh(n: int) -> None:
            self._post("/api/v1/nodes", _node(new[n][0], "cilium", n, NEW_CAPACITY + 10, new[n][1]))

        _each(old, range(self.nodes))
        self._apply_apps()
        pods = sum(app.replicas for app in self.apps)
        self._until(lambda: self._ready_pods() == pods, 900, f"{pods} pods ready")
        _each(fresh, range(len(new)))
        self._until(lambda: self._agents_ready() == len(new), 300, "agents ready")
        self._until(self._budgets_whole, 300, "budgets counted")

    def _delete_all(self) -> None:
        def gone(app: App) -> None:
            for path in (f"{DEPLOYMENTS.of(app)}/{app.name}", f"{BUDGETS.of(app)}/{app.name}"):
                self.kube.request("DELETE", path, {"propagationPolicy": "Background"})

        _each(gone, self.apps)
        self._until(lambda: not self._workload_pods(), 600, "no pods")
        nodes = [item["metadata"]["name"] for item in self._items("/api/v1/nodes")]
        _each(lambda name: self.kube.request("DELETE", f"/api/v1/nodes/{name}"), nodes)

    def _workload_pods(self) -> int:
        found = self.kube.request("GET", "/api/v1/pods?limit=500&fieldSelector=metadata.namespace!=kube-system").body
        return len(found.get("items") or [])

    def _apply_apps(self) -> None:
        def one(app: App) -> None:
            self._post(DEPLOYMENTS.of(app), _deployment(app))
            if app.may_miss:
                self._post(BUDGETS.of(app), _budget(app))

        _each(one, self.apps)

    def _ready_pods(self) -> int:
        deployments = self._items(DEPLOYMENTS.all)
        return sum(int(d.get("status", {}).get("readyReplicas", 0)) for d in deployments)

    def _agents_ready(self) -> int:
        found = self.kube.request("GET", "/apis/apps/v1/namespaces/kube-system/daemonsets/cilium").body
        return int(found.get("status", {}).get("numberReady", 0))

    def _budgets_whole(self) -> bool:
        budgets = self._items(BUDGETS.all)
        return all(b.get("status", {}).get("disruptionsAllowed", 0) > 0 for b in budgets)

    def old_nodes(self) -> int:
        return sum(item["metadata"]["name"].startswith("old-") for item in self._items("/api/v1/nodes"))

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
        text = self.kube.stream("/metrics", 30).data.decode()
        rows = (line.rsplit(" ", 1) for line in text.splitlines() if line.startswith(name))
        return {key: float(value) for key, value in rows}

    def _items(self, path: str) -> list[Any]:
        return list(self.kube.request("GET", path, seconds=60).body.get("items") or [])

    def _post(self, path: str, body: dict[str, Any]) -> None:
        response = self.kube.request("POST", path, body)
        if not response.ok and response.status != 409:
            raise RuntimeError(f"POST {path}: {response.text}")

    def end(self, name: str) -> None:
        """The instance of a node ends: the same for all three."""
        time.sleep(ENDING)
        self.kube.request("DELETE", f"/api/v1/nodes/{name}")

    @staticmethod
    def _until(true: Callable[[], bool], seconds: float, what: str) -> None:
        end = time.monotonic() + seconds
        while not true():
            if time.monotonic() > end:
                raise RuntimeError(f"not within {seconds:.0f} s: {what}")
            time.sleep(0.5)


def _node(name: str, cni: str, number: int, pods: int, pool: str) -> dict[str, Any]:
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


def _deployment(app: App) -> dict[str, Any]:
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


def _budget(app: App) -> dict[str, Any]:
    return {
        "metadata": {"name": app.name},
        "spec": {"maxUnavailable": app.may_miss, "selector": {"matchLabels": {"app": app.name}}},
    }


def _agents() -> dict[str, Any]:
    labels = {"k8s-app": "cilium"}
    return {
        "metadata": {"name": "cilium"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": _template(labels, {}, nodeSelector={CNI_LABEL: "cilium"}, tolerations=[{"operator": "Exists"}]),
        },
    }


def _each(what: Callable[[Any], object], items: Iterable[Any]) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(what, items))


# -- (a) and (b): kubectl -------------------------------------------------------------------------------


@dataclass
class Measured:
    """One way of doing it."""

    nodes: int
    seconds: float
    evictions: float
    cpu: float = 0.0
    """Of the client and its children, seconds."""
    peak_mb: float = 0.0
    """Of its largest process."""
    server_cores: float = 0.0
    """Processor time of the API server, seconds a second."""


def by_kubectl(bench: Bench, kubectl: Path, at_once: int, limit: float) -> Measured:
    """Cordon all, then drain so many at once; stops beginning new ones after `limit` seconds.

    One at a time they are drained in an order drawn by lot, so that a part of them stands for all.
    """
    names, began, before = bench.old_names(), time.monotonic(), bench.evictions()
    server = bench.server_cpu()
    environment = os.environ | {"KUBECONFIG": str(bench.kubeconfig)}
    cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
    for start in range(0, len(names), 100):
        subprocess.run(
            [kubectl, "cordon", *names[start : start + 100]], env=environment, check=True, capture_output=True
        )
    if at_once == 1:
        random.Random(SEED).shuffle(names)
    began = time.monotonic()

    def drain(name: str) -> bool:
        if time.monotonic() - began > limit:
            return False
        command = [str(kubectl), "drain", name, "--ignore-daemonsets", "--delete-emptydir-data"]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        bench.end(name)
        return True

    with ThreadPoolExecutor(at_once) as pool:
        done = sum(pool.map(drain, names))
    seconds = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime
    busy = (bench.server_cpu() - server) / seconds
    return Measured(done, seconds, bench.evictions() - before, used, after.ru_maxrss / 1024, busy)


# -- (c): ours ------------------------------------------------------------------------------------------


class FakeCloud:
    """The AWS side: instances are nodes; ending one removes its Node after a while."""

    def __init__(self, names: list[str], new: list[str], end: Callable[[str], None]) -> None:
        self.end, self.alive = end, {f"i-{n}": n for n in names}
        self.new, self.ending = new, set[str]()
        self._lock = threading.Lock()

    def look(self, asked: Iterable[str]) -> CloudView:
        with self._lock:
            old = {
                i: Instance(i, "old", "asg", "z", "ending" if i in self.ending else "in-service") for i in self.alive
            }
        new = {f"i-{n}": Instance(f"i-{n}", "new", "asg", "z", "in-service") for n in self.new}
        desired = sum(i.state == "in-service" for i in old.values())
        groups = {
            "old": Group("old", True, Sizes(0, desired, 10**6), rebalancing=False),
            "new": Group("new", True, Sizes(0, len(new), len(new)), rebalancing=False),
        }
        wanted = frozenset(asked)
        return CloudView(groups, old | new, {}, wanted, wanted - old.keys() - new.keys())

    def terminate(self, instance: str) -> Outcome:
        with self._lock:
            if instance not in self.alive or instance in self.ending:
                return Outcome(True)
            self.ending.add(instance)
            name = self.alive[instance]
        threading.Thread(target=self._end, args=(instance, name), daemon=True).start()
        return Outcome(True)

    def _end(self, instance: str, name: str) -> None:
        self.end(name)
        with self._lock:
            self.alive.pop(instance, None)

    def resize(self, _: Resize) -> Outcome:
        return Outcome(True)

    def rebalance(self, _: Group, *, allowed: bool) -> Outcome:
        return Outcome(allowed or True)

    def deregister(self, _: str, __: str) -> Outcome:
        return Outcome(True)


class Alone:
    """Nobody else runs a refresh here."""

    paused = False
    lost = False

    @staticmethod
    def held() -> bool:
        return True


class _Counting(Kube):
    """Counts everything that is sent: lists and watches too."""

    sent = 0

    def _send(self, *given: Any) -> Any:
        self.sent += 1
        return super()._send(*given)


def ours(kubeconfig: str, old: list[str], new: list[str]) -> dict[str, Any]:
    """In a process of its own: the engine, its watches and requests."""
    request = RefreshRequest.towards(NodeKind.CILIUM, budget=BUDGET)
    api = config.new_client_from_config(kubeconfig)
    kube, helper = _Counting(api), Kube(client.ApiClient(api.configuration))
    live = Live(kube, World(CNI_OF[request.source], CNI_OF[request.target]))
    began = time.monotonic()
    live.start(120)
    cloud: Any = FakeCloud(old, new, lambda name: _end_node(helper, name))
    live.world.see_cloud(cloud.look([]), began)
    goal = Goal(("old",), {"new": Sizes(0, len(new), len(new))}, len(old))
    engine = Engine(live.world, request, goal, Pace(look=0.5, idle_look=5.0, admission=0.05))
    runner = Runner(
        engine=engine, live=live, kube=kube, cloud=cloud, lease=Alone(), deadline=began + 7200, show=_shower()
    )
    ended = runner.run()
    live.stop()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "reason": ended.reason,
        "seconds": time.monotonic() - began,
        "nodes": ended.done,
        "evicted": engine.evictions,
        "requests": kube.sent,
        "changes": engine.requests,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
    }


def _end_node(kube: Kube, name: str) -> None:
    time.sleep(ENDING)
    kube.request("DELETE", f"/api/v1/nodes/{name}")


def _shower() -> Callable[[Any], None]:
    last = [0.0]

    def show(snapshot: Any) -> None:
        if time.monotonic() - last[0] > 10:
            last[0] = time.monotonic()
            counted = Counter(b.reason.split(" under ")[0][:50] for b in snapshot.blockers).most_common(3)
            _say(
                f"    {snapshot.seconds:5.0f} s: {snapshot.done}/{snapshot.total}, {snapshot.active} leaving, {counted}"
            )

    return show


def by_ours(bench: Bench) -> tuple[Measured, dict[str, Any]]:
    before = bench.evictions()
    server, refused = bench.server_cpu(), bench.turned_away()
    arguments = {"old": bench.old_names(), "new": list(bench.new_names())}
    done = subprocess.run(
        [sys.executable, __file__, "--engine", str(bench.kubeconfig)],
        input=json.dumps(arguments),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if found["reason"]:
        raise RuntimeError(f"the refresh stopped: {found['reason']}")
    busy = (bench.server_cpu() - server) / found["seconds"]
    measured = Measured(found["nodes"], found["seconds"], found["evicted"], found["cpu"], found["peak_mb"], busy)
    return measured, found | {"tried": bench.evictions() - before, "refused": bench.turned_away() - refused}


# -- all ------------------------------------------------------------------------------------------------


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def kubectl_path() -> Path:
    """The real kubectl of the pinned Kubernetes, built like the control plane."""
    tool = replace(toolcache._kubernetes("kubectl"), version_arguments=("version", "--client"))  # noqa: SLF001
    return toolcache._ensure_tool(tool, _say)  # noqa: SLF001


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--only", default="a,b,c", help="which of a, b, c to run")
    parser.add_argument(
        "--serial-seconds", type=float, default=MEASURED_AT_MOST, help="measure (a) for so long, then extrapolate"
    )
    parser.add_argument(
        "--parallel-seconds", type=float, default=7200, help="stop (b) after so long: its ratio is then a lower bound"
    )
    parser.add_argument("--engine", metavar="KUBECONFIG", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.engine:
        given = json.load(sys.stdin)
        print(json.dumps(ours(args.engine, given["old"], given["new"])))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # then the control plane is ended too
    # Everything shares the processors of one machine: that much less of them goes to collecting garbage, for all three.
    os.environ.setdefault("GOGC", "400")
    chosen = set(args.only.split(","))
    request = RefreshRequest.towards(NodeKind.CILIUM, budget=BUDGET)
    apps = scenario(args.nodes)
    bound = declared_bound(apps, args.nodes, request)
    _say(f"{args.nodes} nodes, {sum(a.replicas for a in apps)} pods, {len(apps)} applications, budget {BUDGET}")
    _say(f"lower bound {bound.seconds:.0f} s: {bound.binding.name}, {bound.binding.text}")
    at_once = request.budget.of(args.nodes)
    kubectl = kubectl_path() if chosen & {"a", "b"} else Path("kubectl")
    found: dict[str, Measured] = {}
    detail: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bench-refresh-") as directory:
        bench = Bench(Path(directory), args.nodes, apps)
        bench.up()
        try:
            for name in sorted(chosen, reverse=True):
                bench.fill()
                _say(f"({name}) begins")
                if name == "c":
                    found[name], detail = by_ours(bench)
                else:
                    number, limit = (1, args.serial_seconds) if name == "a" else (at_once, args.parallel_seconds)
                    found[name] = by_kubectl(bench, kubectl, number, limit)
                _say(f"({name}) {found[name].nodes} nodes in {found[name].seconds:.0f} s")
        finally:
            bench.down()
    print(json.dumps(_summary(args.nodes, bound, found, detail)))
    return 0


def _summary(nodes: int, bound: Bound, found: dict[str, Measured], detail: dict[str, Any]) -> dict[str, Any]:
    whole = {name: m.seconds * (nodes / max(1, m.nodes) if name == "a" else 1) for name, m in found.items()}
    c = found.get("c")
    summary: dict[str, Any] = {
        "nodes": nodes,
        "ratio_serial": round(whole["a"] / whole["c"], 2) if {"a", "c"} <= whole.keys() else None,
        "serial_extrapolated_from": found["a"].nodes if "a" in found and found["a"].nodes < nodes else None,
        "ratio_parallel": round(whole["b"] / whole["c"], 2) if {"b", "c"} <= whole.keys() else None,
        "parallel_stopped_at": found["b"].nodes if "b" in found and found["b"].nodes < nodes else None,
        "efficiency": round(bound.seconds / c.seconds, 3) if c else None,
        "bound_seconds": round(bound.seconds, 1),
        "binding": bound.binding.name,
        "seconds": {name: round(m.seconds, 1) for name, m in found.items()},
    }
    if c:
        summary |= {
            "nodes_per_s": round(c.nodes / c.seconds, 2),
            "evictions_per_s": round(c.evictions / c.seconds, 1),
            "client_cpu_s": round(c.cpu, 1),
            "peak_mb": round(c.peak_mb),
            "requests_per_eviction": round(detail["requests"] / max(1, c.evictions), 3),
            "tries_per_eviction": round(detail["tried"] / max(1, c.evictions), 3),
            "requests_per_node": round(detail["requests"] / max(1, c.nodes), 2),
            "client_cpu_ms_per_node": round(1000 * c.cpu / max(1, c.nodes), 1),
            "server_cores": {name: round(m.server_cores, 2) for name, m in found.items()},
            "server_turned_away": detail["refused"],
        }
    return summary | {"measured": {name: asdict(m) for name, m in found.items()}}


if __name__ == "__main__":
    raise SystemExit(main())
