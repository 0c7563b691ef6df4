"""What the survey and the settings answer for thirty clusters as the field has them.

`answers.yaml` holds the answers: whoever changes one sees there which clusters it is about. It is written by
`python -m tests.unit.corpus.test_corpus`.
"""

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

import reading
from migration.facts import Verdict
from migration.settings import InvalidSettings, Settings
from operations.survey.surveyed import facts_of
from tests.unit.corpus.clusters import answers, written
from tests.unit.corpus.shapes import CORPUS, NEVER, VALUES, Shape
from tests.unit.survey.cluster import settings

HELD = Path(__file__).with_name("answers.yaml")


def answered(shape: Shape) -> dict[str, list[str]]:
    """What the survey refuses, and why settings that mirror the cluster's groups are no settings."""
    facts = facts_of(answers(shape), settings(), "2026-11-21T00:00:00Z")
    refused = [d.item for d in facts.decisions if d.verdict is Verdict.REFUSED]
    try:
        Settings.load(written(shape))
    except InvalidSettings as error:
        problems = {f"{re.sub(r'[0-9]+', 'N', problem.key)}: {problem.reason}" for problem in error.problems}
    else:
        problems = set()
    return {"refused": refused, "settings": sorted(problems)}


def held() -> dict[str, Any]:
    found: dict[str, Any] = reading.value(HELD.read_text(), str(HELD))
    return found


def test_two_values_that_occur_together_do_so_in_one_of_the_clusters():
    every = {(a, x, b, y) for a, b in combinations(VALUES, 2) for x in VALUES[a] for y in VALUES[b]}
    there = frozenset().union(*(shape.pairs for shape in CORPUS.values()))
    assert every - there == set(NEVER)
    assert len(CORPUS) == 30


@pytest.mark.parametrize("name", CORPUS)
def test_each_cluster_is_answered_as_it_was(name):
    assert answered(CORPUS[name]) == held()[name]


NO_CHANGE = {"IPv6"}
"""Refusals whose way out is another cluster."""


def test_most_clusters_are_accepted_or_lack_one_named_change():
    few = [
        name
        for name, answer in held().items()
        if len(answer["refused"]) <= 1 and not answer["settings"] and not NO_CHANGE & set(answer["refused"])
    ]
    assert len(few) == 22


if __name__ == "__main__":
    HELD.write_text(reading.dump({name: answered(shape) for name, shape in CORPUS.items()}))
