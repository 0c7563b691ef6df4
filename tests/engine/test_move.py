"""The refresh inside a deploy: people see how far it is, and it ends by itself before the engine's time is over."""

import pytest

from tests.engine.hands import SHOP, Hands, assert_goes_on, assert_says
from tests.engine.journey import Journey

HELD = "example.com/held"


@pytest.mark.timeout(600)
def test_a_refresh_that_cannot_end_stops_at_its_own_deadline_and_the_next_deploy_goes_on(replace_walk: Journey):
    walked = replace_walk.at("canary")
    hands = Hands(walked)
    name = next(p["metadata"]["name"] for p in hands.items(f"{SHOP}/pods") if p["metadata"]["name"].startswith("web-"))
    hands.patch(f"{SHOP}/pods/{name}", {"metadata": {"finalizers": [HELD]}})
    walked.set(stage="move-workloads", refresh={"deadlineMinutes": 1})
    halted = walked.up()
    assert halted.code != 0, halted
    assert_says(
        halted, "nodes done", "pods moved", "stopped, the time is over", f"pod shop/{name}", "Run again to go on"
    )
    assert walked.reached() == "canary"
    hands.patch(f"{SHOP}/pods/{name}", {"metadata": {"finalizers": None}})
    moved = assert_goes_on(walked, "move-workloads")
    assert_says(moved, "nodes done")
