"""Findings, each with the line it is about."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import netpol
from netpol import from_text, translate
from netpol.lint.lint import lint
from tests.unit.netpol.worlds import ISOLATED, OUTWARD, PRODUCTION, TENANTS, ccnp, docs, gnp, knp, np, tier, world


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


# -- the order trap -------------------------------------------------------------------------------------

WEB_FROM_DB = np("{order: 10, selector: app == 'web', ingress: [{action: Allow, source: {selector: app == 'db'}}]}")
DNS = gnp("{order: 20, egress: [{action: Allow, protocol: UDP, destination: {ports: [53]}}]}", "dns")
DENY_ALL = gnp(
    "{order: 5000, types: [Ingress, Egress], ingress: [{action: Deny}], egress: [{action: Deny}]}", "deny-all"
)
OUT = "{order: 10, selector: app == 'web', egress: [{action: Allow, protocol: TCP, destination: {nets: [0.0.0.0/0], ports: [443]}}]}"


@pytest.mark.parametrize(
    "policies",
    [
        docs(WEB_FROM_DB, DNS, DENY_ALL),
        docs(DNS, gnp("{order: 5000, namespaceSelector: team == 'red', egress: [{action: Deny}]}", "deny-red")),
        docs(knp("{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}"), DENY_ALL),
        docs(
            gnp("{order: 1, egress: [{action: Allow, destination: {nets: [10.9.1.0/24]}}]}", "one"),
            gnp("{order: 2, egress: [{action: Deny, destination: {nets: [10.9.0.0/16]}}]}", "rest"),
        ),
        docs(tier("first", 1, "Pass"), gnp("{tier: first, egress: [{action: Allow}]}", "a"), DENY_ALL),
    ],
    ids=["an allow-list", "an allow-list of some namespaces", "a NetworkPolicy", "networks", "another tier"],
)
def test_exceptions_and_then_deny_all_are_no_order_trap(policies):
    for where in (world(policies), from_text(policies)):
        assert [f for f in lint(where) if f.code == "deny-overridden"] == []


@pytest.mark.parametrize(
    "deny",
    [
        "{order: 20, egress: [{action: Deny, destination: {nets: [10.0.0.0/8]}}]}",
        "{order: 20, selector: app == 'web', egress: [{action: Deny, protocol: TCP, destination: {nets: [8.8.8.8/32]}}]}",
        "{order: 1001, egress: [{action: Deny, protocol: TCP, destination: {nets: [0.0.0.0/1]}}]}",
    ],
)
def test_an_allow_that_reaches_beyond_a_later_deny_is_one_with_pods_and_without(deny):
    policies = docs(gnp(OUT, "out"), gnp(deny, "late"))
    for where in (world(policies), from_text(policies)):
        assert ("deny-overridden", "GlobalNetworkPolicy late egress[0]") in [
            (f.code, f"{f.policy} {f.rule}") for f in lint(where)
        ]


def test_who_is_told_that_a_deny_comes_too_late_is_not_told_to_remove_it():
    policies = docs(
        gnp("{order: 1, selector: app == 'db', ingress: [{action: Allow}]}", "open"),
        gnp("{order: 2, selector: app == 'db', ingress: [{action: Deny, source: {nets: [192.0.2.1/32]}}]}", "late"),
    )
    assert codes(policies) == [("deny-overridden", "GlobalNetworkPolicy late ingress[0]")]


# -- files without pods ---------------------------------------------------------------------------------


def test_without_pods_nothing_is_called_dead():
    policies = docs(
        gnp("{selector: app == 'nobody', egress: [{action: Allow, destination: {selector: app == 'none'}}, {action: Allow}, {action: Deny}]}"),
        knp("{podSelector: {matchLabels: {app: x}}, ingress: [{from: [{podSelector: {matchLabels: {app: z}}}]}]}"),
        ccnp("{endpointSelector: {matchLabels: {app: x}}, ingress: [{fromEndpoints: [{matchLabels: {app: z}}]}]}"),
    )  # fmt: skip
    assert lint(from_text(policies)) == ()
    found = {f.code: f for f in lint(world(policies))}
    assert set(found) == {"selects-nothing"}, "what selects nothing is said once, not again for each rule"
    assert "correct the selector" in found["selects-nothing"].fix


def test_the_order_trap_of_a_repository_without_pods_is_found():
    found = {f.code for f in lint(from_text(docs(PRODUCTION, ISOLATED, OUTWARD)))}
    assert found == {"cancels-isolation", "deny-overridden"}


# -- what a translation will refuse ---------------------------------------------------------------------

REFUSED = {
    "source ports": gnp("{order: 1, ingress: [{action: Deny, protocol: TCP, source: {ports: [1000]}}, {action: Allow}]}"),
    "an ICMP code": gnp("{order: 1, ingress: [{action: Deny, protocol: ICMP, icmp: {type: 3, code: 4}}, {action: Allow}]}"),
    "ICMP type 0": gnp("{order: 1, ingress: [{action: Allow, protocol: ICMP, icmp: {type: 0}}]}"),
    "GRE": gnp("{order: 1, egress: [{action: Allow, protocol: 47}]}"),
    "all but TCP": gnp("{order: 1, egress: [{action: Allow, notProtocol: TCP}]}"),
    "the label pod-template-hash": gnp("{order: 1, selector: pod-template-hash == 'abc', types: [Ingress]}"),
    "the label pod-template-hash of a peer": gnp("{order: 1, ingress: [{action: Allow, source: {selector: pod-template-hash == 'abc'}}]}"),
    "some pods' addresses": gnp("{order: 1, selector: app == 'db', ingress: [{action: Allow, source: {nets: [10.0.0.0/31]}}]}"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_translation_refuses_is_forecast(kind):
    where = world(REFUSED[kind])
    (found,) = [f for f in lint(where) if f.code == "untranslatable"]
    assert not translate(where).complete
    assert found.policy == "GlobalNetworkPolicy g"
    assert found.place.line > 0
    if "addresses" not in kind:
        assert [f.code for f in lint(from_text(REFUSED[kind])) if f.code == "untranslatable"] == ["untranslatable"]


@pytest.mark.parametrize("policies", [WEB_FROM_DB, DNS, DENY_ALL, PRODUCTION, gnp(OUT)])
def test_what_translates_has_no_forecast(policies):
    where = world(policies)
    assert translate(where).complete
    assert "untranslatable" not in {f.code for f in lint(where)}


# -- the page of each code ------------------------------------------------------------------------------

PAGE = Path(__file__).parents[4] / "docs" / "lint.md"
WORDS = {
    "order trap": {"cancels-isolation", "deny-overridden"},
    "default deny": {"cancels-isolation"},
    "isolated": {"cancels-isolation"},
    "precedence": {"deny-overridden"},
    "first match": {"deny-overridden"},
    "tier": {"no-such-tier"},
    "unused": {"selects-nothing"},
    "selector": {"selects-nothing", "reaches-nothing"},
    "shadow": {"shadowed"},
    "unreachable": {"shadowed"},
    "redundant": {"shadowed"},
    "dead rule": {"shadowed"},
    "audit": {"staged"},
    "not enforced": {"staged"},
    "network set": {"empty-set"},
    "ipBlock": {"cidr-over-pods"},
    "CIDR": {"cidr-over-pods"},
    "identity": {"deny-by-identity"},
    "source port": {"untranslatable"},
    "ICMP": {"untranslatable"},
    "notProtocol": {"untranslatable"},
    "unsupported": {"untranslatable"},
    "preDNAT": {"hosts-only"},
    "doNotTrack": {"hosts-only"},
    "HostEndpoint": {"host-endpoint"},
    "host firewall": {"hosts-only", "host-endpoint"},
}
"""What somebody who knows the field searches for, and the sections that must come up."""


def sections() -> dict[str, str]:
    return dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))


def test_every_code_has_a_section_and_every_section_a_code():
    text = "".join(f.read_text(encoding="utf-8") for f in (Path(netpol.__file__).parent / "lint").glob("*.py"))
    used = set(re.findall(r'code="([a-z-]+)"|_(?:finding|about)\(\s*(?:policy,\s*)?"([a-z-]+)"', text))
    codes = {a or b for a, b in used}
    assert len(codes) > 12
    assert set(sections()) == codes
    listed = re.findall(r"^\| \[(\S+)\]\(#(\S+)\)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [a for a, b in listed if a == b] == list(sections())


@pytest.mark.parametrize("words", WORDS)
def test_a_search_for_the_fields_words_finds_the_section(words):
    found = {code for code, text in sections().items() if words.lower() in f"{code}\n{text}".lower()}
    assert found >= WORDS[words]


def test_every_section_says_what_to_do_and_a_finding_leads_to_it():
    assert [code for code, text in sections().items() if "*Do:*" not in text] == []
    (found,) = lint(world(gnp("{tier: nowhere}")))
    assert found.page == "docs/lint.md#no-such-tier"
    assert found.page in str(found)


TIERED = """
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: security}
spec: {order: 50}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: security.stores}
spec:
  tier: security
  selector: app == 'db'
  types: [Ingress]
  ingress:
    - {action: Pass, source: {selector: app == 'web'}}
    - {action: Deny}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: default.db}
spec:
  selector: app == 'db'
  types: [Ingress]
  ingress:
    - {action: Allow, source: {selector: app == 'web'}}
    - {action: Allow, source: {selector: app == 'job'}}
"""


def test_what_a_tier_passes_on_is_not_taken_for_decided_by_the_rest_of_it():
    pods = "".join(
        f"---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {app}, namespace: x, labels: {{app: {app}}}}}\n"
        f"spec: {{}}\nstatus: {{podIP: 10.0.0.{i}}}\n"
        for i, app in enumerate(("db", "web", "job"), 1)
    )
    found = lint(from_text(TIERED + pods, whole=True))
    shadowed = [(f.policy, f.rule) for f in found if f.code == "shadowed"]
    assert shadowed == [("GlobalNetworkPolicy default.db", "ingress[1]")]
