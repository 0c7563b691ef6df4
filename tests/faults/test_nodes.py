"""Nodes that flap, vanish, are uncordoned or deleted by somebody; new nodes that never come, or come without Cilium."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tests.faults.conftest import Ruled
from tests.faults.stage import NODES, Run, Stage

AGENTS = "/apis/apps/v1/namespaces/kube-system/daemonsets/cilium"


def first_closed(stage: Stage, run: Run) -> dict[str, Any]:
    """The first node on its way out."""
    stage.until(lambda: "Cordon 1 after" in run.boundaries)
    return next(n for n in stage.nodes("aws") if n["spec"].get("unschedulable"))


def instance(node: dict[str, Any]) -> str:
    return str(node["spec"]["providerID"]).rsplit("/", 1)[1]


def name(node: dict[str, Any]) -> str:
    return str(node["metadata"]["name"])


@contextmanager
def flapping(stage: Stage, path: str) -> Iterator[None]:
    """A node says NotReady, Ready, NotReady, …: the CNI of the sandbox sets it right again each time."""
    halt = threading.Event()

    def flap() -> None:
        bad = {"type": "Ready", "status": "False", "reason": "Flapping", "message": "injected"}
        while not halt.wait(0.3):
            try:
                stage.kube.patch(f"{path}/status", {"status": {"conditions": [bad]}}, kind="strategic")
            except Exception:
                return  # it is gone

    thread = threading.Thread(target=flap)
    thread.start()
    try:
        yield
    finally:
        halt.set()
        thread.join()


def test_a_node_that_flaps_is_emptied_all_the_same(stage: Stage, ruled: Ruled):
    ruled.rules = replace(ruled.rules, floor=0)
    run = stage.refresh("cilium")
    node = first_closed(stage, run)
    with flapping(stage, f"/api/v1/nodes/{name(node)}"):
        run.wait(180)
    assert run.code == 0, run.text
    stage.settled("away")


def test_a_node_that_vanishes_half_way_counts_as_done(stage: Stage, ruled: Ruled):
    run = stage.refresh("cilium")
    node = first_closed(stage, run)
    ruled.rules = replace(ruled.rules, others=frozenset({name(node)}))
    stage.ec2.terminate_instances(InstanceIds=[instance(node)])
    run.wait(180)
    assert run.code == 0, run.text
    stage.settled("away")


def test_a_node_that_waits_and_vanishes_is_not_replaced_by_an_old_one(stage: Stage, ruled: Ruled):
    """Auto Scaling makes a new old one: it is emptied too, and the group ends at zero."""
    run = stage.refresh("cilium")
    closed = first_closed(stage, run)
    other = next(n for n in stage.nodes("aws") if name(n) != name(closed))
    ruled.rules = replace(ruled.rules, others=frozenset({name(other)}), floor=0)
    stage.ec2.terminate_instances(InstanceIds=[instance(other)])
    run.wait(240)
    assert run.code == 0, run.text
    stage.settled("away")


def test_a_node_that_somebody_uncordons_is_left_alone_until_the_next_run(stage: Stage):
    stage.kube.patch(
        "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/web", {"spec": {"maxUnavailable": 0}}
    )  # so that it stays half-way
    try:
        run = stage.refresh("cilium", "--deadline", "0.3")
        node = first_closed(stage, run)
        time.sleep(2)
        stage.kube.patch(f"/api/v1/nodes/{name(node)}", {"spec": {"unschedulable": None}})
    finally:
        stage.kube.patch("/apis/policy/v1/namespaces/shop/poddisruptionbudgets/web", {"spec": {"maxUnavailable": 1}})
    run.wait()
    assert run.code == 1, run.text
    assert "somebody uncordoned it" in run.text
    found = stage.kube.get(f"/api/v1/nodes/{name(node)}")
    assert found is not None
    assert not found["spec"].get("unschedulable")
    again = stage.refresh("cilium").wait()
    assert again.code == 0, again.text
    stage.settled("away")


def test_a_node_whose_object_somebody_deletes_is_ended_after_a_while(stage: Stage, ruled: Ruled):
    """Its instance goes on without a node: nothing can be evicted from it any more, and nobody else would end it."""
    stage.pace |= {"join": 4.0}
    try:
        run = stage.refresh("cilium")
        node = first_closed(stage, run)
        ruled.rules = replace(ruled.rules, others=frozenset({name(node)}))
        stage.kube.delete(f"/api/v1/nodes/{name(node)}")
        run.wait(180)
        assert run.code == 0, run.text
        stage.settled("away")
    finally:
        del stage.pace["join"]


def nothing_begun(stage: Stage, run: Run, words: str) -> None:
    """The run ended at its deadline; every old node is open and full."""
    assert run.code == 1, run.text
    assert words in run.text
    assert len(stage.nodes("aws")) == NODES
    assert not any(n["spec"].get("unschedulable") for n in stage.nodes("aws"))
    assert not any(step.startswith(("Cordon", "Evict", "Terminate")) for step in run.boundaries)


def test_new_nodes_that_never_join_leave_the_old_ones_untouched(stage: Stage):
    with stage.world(launch_delay=3600):
        run = stage.refresh("cilium", "--deadline", "0.2").wait()
        nothing_begun(stage, run, f"{NODES} of {NODES} are not ready yet")
    run = stage.refresh("cilium").wait()
    assert run.code == 0, run.text
    stage.settled("away")


def test_new_nodes_without_cilium_leave_the_old_ones_untouched(stage: Stage):
    nowhere = {"spec": {"template": {"spec": {"nodeSelector": {"cni-plugin": "nowhere"}}}}}
    stage.kube.patch(AGENTS, nowhere)
    try:
        run = stage.refresh("cilium", "--deadline", "0.2").wait()
        nothing_begun(stage, run, f"{NODES} of {NODES} are not ready yet")
        assert len(stage.nodes("cilium")) == NODES
    finally:
        stage.kube.patch(AGENTS, {"spec": {"template": {"spec": {"nodeSelector": {"cni-plugin": "cilium"}}}}})
    run = stage.refresh("cilium").wait()
    assert run.code == 0, run.text
    stage.settled("away")
