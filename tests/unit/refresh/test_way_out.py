"""A node's way out, step by step: what each step waits for, and what it does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from migration.journeys import NodeKind
from operations.refresh.engine import explain
from operations.refresh.engine.engine import Engine
from operations.refresh.engine.way_out import DEREGISTER, DETACH, DRAIN, DROP, END, STEPS, UNREAD, Step
from operations.refresh.model.actions import Action, Deregister, DropNode, Evict, Look, Outcome, Terminate
from operations.refresh.model.request import RefreshRequest
from operations.refresh.model.terms import Goal, Pace
from operations.refresh.model.values import CloudView, Group, Instance, Node, Owner, Pod, Sizes, Target
from operations.refresh.model.world import World

NOW = 1000.0
PACE = Pace()
NODE = Node("old", uid="u", cni="aws", instance="i-old", soft=True, ours=True, unschedulable=True, version="1")
POD = Pod("web-0", "shop", "web-0", "old", Owner("ReplicaSet", "web", "rs"), ready=True)
SERVING = Target("targets/web/1", serving=True, delay=20.0)
DRAINING = replace(SERVING, serving=False)


class Way:
    """One node that is closed and empty; what it waits for is put in its way."""

    def __init__(self) -> None:
        self.world = World("aws", "cilium")
        self.world.see_node(NODE)
        self.look()
        self.engine = Engine(self.world, RefreshRequest.towards(NodeKind.CILIUM), Goal(("old",), {}, 1), PACE)

    def look(self, *targets: Target, state: str = "in-service", asked: bool = True, gone: bool = False) -> None:
        """A look at AWS."""
        instances = {} if gone else {"i-old": Instance("i-old", "old", "asg", "z", state)}
        groups = {"old": Group("old", True, Sizes(0, 1, 1), rebalancing=False)}
        about = frozenset({"i-old"} if asked else ())
        view = CloudView(groups, instances, {"i-old": targets}, about, about if gone else frozenset())
        self.world.see_cloud(view, NOW)

    def after(self, seconds: float) -> tuple[Step, list[Action]]:
        """At which step the node stands then, and what it does there."""
        decision = self.engine.decide(NOW + seconds)
        for action in decision.actions:
            self.engine.settle(action, Outcome(False), NOW + seconds)
        [stand] = decision.waits.stands
        return stand.step, [action for action in decision.actions if not isinstance(action, Look)]

    def why(self, seconds: float) -> list[str]:
        decision = self.engine.decide(NOW + seconds, stopping=True)
        return [awaited.reason for awaited in explain.waits(self.engine, decision)]


@pytest.fixture
def way() -> Way:
    return Way()


END_IT = Terminate("old", "i-old")


def test_the_table_holds_the_steps_in_their_order():
    assert [step.name for step in STEPS] == ["drain", "detach", "deregister", "end", "drop"]


def test_a_node_drains_while_there_are_pods_and_evicts_them(way: Way):
    way.world.see_pod(POD)
    assert way.after(0) == (DRAIN, [Evict("web-0", "shop", "web-0", "old")])
    way.world.see_pod(replace(POD, terminating=True))
    assert way.after(PACE.unreachable + 9) == (DRAIN, [])
    assert way.why(0) == ["is stopping"]


def test_where_kubelet_is_silent_the_instance_is_ended_with_what_was_told_to_stop(way: Way):
    way.world.see_node(replace(NODE, ready=False))
    way.world.see_pod(replace(POD, terminating=True))
    assert way.after(0) == (DRAIN, [])
    assert way.after(PACE.unreachable - 1) == (DRAIN, [])
    assert way.after(PACE.unreachable) == (DRAIN, [replace(END_IT, silent=True)])


def test_volumes_that_stay_attached_are_waited_for_and_not_for_ever(way: Way):
    way.world.see_attachment("va", "old")
    assert way.after(0) == (DETACH, [])
    assert way.why(0) == ["volumes are still attached: va"]
    assert way.after(PACE.volumes - 1) == (DETACH, [])
    assert way.after(PACE.volumes) == (DETACH, [END_IT])


def test_target_groups_are_waited_for_as_long_as_their_delay(way: Way):
    way.look(DRAINING)
    assert way.after(0) == (DEREGISTER, [])
    assert way.why(0) == ["load balancers still know it: web"]
    late = DRAINING.delay + PACE.deregistration_margin
    assert way.after(late - 1) == (DEREGISTER, [])
    assert way.after(late) == (DEREGISTER, [END_IT])


def test_a_node_whose_load_balancer_has_no_keeper_is_taken_out_and_not_ended_meanwhile(way: Way):
    way.look(SERVING)
    assert way.after(0) == (DEREGISTER, [])
    assert way.after(PACE.in_service) == (DEREGISTER, [Deregister("i-old", "targets/web/1")])
    assert way.after(9999) == (DEREGISTER, [Deregister("i-old", "targets/web/1")])


def test_target_groups_that_no_look_has_told_of_are_not_passed(way: Way):
    way.look(asked=False)
    assert way.after(9999) == (DEREGISTER, [])
    assert way.why(9999) == [f"load balancers still know it: {UNREAD}"]


def test_an_empty_node_is_ended_once_and_then_waits_for_its_instance(way: Way):
    assert way.after(0) == (END, [END_IT])
    way.look(state="ending")
    assert way.after(PACE.retry[1]) == (END, [])
    assert way.why(60) == ["its instance ends"]


def test_pods_on_an_instance_that_ends_are_not_evicted_any_more(way: Way):
    way.world.see_pod(POD)
    way.look(state="ending")
    assert way.after(0) == (END, [])


def test_the_node_object_of_an_instance_that_is_gone_is_dropped_where_the_cloud_does_not(way: Way):
    way.world.see_pod(POD)
    way.look(gone=True)
    assert way.after(0) == (DROP, [])
    assert way.why(0) == ["its instance is gone, its Node object is not"]
    assert way.after(PACE.node_object) == (DROP, [DropNode("old", "u")])


def test_each_step_counts_its_own_time(way: Way):
    way.world.see_attachment("va", "old")
    way.after(0)
    way.world.lose_attachment("va")
    way.look(DRAINING)
    assert way.after(PACE.volumes) == (DEREGISTER, [])


def test_the_next_round_comes_when_a_step_has_taken_too_long(way: Way):
    way.world.see_attachment("va", "old")
    way.look()
    first = way.engine.decide(NOW)
    assert first.wake_at == NOW + PACE.look
    slow = replace(PACE, look=5000.0, idle_look=5000.0)
    engine = Engine(way.world, way.engine.request, way.engine.goal, slow)
    assert engine.decide(NOW).wake_at == NOW + PACE.volumes


def test_a_round_that_begins_nothing_still_says_what_is_waited_for(way: Way):
    way.world.see_attachment("va", "old")
    decision = way.engine.decide(NOW, stopping=True)
    assert decision.actions == ()
    assert [stand.step for stand in decision.waits.stands] == [DETACH]
