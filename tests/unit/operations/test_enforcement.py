"""What agents enforce: by their counts first, by a command in their pods only where a deploy asks."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migration.journeys import CheckId
from operations.checks import registry
from operations.checks.enforcement import counted
from operations.evidence import Evidence, Verdict
from tests.unit.operations.test_checks import told
from tests.unit.operations.world import World, mixed_world

METRICS = """# HELP cilium_policy_endpoint_enforcement_status Number of endpoints labeled by policy enforcement status
# TYPE cilium_policy_endpoint_enforcement_status gauge
cilium_policy_endpoint_enforcement_status{enforcement="audit-both"} 0
cilium_policy_endpoint_enforcement_status{enforcement="audit-egress"} %(audit)d
cilium_policy_endpoint_enforcement_status{enforcement="audit-ingress"} 0
cilium_policy_endpoint_enforcement_status{enforcement="both"} %(both)d
cilium_policy_endpoint_enforcement_status{enforcement="egress"} %(egress)d
cilium_policy_endpoint_enforcement_status{enforcement="ingress"} %(ingress)d
cilium_policy_endpoint_enforcement_status{enforcement="none"} 2
cilium_policy_max_revision 12
"""


@pytest.fixture
def silent(tmp_path: Path) -> World:
    """Two Cilium nodes whose endpoints do not say what is enforced; a policy isolates the egress of every pod."""
    world = mixed_world(tmp_path)
    for endpoint in (o for o in world.api.objects if o["kind"] == "CiliumEndpoint"):
        endpoint["status"].pop("policy")
    serves(world, ":9962")
    return world


def serves(world: World, address: str) -> None:
    world.find("ConfigMap", "cilium-config")["data"]["prometheus-serve-addr"] = address


def ask(world: World, *, deploying: bool) -> Evidence:
    context = replace(world.context, deploying=deploying)
    return registry()[CheckId.POLICIES_REALISED](context)


def pods(world: World, node: str) -> list[Any]:
    found = [o for o in world.api.objects if o["kind"] == "Pod" and o["spec"].get("nodeName") == node]
    return [p for p in found if not p["spec"].get("hostNetwork")]


def count(world: World, node: str, **more: int) -> None:
    """The agent of a node counts every pod there as isolated by egress, but for what is said."""
    numbers = {"both": 0, "ingress": 0, "audit": 0, "egress": len(pods(world, node)), **more}
    world.api.texts[f"/api/v1/namespaces/kube-system/pods/cilium-{node}:9962/proxy/metrics"] = METRICS % numbers


def answer(world: World, node: str, enabled: Mapping[str, str]) -> None:
    """What the agent of a node prints: `policy-enabled` by pod, egress where nothing is said."""
    world.api.outputs[f"cilium-{node}"] = json.dumps(
        [
            {
                "status": {
                    "external-identifiers": {
                        "k8s-namespace": p["metadata"]["namespace"],
                        "k8s-pod-name": p["metadata"]["name"],
                    },
                    "policy": {
                        "realized": {
                            "policy-enabled": enabled.get(p["metadata"]["name"], "egress"),
                            "policy-revision": 3,
                        },
                        "spec": {},
                    },
                }
            }
            for p in pods(world, node)
        ]
    )


def ran_commands(world: World) -> list[str]:
    return [path for method, path in world.api.requests if method == "EXEC"]


@pytest.mark.parametrize("deploying", [False, True])
def test_counts_that_fit_are_enough_and_no_command_is_run(silent: World, deploying: bool):
    for node in ("new-a", "new-b"):
        count(silent, node)
    evidence = ask(silent, deploying=deploying)
    assert evidence.verdict is Verdict.PASSED, told(evidence)
    assert "on 2 nodes by the agents' counts" in evidence.summary
    assert ran_commands(silent) == []


def test_a_preview_never_runs_a_command_and_says_who_will(silent: World):
    for node in ("new-a", "new-b"):
        answer(silent, node, {})
    evidence = ask(silent, deploying=False)
    assert evidence.verdict is Verdict.UNKNOWN
    assert "node new-a: the counts of its agent cilium-new-a cannot be read: 403" in told(evidence)
    assert "A deploy asks the agents themselves" in told(evidence)
    assert "pods/exec" not in told(evidence)
    assert ran_commands(silent) == []


def test_fewer_than_policies_ask_for_fails_a_preview_and_more_is_unknown(silent: World):
    count(silent, "new-b")
    count(silent, "new-a", egress=len(pods(silent, "new-a")) - 1)
    evidence = ask(silent, deploying=False)
    assert evidence.verdict is Verdict.FAILED
    here = len(pods(silent, "new-a"))
    assert f"policies isolate 0 by ingress and {here} by egress there" in told(evidence)
    assert f"its agent cilium-new-a counts 0 by ingress and {here - 1} by egress" in told(evidence)
    count(silent, "new-a", ingress=1)
    assert ask(silent, deploying=False).verdict is Verdict.UNKNOWN


def test_auditing_is_not_enforcing(silent: World):
    count(silent, "new-b")
    count(silent, "new-a", egress=0, audit=len(pods(silent, "new-a")))
    assert ask(silent, deploying=False).verdict is Verdict.FAILED


def test_a_deploy_asks_the_agents_whose_counts_do_not_fit_and_names_the_pod(silent: World):
    count(silent, "new-b")
    (pod, *_) = pods(silent, "new-a")
    name = pod["metadata"]["name"]
    count(silent, "new-a", egress=len(pods(silent, "new-a")) - 1)
    answer(silent, "new-a", {name: "audit-egress"})
    evidence = ask(silent, deploying=True)
    assert evidence.verdict is Verdict.FAILED
    assert f"/{name}: a policy isolates its egress, its endpoint does not enforce that" in told(evidence)
    assert ran_commands(silent) == ["cilium-new-a"]
    answer(silent, "new-a", {})
    assert ask(silent, deploying=True).verdict is Verdict.PASSED


def test_a_deploy_that_may_ask_neither_way_does_not_pass_and_names_the_rights(silent: World):
    evidence = ask(silent, deploying=True)
    assert evidence.verdict is Verdict.UNKNOWN
    assert "`get` on pods/proxy, or `create` on pods/exec" in told(evidence)


def test_a_pod_that_its_agent_does_not_know_is_unknown(silent: World):
    count(silent, "new-b")
    silent.api.outputs["cilium-new-a"] = "[]"
    evidence = ask(silent, deploying=True)
    assert evidence.verdict is Verdict.UNKNOWN
    assert "its agent does not know" in told(evidence)


def test_a_node_without_an_agent_is_unknown(silent: World):
    count(silent, "new-b")
    silent.drop("Pod", "cilium-new-a")
    assert "node new-a: no agent says what is enforced there" in told(ask(silent, deploying=True))


@pytest.mark.parametrize(
    ("address", "reason"), [("", "prometheus.enabled of the Cilium chart is off"), ("0.0.0.0:9962", "")]
)
def test_metrics_are_read_where_the_agents_serve_them(silent: World, address: str, reason: str):
    serves(silent, address)
    for node in ("new-a", "new-b"):
        count(silent, node)
    evidence = ask(silent, deploying=False)
    assert (evidence.verdict is Verdict.PASSED) is not bool(reason)
    assert reason in told(evidence)


@pytest.mark.parametrize(
    "text", ["", "cilium_up 1", METRICS.replace('"both"', '"all"') % {"both": 1, "egress": 1, "ingress": 0, "audit": 0}]
)
def test_metrics_without_the_samples_are_no_count_of_nothing(text: str):
    with pytest.raises(ValueError, match="its metrics have no cilium_policy_endpoint_enforcement_status"):
        counted(text)
