"""A deploy that is stopped in the middle of any stage goes on, and ends where it would have ended.

Each case begins where the one before ended; after a failure the next one starts from the save of the stage before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from migration.journeys import REPLACE
from sandbox import seeds
from sandbox.project import translate
from tests.engine.deploy import Deploy
from tests.engine.journey import Journey

pytestmark = pytest.mark.engine


@dataclass(frozen=True, kw_only=True)
class Middle:
    """An operation in the middle of a stage, and what makes it last long enough to be hit."""

    stage: str
    kind: str
    name: str
    doing: str = "creating"
    world: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.stage}-{self.name}"


SLOW_NODES = {"launch_delay": 4.0}
SLOW_ADDONS = {"addon_delay": 4.0, "update_delay": 4.0}
QUICK = {"launch_delay": 1.0, "addon_delay": 0.5, "update_delay": 0.3}
COMMAND, RELEASE = "command:local:Command", "kubernetes:helm.sh/v3:Release"
ADDON, GROUP = "aws:eks:Addon", "aws:eks:NodeGroup"

INTERRUPTED = (
    Middle(stage="baseline", kind=GROUP, name="general", world=SLOW_NODES),
    Middle(stage="label-legacy", kind=COMMAND, name="label", doing="(creating|replacing)"),
    Middle(stage="pin-legacy", kind=ADDON, name="vpc-cni", doing="updating", world=SLOW_ADDONS),
    Middle(stage="install-cilium", kind=RELEASE, name="cilium"),
    Middle(stage="canary", kind=GROUP, name="canary", world=SLOW_NODES),
    Middle(stage="move-workloads", kind=COMMAND, name="refresh", doing="(creating|replacing)"),
    Middle(stage="release", kind=COMMAND, name="settle", doing="(creating|replacing)"),
    Middle(stage="retire-legacy", kind=GROUP, name="general", doing="deleting"),
    Middle(stage="retire-calico", kind=RELEASE, name="tigera-operator", doing="deleting"),
)
KILLED = (
    Middle(stage="baseline", kind=ADDON, name="vpc-cni", world=SLOW_ADDONS),
    Middle(stage="label-legacy", kind=COMMAND, name="label", doing="(creating|replacing)"),
    Middle(stage="pin-legacy", kind=ADDON, name="vpc-cni", doing="updating", world=SLOW_ADDONS),
    Middle(stage="install-cilium", kind=RELEASE, name="cilium"),
    Middle(stage="canary", kind=GROUP, name="canary", world=SLOW_NODES),
    Middle(stage="move-workloads", kind=COMMAND, name="refresh", doing="(creating|replacing)"),
    Middle(stage="release", kind=COMMAND, name="settle", doing="(creating|replacing)"),
    Middle(stage="retire-legacy", kind=ADDON, name="vpc-cni", doing="deleting", world=SLOW_ADDONS),
    Middle(stage="retire-calico", kind=RELEASE, name="calico-crds", doing="deleting"),
)


@dataclass
class Stopped:
    """A deploy that has begun to change something, in a sandbox that one case hands to the next."""

    journey: Journey
    stands_at: str | None = None
    """Stage that the last case ended at; None after a failure."""
    middle: Middle = field(init=False)
    deploy: Deploy = field(init=False)

    def begin(self, middle: Middle) -> None:
        before = ("start", *REPLACE.index)[REPLACE.index[middle.stage]]
        if self.stands_at != before:
            self.journey.at(before)
        self.stands_at, self.middle = None, middle
        self.journey.set(stage=middle.stage)
        self.journey.world(**middle.world)
        self.deploy = Deploy(self.journey).reach(middle.kind, middle.name, middle.doing)

    def goes_on(self) -> None:
        """The next deploy reaches the stage, and then nothing is left to do."""
        journey, stage = self.journey, self.middle.stage
        if self.middle.doing != "deleting":  # the engine deletes last: all that is asked for is there by then
            assert journey.reached() != stage, "a deploy that was stopped has reached nothing"
        journey.world(**QUICK)
        deployed = journey.up()
        assert deployed.code == 0, deployed
        assert journey.reached() == stage
        again = journey.preview("--expect-no-changes")
        assert again.code == 0, again
        assert _pending(journey) == []
        if stage == REPLACE.first.id:
            seeds.workloads(journey.directory)
            seeds.team_policies(journey.directory)
            translate(journey.stack)
        assert seeds.unready(journey.directory) == ""
        self.stands_at = stage


@pytest.fixture(scope="module")
def sandbox(replace_walk: Journey) -> Stopped:
    return Stopped(replace_walk)


@pytest.fixture
def stopped(sandbox: Stopped, request: pytest.FixtureRequest) -> Stopped:
    sandbox.begin(request.param)
    return sandbox


def _pending(journey: Journey) -> list[Any]:
    return [item["urn"] for item in journey.resources() if item.get("delete") or item.get("pendingReplacement")]


@pytest.mark.parametrize("stopped", INTERRUPTED, ids=str, indirect=True)
def test_a_deploy_that_was_interrupted_goes_on_where_it_stopped(stopped: Stopped):
    ended = stopped.deploy.interrupt()
    assert ended.code != 0, ended
    stopped.goes_on()


@pytest.mark.parametrize("stopped", KILLED, ids=str, indirect=True)
def test_a_deploy_that_was_killed_goes_on_after_recovery(stopped: Stopped):
    stopped.deploy.kill()
    locked = stopped.journey.up()
    assert locked.code != 0, locked
    # The second is what a state in files says when the kill came while one was written.
    assert "locked" in locked.text or "failed to load checkpoint: EOF" in locked.text, locked
    recovered = stopped.journey.operations("recover", "--yes")
    assert recovered.code == 0, recovered
    stopped.goes_on()
