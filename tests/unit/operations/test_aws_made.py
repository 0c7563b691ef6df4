"""A deploy that ended does not mean that what it declares in AWS is there and well."""

from pathlib import Path
from typing import Any

import pytest

from migration.journeys import JOURNEYS, CheckId, Piece
from operations.checks import registry
from operations.evidence import Evidence, Verdict
from tests.unit.operations.world import World, legacy_world, mixed_world

ISSUE = {"code": "NodeCreationFailure", "message": "Instances failed to join", "resourceIds": ["i-1"]}


def asked(world: World) -> Evidence:
    return registry()[CheckId.AWS_MADE](world.context)


def changed(world: World, call: str, kind: str, **values: Any) -> None:
    """Every thing of a kind answers with these values."""
    before = world.aws.answers[call]

    def answer(**arguments: Any) -> Any:
        found = before(**arguments) if callable(before) else before
        return found and {kind: {**found[kind], **values}}

    world.aws.answers[call] = answer


@pytest.mark.parametrize("adopted", [True, False])
def test_what_is_there_and_active_passes(tmp_path: Path, adopted: bool):
    assert asked(legacy_world(tmp_path, adopted=adopted)).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("call", "kind", "status", "said"),
    [
        ("describe_nodegroup", "nodegroup", "CREATE_FAILED", "aws eks delete-nodegroup --cluster-name shop"),
        ("describe_nodegroup", "nodegroup", "DEGRADED", "Mend the reason"),
        ("describe_nodegroup", "nodegroup", "SOMETHING_NEW", "Mend the reason"),
        ("describe_nodegroup", "nodegroup", "UPDATING", "Wait until EKS is done"),
        ("describe_addon", "addon", "CREATE_FAILED", "aws eks update-addon --cluster-name shop --addon-name vpc-cni"),
        ("describe_addon", "addon", "UPDATE_FAILED", "aws eks update-addon"),
        ("describe_addon", "addon", "DEGRADED", "its pods in kube-system"),
        ("describe_cluster", "cluster", "UPDATING", "Wait until EKS is done"),
        ("describe_cluster", "cluster", "FAILED", "console"),
    ],
)
def test_a_status_that_is_not_active_fails_and_says_how_it_becomes_well(
    tmp_path: Path, call: str, kind: str, status: str, said: str
):
    world = legacy_world(tmp_path, adopted=False)
    changed(world, call, kind, status=status, health={"issues": [ISSUE]})
    evidence = asked(world)
    assert evidence.verdict is Verdict.FAILED
    finding = evidence.findings[0]
    assert f"is {status}" in finding.problem
    assert said in finding.fix
    assert status == "UPDATING" or "NodeCreationFailure: Instances failed to join (i-1)" in finding.problem


def test_a_health_issue_counts_although_the_status_is_active(tmp_path: Path):
    world = legacy_world(tmp_path, adopted=False)
    changed(world, "describe_nodegroup", "nodegroup", health={"issues": [ISSUE]})
    assert asked(world).verdict is Verdict.FAILED


def test_a_declared_group_that_is_not_there_is_found_by_name(tmp_path: Path):
    world = mixed_world(tmp_path)
    world.sizes = {"old": 2}
    evidence = asked(world)
    assert {f.object for f in evidence.findings} == {"node group canary", "node group new"}


def test_every_stage_that_makes_something_in_aws_asks_for_it_before_it_counts_as_reached():
    made = {Piece.CLUSTER, Piece.LEGACY_GROUPS, Piece.CANARY_GROUP, Piece.CILIUM_GROUPS, Piece.VPC_CNI, Piece.COREDNS}
    for journey in JOURNEYS.values():
        before: frozenset[Piece] = frozenset()
        for stage in journey.stages:
            if (stage.pieces - before) & made:
                assert CheckId.AWS_MADE in stage.settle, stage.id
            before = stage.pieces
