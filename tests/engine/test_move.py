"""The refresh inside a deploy: people see how far it is, and it ends by itself before the engine's time is over."""

from typing import Any

import pytest

from tests.engine.hands import SHOP, Hands, assert_goes_on, assert_says, eventually
from tests.engine.journey import Journey


def slow_to_stop() -> dict[str, Any]:
    """A Deployment whose pod takes a quarter of an hour to stop."""
    labels = {"app": "slow"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "slow"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {"sandbox/stop-delay": "15m"}},
                "spec": {"terminationGracePeriodSeconds": 1200, "containers": [{"name": "slow", "image": "slow"}]},
            },
        },
    }


@pytest.mark.matrix
@pytest.mark.timeout(600, func_only=True)
def test_a_refresh_that_cannot_end_stops_at_its_own_deadline_and_the_next_deploy_goes_on(replace_walk: Journey):
    walked = replace_walk.at("canary")
    hands = Hands(walked)
    hands.create("/apis/apps/v1/namespaces/shop/deployments", slow_to_stop())

    def slow() -> dict[str, Any]:
        return next((p for p in hands.items(f"{SHOP}/pods") if p["metadata"]["name"].startswith("slow-")), {})

    eventually(lambda: slow().get("status", {}).get("phase") == "Running", "the slow pod")
    name = slow()["metadata"]["name"]
    walked.set(stage="move-workloads", refresh={"deadlineMinutes": 1})
    halted = walked.up()
    assert halted.code != 0, halted
    assert_says(
        halted, "nodes done", "pods moved", "stopped, the time is over", f"pod shop/{name}", "Run again to go on"
    )
    assert walked.reached() == "canary"
    hands.delete(f"{SHOP}/pods/{name}?gracePeriodSeconds=0")  # somebody looked at it and knows that it may go
    moved = assert_goes_on(walked, "move-workloads")
    assert_says(moved, "nodes done")
