"""Each item of the survey is recognised, and decided or refused with a reason and a way out."""

from typing import Any

import pytest

from migration.facts import Decision, Verdict
from migration.journeys import REPLACE
from operations.survey.decisions import DECIDERS, decide, mattering
from operations.survey.surveyed import facts_of, seen_of
from tests.unit.survey.cluster import (
    CALICO,
    INSTALLATION,
    aws_node,
    daemonset,
    gathered,
    named,
    node,
    settings,
)

ROUTE_OUT = {"Routes": [{"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": "igw-1"}]}
PROXY = daemonset("kube-system", "kube-proxy", "kube-proxy:v1.35.0")


def decisions(asked: dict[str, Any] | None = None, **changes: Any) -> dict[str, Decision]:
    facts = facts_of(gathered(**changes), settings(**(asked or {})), "2026-11-21T00:00:00Z")
    return {d.item: d for d in facts.decisions}


def with_env(**env: str) -> dict[str, Any]:
    return {"daemonsets": [aws_node(**env), PROXY, CALICO]}


def with_custom(**custom: Any) -> dict[str, Any]:
    return {"custom": {"installations": [INSTALLATION], **custom}}


def with_daemonset(*more: Any) -> dict[str, Any]:
    return {"daemonsets": [aws_node(), PROXY, CALICO, *more]}


def with_cluster(**changes: Any) -> dict[str, Any]:
    return {"cluster": dict(gathered().cluster) | changes}


def test_an_ordinary_legacy_cluster_is_refused_nothing():
    found = decisions()
    assert [d.item for d in found.values() if d.verdict is Verdict.REFUSED] == []
    assert len(found) == len(DECIDERS)


@pytest.mark.parametrize(
    ("item", "changes"),
    [
        ("versions", with_cluster(version="1.22")),
        ("IPv6", with_cluster(kubernetesNetworkConfig={"ipFamily": "ipv6", "serviceIpv4Cidr": "172.20.0.0/16"})),
        ("IAM OIDC provider", {"oidc_providers": ["arn:aws:iam::1:oidc-provider/other"]}),
        ("VPC CNI", {"daemonsets": [CALICO], "addons": {}}),
        ("several CNIs", with_daemonset(daemonset("kube-system", "kube-flannel-ds", "flannel:1"))),
        ("several CNIs", with_custom(installations=[named("default", spec={"cni": {"type": "Calico"}})])),
        ("security groups for pods", with_custom(securitygrouppolicies=[named("db", "shop")])),
        (
            "custom networking",
            with_env(AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG="true")
            | with_custom(eniconfigs=[named("a", spec={"subnet": "subnet-p", "securityGroups": ["sg-9"]})]),
        ),
        ("VPC CNI's own policy agent", with_custom(policyendpoints=[named("a", "shop")])),
        ("VPC CNI's own policy agent", {"addons": {"vpc-cni": {"configurationValues": "enableNetworkPolicy: 'true'"}}}),
        (
            "Calico",
            {
                "daemonsets": [
                    aws_node(),
                    named(
                        "calico-node",
                        "kube-system",
                        {"helm.sh/chart": "aws-calico-0.3.10"},
                        spec={"template": {"spec": {"containers": [{"name": "c", "image": "calico/node:v3.19.1"}]}}},
                    ),
                ],
                "custom": {},
            },
        ),
        ("Calico host endpoints", with_custom(hostendpoints=[named("eth0")])),
        (
            "Calico host endpoints",
            with_custom(hostendpoints=[named("a", labels={"projectcalico.org/created-by": "calico-kube-controllers"})]),
        ),
        ("cluster-wide policies of Kubernetes", with_custom(clusternetworkpolicies=[named("admin")])),
        (
            "Calico features without a counterpart",
            with_custom(globalnetworkpolicies=[named("a", spec={"preDNAT": True})]),
        ),
        (
            "Calico features without a counterpart",
            with_custom(felixconfigurations=[named("default", spec={"wireguardEnabled": True})]),
        ),
        (
            "Calico features without a counterpart",
            with_custom(felixconfigurations=[named("default", spec={"defaultEndpointToHostAction": "Drop"})]),
        ),
        ("Windows nodes", {"nodes": [node(1), node(2, {"kubernetes.io/os": "windows"})]}),
        ("Fargate", {"fargate_profiles": ["jobs"]}),
        ("hybrid nodes", {"nodes": [node(1), node(2, {"eks.amazonaws.com/compute-type": "hybrid"})]}),
        ("Auto Mode", with_cluster(computeConfig={"enabled": True})),
        (
            "self-managed groups",
            {"nodes": [node(1), node(7, {"eks.amazonaws.com/nodegroup": ""})]},
        ),
        ("Karpenter", with_custom(nodepools=[named("default")])),
        ("names of node groups", {"nodegroups": [dict(gathered().nodegroups[0]) | {"nodegroupName": "workers"}]}),
        ("NodeLocal DNSCache", with_daemonset(daemonset("kube-system", "node-local-dns", "dnscache:1"))),
        ("meshes that chain CNIs", with_daemonset(daemonset("istio-system", "istio-cni-node", "install:1"))),
    ],
)
def test_what_the_journey_cannot_carry_is_refused_with_a_way_out(item, changes):
    decision = decisions(**changes)[item]
    assert decision.verdict is Verdict.REFUSED
    assert decision.found
    assert decision.reason
    assert decision.way_out


@pytest.mark.parametrize(
    ("item", "asked", "changes"),
    [
        ("security groups for pods", {}, with_env(ENABLE_POD_ENI="true")),
        (
            "custom networking",
            {"network__podSubnetIds": ["subnet-p"], "network__securityGroupIds": ["sg-9"]},
            with_env(AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG="true")
            | with_custom(eniconfigs=[named("a", spec={"subnet": "subnet-p", "securityGroups": ["sg-9"]})]),
        ),
        ("prefix delegation", {}, with_env(ENABLE_PREFIX_DELEGATION="true")),
        ("egress source", {}, with_env(AWS_VPC_K8S_CNI_EXTERNALSNAT="true")),
        ("egress source", {"cilium__egressSource": "pod"}, {}),
        ("Calico", {}, with_custom(installations=[]) | with_daemonset()),
        (
            "self-managed groups",
            {},
            {
                "nodes": [node(1), node(7, {"eks.amazonaws.com/nodegroup": ""})],
                "scaling_group_of": {"i-1": "eks-general", "i-7": "old-asg"},
                "scaling_groups": {"old-asg": {"DesiredCapacity": 1, "MinSize": 0, "MaxSize": 3}},
            },
        ),
        ("Karpenter", {}, with_custom(nodepools=[named("spot", spec={"limits": {"cpu": "0"}})])),
        ("Cluster Autoscaler", {}, {"deployments": [named("cluster-autoscaler", "kube-system", spec={"replicas": 1})]}),
        ("old kernels", {}, {"nodes": [node(1, kernel="5.4.1-generic")]}),
        ("nodes in public subnets", {}, {"route_tables": [{"Associations": [{"Main": True}], **ROUTE_OUT}]}),
        ("metadata hop limit", {}, {"templates": {"general": {"MetadataOptions": {"HttpPutResponseHopLimit": 1}}}}),
        (
            "meshes that chain CNIs",
            {"cilium__values": {"cni": {"exclusive": False}}},
            with_daemonset(daemonset("istio-system", "istio-cni-node", "install:1")),
        ),
        ("webhooks that fail closed", {}, {"webhooks": [named("gate", webhooks=[{"name": "a.b.c"}])]}),
        ("Pod Identity", {}, with_daemonset(daemonset("kube-system", "eks-pod-identity-agent", "agent:1"))),
    ],
)
def test_what_the_journey_can_carry_says_how(item, asked, changes):
    if changes.get("deployments"):
        changes["deployments"][0]["status"] = {"availableReplicas": 1}
    decision = decisions(asked, **changes)[item]
    assert decision.verdict is Verdict.HANDLED
    assert decision.reason


def test_pods_that_leave_with_their_own_address_are_refused_in_public_subnets():
    public = {"route_tables": [{"Associations": [{"Main": True}], **ROUTE_OUT}]}
    found = decisions({"cilium__egressSource": "pod"}, **public)["nodes in public subnets"]
    assert found.verdict is Verdict.REFUSED


def test_a_webhook_that_lets_pass_when_it_is_away_is_no_concern():
    hook = named("gate", webhooks=[{"name": "a.b.c", "failurePolicy": "Ignore"}])
    assert decisions(webhooks=[hook])["webhooks that fail closed"].verdict is Verdict.ABSENT


def test_a_cluster_without_calico_has_nothing_to_carry_over():
    found = decisions(daemonsets=[aws_node(), PROXY], custom={})
    assert found["Calico"].verdict is Verdict.ABSENT


def test_whatever_is_absent_says_where_it_was_looked_for():
    absent = [d for d in decisions().values() if d.verdict is Verdict.ABSENT]
    assert absent
    assert all(len(d.found) > len("none: ") for d in absent)


CILIUM = daemonset("kube-system", "cilium", "quay.io/cilium/cilium:v1.20.2")
CILIUM["spec"]["template"]["spec"] |= {"volumes": [{"name": "cni", "hostPath": {"path": "/etc/cni/net.d"}}]}
CILIUM["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = [{"name": "cni"}]
RELEASE = {"meta.helm.sh/release-name": "cilium", "meta.helm.sh/release-namespace": "kube-system"}


@pytest.mark.parametrize(
    ("begun", "marks", "verdict"),
    [
        (False, RELEASE, Verdict.REFUSED),
        (True, RELEASE, Verdict.ABSENT),
        (True, {}, Verdict.REFUSED),
    ],
)
def test_what_the_journey_adds_itself_is_counted_only_before_it_has_begun(begun, marks, verdict):
    live = {**CILIUM, "metadata": {**CILIUM["metadata"], "annotations": marks}}
    canary = dict(gathered().nodegroups[0]) | {"nodegroupName": "canary", "resources": {}}
    now = gathered(**with_daemonset(live), nodegroups=[*gathered().nodegroups, canary])
    found = {d.item: d.verdict for d in decide(seen_of(now, settings(), begun=begun))}
    assert found["several CNIs"] is verdict
    assert (found["names of node groups"] is Verdict.REFUSED) is not begun


@pytest.mark.parametrize(
    ("stage", "adopted", "lacking"),
    [
        ("baseline", True, set()),
        ("canary", True, set()),
        ("canary", False, {"VPC CNI", "IAM OIDC provider", "names of node groups"}),
        ("retire-legacy", True, {"VPC CNI"}),
    ],
)
def test_each_gate_asks_the_decisions_that_still_matter(stage, adopted, lacking):
    seen = seen_of(gathered(), settings(), begun=True)
    asked = {d.item for d in decide(seen, mattering(REPLACE[stage], adopted=adopted))}
    assert {d.item for d in decide(seen)} - asked == lacking


def test_what_calico_alone_can_do_is_asked_until_calico_goes():
    seen = seen_of(gathered(**with_custom(hostendpoints=[named("eth0")])), settings(), begun=True)
    found = decide(seen, mattering(REPLACE["retire-calico"], adopted=True))
    assert [d.item for d in found if d.verdict is Verdict.REFUSED] == ["Calico host endpoints"]
