"""SIGKILL at every boundary between two steps of a refresh, there and back; the next run ends as if nothing had been."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable
from typing import Any, get_args

import pytest

from operations.refresh.model.actions import Action
from tests.faults.conftest import Ruled
from tests.faults.stage import Run, Stage
from tests.faults.zygote import READS


def unique(boundaries: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(boundaries))


def kinds(boundaries: Iterable[str]) -> set[str]:
    return {boundary.split()[0] for boundary in boundaries}


def compared(state: dict[str, Any]) -> dict[str, Any]:
    """A state without the holder of the Lease: one that its holder does not renew is free."""
    return {key: value for key, value in state.items() if key != "holder"}


class Trip:
    """One way, as it goes without a kill."""

    def __init__(self, stage: Stage, to: str, *more: str) -> None:
        self.stage, self.to, self.more = stage, to, more
        self.place = "away" if to == "cilium" else "home"
        run = self.go()
        assert run.code == 0, run.text
        self.boundaries = unique(run.boundaries)
        self.end = compared(stage.settled(self.place))

    def go(self, kill: str = "", *, again: bool = False) -> Run:
        """One run to its end; the nodes to be emptied are in service at first."""
        if not again:
            self.stage.balance("general" if self.to == "cilium" else "workers")
        return self.stage.refresh(self.to, *self.more, kill=kill).wait()

    def killed_at(self, boundary: str) -> str:
        """What went wrong; empty when nothing did, `not reached` when this run had no such boundary."""
        killed = self.go(kill=boundary)
        if killed.code == 0:
            return "not reached"
        if killed.code != -signal.SIGKILL:
            return f"{self.to}, {boundary}: ended with {killed.code}: {killed.text[-500:]}"
        again = self.go(again=True)
        if again.code != 0:
            return f"{self.to}, {boundary}: the run after the kill ended with {again.code}: {again.text[-500:]}"
        state = compared(self.stage.settled(self.place))
        return "" if state == self.end else f"{self.to}, {boundary}: ended as {state}, not as {self.end}"


@pytest.mark.timeout(5400)
@pytest.mark.parametrize("strategy", ["surge", "replace"])
def test_a_run_that_is_killed_at_any_boundary_and_started_again_ends_the_same(
    stage: Stage, ruled: Ruled, strategy: str
):
    began, wrong, missed, tried = time.time(), list[str](), list[str](), 0
    there, back = Trip(stage, "cilium", "--strategy", strategy), Trip(stage, "legacy", "--strategy", strategy)
    ways = [(there, list(there.boundaries)), (back, list(back.boundaries))]
    while any(left for _, left in ways):
        for trip, left in ways:
            if not left:
                assert trip.go().code == 0
                continue
            boundary = left.pop(0)
            tried += 1
            found = trip.killed_at(boundary)
            if found == "not reached":
                missed.append(f"{trip.to}, {boundary}")
            elif found:
                wrong.append(found)
            broken = stage.seen(began, ruled.rules)
            began = time.time()
            print(f"{trip.to}, {boundary}: {found or 'well'}; {broken or 'no violation'}", flush=True)
            wrong += [f"{trip.to}, {boundary}: {text}" for text in broken]
    print(f"{strategy}: {tried} boundaries, {len(missed)} not reached again: {missed}")
    assert wrong == []
    assert len(missed) <= tried // 10, missed
    met = kinds([*there.boundaries, *back.boundaries])
    assert met >= {"Lease", "SoftTaint", "Cordon", "Evict", "Terminate", "Resize", "Rebalance"}


def test_every_kind_of_action_is_a_boundary():
    """An action that is added to the engine is in the matrix without anybody's doing: it goes through `carry_out`."""
    names = {kind.__name__ for kind in get_args(Action)}
    assert {kind.__name__ for kind in READS} == {"Look"}
    assert names - {kind.__name__ for kind in READS} == {
        "SoftTaint", "Cordon", "Reopen", "Evict", "Deregister", "Terminate", "DropNode", "Resize", "Rebalance",
    }  # fmt: skip


@pytest.mark.core
@pytest.mark.parametrize("boundary", ["Terminate 1 after"])
def test_a_run_that_is_killed_after_a_change_goes_on_behind_it(stage: Stage, boundary: str):
    killed = stage.refresh("cilium", kill=boundary).wait()
    assert killed.code == -signal.SIGKILL
    again = stage.refresh("cilium").wait()
    assert again.code == 0, again.text
    stage.settled("away")


@pytest.mark.parametrize("boundary", ["Cordon 1 after", "Evict 1 after", "Terminate 1 before", "Terminate 1 after"])
def test_a_run_that_is_killed_can_be_taken_back_instead(stage: Stage, boundary: str):
    killed = stage.refresh("cilium", kill=boundary).wait()
    assert killed.code == -signal.SIGKILL
    undone = stage.command("refresh", "undo").wait()
    assert undone.code == 0, undone.text
    state = stage.state()
    assert state["marked"] == []
    assert state["suspended"] == []
    back = stage.refresh("legacy").wait()
    assert back.code == 0, back.text
    stage.settled("home")
