"""Waves of a plan, and what the engine lets go, where nobody has written a PodDisruptionBudget."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from migration.journeys import NodeKind
from operations.refresh.cluster import parse
from operations.refresh.engine import explain
from operations.refresh.engine.engine import Engine
from operations.refresh.model.actions import Evict, Outcome
from operations.refresh.model.answers import Answer
from operations.refresh.model.request import RefreshRequest
from operations.refresh.model.terms import SHOWN_LATE, Goal
from operations.refresh.model.values import DisruptionBudget, Node, Owner, Pod, Workload
from operations.refresh.model.world import World
from operations.refresh.pacing import admission
from operations.refresh.plan.waves import waves

NOW = 1000.0
WEB = ("Deployment", "shop", "web")


def pod(uid: str, node: str, app: str = "web", **changes: Any) -> Pod:
    labels = {"app": app, "pod-template-hash": "6c"}
    found = Pod(uid, "shop", uid, node, Owner("ReplicaSet", f"{app}-6c", f"rs-{app}"), labels, ready=True)
    return replace(found, **changes)


def crowd(nodes: int, seed: int = 1) -> World:
    """Ten pods on each node; half of the applications have budgets of one, or of some."""
    rng, world, apps = random.Random(seed), World("aws", "cilium"), max(2, nodes // 5)  # noqa: S311
    for n in range(nodes):
        world.see_node(Node(f"old-{n}", cni="aws", zone=rng.choice("abc"), instance=f"i-{n}"))
    for a in range(0, apps, 2):
        may_miss = rng.choice((0, 1, 1, 3, 10))
        key, labels = ("shop", f"app-{a}"), {"matchLabels": {"app": f"app-{a}"}}
        world.see_budget(DisruptionBudget(key, labels, expected=50, desired=50 - may_miss, allowed=may_miss))
    for p in range(nodes * 10):
        world.see_pod(pod(f"p{p}", f"old-{rng.randrange(nodes)}", f"app-{rng.randrange(apps)}"))
    return world


def slowly(world: World, request: RefreshRequest, total: int) -> tuple[tuple[str, ...], ...]:
    """The same as `waves`, with a look at every node that is left for each wave."""
    left, found, queues = set(world.old), list[tuple[str, ...]](), admission.Queues(world)
    loads: dict[str, Counter[Any]] = {}
    room: dict[Any, int] = dict(queues.slots)
    for name, node in world.old.items():
        own = [p.workload for p in world.leaving(name) if not p.budgets and p.workload]
        loads[name] = Counter(own) + queues.carried(name)
        room |= {key: world.present.at_once(key) for key in own}
        if request.zone_node_budget is not None:
            loads[name][node.zone] += 1
            room[node.zone] = request.zone_node_budget.of(sum(n.zone == node.zone for n in world.old.values()))
    while left:
        done = total - len(left)
        most = min(request.node_budget.of(total), admission.wave(done))
        used: Counter[Any] = Counter()
        chosen: list[str] = []
        for name in sorted(left, key=lambda n: (*queues.rank(n, first=done == 0), n)):
            fits = all(used[key] + n <= room[key] for key, n in loads[name].items())
            if len(chosen) < most and (fits or not chosen):
                chosen.append(name)
                used.update(loads[name])
        found.append(tuple(chosen))
        left -= set(chosen)
    return tuple(found)


@pytest.mark.parametrize("zone_node_budget", [None, "2"])
@pytest.mark.parametrize("seed", range(8))
def test_waves_are_those_that_a_look_at_every_node_would_find(seed: int, zone_node_budget: str | None):
    world = crowd(60, seed)
    request = RefreshRequest.towards(NodeKind.CILIUM, node_budget="20%", zone_node_budget=zone_node_budget)
    assert waves(world, request, 60) == slowly(world, request, 60)


def test_no_wave_takes_more_replicas_than_the_workload_s_own_rolling_update():
    world = World("aws", "cilium")
    for n in range(12):
        world.see_node(Node(f"old-{n}", cni="aws"))
        world.see_pod(pod(f"web-{n}", f"old-{n}"))
    world.present.replace("Deployment", [Workload(WEB, 12, 3)])
    found = waves(world, RefreshRequest.towards(NodeKind.CILIUM, node_budget="100%"), 12)
    assert [len(wave) for wave in found] == [1, 2, 3, 3, 3]


def test_waves_end_also_where_more_nodes_are_there_than_when_it_began():
    world = crowd(20)
    found = waves(world, RefreshRequest.towards(NodeKind.CILIUM, node_budget="50%"), 12)
    assert sorted(name for wave in found for name in wave) == sorted(world.old)


@pytest.mark.growth
def test_the_waves_of_five_thousand_nodes_are_told_in_seconds_and_not_quadratically():
    def seconds(nodes: int) -> float:
        world, request = crowd(nodes), RefreshRequest.towards(NodeKind.CILIUM, node_budget="3%")
        began = time.process_time()
        waves(world, request, nodes)
        return time.process_time() - began

    assert seconds(5000) < 40 * max(seconds(500), 0.02)  # n log n is 14, and n squared 100


@pytest.mark.parametrize(
    ("kind", "spec", "at_once"),
    [
        ("Deployment", {"replicas": 12, "strategy": {"rollingUpdate": {"maxUnavailable": "25%"}}}, 3),
        ("Deployment", {"replicas": 7, "strategy": {"rollingUpdate": {"maxUnavailable": "50%"}}}, 3),
        ("Deployment", {"replicas": 12, "strategy": {"rollingUpdate": {"maxUnavailable": 5}}}, 5),
        ("Deployment", {"replicas": 12, "strategy": {"rollingUpdate": {"maxUnavailable": 0}}}, 1),
        ("Deployment", {"replicas": 12, "strategy": {"type": "Recreate"}}, 3),
        ("Deployment", {"replicas": 2}, 1),
        ("Deployment", {}, 1),
        ("Deployment", {"replicas": 12, "strategy": {"rollingUpdate": {"maxUnavailable": "many"}}}, 3),
        ("StatefulSet", {"replicas": 12}, 1),
        ("StatefulSet", {"replicas": 12, "updateStrategy": {"rollingUpdate": {"maxUnavailable": "50%"}}}, 6),
    ],
)
def test_a_workload_says_how_many_replicas_its_rolling_update_takes_at_once(kind: str, spec: Any, at_once: int):
    found = parse.workload({"metadata": {"namespace": "shop", "name": "web"}, "spec": spec}, kind)
    assert (found.key, found.at_once) == ((kind, "shop", "web"), at_once)


@pytest.fixture
def engine() -> Engine:
    """Eight old nodes that are all on their way, with a replica each; the rolling update takes two at once."""
    world = World("aws", "cilium")
    for n in range(8):
        world.see_node(Node(f"old-{n}", cni="aws", instance=f"i-{n}", soft=True, ours=True, unschedulable=True))
        world.see_pod(pod(f"web-{n}", f"old-{n}"))
    world.see_node(Node("new", cni="cilium"))
    world.present.replace("Deployment", [Workload(WEB, 8, 2)])
    return Engine(world, RefreshRequest.towards(NodeKind.CILIUM, node_budget="8"), Goal(("old",), {}, 8))


def evicted(engine: Engine, now: float, answer: Answer | None = Answer.EVICTED) -> list[str]:
    actions = [action for action in engine.decide(now).actions if isinstance(action, Evict)]
    for action in actions:
        engine.settle(action, Outcome(answer is Answer.EVICTED, answer=answer), now)
    return [action.uid for action in actions]


def test_replicas_without_a_budget_go_as_their_rolling_update_would_take_them(engine: Engine):
    world = engine.world
    assert evicted(engine, NOW) == ["web-0", "web-1"]
    assert evicted(engine, NOW + 1) == []
    world.see_pod(pod("web-0", "old-0", terminating=True, ready=False))
    world.see_pod(pod("web-8", "new", ready=False))
    assert evicted(engine, NOW + 2) == []
    world.see_pod(pod("web-8", "new"))
    assert evicted(engine, NOW + 3) == ["web-2"]


def test_a_replica_that_is_gone_and_not_made_anew_yet_is_missing(engine: Engine):
    evicted(engine, NOW)
    engine.world.lose_pod("web-0")
    engine.world.lose_pod("web-1")
    assert evicted(engine, NOW + 1) == []


def test_what_somebody_will_never_make_anew_does_not_hold_up_the_others(engine: Engine):
    engine.world.present.replace("Deployment", [Workload(WEB, 20, 2)])
    assert evicted(engine, NOW) == []
    assert evicted(engine, NOW + SHOWN_LATE + 1) == ["web-0", "web-1"]


@pytest.mark.parametrize(("answer", "more"), [(Answer.BUSY, True), (Answer.WEBHOOK, True), (Answer.LOST, False)])
def test_an_eviction_that_was_refused_leaves_room_and_one_whose_answer_was_lost_does_not(
    engine: Engine, answer: Answer, more: bool
):
    assert len(evicted(engine, NOW, answer)) == 2
    assert bool(evicted(engine, NOW + 2)) is more


def test_a_workload_that_was_broken_before_is_moved_all_the_same(engine: Engine):
    engine.world.see_pod(pod("web-8", "old-0", ready=False))
    engine.world.see_pod(pod("web-9", "old-0", ready=False))
    assert not any(uid in evicted(engine, NOW) for uid in ("web-0", "web-1"))
    engine.replicas.goal = replace(engine.goal, unhealthy_before=frozenset({"shop/web-6c"}))
    assert set(evicted(engine, NOW + SHOWN_LATE + 1)) == {"web-0", "web-1", "web-8", "web-9"}


def test_a_pod_under_a_budget_and_one_of_a_job_go_as_before(engine: Engine):
    engine.world.see_pod(Pod("job", "shop", "job", "old-0", Owner("Job", "report", "j"), {}, ready=True))
    engine.world.see_budget(DisruptionBudget(("shop", "web"), {"matchLabels": {"app": "web"}}, allowed=8, expected=8))
    assert {"job", "web-0"} <= set(evicted(engine, NOW))


def test_progress_says_for_what_a_replica_waits(engine: Engine):
    evicted(engine, NOW)
    [why] = [b.reason for b in explain.waits(engine, engine.decide(NOW, stopping=True)) if b.object == "pod shop/web-7"]
    assert why.startswith("waits its turn: deployment shop/web has no PodDisruptionBudget, so 2 of its pods may be")
