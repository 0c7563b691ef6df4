"""The API server restarts, is away, forgets, is silent, complains, or answers nobody: the refresh waits and goes on."""

from __future__ import annotations

import time

import pytest

from tests.faults.proxy import EVICTION, Fault
from tests.faults.stage import Run, Stage

NODE = r"^/api/v1/nodes/[^?]"
LEASE = "/leases/"
EXPIRED = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}}
BUSY = {"kind": "Status", "code": 429, "message": "Too many requests, please try again later."}


def status(code: int) -> dict[str, object]:
    return {"kind": "Status", "code": code, "message": "injected"}


def away(stage: Stage, run: Run) -> None:
    """The run ends well, with everything moved."""
    run.wait(180)
    assert run.code == 0, run.text
    stage.settled("away")


PASSING = {
    "the first lists are answered 429": Fault(
        path=r"\?limit=", status=429, body=BUSY, headers={"Retry-After": "1"}, times=4
    ),
    "the first lists are answered 500": Fault(path=r"\?limit=", status=500, body=status(500), times=4),
    "watches are answered 410": Fault(path="watch=1", status=410, body=status(410), times=6),
    "watches expire in their middle": Fault(path="watch=1", event=EXPIRED, times=8),
    "watches are answered 503": Fault(path="watch=1", status=503, body=status(503), times=6),
    "patches of nodes are answered 429": Fault(
        method="PATCH", path=NODE, status=429, body=BUSY, headers={"Retry-After": "1"}, times=3
    ),
    "patches of nodes are answered 500": Fault(method="PATCH", path=NODE, status=500, body=status(500), times=3),
    "patches of nodes are answered 504": Fault(method="PATCH", path=NODE, status=504, body=status(504), times=3),
    "patches of nodes are cut before": Fault(method="PATCH", path=NODE, cut="before", times=4),
    "patches of nodes are carried out and cut": Fault(method="PATCH", path=NODE, cut="after", times=4),
    "evictions are carried out and cut": Fault(method="POST", path=EVICTION, cut="after", times=3),
    "evictions are cut before": Fault(method="POST", path=EVICTION, cut="before", times=3),
    "the last look at a node fails": Fault(method="GET", path=NODE, status=504, body=status(504), times=2),
    "the last look at pods fails": Fault(method="GET", path="fieldSelector", status=500, body=status(500), times=2),
    "the last look at pods is cut": Fault(method="GET", path="fieldSelector", cut="after", times=2),
    "the Lease is written and cut": Fault(method="PUT", path=LEASE, cut="after", times=2),
    "the Lease cannot be written for a moment": Fault(method="PUT", path=LEASE, status=500, body=status(500), times=2),
    "the Lease cannot be read for a moment": Fault(
        method="GET", path=LEASE, status=503, body=status(503), skip=2, times=2
    ),
    "every answer is half a second late": Fault(path="^/api", delay=0.5, times=None),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_a_fault_that_passes_costs_time_and_nothing_else(stage: Stage, fault: Fault):
    fault.seen = fault.used = 0
    with stage.api.broken(fault):
        away(stage, stage.refresh("cilium"))
    assert fault.used, "the fault never struck"


@pytest.mark.core
def test_answers_that_are_lost_after_the_change_do_no_harm(stage: Stage):
    cut = [
        Fault(method=m, path=p, cut="after", times=2) for m, p in (("PATCH", NODE), ("POST", EVICTION), ("PUT", LEASE))
    ]
    with stage.api.broken(*cut):
        away(stage, stage.refresh("cilium"))
    assert all(fault.used for fault in cut)


def test_an_api_server_that_is_killed_and_starts_again_is_waited_for(stage: Stage):
    run = stage.refresh("cilium")
    stage.until(lambda: "Cordon 1 after" in run.boundaries)
    with stage.without_api_server():
        time.sleep(2)
        assert run.running, run.text
    away(stage, run)


def test_while_the_api_server_is_away_nothing_is_done_and_afterwards_it_goes_on(stage: Stage):
    run = stage.refresh("cilium")
    stage.until(lambda: "Evict 1 after" in run.boundaries)
    with stage.api.gone():
        time.sleep(3)
        begun = len(run.boundaries)
        asked = len(stage.cloud.requests)
        time.sleep(12)  # three times as long as the Lease lasts
        assert len(run.boundaries) == begun
        changes = [r.action for r in stage.cloud.requests[asked:] if not r.action.startswith("Describe")]
        assert changes == []
    away(stage, run)


def test_somebody_who_takes_the_lease_over_while_the_api_server_is_away_keeps_it(stage: Stage):
    run = stage.refresh("cilium")
    stage.until(lambda: "Cordon 1 after" in run.boundaries)
    with stage.api.gone():
        path = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/eks-cilium-refresh"
        time.sleep(1)
        stage.kube.patch(path, {"spec": {"holderIdentity": "somebody-else"}})
    run.wait()
    assert run.code == 1
    assert "somebody else has taken the refresh over" in run.text
    stage.kube.patch(path, {"spec": {"holderIdentity": ""}})


def test_a_watch_of_nodes_that_is_silent_lets_no_further_node_begin(stage: Stage):
    """The checker counts: one node may leave at once, whatever the watch shows."""
    away_with_a_silent_watch(stage, Fault(path=r"^/api/v1/nodes\?watch", silent=True), noticed=8.0, seconds=15)


def test_a_watch_of_pods_that_is_silent_ends_no_node_with_pods_on_it(stage: Stage):
    away_with_a_silent_watch(stage, Fault(path=r"^/api/v1/pods\?watch", silent=True, times=2), noticed=5.0, seconds=12)


def away_with_a_silent_watch(stage: Stage, silence: Fault, *, noticed: float, seconds: float) -> None:
    """A run whose watch falls silent for so long; the engine asks anew after `noticed` seconds without a word."""
    stage.tune = {
        "kube.watch:SILENCE_SECONDS": noticed,
        "operations.refresh.engine.engine:SHOWN_LATE": 2.0,
    }
    try:
        with stage.api.broken(silence):
            run = stage.refresh("cilium")
            stage.until(lambda: silence.used)
            time.sleep(seconds)
        away(stage, run)
    finally:
        stage.tune = {}
