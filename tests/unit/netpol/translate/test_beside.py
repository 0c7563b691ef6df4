"""Policies of Cilium that are given: it will enforce them beside the translation, so the proof counts them."""

from __future__ import annotations

from netpol import from_objects
from netpol.translate.manifests import SOURCE
from netpol.translate.translation import translate
from tests.unit.netpol.worlds import ccnp, cilium, cnp, docs, gnp, world

CALICO = gnp("{selector: app == 'db', types: [Ingress], ingress: [{action: Allow, source: {selector: app == 'web'}}]}")
DENY = ccnp(
    "{endpointSelector: {matchLabels: {app: db}}, enableDefaultDeny: {ingress: false}, ingressDeny: [{fromEndpoints: [{matchLabels: {app: web}}]}]}",
    "deny",
)
HARMLESS = cnp("{endpointSelector: {matchLabels: {app: nobody}}, ingress: [{}]}", "spare")
GROUP = "apiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: {name: office}\nspec: {externalCIDRs: [203.0.113.0/24]}\n"
BY_GROUP = ccnp(
    "{endpointSelector: {matchLabels: {app: db}}, ingress: [{fromCIDRSet: [{cidrGroupRef: office}]}]}", "office"
)


def test_one_that_decides_otherwise_refuses_the_translation_and_is_named():
    for policy, more in ((DENY, ""), (BY_GROUP, GROUP)):
        result = translate(world(docs(CALICO, policy, more) if more else docs(CALICO, policy)))
        assert not result.complete
        assert any("is given, and Cilium lets it decide this flow" in r.reason for r in result.refused)
        assert all("CiliumClusterwideNetworkPolicy" in r.reason for r in result.refused)


def test_one_that_changes_no_verdict_stays_and_is_counted():
    result = translate(world(docs(CALICO, HARMLESS)))
    assert result.complete
    assert [p.meta.name for p in result.kept] == ["spare"]
    assert len(result.manifests) == 1


def test_what_an_earlier_translation_wrote_is_made_anew_and_not_counted():
    written = translate(world(CALICO)).manifests
    assert SOURCE in written[0]["metadata"]["annotations"]
    where = world(CALICO)
    again = where.with_policies([*where.policies, *from_objects(written).policies])
    assert translate(again).manifests == written
    assert translate(again).kept == ()


def test_nothing_of_calicos_but_a_policy_of_ciliums_is_no_empty_translation():
    result = translate(world(DENY))
    assert not result.complete
    assert result.refused[0].policy == "CiliumClusterwideNetworkPolicy deny"
    assert cilium(DENY).policies == result.kept
