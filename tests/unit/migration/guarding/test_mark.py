"""Whose mark is in the cluster, and what that means."""

from dataclasses import replace

import pytest

from migration.guarding.mark import DamagedMark, Mark, Own, disagreement, kept_log
from migration.guarding.workloads import seal

OWN = Own(id="0a", attempt=4, taken=True, reached=True)
MARK = Mark(id="0a", stack="prod", attempt=4, reached="canary")


def test_what_is_written_is_read_back():
    full = Mark(
        id="0a",
        stack="prod",
        deployers=("arn:aws:iam::1:role/ci", "user:me"),
        reached="canary",
        entering="move-workloads",
        attempt=9,
        guarded=("cilium", "vpc-cni"),
        open={"reason": "broken", "until": "2026-11-28T12:00:00Z", "by": "me"},
    )
    for mark in (MARK, full):
        assert all(isinstance(value, str) for value in mark.dump().values())
        assert Mark.load(mark.dump()) == mark
        assert Mark.of({**mark.annotations(), "eks-cilium.io/guard-log": "a line", "owner": "net"}) == mark


def test_a_mark_of_before_knows_the_record_that_it_held_by_its_digest():
    text = '{"deployment shop/web":["0",1,1]}'
    found = Mark.of_earlier({**MARK.dump(), "workloads": text})
    assert found == replace(MARK, workloads=seal(text))
    assert Mark.of_earlier(MARK.dump()) == MARK


def test_of_the_log_the_newest_lines_are_kept_as_many_as_fit():
    assert kept_log([f"{number}" for number in range(70)]).splitlines() == [f"{number}" for number in range(20, 70)]
    long = kept_log([f"{number} {'ü' * 4000}" for number in range(30)]).splitlines()
    assert [line[:2] for line in long] == [f"{number}" for number in range(22, 30)]
    assert kept_log([]) == kept_log(["x" * 100_000]) == ""


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({}, "no id"),
        ({"id": ""}, "no id"),
        ({"id": "0a", "attempt": "9" * 5000}, "not a number"),
        ({"id": "0a", "attempt": "many"}, "'many', not a number"),
        ({"id": "0a", "open": "yes"}, "'yes', not a JSON object"),
        ({"id": "0a", "open": "[1]"}, "not a JSON object"),
    ],
)
def test_a_damaged_mark_says_what_is_wrong_with_it(data: dict[str, str], reason: str):
    with pytest.raises(DamagedMark, match=reason.replace("[", r"\[")):
        Mark.load(data)


def test_names_are_shown_and_never_compared():
    assert disagreement(MARK, OWN, "renamed") is None


def test_a_mark_of_another_stack_stops_this_one_whatever_this_one_knows():
    for own in (Own(), Own(id="0b", attempt=9, taken=True, reached=True), Own(id="0b", attempt=1)):
        found = disagreement(MARK, own, "other")
        assert found is not None
        assert "stack 'prod' (id 0a) at canary" in found.problem
        assert ("recover --stack other --take-over" in found.fix) == (own.id is not None)


def test_no_mark_is_well_before_the_first_and_a_fault_after_it():
    assert disagreement(None, Own(), "prod") is None
    assert disagreement(None, Own(id="0a", attempt=4, reached=True), "prod") is None
    gone = disagreement(None, OWN, "prod")
    assert gone is not None
    assert "is gone" in gone.problem


def test_a_state_that_is_older_than_the_cluster_is_found():
    old = disagreement(MARK, Own(id="0a", attempt=3, taken=True, reached=True), "prod")
    assert old is not None
    assert "attempt 4 of this stack, whose state knows 3" in old.problem
    assert disagreement(MARK, Own(id="0a", attempt=5, taken=True, reached=True), "prod") is None
