"""A table of Calico's decisions, written from its documented and published behaviour."""

# ruff: noqa: PLC0415

from __future__ import annotations

import pytest

from netpol import Flow, UndecidableError, decide
from tests.unit.netpol.worlds import allows, calico, docs, gnp, knp, np, tier

OUT, HOST = "8.8.8.8", "node:n1"
SET = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {name: s, labels: {role: partner}}\nspec: {nets: [8.8.8.0/24]}"
POD_SET = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {name: s, labels: {role: partner}}\nspec: {nets: [10.0.0.2/32]}"
OWN_SET = "apiVersion: projectcalico.org/v3\nkind: NetworkSet\nmetadata: {name: s, namespace: red, labels: {role: partner}}\nspec: {nets: [8.8.8.0/24]}"

# policies, source, destination, protocol, port, allowed
CASES = {
    "no policy allows": ("", "red/web", OUT, "TCP", 80, True),
    "a policy that governs a direction ends in deny": (gnp("{types: [Egress]}"), "red/web", OUT, "TCP", 80, False),
    "a policy of the other direction does not": (gnp("{types: [Ingress]}"), "red/web", OUT, "TCP", 80, True),
    "an allow allows": (gnp("{egress: [{action: Allow}]}"), "red/web", OUT, "TCP", 80, True),
    "rules are read from the top": (
        gnp("{egress: [{action: Deny}, {action: Allow}]}"), "red/web", OUT, "TCP", 80, False,
    ),
    "log goes on": (gnp("{egress: [{action: Log}, {action: Allow}]}"), "red/web", OUT, "TCP", 80, True),
    "the lower order decides": (
        docs(gnp("{order: 2, egress: [{action: Deny}]}", "a"), gnp("{order: 1, egress: [{action: Allow}]}", "b")),
        "red/web", OUT, "TCP", 80, True,
    ),
    "no order comes last": (
        docs(gnp("{egress: [{action: Deny}]}", "a"), gnp("{order: 99999, egress: [{action: Allow}]}", "b")),
        "red/web", OUT, "TCP", 80, True,
    ),
    "equal orders go by name": (
        docs(gnp("{order: 1, egress: [{action: Deny}]}", "a"), gnp("{order: 1, egress: [{action: Allow}]}", "b")),
        "red/web", OUT, "TCP", 80, False,
    ),
    "a NetworkPolicy has order 1000": (
        docs(
            knp("{podSelector: {}, policyTypes: [Egress]}"),
            gnp("{order: 1001, egress: [{action: Allow}]}", "z"),
        ),
        "red/web", OUT, "TCP", 80, True,
    ),
    "an earlier deny beats a NetworkPolicy": (
        docs(
            knp("{podSelector: {}, policyTypes: [Egress], egress: [{}]}"), gnp("{order: 999, egress: [{action: Deny}]}")
        ),
        "red/web", OUT, "TCP", 80, False,
    ),
    "a later deny does not": (
        docs(
            knp("{podSelector: {}, policyTypes: [Egress], egress: [{}]}"), gnp("{order: 1001, egress: [{action: Deny}]}")
        ),
        "red/web", OUT, "TCP", 80, True,
    ),
    "a tier of lower order decides first": (
        docs(tier("first", 1), gnp("{tier: first, egress: [{action: Deny}]}"), gnp("{egress: [{action: Allow}]}", "h")),
        "red/web", OUT, "TCP", 80, False,
    ),
    "pass goes to the next tier": (
        docs(tier("first", 1), gnp("{tier: first, egress: [{action: Pass}]}"), gnp("{egress: [{action: Allow}]}", "h")),
        "red/web", OUT, "TCP", 80, True,
    ),
    "pass skips the rest of its tier": (
        docs(
            tier("first", 1),
            gnp("{tier: first, order: 1, egress: [{action: Pass}]}"),
            gnp("{tier: first, order: 2, egress: [{action: Deny}]}", "h"),
        ),
        "red/web", OUT, "TCP", 80, True,
    ),
    "a tier ends in deny although later ones allow": (
        docs(tier("first", 1), gnp("{tier: first, types: [Egress]}"), gnp("{egress: [{action: Allow}]}", "h")),
        "red/web", OUT, "TCP", 80, False,
    ),
    "a tier may end in pass": (
        docs(tier("first", 1, "Pass"), gnp("{tier: first, types: [Egress]}"), gnp("{egress: [{action: Allow}]}", "h")),
        "red/web", OUT, "TCP", 80, True,
    ),
    "pass from the last tier meets the profile": (gnp("{egress: [{action: Pass}]}"), "red/web", OUT, "TCP", 80, True),
    "a tier that does not select the pod is skipped": (
        docs(tier("first", 1), gnp("{tier: first, selector: app == 'db', types: [Egress]}")),
        "red/web", OUT, "TCP", 80, True,
    ),
    "a tier that does not exist comes last": (
        docs(gnp("{tier: nowhere, egress: [{action: Deny}]}"), gnp("{egress: [{action: Allow}]}", "h")),
        "red/web", OUT, "TCP", 80, True,
    ),
    "a staged policy decides nothing": (
        gnp("{egress: [{action: Deny}]}").replace("GlobalNetworkPolicy", "StagedGlobalNetworkPolicy"),
        "red/web", OUT, "TCP", 80, True,
    ),
    "both ends must allow": (gnp("{selector: app == 'db', types: [Ingress]}"), "red/web", "red/db", "TCP", 80, False),
    "a namespaced policy stays in its namespace": (np("{types: [Egress]}"), "blue/web", OUT, "TCP", 80, True),
    "nets hold pods": (
        gnp("{egress: [{action: Allow, destination: {nets: [10.0.0.0/24]}}]}"), "red/web", "red/db", "TCP", 80, True,
    ),
    "nets hold nodes": (
        gnp("{egress: [{action: Allow, destination: {nets: [10.1.0.0/24]}}]}"), "red/web", "node:n2", "TCP", 80, True,
    ),
    "nets of which notNets is a part": (
        gnp("{egress: [{action: Allow, destination: {nets: [8.0.0.0/8], notNets: [8.8.8.0/24]}}]}"),
        "red/web", OUT, "TCP", 80, False,
    ),
    "a rule with notNets of the other family does not exist": (
        gnp("{egress: [{action: Allow, destination: {notNets: ['2001:db8::/32']}}]}"), "red/web", OUT, "TCP", 80, False,
    ),
    "selector and nets both must hold": (
        gnp("{egress: [{action: Allow, destination: {selector: app == 'db', nets: [10.0.1.0/24]}}]}"),
        "red/web", "red/db", "TCP", 80, False,
    ),
    "a namespaced selector means its own namespace": (
        np("{egress: [{action: Allow, destination: {selector: app == 'web'}}]}"), "red/db", "blue/web", "TCP", 80, False,
    ),
    "a namespaceSelector looks further": (
        np("{egress: [{action: Allow, destination: {selector: app == 'web', namespaceSelector: env == 'dev'}}]}"),
        "red/db", "blue/web", "TCP", 80, True,
    ),
    "a namespace by name": (
        np("{egress: [{action: Allow, destination: {namespaceSelector: projectcalico.org/name == 'blue'}}]}"),
        "red/db", "blue/web", "TCP", 80, True,
    ),
    "all() in a namespaceSelector means pods": (
        np("{egress: [{action: Allow, destination: {namespaceSelector: all()}}]}"), "red/db", OUT, "TCP", 80, False,
    ),
    "global() means what is in no namespace": (
        docs(SET, np("{egress: [{action: Allow, destination: {namespaceSelector: global()}}]}")),
        "red/db", OUT, "TCP", 80, True,
    ),
    "global() does not mean pods": (
        docs(SET, np("{egress: [{action: Allow, destination: {namespaceSelector: global()}}]}")),
        "red/db", "red/web", "TCP", 80, False,
    ),
    "a lone notSelector of a namespaced rule stays in the namespace": (
        np("{egress: [{action: Allow, destination: {notSelector: app == 'db'}}]}"), "red/web", OUT, "TCP", 80, False,
    ),
    "a lone notSelector of a global rule holds the internet": (
        gnp("{egress: [{action: Allow, destination: {notSelector: app == 'db'}}]}"), "red/web", OUT, "TCP", 80, True,
    ),
    "a network set is found by its labels": (
        docs(SET, gnp("{egress: [{action: Allow, destination: {selector: role == 'partner'}}]}")),
        "red/web", OUT, "TCP", 80, True,
    ),
    "all() finds network sets as well": (
        docs(SET, gnp("{egress: [{action: Allow, destination: {selector: all()}}]}")), "red/web", OUT, "TCP", 80, True,
    ),
    "a network set may hold a pod": (
        docs(POD_SET, gnp("{egress: [{action: Allow, destination: {selector: role == 'partner'}}]}")),
        "red/web", "red/db", "TCP", 80, True,
    ),
    "a namespaced network set is in its namespace": (
        docs(OWN_SET, np("{egress: [{action: Allow, destination: {selector: role == 'partner'}}]}")),
        "red/web", OUT, "TCP", 80, True,
    ),
    "and not in another": (
        docs(OWN_SET, np("{egress: [{action: Allow, destination: {selector: role == 'partner'}}]}", namespace="blue")),
        "blue/web", OUT, "TCP", 80, False,
    ),
    "ports": (
        gnp("{egress: [{action: Allow, protocol: TCP, destination: {ports: [80, '90:99']}}]}"),
        "red/web", OUT, "TCP", 95, True,
    ),
    "other ports": (
        gnp("{egress: [{action: Allow, protocol: TCP, destination: {ports: [80, '90:99']}}]}"),
        "red/web", OUT, "TCP", 89, False,
    ),
    "ports of another protocol": (
        gnp("{egress: [{action: Allow, protocol: UDP, destination: {ports: [80]}}]}"), "red/web", OUT, "TCP", 80, False,
    ),
    "notPorts": (
        gnp("{egress: [{action: Allow, protocol: TCP, destination: {notPorts: [80]}}]}"), "red/web", OUT, "TCP", 80, False,
    ),
    "a named port is the destination's": (
        gnp("{egress: [{action: Allow, protocol: TCP, destination: {ports: [http]}}]}"),
        "red/web", "red/db", "TCP", 5432, True,
    ),
    "and not the number another pod has for it": (
        gnp("{egress: [{action: Allow, protocol: TCP, destination: {ports: [http]}}]}"),
        "red/web", "red/db", "TCP", 8080, False,
    ),
    "a named port on ingress is the pod's own": (
        gnp("{selector: app == 'web', ingress: [{action: Allow, protocol: TCP, destination: {ports: [http]}}]}"),
        OUT, "red/web", "TCP", 8080, True,
    ),
    "a protocol by number": (gnp("{egress: [{action: Allow, protocol: 47}]}"), "red/web", OUT, "47", 0, True),
    "notProtocol": (gnp("{egress: [{action: Allow, notProtocol: TCP}]}"), "red/web", OUT, "TCP", 80, False),
    "service accounts by name": (
        gnp("{ingress: [{action: Allow, source: {serviceAccounts: {names: [robot]}}}]}"),
        "red/web", "red/db", "TCP", 80, True,
    ),
    "service accounts by label": (
        gnp("{ingress: [{action: Allow, source: {serviceAccounts: {selector: kind == 'machine'}}}]}"),
        "red/web", "red/db", "TCP", 80, True,
    ),
    "another service account": (
        gnp("{ingress: [{action: Allow, source: {serviceAccounts: {names: [robot]}}}]}"),
        "blue/web", "red/db", "TCP", 80, False,
    ),
    "a policy for service accounts": (
        gnp("{serviceAccountSelector: kind == 'machine', types: [Egress]}"), "red/db", OUT, "TCP", 80, True,
    ),
    "a policy for namespaces": (
        gnp("{namespaceSelector: env == 'prod', types: [Egress]}"), "red/db", OUT, "TCP", 80, False,
    ),
    "a service by its endpoints": (
        gnp("{egress: [{action: Allow, destination: {services: {name: db, namespace: red}}}]}"),
        "red/web", "red/db", "TCP", 5432, True,
    ),
    "and only on its ports": (
        gnp("{egress: [{action: Allow, destination: {services: {name: db, namespace: red}}}]}"),
        "red/web", "red/db", "TCP", 80, False,
    ),
    "a service as a source": (
        gnp("{selector: app == 'web', ingress: [{action: Allow, source: {services: {name: db, namespace: red}}}]}"),
        "red/db", "red/web", "TCP", 80, True,
    ),
    "the own node gets in": (gnp("{types: [Ingress]}"), "node:n1", "red/web", "TCP", 80, True),
    "another node does not": (gnp("{types: [Ingress]}"), "node:n2", "red/web", "TCP", 80, False),
    "the way out to the own node is policed": (gnp("{types: [Egress]}"), "red/web", HOST, "TCP", 80, False),
    "the Pod Identity agent is an address like others": (
        gnp("{egress: [{action: Allow, destination: {nets: [169.254.170.23/32]}}]}"),
        "red/web", "169.254.170.23", "TCP", 80, True,
    ),
    "an ipBlock holds pods": (
        knp("{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.0.0.0/16}}]}]}"),
        "red/web", "blue/web", "TCP", 80, True,
    ),
    "a protocol without a port is all its ports": (
        knp("{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{protocol: UDP}, {port: 80}]}]}"),
        "red/web", OUT, "UDP", 9, True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_calico_decides(name):
    policies, source, destination, protocol, port, expected = CASES[name]
    assert allows(calico(policies), source, destination, protocol, port) is expected


def test_icmp_types_and_codes():
    where = calico(gnp("{egress: [{action: Allow, protocol: ICMP, icmp: {type: 3, code: 1}}]}"))
    assert allows(where, "red/web", OUT, "ICMP", icmp_type=3, icmp_code=1)
    assert not allows(where, "red/web", OUT, "ICMP", icmp_type=3, icmp_code=0)
    assert not allows(where, "red/web", OUT, "ICMP", icmp_type=8, icmp_code=1)


def test_source_ports():
    where = calico(gnp("{egress: [{action: Allow, protocol: TCP, source: {ports: ['1:1023']}}]}"))
    assert allows(where, "red/web", OUT, "TCP", 80, source_port=22)
    assert not allows(where, "red/web", OUT, "TCP", 80, source_port=40000)


def test_the_tie_between_equal_orders_depends_on_the_version():
    policies = docs(
        np("{order: 1, egress: [{action: Deny}]}", "b"), gnp("{order: 1, egress: [{action: Allow}]}", "m")
    ).replace("projectcalico.org/v3", "crd.projectcalico.org/v1")
    assert not allows(calico(policies), "red/web", OUT)
    # Before 3.32 a namespaced policy's name began with its namespace: red/b comes behind m.
    assert allows(calico(policies, calico_version=(3, 27)), "red/web", OUT)


def test_the_verdict_names_the_rule_its_file_and_line():
    verdict = decide(
        calico(gnp("\n  egress:\n  - action: Deny\n    destination: {nets: [8.8.8.8/32]}\n")),
        Flow.of("red/web", OUT),
    )
    (decision,) = verdict.decided_by
    assert (decision.policy, decision.rule, decision.allowed) == ("GlobalNetworkPolicy g", "egress[0]", False)
    assert decision.place is not None
    assert decision.place.line > 1
    assert "Deny in tier default" in str(verdict)


def test_a_reply_shares_the_verdict_of_what_it_answers():
    where = calico(gnp("{selector: app == 'web', types: [Ingress]}"))
    assert not decide(where, Flow.of(OUT, "red/web")).allowed
    answer = Flow.of("red/web", "red/db")
    assert decide(where, answer).allowed
    from dataclasses import replace

    assert decide(where, replace(Flow.of("red/db", "red/web"), reply=True)).allowed


def test_policy_on_hosts_is_not_guessed():
    endpoint = "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: h}\nspec: {node: n1, expectedIPs: [10.1.0.1]}"
    with pytest.raises(UndecidableError, match="host endpoint"):
        allows(calico(docs(endpoint, gnp("{types: [Egress]}"))), "node:n1", "red/db")


@pytest.mark.parametrize("end", ["red/nobody", "node:n9", "service:red/nothing", "nonsense"])
def test_ends_that_do_not_exist_are_errors(end):
    with pytest.raises(ValueError, match=r"no pod|no node|no service|is not"):
        allows(calico(""), "red/web", end)


def test_an_engine_that_knows_networkpolicy_only_ignores_the_rest():
    where = calico(docs(gnp("{types: [Egress]}"), knp("{podSelector: {}, policyTypes: [Ingress]}")))
    plain = where.enforced_by("kubernetes")
    assert allows(plain, "red/web", OUT)
    assert not allows(plain, OUT, "red/web")


CLUSTER_POLICY = (
    "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: k}\n"
    "spec: {tier: Admin, priority: 1, subject: {namespaces: {}}, "
    "egress: [{action: Deny, to: [{networks: [8.8.8.0/24]}]}]}"
)


def test_a_cluster_policy_counts_from_3_32_on():
    assert not allows(calico(CLUSTER_POLICY), "red/web", OUT)
    assert allows(calico(CLUSTER_POLICY, calico_version=(3, 31)), "red/web", OUT)
