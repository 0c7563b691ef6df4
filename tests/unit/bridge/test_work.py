"""The bridge at work against an API server in memory: lost answers, expired watches, kills, turns, and its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bridge.names import LEAVING, STEP
from bridge.options import Options
from bridge.process import requests, service, work
from bridge.process.lease import lease
from bridge.process.leave import come_back, leave
from bridge.process.service import Refused, Service
from kube import lease as leases
from tests.unit.bridge.api import Api
from tests.unit.bridge.cluster import WORKS

QUIET = Options(listen="")


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEWAL", 0.05)
    monkeypatch.setattr(leases, "TRUST", 0.5)
    monkeypatch.setattr(leases, "DURATION", 0.8)
    monkeypatch.setattr("bridge.process.leave.DURATION", 0.8)
    monkeypatch.setattr(work, "_FIRST_WAIT", 0.02)
    monkeypatch.setattr(service, "CONFIG_SECONDS", 0.05)


class Home:
    """A cluster with pods on one legacy node."""

    def __init__(self, **api: Any) -> None:
        self.api = Api(**api)
        self.api.put("namespaces", "shop", metadata={"labels": {"team": "red"}})
        self.node("legacy", "10.0.0.21")
        self.api.put("configmaps", "cilium-config", namespace="kube-system", data=dict(WORKS))
        self.running: list[tuple[Service, threading.Thread]] = []

    def node(self, name: str, address: str) -> None:
        status = {"addresses": [{"type": "InternalIP", "address": address}]}
        self.api.put("nodes", name, metadata={"labels": {"cni-plugin": "aws"}}, status=status)

    def pod(self, name: str, address: str, **labels: str) -> None:
        self.api.put(
            "pods",
            name,
            namespace="shop",
            metadata={"labels": labels or {"app": name}},
            spec={"nodeName": "legacy", "containers": []},
            status={"phase": "Running", "podIP": address},
        )

    def start(self, me: str = "one", options: Options = QUIET) -> Service:
        made = Service(self.api, options, me)
        thread = threading.Thread(target=made.run, daemon=True)
        thread.start()
        self.running.append((made, thread))
        return made

    def stop(self) -> None:
        for made, _ in self.running:
            made.stop()
        self.api.before = lambda _method, _path: None
        self.api.cut()
        for _, thread in self.running:
            thread.join(20)
            assert not thread.is_alive()
        self.running.clear()

    def wrong(self) -> list[str]:
        identities = {o["metadata"]["name"]: o["security-labels"] for o in self.api.all("ciliumidentities")}
        endpoints = {o["metadata"]["name"]: o for o in self.api.all("ciliumendpoints")}
        found = []
        for pod in self.api.all("pods"):
            name = pod["metadata"]["name"]
            endpoint = endpoints.pop(name, None)
            if endpoint is None:
                found.append(f"{name} has no endpoint")
                continue
            labels = identities.get(str(endpoint["status"]["identity"]["id"]), {})
            if labels.get("k8s:app") != pod["metadata"]["labels"]["app"]:
                found.append(f"{name} is taken for {labels}")
            if endpoint["status"]["networking"]["addressing"] != [{"ipv4": pod["status"]["podIP"]}]:
                found.append(f"{name} has another address")
        return found + [f"{name} has no pod" for name, e in endpoints.items() if not e["status"].get("id")]


@pytest.fixture
def homes() -> Iterator[Callable[..., Home]]:
    made: list[Home] = []

    def make(**api: Any) -> Home:
        made.append(Home(**api))
        return made[-1]

    yield make
    for home in made:
        home.stop()


def eventually(true: Callable[[], Any], seconds: float = 20.0, why: Callable[[], Any] = lambda: "") -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, why()
        time.sleep(0.01)


def test_it_comes_into_step_follows_what_happens_and_gives_the_lease_up_at_its_end(homes: Callable[..., Home]):
    home = homes()
    for n in range(30):
        home.pod(f"web-{n}", f"10.0.80.{n}", app=f"app-{n % 3}")
    bridge = home.start()
    eventually(lambda: not home.wrong(), why=home.wrong)
    assert len(home.api.all("ciliumidentities")) == 3
    eventually(lambda: not bridge.late())
    home.api.drop("pods", "web-0", namespace="shop")
    home.pod("web-1", "10.0.80.0", app="moved")
    eventually(lambda: not home.wrong(), why=home.wrong)
    home.stop()
    [lease] = home.api.all("leases")
    assert lease["spec"]["holderIdentity"] == ""
    assert home.api.asked["DELETE", "ciliumidentities"] == 0


@pytest.mark.parametrize("seed", range(4))
def test_answers_that_get_lost_leave_nothing_wrong_and_nothing_twice(homes: Callable[..., Home], seed: int):
    home = homes(lost=0.4, seed=seed)
    for n in range(20):
        home.pod(f"web-{n}", f"10.0.80.{n}", app=f"app-{n % 4}")
    home.start()
    for n in range(10):
        home.pod(f"web-{n}", f"10.0.80.{n}", app=f"app-{(n + 1) % 4}")
        home.api.drop("pods", f"web-{n + 10}", namespace="shop")
    eventually(lambda: not home.wrong(), 40, home.wrong)
    labels = [tuple(sorted(o["security-labels"].items())) for o in home.api.all("ciliumidentities")]
    assert len(labels) == len(set(labels))


def test_watches_that_expired_are_begun_again_with_a_list(homes: Callable[..., Home]):
    home = homes()
    home.pod("web-0", "10.0.80.0")
    home.start()
    eventually(lambda: not home.wrong())
    home.api.expired_below = 10**9
    home.api.cut()
    home.pod("web-1", "10.0.80.1")
    home.api.drop("pods", "web-0", namespace="shop")
    kinds = list(requests.READS)
    before = {kind: home.api.asked["GET", kind] for kind in kinds}
    eventually(lambda: all(home.api.asked["GET", kind] > before[kind] for kind in kinds))
    home.api.expired_below = 0
    eventually(lambda: not home.wrong(), 40, home.wrong)


def test_what_it_cannot_read_makes_it_blind_and_a_blind_bridge_writes_nothing(homes: Callable[..., Home]):
    home = homes()
    refused = threading.Event()

    def before(_method: str, path: str) -> None:
        if refused.is_set() and "/nodes" in path:
            raise OSError("no rights")

    home.api.before = before
    bridge = home.start()
    home.pod("web-0", "10.0.80.0")
    eventually(lambda: not home.wrong())
    refused.set()
    home.api.cut()
    home.api.expired_below = 10**9
    eventually(lambda: "it cannot read" in bridge.late(), why=bridge.late)
    home.pod("web-1", "10.0.80.1")
    time.sleep(0.3)
    assert home.wrong() == ["web-1 has no endpoint"]
    refused.clear()
    home.api.expired_below = 0
    home.api.cut()
    eventually(lambda: not home.wrong(), 40, home.wrong)


def test_of_two_one_writes_and_when_it_dies_the_other_does(homes: Callable[..., Home]):
    home = homes()
    dead = threading.Event()
    one = home.start("one")
    eventually(lambda: one.worker.writes)
    two = home.start("two")
    home.pod("web-0", "10.0.80.0")
    eventually(lambda: not home.wrong())
    eventually(lambda: not two.late())
    assert (one.worker.writes, two.worker.writes) == (True, False)
    assert two.worker.counts.total() == 0

    def before(_method: str, _path: str) -> None:
        if dead.is_set() and threading.current_thread() in threads:
            raise OSError("killed")

    threads = [t for t in threading.enumerate() if t.name == "lease"][:1]
    home.api.before = before
    dead.set()
    home.pod("web-1", "10.0.80.1")
    eventually(lambda: two.worker.writes)
    assert not one.worker.writes or not one._lease.mine
    eventually(lambda: not home.wrong())


def test_it_leaves_everything_of_others_and_stays_away_until_told(homes: Callable[..., Home]):
    home = homes()
    for n in range(5):
        home.pod(f"web-{n}", f"10.0.80.{n}")
    home.start()
    eventually(lambda: not home.wrong())
    there = home.api.objects["ciliumendpoints", "shop", "web-4"]
    there["status"] |= {"id": 7, "state": "ready"}
    agents = home.api.put("ciliumendpoints", "web-4", namespace="shop", **there)
    said: list[str] = []
    left = leave(home.api, QUIET, say=said.append)
    assert (left.deleted, left.kept) == (4, ("shop/web-4",))
    assert len(left.unused) == 4
    assert home.api.all("ciliumendpoints") == [agents]
    assert len(home.api.all("ciliumidentities")) == 5
    time.sleep(0.3)
    assert home.api.all("ciliumendpoints") == [agents]
    assert "the bridge leaves this cluster" in home.running[0][0].late()
    assert "it leaves since" in home.running[0][0].ready()
    assert leave(home.api, QUIET).deleted == 0
    come_back(home.api, QUIET)
    eventually(lambda: len(home.api.all("ciliumendpoints")) == 5)


def test_a_lease_that_says_leaving_is_taken_by_nobody():
    api = Api()
    api.put("leases", "eks-cilium-bridge", namespace="kube-system", metadata={"annotations": {LEAVING: "now"}}, spec={})
    found = lease(api, Options(), me="one", step=lambda: "{}")
    found.round()
    assert not found.mine


def test_somebody_elses_lease_is_taken_only_after_it_stood_still_for_its_whole_duration():
    clock = [0.0]
    api = Api()
    holds = {"holderIdentity": "other", "renewTime": "a clock that is wrong by years"}
    api.put("leases", "b", namespace="kube-system", spec=holds)
    found = leases.Lease(api, namespace="kube-system", name="b", me="me", clock=lambda: clock[0])
    for second in (0.0, 0.7):
        clock[0] = second
        found.round()
        assert not found.mine
    api.put("leases", "b", namespace="kube-system", spec={**holds, "renewTime": "later"})
    for second in (0.9, 1.6):
        clock[0] = second
        found.round()
        assert not found.mine
    clock[0] = 1.8
    found.round()
    assert found.mine
    clock[0] = 2.4  # it could not renew: its own trust ends before anybody else may take it
    assert not found.mine


def test_it_refuses_before_it_writes_anything(homes: Callable[..., Home]):
    home = homes()
    home.api.put("configmaps", "cilium-config", namespace="kube-system", data={**WORKS, "routing-mode": "tunnel"})
    with pytest.raises(Refused, match=r"routing-mode is not 'native'.*"):
        Service(home.api, QUIET, "one")
    home.api.drop("configmaps", "cilium-config", namespace="kube-system")
    with pytest.raises(Refused, match=r"There is no ConfigMap.*install Cilium before the bridge"):
        Service(home.api, QUIET, "one")
    assert {method for method, _ in home.api.asked} == {"GET"}


def test_it_reads_what_agents_of_some_nodes_are_told_at_its_start_and_later(homes: Callable[..., Home]):
    home = homes()
    home.api.put("ciliumnodeconfigs", "gpu", namespace="kube-system", spec={"defaults": {"labels": "k8s:app"}})
    with pytest.raises(Refused, match="CiliumNodeConfig gpu sets labels to 'k8s:app'"):
        Service(home.api, QUIET, "one")
    home.api.put("ciliumnodeconfigs", "gpu", namespace="kube-system", spec={"defaults": {"devices": "eth1"}})
    service = Service(home.api, QUIET, "one")
    home.api.put("ciliumnodeconfigs", "gpu", namespace="kube-system", spec={"defaults": {"labels": "k8s:app"}})
    with pytest.raises(Refused, match="CiliumNodeConfig gpu"):
        service.run()


def test_another_list_of_labels_gives_every_pod_another_identity(homes: Callable[..., Home]):
    home = homes()
    home.pod("web-0", "10.0.80.0")
    home.start()
    eventually(lambda: not home.wrong())
    data = {**WORKS, "labels": "k8s:app k8s:io.kubernetes.pod.namespace"}
    home.api.put("configmaps", "cilium-config", namespace="kube-system", data=data)

    def labels() -> set[str]:
        number = str(home.api.all("ciliumendpoints")[0]["status"]["identity"]["id"])
        return set(home.api.objects["ciliumidentities", "", number]["security-labels"])

    eventually(lambda: "k8s:io.cilium.k8s.policy.serviceaccount" not in labels() and "k8s:app" in labels())


def test_out_of_step_for_too_long_is_an_event_and_a_lease_that_says_so(homes: Callable[..., Home]):
    home = homes()
    home.pod("first", "10.0.80.1")
    home.pod("second", "10.0.80.1")
    bridge = home.start(options=Options(listen="127.0.0.1:0", late_seconds=1))
    eventually(lambda: "pods without their identity: shop/first" in bridge.late(), why=bridge.late)
    eventually(lambda: home.api.all("events"))
    event = home.api.all("events")[0]
    assert (event["type"], event["reason"]) == ("Warning", "OutOfStep")
    assert "pod shop/first has the address 10.0.80.1, and so has pod shop/second" in event["message"]
    eventually(lambda: leases.beside(home.api.all("leases")[0], STEP)["pods"] == ["shop/first"])
    home.api.drop("pods", "second", namespace="shop")
    eventually(lambda: [e for e in home.api.all("events") if e["reason"] == "InStep"])


def test_every_request_that_was_made_is_among_the_rights(homes: Callable[..., Home]):
    home = homes(lost=0.2)
    for n in range(10):
        home.pod(f"web-{n}", f"10.0.80.{n}")
    home.start()
    home.api.drop("pods", "web-0", namespace="shop")
    eventually(lambda: not home.wrong(), 40)
    leave(home.api, QUIET)
    verbs = {"GET": {"get", "list"}, "POST": {"create"}, "PUT": {"update"}, "PATCH": {"patch"}, "DELETE": {"delete"}}
    granted = {(resource, verb) for _, resource, found in requests.RIGHTS for verb in found}
    granted |= {(resource, verb) for _, resource, found, _ in requests.NAMED_RIGHTS for verb in found}
    for method, kind in home.api.asked:
        assert {(kind, verb) for verb in verbs[method]} & granted, (method, kind)
    assert ("ciliumidentities", "delete") not in granted
