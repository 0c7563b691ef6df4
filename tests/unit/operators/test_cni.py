"""Nodes become Ready, and pods get addresses, as the CNI agents on them allow."""

import pytest

from sandbox.operators import kube
from sandbox.operators.cni import CONF, POD_IP, WIRED_BY, CniController
from tests.unit.operators.fakes import FakeCluster, FakeNetwork, agent, cilium_config, cilium_node, node, pod


@pytest.fixture
def cluster() -> FakeCluster:
    found = FakeCluster()
    found.put(kube.NODES, node("one"))
    return found


@pytest.fixture
def network() -> FakeNetwork:
    found = FakeNetwork()
    found.launch("i-one")
    return found


@pytest.fixture
def cni(cluster: FakeCluster, network: FakeNetwork) -> CniController:
    return CniController(cluster, network)


def ready(cluster: FakeCluster) -> str:
    return str(kube.condition(cluster.get(kube.NODES, "one"), "Ready")["status"])


def wiring(cluster: FakeCluster, name: str) -> tuple[str | None, str | None]:
    seen = kube.annotations(cluster.get(kube.PODS, name, "apps"))
    return seen.get(WIRED_BY), seen.get(POD_IP)


def test_a_node_without_an_agent_stays_not_ready_and_its_pods_wait(cluster, cni):
    cluster.put(kube.PODS, pod("app", "one"))
    cni.reconcile()
    assert ready(cluster) == "False"
    assert wiring(cluster, "app") == (None, None)


@pytest.mark.parametrize(("is_ready", "status"), [(False, "False"), (True, "True")])
def test_aws_node_makes_a_node_ready_once_it_is_ready_itself(cluster, cni, is_ready, status):
    cluster.put(kube.PODS, agent("aws", "one", ready=is_ready))
    cni.reconcile()
    assert ready(cluster) == status


def test_a_node_stays_ready_when_its_agent_restarts_but_new_pods_wait(cluster, cni):
    running = cluster.put(kube.PODS, agent("aws", "one"))
    cni.reconcile()
    cluster.delete(kube.PODS, running)
    cluster.put(kube.PODS, pod("app", "one"))
    cni.reconcile()
    assert ready(cluster) == "True"
    assert wiring(cluster, "app") == (None, None)


def test_cilium_needs_addresses_from_its_operator_before_a_node_is_ready(cluster, cni):
    cluster.put(kube.CONFIG_MAPS, cilium_config())
    cluster.put(kube.PODS, agent("cilium", "one"))
    cluster.put(kube.CILIUM_NODES, cilium_node("one"))
    cni.reconcile()
    assert ready(cluster) == "False"
    cluster.put(kube.CILIUM_NODES, cilium_node("one", "10.0.0.50", "10.0.0.51", "10.0.0.52"))
    cni.reconcile()
    assert ready(cluster) == "True"


def test_cilium_pods_get_pool_addresses_but_not_the_agents_own(cluster, cni):
    cluster.put(kube.CONFIG_MAPS, cilium_config())
    cluster.put(kube.PODS, agent("cilium", "one"))
    cluster.put(kube.CILIUM_NODES, cilium_node("one", "10.0.0.50", "10.0.0.51", "10.0.0.52"))
    cluster.put(kube.PODS, pod("app", "one"))
    cluster.put(kube.PODS, pod("late", "one"))
    cni.reconcile()
    assert wiring(cluster, "app") == ("cilium", "10.0.0.52")
    assert wiring(cluster, "late") == (None, None)


def test_a_secondary_cilium_does_not_wire_pods(cluster, cni):
    config = cilium_config()
    del config["data"]["write-cni-conf-when-ready"]
    cluster.put(kube.CONFIG_MAPS, config)
    for cni_name in ("aws", "cilium"):
        cluster.put(kube.PODS, agent(cni_name, "one"))
    cluster.put(kube.CILIUM_NODES, cilium_node("one", "10.0.0.50", "10.0.0.51", "10.0.0.52"))
    cluster.put(kube.PODS, pod("app", "one"))
    cni.reconcile()
    assert wiring(cluster, "app")[0] == "aws"


def test_two_agents_on_a_node_are_reported_once_and_cilium_wires(cluster, cni):
    cluster.put(kube.CONFIG_MAPS, cilium_config(cni_exclusive="false"))
    for cni_name in ("aws", "cilium"):
        cluster.put(kube.PODS, agent(cni_name, "one"))
    cluster.put(kube.CILIUM_NODES, cilium_node("one", "10.0.0.50", "10.0.0.51", "10.0.0.52"))
    cluster.put(kube.PODS, pod("app", "one"))
    cni.reconcile()
    cni.reconcile()
    assert [e["reason"] for e in cluster.list(kube.EVENTS)] == ["TwoCniAgents"]
    assert kube.annotations(cluster.get(kube.NODES, "one"))[CONF] == "05-cilium.conflist,10-aws.conflist"
    assert wiring(cluster, "app")[0] == "cilium"


def test_chained_cilium_wires_with_addresses_of_the_vpc_cni_and_is_no_misconfiguration(cluster, cni, network):
    cluster.put(kube.CONFIG_MAPS, cilium_config(cni_chaining_mode="aws-cni", cni_exclusive="false", ipam="x"))
    for cni_name in ("aws", "cilium"):
        cluster.put(kube.PODS, agent(cni_name, "one"))
    cluster.put(kube.PODS, pod("app", "one"))
    cni.reconcile()
    assert cluster.list(kube.EVENTS) == []
    assert wiring(cluster, "app")[0] == "cilium"
    assert wiring(cluster, "app")[1] in network.instances["i-one"].secondary()


def test_pods_of_the_vpc_cni_count_against_interfaces_and_never_share_an_address(cluster, cni, network):
    cluster.put(kube.PODS, agent("aws", "one"))
    for number in range(11):
        cluster.put(kube.PODS, pod(f"app-{number}", "one"))
    for _ in range(3):
        cni.reconcile()
    found = [wiring(cluster, f"app-{n}")[1] for n in range(11)]
    wired = [a for a in found if a]
    # Three interfaces of four addresses, one of which is each interface's own.
    assert len(wired) == len(set(wired)) == 9
    assert len(network.instances["i-one"].interfaces) == 3


def test_a_full_subnet_leaves_pods_waiting(cluster):
    network = FakeNetwork(room=3)
    network.launch("i-one")
    cluster.put(kube.PODS, agent("aws", "one"))
    for number in range(4):
        cluster.put(kube.PODS, pod(f"app-{number}", "one"))
    CniController(cluster, network).reconcile()
    assert sum(wiring(cluster, f"app-{n}")[1] is not None for n in range(4)) == 2
    assert network.free("subnet-a") == 0


def test_an_address_goes_back_to_the_subnet_with_its_pod(cluster, cni, network):
    cluster.put(kube.PODS, agent("aws", "one"))
    app = cluster.put(kube.PODS, pod("app", "one"))
    cni.reconcile()
    assert network.free("subnet-a") == 98
    cluster.delete(kube.PODS, app)
    cni.reconcile()
    assert network.free("subnet-a") == 99


def test_an_address_given_a_moment_ago_survives_a_cache_that_lags(cluster, cni, network):
    cluster.put(kube.PODS, agent("aws", "one"))
    stale = cluster.put(kube.PODS, pod("app", "one"))
    before = kube.annotations(stale).copy()
    cni.reconcile()
    given = wiring(cluster, "app")[1]
    cluster.get(kube.PODS, "app", "apps")["metadata"]["annotations"] = before
    cluster.put(kube.PODS, pod("other", "one"))
    cni.reconcile()
    assert wiring(cluster, "other")[1] != given
    assert given in network.instances["i-one"].secondary()


def test_host_network_finished_and_deleted_pods_are_left_alone(cluster, cni):
    cluster.put(kube.PODS, agent("aws", "one"))
    cluster.put(kube.PODS, pod("host", "one", host=True))
    done = pod("done", "one")
    done["status"]["phase"] = "Succeeded"
    cluster.put(kube.PODS, done)
    going = pod("going", "one")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    cluster.put(kube.PODS, going)
    cni.reconcile()
    assert [wiring(cluster, n) for n in ("host", "done", "going")] == [(None, None)] * 3


@pytest.mark.parametrize(("value", "annotated"), [("true", True), ("false", False)])
def test_aws_node_writes_the_address_to_the_pod_when_it_is_told_to(cluster, cni, value, annotated):
    cluster.put(kube.PODS, agent("aws", "one", ANNOTATE_POD_IP=value))
    cluster.put(kube.PODS, pod("app", "one"))
    cni.reconcile()
    cni.reconcile()
    seen = kube.annotations(cluster.get(kube.PODS, "app", "apps"))
    assert (seen.get("vpc.amazonaws.com/pod-ips") == seen[POD_IP]) is annotated


def test_a_settled_node_causes_no_further_writes(cluster, cni):
    cluster.put(kube.PODS, agent("aws", "one", ANNOTATE_POD_IP="true"))
    cluster.put(kube.PODS, pod("app", "one"))
    for _ in range(3):
        cni.reconcile()
    cluster.writes.clear()
    cni.reconcile()
    assert cluster.writes == []
