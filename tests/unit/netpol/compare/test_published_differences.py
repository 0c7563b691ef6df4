"""The differences that are published between engines that police by address and those that police by identity.

Each in a small world: the proof finds it, and the flow that it shows is the published one. (AKS, on the way from its
own engine to Cilium, names these five.)
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from netpol import CiliumOptions, Flow, UndecidableError, World, decide
from netpol.compare import graded
from netpol.compare.future import prove_future
from netpol.compare.prove import Counterexample, Equality, Grade, prove
from tests.unit.netpol.worlds import allows, calico, cilium, cnp, docs, knp

OLD = CiliumOptions(version=(1, 19))
EGRESS = "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [%s]}"
RANGE = knp("{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 32000, endPort: 32768}]}]}")
NAMED = knp(EGRESS % "{to: [{podSelector: {}}], ports: [{port: http}]}")


def old(where: World) -> World:
    return replace(where, cilium=OLD)


def shown(before: World, after: World) -> list[Counterexample]:
    proof = prove(before, after, most=50)
    assert proof.verdict is Equality.DIFFERENT
    return list(proof.differences)


def test_an_end_port_that_is_not_read_is_one_port():
    first_only = calico(RANGE), cilium(RANGE.replace(", endPort: 32768", ""))
    for example in shown(*first_only):
        assert 32000 < example.packet.port <= 32768
        assert "red/db" in example.destination
        assert example.before.allowed
        assert not example.after.allowed
    assert prove(calico(RANGE), cilium(RANGE)).equal


@pytest.mark.parametrize("block", ["0.0.0.0/0", "10.0.0.0/8"])
def test_a_block_that_covers_pods_and_nodes_finds_neither(block):
    policies = knp(EGRESS % f"{{to: [{{ipBlock: {{cidr: {block}}}}}]}}")
    found = shown(calico(policies), cilium(policies))
    assert all(e.before.allowed and not e.after.allowed for e in found)
    assert {e.source for e in found} == {"pod red/web on node n1 at 10.0.0.1"}
    # One of each kind: a pod, and a node.
    assert any("pod " in e.destination for e in found)
    for end in ("red/db", "blue/web", "node:n1", "node:n2"):
        assert allows(calico(policies), "red/web", end)
        assert not allows(cilium(policies), "red/web", end)
    assert allows(cilium(policies), "red/web", "8.8.8.8" if block == "0.0.0.0/0" else "10.9.9.9")


def test_one_port_name_for_two_numbers_is_none_before_1_20():
    (example, *_) = shown(calico(NAMED), old(cilium(NAMED)))
    assert (example.before.allowed, example.after.allowed) == (True, False)
    assert "red/db" in example.destination
    assert example.packet.port == 5432
    assert prove(calico(NAMED), cilium(NAMED)).equal


def test_egress_to_the_own_node_is_by_the_block_in_one_and_by_host_in_the_other():
    policies = knp(EGRESS % "{to: [{ipBlock: {cidr: 10.1.0.0/24}}]}")
    found = shown(calico(policies), cilium(policies))
    assert "its own node n1" in "".join(e.destination for e in found)
    host = cnp("{endpointSelector: {matchLabels: {app: web}}, egress: [{toEntities: [host]}]}")
    assert allows(cilium(docs(policies, host)), "red/web", "node:n1")
    assert not allows(cilium(docs(policies, host)), "red/web", "node:n2")


def test_a_node_port_with_policy_cluster_shows_the_node_which_no_block_finds():
    policies = knp("{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}")
    found = shown(calico(policies), cilium(policies))
    assert any(e.source.startswith("remote node n1") and e.before.allowed and not e.after.allowed for e in found)
    by_node_port = Flow.of("8.8.8.8", "service:red/db@n1", "TCP", 30432)
    assert decide(calico(policies), by_node_port).allowed
    assert not decide(cilium(policies), by_node_port).allowed
    # At the backend's own node the client is still seen.
    assert decide(cilium(policies), Flow.of("8.8.8.8", "service:red/db@n2", "TCP", 30432)).allowed


# --- port names before 1.20, in every corner
def test_a_name_that_all_declare_alike_is_that_number_for_every_peer_before_1_20():
    where = cilium(NAMED)
    same = replace(where, pods=tuple(replace(p, ports=where.pods[0].ports) if p.ports else p for p in where.pods))
    everywhere = replace(same, pods=tuple(p if p.ports else replace(p, namespace="red") for p in same.pods))
    assert allows(old(everywhere), "red/web", "red/db", port=8080)
    assert not allows(old(everywhere), "red/web", "red/db", port=5432)
    block = cilium(knp(EGRESS % "{to: [{ipBlock: {cidr: 8.8.8.0/24}}], ports: [{port: dns, protocol: UDP}]}"))
    assert allows(old(block), "red/web", "8.8.8.8", "UDP", 53)
    assert not allows(block, "red/web", "8.8.8.8", "UDP", 53)


def test_a_name_on_ingress_is_the_pods_own_in_every_version():
    policies = knp("{podSelector: {}, ingress: [{ports: [{port: http}]}]}")
    for where in (cilium(policies), old(cilium(policies))):
        assert allows(where, "blue/web", "red/db", port=5432)
        assert allows(where, "blue/web", "red/web", port=8080)


def test_the_other_pods_of_a_name_have_to_be_known_before_1_20():
    before, after = calico(NAMED), old(cilium(NAMED))
    assert prove_future(before, after).verdict is Equality.UNDECIDED
    some = cilium(NAMED, whole=False)
    with pytest.raises(UndecidableError, match=r"port names of egress rules \(http\)"):
        allows(old(some), "red/web", "red/db", port=5432)


def test_port_names_before_1_20_are_bound_to_the_pods_given():
    dns = knp(EGRESS % "{to: [{podSelector: {}}], ports: [{port: dns, protocol: UDP}]}")
    proof = graded.prove(calico(dns), old(cilium(dns)))
    assert (proof.verdict, proof.grade) == (Equality.DIFFERENT, Grade.REFUSED)
    assert proof.counterexample is not None
    assert "red/db" in proof.counterexample.destination  # it has no port of this name, and 53 is open on it
    only_web = knp(EGRESS % "{to: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: dns, protocol: UDP}]}")
    assert graded.prove(calico(only_web), old(cilium(only_web))).grade is Grade.BOUND
    assert graded.prove(calico(only_web), cilium(only_web)).grade is Grade.EXACT
