"""A table of Cilium's decisions. The real engine is asked about the same semantics in tests/engine."""

# ruff: noqa: PLC0415, RUF043

from __future__ import annotations

import pytest

from netpol import CiliumOptions, Flow, UndecidableError, decide
from netpol.compare.cilium_rows import CiliumRows
from netpol.compare.sets import bits, union
from netpol.compare.universe import Universe
from netpol.model.identity import in_identity
from tests.unit.netpol.worlds import allows, ccnp, cilium, cnp, docs, knp

OUT = "8.8.8.8"

CASES = {
    "no policy allows": ("", "red/web", OUT, "TCP", 80, True),
    "a rule that allows nothing isolates": (ccnp("{endpointSelector: {}, egress: [{}]}"), "red/web", OUT, "TCP", 80, False),
    "an allow allows": (
        ccnp("{endpointSelector: {}, egress: [{toEntities: [world]}]}"), "red/web", OUT, "TCP", 80, True,
    ),
    "a deny beats an allow": (
        ccnp("{endpointSelector: {}, egress: [{toEntities: [all]}], egressDeny: [{toCIDR: [8.8.8.0/24]}]}"),
        "red/web", OUT, "TCP", 80, False,
    ),
    "a deny alone switches default deny on": (
        ccnp("{endpointSelector: {}, egressDeny: [{toCIDR: [9.9.9.9/32]}]}"), "red/web", OUT, "TCP", 80, False,
    ),
    "unless it is switched off": (
        ccnp("{endpointSelector: {}, enableDefaultDeny: {egress: false}, egressDeny: [{toCIDR: [9.9.9.9/32]}]}"),
        "red/web", OUT, "TCP", 80, True,
    ),
    "a CIDR rule does not find pods": (
        ccnp("{endpointSelector: {}, egress: [{toCIDR: [10.0.0.0/8]}]}"), "red/web", "red/db", "TCP", 80, False,
    ),
    "nor nodes": (
        ccnp("{endpointSelector: {}, egress: [{toCIDR: [10.0.0.0/8]}]}"), "red/web", "node:n2", "TCP", 80, False,
    ),
    "an ipBlock does not find pods": (
        knp("{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}"),
        "red/web", "red/db", "TCP", 80, False,
    ),
    "except cuts out": (
        ccnp("{endpointSelector: {}, egress: [{toCIDRSet: [{cidr: 8.0.0.0/8, except: [8.8.8.0/24]}]}]}"),
        "red/web", OUT, "TCP", 80, False,
    ),
    "cluster holds pods": (
        ccnp("{endpointSelector: {}, egress: [{toEntities: [cluster]}]}"), "red/web", "red/db", "TCP", 80, True,
    ),
    "cluster holds nodes": (
        ccnp("{endpointSelector: {}, egress: [{toEntities: [cluster]}]}"), "red/web", "node:n2", "TCP", 80, True,
    ),
    "host is the own node": (
        ccnp("{endpointSelector: {}, egress: [{toEntities: [host]}]}"), "red/web", "node:n1", "TCP", 80, True,
    ),
    "and no other": (
        ccnp("{endpointSelector: {}, egress: [{toEntities: [host]}]}"), "red/web", "node:n2", "TCP", 80, False,
    ),
    "the Pod Identity agent is host": (
        ccnp("{endpointSelector: {}, egress: [{toEntities: [host]}]}"), "red/web", "169.254.170.23", "TCP", 80, True,
    ),
    "metadata is world": (
        ccnp("{endpointSelector: {}, egress: [{toEntities: [world]}]}"), "red/web", "169.254.169.254", "TCP", 80, True,
    ),
    "the own node gets in": (ccnp("{endpointSelector: {}, ingress: [{}]}"), "node:n1", "red/web", "TCP", 80, True),
    "unless it is denied": (
        ccnp("{endpointSelector: {}, ingressDeny: [{fromEntities: [host]}]}"), "node:n1", "red/web", "TCP", 80, False,
    ),
    "another node does not get in": (
        ccnp("{endpointSelector: {}, ingress: [{}]}"), "node:n2", "red/web", "TCP", 80, False,
    ),
    "a namespaced selector stays in the namespace": (
        cnp("{endpointSelector: {}, ingress: [{fromEndpoints: [{matchLabels: {app: web}}]}]}"),
        "blue/web", "red/db", "TCP", 80, False,
    ),
    "unless it names another": (
        cnp(
            "{endpointSelector: {}, ingress: [{fromEndpoints: [{matchLabels: {'k8s:io.kubernetes.pod.namespace': blue}}]}]}"
        ),
        "blue/web", "red/db", "TCP", 80, True,
    ),
    "or a namespace's labels": (
        cnp(
            "{endpointSelector: {}, ingress: [{fromEndpoints: "
            "[{matchLabels: {'k8s:io.cilium.k8s.namespace.labels.env': dev}}]}]}"
        ),
        "blue/web", "red/db", "TCP", 80, True,
    ),
    "an empty selector of a clusterwide policy finds pods only": (
        ccnp("{endpointSelector: {}, egress: [{toEndpoints: [{}]}]}"), "red/web", OUT, "TCP", 80, False,
    ),
    "an empty list of peers finds nobody": (
        ccnp("{endpointSelector: {}, egress: [{toEndpoints: []}]}"), "red/web", "red/db", "TCP", 80, False,
    ),
    "ports without peers are for everybody": (
        ccnp('{endpointSelector: {}, egress: [{toPorts: [{ports: [{port: "80"}]}]}]}'), "red/web", OUT, "TCP", 80, True,
    ),
    "ANY is TCP, UDP and SCTP": (
        ccnp('{endpointSelector: {}, egress: [{toPorts: [{ports: [{port: "0"}]}]}]}'), "red/web", OUT, "ICMP", 0, False,
    ),
    "no ports is every protocol": (
        ccnp("{endpointSelector: {}, egress: [{toEntities: [world]}]}"), "red/web", OUT, "47", 0, True,
    ),
    "a range": (
        ccnp('{endpointSelector: {}, egress: [{toPorts: [{ports: [{port: "80", endPort: 90, protocol: TCP}]}]}]}'),
        "red/web", OUT, "TCP", 85, True,
    ),
    "a named port is the destination's": (
        ccnp("{endpointSelector: {}, egress: [{toPorts: [{ports: [{port: http, protocol: TCP}]}]}]}"),
        "red/web", "red/db", "TCP", 5432, True,
    ),
    "a label outside identities finds nobody": (
        ccnp("{endpointSelector: {matchLabels: {pod-template-hash: abc}}, egress: [{}]}"), "red/web", OUT, "TCP", 80, True,
    ),
    "a service by name is its pods": (
        ccnp("{endpointSelector: {}, egress: [{toServices: [{k8sService: {serviceName: db, namespace: red}}]}]}"),
        "red/web", "red/db", "TCP", 80, True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_cilium_decides(name):
    policies, source, destination, protocol, port, expected = CASES[name]
    assert allows(cilium(policies), source, destination, protocol, port) is expected


def test_cidr_match_mode_finds_nodes_and_pods():
    policies = ccnp("{endpointSelector: {}, egress: [{toCIDR: [10.0.0.0/8]}]}")
    options = CiliumOptions(cidr_match_nodes=True, cidr_match_pods=True)
    where = cilium(policies, cilium=options)
    assert allows(where, "red/web", "node:n2")
    assert allows(where, "red/web", "red/db")


@pytest.mark.parametrize(
    ("peers", "own", "agent", "other"),
    [
        # The own node is one identity: whichever address of it a rule finds, it finds them all.
        ("toCIDR: [10.1.0.1/32]", True, True, False),
        ("toCIDR: [169.254.170.23/32]", True, True, False),
        ("toCIDR: [10.1.0.2/32]", False, False, True),
        ("toCIDRSet: [{cidr: 10.1.0.0/16, except: [10.1.0.1/32]}]", False, False, True),
        # No node is of the world.
        ("toCIDR: [0.0.0.0/0]", False, False, False),
        ("toCIDRSet: [{cidr: 0.0.0.0/0, except: [10.9.0.0/16]}]", False, False, False),
    ],
)
def test_cidrs_that_find_nodes_find_the_own_one_by_any_of_its_addresses(peers, own, agent, other):
    policies = ccnp(f"{{endpointSelector: {{}}, egress: [{{{peers}}}]}}")
    where = cilium(policies, cilium=CiliumOptions(cidr_match_nodes=True))
    reached = [allows(where, "red/web", end) for end in ("node:n1", "169.254.170.23", "node:n2")]
    assert reached == [own, agent, other]
    universe = Universe((where, where))
    rows = CiliumRows(universe, 0)
    (web,) = (i for i, c in enumerate(universe.classes) if str(c.pods[0]) == "red/web")
    allowed = union(mask for _, mask in rows.row(web, "egress")) & universe.reachable(web, 4)
    seen = {str(universe.peers[i].addresses[0]) for i in bits(allowed) if universe.peers[i].kind != "pod"}
    ends = ("10.1.0.1", "169.254.170.23", "10.1.0.2")
    assert [e in seen for e in ends] == [own, agent, other]


def test_the_apiserver_is_world_and_an_entity_of_its_own():
    import ipaddress

    policies = ccnp("{endpointSelector: {}, egress: [{toEntities: [kube-apiserver]}]}")
    server = (ipaddress.ip_network("10.9.0.1/32"),)
    assert allows(cilium(policies, apiserver=server), "red/web", "10.9.0.1")
    assert not allows(cilium(policies), "red/web", "10.9.0.1")


def test_cluster_policies_stand_around_the_others():
    admin = (
        "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: k}\n"
        "spec: {tier: TIER, priority: 1, subject: {namespaces: {}}, egress: [{action: ACTION, to: [{networks: [8.8.8.0/24]}]}]}"
    )
    isolated = knp("{podSelector: {}, policyTypes: [Egress]}")
    on = CiliumOptions(cluster_policies=True)
    accept = admin.replace("TIER", "Admin").replace("ACTION", "Accept")
    assert allows(cilium(docs(isolated, accept), cilium=on), "red/web", OUT)
    assert not allows(cilium(docs(isolated, accept)), "red/web", OUT)
    deny = admin.replace("TIER", "Baseline").replace("ACTION", "Deny")
    assert not allows(cilium(deny, cilium=on), "red/web", OUT)
    passed = admin.replace("TIER", "Admin").replace("ACTION", "Pass")
    assert not allows(cilium(docs(isolated, passed), cilium=on), "red/web", OUT)


@pytest.mark.parametrize("rule", ["toFQDNs: [{matchName: a.b}]", "toGroups: [{aws: {}}]", "toNodes: [{}]"])
def test_what_is_learnt_at_run_time_is_not_guessed(rule):
    with pytest.raises(UndecidableError, match="run time|DNS answers|off by default"):
        decide(cilium(ccnp("{endpointSelector: {}, egress: [{" + rule + "}]}")), Flow.of("red/web", OUT))


@pytest.mark.parametrize(
    ("key", "kept"),
    [
        ("app", True),
        ("app.kubernetes.io/name", True),
        ("kubernetes.io/metadata.name", False),
        ("topology.kubernetes.io/zone", False),
        ("pod-template-hash", False),
        ("io.kubernetes.pod.namespace", True),
        ("io.kubernetes.other", False),
        ("io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name", True),
    ],
)
def test_the_default_filter_of_identity_labels(key, kept):
    assert in_identity(key) is kept
