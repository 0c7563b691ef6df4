"""Many random documents against kubectl's own reading: `python -m tests.oracles.yaml_campaign --cases 100000 --seed 1`.

For each: our value is kubectl's (sigs.k8s.io/yaml, documents cut as kubectl cuts them), or ours is an error. What is
read strictly besides means the same to Pulumi (gopkg.in/yaml.v3). What we write is read back by both as it was.
Prints how many were read and refused, and every disagreement (at most ten). Exits 1 when there is one, or when less
than a fifth were read, or less than a tenth of those that kubectl reads and each kind of fault wants.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import reading
from tests.oracles.go_program import GoProgram
from tests.oracles.random_yaml import documents


class YamlOracle(GoProgram):
    """Answers a text with `documents` or `error`, and `other` or `otherError`."""

    source = Path(__file__).parent / "kubectl_yaml"


@dataclass
class Result:
    seed: int
    cases: int = 0
    read: int = 0
    refused: int = 0
    """By us and not by kubectl."""
    strict: int = 0
    written: int = 0
    seconds: float = 0.0
    disagreements: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, object]:
        return {**vars(self), "disagreements": len(self.disagreements), "seconds": round(self.seconds, 1)}

    def balanced(self) -> bool:
        return self.read > self.cases / 5 and self.refused > self.cases / 20 and self.strict > self.cases / 20


def same(ours: Any, theirs: Any) -> bool:
    """Whether two values are one: `True` is no 1, and a float counts as the number that it is."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return type(ours) is type(theirs) and ours == theirs


def run(seed: int, wanted: int, *, stop_after: int = 10) -> Result:
    """So many documents of the stream with this seed."""
    result = Result(seed=seed)
    started = time.monotonic()
    with YamlOracle() as oracle:
        for text in documents(seed):
            if result.cases >= wanted or len(result.disagreements) >= stop_after:
                break
            compare(text, oracle, result)
    result.seconds = time.monotonic() - started
    return result


def compare(text: str, oracle: GoProgram, result: Result) -> None:
    """One text."""
    result.cases += 1
    answer = oracle.ask(text)
    try:
        found = reading.documents(text, lines=bool(result.cases % 2))
    except reading.Unreadable:
        result.refused += "error" not in answer
        return
    ours = [document.value for document in found]
    result.read += 1
    if "error" in answer or not same(ours, answer["documents"]):
        result.disagreements.append(
            f"{text!r}\n  ours  {ours!r}\n  kubectl {answer.get('error') or answer['documents']!r}"
        )
        return
    try:
        strictly = reading.documents(text, strictly=True)
    except reading.Unreadable:
        pass
    else:
        result.strict += 1
        # Pulumi reads the first document only.
        if "---" not in text and strictly and ("otherError" in answer or not same(ours, [answer["other"]])):
            told = answer.get("otherError") or answer["other"]
            result.disagreements.append(f"{text!r}\n  strictly {ours!r}\n  Pulumi   {told!r}")
    if ours and result.cases % 4 == 0:
        result.written += 1
        written = reading.dump_all(ours)
        again = oracle.ask(written)
        if "error" in again or not same(ours, again["documents"]):
            result.disagreements.append(
                f"{ours!r}\n  written {written!r}\n  kubectl {again.get('error') or again['documents']!r}"
            )
        elif not same(ours, [d.value for d in reading.documents(written, strictly=True)]):
            result.disagreements.append(f"{ours!r}\n  written {written!r}\n  read back otherwise")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    result = run(arguments.seed, arguments.cases)
    for text in result.disagreements[:10]:
        print(text, file=sys.stderr)
    print(json.dumps(result.summary()))
    return 1 if result.disagreements or not result.balanced() else 0


if __name__ == "__main__":
    raise SystemExit(main())
