"""Asking many checks: deadlines, waiting, the report."""

import json
import time
from pathlib import Path

import pytest

from migration.journeys import REPLACE, CheckId
from operations import gate
from operations.access.context import Context
from operations.access.place import following
from operations.evidence import Evidence, Finding, Report, Verdict, worst
from tests.unit.operations.world import World

A, B = CheckId.NODES_READY, CheckId.CNI_KNOWN


def answer(check: CheckId, verdict: Verdict = Verdict.PASSED) -> Evidence:
    return Evidence(check=check, verdict=verdict, summary="", seconds=0.0)


@pytest.fixture
def context(tmp_path: Path):
    return World(tmp_path, []).context


def test_every_check_is_asked_and_the_answers_keep_their_order(context):
    checks = {A: lambda _: answer(A, Verdict.FAILED), B: lambda _: answer(B)}
    found = gate.ask_all(context, [B, A], checks)
    assert [(e.check, e.verdict) for e in found] == [(B, Verdict.PASSED), (A, Verdict.FAILED)]


def test_a_check_that_hangs_is_unknown_and_holds_up_nobody(context):
    def hang(_: Context) -> Evidence:
        time.sleep(5)
        return answer(A)

    checks = {A: hang, B: lambda _: answer(B)}
    begin = time.monotonic()
    found = gate.ask_all(context, [A, B], checks, seconds=0.1)
    assert time.monotonic() - begin < 2
    assert [e.verdict for e in found] == [Verdict.UNKNOWN, Verdict.PASSED]


def test_a_check_that_nobody_wrote_is_unknown(context):
    assert gate.ask_all(context, [A], {})[0].verdict is Verdict.UNKNOWN


def test_waiting_asks_again_only_what_has_not_passed(context, monkeypatch):
    monkeypatch.setattr(gate, "PAUSE", 0.01)
    asked = {A: 0, B: 0}

    def slow(_):
        asked[A] += 1
        return answer(A, Verdict.PASSED if asked[A] == 3 else Verdict.UNKNOWN)

    def quick(_):
        asked[B] += 1
        return answer(B)

    found = gate.ask_all(context, [A, B], {A: slow, B: quick}, wait=10)
    assert {e.verdict for e in found} == {Verdict.PASSED}
    assert asked == {A: 3, B: 1}


def test_an_old_answer_is_asked_for_again_once_the_others_pass(context, monkeypatch):
    monkeypatch.setattr(gate, "PAUSE", 0.01)
    monkeypatch.setattr(gate, "FRESH", 0.05)
    asked = {A: 0, B: 0}

    def slow(_):
        asked[A] += 1
        return answer(A, Verdict.PASSED if asked[A] > 10 else Verdict.FAILED)

    def broke_meanwhile(_):
        asked[B] += 1
        return answer(B, Verdict.FAILED if asked[B] == 2 else Verdict.PASSED)

    found = gate.ask_all(context, [A, B], {A: slow, B: broke_meanwhile}, wait=10)
    assert asked[B] == 3
    assert {e.verdict for e in found} == {Verdict.PASSED}


def test_waiting_ends(context, monkeypatch):
    monkeypatch.setattr(gate, "PAUSE", 0.01)
    found = gate.ask_all(context, [A], {A: lambda _: answer(A, Verdict.FAILED)}, wait=0.1)
    assert found[0].verdict is Verdict.FAILED


def test_nothing_is_read_twice_in_a_round_and_everything_anew_in_the_next(context, monkeypatch):
    monkeypatch.setattr(gate, "PAUSE", 0.01)
    seen = []

    def look(own):
        own.kube.nodes()
        own.kube.nodes()
        seen.append(len(own.kube.transport.requests))
        return answer(A, Verdict.PASSED if len(seen) == 2 else Verdict.FAILED)

    gate.ask_all(context, [A], {A: look}, wait=5)
    assert seen == [1, 2]


def test_unknown_is_never_passed_and_failed_says_most():
    assert worst([Verdict.PASSED, Verdict.UNKNOWN]) is Verdict.UNKNOWN
    assert worst([Verdict.UNKNOWN, Verdict.FAILED]) is Verdict.FAILED
    assert worst([Verdict.PASSED]) is Verdict.PASSED


def test_the_report_is_one_line_of_json_with_everything_that_is_missing(monkeypatch):
    monkeypatch.setenv("PULUMI_EKS_CILIUM_SANDBOX", "1")
    failed = Evidence(
        check=A,
        verdict=Verdict.FAILED,
        summary="1 of 3",
        seconds=0.25,
        findings=(Finding("node a", "is not Ready", "Repair it"),),
    )
    report = Report(
        journey="replace",
        stage="canary",
        place="canary",
        kind="gate",
        seconds=1.0,
        checks=(failed,),
        unproved=("policy continuity",),
    )
    text = report.json()
    assert "\n" not in text
    assert json.loads(text) == {
        "journey": "replace",
        "stage": "canary",
        "place": "canary",
        "kind": "gate",
        "verdict": "failed",
        "simulated": True,
        "seconds": 1.0,
        "unproved": ["policy continuity"],
        "checks": [
            {
                "check": "nodes-ready",
                "verdict": "failed",
                "summary": "1 of 3",
                "simulated": True,
                "seconds": 0.25,
                "findings": [{"object": "node a", "problem": "is not Ready", "fix": "Repair it"}],
            }
        ],
    }
    for part in ("canary", "(simulated)", "FAILED", "node a: is not Ready", "Repair it", "policy continuity"):
        assert part in report.text()


@pytest.mark.parametrize(
    ("configured", "reached", "expected"),
    [
        ("baseline", None, "baseline"),
        ("baseline", "baseline", "label-legacy"),
        ("label-legacy", "baseline", "label-legacy"),
        ("retire-calico", "retire-calico", None),
        ("baseline", "launch", "baseline"),
    ],
)
def test_the_next_stage_follows_from_configuration_and_stack(configured, reached, expected):
    found = following(REPLACE, configured, reached)
    assert (found.id if found else None) == expected
