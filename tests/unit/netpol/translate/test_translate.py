"""Translations: proved, refused with reasons, readable, deterministic, and minimal."""

# ruff: noqa: S311, PLC0415

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netpol import World
from netpol.compare.prove import prove
from netpol.translate.manifests import EXPANDED, SOURCE
from netpol.translate.translation import Translation, translate
from tests.oracles import random_calico
from tests.programs.mutants import TINY, campaign
from tests.unit.netpol.worlds import (
    ISOLATED,
    OUTWARD,
    PRODUCTION,
    TENANTS,
    docs,
    gnp,
    knp,
    np,
    tier,
    with_addresses,
    world,
)


def after(where: World, result: Translation) -> World:
    return where.with_policies(result.policies()).enforced_by("cilium")


def specs(result: Translation) -> list[dict[str, Any]]:
    return [s for m in result.manifests for s in (m["specs"] if "specs" in m else [m["spec"]])]


@pytest.mark.parametrize("six", [False, True])
def test_production_example_our_translation_is_proved_equal(six):
    families = frozenset((4, 6) if six else (4,))
    where = with_addresses(world(docs(TENANTS, PRODUCTION, ISOLATED, OUTWARD), six_egress=six, families=families))
    result = translate(where)
    assert result.complete, [str(r) for r in result.refused]
    assert prove(where.enforced_by("calico"), after(where, result)).equal
    (manifest,) = result.manifests
    assert manifest["kind"] == "CiliumClusterwideNetworkPolicy"
    assert manifest["metadata"]["name"] == "deny-aws-imds"
    assert manifest["metadata"]["annotations"][SOURCE] == "GlobalNetworkPolicy deny-aws-imds (crd.projectcalico.org/v1)"
    # The deny stops where a NetworkPolicy, which comes first in Calico, lets the traffic through.
    (deny,) = [s for s in specs(result) if "egressDeny" in s]
    assert deny["endpointSelector"]["matchExpressions"][0]["values"] == ["open"]
    assert deny["enableDefaultDeny"] == {"egress": False}


@pytest.mark.parametrize(
    "policies",
    [
        gnp("{selector: app == 'db', types: [Ingress]}"),
        gnp("{ingress: [{action: Deny, source: {nets: [8.8.8.0/24]}}, {action: Allow}]}"),
        gnp("{ingress: [{action: Allow, protocol: TCP, destination: {notPorts: [22]}}]}"),
        gnp("{egress: [{action: Allow, destination: {nets: [8.0.0.0/8], notNets: [8.8.8.0/24]}}]}"),
        gnp("{egress: [{action: Allow, destination: {nets: [10.0.0.0/8, 169.254.0.0/16]}}]}"),
        gnp("{egress: [{action: Deny, notProtocol: TCP}, {action: Allow}]}"),
        gnp("{selector: app == 'web' || tier == 'back', types: [Egress]}"),
        gnp("{selector: app contains 'w', types: [Egress]}"),
        gnp("{ingress: [{action: Allow, protocol: TCP, destination: {ports: [http]}}]}"),
        gnp("{ingress: [{action: Allow, source: {serviceAccounts: {selector: kind == 'machine'}}}]}"),
        gnp("{namespaceSelector: env == 'prod', ingress: [{action: Pass}]}"),
        np("{ingress: [{action: Allow, source: {namespaceSelector: env == 'dev'}}]}"),
        np("{ingress: [{action: Allow, source: {namespaceSelector: all()}}]}"),
        docs(
            tier("t", 1),
            gnp("{tier: t, egress: [{action: Pass, destination: {selector: app == 'db'}}]}"),
            knp("{podSelector: {}, policyTypes: [Egress]}"),
        ),
        docs(
            knp("{podSelector: {}, policyTypes: [Egress], egress: [{}]}"),
            gnp("{order: 1, egress: [{action: Deny, destination: {selector: app == 'db'}}]}"),
        ),
        knp("{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}"),
        # The NetworkPolicy stays and would let in what the tier before it ends by denying.
        docs(
            tier("t", 1),
            gnp("{tier: t, ingress: [{action: Allow, source: {selector: app == 'db'}}]}"),
            knp("{podSelector: {}, policyTypes: [Ingress], ingress: [{}]}"),
        ),
        gnp("{selector: app == 'db', ingress: [{action: Pass, protocol: TCP, destination: {ports: [http]}}]}"),
    ],
    ids=range(18),
)
def test_what_cilium_can_say_is_said(policies):
    where = world(policies)
    result = translate(where)
    assert result.complete, [str(r) for r in result.refused]
    assert prove(where.enforced_by("calico"), after(where, result)).equal


@pytest.mark.parametrize(
    ("policies", "reason"),
    [
        (gnp("{egress: [{action: Allow, destination: {nets: [10.0.0.2/32]}}]}"), "only some of the pods"),
        (gnp("{egress: [{action: Allow, protocol: 47}]}"), "IP protocol 47"),
        (gnp("{egress: [{action: Allow, protocol: ICMP, icmp: {type: 3, code: 1}}]}"), "ICMP codes"),
        (gnp("{egress: [{action: Allow, protocol: ICMP, icmp: {type: 0}}]}"), "ICMP type 0"),
        (gnp("{egress: [{action: Allow, protocol: TCP, source: {ports: ['1:99']}}]}"), "source ports"),
        (gnp("{selector: pod-template-hash == 'abc', types: [Egress]}"), "not part of Cilium identities"),
        (
            docs(
                gnp("{order: 2000, egress: [{action: Allow}]}"),
                knp("{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: http}]}]}"),
                gnp("{order: 1, egress: [{action: Deny, protocol: 47}]}", "h"),
            ),
            "IP protocol",
        ),
        # The node itself is in the net, the Pod Identity agent on it is not; to Cilium both are `host`.
        (gnp("{egress: [{action: Allow, destination: {nets: [10.0.0.0/8]}}]}"), "belong to nodes"),
    ],
)
def test_what_cilium_cannot_say_is_refused_with_a_reason_and_a_flow(policies, reason):
    result = translate(world(policies))
    assert not result.complete
    assert any(reason in r.reason for r in result.refused), [str(r) for r in result.refused]
    for refusal in result.refused:
        assert refusal.example is not None
        assert refusal.example.before.allowed is not refusal.example.after.allowed


def test_a_refusal_names_the_rule_at_the_end_where_the_engines_differ():
    inward = gnp("{selector: app == 'web', ingress: [{action: Allow}]}", "inward")
    passing = gnp("{selector: app == 'db', egress: [{action: Pass, protocol: TCP, destination: {notPorts: [http]}}]}")
    for refusal in translate(world(docs(inward, passing))).refused:
        assert (refusal.policy, refusal.rule) == ("GlobalNetworkPolicy g", "egress[0]")
        assert refusal.reason == "notPorts with a port name"


def test_a_refusal_always_says_what_cannot_be_said():
    refused = [
        refusal
        for seed in (50, 86, 152, 178, 185, 192)
        for shape in (random_calico.SAYABLE, random_calico.Shape(six=False))
        for refusal in translate(random_calico.world(random.Random(seed), shape, policies=3, pod_count=4)).refused
    ]
    assert refused
    assert [r for r in refused if "stands for the other rules" in r.reason or not r.policy] == []


def test_host_endpoints_are_refused():
    endpoint = "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: h}\nspec: {node: n1, interfaceName: '*'}"
    result = translate(world(endpoint))
    assert "host" in result.refused[0].reason


def test_what_is_expanded_over_labels_is_marked():
    result = translate(world(gnp("{selector: app starts with 'w', types: [Egress]}")))
    assert result.expanded == ("app",)
    assert result.manifests[0]["metadata"]["annotations"][EXPANDED] == "app"
    exact = translate(world(gnp("{selector: app == 'web' || tier == 'back', types: [Egress]}")))
    assert exact.expanded == ()
    assert len(specs(exact)) == 2


def test_kubernetes_policies_stay_and_nothing_is_added_where_both_engines_agree():
    where = world(knp("{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {}}]}]}"))
    result = translate(where)
    assert result.complete
    assert result.manifests == ()
    assert [p.meta.kind for p in result.kept] == ["NetworkPolicy"]


def test_a_policy_for_pods_to_come_is_kept():
    result = translate(world(gnp("{selector: app == 'later', types: [Ingress]}")))
    assert result.complete
    assert specs(result)[0]["endpointSelector"] == {"matchLabels": {"app": "later"}}


def test_the_same_policies_give_the_same_translation_in_any_order():
    rng = random.Random(11)
    where = random_calico.world(rng, TINY, policies=5)
    first = translate(where)
    policies = list(where.policies)
    rng.shuffle(policies)
    assert translate(where.with_policies(policies)).manifests == first.manifests
    assert translate(where).manifests == first.manifests


def test_every_policy_of_a_translation_is_needed():
    for seed in range(6):
        where = random_calico.world(random.Random(seed), TINY, policies=3)
        result = translate(where)
        policies = result.policies()
        before = where.enforced_by("calico")
        for policy in policies:
            if policy in result.kept:
                continue
            fewer = where.with_policies([p for p in policies if p is not policy]).enforced_by("cilium")
            idle = all(not selected(fewer, s) for s in getattr(policy, "specs", ()))
            assert idle or not result.complete or not prove(before, fewer).equal or for_the_future(where, policy)


def selected(where: World, spec) -> bool:
    from netpol.decide.models import cilium_model

    model = cilium_model(where)
    return any(spec.endpoints.matches(model.pod_labels(p)) for p in where.pods)


def for_the_future(where: World, policy) -> bool:
    """Whether a policy that today's pods do not need matters to one that could be created."""
    from netpol.compare.probes import with_probes

    probed = with_probes(where.enforced_by("calico"))
    result = translate(where)
    fewer = probed.with_policies([p for p in result.policies() if p.meta != policy.meta]).enforced_by("cilium")
    return not prove(probed.with_policies(result.policies()).enforced_by("cilium"), fewer).equal


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**9))
def test_a_translation_is_proved_or_refused(seed):
    where = random_calico.world(random.Random(seed), random_calico.Shape(six=False), policies=3, pod_count=4)
    result = translate(where)
    proof = prove(where.enforced_by("calico"), after(where, result))
    assert proof.equal or not result.complete
    assert bool(result.refused) is not result.complete


def test_every_mutant_that_changes_a_verdict_is_caught():
    seen = campaign(8, seed=3)
    assert sum(n for name, n in seen.items() if name.endswith(" changes")) >= 3
