"""Many random cases against Cilium's real engine: `python -m tests.oracles.campaign --cases 100000 --seed 1`.

Prints the seed, the number of cases, the share allowed, in which share each kind of rule, entity, peer and reason took
part, and every disagreement (at most ten). Exits 1 when there is one, when anything took part in less than 1 % of the
cases, or when not 20 to 80 % of them are allowed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

from netpol.decide.models import cilium_model
from netpol.model.errors import UndecidableError
from tests.oracles.cilium_oracle import CiliumOracle
from tests.oracles.kinds import KINDS, OPTIONS, PEERS, REASONS, Parts, of_nodes, of_options, peer_kind
from tests.oracles.random_cilium import Case, cases

INIT_PORT = "a port name that Calico alone knows"
WANTED = (*KINDS, *OPTIONS, *PEERS, *REASONS, INIT_PORT)
_LEAST = 0.01


@dataclass
class Result:
    """What a campaign saw. A case is one policy set with one flow and one direction of it."""

    seed: int
    cases: int = 0
    allowed: int = 0
    sets: int = 0
    seconds: float = 0.0
    parts: Counter[str] = field(default_factory=Counter)
    disagreements: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, object]:
        return {
            "seed": self.seed,
            "cases": self.cases,
            "policy_sets": self.sets,
            "allowed_share": round(self.allowed / max(self.cases, 1), 4),
            "disagreements": len(self.disagreements),
            "seconds": round(self.seconds, 1),
            "shares": {k: round(self.share(k), 4) for k in WANTED},
            "rare": self.rare(),
        }

    def share(self, kind: str) -> float:
        return self.parts[kind] / max(self.cases, 1)

    def rare(self) -> list[str]:
        """What took part in less than 1 % of the cases."""
        return [kind for kind in WANTED if self.share(kind) < _LEAST]

    def balanced(self) -> bool:
        return 0.2 <= self.allowed / max(self.cases, 1) <= 0.8


def run(seed: int, wanted: int, *, stop_after: int = 10) -> Result:
    """At least `wanted` cases of the stream with this seed; stops early after `stop_after` disagreements."""
    result = Result(seed=seed)
    started = time.monotonic()
    with CiliumOracle() as oracle:
        for case in cases(seed):
            if result.cases >= wanted or len(result.disagreements) >= stop_after:
                break
            compare(case, oracle, result)
    result.seconds = time.monotonic() - started
    return result


def compare(case: Case, oracle: CiliumOracle, result: Result) -> None:
    """One policy set: every flow, each direction that Cilium enforces."""
    answer = oracle.ask(case.question())
    if answer["errors"]:
        raise RuntimeError(f"the engine refused a generated policy: {answer['errors']}\n{json.dumps(case.objects)}")
    model = cilium_model(case.world)
    parts = Parts(case, model)
    result.sets += 1
    configured = of_options(case.world.cilium)
    for (first, second, packet), truth in zip(case.flows, answer["verdicts"], strict=True):
        source, destination = case.ends[first][0], case.ends[second][0]
        for direction, subject, peer in (("egress", source, destination), ("ingress", destination, source)):
            if truth[direction] is None:
                continue
            try:
                verdict = model.decide(direction, subject, peer, packet)
            except UndecidableError:
                continue
            result.cases += 1
            result.allowed += truth[direction]
            result.parts.update(parts.at(direction, subject))
            result.parts.update(configured)
            result.parts.update((peer_kind(model, peer, packet), verdict.reason))
            if "named port" in parts.at(direction, subject) and destination.pod is not None:
                result.parts.update({INIT_PORT} if any(p.calico_only for p in destination.pod.ports) else ())
            result.parts.update(of_nodes(model, direction, subject, peer, packet.family))
            if verdict.allowed != truth[direction]:
                result.disagreements.append(
                    json.dumps(
                        {
                            "direction": direction,
                            "source": str(source),
                            "destination": str(destination),
                            "packet": str(packet),
                            "cilium": truth[direction],
                            "model": verdict.allowed,
                            "reason": f"{verdict.reason} {verdict.entry.policy if verdict.entry else ''} "
                            f"{verdict.entry.where if verdict.entry else ''}",
                            "config": case.config,
                            "labels": [dict(model.labels_of(who, packet.family)) for who in (source, destination)],
                            "families": sorted(case.world.families),
                            "policies": case.objects,
                        }
                    )
                )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    result = run(arguments.seed, arguments.cases)
    for text in result.disagreements[:10]:
        print(text, file=sys.stderr)
    print(json.dumps(result.summary()))
    return 1 if result.disagreements or result.rare() or not result.balanced() else 0


if __name__ == "__main__":
    raise SystemExit(main())
