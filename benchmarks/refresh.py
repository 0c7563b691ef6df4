"""Node refresh against `kubectl drain`, side by side: `python benchmarks/refresh.py [--nodes N] [--only a,b,c]`.

One control plane with simulated nodes, the same workloads and the same budget of nodes for each:

(a) a serial loop: cordon every old node, then for each `kubectl drain`, end the instance, wait for the Node to go, and
    look for pods that are pending;
(b) as many of these drains at once as the budget allows, group by group, what is easy first, as people do it;
(c) the refresh engine of this repository, in a process of its own, with its real Kubernetes side and a fake AWS side.

The scenario is fixed here; the lower bound is computed from it, and printed, before anything runs. (a) is measured on
a part of the nodes, drawn over all groups, and extrapolated when the whole would take more than ten minutes. (b) may be
stopped early: then its time until then is a lower bound, and the ratio too. The last line is one JSON object.
"""

# ruff: noqa: S311

from __future__ import annotations

import argparse
import json
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

from benchmarks.refresh_cluster import Cluster, end_node, say
from benchmarks.refresh_scenario import SEED, declared_bound, scenario
from migration.journeys import NodeKind
from operations.access.connection import Api
from operations.refresh.cluster.kube import Kube
from operations.refresh.cluster.live import Live
from operations.refresh.engine.engine import Engine
from operations.refresh.model.actions import Outcome, Resize
from operations.refresh.model.request import CNI_OF, RefreshRequest
from operations.refresh.model.terms import Goal, Pace
from operations.refresh.model.values import CloudView, Group, Instance, Sizes
from operations.refresh.model.world import World
from operations.refresh.plan.bound import Bound
from operations.refresh.run.progress import Snapshot
from operations.refresh.run.runner import Runner
from operations.refresh.run.session import CONNECTIONS
from sandbox import toolcache

MEASURED_AT_MOST = 600.0


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


def by_kubectl(bench: Cluster, kubectl: Path, at_once: int, limit: float) -> Measured:
    """Cordon all, then drain so many at once; stops beginning new ones after `limit` seconds.

    One at a time they are drained in an order drawn by lot, so that a part of them stands for all.
    """
    bench.cordon()
    names, before, server = list(bench.old), bench.evictions(), bench.server_cpu()
    environment = os.environ | {"KUBECONFIG": str(bench.kubeconfig)}
    cpu = _cpu(resource.RUSAGE_CHILDREN)

    def run(*words: str) -> None:
        subprocess.run([kubectl, *words], env=environment, check=True, capture_output=True)

    if at_once == 1:
        random.Random(SEED).shuffle(names)
    began = time.monotonic()

    def drain(name: str) -> bool:
        if time.monotonic() - began > limit:
            return False
        run("drain", name, "--ignore-daemonsets", "--delete-emptydir-data")
        end_node(bench.kube, name)
        if at_once == 1:
            run("get", "pods", "--all-namespaces", "--field-selector=status.phase=Pending")
        return True

    with ThreadPoolExecutor(at_once) as pool:
        done = sum(pool.map(drain, names))
    seconds = time.monotonic() - began
    used = _cpu(resource.RUSAGE_CHILDREN) - cpu
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    busy = (bench.server_cpu() - server) / seconds
    return Measured(done, seconds, bench.evictions() - before, used, peak, busy)


# -- (c): ours ------------------------------------------------------------------------------------------


class FakeCloud:
    """The AWS side: instances are nodes; ending one removes its Node after a while."""

    def __init__(self, names: list[str], new: list[str], end: Callable[[str], None]) -> None:
        self.end, self.new, self.desired = end, len(new), len(names)
        self.nodes = {f"i-{n}": n for n in names}
        self.alive = {i: Instance(i, "old", "asg", "z", "in-service") for i in self.nodes}
        self.alive |= {f"i-{n}": Instance(f"i-{n}", "new", "asg", "z", "in-service") for n in new}
        self._lock = threading.Lock()

    def look(self, asked: Iterable[str]) -> CloudView:
        with self._lock:
            alive, desired = dict(self.alive), self.desired
        groups = {
            "old": Group("old", True, Sizes(0, desired, 10**6), rebalancing=False),
            "new": Group("new", True, Sizes(0, self.new, self.new), rebalancing=False),
        }
        wanted = frozenset(asked)
        return CloudView(groups, alive, {}, wanted, wanted - alive.keys())

    def terminate(self, instance: str) -> Outcome:
        with self._lock:
            found = self.alive.get(instance)
            if found is None or found.state == "ending":
                return Outcome(True)
            self.alive[instance] = replace(found, state="ending")
            self.desired -= 1
        threading.Thread(target=self._end, args=(instance,), daemon=True).start()
        return Outcome(True)

    def _end(self, instance: str) -> None:
        self.end(self.nodes[instance])
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


class _Counting(Api):
    """Counts what is sent."""

    sent = 0

    def _begin(self, *given: Any) -> Any:
        self.sent += 1
        return super()._begin(*given)


def ours(kubeconfig: str, old: list[str], new: list[str], budget: str, seconds: float) -> dict[str, Any]:
    """In a process of its own: the engine, its watches and requests. It stops cleanly after so many seconds."""
    request = RefreshRequest.towards(NodeKind.CILIUM, node_budget=budget)
    api = config.new_client_from_config(kubeconfig)
    api.configuration.connection_pool_maxsize = CONNECTIONS
    counting = _Counting(client.ApiClient(api.configuration))
    kube, helper = Kube(counting), Kube(Api(client.ApiClient(api.configuration)))
    live = Live(kube, World(CNI_OF[request.source], CNI_OF[request.target]))
    began = time.monotonic()
    live.start(300)
    first = _cpu()
    cloud: Any = FakeCloud(old, new, lambda name: end_node(helper, name))
    live.world.see_cloud(cloud.look([]), began)
    goal = Goal(("old",), {"new": Sizes(0, len(new), len(new))}, len(old))
    engine = Engine(live.world, request, goal, Pace(look=0.5, idle_look=5.0, admission=0.05))
    shower = _Shower(counting)
    runner = Runner(
        engine=engine, live=live, kube=kube, cloud=cloud, lease=Alone(), deadline=began + seconds, show=shower
    )
    ended = runner.run()
    live.stop()
    return {
        "reason": ended.reason,
        "seconds": time.monotonic() - began,
        "nodes": ended.done,
        "evicted": engine.evictions,
        "requests": counting.sent,
        "changes": engine.requests,
        "cpu": _cpu(),
        "cpu_until_begun": first,
        "once": shower.once,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _cpu(who: int = resource.RUSAGE_SELF) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


class _Shower:
    """A line every ten seconds; and what had been used when the first node was gone: lists and soft taints of all nodes
    were made by then, so that a run that is stopped can be told by the node."""

    def __init__(self, counting: _Counting) -> None:
        self.counting, self.last, self.once = counting, 0.0, dict[str, float]()

    def __call__(self, snapshot: Snapshot) -> None:
        if snapshot.done and not self.once:
            self.once = {"nodes": snapshot.done, "cpu": _cpu(), "requests": self.counting.sent}
        if time.monotonic() - self.last > 10:
            self.last = time.monotonic()
            counted = Counter(b.reason.split(" under ")[0][:50] for b in snapshot.waits).most_common(3)
            say(
                f"    {snapshot.seconds:5.0f} s: {snapshot.done}/{snapshot.total}, {snapshot.active} leaving, {counted}"
            )


def by_ours(bench: Cluster, limit: float) -> tuple[Measured, dict[str, Any]]:
    before = bench.evictions()
    server, refused = bench.server_cpu(), bench.turned_away()
    arguments = {"old": list(bench.old), "new": list(bench.new), "budget": bench.given.budget, "seconds": limit}
    done = subprocess.run(
        [sys.executable, __file__, "--engine", str(bench.kubeconfig)],
        input=json.dumps(arguments),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if found["reason"] and found["seconds"] < limit:
        raise RuntimeError(f"the refresh stopped: {found['reason']}")
    busy = (bench.server_cpu() - server) / found["seconds"]
    measured = Measured(found["nodes"], found["seconds"], found["evicted"], found["cpu"], found["peak_mb"], busy)
    return measured, found | {"tried": bench.evictions() - before, "refused": bench.turned_away() - refused}


# -- all ------------------------------------------------------------------------------------------------


def kubectl_path() -> Path:
    """The real kubectl of the pinned Kubernetes, built like the control plane."""
    tool = replace(toolcache._kubernetes("kubectl"), version_arguments=("version", "--client"))  # noqa: SLF001
    return toolcache._ensure_tool(tool, say)  # noqa: SLF001


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
    parser.add_argument(
        "--refresh-seconds", type=float, default=7200, help="stop (c) after so long: no ratio and no efficiency then"
    )
    parser.add_argument(
        "--cluster",
        type=Path,
        metavar="DIR",
        help="where the filled cluster is kept for the next run; default: nowhere",
    )
    parser.add_argument("--engine", metavar="KUBECONFIG", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.engine:
        given = json.load(sys.stdin)
        print(json.dumps(ours(args.engine, **given)))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # then the control plane is ended too
    # Everything shares the processors of one machine: that much less of them goes to collecting garbage, for all three.
    os.environ.setdefault("GOGC", "400")
    chosen = set(args.only.split(","))
    given = scenario(args.nodes)
    request = RefreshRequest.towards(NodeKind.CILIUM, node_budget=given.budget)
    bound = declared_bound(given, request)
    say(f"{given.nodes} nodes, {given.pods} pods, {len(given.apps)} applications, {given.budget} nodes at once")
    say(f"lower bound {bound.seconds:.0f} s: {bound.binding.name}, {bound.binding.text}")
    at_once = request.node_budget.of(args.nodes)
    kubectl = kubectl_path() if chosen & {"a", "b"} else Path("kubectl")
    found: dict[str, Measured] = {}
    detail: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bench-refresh-") as directory:
        bench = Cluster(args.cluster or Path(directory), given)
        try:
            for name in sorted(chosen, reverse=True):
                bench.ready()
                say(f"({name}) begins")
                if name == "c":
                    found[name], detail = by_ours(bench, args.refresh_seconds)
                else:
                    number, limit = (1, args.serial_seconds) if name == "a" else (at_once, args.parallel_seconds)
                    found[name] = by_kubectl(bench, kubectl, number, limit)
                say(f"({name}) {found[name].nodes} nodes in {found[name].seconds:.0f} s")
        finally:
            bench.down(keep=args.cluster is not None)
    print(json.dumps(_summary(args.nodes, bound, found, detail)))
    return 0


def _summary(nodes: int, bound: Bound, found: dict[str, Measured], detail: dict[str, Any]) -> dict[str, Any]:
    whole = {name: m.seconds * (nodes / max(1, m.nodes) if name == "a" else 1) for name, m in found.items()}
    c = found.get("c")
    if c and c.nodes < nodes:
        whole.pop("c")
    summary: dict[str, Any] = {
        "nodes": nodes,
        "ratio_serial": round(whole["a"] / whole["c"], 2) if {"a", "c"} <= whole.keys() else None,
        "serial_extrapolated_from": found["a"].nodes if "a" in found and found["a"].nodes < nodes else None,
        "ratio_parallel": round(whole["b"] / whole["c"], 2) if {"b", "c"} <= whole.keys() else None,
        "parallel_stopped_at": found["b"].nodes if "b" in found and found["b"].nodes < nodes else None,
        "efficiency": round(bound.seconds / whole["c"], 3) if "c" in whole else None,
        "refresh_stopped_at": c.nodes if c and c.nodes < nodes else None,
        "bound_seconds": round(bound.seconds, 1),
        "binding": bound.binding.name,
        "seconds": {name: round(m.seconds, 1) for name, m in found.items()},
    }
    if c:
        summary |= {
            "nodes_per_s": round(c.nodes / c.seconds, 2),
            "evictions_per_s": round(c.evictions / c.seconds, 1),
            "client_cpu_s": round(c.cpu, 1),
            "client_cpu_until_begun_s": round(detail["cpu_until_begun"], 1),
            "peak_mb": round(c.peak_mb),
            "requests_per_eviction": round(detail["requests"] / max(1, c.evictions), 3),
            "tries_per_eviction": round(detail["tried"] / max(1, c.evictions), 3),
            "requests_per_node": round(_a_node(nodes, c.nodes, detail["requests"], detail["once"], "requests"), 2),
            "client_cpu_ms_per_node": round(1000 * _a_node(nodes, c.nodes, c.cpu, detail["once"], "cpu"), 1),
            "server_cores": {name: round(m.server_cores, 2) for name, m in found.items()},
            "server_turned_away": detail["refused"],
        }
    return summary | {"measured": {name: asdict(m) for name, m in found.items()}}


def _a_node(nodes: int, done: int, used: float, once: dict[str, float], what: str) -> float:
    """What was used until the first node was gone concerns all nodes; what came later those that went. Of a run that
    was not stopped this is what was used, by the node."""
    if done == nodes or not once or done == once["nodes"]:
        return used / max(1, done)
    return once[what] / nodes + (used - once[what]) / (done - once["nodes"])


if __name__ == "__main__":
    raise SystemExit(main())
