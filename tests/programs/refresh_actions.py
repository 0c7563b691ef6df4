"""What a refresh does in simulated time, action by action: `python -m tests.programs.refresh_actions FILE [FIRST] [COUNT]`.

Two files of the same seeds are equal when the decisions are: record before a change, and compare after it. With
`--observed`, somebody asks all that may be asked at random moments meanwhile: the file must be the same.
"""

import argparse
import random
from pathlib import Path
from typing import TextIO

from operations.refresh.engine.explain import blockers
from operations.refresh.model.actions import Action
from tests.faults.schedules import LIMIT, request
from tests.unit.refresh.simulation import Sim, Violation, scenario

OFTEN = 0.2
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
    """Is asked at random moments, which have a seed of their own."""

    def __init__(self, seed: int) -> None:
        self.moments = random.Random(f"observed {seed}")  # noqa: S311
        super().__init__(seed)

    def _decide(self) -> None:
        self._observe()
        super()._decide()
        self._observe()

    def _observe(self) -> None:
        if self.dead or self.moments.random() > OFTEN:
            return
        observe(self)


def observe(sim: Sim) -> None:
    """Ask everything that progress, status and metrics ask, and every question that decisions ask."""
    engine, now = sim.engine, sim.now + 0.01
    blockers(engine, now)
    engine.finished()


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
