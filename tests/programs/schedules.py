"""Ten thousand seeded schedules in simulated time: `python -m tests.programs.schedules [FIRST] [COUNT]`.

Prints one JSON line; exit code 1 when a seed broke an invariant or did not end.
"""

import json
import sys
import time
from collections import Counter

from migration.journeys import NodeKind
from operations.refresh.model.request import RefreshRequest
from tests.unit.refresh.simulation import Sim, Violation, scenario

LIMIT = 7200.0
"""Simulated seconds after which a schedule counts as stuck."""


def request(seed: int) -> RefreshRequest:
    return RefreshRequest.towards(
        NodeKind.CILIUM,
        strategy=["surge", "surge", "replace"][seed % 3],
        node_budget=["1", "2", "34%", "100%"][seed % 4],
        zone_node_budget=[None, None, "1"][seed % 5 % 3],
    )


def play(seed: int) -> Sim:
    """One schedule to its end.

    Raises:
        Violation: see there.
    """
    sim = Sim(scenario(seed), request(seed), seed)
    sim.run(limit=LIMIT)
    return sim


def main(first: int = 0, count: int = 10_000) -> int:
    began, failed, seen = time.monotonic(), dict[int, str](), Counter[str]()
    for seed in range(first, first + count):
        try:
            sim = play(seed)
        except Violation as error:
            failed[seed] = str(error)[:300]
            continue
        seen.update(kills=sim.kills, nodes=sim.s.old, simulated_seconds=round(sim.now), **dict(sim.answers))
    seconds = round(time.monotonic() - began, 1)
    print(json.dumps({"seeds": count, "first": first, "violations": failed, "seconds": seconds, **seen}))
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(*map(int, sys.argv[1:])))
