"""Policy on hosts is no policy on pods: what it may touch is said, never decided as if pods saw it."""

from __future__ import annotations

import pytest

from netpol import Engine, UndecidableError, lint, prove, prove_future, translate
from tests.unit.netpol.worlds import allows, calico, ccnp, docs, gnp, knp, world

OUT = "8.8.8.8"


def endpoint(
    node: str = "n1", interface: str = "eth0", labels: str = "role: edge", name: str = "h", profile: str = ""
) -> str:
    return (
        f"apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n"
        f"spec: {{node: {node}, interfaceName: '{interface}', profiles: [{profile}]}}\n"
    )


NODE_PORTS = gnp(
    "{selector: all(), order: 1, preDNAT: true, applyOnForward: true, ingress: ["
    "{action: Allow, source: {nets: [10.0.0.0/8]}}, "
    "{action: Deny, protocol: TCP, destination: {ports: ['30000:32767']}}]}",
    "node-ports",
)
UNTRACKED = gnp(
    "{selector: role == 'edge', doNotTrack: true, applyOnForward: true, types: [Ingress, Egress]}", "untracked"
)
FORWARD = gnp("{selector: role == 'edge', applyOnForward: true, types: [Ingress, Egress]}", "forward")
FLOWS = [("red/web", "red/db"), ("red/web", OUT), (OUT, "red/web"), ("red/db", "red/web")]


@pytest.mark.parametrize("policy", [NODE_PORTS, UNTRACKED])
def test_pods_never_see_a_policy_for_hosts_only(policy):
    alone = calico(policy)
    assert all(allows(alone, *flow, port=30080) for flow in FLOWS)
    isolated = knp("{podSelector: {}, policyTypes: [Ingress]}")
    assert not allows(calico(docs(policy, isolated)), "red/db", "red/web")


def test_what_a_host_endpoint_forwards_counts_at_pods_as_well():
    both = gnp("{selector: app == 'web' || role == 'edge', applyOnForward: true, types: [Egress]}")
    assert not allows(calico(both), "red/web", OUT)


@pytest.mark.parametrize("policy", [NODE_PORTS, UNTRACKED, FORWARD])
@pytest.mark.parametrize("flow", FLOWS)
def test_a_flow_that_passes_a_policed_host_endpoint_is_undecidable(policy, flow):
    with pytest.raises(UndecidableError, match="HostEndpoint h of node n1"):
        allows(calico(docs(policy, endpoint())), *flow)


def test_a_node_that_is_entered_by_its_ports_is_looked_at_as_well():
    where = calico(docs(NODE_PORTS, endpoint("n1")))
    with pytest.raises(UndecidableError, match="by way of node n1"):
        allows(where, OUT, "service:red/db@n1", port=30432)
    assert allows(where, OUT, "service:red/db@n2", port=30432)


def test_flows_that_no_policed_host_endpoint_sees_are_decided():
    where = calico(docs(FORWARD, endpoint()))
    assert allows(where, "blue/web", "red/db"), "both on n2"
    assert allows(where, "red/db", OUT)
    unlabelled = calico(docs(FORWARD, endpoint(labels="role: other")))
    assert all(allows(unlabelled, *flow) for flow in FLOWS)
    tracked = calico(docs(gnp("{selector: role == 'edge', types: [Ingress]}"), endpoint()))
    assert all(allows(tracked, *flow) for flow in FLOWS), "without applyOnForward what is forwarded passes"
    cilium = world(docs(FORWARD, endpoint())).enforced_by(Engine.CILIUM)
    assert all(allows(cilium, *flow) for flow in FLOWS)


def test_an_endpoint_on_every_interface_may_see_flows_within_its_node():
    with pytest.raises(UndecidableError, match="applyOnForward"):
        allows(calico(docs(FORWARD, endpoint("n2", "*"))), "blue/web", "red/db")


def test_an_endpoint_of_a_node_that_is_not_given_may_be_on_any():
    with pytest.raises(UndecidableError, match="of node n9"):
        allows(calico(docs(FORWARD, endpoint("n9"))), "red/db", OUT)


def test_each_endpoint_of_a_node_counts_and_has_the_labels_of_its_profiles():
    profile = (
        "apiVersion: projectcalico.org/v3\nkind: Profile\nmetadata: {name: p}\nspec: {labelsToApply: {role: edge}}\n"
    )
    second = endpoint(name="i", interface="eth1", labels="", profile="p")
    with pytest.raises(UndecidableError, match="HostEndpoint i"):
        allows(calico(docs(FORWARD, profile, second, endpoint(labels="a: b"))), "red/web", OUT)


@pytest.mark.parametrize("policy", [NODE_PORTS, UNTRACKED, FORWARD])
def test_a_proof_does_not_pass_over_what_is_forwarded(policy):
    before = calico(docs(policy, endpoint()))
    for ask in (prove, prove_future):
        with pytest.raises(UndecidableError, match="HostEndpoint h"):
            ask(before, before)
    alone = calico(policy)
    proof = prove(alone, alone.with_policies(()))
    assert proof.equal
    assert ["none that it selects is given" in a for a in proof.assumptions].count(True) == 1


@pytest.mark.parametrize("policies", [NODE_PORTS, UNTRACKED, docs(NODE_PORTS, endpoint()), docs(FORWARD, endpoint())])
def test_a_translation_refuses_policy_on_hosts_by_name_and_writes_nothing_of_it_for_pods(policies):
    result = translate(world(policies))
    assert not result.complete
    assert any(
        r.policy.startswith("GlobalNetworkPolicy ") and "no exact counterpart" in r.reason for r in result.refused
    )
    assert all("leave it out" in r.reason for r in result.refused)
    assert [m for m in result.manifests if "node-ports" in m["metadata"]["name"]] == []


def test_lint_never_advises_to_remove_what_polices_a_host():
    for policies in (docs(NODE_PORTS, endpoint()), docs(UNTRACKED, endpoint()), docs(FORWARD, endpoint())):
        found = {f.code for f in lint(world(policies))}
        assert "selects-nothing" not in found
        assert found & {"hosts-only", "host-endpoint"}
    plain = docs(gnp("{selector: role == 'edge', types: [Ingress]}"), endpoint())
    assert "selects-nothing" not in {f.code for f in lint(world(plain))}


def test_a_cilium_world_is_not_asked_about_calicos_hosts():
    same = world(docs(FORWARD, endpoint(), ccnp("{endpointSelector: {}, ingress: [{}]}"))).enforced_by("cilium")
    assert prove(same, same).equal
