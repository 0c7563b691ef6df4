"""`pulumi destroy`: of what the stack made nothing is left, of what others made nothing is touched."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from migration.journeys import REPLACE, Piece
from tests.engine import witness
from tests.engine.journey import Journey, Outcome
from tests.engine.witness import differences

pytestmark = pytest.mark.engine


def destroy(journey: Journey) -> Outcome:
    return journey.pulumi("destroy", "--yes", "--skip-preview")


def unprotect(journey: Journey) -> None:
    done = journey.pulumi("state", "unprotect", "--all", "--yes")
    assert done.code == 0, done


def test_destroying_an_owned_stack_is_refused_until_it_is_unprotected_and_then_leaves_nothing(
    replace_walk: Journey, subtests: pytest.Subtests
):
    for stage in (REPLACE.first.id, REPLACE.last.id):
        with subtests.test(stage=stage):
            journey = replace_walk.at(stage)
            _is_refused(journey)
            _leaves_nothing(journey)


def test_destroying_a_greenfield_stack_leaves_nothing(replace_walk: Journey):
    journey = replace_walk.at("start").set(journey="greenfield", stage="launch")
    launched = journey.up()
    assert launched.code == 0, launched
    assert journey.reached() == "launch"
    _is_refused(journey)
    _leaves_nothing(journey)


def _is_refused(journey: Journey) -> None:
    before = witness.state(journey)
    for flags in ((), ("--skip-preview",), ("--skip-preview", "--continue-on-error")):
        refused = journey.pulumi("destroy", "--yes", *flags)
        assert refused.code != 0, refused
        assert "protected" in refused.text, refused
        assert not re.search(r"\bdeleted \(", refused.text), refused
    assert witness.state(journey) == before


def _leaves_nothing(journey: Journey) -> None:
    unprotect(journey)
    destroyed = destroy(journey)
    assert destroyed.code == 0, destroyed
    assert journey.resources() == []
    assert differences(witness.account(journey, "start"), witness.account(journey)) == []


# -- a cluster of somebody else --------------------------------------------------------------------------

FREE = ("baseline", "label-legacy", "pin-legacy", "install-cilium")
"""Stages at which the stack of an adopted cluster may simply be destroyed."""


def test_destroying_an_adopted_stack_touches_nothing_of_its_owners(adopted_walk: Journey, subtests: pytest.Subtests):
    # What the first stage and install-cilium add is all the stack's own; labels and pins stay as they are.
    compared_with = {"baseline": "start", "install-cilium": "pin-legacy"}
    for stage in FREE:
        with subtests.test(stage=stage):
            earlier = adopted_walk.at(compared_with.get(stage, stage))
            objects, things = witness.cluster(earlier), witness.account(earlier)
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
    _is_refused(journey)
    assert differences(objects, witness.cluster(journey)) == []
