"""The control plane and what plays kubelet, with the real binaries."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import kubernetes
import pytest

from sandbox import lifecycle, processes, record
from sandbox.processes import Process

pytestmark = pytest.mark.engine

WIRED = {"sandbox/wired-by": "aws", "sandbox/pod-ip": "10.0.64.7"}


class Cluster:
    """One started control plane, with clients and short ways to make and await objects."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        client = kubernetes.config.new_client_from_config(str(directory / "kubeconfig"))
        self.core = kubernetes.client.CoreV1Api(client)
        self.apps = kubernetes.client.AppsV1Api(client)
        self.batch = kubernetes.client.BatchV1Api(client)
        self.version = kubernetes.client.VersionApi(client)

    def node(self, name: str, address: str) -> None:
        self.core.create_node(
            {
                "metadata": {"name": name, "annotations": {"kwok.x-k8s.io/node": "fake"}},
                "status": {
                    "addresses": [{"type": "InternalIP", "address": address}],
                    "capacity": {"cpu": "4", "memory": "16Gi", "pods": "58"},
                },
            }
        )

    def set_node_ready(self, name: str) -> None:
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
        self.core.patch_node_status(name, {"status": {"conditions": [ready]}})

    def pod(self, name: str, *, node: str | None, annotations: dict[str, str] | None = None, **spec: Any) -> None:
        self.core.create_namespaced_pod(
            "default",
            {
                "metadata": {"name": name, "annotations": annotations or {}, "labels": {"app": name}},
                "spec": {"nodeName": node, "containers": [{"name": "main", "image": "example"}], **spec},
            },
        )

    def read(self, name: str) -> Any:
        return self.core.read_namespaced_pod(name, "default")

    def is_ready(self, name: str) -> bool:
        return condition(self.read(name), "Ready") == "True"

    def annotate(self, name: str, annotations: dict[str, str | None]) -> None:
        self.core.patch_namespaced_pod(name, "default", {"metadata": {"annotations": annotations}})

    def is_gone(self, name: str) -> bool:
        try:
            self.read(name)
        except kubernetes.client.ApiException as error:
            return bool(error.status == 404)
        return False


def condition(thing: Any, kind: str) -> str | None:
    return next((str(found.status) for found in thing.status.conditions or [] if found.type == kind), None)


def eventually(true: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("sandbox")
    lifecycle.up(directory, print, daemon=False)
    try:
        yield Cluster(directory)
    finally:
        lifecycle.down(directory, print, purge=True)


@pytest.fixture(scope="module")
def node(cluster: Cluster) -> str:
    cluster.node("ready-node", "10.0.1.1")
    eventually(lambda: condition(cluster.core.read_node("ready-node"), "Ready") == "False")
    cluster.set_node_ready("ready-node")
    return "ready-node"


def test_every_binary_says_its_pinned_version(cluster: Cluster):
    assert cluster.version.get_code().git_version == "v1.35.4"


def test_a_node_is_not_ready_until_somebody_says_so_and_then_stays_ready(cluster: Cluster):
    cluster.node("slow-node", "10.0.1.2")
    eventually(lambda: condition(cluster.core.read_node("slow-node"), "Ready") == "False")
    time.sleep(5)
    assert condition(cluster.core.read_node("slow-node"), "Ready") == "False"
    cluster.set_node_ready("slow-node")
    # Longer than the node controller waits for a heartbeat (40 s) and looks again (5 s).
    for _ in range(13):
        time.sleep(5)
        assert condition(cluster.core.read_node("slow-node"), "Ready") == "True"


def test_a_host_network_daemon_runs_at_once_on_a_node_that_is_not_ready(cluster: Cluster):
    cluster.node("new-node", "10.0.1.3")
    cluster.core.patch_node("new-node", {"metadata": {"labels": {"cni": "test"}}})
    template = {
        "metadata": {"labels": {"app": "agent"}},
        "spec": {
            "hostNetwork": True,
            "nodeSelector": {"cni": "test"},
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "agent", "image": "example"}],
        },
    }
    cluster.apps.create_namespaced_daemon_set(
        "default",
        {"metadata": {"name": "agent"}, "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": template}},
    )

    def ready() -> bool:
        return bool(cluster.apps.read_namespaced_daemon_set("agent", "default").status.number_ready == 1)

    eventually(ready)
    [pod] = cluster.core.list_namespaced_pod("default", label_selector="app=agent").items
    assert pod.status.pod_ip == "10.0.1.3"
    assert condition(cluster.core.read_node("new-node"), "Ready") == "False"


def test_a_pod_of_its_own_network_runs_only_once_it_is_wired(cluster: Cluster, node: str):
    cluster.pod("worker", node=node)
    eventually(lambda: cluster.read("worker").status.start_time is not None)
    time.sleep(1)
    assert cluster.read("worker").status.phase == "Pending"
    assert cluster.read("worker").status.container_statuses[0].state.waiting.reason == "ContainerCreating"
    cluster.annotate("worker", dict(WIRED))
    eventually(lambda: cluster.is_ready("worker"))
    assert (cluster.read("worker").status.pod_ip, cluster.read("worker").status.host_ip) == ("10.0.64.7", "10.0.1.1")


def test_a_pod_waits_for_its_readiness_gates(cluster: Cluster, node: str):
    gate = "target-health.example/group"
    cluster.pod("gated", node=node, annotations=WIRED, readinessGates=[{"conditionType": gate}])
    eventually(lambda: cluster.read("gated").status.phase == "Running")
    time.sleep(0.5)
    assert not cluster.is_ready("gated")

    def follows(wanted: bool) -> bool:
        return cluster.is_ready("gated") == wanted

    for status in ("True", "False", "True"):
        body = {"status": {"conditions": [{"type": gate, "status": status}]}}
        cluster.core.patch_namespaced_pod_status("gated", "default", body)
        eventually(partial(follows, status == "True"))


def test_a_pod_can_be_made_unready_and_repaired(cluster: Cluster, node: str):
    cluster.pod("sick", node=node, annotations=WIRED)
    eventually(lambda: cluster.is_ready("sick"))
    cluster.annotate("sick", {"sandbox/ready": "false"})
    eventually(lambda: not cluster.is_ready("sick"))
    assert not cluster.read("sick").status.container_statuses[0].ready
    cluster.annotate("sick", {"sandbox/ready": None})
    eventually(lambda: cluster.is_ready("sick"))


def test_pods_that_the_node_controller_marked_unready_recover(cluster: Cluster, node: str):
    cluster.pod("marked", node=node, annotations=WIRED)
    eventually(lambda: cluster.is_ready("marked"))
    # What MarkPodsNotReady of the node life cycle controller writes: Ready, and nothing else.
    before = cluster.read("marked").metadata.resource_version
    body = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    assert cluster.core.patch_namespaced_pod_status("marked", "default", body).metadata.resource_version != before
    eventually(lambda: cluster.is_ready("marked"))


def test_a_job_completes_and_a_failing_pod_fails(cluster: Cluster, node: str):
    template = {
        "metadata": {"annotations": WIRED},
        "spec": {"nodeName": node, "restartPolicy": "Never", "containers": [{"name": "main", "image": "example"}]},
    }
    cluster.batch.create_namespaced_job("default", {"metadata": {"name": "once"}, "spec": {"template": template}})
    cluster.pod("failing", node=node, annotations={**WIRED, "sandbox/exit": "failed"}, restartPolicy="Never")
    eventually(lambda: cluster.batch.read_namespaced_job_status("once", "default").status.succeeded == 1)
    eventually(lambda: cluster.read("failing").status.phase == "Failed")
    assert cluster.read("failing").status.container_statuses[0].state.terminated.exit_code == 1


def test_a_finalizer_holds_a_deleted_pod_whose_containers_have_stopped(cluster: Cluster, node: str):
    cluster.pod("held", node=node, annotations=WIRED)
    cluster.core.patch_namespaced_pod("held", "default", {"metadata": {"finalizers": ["example.com/hold"]}})
    eventually(lambda: cluster.is_ready("held"))
    cluster.core.delete_namespaced_pod("held", "default")
    eventually(lambda: cluster.read("held").status.phase == "Succeeded")
    time.sleep(1)
    assert not cluster.is_gone("held")
    cluster.core.patch_namespaced_pod("held", "default", {"metadata": {"finalizers": None}})
    eventually(lambda: cluster.is_gone("held"))


@pytest.mark.parametrize(
    ("delay", "grace", "bounds"),
    [(None, 30, (0.0, 1.5)), ("2s", 30, (1.5, 4.0)), ("1h", 2, (1.5, 4.0))],
)
def test_a_deleted_pod_takes_its_stop_delay_but_never_more_than_its_grace(
    cluster: Cluster, node: str, delay: str | None, grace: int, bounds: tuple[float, float]
):
    name = f"ending-{delay or 'plain'}-{grace}"
    annotations = {**WIRED, **({"sandbox/stop-delay": delay} if delay else {})}
    cluster.pod(name, node=node, annotations=annotations, terminationGracePeriodSeconds=grace)
    eventually(lambda: cluster.is_ready(name))
    begun = time.monotonic()
    cluster.core.delete_namespaced_pod(name, "default")
    eventually(lambda: cluster.is_gone(name))
    assert bounds[0] <= time.monotonic() - begun <= bounds[1]


def test_a_save_brings_back_objects_and_keeps_addresses_and_readiness(tmp_path: Path):
    try:
        first = lifecycle.up(tmp_path, print, daemon=False)
        cluster = Cluster(tmp_path)
        cluster.node("kept-node", "10.0.1.9")
        eventually(lambda: condition(cluster.core.read_node("kept-node"), "Ready") == "False")
        cluster.set_node_ready("kept-node")
        cluster.core.create_namespace({"metadata": {"name": "kept"}})
        lifecycle.save(tmp_path, "one", print)
        cluster.core.create_namespace({"metadata": {"name": "later"}})
        second = lifecycle.restore(tmp_path, "one", print)
        names = {namespace.metadata.name for namespace in cluster.core.list_namespace().items}
        assert "kept" in names
        assert "later" not in names
        assert second.apiserver == first.apiserver
        # The lease has a new holder at once, so the node controller has nothing to complain about.
        eventually(lambda: any_lease_is_fresh(cluster, "kept-node"))
        assert condition(cluster.core.read_node("kept-node"), "Ready") == "True"
    finally:
        run = record.read(tmp_path)
        lifecycle.down(tmp_path, print)
    assert run
    assert not any(process.alive() for process in run.processes.values())
    assert [path.name for path in tmp_path.iterdir()] == ["saves"]


def any_lease_is_fresh(cluster: Cluster, node: str) -> bool:
    api = kubernetes.client.CoordinationV1Api(cluster.core.api_client)
    leases = api.list_namespaced_lease("kube-node-lease").items
    return any(lease.metadata.name == node and lease.spec.holder_identity for lease in leases)


def test_a_dead_process_is_seen_and_up_starts_the_rest_again(tmp_path: Path):
    try:
        run = lifecycle.up(tmp_path, print, daemon=False)
        scheduler: Process = run.processes["kube-scheduler"]
        processes.stop([scheduler])
        assert not lifecycle.status(tmp_path)["running"]
        assert lifecycle.status(tmp_path)["processes"]["kube-scheduler"]["state"] == "gone"
        again = lifecycle.up(tmp_path, print, daemon=False)
        assert again.running()
        assert again.apiserver == run.apiserver
    finally:
        lifecycle.down(tmp_path, print)
