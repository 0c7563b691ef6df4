"""How fast evictions go that nothing waits for."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from operations.refresh.model.values import BudgetKey, DisruptionBudget, Node, Owner, Pod
from operations.refresh.model.world import World
from operations.refresh.pacing.disruption_budgets import DisruptionBudgets
from operations.refresh.pacing.tempo import AHEAD, LEAST, Tempo

SLOW, WIDE, EVEN = ("shop", "slow"), ("shop", "wide"), ("shop", "even")


def pod(app: str, number: int) -> Pod:
    return Pod(
        f"{app}-{number}", "shop", f"{app}-{number}", "old", Owner("ReplicaSet", app, app), {"app": app}, ready=True
    )


def budget(key: BudgetKey, pods: int, slots: int, allowed: int) -> DisruptionBudget:
    labels = {"matchLabels": {"app": key[1]}}
    return DisruptionBudget(key, labels, allowed=allowed, expected=pods, desired=pods - slots)


class Clock:
    """Two hundred pods go one at a time, and as many as are asked for under no budget or a wide one."""

    def __init__(self, others: int = 2000) -> None:
        self.world = World("aws", "cilium")
        self.world.see_node(Node("old", cni="aws"))
        self.world.see_budget(budget(SLOW, 200, 1, 1))
        self.world.see_budget(budget(WIDE, 100, 50, 50))
        for app, number in (("slow", 200), ("wide", 100), ("free", others)):
            for n in range(number):
                self.world.see_pod(pod(app, n))
        self.budgets = DisruptionBudgets(self.world)
        self.tempo = Tempo(self.world, self.budgets)
        self.now = 1000.0

    def turn(self, key: BudgetKey, app: str, number: int, seconds: float) -> None:
        """One pod is evicted; the next stands before the budget for so long."""
        known = self.world.budgets[key]
        self.world.see_budget(replace(known, version=f"{known.version}+"))
        assert self.budgets.choose(pod_under(app, key), Counter())
        self.budgets.begin([key])
        self.budgets.end([key], evicted=True)
        self.tempo.evicted([key], self.now)
        self.world.lose_pod(f"{app}-{number}")
        assert self.budgets.choose(pod_under(app, key), Counter()) is (key == WIDE)
        self.now += seconds

    def taken(self, seconds: float) -> float:
        """Evictions a second that nothing waits for, once what was saved up is spent."""
        while take(self, pod_under("free")):
            pass
        ends, taken = self.now + seconds, 0
        while self.now < ends:
            self.now += 0.02
            taken += take(self, pod_under("free"))
        return taken / seconds


def take(clock: Clock, wanted: Pod) -> bool:
    """Whether nothing holds it back; then it counts."""
    clock.tempo.free(wanted, clock.now)
    return all(limit.take(clock.now) for limit in clock.tempo.limits(wanted))


def pod_under(app: str, *keys: BudgetKey) -> Pod:
    found = pod(app, 10**6)
    found.budgets = keys
    return found


def test_nothing_is_held_back_before_a_queue_was_seen_to_stand():
    clock = Clock()
    assert all(take(clock, pod_under("free")) for _ in range(1000))


def test_what_waits_for_nothing_ends_with_the_longest_queue_and_a_little_before():
    clock = Clock()
    for n in range(4):
        clock.turn(SLOW, "slow", n, 5.0)
    needed = 2100 / (196 * 5.0)
    assert needed < LEAST
    assert clock.taken(20) == pytest.approx(LEAST, rel=0.1)
    many = Clock(others=20_000)
    for n in range(4):
        many.turn(SLOW, "slow", n, 5.0)
    assert many.taken(20) == pytest.approx(AHEAD * 20_100 / (196 * 5.0), rel=0.1)


def test_the_longest_queue_itself_is_never_held_back():
    clock = Clock()
    for n in range(4):
        clock.turn(SLOW, "slow", n, 5.0)
    clock.taken(5)
    assert all(take(clock, pod_under("slow", SLOW)) for _ in range(100))


def test_a_turn_that_took_long_for_another_reason_does_not_slow_the_rest_down():
    clock = Clock(others=20_000)
    for n, seconds in enumerate((5.0, 60.0, 5.0, 300.0, 60.0)):
        clock.turn(SLOW, "slow", n, seconds)
    clock.turn(SLOW, "slow", 5, 5.0)
    assert clock.taken(20) == pytest.approx(AHEAD * 20_100 / (194 * 5.0), rel=0.1)


def even(clock: Clock) -> None:
    """Another queue of which one may go at a time, a little shorter."""
    clock.world.see_budget(budget(EVEN, 190, 1, 1))
    for n in range(190):
        clock.world.see_pod(pod("even", n))


def test_what_a_rate_kept_waiting_is_no_longer_turn():
    clock = Clock(others=20_000)
    even(clock)
    for n in range(4):
        clock.turn(SLOW, "slow", n, 5.0)
    for n in range(4):
        clock.turn(EVEN, "even", n, 5.0)
        take(clock, pod_under("even", EVEN))
        clock.now += 20
    assert clock.taken(20) == pytest.approx(AHEAD * 20_286 / (196 * 5.0), rel=0.1)


def test_the_turn_of_a_pod_that_was_refused_goes_on():
    clock = Clock(others=20_000)
    even(clock)
    for n in range(4):
        clock.turn(EVEN, "even", n, 5.0)
        take(clock, pod_under("even", EVEN))
        clock.tempo.refused([EVEN])
        clock.now += 20
    assert clock.taken(20) == pytest.approx(AHEAD * 20_300 / (186 * 25.0), rel=0.1)


def test_a_budget_before_which_nobody_stands_tells_nothing_of_its_turns():
    clock = Clock()
    for n in range(60):
        clock.turn(WIDE, "wide", n, 10.0)
    assert all(take(clock, pod_under("free")) for _ in range(1000))


def test_the_end_of_the_longest_queue_lets_all_others_go():
    clock = Clock()
    for n in range(200):
        clock.turn(SLOW, "slow", n, 5.0)
    clock.now += 2
    assert all(take(clock, pod_under("free")) for _ in range(1000))
