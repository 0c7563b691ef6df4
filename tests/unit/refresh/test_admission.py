"""Which nodes begin next."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest

from operations.refresh.model.values import DisruptionBudget, Node, Owner, Pod
from operations.refresh.model.world import World
from operations.refresh.pacing.admission import Queues, choose


def crowd(seed: int) -> World:
    """Forty nodes with pods of budgets of many sizes; of some no pod may go at all, and some pods have none."""
    rng = random.Random(seed)  # noqa: S311
    world = World("aws", "cilium")
    for n in range(40):
        world.see_node(Node(f"old-{n}", cni="aws", zone=rng.choice("abc")))
    for app in range(12):
        name, pods = f"app-{app}", rng.randint(1, 20)
        if rng.random() < 0.8:
            may_miss = rng.choice((0, 1, 1, 1, 2, 5)) if rng.random() < 0.9 else 0
            labels = {"matchLabels": {"app": name}}
            world.see_budget(DisruptionBudget(("shop", name), labels, expected=pods, desired=max(0, pods - may_miss)))
        for n in range(pods):
            node, uid = f"old-{rng.randrange(40)}", f"{name}-{n}"
            owner = Owner("ReplicaSet", name, name)
            world.see_pod(Pod(uid, "shop", uid, node, owner, {"app": name}, ready=True))
    return world


@pytest.mark.parametrize("seed", range(20))
def test_nodes_come_in_the_order_of_their_rank_though_not_all_are_looked_at(seed: int):
    world = crowd(seed)
    queues = Queues(world)
    order = list(queues.in_order(Counter()))
    assert sorted(order) == sorted(world.old)
    assert all(queues.rank(a) <= queues.rank(b) for a, b in pairwise(order) if not queues.stuck(a))
    assert order[len(order) - sum(map(queues.stuck, order)) :] == [name for name in order if queues.stuck(name)]


@pytest.mark.parametrize("seed", range(20))
def test_the_first_node_stands_in_the_longest_queue_and_is_empty_soon(seed: int):
    world = crowd(seed)
    queues = Queues(world)
    first = choose(world, active=set(), room=1, first=True)[0]
    free = [name for name in world.old if not queues.stuck(name)]
    longest = min(queues.rank(name)[1] for name in free)
    assert queues.rank(first)[1] == longest
    turns = {name: queues.rank(name, first=True)[2] for name in free if queues.rank(name)[1] == longest}
    assert turns[first] == min(turns.values())


def test_nodes_that_are_on_their_way_or_held_are_not_begun():
    world = crowd(3)
    order = list(Queues(world).in_order(Counter()))
    assert not set(choose(world, active={order[0]}, held={order[1]}, room=40)) & {order[0], order[1]}
