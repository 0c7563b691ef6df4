"""What the bridge writes, in which order, and what it leaves alone."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from bridge.decide import Verb
from bridge.options import Options
from bridge.step import missing
from tests.unit.bridge.cluster import Cluster, shop

SERVER = {
    "k8s:app": "server",
    "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": "shop",
    "k8s:io.cilium.k8s.namespace.labels.team": "red",
    "k8s:io.cilium.k8s.policy.cluster": "default",
    "k8s:io.cilium.k8s.policy.serviceaccount": "default",
    "k8s:io.kubernetes.pod.namespace": "shop",
}


def test_a_pod_of_a_legacy_node_gets_the_identity_and_the_endpoint_that_an_agent_would_write():
    cluster = shop()
    pod = cluster.pod("server", "10.0.80.11", ports=[("Web", 8080), ("dns", 53)])
    cluster.settle()
    endpoint = cluster.endpoint("server")
    assert endpoint is not None
    number = endpoint["status"]["identity"]["id"]
    assert 256 <= number <= 65_535
    assert cluster.labels_of("server") == SERVER | {"gen:io.cilium.k8s.named-ports": "dns.TCP.53_web.TCP.8080"}
    identity = cluster.objects["CiliumIdentity", ("", str(number))]
    assert identity["metadata"]["labels"] == {"io.kubernetes.pod.namespace": "shop"}
    assert endpoint["metadata"]["labels"] == {"app": "server", "eks-cilium.io/bridge": "true"}
    assert endpoint["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Pod", "name": "server", "uid": pod["metadata"]["uid"]}
    ]
    assert endpoint["status"] == {
        "identity": {"id": number, "labels": sorted(f"{k}={v}" for k, v in cluster.labels_of("server").items())},
        "networking": {"node": "10.0.0.21", "addressing": [{"ipv4": "10.0.80.11"}]},
        "encryption": {},
        "named-ports": [
            {"name": "dns", "port": 53, "protocol": "TCP"},
            {"name": "web", "port": 8080, "protocol": "TCP"},
        ],
        "service-account": "default",
    }


def test_the_identity_is_there_before_an_endpoint_names_it():
    cluster = shop()
    for name in "abc":
        cluster.pod(name, f"10.0.80.{ord(name)}")
    cluster.settle()
    made = {str(cluster.endpoint(n)["status"]["identity"]["id"]): n for n in "abc"}  # type: ignore[index]
    for number, name in made.items():
        assert cluster.history.index((Verb.MAKE_IDENTITY, ("", number))) < cluster.history.index(
            (Verb.MAKE, ("shop", name))
        )


def test_pods_of_equal_labels_share_one_identity_whoever_made_it():
    cluster = shop()
    cluster.identity(4711, SERVER)
    cluster.identity(20_000, SERVER)
    cluster.pod("one", "10.0.80.1", labels={"app": "server", "pod-template-hash": "a"})
    cluster.pod("two", "10.0.80.2", labels={"app": "server", "pod-template-hash": "b"})
    cluster.settle()
    assert [cluster.endpoint(n)["status"]["identity"]["id"] for n in ("one", "two")] == [4711, 4711]  # type: ignore[index]
    cluster.identity(300, SERVER)
    assert not cluster.settle().behind
    assert cluster.endpoint("one")["status"]["identity"]["id"] == 4711  # type: ignore[index]  # nothing moves without need


def test_an_identity_outside_the_clusters_range_is_not_used():
    cluster = shop(config={"cluster-id": "3"})
    cluster.identity(4711, SERVER)
    cluster.pod("server", "10.0.80.1")
    cluster.settle()
    assert 3 << 16 <= cluster.endpoint("server")["status"]["identity"]["id"] < 4 << 16  # type: ignore[index]


def test_an_identity_that_is_about_to_be_collected_is_unmarked_first():
    cluster = shop()
    cluster.identity(4711, SERVER, **{"io.cilium.heartbeat": "2026-01-01T00:00:00Z"})
    cluster.pod("server", "10.0.80.1")
    cluster.settle()
    assert cluster.history == [(Verb.UNMARK_IDENTITY, ("", "4711")), (Verb.MAKE, ("shop", "server"))]


def test_an_identity_that_somebody_deleted_comes_back_under_its_number():
    cluster = shop()
    cluster.pod("one", "10.0.80.1", labels={"app": "server"})
    cluster.pod("two", "10.0.80.2", labels={"app": "server"})
    cluster.settle()
    number = cluster.endpoint("one")["status"]["identity"]["id"]  # type: ignore[index]
    cluster.drop("CiliumIdentity", str(number))
    assert set(missing(cluster.known)) == {("shop", "one"), ("shop", "two")}
    cluster.settle()
    assert cluster.labels_of("one") == cluster.labels_of("two") == SERVER
    assert cluster.endpoint("two")["status"]["identity"]["id"] == number  # type: ignore[index]


def test_a_full_range_is_said_and_nothing_is_made_up():
    cluster = shop()
    cluster.known.cilium = cluster.cilium = type(cluster.cilium)(
        cluster="default", first=256, last=257, labels=cluster.cilium.labels, ipv4=True, ipv6=False
    )
    for name in "abc":
        cluster.pod(name, f"10.0.80.{ord(name)}")
    decision = cluster.settle()
    assert [text for text in decision.conflicts.values() if "no number is left from 256 to 257" in text]
    assert len(decision.without) == 1


CHANGES: dict[str, tuple[Any, dict[str, str]]] = {
    "the pod's labels": (lambda c: c.pod("server", "10.0.80.1", labels={"app": "other"}), {"k8s:app": "other"}),
    "the namespace's labels": (
        lambda c: c.namespace("shop", team="blue"),
        {"k8s:io.cilium.k8s.namespace.labels.team": "blue"},
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_of_labels_gives_another_identity(what: str):
    change, shown = CHANGES[what]
    cluster = shop()
    cluster.pod("server", "10.0.80.1")
    cluster.settle()
    uid = cluster.endpoint("server")["metadata"]["uid"]  # type: ignore[index]
    change(cluster)
    cluster.settle()
    assert cluster.labels_of("server") == SERVER | shown
    assert cluster.endpoint("server")["metadata"]["uid"] == uid  # type: ignore[index]  # replaced in place: no moment without


LEFT_ALONE: dict[str, dict[str, Any]] = {
    "on the host's network": {"hostNetwork": True},
    "succeeded": {"phase": "Succeeded"},
    "failed": {"phase": "Failed"},
    "not scheduled": {"node": ""},
    "on a node with an agent": {"node": "new"},
    "leaving, its address free again": {"leaving": True, "annotated": ""},
}


@pytest.mark.parametrize("what", LEFT_ALONE)
def test_no_endpoint_is_written_for_a_pod(what: str):
    cluster = shop()
    cluster.pod("server", "10.0.80.1", **LEFT_ALONE[what])
    cluster.settle()
    assert cluster.endpoint("server") is None
    assert cluster.history == []


@pytest.mark.parametrize("what", LEFT_ALONE)
def test_an_endpoint_goes_when_its_pod_becomes_one(what: str):
    cluster = shop()
    cluster.pod("server", "10.0.80.1")
    cluster.settle()
    cluster.pod("server", "10.0.80.1", **LEFT_ALONE[what])
    cluster.settle()
    assert cluster.endpoint("server") is None
    assert not [verb for verb, _ in cluster.history if verb == Verb.DELETE][1:]


def test_a_node_that_will_have_an_agent_is_left_to_it_and_one_without_a_label_is_not():
    cluster = shop()
    cluster.node("joining", "10.0.0.12", cni="cilium")
    cluster.node("bare", "10.0.0.22", cni="")
    cluster.pod("early", "10.0.64.9", node="joining")
    cluster.pod("stray", "10.0.80.9", node="bare")
    cluster.settle()
    assert cluster.endpoint("early") is None
    assert cluster.addresses("stray") == ["10.0.80.9"]


def test_the_vpc_cnis_annotation_comes_first_and_kubelets_word_counts_more():
    cluster = shop()
    cluster.pod("server", annotated="10.0.80.11", phase="Pending")
    cluster.settle()
    assert cluster.addresses("server") == ["10.0.80.11"]
    cluster.pod("server", "10.0.80.12", annotated="10.0.80.11")
    cluster.settle()
    assert cluster.addresses("server") == ["10.0.80.12"]


def test_a_forged_annotation_takes_no_address_that_kubelet_confirmed():
    cluster = shop()
    cluster.pod("victim", "10.0.80.11", labels={"app": "victim"})
    cluster.settle()
    cluster.pod("thief", annotated="10.0.80.11", phase="Pending", labels={"app": "thief"})
    decision = cluster.settle()
    assert cluster.endpoint("thief") is None
    assert cluster.addresses("victim") == ["10.0.80.11"]
    assert not decision.behind


def test_the_annotation_can_be_left_out():
    cluster = shop(options=Options(pod_ips=False))
    cluster.pod("server", annotated="10.0.80.11", phase="Pending")
    cluster.settle()
    assert cluster.endpoint("server") is None


def test_addresses_are_of_the_families_that_cilium_has():
    both = "10.0.80.11,fd00::b"
    for config, wanted in (({}, ["10.0.80.11"]), ({"enable-ipv6": "true"}, ["10.0.80.11", "fd00::b"])):
        cluster = shop(config=config)
        cluster.pod("server", both)
        cluster.settle()
        assert cluster.addresses("server") == wanted


def test_an_address_has_one_endpoint_the_stale_one_goes_first_and_the_survivor_is_touched():
    cluster = shop()
    cluster.pod("old", "10.0.80.11")
    cluster.pod("new", "10.0.80.12")
    cluster.settle()
    cluster.pod("old", "10.0.80.11", leaving=True)
    cluster.pod("new", "10.0.80.11")
    cluster.history.clear()
    cluster.settle()
    assert cluster.endpoint("old") is None
    assert cluster.addresses("new") == ["10.0.80.11"]
    assert cluster.history == [(Verb.DELETE, ("shop", "old")), (Verb.REPLACE, ("shop", "new"))]


def two_of_one_address(cluster: Cluster) -> None:
    """As a bridge may find it: both there, and nobody knows which one an agent read last."""
    cluster.pod("stale", "10.0.80.12")
    cluster.pod("right", "10.0.80.11")
    cluster.settle()
    cluster.pod("stale", "10.0.80.11", leaving=True)
    endpoint = cluster.endpoint("stale")
    assert endpoint is not None
    status = endpoint["status"] | {"networking": {"node": "10.0.0.21", "addressing": [{"ipv4": "10.0.80.11"}]}}
    cluster.put("CiliumEndpoint", "stale", namespace="shop", metadata=endpoint["metadata"], status=status)
    cluster.history.clear()


def test_a_survivor_that_was_right_all_the_time_is_told_again_after_the_stale_one_went():
    cluster = shop()
    two_of_one_address(cluster)
    cluster.settle()
    right, stale = ("shop", "right"), ("shop", "stale")
    assert cluster.history == [(Verb.TOUCH, right), (Verb.DELETE, stale), (Verb.TOUCH, right)]
    assert not cluster.endpoint("right")["metadata"]["annotations"]["eks-cilium.io/touched"].startswith("pending")  # type: ignore[index]


@pytest.mark.parametrize("writes", range(3))
def test_a_bridge_killed_after_any_of_these_writes_still_tells_the_survivor(writes: int):
    cluster = shop()
    two_of_one_address(cluster)
    for _ in range(writes):
        assert cluster.carry_out(cluster.decision().writes[0])
    cluster.restart()
    cluster.settle()
    right, stale = ("shop", "right"), ("shop", "stale")
    assert cluster.history.index((Verb.DELETE, stale)) < max(
        i for i, done in enumerate(cluster.history) if done == (Verb.TOUCH, right)
    )


def test_a_survivor_is_told_again_too_when_somebody_else_took_the_stale_one_away():
    cluster = shop()
    two_of_one_address(cluster)
    cluster.drop("CiliumEndpoint", "stale", namespace="shop")
    cluster.settle()
    assert cluster.history == [(Verb.TOUCH, ("shop", "right"))]


def test_two_pods_that_kubelet_gives_one_address_are_a_conflict():
    cluster = shop()
    cluster.pod("first", "10.0.80.11")
    cluster.pod("second", "10.0.80.11")
    decision = cluster.settle()
    assert cluster.addresses("second") == ["10.0.80.11"]
    assert cluster.endpoint("first") is None
    assert decision.conflicts == {
        ("shop", "first"): "pod shop/first has the address 10.0.80.11, and so has pod shop/second"
    }


def test_a_pod_of_a_statefulset_that_comes_back_on_a_legacy_node_gets_its_endpoint_in_place():
    cluster = shop()
    cluster.pod("web-0", "10.0.80.11")
    cluster.settle()
    again = cluster.pod("web-0", "10.0.80.12", anew=True)
    cluster.settle()
    endpoint = cluster.endpoint("web-0")
    assert endpoint["metadata"]["ownerReferences"][0]["uid"] == again["metadata"]["uid"]  # type: ignore[index]
    assert cluster.addresses("web-0") == ["10.0.80.12"]


@pytest.mark.parametrize("address", ["", "10.0.64.7"])
def test_a_stale_name_goes_before_the_agent_of_the_pods_new_node_takes_it_over(address: str):
    cluster = shop()
    cluster.pod("web-0", "10.0.80.11")
    cluster.settle()
    cluster.pod("web-0", address, node="new", anew=True)
    cluster.settle()
    assert cluster.endpoint("web-0") is None
    agents = cluster.agents("web-0", "10.0.64.7", 300, node="10.0.0.11")
    cluster.settle()
    assert cluster.endpoint("web-0") is agents


def test_an_endpoint_that_an_agent_took_over_is_never_touched_again_whatever_becomes_of_its_pod():
    cluster = shop()
    cluster.pod("web-0", "10.0.80.11")
    cluster.settle()
    stale = cluster.decision()  # what a slow bridge might still hold
    cluster.pod("web-0", "10.0.64.7", node="new", anew=True)
    late = cluster.decision().writes
    taken = cluster.agents("web-0", "10.0.64.7", 300, node="10.0.0.11")
    assert taken["metadata"]["labels"]["eks-cilium.io/bridge"] == "true"
    assert stale.writes == []
    assert [cluster.carry_out(write) for write in late] == [False]  # its precondition
    for change in (
        cluster.settle,
        lambda: cluster.drop("Pod", "web-0", namespace="shop"),
        lambda: cluster.pod("web-0", "10.0.80.13"),
    ):
        change()
        cluster.settle()
        assert cluster.endpoint("web-0") is taken
    assert "another writer's" in cluster.settle().conflicts["shop", "web-0"]


def test_the_endpoint_of_a_node_that_now_has_an_agent_is_no_longer_ours():
    cluster = shop()
    cluster.pod("server", "10.0.80.11")
    cluster.settle()
    cluster.drop("Node", "legacy")
    cluster.cilium_node("later", "10.0.0.21")  # the address of the node is used again
    cluster.drop("Pod", "server", namespace="shop")
    cluster.settle()
    assert cluster.endpoint("server") is not None  # the agent there cleans up, or the owner's end does


def test_a_node_that_is_not_there_takes_nothing_away():
    cluster = shop()
    cluster.pod("server", "10.0.80.11")
    cluster.settle()
    cluster.drop("Node", "legacy")
    cluster.pod("late", "10.0.80.12")
    decision = cluster.settle()
    assert cluster.addresses("server") == ["10.0.80.11"]
    assert decision.behind == {("shop", "late"): "its node has not been seen"}


def test_a_namespace_that_has_not_been_seen_yet_gives_no_identity_with_half_its_labels():
    cluster = shop()
    cluster.pod("server", "10.0.80.11", namespace="later")
    assert cluster.settle().behind == {
        ("later", "server"): "its namespace, or an address of its node, has not been seen"
    }
    cluster.namespace("later", team="red")
    cluster.settle()
    assert cluster.labels_of("server", "later")["k8s:io.cilium.k8s.namespace.labels.team"] == "red"


def test_nodes_get_entries_only_where_that_is_asked_for():
    cluster = shop()
    cluster.settle()
    assert cluster.history == []
    cluster = shop(options=Options(node_entries=True))
    cluster.settle()
    entry = cluster.endpoint("eks-cilium-node-legacy", "kube-system")
    assert entry["status"]["identity"] == {"id": 6, "labels": ["reserved:remote-node"]}  # type: ignore[index]
    assert entry["metadata"]["ownerReferences"][0]["kind"] == "Node"  # type: ignore[index]
    assert entry["status"]["networking"] == {"node": "10.0.0.21", "addressing": [{"ipv4": "10.0.0.21"}]}  # type: ignore[index]
    assert [key for verb, key in cluster.history if verb == Verb.MAKE] == [("kube-system", "eks-cilium-node-legacy")]
    cluster.cilium_node("legacy", "10.0.0.99")
    cluster.settle()
    assert cluster.endpoint("eks-cilium-node-legacy", "kube-system") is None


def test_whatever_order_the_first_writes_go_in_the_same_comes_of_it():
    def begun() -> Cluster:
        cluster = shop()
        for name, address in (("a", "10.0.80.1"), ("b", "10.0.80.2"), ("c", "10.0.80.3")):
            cluster.pod(name, address, labels={"app": "x" if name < "c" else "y"})
        return cluster

    count = len(begun().decision().writes)
    assert count == 2
    for order in itertools.permutations(range(count)):
        for killed_after in range(count + 1):
            cluster = begun()
            writes = cluster.decision().writes
            for i in order[:killed_after]:
                assert cluster.carry_out(writes[i])
            cluster.restart()
            cluster.settle()
            assert not missing(cluster.known)
            assert len([1 for kind, _ in cluster.objects if kind == "CiliumIdentity"]) == 2
