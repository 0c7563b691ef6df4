"""What a deploy refuses before it begins: with the reason and the way on, no operation, and the state as it was."""

import json
from pathlib import Path

import pytest

from tests.engine.hands import assert_says, changed, reports, settings, state, untouched
from tests.engine.journey import Journey, Outcome

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300, func_only=True)]


@pytest.fixture(scope="module")
def pinned(replace_walk: Journey) -> Journey:
    """At `pin-legacy`; nothing that the tests with it do changes anything."""
    return replace_walk.at("pin-legacy")


def assert_refused(outcome: Outcome, *texts: str) -> None:
    assert outcome.code != 0, outcome
    assert outcome.operations == 0, outcome
    assert_says(outcome, *texts)


def refused(walked: Journey, *texts: str) -> None:
    """In the preview, and in a deploy without one."""
    assert_refused(walked.preview(), *texts)
    assert_refused(walked.up("--skip-preview"), *texts)


def test_a_skip_is_refused_forward_and_back(pinned: Journey):
    with untouched(pinned):
        pinned.set(stage="canary")
        refused(
            pinned,
            "canary is 2 stages from pin-legacy, where this stack is; each deploy moves one. "
            "Set eks-cilium:stage to install-cilium first",
        )
        pinned.set(stage="baseline")
        refused(pinned, "baseline is 2 stages from pin-legacy", "Set eks-cilium:stage to label-legacy first")


def test_an_unknown_stage_is_refused(pinned: Journey):
    with untouched(pinned):
        pinned.set(stage="pin-lagacy")
        refused(
            pinned,
            "stage 'pin-lagacy' does not exist on the journey replace. Its stages are: baseline, label-legacy, "
            "pin-legacy, install-cilium, canary, move-workloads, release, retire-legacy, retire-calico. "
            "Correct eks-cilium:stage",
        )


def test_a_change_of_journey_half_way_is_refused(pinned: Journey):
    with untouched(pinned):
        pinned.set(journey="greenfield", stage="launch")
        refused(
            pinned,
            "the journey cannot change from replace to greenfield at stage pin-legacy: only its last stage, "
            "retire-calico, may become greenfield. Set eks-cilium:journey back to replace",
        )


def test_a_legacy_group_does_not_go_early_whatever_the_flags(pinned: Journey):
    group = next(urn for urn in state(pinned) if urn.endswith("NodeGroup::general"))
    with untouched(pinned):
        legacy = settings(pinned)["legacy"]
        legacy["groups"] = [{**legacy["groups"][0], "name": "other"}]
        pinned.set(legacy=legacy)
        text = (
            "this deploy would delete legacy-groups/general, which is protected at the stage the stack is at: nothing "
            "has proved it unused yet. Put it back into the configuration; a later stage of the journey removes it"
        )
        refused(pinned, text)
        for flags in (["--continue-on-error"], ["--target", group], ["--target", group, "--continue-on-error"]):
            assert_refused(pinned.up("--skip-preview", *flags), text)
        assert_refused(pinned.preview("--target", group), text)


def test_the_engine_itself_keeps_a_protected_group(pinned: Journey):
    group = next(urn for urn in state(pinned) if urn.endswith("NodeGroup::general"))
    with untouched(pinned):
        command = ("destroy", "--yes", "--skip-preview", "--target", group)
        assert_refused(pinned.pulumi(*command), "was not specified in --target list")  # too much depends on it
        with_dependents = pinned.pulumi(*command, "--target-dependents")
        assert with_dependents.code != 0, with_dependents
        assert_says(with_dependents, "cannot be deleted", "because it is protected")
        assert " deleted (" not in with_dependents.text, with_dependents


def test_changed_values_that_are_fixed_are_refused_together(pinned: Journey):
    with untouched(pinned):
        values = settings(pinned)
        cluster = {**values["cluster"], "name": "another"}
        network = {**values["network"], "serviceCidr": "172.30.0.0/16"}
        pinned.set(cluster=cluster, network=network)
        refused(
            pinned,
            "values that may not change at this stage have changed:",
            f"cluster.name was '{values['cluster']['name']}', is now 'another': another name is another cluster",
            "network.serviceCidr was '172.20.0.0/16', is now '172.30.0.0/16': EKS fixes it when the cluster is made",
            "Set them back",
        )


def test_everything_that_is_wrong_with_the_settings_is_said_at_once(pinned: Journey):
    with untouched(pinned):
        values = settings(pinned)
        network = {**values["network"], "serviceCidr": "10.0.0.0/20"}
        cilium = {**values["cilium"], "clusterId": 128, "values": {"kubeProxyReplacment": True}}
        pinned.set(network=network, cilium=cilium, soakMinuts=5)
        refused(pinned, "cilium.clusterId", "128", "soakMinuts", "Did you mean soakMinutes?")
        del cilium["clusterId"]
        pinned.stack.must("config", "rm", "eks-cilium:soakMinuts")
        pinned.set(cilium=cilium)
        refused(
            pinned,
            "network.serviceCidr",
            "overlaps network.vpcCidrs 10.0.0.0/16",
            "cilium.values.kubeProxyReplacment",
        )


def test_a_damaged_policy_file_is_refused(pinned: Journey, tmp_path: Path):
    (tmp_path / "cilium").mkdir()
    (tmp_path / "cilium" / "broken.yaml").write_text("apiVersion: cilium.io/v2\nkind: Secret\nmetadata: {name: x}\n")
    with untouched(pinned):
        pinned.set(policies=str(tmp_path))
        refused(pinned, "broken.yaml", "Secret")


def test_after_half_a_stage_only_that_stage_or_the_one_before_may_follow(replace_walk: Journey):
    walked = replace_walk.at("pin-legacy")
    walked.world(faults=[{"service": "iam", "operation": "CreateRole", "code": "ServiceFailure", "status": 400}])
    walked.set(stage="install-cilium")
    failed = walked.up()
    assert failed.code != 0, failed
    assert reports(walked)["gate"]["stage"] == "install-cilium"
    walked.world(faults=[])
    with untouched(walked):
        for stage in ("label-legacy", "canary"):
            walked.set(stage=stage)
            refused(
                walked,
                f"the deploy of install-cilium began and did not finish, so {stage} cannot follow. "
                "Set eks-cilium:stage to install-cilium and deploy again, or back to pin-legacy",
            )
        walked.set(stage="install-cilium")
        allowed = walked.preview()
        assert allowed.code == 0, allowed
    walked.set(stage="pin-legacy")
    back = walked.up()
    assert back.code == 0, back
    assert walked.reached() == "pin-legacy"
    walked.set(stage="label-legacy")  # whole again: one step back is one step back
    allowed = walked.preview()
    assert allowed.code == 0, allowed


def test_there_is_no_way_back_over_a_point_of_no_return(replace_walk: Journey):
    walked = replace_walk.at("retire-legacy")
    with untouched(walked):
        walked.set(stage="release")
        refused(
            walked,
            "there is no way back from retire-legacy to release: legacy node groups, vpc-cni and kube-proxy are gone. "
            "Set eks-cilium:stage to retire-legacy",
        )
        walked.set(stage="retire-legacy")
        cilium = {**settings(walked)["cilium"], "clusterId": 7, "clusterName": "seven", "prefixDelegation": True}
        walked.set(cilium=cilium)
        refused(
            walked,
            "cilium.clusterName was 'default', is now 'seven'",
            "cilium.clusterId was 0, is now 7",
            "cilium.prefixDelegation was False, is now True",
        )
        cilium = settings(walked)["cilium"] | {"clusterId": 0, "clusterName": "default", "prefixDelegation": False}
        walked.set(cilium=cilium | {"groups": [{**cilium["groups"][0], "name": "others"}]})
        refused(walked, "this deploy would delete cilium-groups/workers, which is protected")


def test_half_a_point_of_no_return_can_only_be_finished(replace_walk: Journey):
    walked = replace_walk.at("release")
    walked.world(faults=[{"service": "eks", "operation": "DeleteNodegroup", "code": "ServerException", "status": 400}])
    walked.set(stage="retire-legacy")
    failed = walked.up()
    assert failed.code != 0, failed
    assert walked.reached() == "retire-legacy"  # the engine deletes last: all that is asked for is there by then
    walked.world(faults=[])
    with untouched(walked):
        walked.set(stage="release")
        refused(walked, "there is no way back from retire-legacy to release")
        walked.set(stage="retire-calico")
        refused(
            walked,
            "the deploy of retire-legacy has not deleted everything yet (",
            "legacy-groups",
            "so retire-calico cannot follow. Set eks-cilium:stage to retire-legacy and deploy again",
        )
    before = state(walked)
    walked.set(stage="retire-legacy")
    done = walked.up()
    assert done.code == 0, done
    assert walked.reached() == "retire-legacy"
    assert "general" in changed(before, state(walked))
    assert json.dumps(state(walked)).count("NodeGroup::general") == 0
