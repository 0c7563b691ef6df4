"""How old a verdict is: to the prover that publishes it, and to whoever reads it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from prover.covering import Covering
from prover.said import MOST_AGE, Said, Seen, Verdict, now


def said(beat: int = 1, **more: object) -> Said:
    return Said(**({"verdict": Verdict.EQUAL, "published": now(), "beat": beat, "by": "one"} | more))  # type: ignore[arg-type]


def test_a_quiet_cluster_has_a_verdict_that_is_as_good_as_new():
    covering = Covering(0.0)
    assert covering.age(5.0) == 5.0
    covering.begins()
    covering.ends()
    assert covering.age(1000.0) == 0.0


def test_a_verdict_is_as_old_as_the_first_change_that_it_does_not_cover():
    covering = Covering(0.0)
    covering.begins()
    covering.ends()
    covering.changed(10.0)
    covering.changed(12.0)
    assert covering.age(13.0) == 3.0
    covering.begins()
    covering.changed(14.0)
    assert covering.age(15.0) == 5.0
    covering.ends()
    assert covering.age(15.0) == 1.0
    assert covering.waiting


def test_changes_that_never_stop_do_not_make_it_older_than_two_proofs():
    covering, now_at = Covering(0.0), 0.0
    oldest = 0.0
    for _ in range(50):
        covering.begins()
        for _ in range(10):
            now_at += 0.5
            covering.changed(now_at)
            oldest = max(oldest, covering.age(now_at))
        covering.ends()
    assert 5.0 <= oldest <= 10.0


def test_a_proof_that_failed_covers_nothing():
    covering = Covering(0.0)
    covering.begins()
    covering.ends()
    covering.changed(10.0)
    covering.begins()
    covering.fails()
    assert covering.age(20.0) == 10.0


def test_what_is_published_is_read_back():
    one = said(why="a flow", counterexample="a -> b", age=2.5, since="2026-01-01T00:00:00Z")
    assert Said.of(one.data()) == one
    assert len(said(counterexample="x" * 10**6).data()["counterexample"]) < 10_000


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"verdict": "fine"},
        {**said().data(), "age": "young"},
        {**said().data(), "age": "nan"},
        {**said().data(), "beat": ""},
    ],
)
def test_what_cannot_be_read_is_nothing(data: dict[str, str]):
    assert Said.of(data) is None
    seen = Seen()
    seen.look(Said.of(data), at=1.0, wall=1.0)
    assert "nothing is published" in seen.trouble(at=1.0)


def test_a_reader_counts_by_its_own_clock_from_the_first_renewal_on():
    seen = Seen()
    ahead = said(published="2026-01-01T01:00:00Z")  # its clock is an hour off
    wall = 1_767_225_600.0  # 2026-01-01T00:00:00Z
    seen.look(ahead, at=100.0, wall=wall + 7200)
    assert seen.age(at=100.0) == 3600.0
    assert "3600 s old" in seen.trouble(at=100.0)
    seen.look(said(beat=2, published=ahead.published), at=105.0, wall=wall + 7205)
    assert seen.trouble(at=105.0) == ""
    assert seen.age(at=107.0) == 2.0


def test_a_prover_that_is_gone_is_noticed_within_a_minute_and_a_clock_that_is_behind_hides_nothing():
    seen = Seen()
    seen.look(said(published="2026-01-01T00:00:00Z"), at=0.0, wall=0.0)
    assert seen.trouble(at=MOST_AGE - 1) == ""
    seen.look(said(published="2026-01-01T00:00:00Z"), at=MOST_AGE, wall=0.0)
    assert "s old" in seen.trouble(at=MOST_AGE + 1)


def test_another_replica_with_the_same_count_is_a_renewal():
    seen = Seen()
    seen.look(said(), at=0.0, wall=0.0)
    seen.look(said(by="two"), at=50.0, wall=0.0)
    assert seen.age(at=51.0) == 1.0


def test_what_was_published_and_is_gone_counts_no_more():
    seen = Seen()
    seen.look(said(), at=0.0, wall=0.0)
    seen.look(None, at=1.0, wall=0.0)
    assert "nothing is published" in seen.trouble(at=1.0)


def test_a_verdict_that_is_not_equal_says_why():
    seen = Seen()
    seen.look(said(verdict=Verdict.DIFFERENT, why="a flow changes its verdict"), at=0.0, wall=0.0)
    assert seen.trouble(at=1.0) == "different: a flow changes its verdict"


def test_alert_rules_name_metrics_that_there_are():
    from prover.process.metrics import exposition  # noqa: PLC0415
    from prover.process.work import State  # noqa: PLC0415

    shown = set(re.findall(r"^(eks_\w+)", exposition(State(None, 1.0, 0, 0.0), publishes=False), re.MULTILINE))
    rules = yaml.safe_load((Path(__file__).parents[3] / "docs" / "prover-alerts.yaml").read_text())
    [group] = rules["groups"]
    named = {name for rule in group["rules"] for name in re.findall(r"eks_\w+", rule["expr"])}
    assert len(named) > 2
    assert named <= shown
