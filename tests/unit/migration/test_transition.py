"""Which stage may follow which, also after a deploy that did not finish."""

from dataclasses import replace

import pytest

from migration.desired import desired
from migration.journeys import REPLACE, Piece
from migration.settings import Settings
from migration.transition import Direction, Marker, Move, Recorded, Refused, plan_move
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
    assert repr(marker.frozen["cilium.clusterId"]) == "3"
