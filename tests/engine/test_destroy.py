"""`pulumi destroy`: it is refused while things are protected, and then leaves nothing of what the stack made."""

from __future__ import annotations

import re

import pytest

from migration.journeys import REPLACE
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
    for stage in (REPLACE.first.id, "move-workloads", REPLACE.last.id):
        with subtests.test(stage=stage):
            journey = replace_walk.at(stage)
            is_refused(journey)
            _leaves_nothing(journey)


def test_destroying_a_greenfield_stack_leaves_nothing(replace_walk: Journey):
    journey = replace_walk.at("start").set(journey="greenfield", stage="launch")
    launched = journey.up()
    assert launched.code == 0, launched
    assert journey.reached() == "launch"
    is_refused(journey)
    _leaves_nothing(journey)


def is_refused(journey: Journey) -> None:
    before = witness.state(journey)
    for flags in ((), ("--skip-preview",), ("--skip-preview", "--continue-on-error")):
        refused = journey.pulumi("destroy", "--yes", *flags)
        assert refused.code != 0, refused
        assert "protected" in refused.text, refused
        assert not re.search(r"\bdeleted \(", refused.text), refused
    assert witness.state(journey) == before


def open_the_guard(journey: Journey) -> None:
    done = journey.operations("guard", "open", "--reason", "thrown away", "--until", "1h")
    assert done.code == 0, done


def _leaves_nothing(journey: Journey) -> None:
    open_the_guard(journey)
    unprotect(journey)
    destroyed = destroy(journey)
    assert destroyed.code == 0, destroyed
    assert journey.resources() == []
    assert differences(witness.account(journey, "start"), witness.account(journey)) == []
