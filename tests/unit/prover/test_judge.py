"""What the prover decides: what has to be covered, the verdict of all moments, the bridge's part in it."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from bridge import names as bridge_names
from prover import calico, judge
from prover.judge import Bridge
from prover.kinds import NATIVE, STORED, of_calico, read
from prover.known import version_of
from prover.said import Verdict
from tests.unit.prover.cluster import BY_ADDRESS, ONLY_WEB, Home, pod, policy, thing

ACCEPTED = {
    "reason": "jobs read the database by its address until the queue is there",
    "who": "a team",
    "until": "2026-06-01",
    "to": {"namespace": "shop", "podSelector": {"matchLabels": {"app": "db"}}},
}


def test_a_policy_that_engines_read_differently_is_a_difference_and_mending_it_is_none():
    home = Home()
    assert home.judge().verdict is Verdict.EQUAL
    assert home.put("NetworkPolicy", policy("db", BY_ADDRESS))
    found = home.judge()
    assert found.verdict is Verdict.DIFFERENT
    assert "while both kinds of nodes run" in found.why
    assert "NetworkPolicy shop/db" in found.counterexample
    assert home.put("NetworkPolicy", policy("db", ONLY_WEB))
    assert home.judge().verdict is Verdict.EQUAL


def test_each_kind_that_gates_read_is_followed():
    """Of what the gate reads, only a kind that the prover does not know would go unseen."""
    from operations.cluster import traffic  # noqa: PLC0415

    gates = {f"/apis/{group}/{version}/{p}" for group, version, plurals in traffic._GROUPS for p in plurals}
    gates |= {f"/api/v1/{plural}" for plural in traffic._CORE}
    gates |= {f"/apis/policy.networking.k8s.io/{v}/clusternetworkpolicies" for v in traffic._CLUSTER_POLICIES}
    from prover.kinds import CORE  # noqa: PLC0415

    assert {of.path for of in CORE} == gates
    # What a FelixConfiguration adds to a proof is an assumption, which changes no verdict; the gates tell it.
    assert {of.plural for of in of_calico(STORED)} == set(traffic._CALICO) - {"felixconfigurations"}


def test_a_pod_of_a_class_that_was_proved_needs_nothing():
    home = Home()
    home.judge()
    home.prover.prepare()
    assert home.put("Pod", pod("web-2", "10.0.0.9", "web"))
    assert home.judge().verdict is Verdict.EQUAL
    assert "touched: 0 of" in home.prover.touched
    assert "all proved" not in home.prover.touched


def test_a_node_like_others_needs_nothing_either():
    home = Home()
    home.put("Node", thing("old-2", labels={"cni-plugin": "aws"}))
    home.put("Node", thing("new-2", labels={"cni-plugin": "cilium"}))
    home.judge()
    home.prover.prepare()
    assert home.put("Node", thing("new-3", labels={"cni-plugin": "cilium"}))
    assert home.judge().verdict is Verdict.EQUAL
    assert "all proved" not in home.prover.touched
    assert home.drop("Node", "new-3")
    assert home.judge().verdict is Verdict.EQUAL
    assert "all proved" not in home.prover.touched


@pytest.mark.parametrize(
    ("kind", "obj"),
    [
        ("Pod", pod("web-1", "10.0.0.1", "web")),
        ("Pod", pod("late", "", "web")),
        ("Pod", {**pod("over", "10.0.0.8", "web"), "status": {"phase": "Succeeded", "podIP": "10.0.0.8"}}),
        ("Node", {**thing("old", labels={"cni-plugin": "aws"}), "status": {"conditions": [{"type": "Ready"}]}}),
        ("Service", thing("db", "shop", spec={"selector": {"app": "db"}, "ports": [{"port": 80}]})),
        ("EndpointSlice", thing("db-1", "shop", {"kubernetes.io/service-name": "db"}, endpoints=[], ports=[])),
    ],
)
def test_what_changes_no_flow_costs_no_proof(kind: str, obj: Any):
    home = Home()
    home.judge()
    assert not home.put(kind, obj)


def test_services_count_once_a_policy_names_one():
    home = Home()
    home.judge()
    rule = {"action": "Allow", "destination": {"services": {"name": "db", "namespace": "shop"}}}
    [gnp] = [one for one in of_calico(STORED) if one.kind == "GlobalNetworkPolicy"]
    spec = {"selector": "app == 'job'", "types": ["Egress"], "egress": [rule, {"action": "Allow"}]}
    assert home.known.put(gnp.name, read(gnp, thing("default.by-service", spec=spec)))
    home.judge()
    assert home.put("Service", thing("db", "shop", spec={"selector": {"app": "db"}, "ports": [{"port": 80}]}))


def test_the_api_servers_own_addresses_always_count():
    home = Home()
    home.judge()
    found = {"endpoints": [{"addresses": ["10.9.9.9"]}], "ports": []}
    assert home.put("EndpointSlice", thing("k", "default", {"kubernetes.io/service-name": "kubernetes"}, **found))


def test_a_pod_whose_node_is_not_seen_yet_stands_on_every_kind_of_node():
    home = Home()
    assert home.put("Pod", pod("early", "10.0.0.7", "web", node="unseen"))
    assert home.put("Pod", pod("agent", "10.0.0.7", "agent", node="unseen", hostNetwork=True))
    assert home.judge().verdict is Verdict.EQUAL


def test_what_cannot_be_read_is_undecided_and_names_it():
    home = Home()
    assert home.put("NetworkPolicy", policy("odd", {"podSelector": {}, "ingress": "all"}))
    found = home.judge()
    assert found.verdict is Verdict.UNDECIDED
    assert "shop/odd" in found.why
    assert home.drop("NetworkPolicy", "odd", "shop")
    assert home.judge().verdict is Verdict.EQUAL


def test_labels_that_nobody_can_tell_to_be_left_out_are_undecided():
    home = Home()
    home.known.config = {"labels": "["}
    assert "labels: " in home.judge().why


def test_nodes_whose_agents_are_told_otherwise_are_undecided_and_named():
    home = Home()
    defaults = {"enable-policy": "never"}
    home.known.laid_over = ({"metadata": {"namespace": "kube-system", "name": "gpu"}, "spec": {"defaults": defaults}},)
    judged = home.judge()
    assert judged.verdict is Verdict.UNDECIDED
    assert "ciliumnodeconfig kube-system/gpu sets enable-policy to 'never'" in judged.why


def test_the_agents_own_configuration_counts():
    home = Home()
    assert home.judge().verdict is Verdict.EQUAL
    home.known.config = {"enable-policy": "always"}
    assert home.judge().verdict is Verdict.DIFFERENT


def test_a_difference_that_somebody_accepts_counts_until_its_last_day_and_no_longer():
    home = Home(accepted=(ACCEPTED,))
    home.put("NetworkPolicy", policy("db", BY_ADDRESS))
    assert home.judge().verdict is Verdict.EQUAL
    assert home.judge(date(2026, 6, 2)).verdict is Verdict.DIFFERENT


def test_a_stage_that_names_no_mixture_proves_nothing():
    assert Home(moments=()).judge().verdict is Verdict.UNDECIDED


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("docker.io/calico/node:v3.30.1", (3, 30)),
        ("quay.io:443/calico/node:3.29.0-eks@sha256:00", (3, 29)),
        ("calico/node@sha256:00", None),
        ("calico/node:latest", None),
    ],
)
def test_the_version_of_calico_is_that_of_its_image(image: str, version: tuple[int, int] | None):
    assert version_of(image) == version


def test_the_group_of_calico_is_what_it_is_told_or_where_it_was_moved():
    variable = {"name": calico.TOLD_BY, "value": "ProjectCalico.org/v3"}
    told = {"spec": {"template": {"spec": {"containers": [{"env": [variable]}]}}}}
    assert calico.told([told]) == NATIVE
    assert calico.told([]) == ""
    assert calico.moved([{"status": {"phase": "Converged"}}])
    assert calico.moving([{"status": {"phase": "Migrating"}}])


# -- the bridge -----------------------------------------------------------------------------------------


def lease(at: int = 0, holder: str = "one", annotations: dict[str, str] | None = None, **step: Any) -> dict[str, Any]:
    said = {"complete": True, "lag": 0.0, "behind": 0, "pods": [], "blind": ""} | step
    return {
        "metadata": {"annotations": {bridge_names.STEP: json.dumps(said)} | (annotations or {})},
        "spec": {"holderIdentity": holder, "renewTime": str(at)},
    }


def test_the_annotations_are_those_that_the_bridge_writes():
    assert (judge.STEP, judge.LEAVING) == (bridge_names.STEP, bridge_names.LEAVING)


@pytest.mark.parametrize(
    ("there", "why"),
    [
        (lambda at: None, "it does not run"),
        (lambda at: lease(at, holder=""), "nobody holds its Lease"),
        (lambda at: lease(0), "nobody renews its Lease"),
        (lambda at: lease(at, blind="pods (403)"), "it cannot read pods (403)"),
        (lambda at: lease(at, complete=False), "it has not seen everything yet"),
        (lambda at: lease(at, annotations={bridge_names.LEAVING: "now"}), "it leaves this cluster"),
        (lambda at: {"spec": {"holderIdentity": "one", "renewTime": str(at)}}, "it has not seen everything yet"),
    ],
)
def test_a_bridge_that_is_out_of_step_for_longer_than_the_limit_is_told(there: Any, why: str):
    bridge = Bridge(30.0)
    bridge.look(lease(0), 0.0)
    assert bridge.out(0.0) == ""
    for at in range(1, 80):
        bridge.look(there(at), float(at))
        if bridge.out(float(at)):
            break
    assert 30 < at < 45
    assert why in bridge.out(float(at))
    bridge.look(lease(100), 100.0)
    assert bridge.out(100.0) == ""


def test_what_the_bridge_says_of_its_own_lag_counts_at_once():
    bridge = Bridge(30.0)
    bridge.look(lease(0, lag=29.0, behind=1), 0.0)
    assert bridge.out(1.0) == ""
    bridge.look(lease(2, lag=31.0, behind=2, pods=["shop/a"]), 2.0)
    assert "2 things are wrong; pods without their identity: shop/a" in bridge.out(2.0)


def test_a_lease_that_cannot_be_read_counts_after_the_limit():
    bridge = Bridge(30.0)
    bridge.unreadable("503", 0.0)
    assert bridge.out(29.0) == ""
    assert "cannot be read: 503" in bridge.out(31.0)
