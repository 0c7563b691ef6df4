"""A cluster of somebody else: its owner gets back what was there, and nothing of theirs is deleted."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from migration.guarding.freeze import Record
from migration.journeys import REPLACE, Piece
from migration.names import GUARD_POLICY
from operations.guarding.freeze import of_state
from sandbox import lifecycle
from tests.engine import witness
from tests.engine.hands import CALICO, Hands, Refusal, assert_says, eventually, policy_files, settings, untouched
from tests.engine.journey import Journey
from tests.engine.test_destroy import destroy, is_refused
from tests.engine.test_way_back import Snapshot
from tests.engine.witness import differences

pytestmark = pytest.mark.engine

CILIUM = "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies"
GUARD = (f"ValidatingAdmissionPolicy/{GUARD_POLICY}", f"ValidatingAdmissionPolicyBinding/{GUARD_POLICY}")
FREE = ("baseline", "label-legacy", "pin-legacy", "install-cilium")
"""Stages at which the stack of an adopted cluster may simply be destroyed."""


def test_destroying_an_adopted_stack_touches_nothing_of_its_owners(adopted_walk: Journey, subtests: pytest.Subtests):
    # What the first stage and install-cilium add is all the stack's own; labels and pins stay as they are.
    compared_with = {"baseline": "start", "install-cilium": "pin-legacy"}
    for stage in FREE:
        with subtests.test(stage=stage):
            earlier = adopted_walk.at(compared_with.get(stage, stage))
            objects = {key: value for key, value in witness.cluster(earlier).items() if key not in GUARD}
            things = witness.account(earlier)
            journey = earlier if earlier.reached() == stage else adopted_walk.at(stage)
            destroyed = destroy(journey)
            assert destroyed.code == 0, destroyed
            assert journey.resources() == []
            left = witness.LEFT_BY_CILIUM if stage == "install-cilium" else None
            assert _settled(objects, journey, left) == []
            assert differences(things, witness.account(journey)) == []


def _settled(objects: dict[str, Any], journey: Journey, left: re.Pattern[str] | None) -> list[str]:
    """Differences of the cluster, once the API server has emptied the namespaces that are being deleted."""
    deadline = time.monotonic() + 60
    while found := differences(objects, witness.cluster(journey), without=left):
        if time.monotonic() > deadline:
            break
        time.sleep(1)
    return found


def test_destroying_an_adopted_stack_is_refused_once_nodes_are_on_cilium(adopted_walk: Journey):
    after = REPLACE.stages[REPLACE.index["canary"] :]
    assert all(Piece.CILIUM in stage.protected for stage in after)
    journey = adopted_walk.at("canary")
    objects = witness.cluster(journey)
    is_refused(journey)
    assert differences(objects, witness.cluster(journey)) == []


def test_an_owner_gets_back_what_was_surveyed(adopted_walk: Journey):
    earlier = {stage: Snapshot.of(adopted_walk.at(stage)) for stage in ("start", "baseline", "label-legacy")}
    taken_in = earlier["start"].against(earlier["baseline"], cilium=False, state=False)
    assert taken_in == [f"new: {ours}" for ours in GUARD], "what is the owner's stays, and nothing but the guard comes"
    journey = adopted_walk.at("pin-legacy")
    with witness.watching(journey, "way-back") as watch:
        for stage in ("label-legacy", "baseline"):
            deployed = journey.set(stage=stage).up()
            assert deployed.code == 0, deployed
            again = journey.preview("--expect-no-changes")
            assert again.code == 0, again
            assert earlier[stage].against(Snapshot.of(journey), cilium=False) == []
    assert watch.violations == []
    assert watch.armed


def test_an_upgrade_in_the_middle_can_be_gone_on_from_and_back(adopted_walk: Journey):
    journey = adopted_walk.at("pin-legacy")
    eks, name = journey.aws("eks"), settings(journey)["cluster"]["name"]
    files = (lifecycle.ROOT / f"facts.{journey.stack.name}.yaml", lifecycle.ROOT / f"Pulumi.{journey.stack.name}.yaml")
    surveyed, configured = (path.read_text() for path in files)
    earlier = eks.describe_addon(clusterName=name, addonName="vpc-cni")["addon"]
    newest = "v1.23.1-eksbuild.1"
    assert earlier["addonVersion"] != newest

    def running() -> Any:
        return eks.describe_addon(clusterName=name, addonName="vpc-cni")["addon"]

    try:
        eks.update_addon(clusterName=name, addonName="vpc-cni", addonVersion=newest, resolveConflicts="PRESERVE")
        eventually(lambda: running()["status"] == "ACTIVE", "vpc-cni updated")
        journey.set(stage="install-cilium")
        stopped = journey.preview()
        assert stopped.code != 0, stopped
        assert_says(stopped, f"has version {newest}, the facts say {earlier['addonVersion']}", "--moved")
        plain = journey.operations("survey")
        assert plain.code == 64, plain
        assert "survey --moved" in plain.text
        moved = journey.operations("survey", "--moved")
        assert moved.code == 0, moved
        facts = yaml.safe_load(files[0].read_text())
        assert facts["vpcCni"]["addonVersion"] == newest
        assert facts["vpcCni"]["configuration"] == yaml.safe_load(surveyed)["vpcCni"]["configuration"]
        assert facts["vpcCni"]["affinity"] == yaml.safe_load(surveyed)["vpcCni"]["affinity"]
        for stage in ("install-cilium", "pin-legacy", "label-legacy"):
            deployed = journey.set(stage=stage).up()
            assert deployed.code == 0, deployed
            assert running()["addonVersion"] == newest
        assert running()["configurationValues"] == facts["vpcCni"]["configuration"]
    finally:
        for path, content in zip(files, (surveyed, configured), strict=True):
            path.write_text(content)


def test_what_appears_after_the_survey_stops_the_next_gate(adopted_walk: Journey):
    journey, hands = adopted_walk.at("pin-legacy"), Hands(adopted_walk)
    eks, name = journey.aws("eks"), settings(journey)["cluster"]["name"]
    vpc = settings(journey)["network"]["vpcId"]
    profile = {"clusterName": name, "fargateProfileName": "jobs"}
    with untouched(journey):
        eks.create_fargate_profile(podExecutionRoleArn="arn:aws:iam::123456789012:role/pods", **profile)
        policy = {"apiVersion": "vpcresources.k8s.aws/v1beta1", "kind": "SecurityGroupPolicy"}
        policies = "/apis/vpcresources.k8s.aws/v1beta1/namespaces/shop/securitygrouppolicies"
        hands.create(policies, {**policy, "metadata": {"name": "db"}, "spec": {}})
        journey.aws("ec2").associate_vpc_cidr_block(VpcId=vpc, CidrBlock="100.65.0.0/16")
        journey.set(stage="install-cilium")
        stopped = journey.preview()
        assert stopped.code != 0, stopped
        assert_says(
            stopped,
            "FAILED  nothing-refused",
            "Fargate: 1 profile: jobs",
            "1 SecurityGroupPolicy: shop/db",
            "FAILED  settings-agree",
            f"network.vpcCidrs: lacks 100.65.0.0/16 of {vpc}",
            "has the blocks",
        )


def test_an_owners_policy_is_changed_while_it_is_frozen_in_both_engines_by_a_deploy(
    adopted_walk: Journey, tmp_path: Path
):
    walked = adopted_walk.at("canary")
    hands, files = Hands(walked), policy_files(walked, tmp_path)
    theirs, ours = f"{CALICO}/globalnetworkpolicies/default.partners", f"{CILIUM}/partners"

    def say(net: str, **more: Any) -> None:
        rule = {"action": "Deny", "destination": {"nets": [net]}}
        spec = {"selector": "all()", "types": ["Egress"], "egress": [rule, {"action": "Allow"}], **more}
        _write(
            files / "calico" / "partners.yaml",
            "crd.projectcalico.org/v1",
            "GlobalNetworkPolicy",
            "default.partners",
            spec,
        )
        spec = {"endpointSelector": {}, "egressDeny": [{"toCIDR": [net]}], "egress": [{"toEntities": ["all"]}]}
        _write(files / "cilium" / "partners.yaml", "cilium.io/v2", "CiliumClusterwideNetworkPolicy", "partners", spec)

    def deploy() -> Record:
        done = walked.set(policies=str(files)).up()
        assert done.code == 0, done
        record = of_state({"deployment": {"resources": walked.resources()}})
        assert record is not None
        checked = walked.operations(
            "check", "--check", "calico-unchanged", "--check", "policies-accepted", "--wait", "10"
        )
        assert checked.code == 0, checked
        return record

    say("203.0.113.0/24", order=50, applyOnForward=False)
    first = deploy()
    assert hands.get(theirs)["spec"]["applyOnForward"] is False
    with pytest.raises(Refusal, match="policies are frozen"):
        hands.patch(theirs, {"spec": {"order": 60}})

    say("198.51.100.0/24")  # last of all, where owners' rules have allowed already what Cilium's deny would deny
    told = walked.set(policies=str(files)).operations("check", "--check", "continuity", "--wait", "1")
    assert told.code == 1, told
    assert "198.51.100.1, TCP 443 over IPv4: is allowed today" in told.text, told

    say("198.51.100.0/24", order=50)
    second = deploy()
    assert "applyOnForward" not in hands.get(theirs)["spec"], "a field that the file does not have any more"
    assert hands.get(theirs)["spec"]["egress"][0]["destination"]["nets"] == ["198.51.100.0/24"]
    assert hands.get(ours)["spec"]["egressDeny"][0]["toCIDR"] == ["198.51.100.0/24"]
    changed = {key for key in second.objects if second.objects[key] != first.objects.get(key)}
    assert changed == {"globalnetworkpolicies/default.partners"}


def _write(path: Path, api: str, kind: str, name: str, spec: dict[str, Any]) -> None:
    path.write_text(json.dumps({"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": spec}))
