"""The proof against brute force, its counterexamples, and its limits."""

# ruff: noqa: S311

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from netpol import World, from_objects, from_text
from netpol.compare.calico_shared import CalicoShared
from netpol.compare.future import prove_future
from netpol.compare.prove import Equality, prove, unlike
from netpol.compare.rows import Rows, rows_of
from netpol.compare.universe import Universe
from netpol.model.values import EGRESS, INGRESS
from tests.oracles import brute, random_calico, random_cilium
from tests.unit.netpol.worlds import (
    ISOLATED,
    OUTWARD,
    PRODUCTION,
    TENANTS,
    TWIN,
    calico,
    ccnp,
    cilium,
    docs,
    gnp,
    knp,
    with_addresses,
    world,
)
from tests.unit.netpol.worlds import tier as tier_object

SMALL = random_calico.Shape(six=False, source_ports=False)


def by_rows(universe: Universe, rows: Rows, source: int, destination: int, cell: int) -> bool:
    pods, cells = len(universe.classes), 1 << cell
    return (source >= pods or bool(rows.allowed(source, EGRESS, cells, destination))) and (
        destination >= pods or bool(rows.allowed(destination, INGRESS, cells, source))
    )


@pytest.mark.parametrize("seed", range(6))
def test_sets_and_single_flows_decide_alike(seed):
    rng = random.Random(seed)
    if seed % 2:
        where = random_calico.world(rng, SMALL, policies=2, pod_count=3).enforced_by("calico")
    else:
        where = next(random_cilium.cases(seed)).world
    universe = Universe((where,))
    (rows,) = rows_of(universe)
    for (source, destination, cell), allowed in brute.verdicts(universe, 0).items():
        assert by_rows(universe, rows, source, destination, cell) is allowed


@pytest.mark.parametrize("seed", range(10))
def test_the_proof_agrees_with_brute_force_about_equality(seed):
    rng = random.Random(1000 + seed)
    objects = random_calico.PolicyMaker(rng, SMALL).objects(2)
    base = random_calico.world(rng, SMALL, policies=0, pod_count=3)
    changed = [dict(o) for o in objects]
    rng.shuffle(changed)
    if seed % 2:
        changed = changed[:-1]
    before = base.with_policies(from_objects(objects).policies).enforced_by("calico")
    after = base.with_policies(from_objects(changed).policies).enforced_by("calico")
    universe = Universe((before, after))
    assert prove(before, after).equal is (brute.verdicts(universe, 0) == brute.verdicts(universe, 1))


def test_the_order_of_files_never_matters():
    rng = random.Random(5)
    where = random_calico.world(rng, SMALL, policies=5).enforced_by("calico")
    policies = list(where.policies)
    rng.shuffle(policies)
    assert prove(where, where.with_policies(policies)).equal


def test_production_example_the_hand_written_twin_differs_in_three_ways():
    base = with_addresses(
        world(docs(TENANTS, PRODUCTION, ISOLATED, OUTWARD), six_egress=True, families=frozenset((4, 6)))
    )
    before = base.enforced_by("calico")
    kept = [p for p in base.policies if p.meta.kind == "NetworkPolicy"]
    twin = cilium(docs(TENANTS, TWIN)).policies
    proof = prove(before, base.with_policies([*twin, *kept]).enforced_by("cilium"), most=40)
    assert proof.verdict is Equality.DIFFERENT
    told = {
        (
            e.source.split()[1].split("/")[0],
            e.packet.family,
            "169.254.169.254" in e.destination,
            e.before.allowed,
        )
        for e in proof.differences
    }
    # A NetworkPolicy that allows 0.0.0.0/0 wins over Calico's deny, not over Cilium's.
    assert ("open", 4, True, True) in told
    # Egress isolation is cancelled in Calico, not in Cilium.
    assert ("locked", 4, False, True) in told
    # IPv6 ends at the tier's end in Calico; the twin switches no default deny on.
    assert any(family == 6 and not allowed for _, family, _, allowed in told)
    for example in proof.differences:
        assert example.before.allowed is not example.after.allowed


def test_a_counterexample_is_small_and_speaks_of_rules():
    before = calico(
        gnp("{selector: app == 'db', ingress: [{action: Allow, protocol: TCP, destination: {ports: ['80:90']}}]}")
    )
    after = calico(
        gnp("{selector: app == 'db', ingress: [{action: Allow, protocol: TCP, destination: {ports: ['80:89']}}]}")
    )
    proof = prove(before, after)
    example = proof.counterexample
    assert example is not None
    assert example.packet.port == 90
    assert "blue/web" in example.source  # a pod by name rather than an address
    text = str(proof)
    assert "allowed in calico on n2 by GlobalNetworkPolicy g ingress[0]" in text
    assert "no rule of tier default matched" in text


def netset(net: str) -> str:
    return f"apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {{name: s, labels: {{role: out}}}}\nspec: {{nets: [{net}]}}\n"


BY_SET = gnp("{selector: all(), egress: [{action: Allow, destination: {selector: role == 'out'}}]}")
BY_TEAM = gnp("{selector: all(), ingress: [{action: Allow, source: {namespaceSelector: team == 'red'}}]}")
BY_ACCOUNT = gnp("{serviceAccountSelector: kind == 'machine', types: [Ingress]}")
BY_SERVICE = gnp(
    "{selector: app == 'web', egress: [{action: Allow, destination: {services: {name: db, namespace: red}}}]}"
)
BY_LABEL = gnp("{selector: tier == 'front', types: [Ingress]}")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (calico(docs(BY_SET, netset("8.8.8.0/24"))), calico(docs(BY_SET, netset("8.8.9.0/24")))),
        (calico(BY_TEAM), replace(calico(BY_TEAM), namespaces=())),
        (calico(BY_ACCOUNT), replace(calico(BY_ACCOUNT), service_accounts=())),
        (calico(BY_SERVICE), replace(calico(BY_SERVICE), services=())),
        (calico(BY_LABEL), replace(calico(BY_LABEL), pods=tuple(replace(p, labels={}) for p in calico("").pods))),
    ],
    ids=["network sets", "namespace labels", "account labels", "services", "pod labels"],
)
def test_equal_policies_are_not_taken_for_equal_where_what_they_speak_of_differs(first, second):
    assert not prove(first, second).equal
    assert not prove(second, first).equal
    assert prove(first, first).equal


def test_a_named_source_port_is_the_number_that_the_source_gave_it():
    rule = "{{action: Deny, protocol: TCP, source: {{ports: [{port}]}}}}"
    named, numbered = (
        gnp(f"{{selector: app == 'db', ingress: [{rule.format(port=port)}, {{action: Allow}}]}}")
        for port in ("http", "8080")
    )
    example = prove(calico(named), calico(numbered)).counterexample
    assert example is not None
    assert example.packet.source_port in (5432, 8080)
    universe = Universe((calico(named),))
    (rows,) = rows_of(universe)
    for (source, destination, cell), allowed in brute.verdicts(universe, 0).items():
        assert by_rows(universe, rows, source, destination, cell) is allowed


def test_rules_with_numbers_from_elsewhere_are_never_taken_for_alike():
    """Each of two tables calls its first rule number 0, whatever that rule says."""
    worlds = [calico(gnp(f"{{selector: app == 'web', egress: [{{action: {a}}}]}}")) for a in ("Allow", "Deny")]
    universe = Universe(worlds)
    apart = Rows(universe, 0, CalicoShared(universe)), Rows(universe, 1, CalicoShared(universe))
    one, other = (rows.calico for rows in apart)
    assert one is not None
    assert other is not None
    assert one.plan(0, EGRESS) == other.plan(0, EGRESS)
    first, second = rows_of(universe)
    assert unlike(universe, apart, EGRESS) == unlike(universe, (first, second), EGRESS) != []


def test_a_difference_that_the_other_end_hides_is_none():
    closed = gnp("{order: 1, selector: app == 'db', types: [Ingress]}", "closed")
    out = gnp(
        "{order: 2, selector: app == 'web', egress: [{action: Allow, destination: {selector: app == 'db'}}]}",
        "out",
    )
    silent = gnp(
        "{order: 2, selector: app == 'web', egress: [{action: Deny, destination: {selector: app == 'db'}}]}",
        "out",
    )
    assert prove(calico(docs(closed, out)), calico(docs(closed, silent))).equal
    assert not prove(calico(out), calico(silent)).equal


def test_what_cannot_be_compared_is_said():
    before, after = calico(""), calico("")
    fewer = replace(after, pods=after.pods[:-1])
    proof = prove(before, fewer)
    assert any("pods that only one" in a for a in proof.assumptions)
    gone = replace(after, nodes=after.nodes[:1], pods=after.pods[:1])
    assert any("node n2" in a for a in prove(before, gone).assumptions)


def test_rules_that_look_inside_connections_are_assumptions():
    policies = ccnp(
        '{endpointSelector: {}, enableDefaultDeny: {ingress: false}, ingress: [{toPorts: [{ports: [{port: "80", protocol: TCP}], '
        "rules: {http: [{method: GET}]}}]}]}"
    )
    proof = prove(calico(""), cilium(policies))
    assert proof.equal
    assert any("looks inside connections" in a for a in proof.assumptions)


# --- pods that do not exist yet
def test_a_rule_that_matters_only_for_pods_to_come_is_found():
    today = calico("")
    tomorrow = calico(gnp("{selector: app == 'later', types: [Ingress]}"))
    assert prove(today, tomorrow).equal
    proof = prove_future(today, tomorrow)
    assert proof.verdict is Equality.DIFFERENT
    assert prove_future(tomorrow, tomorrow).equal


def test_too_many_kinds_of_future_pods_leave_it_undecided():
    policies = docs(*(gnp(f"{{order: {i}, selector: key{i} == 'v', types: [Ingress]}}", f"g{i}") for i in range(12)))
    proof = prove_future(calico(policies), calico(policies))
    assert proof.verdict is Equality.UNDECIDED
    assert "key0 (3 values)" in proof.assumptions[0]


def test_a_tier_that_passes_by_default_equals_no_tier():
    plain = knp("{podSelector: {}, policyTypes: [Ingress]}")
    tier = tier_object("t", 1, "Pass")
    assert prove(calico(plain), calico(docs(plain, tier, gnp("{tier: t, types: [Ingress]}")))).equal


def _sharing(*labels: str) -> tuple[World, World]:
    """Two worlds with the same objects for policies, but for one policy more in the first, which names no label."""
    shared = (
        gnp("{order: 10, selector: app == 'db', types: [Ingress], ingress: [{action: Allow}]}", "shared"),
        gnp("{order: 20, types: [Ingress], ingress: [{action: Deny}]}", "last"),
    )
    more = gnp("{order: 5, types: [Ingress], ingress: [{action: Deny, protocol: ICMP}, {action: Pass}]}", "more")
    pods = [
        f"{{apiVersion: v1, kind: Pod, metadata: {{name: pod-{n}, namespace: red, labels: {{app: {app}}}}}, "
        f"spec: {{containers: []}}, status: {{podIP: 10.0.0.{n + 1}}}}}"
        for n, app in enumerate(labels)
    ]
    before = from_text(docs(*shared, more, *pods), whole=True).enforced_by("calico")
    return before, before.with_policies(p for p in before.policies if p.meta.name != "more")


@pytest.mark.parametrize("labels", [("db", "web"), ("web", "db")])
def test_policies_that_two_worlds_share_as_one_object_still_tell_pods_apart(labels: tuple[str, str]):
    before, after = _sharing(*labels)
    proof = prove(before, after)
    assert proof.verdict is Equality.DIFFERENT
    assert proof.classes == 2
    assert prove_future(before, after).verdict is Equality.DIFFERENT
