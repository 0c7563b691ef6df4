"""Network sets become CIDR groups that rules name."""

from __future__ import annotations

from typing import Any

import pytest

from netpol import World, translate
from netpol.compare.prove import prove
from netpol.translate.manifests import SOURCE, WRITTEN_OUT
from netpol.translate.translation import Translation
from operations.policy import out
from tests.unit.netpol.worlds import docs, gnp, np, world


def network_set(nets: str, name: str = "outside", namespace: str = "", role: str = "outside") -> str:
    place = f", namespace: {namespace}" if namespace else ""
    return (
        f"apiVersion: projectcalico.org/v3\nkind: {'' if namespace else 'Global'}NetworkSet\n"
        f"metadata: {{name: {name}{place}, labels: {{role: {role}}}}}\nspec: {{nets: [{nets}]}}\n"
    )


TO_SET = "egress: [{action: Allow, protocol: TCP, destination: {selector: role == 'outside', ports: [443]}}]"
SET = network_set("8.8.8.0/24, 9.9.9.9/32")


def peers(result: Translation) -> list[dict[str, Any]]:
    specs = [
        s
        for m in result.manifests
        if "CIDRGroup" not in m["kind"]
        for s in (m["specs"] if "specs" in m else [m["spec"]])
    ]
    rules = [r for s in specs for side in ("ingress", "egress", "ingressDeny", "egressDeny") for r in s.get(side, [])]
    return [p for r in rules for side in ("fromCIDRSet", "toCIDRSet") for p in r.get(side, [])]


def groups(result: Translation) -> dict[str, list[str]]:
    return {
        m["metadata"]["name"]: m["spec"]["externalCIDRs"] for m in result.manifests if m["kind"] == "CiliumCIDRGroup"
    }


def holds(where: World, result: Translation) -> bool:
    assert result.complete, [str(r) for r in result.refused]
    return prove(where.enforced_by("calico"), where.with_policies(result.policies()).enforced_by("cilium")).equal


@pytest.mark.parametrize("direction", ["egress", "ingress"])
def test_a_set_is_a_group_of_its_name_and_rules_name_it(direction):
    rule = TO_SET if direction == "egress" else "ingress: [{action: Allow, source: {selector: role == 'outside'}}]"
    where = world(docs(SET, gnp(f"{{{rule}}}")))
    result = translate(where)
    assert holds(where, result)
    assert peers(result) == [{"cidrGroupRef": "outside"}]
    assert groups(result) == {"outside": ["8.8.8.0/24", "9.9.9.9/32"]}
    (group,) = [m for m in result.manifests if m["kind"] == "CiliumCIDRGroup"]
    assert group["metadata"]["annotations"][SOURCE] == "GlobalNetworkSet outside (projectcalico.org/v3)"
    assert out.name_of(group) == "group.outside.yaml"


def test_a_set_that_changes_takes_the_rules_that_name_it_with_it():
    where, wider = (
        world(docs(network_set(nets), gnp(f"{{{TO_SET}}}"))) for nets in ("8.8.8.0/24", "8.8.8.0/24, 1.1.1.1/32")
    )
    first, second = translate(where), translate(wider)
    policies = [[m for m in r.manifests if m["kind"] != "CiliumCIDRGroup"] for r in (first, second)]
    assert policies[0] == policies[1]


def test_sets_of_one_name_in_several_namespaces_are_told_apart():
    sets = [
        network_set("8.8.8.0/24", "a", "red"),
        network_set("9.9.9.0/24", "a", "blue"),
        network_set("7.7.7.0/24", "red.a"),
    ]
    allow = "{namespaceSelector: all(), egress: [{action: Allow, destination: {selector: role == 'outside', namespaceSelector: has(team)}}]}"
    where = world(
        docs(*sets, gnp(allow), np("{egress: [{action: Allow, destination: {selector: role == 'outside'}}]}"))
    )
    result = translate(where)
    assert holds(where, result)
    assert groups(result) == {"blue.a": ["9.9.9.0/24"], "red.a-2": ["8.8.8.0/24"]}


@pytest.mark.parametrize(
    ("policies", "left"),
    [
        # The rule means only a part of it.
        (gnp("{egress: [{action: Allow, destination: {selector: role == 'outside', nets: [8.0.0.0/8]}}]}"), True),
        # An earlier rule decides about a part of it.
        (gnp("{egress: [{action: Allow, destination: {nets: [8.8.8.8/32]}}, {action: Deny, destination: {selector: role == 'outside'}}, {action: Allow}]}"), True),
        (gnp("{egress: [{action: Allow, destination: {notSelector: role == 'outside'}}]}"), True),
    ],
)  # fmt: skip
def test_a_part_of_a_set_is_written_out(policies, left):
    where = world(docs(SET, policies))
    result = translate(where)
    assert holds(where, result)
    assert groups(result) == {}
    assert all("cidrGroupRef" not in p for p in peers(result))
    assert (result.written_out == ("GlobalNetworkSet outside",)) is left
    assert any(WRITTEN_OUT in m["metadata"]["annotations"] for m in result.manifests) is left


def test_a_set_that_holds_everything_is_never_taken_for_a_network():
    where = world(docs(network_set("8.8.8.0/24, '::/0'"), gnp(f"{{{TO_SET}}}")))
    result = translate(where)
    assert holds(where, result)
    assert groups(result) == {}
