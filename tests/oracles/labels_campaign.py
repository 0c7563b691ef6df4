"""Which labels make an identity: the bridge against Cilium's own packages. `python -m tests.oracles.labels_campaign`."""

# ruff: noqa: S311

from __future__ import annotations

import argparse
import random
import sys
from dataclasses import dataclass, field
from typing import Any

from bridge.labels import LabelFilter, identity_labels, in_words, named_ports
from bridge.patterns import Unreadable
from tests.oracles.labels_oracle import LabelsOracle
from tests.oracles.random_pods import case

SEED = 20261128


@dataclass
class Result:
    """What a campaign saw."""

    cases: int = 0
    refused: int = 0
    """Cases whose filter Cilium takes and the bridge does not dare to read: a refusal, never another answer."""
    invalid: int = 0
    """Cases whose filter neither takes."""
    generated: int = 0
    """Cases with labels of named ports."""
    differences: list[Any] = field(default_factory=list)


def ours(told: dict[str, Any]) -> dict[str, Any]:
    """The bridge's answer to a case.

    Raises:
        Unreadable: for its filter.
    """
    ports = named_ports((p["name"], p["port"], p["protocol"]) for ports in told["containers"] for p in ports)
    labels = identity_labels(
        told["labels"],
        namespace=told["namespace"],
        namespace_labels=told["namespaceLabels"],
        service_account=told["serviceAccount"],
        cluster=told["cluster"],
        ports=ports,
        counted=LabelFilter(told["filter"]),
    )
    shown = [{"name": p.name, "port": p.number, "protocol": p.protocol} for p in ports]
    return {"error": "", "labels": labels, "words": in_words(labels), "ports": shown}


def run(seed: int, cases: int) -> Result:
    """So many random cases."""
    rng, result = random.Random(seed), Result()
    with LabelsOracle() as oracle:
        for _ in range(cases):
            told = case(rng)
            answer = oracle.ask(told)
            result.cases += 1
            try:
                mine = ours(told)
            except Unreadable:
                result.refused += not answer["error"]
                result.invalid += bool(answer["error"])
                continue
            result.generated += any(key.startswith("gen:") for key in mine["labels"])
            if answer != mine:
                result.differences.append((told, answer, mine))
    return result


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=SEED)
    args = parser.parse_args()
    result = run(args.seed, args.cases)
    for difference in result.differences[:5]:
        print(difference)
    print(
        f"{result.cases} cases, {len(result.differences)} differences; {result.refused} refused where Cilium reads on, "
        f"{result.invalid} read by neither, {result.generated} with labels of named ports"
    )
    return bool(result.differences)


if __name__ == "__main__":
    sys.exit(main())
