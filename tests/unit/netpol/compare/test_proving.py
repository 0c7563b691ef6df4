"""Proofs that follow the worlds as these change, against proofs from scratch."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest

from netpol.compare.again.finding import Finder, handles_of
from netpol.compare.again.proving import Proving
from netpol.compare.prove import Equality, prove
from netpol.model.selector import ALL, And, Has, In, Not, Or, equals
from netpol.model.world import Node, Pod
from tests.oracles import changing
from tests.unit.netpol.worlds import calico, docs, gnp, knp

OPEN = gnp("{selector: app == 'db', ingress: [{action: Allow, source: {selector: app == 'web'}}]}", "open")
SHUT = gnp("{selector: app == 'db', ingress: [{action: Deny, source: {selector: app == 'web'}}]}", "open")


def test_what_is_proved_after_changes_is_what_a_proof_from_scratch_says():
    result = changing.Result()
    for seed in range(40):
        changing.run(seed, result)
    assert result.wrong == []
    assert min(result.said[verdict] for verdict in ("equal", "different")) > 20
    assert sum(n for said, n in result.said.items() if said.endswith("what is touched")) > 100


def test_a_pod_like_one_that_was_there_touches_nothing():
    where = calico(OPEN)
    proving = Proving(where, where)
    web = where.pods[0]
    labels = {**web.labels, "pod-template-hash": "next"}
    later = replace(where, pods=(replace(web, name="web-2", labels=labels), *where.pods[1:]))
    assert proving.change(later, later).equal
    assert (proving.touched.pods, proving.touched.of, proving.touched.anew) == (0, 3, "")
    assert str(proving.touched) == "touched: 0 of 3 pods (0.0%)"


def test_a_policy_touches_the_pods_that_it_selects_and_a_difference_is_found_and_forgotten():
    open_, shut = calico(OPEN), calico(SHUT)
    shut = open_.with_policies(shut.policies)
    proving = Proving(open_, open_)
    proof = proving.change(open_, shut)
    assert proof.verdict is Equality.DIFFERENT
    assert proof.counterexample is not None
    assert "red/db" in proof.counterexample.destination
    assert (proving.touched.pods, proving.touched.of) == (1, 3)
    assert proving.change(shut, shut).equal
    assert not proving.touched.anew


def test_a_difference_that_another_change_leaves_is_still_told():
    open_ = calico(OPEN)
    shut = open_.with_policies(calico(SHUT).policies)
    proving = Proving(open_, shut)
    relabelled = tuple(replace(p, labels={}) if p.namespace == "blue" else p for p in open_.pods)
    pair = replace(open_, pods=relabelled), replace(shut, pods=relabelled)
    assert proving.change(*pair).counterexample == prove(*pair).counterexample


def test_an_address_that_a_pod_leaves_behind_counts_as_one_of_the_world():
    """The only address of its network: as long as a pod has it, nobody outside does."""
    only = "egress: [{action: %s, destination: {nets: [10.0.7.7/32]}}, {action: Allow}]"
    pods = tuple(
        replace(p, addresses=(ipaddress.ip_address("10.0.7.7"),)) if p.namespace == "blue" else p
        for p in calico("").pods
    )
    by_label = "egress: [{action: Deny, destination: {selector: all(), nets: [10.0.7.7/32]}}, {action: Allow}]"
    before, after = (
        replace(calico(gnp(f"{{selector: app == 'db', {rules}}}")), pods=pods) for rules in (only % "Deny", by_label)
    )
    proving = Proving(before, after)
    assert proving.proof.equal
    fewer = tuple(p for p in pods if p.namespace != "blue")
    before, after = replace(before, pods=fewer), replace(after, pods=fewer)
    assert proving.change(before, after).verdict is prove(before, after).verdict is Equality.DIFFERENT


def test_what_is_not_followed_is_proved_from_scratch_and_says_why():
    where = calico(docs(OPEN, knp("{podSelector: {}, policyTypes: [Ingress]}")))
    proving = Proving(where, where)
    grown = replace(where, nodes=(*where.nodes, Node(name="n3")))
    assert proving.change(grown, grown).equal
    assert proving.touched.anew == "all proved: there are nodes of another look, or the last one of a look is gone"
    assert proving.touched.share == 1
    added = replace(grown, pods=(*grown.pods, Pod(namespace="red", name="late", node="n3", labels={"app": "web"})))
    assert proving.change(added, added).equal
    assert proving.touched.pods == 1


def test_a_node_like_others_that_comes_or_goes_touches_nothing():
    where = calico(OPEN)
    like = [replace(where.nodes[0], name=f"new-{n}", addresses=()) for n in range(3)]
    two, three = (replace(where, nodes=(*where.nodes, *like[:n])) for n in (2, 3))
    proving = Proving(two, two)
    for world in (three, two):
        assert proving.change(world, world).equal
        assert (proving.touched.pods, proving.touched.anew) == (0, "")


@pytest.mark.parametrize(
    ("selector", "handles"),
    [
        (equals("a", "1"), (("a", "1"),)),
        (And((Has("b"), In("a", frozenset(("1",))))), (("a", "1"),)),
        (Or((equals("a", "1"), equals("b", "2"))), (("a", "1"), ("b", "2"))),
        (Or((equals("a", "1"), Has("b"))), None),
        (Not(equals("a", "1")), None),
        (ALL, None),
    ],
)
def test_a_selector_is_found_by_a_label_that_it_needs_or_always(selector, handles):
    assert handles_of(selector) == handles
    finder: Finder[str] = Finder()
    finder.add("it", (selector,))
    for labels in ({"a": "1"}, {"a": "1", "b": "2"}, {"b": "2"}, {}):
        assert not selector.matches(labels) or "it" in finder.candidates(labels)
    finder.drop("it", (selector,))
    assert not finder.candidates({"a": "1", "b": "2"})
