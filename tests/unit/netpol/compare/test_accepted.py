"""Differences that somebody accepts: exactly the flows that are named, until a day, and never in silence."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from netpol import Grade, PolicyError, World, from_text, translate
from netpol.compare.future import prove_future
from netpol.compare.prove import prove
from netpol.read.accepted import accepted
from tests.unit.netpol.worlds import docs, gnp, np, world

VPC = gnp("{egress: [{action: Allow, destination: {nets: [10.0.0.0/8]}}]}")
HEAD = "reason: no pod there may ask the agent\n  who: jane@example.com\n  until: 2027-06-30"


def entry(flows: str) -> str:
    return f"accepted:\n- {HEAD}\n  {flows}\n"


def accepting(where: World, *flows: str) -> World:
    return replace(where, accepted=tuple(a for f in flows for a in accepted(entry(f))))


def both(before: str, after: str, *flows: str) -> tuple[World, World]:
    first = accepting(world(before), *flows)
    return first.enforced_by("calico"), first.with_policies(from_text(after).policies).enforced_by("calico")


def test_a_refused_translation_is_complete_but_for_what_is_accepted():
    refused = translate(world(VPC))
    assert not refused.complete
    where = accepting(world(VPC), "to: {nodes: true}")
    result = translate(where)
    assert result.complete, [str(r) for r in result.refused]
    (one,) = result.proof.accepted
    assert one.example.before.allowed is not one.example.after.allowed
    assert "equal for every pod that could exist, but for 1 accepted difference" in str(result.proof)
    assert "accepted: anybody -> nodes: no pod there may ask the agent (jane@example.com, until 2027-06-30)" in str(
        result.proof
    )


OPEN = np("{egress: [{action: Allow}]}")
CLOSED = np(
    "{egress: [{action: Deny, protocol: TCP, destination: {nets: [8.8.8.0/24], ports: [80, 443]}}, {action: Allow}]}"
)


@pytest.mark.parametrize(
    ("flows", "equal"),
    [
        ("from: {namespace: red}", True),
        ("from: {namespace: red}\n  to: {nets: [8.8.8.0/24]}\n  protocol: TCP\n  ports: [80, '443:444']", True),
        ("to: {nets: [8.8.0.0/16]}\n  change: closes", True),
        ("to: {nets: [8.8.8.0/24]}\n  protocol: tcp", True),
        # A little less than what differs.
        ("to: {nets: [8.8.8.0/24]}\n  change: opens", False),
        ("from: {namespace: blue}", False),
        ("from: {namespace: red, podSelector: {matchLabels: {app: web}}}", False),
        ("to: {nets: [8.8.8.0/25]}", False),
        ("to: {nets: [8.8.8.0/24]}\n  protocol: TCP\n  ports: [80]", False),
        ("to: {nets: [8.8.8.0/24]}\n  protocol: UDP", False),
        ("to: {namespace: red}", False),
        ("to: {nodes: true}", False),
        ("from: {nets: [8.8.8.0/24]}", False),
    ],
)  # fmt: skip
def test_exactly_what_is_named_is_accepted(flows, equal):
    proof = prove(*both(OPEN, CLOSED, flows))
    assert proof.equal is equal
    if not equal:
        assert proof.counterexample is not None


def test_several_accepted_differences_may_make_up_the_whole():
    parts = ("to: {nets: [8.8.8.0/25]}", "to: {nets: [8.8.8.128/25]}")
    proof = prove(*both(OPEN, CLOSED, *parts))
    assert proof.equal
    assert len(proof.accepted) == 2


@pytest.mark.parametrize(("labels", "equal"), [("app: new", True), ("app: new, tier: back", False)])
def test_pods_to_come_are_accepted_by_their_labels_too(labels, equal):
    closed = docs(np("{order: 1, selector: app == 'new', egress: [{action: Deny}]}", "new"), OPEN)
    flows = f"from: {{namespace: red, podSelector: {{matchLabels: {{{labels}}}}}}}"
    assert prove_future(*both(OPEN, closed, flows)).equal is equal


def test_a_translation_holds_for_every_pod_with_accepted_ones_by_label():
    policy = np("{selector: app == 'web', egress: [{action: Allow, protocol: TCP, source: {ports: ['1:99']}}]}")
    assert not translate(world(policy)).complete
    result = translate(accepting(world(policy), "from: {namespace: red, podSelector: {matchLabels: {app: web}}}"))
    assert (result.complete, result.grade) == (True, Grade.EXACT)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("accepted: [{who: a, until: 2027-01-01, to: {nodes: true}}]", "reason: is required"),
        ("accepted: [{reason: because it is so, until: 2027-01-01, to: {nodes: true}}]", "who: is required"),
        ("accepted: [{reason: because it is so, who: a, to: {nodes: true}}]", "until: is required: the last day"),
        ("accepted: [{reason: because it is so, who: a, until: soon, to: {nodes: true}}]", "'soon': the last day"),
        ("accepted: [{reason: because it is so, who: a, until: 2027-01-01}]", "say which flows are meant"),
        ("accepted: [{reason: ok, who: a, until: 2027-01-01, to: {nodes: true}}]", "say in a sentence"),
        ("accepted: [{reason: because it is so, who: a, until: 2027-01-01, to: {node: true}}]", "unknown field"),
        ("accepted: [{reason: because it is so, who: a, until: 2027-01-01, to: {nets: [x]}}]", "not a CIDR"),
        ("accepted: [{reason: because it is so, who: a, until: 2027-01-01, to: {nodes: true}, ports: [80]}]", "ports need protocol"),
        ("accepted: [{reason: because it is so, who: a, until: 2027-01-01, to: {nodes: true}, protocol: TCP, ports: [0]}]", "not a port"),
        ("[1]", "must be a mapping"),
        ("accept: []", "unknown field"),
        ("{]", ""),
    ],
)  # fmt: skip
def test_a_fault_in_the_file_is_told_with_its_line(text, reason):
    with pytest.raises(PolicyError) as caught:
        accepted(text, "accepted.yaml")
    assert "accepted.yaml:1" in str(caught.value)
    assert reason in str(caught.value)


def test_nothing_is_accepted_after_its_last_day():
    (one,) = accepted(entry("to: {nodes: true}"))
    assert not one.expired(date(2027, 6, 30))
    assert one.expired(date(2027, 7, 1))
    assert accepted("") == ()
