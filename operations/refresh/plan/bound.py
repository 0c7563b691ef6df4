"""The shortest time a refresh can take, whoever runs it, and what that is bound by.

Each PodDisruptionBudget is a station that serves as many pods at once as it allows; each place of the node budget is a
station that serves one node. No schedule is faster than the slowest of them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from operations.refresh.model.request import RefreshRequest, Strategy
from operations.refresh.model.values import BudgetKey
from operations.refresh.model.world import World


@dataclass(frozen=True, kw_only=True)
class Times:
    """Declared durations, seconds. Where nothing better is known, those of a typical cluster."""

    turnaround: float = 20.0
    """From a pod's eviction until its replacement is ready."""
    stop: float = 5.0
    """From a pod's eviction until it is gone."""
    terminate: float = 45.0
    """From the end of an instance until its Node object is gone."""
    boot: float = 120.0
    """From the launch of a node until Cilium makes it ready."""
    deregistration: float = 0.0
    """The longest deregistration delay of the target groups that hold the nodes."""
    evictions_a_second: float = 50.0
    """What the API server takes."""
    launches_a_second: float = 2.0
    """EC2 RunInstances, after its burst of 1000 (EC2 API throttling)."""


LAUNCH_BURST: Final = 1000


@dataclass(frozen=True)
class Term:
    """One lower bound."""

    name: str
    seconds: float
    text: str


@dataclass(frozen=True)
class Bound:
    """The largest of the lower bounds; the others, largest first."""

    terms: tuple[Term, ...]

    @property
    def seconds(self) -> float:
        return self.terms[0].seconds if self.terms else 0.0

    @property
    def binding(self) -> Term:
        return self.terms[0] if self.terms else Term("nothing", 0.0, "there is nothing to do")


def lower_bound(
    world: World,
    request: RefreshRequest,
    times: Times,
    *,
    new_missing: int,
    turnarounds: Mapping[BudgetKey, float] | None = None,
) -> Bound:
    """From what is there and declared times only.

    Args:
        new_missing: new nodes that have still to be launched.
        turnarounds: of single budgets, where they are known.
    """
    nodes = len(world.old)
    if nodes == 0:
        return Bound(())
    own = turnarounds or {}
    boot = times.boot if new_missing else 0.0
    drain = max(times.stop, times.deregistration)
    most = request.node_budget.of(nodes)
    rounds = math.ceil(nodes / most)
    each = drain + times.terminate
    terms = [
        Term(
            "node budget",
            rounds * (each + (0.0 if request.strategy is Strategy.SURGE else boot))
            + (boot if request.strategy is Strategy.SURGE else 0.0),
            f"{nodes} nodes, {most} at a time, {each:.0f} s each",
        )
    ]
    for key, pods in world.remaining.under.items():
        budget = world.budgets.get(key)
        if budget is None or budget.whole == 0:
            continue
        took = own.get(key, times.turnaround)
        terms.append(
            Term(
                f"PodDisruptionBudget {budget}",
                # behind the last batch nobody waits for replacements any more, only for its pods and nodes to go
                (math.ceil(pods / budget.whole) - 1) * took + each + boot,
                f"{pods} pods, {budget.whole} at a time, {took:.0f} s each",
            )
        )
    pods = sum(len([p for p in world.leaving(name) if not p.bare]) for name in world.old)
    terms.append(
        Term(
            "API server", pods / times.evictions_a_second, f"{pods} evictions, {times.evictions_a_second:.0f} a second"
        )
    )
    if new_missing > LAUNCH_BURST:
        terms.append(
            Term(
                "EC2 launches",
                (new_missing - LAUNCH_BURST) / times.launches_a_second,
                f"{new_missing} launches, {times.launches_a_second:g} a second after a burst of {LAUNCH_BURST}",
            )
        )
    return Bound(tuple(sorted(terms, key=lambda term: -term.seconds)))
