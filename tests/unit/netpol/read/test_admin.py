"""Kubernetes' cluster-wide policies: both kinds that were and the one that is, each where its engine enforces it."""

from __future__ import annotations

import pytest

from netpol import PolicyError, UndecidableError, from_text, policies_from_text, prove, translate
from netpol.model.world import CiliumOptions
from tests.unit.netpol.worlds import CLUSTER, allows, docs, knp, np

OUT = "8.8.8.8"


def admin(rules: str, kind: str = "AdminNetworkPolicy", subject: str = "namespaces: {}") -> str:
    head = f"apiVersion: policy.networking.k8s.io/v1alpha1\nkind: {kind}\n"
    if kind == "AdminNetworkPolicy":
        return f"{head}metadata: {{name: a}}\nspec: {{priority: 5, subject: {{{subject}}}, {rules}}}\n"
    return f"{head}metadata: {{name: default}}\nspec: {{subject: {{{subject}}}, {rules}}}\n"


def cluster_policy(api: str, name: str = "k") -> str:
    return (
        f"apiVersion: policy.networking.k8s.io/{api}\nkind: ClusterNetworkPolicy\nmetadata: {{name: {name}}}\n"
        "spec: {tier: Admin, priority: 1, subject: {namespaces: {}}, "
        "egress: [{action: Deny, to: [{networks: [8.8.8.0/24]}]}]}"
    )


DENY = "egress: [{action: Deny, to: [{networks: [8.8.8.0/24]}], ports: [{portNumber: {port: 80, protocol: TCP}}]}]"


def under(policies: str, version: tuple[int, int]):
    return from_text(docs(CLUSTER, policies), calico_version=version).enforced_by("calico")


@pytest.mark.parametrize(("version", "denied"), [((3, 28), False), ((3, 29), True), ((3, 31), True), ((3, 32), False)])
def test_an_admin_policy_counts_where_calico_enforced_it(version, denied):
    assert allows(under(admin(DENY), version), "red/web", OUT) is not denied
    assert allows(under(admin(DENY), version), "red/web", OUT, port=81)


@pytest.mark.parametrize(("version", "denied"), [((3, 29), False), ((3, 30), True), ((3, 31), True), ((3, 32), False)])
def test_the_baseline_comes_after_every_other_policy(version, denied):
    baseline = admin(DENY, "BaselineAdminNetworkPolicy")
    assert allows(under(baseline, version), "red/web", OUT) is not denied
    open_ = docs(baseline, np("{selector: all(), egress: [{action: Allow}]}"))
    assert allows(under(open_, version), "red/web", OUT)


@pytest.mark.parametrize("api", ["v1alpha2", "v1beta1"])
@pytest.mark.parametrize(("version", "denied"), [((3, 31), False), ((3, 32), True)])
def test_a_cluster_policy_is_the_same_under_both_versions(api, version, denied):
    where = under(cluster_policy(api), version)
    assert allows(where, "red/web", OUT) is not denied
    options = CiliumOptions(cluster_policies=True)
    assert not allows(
        from_text(docs(CLUSTER, cluster_policy(api)), cilium=options).enforced_by("cilium"), "red/web", OUT
    )
    both = docs(cluster_policy("v1alpha2"), cluster_policy("v1beta1"))
    with pytest.raises(PolicyError, match="given twice"):
        from_text(both)


def test_pass_ends_an_admin_policy_and_pods_and_ranges_are_read():
    rules = (
        "ingress: [{action: Pass, from: [{pods: {namespaceSelector: {matchLabels: {team: red}}, podSelector: {}}}], "
        "ports: [{portRange: {protocol: TCP, start: 80, end: 90}}]}, {action: Deny, from: [{namespaces: {}}]}]"
    )
    where = under(admin(rules, subject="pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: db}}}"), (3, 31))
    assert allows(where, "red/web", "red/db", port=85)
    assert not allows(where, "red/web", "red/db", port=91)
    assert not allows(where, "blue/web", "red/db", port=85)
    assert allows(where, "red/db", "red/web", port=91)


def test_cilium_enforces_no_admin_policy_so_a_translation_says_it():
    where = from_text(docs(CLUSTER, admin(DENY)), calico_version=(3, 31))
    assert allows(where.enforced_by("cilium"), "red/web", OUT)
    result = translate(where)
    assert result.complete
    assert [m["metadata"]["name"] for m in result.manifests] == ["a"]


@pytest.mark.parametrize(("policy", "version"), [(admin(DENY), (3, 32)), (cluster_policy("v1beta1"), (3, 31))])
def test_a_proof_names_what_calico_does_not_enforce(policy, version):
    where = under(docs(policy, knp("{podSelector: {}}")), version)
    assert ["does not enforce" in a for a in prove(where, where).assumptions].count(True) == 1


@pytest.mark.parametrize(
    "rule",
    [
        "egress: [{action: Deny, to: [{nodes: {}}]}]",
        "egress: [{action: Allow, to: [{domainNames: [a.b]}]}]",
        "ingress: [{action: Deny, from: [{namespaces: {}}], ports: [{namedPort: http}]}]",
        "ingress: [{action: Deny, from: [{}]}]",
    ],
)
def test_what_is_not_known_of_an_admin_policy_is_undecidable(rule):
    with pytest.raises(UndecidableError, match="AdminNetworkPolicy a"):
        allows(under(admin(rule), (3, 31)), "red/web", OUT)
    assert allows(under(admin(rule), (3, 32)), "red/web", OUT)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (admin("egress: [{action: Accept, to: [{namespaces: {}}]}]"), "Allow, Deny, Pass"),
        (admin("egress: [{action: Pass, to: [{namespaces: {}}]}]", "BaselineAdminNetworkPolicy"), "Allow, Deny"),
        (admin("").replace("priority: 5, ", ""), "priority"),
        (admin("", "BaselineAdminNetworkPolicy").replace("name: default", "name: other"), "is named default"),
        (admin("ingress: [{action: Deny, from: []}]"), "at least one peer"),
        (admin("ingress: [{action: Deny, from: [{networks: [10.0.0.0/8]}]}]"), "unknown field"),
        (admin("egress: [{action: Deny, to: [{networks: [10.0.0.0/8], nodes: {}}]}]"), "exactly one"),
        (admin(DENY.replace("port: 80", "port: 0")), "between"),
        (
            admin(DENY.replace("portNumber: {port: 80, protocol: TCP}", "portRange: {start: 9, end: 8}")),
            "lower one first",
        ),
        (admin(DENY.replace("portNumber: {port: 80, protocol: TCP}", "")), "exactly one of portNumber"),
        (admin("", subject=""), "exactly one of namespaces and pods"),
    ],
)
def test_a_fault_of_an_admin_policy_is_named(text, reason):
    with pytest.raises(PolicyError, match=reason):
        policies_from_text(text)
