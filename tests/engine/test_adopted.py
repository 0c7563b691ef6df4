"""A cluster of somebody else: its owner gets back what was there, and nothing of theirs is deleted."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from migration.journeys import REPLACE, Piece
from tests.engine import witness
from tests.engine.journey import Journey
from tests.engine.test_destroy import destroy, is_refused
from tests.engine.test_way_back import Snapshot
from tests.engine.witness import differences

pytestmark = pytest.mark.engine

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
    is_refused(journey)
    assert differences(objects, witness.cluster(journey)) == []


def test_an_owner_gets_back_what_was_surveyed(adopted_walk: Journey):
    earlier = {stage: Snapshot.of(adopted_walk.at(stage)) for stage in ("start", "baseline", "label-legacy")}
    assert earlier["start"].against(earlier["baseline"], cilium=False, state=False) == []
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
