"""Names and labels of what is written: all that the API server takes, and nothing that somebody else has."""

from __future__ import annotations

import pytest

from netpol.translate.naming import MOST, fitting
from netpol.translate.translation import Translation, translate
from operations.policy.out import name_of, write
from tests.unit.netpol.worlds import cnp, docs, gnp, knp, np, tier, world

BY_BLOCK = "{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress], ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/16}}]}]}"


def made(*policies: str) -> Translation:
    return translate(world(docs(*policies)))


def names(result: Translation) -> list[tuple[str, str, str]]:
    return [(m["kind"], m["metadata"].get("namespace", ""), m["metadata"]["name"]) for m in result.manifests]


def test_a_policy_that_was_given_a_number_does_not_take_the_name_of_another():
    same = np("{selector: app == 'db', types: [Ingress]}", "x")
    above = np(
        "{tier: t, order: 1, selector: app == 'web', types: [Ingress], ingress: [{action: Deny, protocol: UDP}, {action: Pass}]}",
        "t.x",
    )
    other = np("{selector: app == 'q', types: [Ingress]}", "x-2")
    stored = (
        "apiVersion: crd.projectcalico.org/v1\nkind: NetworkPolicy\nmetadata: {name: x, namespace: red}\n"
        "spec: {selector: app == 'cache', types: [Egress], order: 3}\n"
    )
    result = made(tier("t", 5), same.replace("name: x,", "name: default.x,"), above, other, stored)
    assert result.complete
    assert len(set(names(result))) == len(result.manifests)
    assert len({name_of(m) for m in result.manifests}) == len(result.manifests)


def test_a_policy_of_cilium_that_is_there_keeps_its_name():
    own = cnp("{endpointSelector: {matchLabels: {app: none}}, egress: [{toEntities: [all]}]}", "x")
    result = made(own, np("{selector: app == 'db', types: [Ingress]}", "x"))
    assert result.complete
    assert names(result) == [("CiliumNetworkPolicy", "red", "x-2")]


def test_a_cidr_group_that_is_there_keeps_its_name_and_is_not_meant_by_the_translation():
    theirs = (
        "apiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: {name: s}\nspec: {externalCIDRs: [1.2.3.0/24]}\n"
    )
    ours = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {name: s, labels: {k: x}}\nspec: {nets: [8.8.8.0/24]}\n"
    rule = "{selector: all(), types: [Egress], egress: [{action: Allow, destination: {selector: has(k)}}]}"
    result = made(theirs, ours, gnp(rule))
    assert result.complete
    assert ("CiliumCIDRGroup", "", "s-2") in names(result)
    assert "cidrGroupRef': 's-2'" in str(result.manifests)


@pytest.mark.parametrize("length", [63, 240, 253])
def test_a_name_of_any_length_can_be_written(length: int, tmp_path):
    result = made(np("{selector: app == 'db', types: [Ingress]}", "b" * length), knp(BY_BLOCK, "a" * length))
    assert {len(name) for _, _, name in names(result)} <= set(range(MOST + 1))
    written, _ = write(result.manifests, tmp_path)
    assert len(written) == len(result.manifests) == len(set(written))


def test_long_names_that_differ_at_their_end_stay_apart():
    first, second = fitting("a" * 252 + "b", "-as-calico"), fitting("a" * 252 + "c", "-as-calico")
    assert first != second
    assert len(first) == MOST
    assert first.endswith("-as-calico")


@pytest.mark.parametrize(
    "label", ["app == 'a b'", f"app == '{'a' * 64}'", "has(a/b/c)", "has(-app)", "app in {'-x', 'y z'}"]
)
def test_a_label_that_the_api_server_gives_to_nobody_selects_nobody_and_is_not_written(label: str):
    result = made(gnp(f'{{selector: "{label}", types: [Ingress]}}'))
    assert result.complete
    assert result.manifests == ()
    rest = made(gnp(f'{{selector: "!({label})", types: [Ingress]}}'))
    assert rest.complete
    assert rest.manifests[0]["spec"]["endpointSelector"] == {}


def test_values_that_nobody_can_have_are_left_out_of_a_list():
    result = made(gnp("{selector: \"app in {'a b', 'db'}\", types: [Ingress]}"))
    assert result.complete
    assert result.manifests[0]["spec"]["endpointSelector"] == {"matchLabels": {"app": "db"}}
