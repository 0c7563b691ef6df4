"""Objects of the API server become values, and the indexes over them stay right."""

from collections import Counter
from typing import Any

import pytest

from migration.names import CORDONED_BY_US, REFRESH_TAINT
from operations.cluster.selectors import UnknownOperator, matches
from operations.refresh.cluster import parse
from operations.refresh.model import marks
from operations.refresh.model.values import DisruptionBudget, Node, Owner, Pod
from operations.refresh.model.world import World


def node(**changes: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "ip-10-0-0-1",
            "uid": "u1",
            "labels": {"cni-plugin": "aws", "topology.kubernetes.io/zone": "z1"} | changes.pop("labels", {}),
            "annotations": changes.pop("annotations", {}),
        },
        "spec": {"providerID": "aws:///z1/i-0abc"} | changes,
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }


def pod(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "a",
            "namespace": "shop",
            "uid": "p1",
            "labels": {"app": "a"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "a-1", "uid": "r1", "controller": True}],
        },
        "spec": {"nodeName": "ip-10-0-0-1"} | spec,
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def test_a_node_is_read_with_its_instance_and_its_marks():
    found = parse.node(
        node(
            unschedulable=True,
            taints=[{"key": REFRESH_TAINT, "effect": "PreferNoSchedule"}],
            annotations={CORDONED_BY_US: parse.FOUND},
        )
    )
    assert (found.instance, found.zone, found.cni) == ("i-0abc", "z1", "aws")
    assert found.active
    assert found.soft
    assert found.found_cordoned


def test_a_node_that_somebody_uncordoned_is_not_active():
    assert not parse.node(node(annotations={CORDONED_BY_US: parse.OURS})).active


@pytest.mark.parametrize(
    ("toleration", "tolerates"),
    [
        ({"operator": "Exists"}, True),
        ({"operator": "Exists", "effect": "NoExecute"}, False),
        ({"operator": "Exists", "effect": "NoSchedule"}, True),
        ({"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}, True),
        ({"key": "CriticalAddonsOnly", "operator": "Exists"}, False),
    ],
)
def test_pods_that_come_back_to_a_cordoned_node_are_recognised(toleration, tolerates):
    assert parse.pod(pod(tolerations=[toleration]), "cilium").tolerates_cordon is tolerates


def test_daemonset_mirror_and_finished_pods_go_with_their_node():
    daemon, mirror, finished = pod(), pod(), pod()
    daemon["metadata"]["ownerReferences"][0]["kind"] = "DaemonSet"
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    finished["status"]["phase"] = "Succeeded"
    assert all(parse.pod(p, "cilium").stays for p in (daemon, mirror, finished))
    assert not parse.pod(pod(), "cilium").stays


def test_a_pod_that_has_stopped_holds_its_node_while_a_finalizer_keeps_it():
    held = pod()
    held["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.com/held"]}
    held["status"]["phase"] = "Succeeded"
    found = parse.pod(held, "cilium")
    assert not found.stays
    assert found.finalizers == ("example.com/held",)


def test_a_pod_bound_to_its_nodes_name_is_recognised():
    assert parse.pod(pod(nodeSelector={"kubernetes.io/hostname": "x"}), "cilium").hosts == frozenset({"x"})
    assert parse.pod(pod(), "cilium").hosts is None


def test_a_budget_whose_controller_has_not_looked_yet_allows_nothing():
    obj: dict[str, Any] = {
        "metadata": {"namespace": "shop", "name": "a", "generation": 2, "resourceVersion": "5"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}},
        "status": {"observedGeneration": 1, "disruptionsAllowed": 3, "expectedPods": 5, "desiredHealthy": 2},
    }
    assert parse.budget(obj).allowed == 0
    obj["status"]["observedGeneration"] = 2
    assert parse.budget(obj).allowed == 3
    assert parse.budget(obj).whole == 3


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({}, True),
        ({"matchLabels": {"app": "a"}}, True),
        ({"matchLabels": {"app": "b"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["a"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["a"]}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, True),
    ],
)
def test_selectors_select_as_kubernetes_does(selector, selected):
    assert matches(selector, {"app": "a"}) is selected


def test_a_budget_whose_selector_has_an_unknown_operator_holds_every_pod_of_its_namespace():
    strange = {"matchExpressions": [{"key": "app", "operator": "Resembles", "values": ["a"]}]}
    with pytest.raises(UnknownOperator, match="Resembles"):
        matches(strange, {"app": "a"})
    world = _world()
    world.see_budget(DisruptionBudget(("shop", "b"), strange))
    world.see_pod(_pod("p1"))
    assert world.pods["p1"].budgets == (("shop", "b"),)
    assert world.budgets["shop", "b"].unreadable == {"Resembles"}


@pytest.mark.parametrize(
    ("annotations", "labels", "mark", "binds"),
    [
        ({"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}, {}, "cluster-autoscaler.kubernetes.io/safe-to-evict=false", True),
        ({"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}, {}, "", False),
        ({"karpenter.sh/do-not-evict": "true"}, {}, "karpenter.sh/do-not-evict=true", True),
        ({"karpenter.sh/do-not-disrupt": "30m"}, {}, "karpenter.sh/do-not-disrupt=30m", False),
        ({"karpenter.sh/do-not-disrupt": "false"}, {}, "", False),
        ({}, {"cluster.x-k8s.io/drain": "Skip"}, "cluster.x-k8s.io/drain=Skip", True),
        ({"descheduler.alpha.kubernetes.io/prefer-no-eviction": "true"}, {}, "descheduler.alpha.kubernetes.io/prefer-no-eviction=true", False),
    ],
)  # fmt: skip
def test_marks_of_owners_are_read(annotations: Any, labels: Any, mark: str, binds: bool):
    here = pod()
    here["metadata"] |= {"annotations": annotations, "labels": labels}
    found = parse.pod(here, "cilium").mark
    assert (found, marks.binds(found)) == (mark, binds)


def _world() -> World:
    world = World("aws", "cilium")
    world.see_node(Node("old", cni="aws", instance="i-1"))
    world.see_node(Node("new", cni="cilium", instance="i-2"))
    world.see_node(Node("canary", cni="cilium", canary=True))
    return world


def _pod(uid: str, on: str = "old", **changes: Any) -> Pod:
    owner = Owner("ReplicaSet", "a", "r")
    return Pod(uid, "shop", uid, on, owner, {"app": "a"}, **({"ready": True} | changes))


def test_canary_nodes_are_neither_emptied_nor_counted():
    world = _world()
    assert set(world.old) == {"old"}
    assert set(world.new) == {"new"}


def test_what_stands_under_a_budget_is_counted_through_every_change():
    world = _world()
    world.see_pod(_pod("p1"))
    world.see_budget(DisruptionBudget(("shop", "b"), {"matchLabels": {"app": "a"}}, version="1"))
    world.see_pod(_pod("p2"))
    assert world.remaining.under == Counter({("shop", "b"): 2})
    world.see_pod(_pod("p2", terminating=True))
    assert world.remaining.of_node["old"] == Counter({("shop", "b"): 1})
    world.lose_pod("p2")
    world.lose_pod("p1")
    assert not world.remaining.under
    world.see_pod(_pod("p3"))
    world.lose_budget(("shop", "b"))
    assert not world.remaining.under
    assert world.pods["p3"].budgets == ()


def test_pods_that_run_well_on_new_nodes_are_not_kept():
    world = _world()
    world.see_pod(_pod("p1", on="new"))
    assert not world.pods
    world.see_pod(_pod("p1", on="new", ready=False))
    assert set(world.unready) == {"p1"}
    world.see_pod(_pod("p1", on="new"))
    assert not world.unready


def test_a_new_node_is_ready_only_with_its_agent():
    world = _world()
    here = world.new["new"]
    assert not world.is_ready(here)
    agent = Pod("c", "kube-system", "cilium-x", "new", Owner("DaemonSet", "cilium", "d"), ready=True, agent=True)
    world.see_pod(agent)
    assert world.is_ready(here)
    world.lose_pod("c")
    assert not world.is_ready(here)


def test_a_new_list_forgets_what_is_no_longer_there():
    world = _world()
    world.see_pod(_pod("p1"))
    world.see_attachment("va", "old")
    world.replace_pods([])
    world.replace_nodes([])
    world.replace_attachments([])
    assert not world.pods
    assert not world.old
    assert not world.attached["old"]


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({"matchLabels": {"app": "a"}}, True),
        ({"matchLabels": {"app": "a", "tier": "x"}}, False),
        ({"matchLabels": {"app": "b"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({}, True),
        (None, False),
    ],
)
def test_a_pod_finds_its_budgets_however_they_select(selector: Any, selected: bool):
    world = _world()
    world.see_budget(DisruptionBudget(("shop", "b"), selector))
    world.see_budget(DisruptionBudget(("other", "b"), {}))
    world.see_pod(_pod("p1"))
    assert world.pods["p1"].budgets == ((("shop", "b"),) if selected else ())


def test_a_budget_that_selects_others_from_now_on_lets_its_pods_go():
    world = _world()
    world.see_pod(_pod("p1"))
    world.see_budget(DisruptionBudget(("shop", "b"), {"matchLabels": {"app": "a"}}))
    world.see_budget(DisruptionBudget(("shop", "b"), {"matchLabels": {"app": "z"}}))
    assert world.pods["p1"].budgets == ()
    assert not world.remaining.under
