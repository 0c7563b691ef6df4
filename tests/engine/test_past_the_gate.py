"""Ways past a gate that people and pipelines find: targets, exclusions, another stack, a deploy that only stays."""

from __future__ import annotations

import json
import re

import pytest

from tests.engine import witness
from tests.engine.hands import (
    Hands,
    assert_says,
    changed,
    eventually,
    impatient,
    mark,
    marked,
    past_the_guard,
    reports,
    settings,
    state,
)
from tests.engine.journey import Journey, Outcome
from tests.engine.witness import differences

pytestmark = pytest.mark.engine

LEGACY = "cni-plugin=aws"


def urn(walked: Journey, name: str) -> str:
    return next(found for found in state(walked) if found.split("::")[-1] == name)


def stopped(outcome: Outcome, *texts: str) -> None:
    assert outcome.code != 0, outcome
    assert outcome.operations == 0, outcome
    assert_says(outcome, *texts)


def test_no_flag_gets_past_a_gate_that_fails(replace_walk: Journey):
    walked = impatient(replace_walk.at("pin-legacy"))
    hands = Hands(walked)
    node = hands.nodes(LEGACY)[0]["metadata"]["name"]
    hands.patch(f"/api/v1/nodes/{node}", {"metadata": {"labels": {"cni-plugin": None}}})
    before = state(walked)
    walked.set(stage="install-cilium")
    for flags in (
        (),
        ("--continue-on-error",),
        ("--target", urn(walked, "marker")),
        ("--target", urn(walked, "settle"), "--target-dependents"),
        ("--exclude", urn(walked, "gate"), "--exclude", urn(walked, "settle")),
        ("--exclude", urn(walked, "gate"), "--exclude", urn(walked, "marker"), "--continue-on-error"),
    ):
        stopped(walked.up("--skip-preview", *flags), f"node {node}: has no label cni-plugin")
    assert changed(before, state(walked)) == set()
    assert walked.reached() == "pin-legacy"


def test_a_deploy_that_leaves_the_settling_out_does_not_reach_its_stage(replace_walk: Journey):
    walked = replace_walk.at("pin-legacy")
    walked.set(stage="install-cilium")
    for flags in (("--target", urn(walked, "vpc-cni")), ("--exclude", urn(walked, "settle"))):
        done = walked.up("--skip-preview", *flags)
        assert walked.reached() == "pin-legacy", done
        outputs = json.loads(walked.stack.must("stack", "output", "--json"))
        assert outputs["journey"] == "replace"
    walked.set(stage="canary")
    stopped(walked.up(), "the deploy of install-cilium began and did not finish, so canary cannot follow")
    walked.set(stage="install-cilium")
    whole = walked.up()
    assert whole.code == 0, whole
    assert walked.reached() == "install-cilium"


def test_a_deploy_that_stays_asks_whose_cluster_it_is(replace_walk: Journey):
    walked = impatient(replace_walk.at("pin-legacy"))
    hands = Hands(walked)
    quiet = walked.up()
    assert quiet.code == 0, quiet
    assert quiet.operations == 0, quiet
    data = marked(hands)
    assert (data["reached"], data["entering"], data["stack"]) == ("pin-legacy", "", walked.stack.name)
    with past_the_guard(hands):
        mark(hands, id="somebody-else")
    stopped(walked.up(), "the stack stays at pin-legacy, and whose cluster this is does not pass", "mark-agrees")
    asked = walked.operations("check", "--identity")
    assert asked.code == 1, asked
    assert_says(asked, "belongs to another stack")
    with past_the_guard(hands):
        mark(hands, id=data["id"])
    asked = walked.operations("check", "--identity")
    assert asked.code == 0, asked


def test_a_change_at_a_stage_waits_for_healthy_agents_and_settles_again(replace_walk: Journey):
    walked = impatient(replace_walk.at("canary"))
    hands = Hands(walked)
    operator = "/apis/apps/v1/namespaces/kube-system/deployments/cilium-operator"
    replicas = hands.get(operator)["spec"]["replicas"]
    hands.patch(operator, {"spec": {"replicas": 0}})
    eventually(lambda: not hands.get(operator)["status"].get("availableReplicas"), "the operator's end")
    cilium = settings(walked)["cilium"]
    walked.set(cilium={**cilium, "values": {**cilium.get("values", {}), "debug": {"enabled": True}}})
    before, attempt = state(walked), reports(walked)["settle"]
    stopped(
        walked.up(),
        "the stack stays at canary, and what must hold to change it does not pass",
        "deployment kube-system/cilium-operator: is scaled to zero",
    )
    assert changed(before, state(walked)) == set()
    hands.patch(operator, {"spec": {"replicas": replicas}})
    eventually(lambda: hands.get(operator)["status"].get("availableReplicas") == replicas, "the operator")
    done = walked.up()
    assert done.code == 0, done
    assert reports(walked)["gate"]["kind"] == "steady"
    assert reports(walked)["settle"] != attempt
    again = walked.preview("--expect-no-changes")
    assert again.code == 0, again


def test_what_is_in_use_is_not_deleted_whoever_unprotected_it(replace_walk: Journey):
    walked = impatient(replace_walk.at("pin-legacy"))
    unprotected = walked.pulumi("state", "unprotect", "--all", "--yes")
    assert unprotected.code == 0, unprotected
    objects, things = witness.cluster(walked), witness.account(walked)
    for flags in ((), ("--continue-on-error",)):
        refused = walked.pulumi("destroy", "--yes", "--skip-preview", *flags)
        assert refused.code != 0, refused
        assert re.search(r"(legacy-network|calico) was not deleted\. If the whole cluster is to go", refused.text), (
            refused
        )
        assert not re.search(r"(Addon|NodeGroup|Release) .* deleted", refused.text), refused
    found = differences(objects, witness.cluster(walked))
    assert [text for text in found if "eks-cilium" not in text] == []
    # The identity provider is a child of the EKS component, which gives nothing to order it by.
    assert differences(things, witness.account(walked), without=re.compile(r"^iam\.oidc/")) == []
