"""An allow list that ends in a Deny of everything becomes default deny: nothing has to be named to be kept out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from netpol import Flow, Grade, World, decide, prove_future, translate
from netpol.compare.prove import prove
from netpol.translate.translation import Translation
from tests.unit.netpol.worlds import docs, gnp, knp, np, tier, world

LISTED = "egress: [{action: Allow, destination: {nets: [8.8.8.0/24]}}, {action: Allow, destination: {selector: app == 'db'}}, {action: Deny}]"
OPEN = gnp("{order: 5000, egress: [{action: Allow}]}", "open")


def denies(result: Translation) -> list[dict[str, Any]]:
    specs = [s for m in result.manifests for s in (m["specs"] if "specs" in m else [m["spec"]])]
    return [rule for s in specs for side in ("ingressDeny", "egressDeny") for rule in s.get(side, [])]


def after(where: World, result: Translation) -> World:
    return where.with_policies(result.policies()).enforced_by("cilium")


@pytest.mark.parametrize(
    "policies",
    [
        docs(gnp(f"{{order: 1, selector: app == 'web', {LISTED}}}"), OPEN),
        docs(gnp(f"{{order: 1, selector: app == 'web', {LISTED}}}".replace("{action: Deny}", "{action: Deny, destination: {nets: [0.0.0.0/0]}}")), OPEN),
        docs(tier("first", 1), gnp(f"{{tier: first, selector: app == 'web', {LISTED}}}"), OPEN),
        docs(tier("first", 1, "Pass"), gnp(f"{{tier: first, selector: app == 'web', {LISTED}}}"), OPEN),
        docs(np(f"{{order: 1, selector: app == 'web', {LISTED.replace('app ==', 'tier ==')}}}"), OPEN),
        docs(gnp("{order: 1, selector: app == 'db', ingress: [{action: Allow, source: {selector: tier == 'front'}}, {action: Deny}]}"),
             gnp("{order: 5000, ingress: [{action: Allow}]}", "open")),
        docs(gnp(f"{{order: 1, selector: app == 'web', {LISTED}}}"), gnp("{order: 2, selector: has(app), egress: [{action: Allow, destination: {selector: app == 'cache'}}, {action: Deny}]}", "second"), OPEN),
    ],
    ids=range(7),
)  # fmt: skip
def test_an_allow_list_under_somebodys_allow_all_is_said_without_a_deny(policies):
    where = world(policies)
    result = translate(where)
    assert result.complete, [str(r) for r in result.refused]
    assert denies(result) == []
    assert prove(where.enforced_by("calico"), after(where, result)).equal


def test_what_is_bound_to_the_objects_given_keeps_to_the_allow_list():
    policy = f"{{order: 1, selector: app starts with 'w', {LISTED}}}"
    for whole in (True, False):
        result = translate(world(docs(gnp(policy), OPEN), whole=whole))
        assert (result.complete, result.grade) == (whole, Grade.BOUND)
        assert denies(result) == []


def test_what_nobody_thought_of_stays_out():
    where = world(docs(gnp(f"{{order: 1, selector: app == 'web', {LISTED}}}"), OPEN))
    moved = after(where, translate(where))
    # A service mesh's range, a peered network: no policy names them.
    assert not decide(moved, Flow.of("red/web", "100.64.0.1", "TCP", 80)).allowed
    assert decide(moved, Flow.of("red/web", "8.8.8.8", "TCP", 80)).allowed
    assert decide(moved, Flow.of("red/db", "100.64.0.1", "TCP", 80)).allowed


def test_pods_to_come_stay_closed_though_nobody_is_like_them_today():
    later = f"{{order: 1, namespaceSelector: team == 'red', selector: app == 'later', {LISTED}}}"
    where = world(docs(gnp(later), OPEN))
    result = translate(where)
    assert (result.complete, result.grade) == (True, Grade.EXACT)
    assert denies(result) == []
    assert prove_future(where.enforced_by("calico"), after(where, result)).equal


def test_pods_to_come_of_todays_accounts_stay_closed_and_other_accounts_are_said():
    robots = f"{{order: 1, serviceAccountSelector: kind == 'machine', selector: app == 'later', {LISTED}}}"
    where = world(docs(gnp(robots), OPEN))
    result = translate(where)
    # Labels of accounts are written out: one that gets the label tomorrow is not among them.
    assert (result.complete, result.grade) == (True, Grade.BOUND)
    assert denies(result) == []
    robot = replace(where.pods[0], name="robot", labels={"app": "later"}, service_account="robot")
    peopled = replace(where, pods=(*where.pods, robot))
    assert prove(peopled.enforced_by("calico"), after(peopled, result)).equal


@pytest.mark.parametrize(
    "policies",
    [
        # The NetworkPolicy stays, and its allow would win over default deny.
        docs(
            gnp(f"{{order: 1, selector: app == 'web', {LISTED}}}"),
            knp("{podSelector: {}, policyTypes: [Egress], egress: [{}]}"),
        ),
        # What is passed goes on to the next tier.
        docs(
            tier("first", 1),
            gnp("{tier: first, egress: [{action: Pass, destination: {selector: app == 'db'}}, {action: Deny}]}"),
            OPEN,
        ),
        # Only some is denied, and the profile allows the rest.
        gnp("{egress: [{action: Deny, destination: {nets: [8.8.8.0/24]}}, {action: Allow}]}"),
    ],
    ids=["staying", "passed", "some"],
)
def test_where_an_allow_list_does_not_say_it_a_deny_does(policies):
    where = world(policies)
    result = translate(where)
    assert result.complete, [str(r) for r in result.refused]
    assert prove(where.enforced_by("calico"), after(where, result)).equal
