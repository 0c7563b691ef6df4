"""Budgets that change under a refresh: stuck, flapping, made half-way, gone half-way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.stage import Stage

BUDGETS = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets"
WEB = f"{BUDGETS}/web"


@contextmanager
def flapping(stage: Stage) -> Iterator[list[int]]:
    """The budget of `web` allows one, none, one, … by turns."""
    halt, turns = threading.Event(), list[int]()

    def flap() -> None:
        while not halt.wait(0.6):
            turns.append(len(turns) % 2)
            stage.kube.patch(WEB, {"spec": {"maxUnavailable": turns[-1]}})

    thread = threading.Thread(target=flap)
    thread.start()
    try:
        yield turns
    finally:
        halt.set()
        thread.join()
        stage.kube.patch(WEB, {"spec": {"maxUnavailable": 1}})


def test_a_budget_that_flaps_is_used_when_it_allows_something(stage: Stage):
    with flapping(stage) as turns:
        run = stage.refresh("cilium").wait(180)
    assert run.code == 0, run.text
    assert len(turns) > 4
    stage.settled("away")


def test_a_budget_that_is_stuck_holds_its_node_and_no_other_work_is_lost(stage: Stage):
    stage.kube.patch(WEB, {"spec": {"maxUnavailable": 0}})
    try:
        run = stage.refresh("cilium")
        time.sleep(6)
        assert run.running
        assert len(stage.pods("web")) == 3
    finally:
        stage.kube.patch(WEB, {"spec": {"maxUnavailable": 1}})
    run.wait()
    assert run.code == 0, run.text
    stage.settled("away")


def test_a_budget_that_is_made_half_way_is_kept(stage: Stage):
    budget = stage.kube.call("GET", WEB)
    stage.kube.delete(WEB)
    try:
        run = stage.refresh("cilium")
        stage.until(lambda: "Evict 1 before" in run.boundaries)
    finally:
        fresh = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "spec": budget["spec"]}
        stage.kube.call("POST", BUDGETS, fresh | {"metadata": {"name": "web", "namespace": "shop"}})
    run.wait()
    assert run.code == 0, run.text
    stage.settled("away")


def test_a_budget_that_goes_half_way_holds_nothing_up(stage: Stage):
    budget = stage.kube.call("GET", WEB)
    stage.kube.patch(WEB, {"spec": {"maxUnavailable": 0}})
    try:
        run = stage.refresh("cilium")
        stage.until(lambda: "Evict 1 after" in run.boundaries)
        stage.kube.delete(WEB)
        run.wait()
        assert run.code == 0, run.text
        stage.settled("away")
    finally:
        fresh = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "spec": budget["spec"]}
        stage.kube.call("POST", BUDGETS, fresh | {"metadata": {"name": "web", "namespace": "shop"}})
