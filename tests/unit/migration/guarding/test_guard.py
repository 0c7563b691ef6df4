"""What is guarded at each stage, and while a deploy moves between two."""

from itertools import pairwise

import pytest

from migration.guarding import guard
from migration.invariants import NEEDED_BY
from migration.journeys import JOURNEYS, REPLACE, Cni, Engine, Piece, Proxy, Stage

P = Piece
LEGACY = {P.VPC_CNI, P.KUBE_PROXY, P.CALICO}
STAGES = [stage for journey in JOURNEYS.values() for stage in journey.stages]


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.id)
def test_whatever_wires_enforces_or_routes_at_a_stage_is_guarded_there(stage: Stage):
    things: list[Cni | Proxy | Engine] = [*stage.wiring.values(), *stage.proxy.values()]
    things += [engine for engines in stage.enforcement.values() for engine in engines]
    assert guard.guarded(stage) == {NEEDED_BY[thing] for thing in things} <= stage.pieces


def test_a_stage_removes_nothing_that_it_guards_and_lifts_nothing_else_before_it_is_reached():
    for before, after in (*pairwise(REPLACE.stages), *pairwise(reversed(REPLACE.stages))):
        entering = guard.guarded(after, before)
        assert not entering & (before.pieces - after.pieces)
        assert guard.guarded(before) & after.pieces <= entering
        assert guard.guarded(after) <= entering


def test_what_a_deploy_that_did_not_finish_may_have_used_stays_guarded_on_the_way_back():
    assert guard.guarded(REPLACE["install-cilium"]) == LEGACY
    back = guard.guarded(REPLACE["install-cilium"], REPLACE["install-cilium"], REPLACE["canary"])
    assert back == LEGACY | {P.CILIUM}


def test_the_guard_is_declared_alike_at_every_stage():
    assert all(P.GUARD in stage.pieces for stage in STAGES)


def test_a_guard_says_its_revision_and_one_that_says_none_is_of_nobody():
    assert guard.revision_of(guard.policy()) == guard.revision()
    assert guard.revision_of({}) == guard.revision_of({"validations": [{"expression": "true"}]}) == ""


def test_another_guard_has_another_revision_and_says_so(monkeypatch: pytest.MonkeyPatch):
    before = guard.revision()
    assert before in guard.policy()["validations"][0]["messageExpression"]
    monkeypatch.setattr(guard, "_VALIDATIONS", guard._VALIDATIONS[1:])
    assert guard.revision() != before
