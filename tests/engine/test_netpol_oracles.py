"""The model against engines that are not ours: Cilium's own, another analyzer for Calico, and brute force.

The runs are seeded and bounded to about a minute; `python -m tests.oracles.campaign --cases 100000` and its
neighbours are the long versions.
"""

# ruff: noqa: S311, PLC0415

from __future__ import annotations

import ipaddress
import random
from dataclasses import replace
from typing import Any

import pytest

from netpol import Namespace, Node, Pod, World, from_objects
from netpol.compare.prove import prove
from netpol.compare.universe import Universe
from netpol.decide.flow import judge
from netpol.model.packets import AddressEnd, NodeEnd, Packet, PodEnd, party
from netpol.model.values import ICMP, ICMP6, TCP
from netpol.translate.translation import Translation, translate
from tests.oracles import brute, calico_campaign, campaign, random_calico
from tests.oracles.cilium_oracle import AGENTS, CiliumOracle
from tests.oracles.nca_oracle import NcaOracle
from tests.oracles.random_cilium import cases
from tests.programs.mutants import OPERATORS
from tests.programs.mutants import campaign as mutation_campaign

pytestmark = pytest.mark.engine

SEED = 20251121


@pytest.mark.timeout(2400)
def test_ciliums_engine_never_disagrees():
    result = campaign.run(SEED, 12_000)
    print(result.summary())
    assert result.disagreements == []
    assert result.cases >= 12_000
    assert result.balanced()
    assert result.rare() == []


def test_the_oracle_would_show_a_wrong_model(monkeypatch):
    """A campaign that cannot fail proves nothing: with deny after allow, it must."""
    from netpol.decide import cilium

    monkeypatch.setattr(cilium, "_RANK", {"deny": 1, "allow": 0, "pass": 2})
    assert campaign.run(SEED, 3_000, stop_after=1).disagreements


@pytest.mark.parametrize(
    ("shape", "least"),
    [
        (random_calico.SAYABLE, 5_000),
        (random_calico.SAYABLE_DUAL, 5_000),
        (random_calico.SAYABLE_SERVICES, 3_000),
    ],
    ids=["plain", "two families", "services and sets"],
)
def test_translations_hold_under_ciliums_engine(shape, least):
    """What we prove about a translation, the real engine enforces: every flow of small worlds."""
    compared = written = 0
    with CiliumOracle() as oracle:
        for seed in range(40):
            where = random_calico.world(random.Random(seed), shape, policies=3, pod_count=4)
            result = translate(where)
            if not result.complete:
                continue
            written += any(m["kind"] == "CiliumCIDRGroup" for m in result.manifests) or bool(result.written_out)
            made = random_calico.PolicyMaker(random.Random(seed), shape).objects(3)
            kept = [o for o in made if o["apiVersion"] == "networking.k8s.io/v1"]
            compared += _held(oracle, where, result, kept, seed)
    assert compared > least
    assert written


def test_what_rests_on_few_protocols_and_host_addresses_holds_under_ciliums_engine():
    """The opt-in assumption, and nodes that serve no address themselves: what is proved with them, the engine does."""
    shape = replace(random_calico.SAYABLE, odd_protocols=True)
    compared = 0
    with CiliumOracle() as oracle:
        for seed in range(30):
            where = random_calico.world(random.Random(seed), shape, policies=2, pod_count=4)
            where = replace(where, other_protocols=False, host_addresses=())
            result = translate(where)
            if result.complete:
                made = random_calico.PolicyMaker(random.Random(seed), shape).objects(2)
                kept = [o for o in made if o["apiVersion"] == "networking.k8s.io/v1"]
                compared += _held(oracle, where, result, kept, seed)
    assert compared > 1_000


def _held(oracle: CiliumOracle, where: World, result: Translation, kept: list[dict[str, Any]], seed: int) -> int:
    """How many flows the engine decides as Calico did; all of them, or this fails."""
    assert len(kept) == len(result.kept)
    before = where.enforced_by("calico")
    universe = Universe((before, where.with_policies(result.policies()).enforced_by("cilium")))
    wanted = brute.verdicts(universe, 0)
    told = [_told(universe, i) for i in range(len(universe.peers))]
    # The engine is asked one direction at a time; only flows that both ends police are left out.
    flows = [f for f in wanted if told[f[0]] is not None and told[f[1]] is not None]
    answer = oracle.ask(
        {
            "config": {"ipv4": True, "ipv6": 6 in where.families, "cidrMatchMode": [], **AGENTS},
            "policies": [*result.manifests, *kept],
            "endpoints": [t or {"ip": "203.0.113.1"} for t in told],
            "flows": [_flow(universe, f) for f in flows],
        }
    )
    assert answer["errors"] is None
    for flow, truth in zip(flows, answer["verdicts"], strict=True):
        enforced = truth["egress"] is not False and truth["ingress"] is not False
        assert enforced is wanted[flow], (seed, flow)
    return len(flows)


def _told(universe: Universe, peer: int) -> dict[str, Any] | None:
    """A peer of the universe as the engine's harness wants it."""
    what = universe.peers[peer]
    if what.kind == "pod":
        where, pod = universe.worlds[1], universe.classes[what.index].pods[1]
        names = {6: "TCP", 17: "UDP"}
        return {
            "namespace": pod.namespace,
            "namespaceLabels": dict(where.namespace_labels[pod.namespace]),
            "labels": dict(pod.labels),
            "serviceAccount": pod.service_account,
            "ports": [{"name": p.name, "port": p.number, "protocol": names[p.protocol]} for p in pod.ports],
        }
    if what.kind in ("own", "local"):
        return {"reserved": "host"}
    if what.kind == "remote":
        return {"reserved": "remote-node"}
    address = next((a for a in what.addresses if a is not None), None)
    return {"ip": str(address)} if address is not None else None


def _flow(universe: Universe, flow: tuple[int, int, int]) -> dict[str, int]:
    packet = universe.cells[flow[2]].packet
    port = packet.icmp_type if packet.protocol in (ICMP, ICMP6) else packet.port
    return {"from": flow[0], "to": flow[1], "proto": packet.protocol, "port": port}


@pytest.mark.timeout(1800)
def test_the_other_analyzer_agrees_about_calico_but_for_its_documented_assumption():
    result = calico_campaign.run(SEED, 80)
    print(result.cases, "cases,", result.explained, "explained")
    assert result.disagreements == []
    assert result.unanswered == []
    assert result.rare() == []
    assert result.cases > 3_000
    assert 0.2 <= result.allowed / result.cases <= 0.8
    assert 0 < result.explained < result.cases / 20


ASSUMPTIONS: dict[str, tuple[Any, ...]] = {
    "its networks never hold pods": (
        [{"selector": "all()", "types": ["Egress"], "egress": [{"action": "Allow", "destination": {"nets": ["10.0.0.0/8"]}}]}],
        "red/a", "red/b", TCP, True, False,
    ),
    "equal orders have no order": (
        [
            {"order": 1, "types": ["Egress"], "egress": [{"action": "Deny"}]},
            {"order": 1, "types": ["Egress"], "egress": [{"action": "Allow"}]},
        ],
        "red/a", "8.8.8.8", TCP, False, None,
    ),
    "ICMP type 0 is any type": (
        [{"types": ["Egress"], "egress": [{"action": "Allow", "protocol": "ICMP", "icmp": {"type": 0}}]}],
        "red/a", "8.8.8.8", ICMP, False, True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ASSUMPTIONS)
def test_an_assumption_of_the_other_analyzer_is_what_it_is(name):
    """Each difference is shown with what Calico does (first) and what the analyzer says (second)."""
    specs, source, destination, protocol, calico, analyzer = ASSUMPTIONS[name]
    objects = [
        {
            "apiVersion": "projectcalico.org/v3",
            "kind": "GlobalNetworkPolicy",
            "metadata": {"name": f"g{i}"},
            "spec": {"selector": "all()", **spec},
        }
        for i, spec in enumerate(specs)
    ]
    _shown(objects, source, destination, protocol, calico=calico, analyzer=analyzer)


def test_a_lone_not_selector_of_a_namespaced_rule_is_read_differently():
    objects = [
        {
            "apiVersion": "projectcalico.org/v3",
            "kind": "NetworkPolicy",
            "metadata": {"name": "n", "namespace": "red"},
            "spec": {
                "types": ["Egress"],
                "egress": [{"action": "Allow", "destination": {"notSelector": "app == 'x'"}}],
            },
        }
    ]
    _shown(objects, "red/a", "8.8.8.8", TCP, calico=False, analyzer=True)


def test_exists_beside_a_namespace_selector_is_read_differently():
    exists = {"matchExpressions": [{"key": "app", "operator": "Exists"}]}
    peer = {"namespaceSelector": {}, "podSelector": exists}
    objects = [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "n", "namespace": "blue"},
            "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [peer]}]},
        }
    ]
    _shown(objects, "blue/c", "red/a", TCP, calico=True, analyzer=False)


SET = {
    "apiVersion": "projectcalico.org/v3",
    "kind": "GlobalNetworkSet",
    "metadata": {"name": "out", "labels": {"role": "out"}},
    "spec": {"nets": ["8.8.8.0/24"]},
}


def _gnp(**spec: Any):
    return {
        "apiVersion": "projectcalico.org/v3",
        "kind": "GlobalNetworkPolicy",
        "metadata": {"name": "g"},
        "spec": {"selector": "all()", **spec},
    }


def test_a_negated_namespace_selector_finds_no_global_sets():
    negated = {"namespaceSelector": "team != 'red'"}
    by_namespace = _gnp(types=["Egress"], egress=[{"action": "Allow", "destination": negated}])
    _shown([by_namespace, SET], "red/a", "8.8.8.8", TCP, calico=True, analyzer=False)
    _shown([by_namespace], "red/a", "8.8.8.8", TCP, calico=False, analyzer=False)
    _shown([by_namespace, SET], "red/a", "blue/c", TCP, calico=True, analyzer=True)


def test_an_empty_namespace_selector_of_kubernetes_finds_global_sets():
    isolated = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "n", "namespace": "red"},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [{"namespaceSelector": {}}]}]},
    }
    _shown([isolated, SET], "red/a", "8.8.8.8", TCP, calico=False, analyzer=True)
    _shown([isolated], "red/a", "8.8.8.8", TCP, calico=False, analyzer=False)


def test_a_node_is_an_address_like_any_other_to_the_analyzer():
    isolated = _gnp(types=["Ingress"])
    _shown([isolated], "node:n1", "red/a", TCP, calico=True, analyzer=False)
    _shown([isolated], "8.8.8.8", "red/a", TCP, calico=False, analyzer=False)


def test_the_analyzer_knows_no_tiers():
    tier = {"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": "t"}, "spec": {"order": 1}}
    _shown([tier, _gnp(tier="t", types=["Egress"])], "red/a", "8.8.8.8", TCP, calico=False, analyzer="error")


def _shown(objects, source, destination, protocol, *, calico, analyzer):
    pods = tuple(
        Pod(namespace="red", name=n, labels={"app": n}, addresses=(ipaddress.ip_address(f"10.0.0.{i + 1}"),), node="n1")
        for i, n in enumerate("ab")
    )
    pods += (
        Pod(
            namespace="blue", name="c", labels={"old": "yes"}, addresses=(ipaddress.ip_address("10.0.0.9"),), node="n1"
        ),
    )
    namespaces = (Namespace(name="red", labels={"team": "red"}), Namespace(name="blue", labels={"team": "blue"}))
    nodes = (Node(name="n1", addresses=(ipaddress.ip_address("10.1.0.1"),)),)
    policies = from_objects(objects).policies
    where = World(policies=policies, pods=pods, namespaces=namespaces, nodes=nodes).enforced_by("calico")

    def which(text):
        if text.startswith("node:"):
            return NodeEnd(text.removeprefix("node:"))
        return PodEnd(*text.split("/")) if "/" in text else AddressEnd(ipaddress.ip_address(text))

    packet = Packet(4, protocol, port=80 if protocol == TCP else 0, icmp_type=8 if protocol == ICMP else 0)
    ours = judge(where, party(where, which(source), 4), party(where, which(destination), 4), packet).allowed
    assert ours is calico
    with NcaOracle() as oracle:
        told = [(source.replace("node:n1", "10.1.0.1"), destination, protocol, packet.port, packet.icmp_type, 0)]
        answer = oracle.verdicts(objects, where.pods, namespaces, told)
    if analyzer == "error":
        assert "error" in answer
    elif analyzer is not None:
        assert answer["verdicts"] == [analyzer]


@pytest.mark.timeout(2400)
def test_mutants_of_translations_are_caught():
    """A bounded run; 1,000 and more with `python -m tests.programs.mutants`."""
    seen = mutation_campaign(150, seed=SEED)
    print(dict(seen))
    caught = {name.split()[0] for name in seen if name.endswith(" changes")}
    assert len(OPERATORS) >= 12
    assert len(caught) >= 10


@pytest.mark.timeout(1200)
def test_brute_force_agrees_on_random_pairs_of_worlds():
    for seed in range(12):
        rng = random.Random(seed)
        first = next(cases(seed)).world
        policies = list(first.policies)
        rng.shuffle(policies)
        second = first.with_policies(policies[: rng.randint(0, len(policies))])
        universe = Universe((first, second))
        same = brute.verdicts(universe, 0) == brute.verdicts(universe, 1)
        assert prove(first, second).equal is same
