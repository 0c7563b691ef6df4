"""The prover at work on an API server in memory: what it follows, what it publishes, whose turn it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kube import lease as leases
from kube.transport import Response
from prover.process import looks, publish, work
from prover.process.service import Service
from prover.said import Said, Verdict
from tests.unit.bridge.api import Api
from tests.unit.prover.cluster import BY_ADDRESS, ONLY_WEB, options, pod, thing

SERVED = (
    "/api/v1/",
    "/apis/networking.k8s.io/",
    "/apis/discovery.k8s.io/",
    "/apis/coordination.k8s.io/",
    "/apis/apps/",
)


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, seconds in (
        (leases, "RENEWAL", 0.05),
        (leases, "TRUST", 0.5),
        (leases, "DURATION", 0.8),
        (looks, "BRIDGE_SECONDS", 0.05),
        (looks, "CONFIG_SECONDS", 0.1),
        (looks, "CALICO_SECONDS", 0.1),
        (work, "BLIND_SECONDS", 0.2),
        (publish, "BEAT", 0.2),
        (publish, "_LOOK", 0.05),
    ):
        monkeypatch.setattr(module, name, seconds)


class Cluster(Api):
    """Serves what every cluster serves, and neither Calico's nor Cilium's kinds."""

    refused = ""

    def send(self, method: str, path: str, **more: Any) -> Response:
        if not path.startswith(SERVED):
            return Response(404, {"message": "no such kind"})
        if self.refused and f"/{self.refused}" in path and method == "GET":
            return Response(403, {"message": f"{self.refused} is forbidden"})
        return super().send(method, path, **more)

    def policy(self, spec: dict[str, Any]) -> None:
        self.put("networkpolicies", "db", namespace="shop", spec=spec)

    def said(self) -> Said | None:
        [found] = [one for one in self.all("configmaps") if one["metadata"]["name"] == "eks-cilium-proof"]
        return Said.of(found.get("data") or {})

    def verdict(self) -> str:
        said = self.said()
        return "" if said is None else said.verdict


def eventually(true: Callable[[], bool], why: Callable[[], Any] = lambda: "", seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"it did not happen: {why()}"
        time.sleep(0.02)


@pytest.fixture
def cluster() -> Cluster:
    found = Cluster()
    found.put("configmaps", "eks-cilium-proof", namespace="kube-system")
    found.put("nodes", "old", metadata={"labels": {"cni-plugin": "aws"}})
    found.put("nodes", "new", metadata={"labels": {"cni-plugin": "cilium"}})
    found.put("namespaces", "shop", metadata={"labels": {"team": "red"}})
    for number, app in enumerate(("web", "db", "job")):
        made = pod(f"{app}-1", f"10.0.0.{number + 1}", app)
        found.put("pods", f"{app}-1", namespace="shop", **made)
    found.policy(ONLY_WEB)
    return found


@pytest.fixture
def start(cluster: Cluster) -> Iterator[Callable[..., Service]]:
    """Starts a replica; all of them end with the test."""
    running: list[Service] = []

    def one(name: str = "one", **more: Any) -> Service:
        service = Service(cluster, options(**more), name)
        running.append(service)
        service.worker.start()
        service._lease.start()
        service.publisher.start()
        return service

    yield one
    for service in running:
        service.worker.halt()
        service.publisher.halt()
        service._lease.halt()
        assert service.worker.failure == ""


def test_a_change_is_published_and_so_is_that_it_was_mended(cluster: Cluster, start: Callable[..., Service]):
    service = start()
    eventually(lambda: cluster.verdict() == "equal", cluster.said)
    cluster.policy(BY_ADDRESS)
    eventually(lambda: cluster.verdict() == "different", cluster.said)
    said = cluster.said()
    assert said is not None
    assert "NetworkPolicy shop/db" in said.counterexample
    eventually(lambda: [e["reason"] for e in cluster.all("events")] == ["PolicyEqual", "PolicyDifferent"])
    cluster.policy(ONLY_WEB)
    eventually(lambda: cluster.verdict() == "equal", cluster.said)
    eventually(
        lambda: [e["reason"] for e in cluster.all("events")] == ["PolicyEqual", "PolicyDifferent", "PolicyEqual"]
    )
    assert "eks_cilium_prover_equal 1\n" in service._metrics()
    assert service._ready() == "equal\n"


def test_a_heartbeat_keeps_it_young_though_nothing_happens(cluster: Cluster, start: Callable[..., Service]):
    start()
    eventually(lambda: cluster.verdict() == "equal")
    first = cluster.said()
    assert first is not None
    eventually(lambda: (now := cluster.said()) is not None and now.beat > first.beat + 3)
    later = cluster.said()
    assert later is not None
    assert (later.since, later.age) == (first.since, 0.0)


def test_what_cannot_be_read_makes_it_older_and_then_undecided(cluster: Cluster, start: Callable[..., Service]):
    service = start()
    eventually(lambda: cluster.verdict() == "equal")
    cluster.refused = "networkpolicies"
    cluster.cut()
    cluster.expired_below = 10**9
    eventually(lambda: cluster.verdict() == "undecided", cluster.said)
    said = cluster.said()
    assert said is not None
    assert "it cannot read networkpolicies" in said.why
    assert service.worker.state().age > 0.1
    cluster.refused, cluster.expired_below = "", 0
    eventually(lambda: cluster.verdict() == "equal", cluster.said)


def test_one_replica_publishes_and_the_other_takes_over_warm(cluster: Cluster, start: Callable[..., Service]):
    one = start("one")
    eventually(lambda: cluster.verdict() == "equal")
    two = start("two")
    eventually(lambda: two.worker.state().judgement is not None)
    assert two.publisher.published == 0
    one._lease._halted.set()  # as if it were killed: it renews no more, and publishes no more
    one.publisher.halt()
    eventually(lambda: (said := cluster.said()) is not None and said.by == "two", cluster.said)
    cluster.policy(BY_ADDRESS)
    eventually(lambda: cluster.verdict() == "different", cluster.said)


def test_a_bridge_out_of_step_makes_it_different_and_back(cluster: Cluster, start: Callable[..., Service]):
    def renew(lag: float, at: int) -> None:
        step = f'{{"complete": true, "lag": {lag}, "behind": 1, "pods": ["shop/web-1"]}}'
        cluster.put(
            "leases",
            "eks-cilium-bridge",
            namespace="kube-system",
            metadata={"annotations": {"eks-cilium.io/step": step}},
            spec={"holderIdentity": "b", "renewTime": str(at)},
        )

    renew(0.0, 1)
    start(bridge="eks-cilium-bridge", late_seconds=30)
    eventually(lambda: cluster.verdict() == "equal")
    renew(40.0, 2)
    eventually(lambda: cluster.verdict() == "different", cluster.said)
    said = cluster.said()
    assert said is not None
    assert "shop/web-1" in said.why
    renew(0.0, 3)
    eventually(lambda: cluster.verdict() == Verdict.EQUAL, cluster.said)


def test_where_calicos_policies_are_must_be_told(cluster: Cluster, start: Callable[..., Service]):
    container = {"name": "calico-node", "image": "calico/node:v3.30.1"}
    spec = {"template": {"spec": {"containers": [container]}}}
    cluster.put("daemonsets", "calico-node", namespace="calico-system", **thing("calico-node", spec=spec))
    service = start()
    eventually(lambda: cluster.verdict() == "undecided", cluster.said)
    said = cluster.said()
    assert said is not None
    assert "nothing of Calico is under crd.projectcalico.org/v1" in said.why
    assert service.worker._known.calico_version == (3, 30)
    cluster.drop("daemonsets", "calico-node", namespace="calico-system")
    eventually(lambda: cluster.verdict() == "equal", cluster.said)
