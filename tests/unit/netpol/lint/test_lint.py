"""Findings, each with the line it is about."""

from __future__ import annotations

import pytest

from netpol.lint.lint import lint
from tests.unit.netpol.worlds import ISOLATED, OUTWARD, PRODUCTION, TENANTS, ccnp, docs, gnp, knp, np, world


def codes(policies: str) -> list[tuple[str, str]]:
    return [(f.code, f"{f.policy} {f.rule}".strip()) for f in lint(world(policies))]


def test_production_example_names_both_traps():
    findings = {f.code: f for f in lint(world(docs(TENANTS, PRODUCTION, ISOLATED, OUTWARD)))}
    cancels = findings["cancels-isolation"]
    assert cancels.rule == "egress[2]"
    assert "NetworkPolicy locked/isolated" in cancels.message
    overridden = findings["deny-overridden"]
    assert overridden.rule == "egress[1]"
    assert "NetworkPolicy open/outward egress[0]" in overridden.message
    assert overridden.place.line < cancels.place.line


@pytest.mark.parametrize(
    ("policies", "finding"),
    [
        (gnp("{selector: app == 'nobody', types: [Egress]}"), ("selects-nothing", "GlobalNetworkPolicy g")),
        (
            gnp("{egress: [{action: Allow, destination: {selector: app == 'nobody'}}]}"),
            ("reaches-nothing", "GlobalNetworkPolicy g egress[0]"),
        ),
        (
            gnp("{egress: [{action: Allow}, {action: Deny, protocol: TCP}]}"),
            ("shadowed", "GlobalNetworkPolicy g egress[1]"),
        ),
        (gnp("{tier: nowhere}"), ("no-such-tier", "GlobalNetworkPolicy g")),
        (
            gnp("{ingress: [{action: Deny, source: {selector: app == 'db'}}]}"),
            ("deny-by-identity", "GlobalNetworkPolicy g ingress[0]"),
        ),
        (
            ccnp("{endpointSelector: {}, ingressDeny: [{fromEndpoints: [{matchLabels: {app: db}}]}]}"),
            ("deny-by-identity", "CiliumClusterwideNetworkPolicy c spec.ingressDeny[0]"),
        ),
        (
            ccnp("{endpointSelector: {}, egress: [{toCIDR: [10.0.0.0/8]}]}"),
            ("cidr-over-pods", "CiliumClusterwideNetworkPolicy c spec.egress[0]"),
        ),
        (
            gnp("{}").replace("GlobalNetworkPolicy", "StagedGlobalNetworkPolicy"),
            ("staged", "StagedGlobalNetworkPolicy g"),
        ),
    ],
)
def test_a_finding_names_the_rule(policies, finding):
    assert finding in codes(policies)


@pytest.mark.parametrize(
    "policies",
    [
        knp("{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {}}]}]}"),
        np("{order: 10, selector: app == 'db', ingress: [{action: Allow, source: {selector: app == 'web'}}]}"),
        gnp("{order: 10, egress: [{action: Deny, destination: {nets: [169.254.169.254/32]}}, {action: Pass}]}"),
    ],
)
def test_good_policies_have_no_findings(policies):
    assert codes(policies) == []
