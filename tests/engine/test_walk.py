"""The main job: a whole migration by the real engine, seen from outside, and the launch it ends in."""

import pytest

from tests.engine.journey import Journey

pytestmark = pytest.mark.engine


def test_the_walk_ends_where_greenfield_begins(replace_walk: Journey):
    walked = replace_walk.at("retire-calico")
    walked.set(journey="greenfield", stage="launch")
    outcome = walked.preview("--expect-no-changes")
    assert outcome.code == 0, outcome
    deployed = walked.up()
    assert deployed.code == 0, deployed
    assert walked.reached() == "launch"
