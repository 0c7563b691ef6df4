"""What the program asks of the engine at each stage: names, parents, order, protection, retention."""

import json
import shlex
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.guarding.gate import Answer, Answered, gate_words, operations, reached
from migration.guarding.mark import Own
from migration.journeys import REPLACE, Piece
from migration.transition import Asks, Marker, Recorded, plan_move
from tests.unit.components.recorder import STACK, Recording, Registered, State, record
from tests.unit.migration.examples import facts, raw
from tests.unit.migration.examples import owned as owned_settings

NODE_GROUP, ADDON, RELEASE = "aws:eks/nodeGroup:NodeGroup", "aws:eks/addon:Addon", "kubernetes:helm.sh/v3:Release"
COMMAND, STASH, PATCH = "command:local:Command", "pulumi:index:Stash", "kubernetes:apps/v1:DaemonSetPatch"
STAGES = [stage.id for stage in REPLACE.stages]


def state_at(stage: str, journey: str = "replace", attempt: int = 1) -> State:
    """The state of a stack that reached a stage, as far as the program reads it."""
    marker = {"place": REPLACE[stage].place, "attempt": attempt, "protected": [], "frozen": {}, "id": "0a1b"}
    return State(
        outputs={"journey": journey, "stage": stage},
        resources=dict(
            [
                _entry("eks-cilium:migration:Gate", STASH, "marker", {"input": marker}),
                _entry("eks-cilium:migration:Gate", COMMAND, "gate", {"triggers": [attempt]}),
                _entry("eks-cilium:migration:Settle", COMMAND, "settle", {"triggers": [attempt]}),
            ]
        ),
    )


def _entry(parent: str, kind: str, name: str, outputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """One resource, in the form in which the engine's `readStackResourceOutputs` answers."""
    return f"urn:pulumi:{STACK}::eks-cilium::{parent}${kind}::{name}", {"type": kind, "outputs": outputs}


@cache
def owned(stage: str) -> Recording:
    return record(raw(stage=stage), state=state_at(stage))


@cache
def _adopted_in(directory: Path, stage: str, **cluster: bool) -> Recording:
    policies = str(Path("policies/network").resolve())
    values = raw(stage=stage, cluster={"name": "prod", "adopt": True, **cluster}, policies=policies)
    del values["legacy"]
    return record(values, state=state_at(stage), cwd=directory)


@pytest.fixture(scope="module")
def adopted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    directory = tmp_path_factory.mktemp("adopted")
    (directory / f"facts.{STACK}.yaml").write_text(facts().dump())
    return lambda stage, **cluster: _adopted_in(directory, stage, **cluster)


def behind(recording: Recording, name: str) -> set[str]:
    """Names of everything that a resource waits for, directly or not."""
    by_name: dict[str, list[Registered]] = {}
    for registered in recording.registered:
        by_name.setdefault(registered.name, []).append(registered)
    found: set[str] = set()
    queue = [name]
    while queue:
        for registered in by_name.get(queue.pop(), []):
            new = set(registered.depends_on) - found
            found |= new
            queue += new
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_every_resource_belongs_to_a_component_and_every_change_waits_for_the_gate(stage: str):
    recording = owned(stage)
    before_the_gate = {STASH, "eks:index:Cluster", "pulumi:providers:kubernetes"}
    for registered in recording.registered:
        if registered.type.startswith("eks-cilium:"):
            assert registered.parent == f"eks-cilium-{STACK}"
            continue
        assert registered.parent != f"eks-cilium-{STACK}", f"{registered.name} hangs at the stack itself"
        if registered.type in before_the_gate or (registered.type, registered.name) == (COMMAND, "gate"):
            continue
        assert "gate" in behind(recording, registered.name), f"{registered.name} does not wait for the gate"
    assert "marker" in behind(recording, "gate")


def test_a_state_of_a_version_before_makes_its_mark_anew_in_place():
    """Another text of the command is run once more, also in a deploy that stays. A trigger would replace the command, and
    the one that is replaced gives the mark up."""
    for stage in ("baseline", "canary"):
        taken = owned(stage).of(COMMAND)["mark"]
        assert taken.inputs["create"].endswith("--form Role")
        assert not taken.inputs.get("triggers")
        assert "mark give-up" in taken.inputs["delete"]


ROLES = [f"arn:aws:iam::111122223333:role/{name}" for name in ("platform", "teams/support")]
ENTRY = "aws:eks/accessEntry:AccessEntry"


def made(cluster: str = "staging", *, by: str = "", entries: tuple[str, ...] = ()) -> State:
    """The state of a stack that has made its cluster, and perhaps one that an earlier version made."""
    state = state_at("baseline")
    kind = "aws:eks/cluster:Cluster"
    state.resources[f"urn:pulumi:{STACK}::eks-cilium::{kind}::{cluster}"] = {"type": kind, "outputs": {}}
    for index, arn in enumerate(entries):
        parent = f"urn:pulumi:{STACK}::eks-cilium::{by}{ENTRY}::{cluster}-admin-{index}"
        state.resources[parent] = {"type": ENTRY, "outputs": {"principalArn": arn}}
    return state


def administered(*arns: str, state: State) -> Recording:
    return record(raw(stage="baseline", cluster={"name": "staging", "admins": list(arns)}), state=state)


def test_an_administrator_has_the_same_name_wherever_it_stands_in_the_list():
    there, back = (administered(*arns, state=made()).of(ENTRY) for arns in (ROLES, ROLES[::-1]))
    assert there.keys() == back.keys() == {"111122223333/role/platform", "111122223333/role/teams/support"}
    assert {name: it.inputs for name, it in there.items()} == {name: it.inputs for name, it in back.items()}
    assert not any(it.protect for it in there.values()), "somebody who leaves is taken out of the list, and that is all"


def test_an_administrator_of_an_earlier_state_keeps_its_entry_whichever_index_it_had():
    by = "eks-cilium:cluster:Cluster$eks:index:Cluster$"
    recording = administered(*ROLES[::-1], state=made(by=by, entries=tuple(ROLES)))
    aliases = {it.inputs["principalArn"]: it.aliases for it in recording.of(ENTRY).values()}
    assert {arn: urn[0].rsplit("-", 1)[1] for arn, urn in aliases.items()} == {ROLES[0]: "0", ROLES[1]: "1"}


@pytest.mark.parametrize(
    ("arns", "state", "said"),
    [
        (["role/path/deployer"], State(), r"role/path/deployer\": makes the cluster in this deploy"),
        (["role/other"], made(entries=("arn:aws:iam::111122223333:role/other",)), ""),
        (["role/owner"], replace(made(), entries=("arn:aws:iam::111122223333:role/owner",)), "did not make"),
        ([], made(entries=("arn:aws:iam::111122223333:role/deployer",)), "role/deployer: runs this deploy"),
        ([], made(by="eks:index:Cluster$", entries=("arn:aws:iam::111122223333:role/x",)), "of an earlier version"),
    ],
)
def test_administrators_that_would_fail_half_way_are_refused_before_anything_is_made(
    arns: list[str], state: State, said: str
):
    admins = [f"arn:aws:iam::111122223333:{arn}" for arn in arns]
    if not said:
        assert len(administered(*admins, state=state).of(ENTRY)) == 1
        return
    with pytest.raises(pulumi.RunError, match=said):
        administered(*admins, state=state)


BOUNDARY = "arn:aws:iam::111122223333:policy/boundary"


@pytest.mark.parametrize("stage", ["baseline", "move-workloads", "retire-calico"])
def test_every_role_is_bounded_by_the_policy_that_the_settings_name(stage: str):
    found = record(raw(stage=stage, permissionsBoundary=BOUNDARY), state=state_at(stage))
    roles = found.of("aws:iam/role:Role")
    assert roles or stage == "baseline"
    assert {role.inputs.get("permissionsBoundary") for role in roles.values()} <= {BOUNDARY}
    (transform,) = found.of("eks:index:Cluster")["staging"].transforms
    assert _after(transform, "aws:iam/role:Role", {"name": "it"}) == {"name": "it", "permissionsBoundary": BOUNDARY}
    assert _after(transform, "aws:eks/cluster:Cluster", {"name": "it"}) == {"name": "it"}
    assert not any("permissionsBoundary" in role.inputs for role in owned(stage).of("aws:iam/role:Role").values())
    assert owned(stage).of("eks:index:Cluster")["staging"].transforms == ()


def _after(transform: pulumi.ResourceTransform, kind: str, props: dict[str, Any]) -> dict[str, Any]:
    args = pulumi.ResourceTransformArgs(custom=True, type_=kind, name="it", props=props, opts=pulumi.ResourceOptions())
    result = transform(args)
    assert result is None or isinstance(result, pulumi.ResourceTransformResult)
    return dict(result.props) if result else props


def test_ciliums_operator_may_tag_only_the_interfaces_that_it_makes():
    document = json.loads(owned("canary").one("aws:iam/rolePolicy:RolePolicy", "cilium-operator").inputs["policy"])
    free, bound = document["Statement"]
    assert "ec2:CreateTags" not in free["Action"]
    assert bound["Action"] == "ec2:CreateTags"
    assert bound["Resource"] == "arn:aws:ec2:*:*:network-interface/*"
    assert bound["Condition"] == {"StringEquals": {"ec2:CreateAction": "CreateNetworkInterface"}}


def test_the_endpoint_is_open_to_whom_the_settings_name():
    cluster = {"name": "prod", "publicAccessCidrs": ["203.0.113.0/24"]}
    found = record(raw(stage="baseline", cluster=cluster), state=state_at("baseline"))
    assert found.of("eks:index:Cluster")["prod"].inputs["publicAccessCidrs"] == ["203.0.113.0/24"]


def test_a_probe_does_nothing_for_anybody_but_accept_a_connection():
    found = owned("canary")
    (policy,) = found.of("kubernetes:networking.k8s.io/v1:NetworkPolicy").values()
    for kind in ("aws", "cilium"):
        pods = found.one("kubernetes:apps/v1:DaemonSet", f"eks-cilium-probe-{kind}")
        template = pods.inputs["spec"]["template"]
        (container,) = template["spec"]["containers"]
        # Every other server of that image runs, fetches or stores what a request asks for.
        assert container["args"] == ["serve-hostname", "--http=false", "--tcp", "--port=8080"]
        assert "@sha256:" in container["image"]
        assert policy.inputs["spec"]["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        assert policy.name in pods.depends_on
    (ingress,) = policy.inputs["spec"]["ingress"]
    assert ingress["ports"] == [{"protocol": "TCP", "port": 8080}]
    assert sorted(policy.inputs["spec"]["policyTypes"]) == ["Egress", "Ingress"]


def test_the_probes_image_may_come_from_elsewhere():
    image = f"registry.example/copies/agnhost@sha256:{'0' * 64}"
    found = record(raw(stage="canary", probes={"image": image}), state=state_at("canary"))
    pods = found.one("kubernetes:apps/v1:DaemonSet", "eks-cilium-probe-aws")
    assert pods.inputs["spec"]["template"]["spec"]["containers"][0]["image"] == image


@pytest.mark.parametrize("partition", ["aws", "aws-us-gov", "aws-cn"])
def test_every_arn_of_an_aws_policy_is_of_the_partition_that_the_cluster_is_in(partition: str):
    recording = administered(f"arn:{partition}:iam::111122223333:role/a", state=replace(made(), partition=partition))
    arns = [it.inputs["policyArn"] for it in recording.registered if "policyArn" in it.inputs and it.parent]
    ours = [arn for arn in arns if "policy/eks-cilium" not in arn]
    assert len(ours) > 3
    assert {arn.split(":")[1] for arn in ours} == {partition}


@pytest.mark.parametrize("stage", STAGES)
def test_the_stage_counts_as_reached_only_behind_everything_else(stage: str):
    recording = owned(stage)
    waited = behind(recording, "settle")
    slow = {NODE_GROUP, ADDON, RELEASE, PATCH}
    missing = [r.name for r in recording.registered if r.type in slow and r.name not in waited]
    assert missing == []
    assert recording.outputs["stage"] == stage


@pytest.mark.parametrize("stage", STAGES)
def test_protection_follows_the_table(stage: str):
    recording, row = owned(stage), REPLACE[stage]
    expected = {
        (ADDON, "vpc-cni"): Piece.VPC_CNI,
        (ADDON, "kube-proxy"): Piece.KUBE_PROXY,
        (NODE_GROUP, "general"): Piece.LEGACY_GROUPS,
        (NODE_GROUP, "workers"): Piece.CILIUM_GROUPS,
        (NODE_GROUP, "canary"): Piece.CANARY_GROUP,
        (RELEASE, "tigera-operator"): Piece.CALICO,
        (RELEASE, "cilium"): Piece.CILIUM,
    }
    for (kind, name), piece in expected.items():
        found = recording.of(kind).get(name)
        assert (found is not None) == (piece in row.pieces), f"{name} at {stage}"
        if found is not None:
            assert found.protect == (piece in row.protected), f"{name} at {stage}"


def test_node_groups_leave_their_sizes_to_the_refresh_and_cilium_groups_start_empty():
    groups = owned("canary").of(NODE_GROUP)
    assert {name: group.inputs["scalingConfig"]["desiredSize"] for name, group in groups.items()} == {
        "general": 3,
        "canary": 3,
        "workers": 0,
    }
    assert all(group.ignore_changes == ("scalingConfig",) for group in groups.values())


def test_cilium_never_waits_for_itself_and_its_nodes_wait_for_it():
    recording = owned("canary")
    assert recording.one(RELEASE, "cilium").inputs["skipAwait"] is True
    assert "cilium" in recording.one(NODE_GROUP, "canary").depends_on
    assert "cilium" not in behind(recording, "general")


def test_policies_wait_for_the_crds_that_cilium_registers_at_run_time():
    recording = owned("install-cilium")
    policy = "CiliumClusterwideNetworkPolicy/platform-deny-instance-metadata"
    assert "cilium-crds" in behind(recording, policy)
    assert "cilium" in behind(recording, "cilium-crds")


def test_each_attempt_triggers_the_commands_that_must_run_again():
    recording = record(raw(stage="canary"), state=state_at("install-cilium", attempt=7), preview=False)
    for name in ("gate", "settle", "label", "refresh"):
        assert recording.one(COMMAND, name).inputs["triggers"] == [8]


def test_commands_hold_nothing_that_differs_from_machine_to_machine():
    for stage in STAGES:
        for command in owned(stage).of(COMMAND).values():
            lines = [command.inputs[key] for key in ("create", "update", "delete") if key in command.inputs]
            assert lines
            assert all(line.startswith("sh operations/run ") for line in lines)
            assert not {"environment", "dir", "interpreter"} & command.inputs.keys()


def test_every_deploy_asks_before_it_registers_anything_and_only_a_deploy_waits():
    for stage in STAGES:
        stays = owned(stage).asked
        assert [(a.move.asks, a.registered) for a in stays] == [(Asks.STEADY, 0)], "a state without a digest"
    for preview in (True, False):
        forward = record(raw(stage="canary"), state=state_at("install-cilium"), preview=preview)
        assert [(a.move.asks, a.registered, a.wait) for a in forward.asked] == [(Asks.GATE, 0, not preview)]
    assert forward.asked[0].own == Own(id="0a1b", attempt=1, taken=False, reached=True, deploys=True)


@pytest.mark.parametrize("answered", [Answered.FAILED, Answered.UNKNOWN])
@pytest.mark.parametrize("stage", ["pin-legacy", "install-cilium", "label-legacy"])
def test_a_deploy_whose_question_does_not_pass_registers_nothing(stage: str, answered: Answered):
    with pytest.raises(pulumi.RunError, match="does not pass, so nothing was changed:\nnode a is wrong") as caught:
        record(raw(stage=stage), state=state_at("pin-legacy"), answer=Answer(answered, "node a is wrong"))
    words = "the stack stays at pin-legacy, and" if stage == "pin-legacy" else f"the gate of {stage}"
    assert words in str(caught.value)


def test_a_preview_without_access_fails_nothing_that_stays():
    unknown = Answer(Answered.UNKNOWN, "no credentials")
    shown = record(raw(stage="pin-legacy"), state=state_at("pin-legacy"), preview=True, answer=unknown)
    assert shown.names() == owned("pin-legacy").names()
    with pytest.raises(pulumi.RunError, match="no credentials"):
        record(raw(stage="install-cilium"), state=state_at("pin-legacy"), preview=True, answer=unknown)
    failed = Answer(Answered.FAILED, "another account")
    with pytest.raises(pulumi.RunError, match="another account"):
        record(raw(stage="pin-legacy"), state=state_at("pin-legacy"), preview=True, answer=failed)


def test_an_old_settling_reaches_no_new_stage():
    report = json.dumps({"verdict": "passed", "place": "pin-legacy"})
    move = plan_move(
        Recorded(journey="replace", stage="pin-legacy", marker=Marker(place="pin-legacy", attempt=4), settle_attempt=4),
        owned_settings(stage="install-cilium"),
        None,
    )
    ours, older = {"attempt": 5.0}, {"attempt": 4.0}
    assert move.marker.attempt == 5
    assert not reached(report, [4.0], ours, move), "--target or --exclude left the settling out"
    assert not reached(report, [5.0], ours, move), "of another place"
    passed = {"verdict": "passed", "place": "install-cilium"}
    assert reached(json.dumps(passed), [5.0], ours, move)
    assert not reached(json.dumps(passed), [5.0], older, move), "the settling alone was deployed"
    assert not reached(json.dumps(passed | {"verdict": "unknown"}), [5.0], ours, move)
    for damaged in ("", "null", "[]", "no JSON"):
        assert not reached(damaged, [5.0], ours, move)
    assert not reached(json.dumps(passed), [], ours, move)
    assert not reached(json.dumps(passed), [5.0], None, move)


def test_what_a_state_says_is_quoted_before_a_shell_sees_it():
    marker = Marker(place="canary", attempt=4, leaving="x; touch /tmp/owned $(id)")
    recorded = Recorded(journey="replace", stage="canary", marker=marker, settle_attempt=4)
    move = plan_move(recorded, owned_settings(stage="canary"), None)
    line = operations(*gate_words(move, "prod"))
    assert shlex.split(line) == ["sh", "operations/run", *gate_words(move, "prod")]


def test_a_refused_step_registers_nothing():
    recorder_state = state_at("baseline")
    with pytest.raises(pulumi.RunError, match="each deploy moves one"):
        record(raw(stage="canary"), state=recorder_state)


def test_wrong_configuration_is_one_error_with_every_reason():
    with pytest.raises(pulumi.RunError) as caught:
        record(raw(cluster={"name": "staging", "versoin": "1.35"}, stages="canary"))
    assert "2 problems" in str(caught.value)
    assert "Did you mean version?" in str(caught.value)
    assert "Did you mean stage?" in str(caught.value)


def test_an_adopted_cluster_gives_its_addons_into_the_state_and_keeps_them(adopted: Any):
    recording = adopted("pin-legacy")
    for name in ("vpc-cni", "kube-proxy"):
        addon = recording.one(ADDON, name)
        assert addon.import_id == f"prod:{name}"
        assert addon.retain
        assert not addon.protect
        assert "resolveConflictsOnUpdate" not in addon.inputs
    assert recording.of(NODE_GROUP) == {}
    assert recording.of("eks:index:Cluster") == {}


@pytest.mark.parametrize("stage", STAGES[: STAGES.index("retire-legacy")])
def test_an_addon_that_may_be_taken_over_is_kept_until_it_is_proved_unused(adopted: Any, stage: str):
    recording = adopted(stage, takeOver=True)
    kept = {name: recording.one(ADDON, name).retain for name in ("vpc-cni", "kube-proxy")}
    assert kept == dict.fromkeys(kept, stage != "release"), "destroying the stack before would take the only CNI"


def test_an_adopted_calico_is_bound_by_a_patch_that_leaving_does_not_revert(adopted: Any):
    patch = adopted("pin-legacy").one("kubernetes:operator.tigera.io/v1:InstallationPatch", "installation")
    assert patch.retain
    expressions = patch.inputs["spec"]["calicoNodeDaemonSet"]["spec"]["template"]["spec"]["affinity"]
    assert "cni-plugin" in str(expressions)
    assert "fargate" in str(expressions)
    unpinned = adopted("label-legacy").one("kubernetes:operator.tigera.io/v1:InstallationPatch", "installation")
    assert "spec" not in unpinned.inputs


def test_no_facts_no_adoption(tmp_path: Path):
    values = raw(cluster={"name": "prod", "adopt": True})
    del values["legacy"]
    with pytest.raises(pulumi.RunError, match="python -m operations survey"):
        record(values, cwd=tmp_path)


def test_settings_that_contradict_the_facts_are_refused_together_before_anything_is_registered(tmp_path: Path):
    values = raw(cluster={"name": "prod", "adopt": True, "version": "1.33"})
    del values["legacy"]
    values["network"] |= {"vpcId": "vpc-0other", "serviceCidr": "172.31.0.0/16", "vpcCidrs": ["10.8.0.0/16"]}
    (tmp_path / f"facts.{STACK}.yaml").write_text(facts().dump())
    with pytest.raises(pulumi.RunError) as refused:
        record(values, cwd=tmp_path)
    for key in ("network.vpcId", "network.serviceCidr", "network.vpcCidrs", "cluster.version"):
        assert f"{key} = " in str(refused.value)


def test_the_last_stage_and_greenfield_register_the_same_things():
    last = owned("retire-calico")
    state = state_at("retire-calico")
    launched = record(raw(journey="greenfield", stage="launch"), state=state)
    creation_only = {"scalingConfig"}

    def comparable(recording: Recording) -> dict[str, Any]:
        return {
            f"{r.type} {r.name}": (
                {k: v for k, v in r.inputs.items() if k not in creation_only}, r.protect, r.retain, set(r.depends_on)
            )
            for r in recording.registered
        }  # fmt: skip

    assert comparable(launched) == comparable(last)


def test_a_policy_with_several_specs_is_deployed_whole(tmp_path: Path):
    (tmp_path / "cilium").mkdir()
    text = (
        "apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {name: two}\n"
        "specs:\n  - {endpointSelector: {}, ingress: [{}]}\n  - {endpointSelector: {}, egress: [{}]}\n"
    )
    (tmp_path / "cilium" / "two.yaml").write_text(text)
    recording = record(raw(stage="canary", policies=str(tmp_path)), state=state_at("canary"))
    (made,) = (one for one in recording.registered if one.name == "CiliumClusterwideNetworkPolicy/two")
    assert [sorted(spec) for spec in made.inputs["specs"]] == [
        ["endpointSelector", "ingress"],
        ["egress", "endpointSelector"],
    ]
    assert made.type == "kubernetes:cilium.io/v2:CiliumClusterwideNetworkPolicy"


def test_calico_goes_before_the_last_node_on_which_its_operator_can_take_it_down():
    recording = owned("move-workloads")
    groups = {name for name in recording.of(NODE_GROUP) if name != "canary"}
    assert len(groups) > 1
    assert groups <= behind(recording, "installation")


LAUNCH_TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"


def test_a_group_is_launched_as_it_is_written():
    group = {
        "name": "graviton",
        "size": 4,
        "instanceTypes": ["m7g.large", "m6g.large"],
        "amiFamily": "Bottlerocket",
        "capacityType": "spot",
        "tags": {"team": "shop"},
        "diskGib": 100,
        "diskIops": 4000,
        "diskKmsKey": "alias/nodes",
        "securityGroupIds": ["sg-9"],
        "maxUnavailable": "25%",
        "updateStrategy": "minimal",
        "metadataHopLimit": 1,
    }
    recording = record(raw(stage="move-workloads", cilium={"groups": [group]}), state=state_at("canary"))
    made, template = recording.of(NODE_GROUP)["graviton"].inputs, recording.of(LAUNCH_TEMPLATE)["graviton"].inputs
    assert made["amiType"] == "BOTTLEROCKET_ARM_64"
    assert made["instanceTypes"] == ["m7g.large", "m6g.large"]
    assert made["capacityType"] == "SPOT"
    assert made["updateConfig"] == {"maxUnavailablePercentage": 25, "updateStrategy": "MINIMAL"}
    assert made["tags"] == template["tags"] == {"team": "shop"}
    assert template["tagSpecifications"] == [
        {"resourceType": kind, "tags": {"team": "shop"}} for kind in ("instance", "volume")
    ]
    # What more security groups a group has does not take the cluster's own away.
    assert template["vpcSecurityGroupIds"] == ["sg-1", "sg-9"]
    assert template["metadataOptions"] == {"httpTokens": "required", "httpPutResponseHopLimit": 1}
    (disk,) = template["blockDeviceMappings"]
    assert disk["deviceName"] == "/dev/xvdb"
    assert disk["ebs"] == {
        "volumeSize": 100,
        "volumeType": "gp3",
        "iops": 4000,
        "kmsKeyId": "alias/nodes",
        "encrypted": "true",
        "deleteOnTermination": "true",
    }


def test_a_group_that_says_nothing_new_is_registered_as_before():
    made, template = (
        owned("canary").of(NODE_GROUP)["general"].inputs,
        owned("canary").of(LAUNCH_TEMPLATE)["general"].inputs,
    )
    assert made.keys() == {
        *("clusterName", "nodeGroupName", "nodeRoleArn", "subnetIds", "amiType", "instanceTypes", "launchTemplate"),
        *("scalingConfig", "updateConfig", "tags"),
    }
    assert made["updateConfig"] == {"maxUnavailable": 1}
    assert template.keys() == {"userData", "updateDefaultVersion", "metadataOptions", "blockDeviceMappings", "tags"}
    assert template["blockDeviceMappings"][0]["ebs"].keys() == {
        *("volumeSize", "volumeType", "encrypted", "deleteOnTermination"),
    }
