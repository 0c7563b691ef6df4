"""Which stage may follow which, also after a deploy that did not finish."""

import json
from dataclasses import replace
from typing import Any

import pytest

from migration.desired import desired
from migration.facts import Facts, InvalidFacts
from migration.journeys import REPLACE, Piece, Stage
from migration.manifests import Manifest
from migration.settings import Settings
from migration.transition import Asks, Direction, Marker, Move, Recorded, Refused, plan_move
from tests.unit.migration.examples import adopted, facts, greenfield, owned, raw


class Stack:
    """A stack's state as deploys leave it, without an engine."""

    def __init__(self) -> None:
        self.recorded = Recorded()

    def plan(self, settings: Settings) -> Move:
        return plan_move(self.recorded, settings, None)

    def deploy(self, stage: str, *, dies: str | None = None, **over: object) -> Move:
        """A deploy of `stage` that its `gate` stops, that dies in the middle of its `changes`, or not at all."""
        settings = owned(stage=stage, **over)
        move = self.plan(settings)
        marker = move.marker
        if dies == "gate":
            return move
        self.recorded = replace(self.recorded, marker=marker)
        if dies == "changes":
            return move
        self.recorded = replace(self.recorded, settle_attempt=marker.attempt, journey="replace", stage=stage)
        return move

    def refused(self, stage: str, **over: object) -> str:
        with pytest.raises(Refused) as caught:
            self.plan(owned(stage=stage, **over))
        return str(caught.value)


def at(stage: str) -> Stack:
    """A stack that walked to a stage."""
    stack = Stack()
    for row in REPLACE.stages[: REPLACE.index[stage] + 1]:
        stack.deploy(row.id)
    return stack


def test_a_stack_begins_at_the_first_stage_only():
    assert "begins at baseline, not at canary" in Stack().refused("canary")
    assert Stack().deploy("baseline").direction is Direction.START


def test_every_single_step_forward_is_allowed_and_every_skip_is_refused():
    for index, row in enumerate(REPLACE.stages):
        stack = at(row.id)
        for other, target in enumerate(REPLACE.stages):
            distance = other - index
            if distance in (0, 1):
                assert stack.plan(owned(stage=target.id)).stage is target
            elif distance > 1:
                assert "each deploy moves one" in stack.refused(target.id)


def test_every_reversible_stage_can_be_left_backwards_and_no_other():
    for before, row in zip(REPLACE.stages, REPLACE.stages[1:], strict=False):
        stack = at(row.id)
        if row.reversible:
            move = stack.plan(owned(stage=before.id))
            assert (move.direction, move.marker.leaving) == (Direction.BACK, row.id)
        else:
            assert f"no way back from {row.id}" in stack.refused(before.id)


def test_an_unknown_stage_is_answered_with_the_stages_there_are():
    text = at("baseline").refused("cannary")
    assert "'cannary' does not exist" in text
    assert "move-workloads" in text


def test_a_second_deploy_of_the_same_stage_asks_nothing_again():
    stack = at("canary")
    before = stack.recorded.marker
    move = stack.deploy("canary")
    assert (move.direction, move.marker) == (Direction.STAY, before)


@pytest.mark.parametrize("stage", REPLACE.stages, ids=lambda stage: stage.id)
def test_a_deploy_that_stays_says_the_same_of_itself_to_the_last_word(stage: Stage):
    stack = at(stage.id)
    stays = stack.plan(owned(stage=stage.id))
    assert stays.stays
    assert stays.marker == stack.recorded.marker


def test_a_deploy_guards_what_nodes_of_the_stage_before_still_need():
    assert at("retire-legacy").plan(owned(stage="retire-legacy")).marker.guarded == ("calico", "cilium")
    back = at("canary").plan(owned(stage="install-cilium")).marker.guarded
    assert back == ("calico", "cilium", "kube-proxy", "vpc-cni")


def test_after_a_half_done_stage_only_it_or_the_one_before_may_follow():
    stack = at("install-cilium")
    stack.deploy("canary", dies="changes")
    assert "the deploy of canary began and did not finish" in stack.refused("pin-legacy")
    assert "did not finish" in stack.refused("move-workloads")
    for target, direction in (("canary", Direction.FORWARD), ("install-cilium", Direction.BACK)):
        move = stack.plan(owned(stage=target))
        assert move.direction is direction
        assert move.marker.attempt > stack.recorded.marker.attempt  # type: ignore[union-attr]


def test_a_retry_whose_gate_fails_does_not_forget_that_changes_had_begun():
    stack = at("install-cilium")
    stack.deploy("canary", dies="changes")
    stack.deploy("canary", dies="gate")
    assert "began and did not finish" in stack.refused("pin-legacy")
    stack.deploy("install-cilium", dies="gate")
    assert "began and did not finish" in stack.refused("pin-legacy")
    assert stack.deploy("install-cilium").direction is Direction.BACK
    assert stack.plan(owned(stage="pin-legacy")).stage.id == "pin-legacy"


def test_a_way_back_that_dies_half_way_is_finished_before_anything_else():
    stack = at("canary")
    stack.deploy("install-cilium", dies="changes")
    assert "began and did not finish" in stack.refused("move-workloads")
    assert stack.plan(owned(stage="install-cilium")).direction is Direction.BACK
    assert stack.plan(owned(stage="canary")).direction is Direction.FORWARD


def test_a_gate_that_failed_changed_nothing_so_the_configuration_may_simply_be_reverted():
    stack = at("pin-legacy")
    stack.deploy("install-cilium", dies="gate")
    move = stack.deploy("pin-legacy")
    assert move.direction is Direction.STAY
    assert move.marker.attempt == stack.recorded.settle_attempt
    assert stack.deploy("install-cilium").direction is Direction.FORWARD


def test_every_attempt_that_asks_a_gate_has_a_number_of_its_own():
    stack = at("pin-legacy")
    numbers = [stack.deploy("install-cilium", dies="changes").marker.attempt for _ in range(3)]
    assert len(set(numbers)) == 3


def test_a_half_done_stage_without_way_back_can_only_go_on():
    stack = at("release")
    stack.deploy("retire-legacy", dies="changes")
    assert "it has no way back" in stack.refused("release")
    assert stack.plan(owned(stage="retire-legacy")).direction is Direction.FORWARD


def test_the_journey_changes_only_at_its_end_and_then_nothing_else_does():
    stack = at("release")
    with pytest.raises(Refused, match="cannot change from replace to greenfield at stage release"):
        stack.plan(greenfield())
    stack = at("retire-calico")
    move = stack.plan(greenfield())
    assert move.direction is Direction.STAY
    assert move.marker == stack.recorded.marker
    stack.recorded = replace(stack.recorded, journey="greenfield", stage="launch")
    with pytest.raises(Refused, match="cannot change from greenfield to replace"):
        stack.plan(owned(stage="retire-calico"))


def test_a_protected_group_that_leaves_the_configuration_is_refused():
    stack = at("canary")
    text = stack.refused("canary", legacy={"groups": [{"name": "other", "size": 1}]})
    assert "legacy-groups/general" in text
    assert "nothing has proved it unused" in text


def test_a_removal_that_the_journey_itself_makes_is_announced_and_allowed():
    move = at("release").plan(owned(stage="retire-legacy"))
    assert {"legacy-groups", "vpc-cni", "kube-proxy"} <= set(map(str, move.removes))


@pytest.mark.parametrize(
    ("stage", "change", "key"),
    [
        ("baseline", {"cluster": {"name": "other"}}, "cluster.name"),
        ("baseline", {"network": raw()["network"] | {"vpcId": "vpc-1"}}, "network.vpcId"),
        (
            "install-cilium",
            {"cilium": {"groups": [{"name": "workers", "size": 3}], "clusterId": 7}},
            "cilium.clusterId",
        ),
    ],
)
def test_values_that_a_stage_fixes_cannot_change(stage: str, change: dict[str, object], key: str):
    assert f"{key} was " in at(stage).refused(stage, **change)


def test_what_is_fixed_at_the_first_install_may_change_before_it():
    change = {"cilium": {"groups": [{"name": "workers", "size": 3}], "clusterId": 7}}
    assert at("pin-legacy").plan(owned(stage="pin-legacy", **change)).direction is Direction.STAY


def test_taking_over_is_decided_one_deploy_before_the_deletion():
    settings = adopted(stage="release")
    before = plan_move(Recorded(journey="replace", stage="move-workloads"), settings, facts())
    recorded = Recorded(journey="replace", stage="release", marker=before.marker, settle_attempt=before.marker.attempt)
    cluster = {"name": "prod", "adopt": True, "takeOver": True}
    late = settings.model_copy(
        update={"stage": "retire-legacy", "cluster": type(settings.cluster).model_validate(cluster)}
    )
    with pytest.raises(Refused, match=r"cluster\.takeOver was False"):
        plan_move(recorded, late, facts())
    early = late.model_copy(update={"stage": "release"})
    assert plan_move(recorded, early, facts()).stage.id == "release"


def test_the_marker_survives_the_state_it_is_kept_in():
    marker = at("canary").recorded.marker
    assert marker is not None
    assert Marker.load(marker.dump()) == marker


def test_names_of_things_tell_groups_apart():
    names = desired(owned(), None, "canary").names
    assert {"legacy-groups/general", "cilium-groups/workers", "canary-group/canary", "cilium", "cluster"} <= names


CILIUM: dict[str, object] = {"groups": [{"name": "workers", "size": 3}]}


def cilium(version: str) -> dict[str, Any]:
    return {"cilium": CILIUM | {"version": version}, "cluster": {"name": "staging", "version": "1.33"}}


def test_a_deploy_that_moves_asks_the_gate_and_one_that_stays_asks_whose_cluster_it_is():
    stack = Stack()
    assert stack.deploy("baseline").asks is Asks.GATE
    assert stack.deploy("baseline").asks is Asks.IDENTITY
    assert stack.deploy("label-legacy").asks is Asks.GATE
    assert stack.deploy("baseline").asks is Asks.GATE


def test_a_change_of_what_is_declared_has_a_gate_of_its_own_and_settles_again():
    stack = at("canary")
    before = stack.recorded.marker
    values: dict[str, Any] = {"cilium": CILIUM | {"values": {"debug": {"enabled": True}}}}
    move = stack.plan(owned(stage="canary", **values))
    assert (move.direction, move.asks, move.marker.asks) == (Direction.CHANGE, Asks.STEADY, Asks.STEADY)
    assert before is not None
    assert move.marker.attempt == before.attempt + 1
    stack.deploy("canary", dies="changes", **values)
    again = stack.deploy("canary", **values)
    assert (again.direction, again.asks) == (Direction.CHANGE, Asks.IDENTITY), "what is broken must not keep it broken"
    after = stack.deploy("canary", **values)
    assert (after.direction, after.marker) == (Direction.STAY, again.marker)


def test_edited_policies_are_a_change():
    stack = at("canary")
    manifest = Manifest(
        source="x.yaml:1", api_version="cilium.io/v2", kind="CiliumNetworkPolicy", name="x", namespace="shop",
        labels={}, annotations={}, body={"spec": {"endpointSelector": {}}},
    )  # fmt: skip
    move = plan_move(stack.recorded, owned(stage="canary"), None, policies={"cilium": [manifest]})
    assert move.direction is Direction.CHANGE
    move = plan_move(at("baseline").recorded, owned(stage="baseline"), None, policies={"cilium": [manifest]})
    assert move.direction is Direction.STAY, "there are no Cilium policies at that stage"


def test_a_change_of_the_deployers_is_deployed():
    stack = at("canary")
    change = {"deployers": ["arn:aws:iam::111122223333:role/ci"]}
    assert stack.plan(owned(stage="canary", **change)).direction is Direction.CHANGE


@pytest.mark.parametrize("change", [{"soakMinutes": 5}, {"refresh": {"budget": "3"}}])
def test_how_a_refresh_or_a_soak_goes_about_it_is_no_change_of_the_cluster(change: dict[str, object]):
    stack = at("canary")
    assert stack.plan(owned(stage="canary", **change)).direction is Direction.STAY


def test_a_state_without_a_digest_is_asked_about_and_keeps_its_attempt():
    stack = at("canary")
    assert stack.recorded.marker is not None
    old = replace(stack.recorded.marker, declared=None, id=None, cilium=None)
    stack.recorded = replace(stack.recorded, marker=old)
    move = plan_move(stack.recorded, owned(stage="canary"), None, new_id="0a")
    assert (move.direction, move.asks, move.marker.attempt) == (Direction.STAY, Asks.STEADY, old.attempt)
    assert (move.marker.id, move.marker.declared) == ("0a", None), "so the next one that stays is asked as well"
    moved = plan_move(stack.recorded, owned(stage="install-cilium"), None, new_id="0a")
    assert moved.marker.declared is not None


def test_an_id_is_kept_for_good():
    first = plan_move(Recorded(), owned(stage="baseline"), None, new_id="0a").marker
    recorded = Recorded(journey="replace", stage="baseline", marker=first, settle_attempt=first.attempt)
    for stage in ("baseline", "label-legacy"):
        assert plan_move(recorded, owned(stage=stage), None, new_id="0b").marker.id == "0a"


def test_what_was_left_out_of_a_deploy_is_not_taken_for_a_gate_that_failed():
    stack = at("pin-legacy")
    marker = stack.plan(owned(stage="install-cilium")).marker
    stack.recorded = replace(stack.recorded, marker=marker)  # --exclude gate --exclude settle: the rest was changed
    assert "the deploy of install-cilium began and did not finish" in stack.refused("label-legacy")


def walked(stage: str, version: str) -> Stack:
    stack = Stack()
    for row in REPLACE.stages[: REPLACE.index[stage] + 1]:
        stack.deploy(row.id, **cilium(version))
    return stack


@pytest.mark.parametrize(
    ("before", "now", "text"),
    [
        ("1.19.3", "1.19.2", "Cilium does not go down"),
        ("1.19.3", "1.18.9", "Cilium does not go down"),
        ("1.18.4", "1.20.0", "one minor version at a time. Set it to a version 1.19.x first"),
        ("1.19.3", "1.19.4", ""),
        ("1.19.3", "1.20.0", ""),
    ],
)
def test_cilium_goes_up_one_minor_version_at_a_time_and_never_down(before: str, now: str, text: str):
    stack = walked("canary", before)
    if text:
        assert text in stack.refused("canary", **cilium(now))
    else:
        assert stack.deploy("canary", **cilium(now)).direction is Direction.CHANGE
        assert stack.plan(owned(stage="canary", **cilium(now))).direction is Direction.STAY


def test_an_upgrade_that_did_not_finish_may_go_back_to_where_it_came_from():
    stack = walked("canary", "1.19.3")
    stack.deploy("canary", dies="changes", **cilium("1.20.0"))
    stack.deploy("canary", dies="changes", **cilium("1.20.0"))
    assert "does not go down" in stack.refused("canary", **cilium("1.19.2"))
    assert stack.deploy("canary", **cilium("1.19.3")).direction is Direction.CHANGE
    assert "does not go down" in walked("canary", "1.20.0").refused("canary", **cilium("1.19.3"))


def test_a_stage_is_not_moved_while_an_upgrade_is_not_finished():
    stack = walked("canary", "1.19.3")
    stack.deploy("canary", dies="changes", **cilium("1.20.0"))
    for stage in ("move-workloads", "install-cilium"):
        assert "at once" in stack.refused(stage, **cilium("1.20.0"))
        assert "on its way from 1.19.3 to 1.20.0, which did not finish" in stack.refused(stage, **cilium("1.19.3"))


def test_a_half_done_move_is_finished_with_the_version_that_it_began_with():
    stack = walked("canary", "1.19.3")
    stack.deploy("move-workloads", dies="changes", **cilium("1.19.3"))
    for stage in ("canary", "move-workloads"):
        assert "at once" in stack.refused(stage, **cilium("1.20.0"))
        assert stack.plan(owned(stage=stage, **cilium("1.19.3"))).stage.id == stage


def test_the_number_of_a_settling_that_ran_alone_is_not_used_again():
    stack = at("release")
    assert stack.recorded.marker is not None
    alone = stack.recorded.marker.attempt + 1
    stack.recorded = replace(stack.recorded, settle_attempt=alone)
    assert stack.plan(owned(stage="retire-legacy")).marker.attempt == alone + 1


def test_a_place_that_the_journey_does_not_have_is_one_clear_error():
    stack = at("retire-calico")
    assert stack.recorded.marker is not None
    odd = replace(stack.recorded.marker, place="nowhere", attempt=99)
    stack.recorded = replace(stack.recorded, marker=odd)
    with pytest.raises(Refused, match="began at nowhere, which the journey greenfield does not have"):
        stack.plan(greenfield())


def test_a_version_does_not_change_in_the_deploy_that_moves_a_stage():
    stack = walked("install-cilium", "1.19.3")
    text = stack.refused("canary", **cilium("1.20.0"))
    assert "would move between install-cilium and canary and take Cilium from 1.19.3 to 1.20.0 at once" in text
    before = walked("pin-legacy", "1.19.3")
    assert before.plan(owned(stage="install-cilium", **cilium("1.20.0"))).direction is Direction.FORWARD


def test_what_a_reached_stage_did_not_get_to_delete_is_asked_about_again_and_goes_first():
    stack = at("retire-legacy")
    stack.recorded = replace(stack.recorded, present=frozenset({Piece.LEGACY_GROUPS, Piece.CILIUM}))
    assert "has not deleted everything yet (legacy-groups), so retire-calico cannot follow" in stack.refused(
        "retire-calico"
    )
    move = stack.deploy("retire-legacy")
    assert (move.direction, move.removes) == (Direction.FINISH, frozenset({Piece.LEGACY_GROUPS}))
    stack.recorded = replace(stack.recorded, present=frozenset({Piece.CILIUM}))
    assert stack.plan(owned(stage="retire-legacy")).direction is Direction.STAY
    assert stack.plan(owned(stage="retire-calico")).direction is Direction.FORWARD


def test_a_way_back_that_did_not_delete_everything_may_be_finished_or_turned_round():
    stack = at("canary")
    left = stack.deploy("install-cilium").marker.leaving
    stack.recorded = replace(stack.recorded, present=frozenset({Piece.CANARY_GROUP}))
    move = stack.plan(owned(stage="install-cilium"))
    assert (move.direction, move.marker.leaving) == (Direction.FINISH, left)
    assert stack.plan(owned(stage="canary")).direction is Direction.FORWARD
    assert "pin-legacy cannot follow" in stack.refused("pin-legacy")


def test_numbers_that_the_engine_makes_floats_stay_the_numbers_they_were():
    marker = Marker.load({"place": "canary", "attempt": 4.0, "frozen": {"cilium.clusterId": 3.0}})
    assert repr(marker.fixed["cilium.clusterId"]) == "3"


def cilium_policy(**spec: Any) -> Manifest:
    return Manifest(
        source="policies/network/cilium/web.yaml:1",
        api_version="cilium.io/v2",
        kind="CiliumNetworkPolicy",
        name="web",
        namespace="shop",
        labels={},
        annotations={},
        body={"spec": {"endpointSelector": {}, **spec}},
    )


@pytest.mark.parametrize(
    "rule",
    [
        {"egress": [{"toFQDNs": [{"matchName": "example.com"}]}]},
        {"egress": [{"toPorts": [{"rules": {"dns": [{"matchPattern": "*"}]}}]}]},
        {"ingress": [{"toPorts": [{"ports": [{"port": "80"}], "rules": {"http": [{}]}}]}]},
    ],
)
def test_policies_that_need_the_proxy_are_refused_where_it_is_switched_off(rule: dict[str, Any]):
    off = owned(stage="baseline", cilium={"groups": [{"name": "workers", "size": 3}], "values": {"l7Proxy": False}})
    with pytest.raises(Refused, match=r"web\.yaml:1: CiliumNetworkPolicy/shop/web"):
        plan_move(Recorded(), off, None, policies={"cilium": (cilium_policy(**rule),)})
    plan_move(Recorded(), owned(stage="baseline"), None, policies={"cilium": (cilium_policy(**rule),)})
    plain = cilium_policy(egress=[{"toPorts": [{"ports": [{"port": "80"}]}]}])
    plan_move(Recorded(), off, None, policies={"cilium": (plain,)})


def test_facts_of_an_addon_that_nobody_can_read_are_refused_in_words():
    values = json.loads(facts().model_dump_json(by_alias=True))
    values["vpcCni"]["configuration"] = "{x"
    values["decisions"] = [{"item": "vpc-cni", "verdict": "refused", "reason": "cannot be read"}]
    with pytest.raises(InvalidFacts, match=r"vpcCni\.configuration of the facts is neither JSON nor YAML"):
        plan_move(Recorded(), adopted(stage="baseline"), Facts.model_validate(values))
