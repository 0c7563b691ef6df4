"""Single decisions of the engine, where what it knows is not what is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from migration.journeys import NodeKind
from operations.refresh.engine import explain
from operations.refresh.engine.engine import Engine
from operations.refresh.model.actions import Action, Cordon, Evict, Look, Outcome, Terminate
from operations.refresh.model.request import RefreshRequest
from operations.refresh.model.terms import SHOWN_LATE, Awaited, Goal
from operations.refresh.model.values import CloudView, DisruptionBudget, Group, Instance, Node, Owner, Pod, Sizes
from operations.refresh.model.world import World
from operations.refresh.pacing.disruption_budgets import NEVER_DELETED
from operations.refresh.pacing.easing import LATE, Easing

NOW = 1000.0
BUDGET = DisruptionBudget(("shop", "web"), {"matchLabels": {"app": "web"}}, allowed=1, expected=3, desired=2)


def pod(name: str, node: str) -> Pod:
    return Pod(name, "shop", name, node, Owner("ReplicaSet", "web", "rs"), {"app": "web"}, ready=True)


def cloud(nodes: int) -> CloudView:
    instances = {
        f"i-{cni}-{n}": Instance(f"i-{cni}-{n}", group, f"asg-{group}", "z", "in-service")
        for cni, group in (("aws", "old"), ("cilium", "new"))
        for n in range(nodes)
    }
    sizes = Sizes(0, nodes, nodes)
    groups = {name: Group(name, True, sizes, rebalancing=False) for name in ("old", "new")}
    return CloudView(groups, instances, {})


@pytest.fixture
def engine() -> Engine:
    """Three old nodes with a pod each, and as many new ones, all ready; one node may leave at once."""
    world = World("aws", "cilium")
    for n in range(3):
        for cni in ("aws", "cilium"):
            name = f"{cni}-{n}"
            world.see_node(Node(name, uid=name, cni=cni, instance=f"i-{name}", soft=cni == "aws", version="1"))
        agent = Owner("DaemonSet", "cilium", "ds")
        world.see_pod(Pod(f"agent-{n}", "kube-system", "a", f"cilium-{n}", agent, ready=True, agent=True))
        world.see_pod(pod(f"web-{n}", f"aws-{n}"))
    world.see_budget(replace(BUDGET))
    world.see_cloud(cloud(3), NOW)
    request = RefreshRequest.towards(NodeKind.CILIUM, node_budget="1")
    return Engine(world, request, Goal(("old",), {"new": Sizes(0, 3, 3)}, 3))


def waits(engine: Engine, now: float) -> tuple[Awaited, ...]:
    return explain.waits(engine, engine.decide(now, stopping=True))


def cordons(actions: Sequence[Action]) -> list[str]:
    return [action.node for action in actions if isinstance(action, Cordon)]


def settled(engine: Engine, actions: Sequence[Action], outcome: Outcome, now: float) -> None:
    for action in actions:
        engine.settle(action, replace(outcome, view=cloud(3)) if isinstance(action, Look) else outcome, now)


def test_a_node_that_was_closed_counts_for_as_long_as_the_watch_shows_nothing_newer(engine: Engine):
    begun = engine.decide(NOW).actions
    assert cordons(begun) == ["aws-0"]
    settled(engine, begun, Outcome(True), NOW)
    engine.world.lose_pod("web-0")  # pods are shown, nodes are not: another node now comes first
    later = NOW + SHOWN_LATE + 60
    assert not set(cordons(engine.decide(later).actions)) - {"aws-0"}


def test_a_late_event_from_before_it_was_closed_does_not_make_it_open(engine: Engine):
    begun = engine.decide(NOW).actions
    settled(engine, begun, Outcome(True, version="7"), NOW)
    engine.world.lose_pod("web-0")
    engine.world.see_node(replace(engine.world.old["aws-0"], version="5"))
    assert cordons(engine.decide(NOW + SHOWN_LATE + 60).actions) == []
    engine.world.see_node(replace(engine.world.old["aws-0"], version="8"))  # somebody opened it meanwhile
    assert cordons(engine.decide(NOW + SHOWN_LATE + 90).actions) != []


def test_a_node_of_which_nobody_knows_whether_it_is_closed_is_closed_again_and_no_other(engine: Engine):
    begun = engine.decide(NOW).actions
    settled(engine, begun, Outcome(False, "cut"), NOW)
    engine.world.lose_pod("web-0")
    again = engine.decide(NOW + 10).actions
    assert cordons(again) == ["aws-0"]
    settled(engine, again, Outcome(True), NOW + 10)
    assert cordons(engine.decide(NOW + 20).actions) == []


def test_a_node_that_is_shown_to_be_open_after_all_makes_room_for_another(engine: Engine):
    begun = engine.decide(NOW).actions
    settled(engine, begun, Outcome(True), NOW)
    engine.world.see_node(replace(engine.world.old["aws-0"], version="2"))
    assert cordons(engine.decide(NOW + SHOWN_LATE + 1).actions) == ["aws-0"]


def test_a_pod_that_only_a_finalizer_keeps_holds_its_node_and_is_named_with_it(engine: Engine):
    world = engine.world
    world.see_node(replace(world.old["aws-0"], ours=True, unschedulable=True, version="2"))
    stopped = replace(pod("web-0", "aws-0"), ready=False, terminating=True, finished=True)
    world.see_pod(replace(stopped, finalizers=("example.com/held",)))
    world.see_cloud(replace(cloud(3), asked=frozenset({"i-aws-0"})), NOW)
    assert not any(isinstance(a, Terminate) for a in engine.decide(NOW).actions)
    why = [b.reason for b in waits(engine, NOW) if b.object == "pod shop/web-0"]
    assert why == ["has stopped, but its finalizers keep it (example.com/held): their controller has to remove them"]
    world.lose_pod("web-0")
    assert [a.node for a in engine.decide(NOW + 1).actions if isinstance(a, Terminate)] == ["aws-0"]


@pytest.mark.parametrize("marked", [False, True])
def test_a_pod_whose_owner_asks_that_it_be_left_alone_is_evicted_only_where_that_was_asked_for(
    engine: Engine, marked: bool
):
    world = engine.world
    world.see_node(replace(world.old["aws-0"], ours=True, unschedulable=True, version="2"))
    world.see_pod(replace(pod("web-0", "aws-0"), mark="karpenter.sh/do-not-disrupt=true"))
    engine = Engine(world, replace(engine.request, marked=marked), engine.goal)
    assert [a.uid for a in engine.decide(NOW).actions if isinstance(a, Evict)] == (["web-0"] if marked else [])
    why = [b.reason for b in waits(engine, NOW) if b.object == "pod shop/web-0"]
    asks = "its owner asks that it be left alone (karpenter.sh/do-not-disrupt=true), so it is not evicted"
    assert why[0].startswith(asks) is not marked


def test_a_node_with_a_pod_that_is_to_be_left_alone_is_not_begun_and_others_are(engine: Engine):
    world = engine.world
    asks = replace(pod("web-0", "aws-0"), mark="karpenter.sh/do-not-disrupt=true")
    world.see_pod(asks)
    assert cordons(engine.decide(NOW).actions) == ["aws-1"]
    why = [(b.node, b.reason) for b in waits(engine, NOW) if b.object == "pod shop/web-0"]
    assert [node for node, _ in why] == ["aws-0"]
    assert why[0][1].startswith("its owner asks that it be left alone")
    world.see_pod(replace(asks, mark=""))
    assert engine.held(NOW) == set()


def test_progress_says_what_the_judge_says(engine: Engine):
    world = engine.world
    world.see_node(replace(world.old["aws-0"], ours=True, unschedulable=True, version="2"))
    world.see_budget(replace(BUDGET, allowed=0, desired=3))
    [why] = [b.reason for b in waits(engine, NOW) if b.object == "pod shop/web-0"]
    assert "poddisruptionbudget shop/web never allows a disruption" in why
    assert "Allow one pod to be away (maxUnavailable: 1)" in why


@pytest.mark.parametrize("change", [{"minimum": 1}, {"rebalancing": True}])
def test_no_instance_ends_while_auto_scaling_could_end_another_in_its_place(engine: Engine, change: dict[str, object]):
    world = engine.world
    world.see_node(replace(world.old["aws-0"], ours=True, unschedulable=True, version="2"))
    world.lose_pod("web-0")
    view = replace(cloud(3), asked=frozenset({"i-aws-0"}))
    world.see_cloud(view, NOW)
    assert [a.node for a in engine.decide(NOW).actions if isinstance(a, Terminate)] == ["aws-0"]

    other = Engine(world, engine.request, engine.goal)
    group = view.groups["old"]
    if "minimum" in change:
        group.sizes = Sizes(1, 3, 3)
    else:
        group.rebalancing = True
    assert not [a for a in other.decide(NOW).actions if isinstance(a, Terminate)]


def test_an_eviction_that_the_disruption_controller_does_not_count_is_a_lag(engine: Engine):
    def behind(now: float) -> float:
        engine.budgets.see_uncounted(now)
        return engine.budgets.behind(now)

    assert behind(NOW) == 0
    engine.world.see_budget(replace(BUDGET, unnoted=("web-0",)))
    assert [behind(NOW), behind(NOW + 3)] == [0, 3]
    engine.world.see_budget(replace(BUDGET, unnoted=("web-0", "web-1")))
    assert behind(NOW + 5) == 5
    engine.world.see_budget(replace(BUDGET, unnoted=("web-1",)))
    assert behind(NOW + 6) == 1
    engine.world.see_budget(BUDGET)
    assert behind(NOW + 7) == 0


def test_a_pod_that_was_evicted_and_never_deleted_is_no_lag(engine: Engine):
    engine.world.see_budget(replace(BUDGET, unnoted=("web-0",)))
    engine.budgets.see_uncounted(NOW)
    assert engine.budgets.behind(NOW + NEVER_DELETED) == 0


def test_when_the_disruption_controller_is_late_fewer_are_evicted_and_as_many_nodes_closed(engine: Engine):
    engine.world.see_budget(replace(BUDGET, unnoted=("web-0",)))
    engine.decide(NOW)
    evictions, requests = engine.easing.rate, engine.throttle.rate
    engine.decide(NOW + 2 * LATE)
    assert engine.easing.rate < evictions
    assert engine.throttle.rate == requests


def test_an_eviction_that_one_limit_holds_back_uses_up_no_other(engine: Engine):
    world = engine.world
    world.see_node(replace(world.old["aws-0"], ours=True, unschedulable=True, version="2"))
    engine.easing = Easing(rate=0.5)
    engine.decide(NOW)
    tokens = engine.throttle.tokens
    decision = engine.decide(NOW + 0.1)
    assert not [a for a in decision.actions if isinstance(a, Evict)]
    assert engine.throttle.tokens >= tokens
    assert decision.wake_at <= NOW + 3


def test_when_not_all_may_be_asked_for_the_longest_queue_comes_first_and_then_node_by_node(engine: Engine):
    world = engine.world
    for name in ("aws-0", "aws-1"):
        world.see_node(replace(world.old[name], ours=True, unschedulable=True, version="2"))
    world.see_budget(replace(BUDGET, key=("shop", "idle"), selector={"matchLabels": {"app": "idle"}}))
    idle = Pod("idle-0", "shop", "idle-0", "aws-1", Owner("ReplicaSet", "idle", "rs"), {"app": "idle"}, ready=True)
    free = Pod("free-0", "shop", "free-0", "aws-0", Owner("ReplicaSet", "free", "rs"), {"app": "free"}, ready=True)
    for each in (idle, free):  # before the third, which has two more of its kind elsewhere
        world.see_pod(each)
    web = world.pods["web-0"]
    world.see_pod(web)
    evicted = [action.uid for action in engine.decide(NOW).actions if isinstance(action, Evict)]
    assert evicted == ["web-0", "free-0", "idle-0"]


@pytest.mark.parametrize(("rate", "closed"), [(400.0, 20), (2.0, 2)])
def test_no_more_nodes_are_closed_than_are_worked_at(rate: float, closed: int):
    world = World("aws", "cilium")
    agent = Owner("DaemonSet", "cilium", "ds")
    for n in range(40):
        world.see_node(Node(f"aws-{n}", cni="aws", instance=f"i-aws-{n}", soft=True, version="1"))
        world.see_node(Node(f"cilium-{n}", cni="cilium", instance=f"i-cilium-{n}", version="1"))
        world.see_pod(Pod(f"agent-{n}", "kube-system", "a", f"cilium-{n}", agent, ready=True, agent=True))
        for m in range(10):
            world.see_pod(Pod(f"{n}-{m}", "shop", f"{n}-{m}", f"aws-{n}", Owner("ReplicaSet", "a", "a"), ready=True))
    world.see_cloud(cloud(40), NOW)
    engine = Engine(world, RefreshRequest.towards(NodeKind.CILIUM, node_budget="20"), Goal(("old",), {}, 60))
    engine.easing = Easing(rate=rate, highest=rate)
    for tenth in range(1, 30):
        for action in engine.decide(NOW + tenth / 10).actions:
            if isinstance(action, Cordon):
                node = world.old[action.node]
                world.see_node(replace(node, ours=True, unschedulable=True, version="2"))
                engine.settle(action, Outcome(True, version="2"), NOW + tenth / 10)
    assert len(world.active) == pytest.approx(closed, abs=1)
