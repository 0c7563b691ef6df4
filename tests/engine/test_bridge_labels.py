"""Which labels make an identity: the bridge against Cilium's own packages.

A short run; `python -m tests.oracles.labels_campaign` is the long one.
"""

# ruff: noqa: S311

from __future__ import annotations

import random

import pytest

from bridge import labels
from bridge.patterns import Unreadable
from tests.oracles.labels_campaign import SEED, ours, run
from tests.oracles.labels_oracle import LabelsOracle
from tests.oracles.random_pods import FILTERS, case

pytestmark = pytest.mark.engine


@pytest.mark.timeout(1800)
def test_ciliums_own_packages_choose_the_same_labels():
    result = run(SEED, 200)
    assert result.differences == []
    assert result.cases == 200
    assert result.generated > 50
    assert result.refused + result.invalid < 60


@pytest.mark.timeout(1800)
def test_every_prefix_of_a_filter_is_read_as_cilium_reads_it_or_not_at_all():
    told = case(random.Random(SEED)) | {
        "labels": {"app": "a", "app.kubernetes.io/name": "b", "team": "c", "x_y.z-1": ""}
    }
    read = 0
    with LabelsOracle() as oracle:
        for text in FILTERS:
            answer = oracle.ask(told | {"filter": text})
            try:
                mine = ours(told | {"filter": text})
            except Unreadable:
                continue
            read += 1
            assert answer == mine, text
    assert read > 35


def test_the_oracle_would_show_a_wrong_filter(monkeypatch: pytest.MonkeyPatch):
    """A comparison that cannot fail proves nothing."""
    monkeypatch.setattr(labels, "_LONGEST_VALUE", 62)
    monkeypatch.setattr(labels, "_CILIUM", "io.cilium.k8s.policy")
    assert run(SEED, 100).differences
