"""What a refresh does in simulated time, action by action: `python -m tests.programs.refresh_actions FILE [FIRST] [COUNT]`.

Two files of the same seeds are equal when the decisions are: record before a change, and compare after it. With
`--observed`, somebody asks all that may be asked at random moments meanwhile: the file must be the same.
"""

import argparse
import random
from collections import Counter
from pathlib import Path
from typing import TextIO

from operations.refresh.blockers.judge import Surroundings
from operations.refresh.engine import explain
from operations.refresh.model.actions import Action
from operations.refresh.plan import planning
from tests.programs.schedules import LIMIT, request
from tests.unit.refresh.simulation import Sim, Violation, scenario

OFTEN = 0.1
"""Share of the moments, at which something happens, that are looked at."""


class Recorded(Sim):
    """Keeps what is asked of the cluster."""

    def __init__(self, seed: int) -> None:
        self.actions: list[str] = []
        super().__init__(scenario(seed), request(seed), seed)

    def _start(self, action: Action) -> None:
        self.actions.append(f"{self.now!r} {self.generation} {told(action)}")
        super()._start(action)

    def play(self) -> list[str]:
        """All actions, and how it ended."""
        try:
            self.run(limit=LIMIT)
        except Violation as error:
            return [*self.actions, f"{self.now!r} violation {str(error)[:60]}"]
        return [*self.actions, f"{self.now!r} ended"]


class Observed(Recorded):
    """Is asked at random moments, which have a seed of their own: before decisions, and after them."""

    def __init__(self, seed: int) -> None:
        self.moments = random.Random(f"observed {seed}")  # noqa: S311
        self.asked_at = 0
        super().__init__(seed)

    def _decide(self) -> None:
        self._now_and_then()
        super()._decide()
        self._now_and_then()

    def _now_and_then(self) -> None:
        if not self.dead and self.moments.random() < OFTEN:
            self.asked_at += 1
            self.ask()

    def ask(self) -> None:
        observe(self, self.moments)


def observe(sim: Sim, moments: random.Random) -> None:
    """Ask what progress, status, metrics and a plan ask, and every question that decisions ask, about any time."""
    engine, world = sim.engine, sim.engine.world
    now = sim.now + moments.choice((0.0, 0.001, 1.0, 40.0, 4000.0))
    if sim.decision is not None:
        explain.waits(engine, sim.decision)
    if moments.random() < OFTEN:  # it takes longer than all the others
        planning.plan(world, engine.request, engine.goal, Surroundings())
    engine.finished(), engine.done, engine.busy, engine.leaving, engine.held(now)
    engine.health.hold(engine.done, now), engine.health.next_at(engine.done, now), engine.closing.names()
    engine.budgets.behind(now), engine.budgets.counted, engine.tempo.rate, engine.sizing.complete()
    for limit in (engine.throttle, engine.easing, engine.tempo.bucket):
        limit.saved(now), limit.has(now), limit.next_at(now)
    for node in world.old.values():
        engine.way_out.stand(node, None, now)
    for pod in world.pods.values():
        engine.budgets.lets_go(pod, Counter()), engine.budgets.urgency(pod), engine.budgets.spare(pod)
        engine.tempo.limits(pod), engine.replicas.short(pod, Counter())
        engine.retries.of(("evict", pod.uid)), engine.retries.ready_at(("asked by nobody", pod.uid))


def told(action: Action) -> str:
    """An action in words that do not depend on the order of sets."""
    fields = vars(action).items()
    values = (f"{name}={sorted(v) if isinstance(v, frozenset) else v!r}" for name, v in fields)
    return f"{type(action).__name__}({', '.join(values)})"


def record(out: TextIO, first: int, count: int, *, observed: bool = False) -> None:
    """One line for each action."""
    for seed in range(first, first + count):
        for line in (Observed if observed else Recorded)(seed).play():
            out.write(f"{seed} {line}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("first", type=int, nargs="?", default=0)
    parser.add_argument("count", type=int, nargs="?", default=1000)
    parser.add_argument("--observed", action="store_true")
    args = parser.parse_args()
    with args.file.open("w") as out:
        record(out, args.first, args.count, observed=args.observed)


if __name__ == "__main__":
    main()
