"""A small cluster on a real control plane and an emulated account, with a proxy before each and a recorder beside it."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from sandbox import lifecycle, processes, toolcache
from sandbox.control_plane import ControlPlane
from sandbox.record import read as recorded
from tests.engine.refresh_cluster import NAME, ROOT, Moving, workloads
from tests.faults import history, recorder
from tests.faults.history import Ended, Rules, violations
from tests.faults.proxy import Proxy

NODES = 2
WORKLOADS = workloads(
    web=3, web_missing=1, ledger=2, ledger_kept=1, start="200ms", web_stop="200ms", ledger_stop="200ms"
)
QUICK_LEASE = {"operations.refresh.cluster.lease:SECONDS": 4.0, "operations.refresh.cluster.lease:RENEW_SECONDS": 1.0}
"""A run that was killed holds its Lease for so long."""
PACE = {"look": 0.5, "in_service": 1.0, "node_object": 3.0}
HOME = {"general": (1, NODES, 9), "workers": (0, 0, 9)}
"""Sizes of the groups while nobody refreshes."""
AWAY = {"general": (0, 0, 9), "workers": (0, NODES, 9)}
"""Sizes after a refresh to Cilium."""


@dataclass
class Run:
    """One `operations` command under way."""

    stage: Stage
    pid: int
    out: Path
    err: Path
    steps: Path
    code: int | None = None

    @property
    def running(self) -> bool:
        self.stage.take_news(0.0)
        return self.code is None

    @property
    def text(self) -> str:
        return self.err.read_text()

    @property
    def said(self) -> dict[str, Any]:
        lines = self.out.read_text().strip().splitlines()
        found: dict[str, Any] = json.loads(lines[-1]) if lines else {}
        return found

    @property
    def boundaries(self) -> list[str]:
        return self.steps.read_text().splitlines() if self.steps.exists() else []

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float = 120) -> Run:
        """Until it has ended."""
        end = time.monotonic() + seconds
        while self.code is None:
            if time.monotonic() > end:
                self.send(signal.SIGKILL)
                raise AssertionError(f"it did not end within {seconds:.0f} s: {self.text[-3000:]}")
            self.stage.take_news(0.5)
        return self


class Stage(Moving):
    """See the module. Every run goes through the proxies `api` and `cloud`."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, size=NODES, manifests=WORKLOADS)
        self._runs: dict[int, Run] = {}
        self._number = 0
        self._asked: list[Ended] = []
        self.tune: dict[str, Any] = {}
        """Constants of the commands that begin from now on."""
        self.pace = dict(PACE)

    def up(self) -> Stage:
        super().up()
        self._start_proxies()
        self.through = {**os.environ, **self.environment, "AWS_ENDPOINT_URL": self.cloud.url, "PYTHONPATH": str(ROOT)}
        self.through.pop("KUBECONFIG", None)
        self._start_zygote()
        surveyed = self.command("survey").wait()
        # The new nodes are there already, so a migration would be refused; a refresh asks the facts for the old ones.
        assert surveyed.said["refused"] == ["names of node groups"], surveyed.text
        self._start_recorder()
        return self

    def down(self) -> None:
        for process in (self._zygote, self._recorder):
            process.kill()
            process.wait()
        for proxy in (self.api, self.cloud):
            proxy.stop()
        super().down()

    # -- around the refresh -----------------------------------------------------------------------

    def _start_proxies(self) -> None:
        found = recorded(self.directory)
        assert found is not None
        self.api = Proxy(found.apiserver, pki=self.directory / "pki")
        ours, theirs = self.api.url.encode(), found.apiserver.encode()

        def rewrite(action: str, body: bytes) -> bytes:
            """The cluster's endpoint is the proxy: so everything goes through it."""
            return body.replace(theirs, ours) if action == "DescribeCluster" else body

        self.cloud = Proxy(found.aws_endpoint, rewrite=rewrite, before=self._at_the_wire)

    def _at_the_wire(self, action: str, body: bytes) -> None:
        """What is on an instance at the very instant at which somebody asks for its end."""
        if action != "TerminateInstanceInAutoScalingGroup":
            return
        at, instance = time.time(), parse_qs(body.decode())["InstanceId"][0]
        names = [
            n["metadata"]["name"]
            for n in self.kube.call("GET", "/api/v1/nodes")["items"]
            if n["spec"].get("providerID", "").endswith(f"/{instance}")
        ]
        pods = [
            p
            for name in names
            for p in self.kube.call("GET", "/api/v1/pods", fieldSelector=f"spec.nodeName={name}")["items"]
        ]
        health = self.elb.describe_target_health(TargetGroupArn=self.target_group)["TargetHealthDescriptions"]
        serving = tuple(
            "front"
            for t in health
            if t["Target"]["Id"] == instance and t["TargetHealth"]["State"] in ("healthy", "initial")
        )
        self._asked.append(Ended(at=at, instance=instance, asked=True, pods=tuple(pods), serving=serving))

    def _start_zygote(self) -> None:
        self._news: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._zygote = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.zygote"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

        def listen() -> None:
            for line in self._zygote.stdout or []:
                self._news.put(json.loads(line))

        threading.Thread(target=listen, name="zygote", daemon=True).start()
        assert self._news.get(timeout=60) == {"pid": 0}

    def _start_recorder(self) -> None:
        self.record = self.directory / "record.jsonl"
        self._recorder = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.recorder", self.record],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            text=True,
        )
        given = {
            "kubeconfig": str(self.directory / "kubeconfig"),
            "endpoint": self.environment["AWS_ENDPOINT_URL"],
            "region": self.environment["AWS_REGION"],
        }
        assert self._recorder.stdin is not None
        self._recorder.stdin.write(json.dumps(given))
        self._recorder.stdin.close()
        self.until(lambda: self.record.exists() and '"kind":"nodes"' in self.record.read_text())

    def seen(self, since: float, rules: Rules) -> list[str]:
        """What must never be and was, since a moment of the wall clock; everything until now is in it."""
        note = f"{time.time():.6f}"
        patched = self.kube.patch(
            "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/web", {"metadata": {"labels": {"note": note}}}
        )
        version = int(patched["metadata"]["resourceVersion"])

        def caught_up() -> bool:
            events, _ = recorder.read(self.record)
            return max((e.version for e in events if e.kind == "budgets"), default=0) >= version

        self.until(caught_up, 20)
        time.sleep(0.3)  # the other kinds have watches of their own
        events, ended = recorder.read(self.record)
        return violations(events, [*ended, *self._asked], rules, since)

    # -- commands ---------------------------------------------------------------------------------

    def take_news(self, seconds: float) -> None:
        """What the zygote has said of its children."""
        try:
            news = self._news.get(timeout=seconds) if seconds else self._news.get_nowait()
        except queue.Empty:
            return
        if "code" in news:
            self._runs[news["pid"]].code = news["code"]

    def command(self, *argv: str, kill: str = "", **environment: str) -> Run:
        """Begin a command through the proxies; `kill`: the boundary at which it ends itself."""
        self._number += 1
        base = self.directory / "runs"
        base.mkdir(exist_ok=True)
        out, err, steps = (base / f"{self._number}.{name}" for name in ("out", "err", "steps"))
        run = Run(self, 0, out, err, steps)
        order = {
            "argv": [*argv, "--stack", "one"],
            "cwd": str(self.project),
            "environment": self.through | environment,
            "out": str(run.out),
            "err": str(run.err),
            "steps": str(run.steps),
            "kill": kill,
            "tune": QUICK_LEASE | self.tune,
            "pace": self.pace,
        }
        assert self._zygote.stdin is not None
        self._zygote.stdin.write(json.dumps(order) + "\n")
        self._zygote.stdin.flush()
        end = time.monotonic() + 30
        while True:
            news = self._news.get(timeout=max(0.1, end - time.monotonic()))
            if "code" not in news:
                break
            self._runs[news["pid"]].code = news["code"]
        run.pid = news["pid"]
        self._runs[run.pid] = run
        self.until(run.out.exists, 20)
        return run

    def refresh(self, to: str, *more: str, kill: str = "", **environment: str) -> Run:
        """Begin `refresh run`."""
        return self.command("refresh", "run", "--to", to, "--budget", "1", *more, kill=kill, **environment)

    # -- the state at home and away ---------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that a refresh may leave behind."""
        nodes = self.kube.call("GET", "/api/v1/nodes")["items"]
        lease = self.lease_or_none()
        return {
            "sizes": {name: self.sizes(name) for name in ("general", "workers")},
            "nodes": sorted(n["metadata"]["labels"].get("cni-plugin", "") for n in nodes),
            "marked": sorted(n["metadata"]["name"] for n in nodes if _marked(n)),
            "suspended": sorted(
                p["ProcessName"]
                for name in ("general", "workers")
                for p in self.scaling_group(name)["SuspendedProcesses"]
            ),
            "healthy": self.healthy(),
            "memory": json.loads(
                (lease["metadata"].get("annotations") or {}).get("eks-cilium.io/refresh") or "{}" if lease else "{}"
            ),
            "holder": (lease or {"spec": {}})["spec"].get("holderIdentity") or "",
        }

    def lease_or_none(self) -> dict[str, Any] | None:
        return self.kube.get("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/eks-cilium-refresh")

    def settled(self, wanted: str) -> dict[str, Any]:
        """The state once the cluster has come to rest: `home` or `away`."""
        sizes = HOME if wanted == "home" else AWAY

        def rest() -> bool:
            ids = {i["InstanceId"] for name in HOME for i in self.scaling_group(name)["Instances"]}
            return (
                self.healthy() and len(ids) == NODES and len(self.kube.call("GET", "/api/v1/nodes")["items"]) == NODES
            )

        self.until(rest, 60)
        state = self.state()
        assert state["sizes"] == sizes, state
        return state

    def balance(self, group: str) -> None:
        """Register the instances of a group at the target group; those that are on their way out are left out."""
        running = [
            i["InstanceId"] for i in self.scaling_group(group)["Instances"] if i["LifecycleState"] == "InService"
        ]
        if running:
            self.elb.register_targets(TargetGroupArn=self.target_group, Targets=[{"Id": i} for i in running])

    # -- the API server ---------------------------------------------------------------------------

    @contextmanager
    def without_api_server(self, number: int = signal.SIGKILL) -> Iterator[None]:
        """The API server ends, and starts again after the block.

        The scheduler starts anew with it, as a kubelet would have it do: a bind whose answer was lost may show a pod
        on another node than it remembers, and then it ends itself (`Scheduler cache is corrupted`).
        """
        found = recorded(self.directory)
        assert found is not None
        names = ("kube-apiserver", "kube-scheduler")
        for name in names:
            os.kill(found.processes[name].pid, number)
        processes.wait_gone([found.processes[name] for name in names], 20)
        try:
            yield
        finally:
            plane = ControlPlane(
                directory=found.directory,
                tools=toolcache.ensure(lambda _: None),
                ports=found.ports,
                token_review=f"{found.aws_endpoint}/sandbox/token-review",
            )

            def record(fresh: processes.Process) -> None:
                nonlocal found
                assert found is not None
                found = found.with_process(fresh)
                found.write()

            for name in names:
                plane.launch([name], record)

    @contextmanager
    def world(self, **settings: Any) -> Iterator[None]:
        """Settings of the emulated account for the time of a block."""
        path = self.directory / "world.json"
        before = path.read_text()
        path.write_text(json.dumps({**json.loads(before), **settings}))
        try:
            yield
        finally:
            path.write_text(before)


def _marked(node: dict[str, Any]) -> bool:
    taints = [t["key"] for t in node["spec"].get("taints") or []]
    notes, labels = node["metadata"].get("annotations") or {}, node["metadata"]["labels"]
    return (
        "eks-cilium.io/leaving" in taints
        or "eks-cilium.io/cordoned" in notes
        or "node.kubernetes.io/exclude-from-external-load-balancers" in labels
        or bool(node["spec"].get("unschedulable"))
    )


__all__ = ["AWAY", "HOME", "NAME", "NODES", "Run", "Stage", "history", "lifecycle"]
