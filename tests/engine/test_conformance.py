"""The conformance tests of network-policy-api: our decisions are what they assert, or the engine is known to differ."""

from __future__ import annotations

from collections import Counter

import pytest

from netpol.decide import calico_kubernetes
from netpol.model.values import SCTP, TCP, UDP
from tests.oracles import conformance
from tests.oracles.cilium_oracle import AGENTS, CiliumOracle

pytestmark = pytest.mark.engine

_NODES = "a rule by nodes, which Calico does not convert: an Accept is nothing, a Pass denies"
_RUN_TIME = "a rule by nodes, which agents learn at run time: undecidable"
_WORLD = "networks hold no pods"
_FILTER = "a selector by statefulset.kubernetes.io/pod-name, which Cilium's label filter drops"
KNOWN = {
    ("calico", "CNPAdminTierEgressNodePeers"): (2, False, _NODES),
    ("calico", "CNPBaselineTierEgressNodePeers"): (2, False, _NODES),
    ("cilium", "CNPAdminTierEgressNodePeers"): (5, None, _RUN_TIME),
    ("cilium", "CNPBaselineTierEgressNodePeers"): (4, None, _RUN_TIME),
    ("cilium", "CNPAdminTierEgressInlineCIDRPeers"): (15, True, _WORLD),
    ("cilium", "CNPBaselineTierEgressInlineCIDRPeers"): (15, True, _WORLD),
    ("cilium", "CNPAdminTierPodSelector"): (2, False, _FILTER),
    ("cilium", "CNPBaselineTierPodSelector"): (2, False, _FILTER),
}
"""Engine and test: how many probes come out otherwise, how (None: undecidable), and why."""


@pytest.fixture(scope="module")
def result():
    return conformance.run()


def test_every_assertion_is_in_the_table(result):
    assert result.probes == 397
    assert result.allowed == 224


def test_our_decisions_are_what_conformance_asserts_or_differ_for_a_known_reason(result):
    others = {(engine, probe.test, ours) for engine, found in result.others.items() for probe, ours in found}
    counted = Counter((engine, probe.test) for engine, found in result.others.items() for probe, _ in found)
    assert counted == {key: count for key, (count, _, _) in KNOWN.items()}
    assert {(engine, test, verdict) for (engine, test), (_, verdict, _) in KNOWN.items()} == others
    assert result.agreed == {"calico": 393, "cilium": 354}


def test_where_we_differ_under_cilium_its_own_engine_says_what_we_say(result):
    asked = 0
    with CiliumOracle() as oracle:
        for probe, ours in result.others["cilium"]:
            if ours is not None:
                assert _by_the_engine(oracle, probe) is ours, str(probe)
                asked += 1
    assert asked == 34


def test_a_wrong_reading_of_pass_would_be_seen(monkeypatch):
    monkeypatch.setitem(calico_kubernetes._CLUSTER_ACTIONS, "Pass", "Deny")
    assert conformance.run().agreed["calico"] < 393


def _by_the_engine(oracle: CiliumOracle, probe: conformance.Probe) -> bool:
    where = probe.world("cilium")
    pods = [p for p in where.pods if not p.host_network]
    names = {TCP: "TCP", UDP: "UDP", SCTP: "SCTP"}
    numbers = {name: number for number, name in names.items()}
    ends = [str(pod) for pod in pods]
    answer = oracle.ask(
        {
            "config": {"ipv4": True, "ipv6": False, "cidrMatchMode": [], **AGENTS},
            "policies": [o for o in probe.objects if o["kind"].endswith("NetworkPolicy")],
            "endpoints": [
                {
                    "namespace": pod.namespace,
                    "namespaceLabels": dict(where.namespace_labels[pod.namespace]),
                    "labels": dict(pod.labels),
                    "serviceAccount": pod.service_account,
                    "ports": [{"name": p.name, "port": p.number, "protocol": names[p.protocol]} for p in pod.ports],
                }
                for pod in pods
            ],
            "flows": [
                {
                    "from": ends.index(probe.source),
                    "to": ends.index(probe.destination),
                    "proto": numbers[probe.protocol],
                    "port": probe.port,
                }
            ],
        }
    )
    assert answer["errors"] is None
    (verdict,) = answer["verdicts"]
    return verdict["egress"] is not False and verdict["ingress"] is not False
