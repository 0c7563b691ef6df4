"""Nodes of different kinds, flows by way of services and nodes, and what the bridge changes."""

# ruff: noqa: ANN003

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from netpol import Engine, Flow, Recognition, World, decide, spread
from netpol.compare.prove import prove
from tests.unit.netpol.worlds import allows, calico, ccnp, cilium, docs, gnp, knp, world

LEGACY: dict[str, Any] = {"engines": frozenset((Engine.CALICO,)), "recognised": Recognition.WORLD}
MOVED: dict[str, Any] = {"engines": frozenset((Engine.CILIUM,)), "recognised": Recognition.CILIUM}
OUT = "8.8.8.8"


def mixed(policies: str, *, bridge: bool = False, **options) -> World:
    """n1 (red/web) is a Cilium node, n2 (red/db, blue/web) a legacy one."""
    where = world(policies, **options)
    legacy = {**LEGACY, "recognised": Recognition.BRIDGE} if bridge else LEGACY
    return replace(where, nodes=tuple(replace(n, **(MOVED if n.name == "n1" else legacy)) for n in where.nodes))


FROM_DB = knp(
    "{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {matchLabels: {app: db}}}]}]}"
)
DENY_DB = ccnp(
    "{endpointSelector: {}, enableDefaultDeny: {ingress: false}, ingressDeny: [{fromEndpoints: [{matchLabels: {app: db}}]}]}"
)


def test_on_a_cilium_node_a_label_allow_drops_a_legacy_pod():
    verdict = decide(mixed(FROM_DB), Flow.of("red/db", "red/web"))
    assert not verdict.allowed
    assert "has no identity and is an address of the world" in str(verdict)


def test_on_a_cilium_node_a_label_deny_lets_a_legacy_pod_through():
    assert not allows(cilium(DENY_DB), "red/db", "red/web")
    assert allows(mixed(DENY_DB), "red/db", "red/web")


def test_the_bridge_closes_both_gaps():
    assert allows(mixed(FROM_DB, bridge=True), "red/db", "red/web")
    assert not allows(mixed(DENY_DB, bridge=True), "red/db", "red/web")


def test_calico_sees_pods_of_cilium_nodes():
    to_db = knp(
        "{podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}"
    )
    assert allows(mixed(to_db), "red/web", "red/db")


def test_bridging_takes_legacy_pods_out_of_blocks_and_of_the_world():
    block = knp(
        "{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress], ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}"
    )
    from_world = ccnp("{endpointSelector: {matchLabels: {app: web}}, ingress: [{fromEntities: [world]}]}")
    for policies in (block, from_world):
        assert allows(mixed(policies), "red/db", "red/web")
        assert not allows(mixed(policies, bridge=True), "red/db", "red/web")


def test_a_legacy_node_is_world_unless_it_has_an_identity_of_its_own():
    policies = ccnp("{endpointSelector: {}, ingress: [{fromEntities: [remote-node]}]}")
    where = mixed(policies, bridge=True)
    assert not allows(where, "node:n2", "red/web")
    nodes = tuple(replace(n, host_recognised=True) for n in where.nodes)
    assert allows(replace(where, nodes=nodes), "node:n2", "red/web")


def test_the_proof_shows_the_gap_and_that_the_bridge_closes_it():
    before = calico(FROM_DB)
    gap = prove(before, mixed(FROM_DB))
    assert not gap.equal
    assert gap.counterexample is not None
    assert "red/db" in gap.counterexample.source
    assert prove(before, mixed(FROM_DB, bridge=True)).equal


def test_spread_puts_every_pod_on_every_kind_of_node():
    # As placed, no flow between the two pods crosses the gap; wherever else they could run, one does.
    to_self = knp("{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {}}]}]}", namespace="blue")
    before, after = calico(to_self), mixed(to_self)
    assert prove(before, after).equal
    wide = spread(before, after)
    assert len(wide[0].pods) == 2 * len(before.pods)
    proof = prove(*wide)
    assert not proof.equal
    assert proof.counterexample is not None
    assert "@n" in proof.counterexample.source
    assert prove(*spread(before, mixed(to_self, bridge=True))).equal


def test_two_engines_on_a_node_must_both_allow():
    policies = docs(gnp("{selector: app == 'web', types: [Egress]}"), ccnp("{endpointSelector: {}, ingress: [{}]}"))
    chained = world(policies).enforced_by("calico", "cilium")
    assert not allows(chained, "red/web", OUT)
    assert not allows(chained, OUT, "red/db")
    assert {d.engine for d in decide(chained, Flow.of("red/db", OUT)).decided_by} == {
        Engine.CALICO,
        Engine.CILIUM,
    }


def test_nothing_enforces_where_no_engine_is():
    assert allows(world(gnp("{types: [Ingress, Egress]}")), "red/web", "red/db")


# --- services and node ports
ONLY_CLIENT = gnp("{selector: app == 'db', ingress: [{action: Allow, source: {nets: [8.8.8.8/32]}}]}")
ONLY_NODES = gnp("{selector: app == 'db', ingress: [{action: Allow, source: {nets: [10.1.0.0/24]}}]}")


def test_a_service_is_decided_after_translation():
    where = calico(
        gnp("{selector: app == 'web', egress: [{action: Allow, protocol: TCP, destination: {ports: [5432]}}]}")
    )
    verdict = decide(where, Flow.of("red/web", "service:red/db", "TCP", 5432))
    assert verdict.allowed
    assert "pod red/db" in verdict.paths[0].destination
    assert verdict.paths[0].packet.port == 5432


def test_a_rule_for_the_cluster_address_never_matches():
    where = calico(gnp("{selector: app == 'web', egress: [{action: Allow, destination: {nets: [172.20.0.10/32]}}]}"))
    assert not decide(where, Flow.of("red/web", "service:red/db", "TCP", 5432)).allowed


@pytest.mark.parametrize(
    ("policies", "via", "local", "expected"),
    [
        (ONLY_CLIENT, "n2", False, True),  # the backend's own node: the client is still seen
        (ONLY_CLIENT, "n1", False, False),  # passed on by n1: n1 is seen
        (ONLY_NODES, "n1", False, True),
        (ONLY_NODES, "n2", False, False),
        (ONLY_CLIENT, "n2", True, True),
    ],
)
def test_a_node_port_shows_the_client_or_the_node(policies, via, local, expected):
    where = calico(policies)
    where = replace(where, services=tuple(replace(s, local=local) for s in where.services))
    assert decide(where, Flow.of(OUT, f"service:red/db@{via}", "TCP", 30432)).allowed is expected


def test_with_policy_local_other_nodes_have_no_backend():
    where = calico("")
    where = replace(where, services=tuple(replace(s, local=True) for s in where.services))
    with pytest.raises(ValueError, match="no backend"):
        decide(where, Flow.of(OUT, "service:red/db@n1", "TCP", 30432))


def test_under_cilium_a_passed_on_connection_is_from_a_remote_node():
    policies = ccnp("{endpointSelector: {matchLabels: {app: db}}, ingress: [{fromEntities: [world]}]}")
    assert decide(cilium(policies), Flow.of(OUT, "service:red/db@n2", "TCP", 30432)).allowed
    assert not decide(cilium(policies), Flow.of(OUT, "service:red/db@n1", "TCP", 30432)).allowed


def test_a_host_network_pod_is_its_node():
    where = calico(gnp("{selector: app == 'web', types: [Ingress]}"))
    pods = tuple(replace(p, host_network=p.name == "db") for p in where.pods)
    assert not decide(replace(where, pods=pods), Flow.of("red/db", "red/web")).allowed
    same_node = tuple(replace(p, node="n1") for p in pods)
    assert decide(replace(where, pods=same_node), Flow.of("red/db", "red/web")).allowed
