"""Every reversible stage can be taken back, object by object, without a disruption budget violated on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from sandbox import seeds
from tests.engine import witness
from tests.engine.journey import Journey
from tests.engine.witness import differences

pytestmark = pytest.mark.engine

BACK = ("release", "move-workloads", "canary", "install-cilium", "pin-legacy", "label-legacy", "baseline")
ON_LEGACY_NODES = frozenset(BACK[2:])


@dataclass(frozen=True)
class Snapshot:
    """What is compared of a stage."""

    cluster: dict[str, Any]
    groups: dict[str, Any]
    addons: dict[str, Any]
    account: dict[str, Any]
    state: dict[str, Any]

    @classmethod
    def of(cls, journey: Journey) -> Snapshot:
        kinds = ("iam.", "ec2.groups", "ec2.templates", "eks.clusters")
        account = {key: value for key, value in witness.account(journey).items() if key.startswith(kinds)}
        return cls(
            witness.cluster(journey),
            witness.groups(journey),
            witness.addons(journey),
            account,
            witness.state(journey),
        )

    def against(self, later: Snapshot, *, cilium: bool, state: bool = True) -> list[str]:
        """Differences to a later snapshot of the same stage.

        `cilium`: whether the stage has Cilium; where it has none, the CRDs of an operator that was there are left out.
        `state`: whether the stack's own state counts.
        """
        left = None if cilium else witness.LEFT_BY_CILIUM
        found = differences(self.cluster, later.cluster, without=left)
        for part in ("groups", "addons", "account", *(["state"] if state else [])):
            found += differences(getattr(self, part), getattr(later, part))
        return found


@pytest.fixture(scope="module")
def forward(replace_walk: Journey) -> dict[str, Snapshot]:
    """Each stage as it was on the way forward; the sandbox is left where the way back begins."""
    return {stage: Snapshot.of(replace_walk.at(stage)) for stage in reversed(BACK)}


def test_every_reversible_stage_is_taken_back_object_by_object(replace_walk: Journey, forward: dict[str, Snapshot]):
    journey = replace_walk
    problems: dict[str, list[str]] = {}
    with witness.watching(journey, "way-back") as watch:
        for stage in BACK[1:]:
            deployed = journey.set(stage=stage).up()
            assert deployed.code == 0, deployed
            assert journey.reached() == stage
            again = journey.preview("--expect-no-changes")
            assert again.code == 0, again
            assert seeds.unready(journey.directory) == ""
            if stage in ON_LEGACY_NODES:
                assert witness.workload_groups(journey) == {"general"}
            with_cilium = "Release/kube-system/cilium" in forward[stage].cluster
            if found := forward[stage].against(Snapshot.of(journey), cilium=with_cilium):
                problems[stage] = found
        assert problems == {}
        deployed = journey.set(stage="label-legacy").up()
        assert deployed.code == 0, deployed
        assert journey.reached() == "label-legacy"
        assert forward["label-legacy"].against(Snapshot.of(journey), cilium=False) == []
    assert watch.violations == []
    assert watch.armed
