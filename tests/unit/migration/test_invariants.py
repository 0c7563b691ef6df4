"""The invariants hold of every journey, and each of them notices a table that breaks it."""

from dataclasses import replace
from itertools import pairwise

import pytest

from migration.desired import desired
from migration.invariants import violations
from migration.journeys import (
    JOURNEYS,
    REPLACE,
    Cni,
    Engine,
    Journey,
    NodeKind,
    Piece,
    Proxy,
    Stage,
    risks,
)
from tests.unit.migration.examples import adopted, facts, greenfield, owned


@pytest.mark.parametrize("journey", JOURNEYS.values(), ids=lambda journey: journey.name)
def test_no_journey_breaks_an_invariant(journey: Journey):
    assert violations(journey) == ()


def broken(stage: str, **changes: object) -> str:
    """What is said of `replace` with one row changed."""
    rows = tuple(replace(row, **changes) if row.id == stage else row for row in REPLACE.stages)  # type: ignore[arg-type]
    return "\n".join(violations(Journey("replace", "", rows)))


@pytest.mark.parametrize(
    ("stage", "changes", "text"),
    [
        ("canary", {"enforcement": {NodeKind.LEGACY: frozenset({Engine.CALICO}), NodeKind.CILIUM: frozenset()}}, "nothing enforces"),
        ("canary", {"enforcement": {NodeKind.LEGACY: frozenset({Engine.CALICO})}}, "speak of different kinds"),
        ("canary", {"pinned": False}, "nothing keeps calico, kube-proxy, vpc-cni off Cilium nodes"),
        ("retire-legacy", {"pinned": False}, "nothing keeps calico off Cilium nodes"),
        ("pin-legacy", {"legacy_label": False}, "a label that legacy nodes do not have"),
        ("move-workloads", {"gate": ()}, "no gate"),
        ("label-legacy", {"settle": ()}, "nothing says that the stage was reached"),
        ("baseline", {"pieces": REPLACE.first.pieces - {Piece.KUBE_PROXY}}, "need kube-proxy"),
        ("baseline", {"pieces": REPLACE.first.pieces - {Piece.CALICO_POLICIES}}, "without its policies"),
        ("baseline", {"protected": frozenset({Piece.CLUSTER})}, "are not protected"),
        ("move-workloads", {"protected": REPLACE["canary"].protected}, "cilium-groups"),
        ("baseline", {"protected": REPLACE.first.protected | {Piece.CILIUM}}, "protects what is not there"),
        ("release", {"protected": REPLACE["move-workloads"].protected}, "removes what the stage before protects"),
        ("retire-legacy", {"reversible": True}, "claims a way back"),
        ("install-cilium", {"workloads": NodeKind.CILIUM}, "of which there are none"),
        ("canary", {"workloads": NodeKind.CILIUM}, "in one step"),
        ("label-legacy", {"enforcement": {NodeKind.LEGACY: frozenset({Engine.CILIUM})}}, "for a moment nothing enforces"),
        ("label-legacy", {"wiring": {NodeKind.LEGACY: Cni.CILIUM}, "proxy": {NodeKind.LEGACY: Proxy.CILIUM}}, "more than one risk"),
    ],
)  # fmt: skip
def test_a_table_that_breaks_an_invariant_is_noticed(stage: str, changes: dict[str, object], text: str):
    assert text in broken(stage, **changes)


@pytest.mark.parametrize(("before", "after"), list(pairwise(REPLACE.stages)), ids=lambda stage: stage.id)
def test_going_back_over_a_reversible_stage_restores_the_same_desired(before: Stage, after: Stage):
    if not after.reversible:
        pytest.skip("no way back")
    for settings, known in ((owned(), None), (adopted(), facts())):
        there = desired(settings, known, before.id)
        desired(settings, known, after.id)
        assert desired(settings, known, before.id) == there


def test_the_last_stage_of_replace_declares_what_greenfield_declares():
    last = desired(owned(), None, REPLACE.last.id)
    launched = desired(greenfield(), None, "launch")
    sizes = {group.initial_size for group in launched.groups}
    assert sizes == {3}
    grown = replace(last, groups=tuple(replace(group, initial_size=3) for group in last.groups))
    assert grown == launched  # sizes exist only when a group is made


def test_each_step_of_replace_carries_the_risk_its_table_promises():
    found = {after.id: set(map(str, risks(before, after))) for before, after in pairwise(REPLACE.stages)}
    assert {stage: risk for stage, risk in found.items() if risk} == {
        "move-workloads": {"node-removal"},
        "retire-legacy": {"node-removal"},
        "retire-calico": {"api-removal"},
    }
