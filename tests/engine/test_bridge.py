"""The bridge as a process, under the exact rights of its service account, against a real API server."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import lifecycle, processes, record
from tests.engine.bridge_cluster import (
    CILIUM_CONFIG,
    ENDPOINTS,
    IDENTITIES,
    Api,
    Bridges,
    control_plane,
    eventually,
    free_ports,
)

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    directory = tmp_path_factory.mktemp("sandbox")
    try:
        found = control_plane(directory)
        found.namespace("shop", team="red")
        found.namespace("bank", team="blue")
        yield found
    finally:
        lifecycle.down(directory, print, purge=True)


@pytest.fixture
def bridges(api: Api, tmp_path: Path) -> Iterator[Bridges]:
    """None runs at first. What a test leaves behind is taken away, so that each begins with an empty cluster."""
    found = Bridges(api, tmp_path)
    try:
        yield found
        assert not [line for name in found.ports for line in found.log(name).splitlines() if "403" in line]
    finally:
        found.end()
        for pod in api.core.list_pod_for_all_namespaces().items:
            api.delete(pod.metadata.name, pod.metadata.namespace)
        for endpoint in api.all(ENDPOINTS):
            api.take_away(endpoint["metadata"]["name"], endpoint["metadata"]["namespace"])


def in_step(bridges: Bridges, seconds: float = 120.0) -> None:
    eventually(lambda: not bridges.api.wrong(), seconds, bridges.api.wrong)


def some_pods(api: Api, count: int = 20) -> None:
    for n in range(count):
        namespace = ("shop", "bank")[n % 2]
        api.pod(f"web-{n}", f"10.0.80.{n + 1}", namespace=namespace, labels={"app": f"app-{n % 5}"})


def test_it_is_in_step_after_its_start_with_each_identity_there_before_its_endpoint(api: Api, bridges: Bridges):
    some_pods(api)
    [port] = free_ports(1)
    bridges.start("one", port=port)
    in_step(bridges)
    eventually(lambda: bridges.get("one", "/readyz") == (200, "in step\n"), why=lambda: bridges.get("one", "/readyz"))
    made = {int(i["metadata"]["name"]): int(i["metadata"]["resourceVersion"]) for i in api.all(IDENTITIES)}
    for endpoint in api.all(ENDPOINTS):
        assert made[endpoint["status"]["identity"]["id"]] < int(endpoint["metadata"]["resourceVersion"])
    _, text = bridges.get("one", "/metrics")
    assert "eks_cilium_bridge_in_step 1\n" in text
    assert "eks_cilium_bridge_pods_without_identity 0\n" in text
    assert 'eks_cilium_bridge_writes_total{kind="make"} 20\n' in text
    eventually(lambda: bridges.says()["complete"] and not bridges.says()["behind"], why=bridges.says)
    assert bridges.stop("one") == 0
    assert bridges.holder() == ""


def test_it_follows_pods_labels_namespaces_and_addresses_that_are_used_again(api: Api, bridges: Bridges):
    some_pods(api, 6)
    bridges.start("one")
    in_step(bridges)
    api.core.patch_namespaced_pod("web-0", "shop", {"metadata": {"labels": {"app": "moved"}}})
    api.core.patch_namespace("bank", {"metadata": {"labels": {"team": "green"}}})
    api.delete("web-2")
    api.pod("again", "10.0.80.3")  # the address of web-2
    api.pod("early", annotated="10.0.80.99")
    in_step(bridges)
    team = "k8s:io.cilium.k8s.namespace.labels.team"
    eventually(lambda: api.labels_of("web-1", "bank").get(team) == "green")
    eventually(lambda: api.endpoint("early") is not None)
    assert api.endpoint("web-2") is None
    api.core.patch_namespace("bank", {"metadata": {"labels": {"team": "blue"}}})


def test_nothing_of_an_agents_is_touched_not_even_what_was_the_bridges_before(api: Api, bridges: Bridges):
    api.pod("web-0", "10.0.80.1")
    api.pod("own", "10.0.64.8", node="new")
    agents = api.adopt("own", "10.0.64.8", 300)
    bridges.start("one")
    in_step(bridges)
    bridges.kill("one")
    # While no bridge looks, an agent takes the name over. The pod stays, or Kubernetes' garbage collector would come.
    taken = api.adopt("web-0", "10.0.64.7", 301)
    assert taken["metadata"]["labels"]["eks-cilium.io/bridge"] == "true"
    bridges.start("two")
    api.pod("sign", "10.0.80.7")  # when this one has its endpoint, the bridge has looked at everything
    eventually(lambda: api.endpoint("sign") is not None, 90)
    assert [api.endpoint("own"), api.endpoint("web-0")] == [agents, taken]
    eventually(lambda: bridges.says()["pods"] == ["shop/web-0"], why=bridges.says)
    assert "another writer's" in bridges.says()["conflicts"][0]


def test_killed_between_any_two_writes_it_ends_in_step(api: Api, bridges: Bridges):
    rng = random.Random(7)  # noqa: S311
    before = {i["metadata"]["name"] for i in api.all(IDENTITIES)}
    for n in range(6):
        for i in range(8):
            api.pod(f"web-{n}-{i}", f"10.0.{80 + n}.{i + 1}", labels={"app": f"{n}-{i}"})
        if n:
            api.delete(f"web-{n - 1}-0")
        bridges.start(f"life-{n}")
        begun = time.monotonic()
        wanted = rng.randint(1, 7) + len([e for e in api.all(ENDPOINTS) if e["metadata"]["name"].startswith("web")])
        while len(api.all(ENDPOINTS)) < wanted and time.monotonic() < begun + 20:
            time.sleep(rng.uniform(0, 0.02))
        bridges.kill(f"life-{n}")
        assert before <= {i["metadata"]["name"] for i in api.all(IDENTITIES)}, "an identity was deleted"
    bridges.start("last")
    in_step(bridges)


def test_of_two_replicas_one_writes_and_the_other_takes_over(api: Api, bridges: Bridges):
    first, second = free_ports(2)
    bridges.start("one", port=first)
    eventually(lambda: bridges.holder() == "one", 90)
    bridges.start("two", port=second)
    some_pods(api, 4)
    in_step(bridges)
    eventually(lambda: bridges.get("two", "/readyz")[0] == 200, 90, lambda: bridges.get("two", "/readyz"))
    assert "eks_cilium_bridge_leader 0\n" in bridges.get("two", "/metrics")[1]
    assert "writes_total{" not in bridges.get("two", "/metrics")[1]
    bridges.kill("one")
    api.pod("later", "10.0.80.50")
    in_step(bridges)
    assert bridges.holder() == "two"
    bridges.start("three")
    assert bridges.stop("two") == 0
    api.pod("last", "10.0.80.51")
    in_step(bridges)
    assert bridges.holder() == "three"


def test_it_leaves_takes_its_endpoints_along_and_comes_back_when_it_is_told(api: Api, bridges: Bridges):
    some_pods(api, 5)
    api.pod("own", "10.0.64.8", node="new")
    api.adopt("own", "10.0.64.8", 300)
    bridges.start("one")
    in_step(bridges)
    identities = len(api.all(IDENTITIES))
    left = bridges.run("leave")
    assert left.returncode == 0, left.stderr
    assert "5 endpoints deleted" in left.stdout
    assert "identities that nobody names any more, harmless: " in left.stdout
    assert [e["metadata"]["name"] for e in api.all(ENDPOINTS)] == ["own"]
    api.pod("later", "10.0.80.50")
    time.sleep(3)
    assert api.endpoint("later") is None
    assert bridges.running["one"].poll() is None
    assert len(api.all(IDENTITIES)) == identities
    assert bridges.run("leave").returncode == 0
    assert bridges.run("come-back").returncode == 0
    in_step(bridges)


def test_it_refuses_to_start_where_it_cannot_work_and_ends_when_it_no_longer_can(api: Api, bridges: Bridges):
    bridges.start("one")
    eventually(lambda: bridges.holder() == "one", 90)
    wrong = {**CILIUM_CONFIG, "routing-mode": "tunnel", "unmanaged-pod-watcher-interval": "15s"}
    api.core.replace_namespaced_config_map(
        "cilium-config", "kube-system", {"metadata": {"name": "cilium-config"}, "data": wrong}
    )
    try:
        assert bridges.running["one"].wait(90) == 1
        process = bridges.start("two")
        assert process.wait(90) == 1
        for name in ("one", "two"):
            text = bridges.log(name)
            assert "Traceback" not in text
            assert "routing-mode is not 'native'" in text
            assert "unmanaged-pod-watcher-interval is '15s'" in text
    finally:
        right = {"metadata": {"name": "cilium-config"}, "data": CILIUM_CONFIG}
        api.core.replace_namespaced_config_map("cilium-config", "kube-system", right)


def test_it_gets_over_an_api_server_that_starts_again_and_over_watches_that_expired(api: Api, bridges: Bridges):
    some_pods(api, 4)
    process = bridges.start("one")
    in_step(bridges)
    process.send_signal(signal.SIGSTOP)
    api.delete("web-0")
    api.pod("later", "10.0.80.50")
    run = record.read(api.directory)
    assert run is not None
    # Nothing older than now can be watched when it is there again: neither it nor etcd has the history.
    revision = api.core.list_pod_for_all_namespaces().metadata.resource_version
    processes.stop([run.processes["kube-apiserver"]])
    _compact(run.ports["etcd"], revision)
    lifecycle.up(api.directory, print, daemon=False)
    process.send_signal(signal.SIGCONT)
    in_step(bridges)
    assert process.poll() is None
    assert api.endpoint("later") is not None


def _compact(port: int, revision: str) -> None:
    body = f'{{"revision": {revision}, "physical": true}}'
    url = f"http://127.0.0.1:{port}/v3/kv/compaction"
    subprocess.run(["curl", "-sf", "-X", "POST", "-d", body, url], check=True, capture_output=True, timeout=20)
