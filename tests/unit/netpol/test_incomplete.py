"""Files that are not a whole cluster: nothing is taken for nothing in silence, and no success is wrong."""

# ruff: noqa: ANN002

from __future__ import annotations

import json
from typing import Any

import pytest

from netpol import Flow, Rest, UndecidableError, World, decide, from_text, lint, prove, prove_future, translate
from netpol.compare.kinds import kinds, normal
from netpol.compare.prove import Equality, Grade
from netpol.decide.missing import missing, summary
from netpol.read.selector_text import parse_calico
from netpol.translate.manifests import BOUND
from operations.policy import main
from tests.oracles import incomplete
from tests.unit.netpol.worlds import CLUSTER, calico, docs, gnp, knp, np, tier, world

PODS = """
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: []}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: data, labels: {app: db}}
spec: {containers: [], serviceAccountName: robot}
status: {podIP: 10.0.0.2}
"""
TO_DB = Flow.of("shop/web", "data/db", "TCP", 80)
OUT = Flow.of("shop/web", "8.8.8.8", "UDP", 53)


def files(*texts: str, **options: Any) -> World:
    return from_text(docs(PODS, *texts), **options).enforced_by("calico")


def answers(policies: str, flow: Flow) -> list[object]:
    """What is answered with nothing assumed, closed, open, and of a whole cluster."""
    out: list[object] = []
    for options in ({}, {"assume": "closed"}, {"assume": "open"}, {"whole": True}):
        try:
            out.append(decide(files(policies, **options), flow).allowed)
        except UndecidableError as error:
            out.append(str(error).split("not given: ")[1].split(". Give it")[0])
    return out


@pytest.mark.parametrize("key", ["kubernetes.io/metadata.name", "projectcalico.org/name"])
def test_a_namespace_that_is_named_exists_with_the_label_that_kubernetes_gives(key):
    rules = f"[{{action: Deny, source: {{namespaceSelector: {key} == 'shop'}}}}, {{action: Allow}}]"
    assert answers(gnp(f"{{ingress: {rules}}}"), TO_DB) == [False] * 4
    peers = "[{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop}}}]}]"
    assert answers(knp(f"{{podSelector: {{}}, ingress: {peers}}}", namespace="data"), TO_DB) == [True] * 4


@pytest.mark.parametrize(
    ("policies", "flow", "expected"),
    [
        (
            gnp("{ingress: [{action: Deny, source: {namespaceSelector: pci == 'true'}}, {action: Allow}]}"),
            TO_DB,
            ["Namespace shop", True, False, True],
        ),
        (
            gnp(
                "{ingress: [{action: Deny, destination: {serviceAccounts: {selector: team == 'a'}}}, {action: Allow}]}"
            ),
            TO_DB,
            ["ServiceAccount data/robot", True, False, True],
        ),
        (
            np(
                "{egress: [{action: Allow, destination: {services: {name: dns, namespace: kube-system}}}]}",
                namespace="shop",
            ),
            OUT,
            ["Service kube-system/dns", False, True, False],
        ),
        (
            docs(
                gnp("{tier: security, egress: [{action: Deny, destination: {nets: [9.9.9.9/32]}}]}"),
                gnp("{order: 1, egress: [{action: Allow}]}", "h"),
            ),
            OUT,
            ["Tier security", True, True, True],
        ),
        (
            gnp("{egress: [{action: Deny, destination: {selector: role == 'bad'}}, {action: Allow}]}"),
            OUT,
            ['NetworkSet role == "bad"', True, False, True],
        ),
    ],
    ids=["namespace", "account", "service", "tier", "set"],
)
def test_an_answer_that_depends_on_what_is_missing_names_it(policies, flow, expected):
    found = answers(policies, flow)
    assert found[0] == expected[0] or str(expected[0]) in str(found[0])
    assert found[1:] == expected[1:]


def test_an_answer_that_does_not_depend_on_what_is_missing_is_given():
    policies = docs(
        gnp("{order: 1, egress: [{action: Allow, protocol: TCP}]}"),
        gnp("{order: 2, egress: [{action: Deny, destination: {services: {name: dns, namespace: dns}}}]}", "h"),
    )
    assert decide(files(policies), TO_DB).allowed
    with pytest.raises(UndecidableError):
        decide(files(docs(policies, gnp("{order: 3, egress: [{action: Allow}]}", "i"))), OUT)


def test_what_is_missing_is_said_once_for_each_kind():
    rule = "{action: Deny, destination: {namespaceSelector: pci == 'true'}}"
    services = [f"{{action: Allow, destination: {{services: {{name: s{i}, namespace: a}}}}}}" for i in range(7)]
    where = files(np(f"{{tier: t, egress: [{', '.join([rule, *services])}]}}", namespace="shop"))
    lines = summary(missing(where), where.rest)
    assert sorted(line.split("(")[0] for line in lines) == [
        "not given: 1 NetworkSet ",
        "not given: 1 Tier ",
        "not given: 3 Namespaces ",
        "not given: 7 Services ",
    ]
    assert missing(files(rule and PODS.replace("name: ", "name: x"), whole=True)) == ()


def test_lint_does_not_advise_to_remove_what_files_only_leave_out():
    policy = gnp("{egress: [{action: Allow, destination: {services: {name: dns, namespace: kube-system}}}]}")
    assert [f.code for f in lint(files(policy))] == ["untranslatable"]
    assert [f.code for f in lint(files(policy, whole=True))] == ["reaches-nothing", "untranslatable"]


# --- three grades
def only(policies: str) -> World:
    return from_text(policies)


CLOSED = knp("{podSelector: {}, policyTypes: [Ingress, Egress]}")
SPECIAL = "{action: Deny, destination: {nets: [169.254.169.254/32]}}"


def test_without_pods_policies_that_differ_for_pods_that_could_exist_are_different():
    before = only(CLOSED).enforced_by("calico")
    proof = prove(before, before.with_policies(()))
    assert (proof.verdict, proof.grade) == (Equality.DIFFERENT, Grade.REFUSED)
    same = prove(before, before.enforced_by("cilium"))
    assert (same.verdict, same.grade) == (Equality.EQUAL, Grade.EXACT)
    assert "equal for every pod that could exist" in str(same)


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (gnp("{egress: [{action: Deny, protocol: TCP, source: {ports: [1000]}}, {action: Allow}]}"), "source ports"),
        (gnp("{egress: [{action: Allow, protocol: ICMP, icmp: {type: 3, code: 4}}]}"), "ICMP codes"),
        (gnp("{serviceAccountSelector: team == 'a', ingress: [{action: Deny}]}"), "pcsa.team"),
        (gnp("{selector: app starts with 'w', ingress: [{action: Deny}]}"), "ask for app"),
        (gnp("{egress: [{action: Allow, protocol: 47}]}"), "IP protocol 47"),
        (gnp("{selector: pod-template-hash == 'abc', types: [Egress]}"), "not part of Cilium identities"),
    ],
)
def test_without_pods_what_cilium_has_no_words_for_is_refused(policy, reason):
    result = translate(only(policy))
    assert (result.complete, result.grade) == (False, Grade.REFUSED)
    assert any(reason in r.reason for r in result.refused), [r.reason for r in result.refused]


def test_a_rule_by_a_service_that_is_not_given_is_no_bare_default_deny():
    result = translate(only(gnp("{egress: [{action: Allow, destination: {services: {name: db, namespace: red}}}]}")))
    assert not result.complete
    assert any("Service red/db" in a for a in result.proof.assumptions)


@pytest.mark.parametrize(
    "policy",
    [
        gnp(f"{{egress: [{SPECIAL}, {{action: Allow}}]}}"),
        gnp("{namespaceSelector: pci == 'true', ingress: [{action: Deny}]}"),
        gnp("{selector: app == 'web' && has(tier), types: [Ingress]}"),
        docs(CLOSED, gnp("{order: 1, ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]}")),
    ],
)
def test_a_translation_that_holds_for_every_pod_that_could_exist_is_exact_without_pods(policy):
    result = translate(only(policy))
    assert (result.complete, result.grade) == (True, Grade.EXACT), str(result.proof)


def test_what_is_refused_for_pods_to_come_is_refused_where_no_pod_of_today_shows_it():
    policy = gnp("{selector: app == 'later', egress: [{action: Allow, protocol: TCP, source: {ports: [9]}}]}")
    result = translate(world(policy))
    assert (result.complete, result.grade) == (False, Grade.REFUSED)
    assert result.proof.equal


def test_a_bound_translation_says_so_and_strict_refuses_it():
    policy = gnp("{selector: app starts with 'w', types: [Egress]}")
    result = translate(world(policy))
    assert (result.complete, result.grade) == (True, Grade.BOUND)
    assert all(BOUND in m["metadata"]["annotations"] for m in result.manifests)
    assert not translate(world(policy), strict=True).complete
    assert not translate(world(policy, whole=False)).complete
    exact = translate(world(gnp("{selector: app == 'web', types: [Egress]}")))
    assert [m for m in exact.manifests if BOUND in m["metadata"]["annotations"]] == []


def call(capsys, *arguments):
    code = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, json.loads(captured.out.splitlines()[-1]), captured.err


@pytest.mark.parametrize("after", ["empty", "typo", "blank.yaml", "pods.yaml"])
def test_a_path_that_holds_nothing_is_wrong_use(tmp_path, capsys, after):
    (tmp_path / "empty").mkdir()
    (tmp_path / "blank.yaml").write_text("# nothing\n")
    (tmp_path / "pods.yaml").write_text(PODS)
    (tmp_path / "deny.yaml").write_text(CLOSED)
    code, _, text = call(capsys, "prove", tmp_path / "deny.yaml", "--after", tmp_path / after)
    assert code == 64
    assert after in text


def test_a_bound_equality_is_undecided_unless_the_files_are_the_whole_cluster(tmp_path, capsys):
    (tmp_path / "before.yaml").write_text(docs(CLUSTER, gnp("{selector: app starts with 'w', types: [Egress]}")))
    (tmp_path / "after.yaml").write_text(gnp("{selector: app == 'web', types: [Egress]}"))
    arguments = ("prove", tmp_path / "before.yaml", "--after", tmp_path / "after.yaml", "--after-engine", "calico")
    code, answer, text = call(capsys, *arguments)
    assert (code, answer["verdict"], answer["grade"]) == (2, "undecided", "bound")
    assert "equal for what was given" in text
    assert answer["beyond"]
    code, answer, _ = call(capsys, *arguments, "--whole")
    assert (code, answer["verdict"], answer["grade"]) == (0, "equal", "bound")
    assert call(capsys, *arguments, "--whole", "--strict")[0] == 2


def test_families_that_nobody_stated_are_said(tmp_path, capsys):
    (tmp_path / "deny.yaml").write_text(CLOSED)
    arguments = ("prove", tmp_path / "deny.yaml", "--after", tmp_path / "deny.yaml")
    assert any("nobody stated" in a for a in call(capsys, *arguments)[1]["assumptions"])
    assert not any("nobody" in a for a in call(capsys, *arguments, "--families", "4")[1]["assumptions"])


# --- namespaces and accounts to come
@pytest.mark.parametrize(
    "selects",
    [
        "namespaceSelector: pci == 'true'",
        "namespaceSelector: kubernetes.io/metadata.name == 'vault'",
        "serviceAccountSelector: team == 'a'",
        "selector: projectcalico.org/namespace == 'vault' && app == 'db'",
    ],
)
def test_a_policy_for_what_does_not_exist_yet_counts(selects):
    policy = gnp(f"{{{selects}, ingress: [{{action: Deny}}]}}")
    assert prove_future(calico(""), calico(policy)).verdict is Equality.DIFFERENT
    assert prove_future(calico(policy), calico(policy)).equal
    result = translate(world(policy))
    assert result.manifests or not result.complete


def test_a_given_namespace_keeps_its_labels_and_a_new_one_may_have_any():
    red = gnp("{selector: projectcalico.org/namespace == 'red', types: [Ingress]}")
    both = gnp("{selector: projectcalico.org/namespace == 'red', namespaceSelector: team == 'red', types: [Ingress]}")
    assert prove_future(calico(red), calico(both)).equal
    new, named = red.replace("'red'", "'new'"), both.replace("namespace == 'red'", "namespace == 'new'")
    assert prove_future(calico(new), calico(named)).verdict is Equality.DIFFERENT


def test_kinds_are_combinations_of_answers_and_not_of_values():
    asked = [normal(parse_calico(f"app == 'a{i}' && tier == 't{i}'")) for i in range(40)]
    assert len(kinds(asked, [{}], 3000)) < 150  # the product of values has 42 * 42
    texts = [normal(parse_calico(t)) for t in ("app starts with 'w'", "app ends with 'x'", "!(app contains 'w')")]
    assert 4 <= len(kinds(texts, [{}], 100)) <= 12


def test_a_tier_that_is_given_is_not_missing():
    where = files(docs(tier("security", 5), gnp("{tier: security, egress: [{action: Pass}]}")))
    assert missing(where) == ()
    assert where.rest is Rest.UNKNOWN


# --- whole worlds with objects removed
def test_nothing_said_of_an_incomplete_world_is_false_of_the_whole():
    result = incomplete.run(seed=7, cases=40)  # ten thousand in `make oracle-netpol`
    assert result.wrong == []
    assert result.said["translated exact complete"] > 4
    assert result.said["proved equal"] > 10
    assert result.said["explained"] > 40
