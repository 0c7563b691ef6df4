"""A translation as files: no copy that nobody needs, and nothing of an earlier translation beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from netpol import translate
from netpol.compare.prove import prove
from operations.policy import main
from tests.unit.netpol.worlds import CLUSTER, docs, gnp, knp, np, world

ELSEWHERE = "{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]}"


@pytest.mark.parametrize(
    "rules",
    [
        ELSEWHERE,
        "{from: [{podSelector: {matchLabels: {app: nobody}}}], ports: [{port: 9090}]}",
        "{from: [{ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: http}]}",
        f"{ELSEWHERE}, {{from: [{{ipBlock: {{cidr: 203.0.113.0/24}}}}]}}, {{}}",
    ],
)
@pytest.mark.parametrize("subject", ["{}", "{matchLabels: {app: later}}"])
def test_a_networkpolicy_that_stays_and_says_it_all_gets_no_copy(rules, subject):
    policy = knp(f"{{podSelector: {subject}, policyTypes: [Ingress], ingress: [{rules}]}}")
    other = gnp("{selector: app == 'web', types: [Egress]}", "mine")
    result = translate(world(docs(policy, other)))
    assert result.complete
    assert [m["metadata"]["name"] for m in result.manifests] == ["mine"]
    assert result.copies == ()


def test_a_block_that_holds_pods_is_copied_and_that_is_said():
    policy = knp("{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}")
    where = world(policy)
    result = translate(where)
    assert (result.complete, result.copies) == (True, ("NetworkPolicy red/k",))
    assert [m["metadata"]["name"] for m in result.manifests] == ["k-as-calico"]
    after = where.with_policies(result.policies()).enforced_by("cilium")
    assert prove(where.enforced_by("calico"), after).equal


@pytest.fixture
def run(tmp_path, capsys):
    def translate_to(out: Path, *policies: str) -> tuple[int, dict[str, Any], str]:
        source = tmp_path / "source.yaml"
        source.write_text(docs(CLUSTER, *policies))
        code = main(["translate", str(source), "--out", str(out)])
        answer, text = capsys.readouterr()
        return code, json.loads(answer), text

    return translate_to


DENY, INWARD = "{selector: app == 'web', types: [Egress]}", "{selector: app == 'web', types: [Ingress]}"
HAND = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: hand, namespace: red}\nspec: {endpointSelector: {}}\n"


def test_files_of_an_earlier_translation_go_and_are_named_and_nothing_else_does(run, tmp_path):
    out = tmp_path / "out"
    run(out, gnp(DENY, "one"), gnp(INWARD, "two"), np("{types: [Ingress]}", "three"))
    mine = {"hand.yaml": HAND, "notes.md": "notes", "both.yaml": (out / "cluster.two.yaml").read_text() + "---\n" + HAND,
            "broken.yaml": "a: [", "list.yaml": "[]"}  # fmt: skip
    for name, text in mine.items():
        (out / name).write_text(text)
    (out / "link.yaml").symlink_to(out / "cluster.two.yaml")
    (out / "inner").mkdir()
    (out / "inner" / "cluster.two.yaml").write_text((out / "cluster.two.yaml").read_text())
    code, answer, text = run(out, gnp(DENY, "one"), gnp("{selector: tier == 'back', types: [Egress]}", "four"))
    assert code == 0
    assert answer["removed"] == [str(out / "cluster.two.yaml"), str(out / "red.three.yaml")]
    assert answer["written"] == [str(out / "cluster.four.yaml"), str(out / "cluster.one.yaml")]
    assert all(path in text for path in answer["removed"])
    kept = {"inner", "link.yaml", *mine, "cluster.one.yaml", "cluster.four.yaml"}
    assert {path.name for path in out.iterdir()} == kept
    assert {name: (out / name).read_text() for name in mine} == mine


def test_a_translation_that_needs_no_policy_leaves_none(run, tmp_path):
    out = tmp_path / "out"
    run(out, gnp(DENY, "one"))
    code, answer, _ = run(out, knp("{podSelector: {}, policyTypes: [Ingress]}"))
    assert (code, answer["removed"], list(out.iterdir())) == (0, [str(out / "cluster.one.yaml")], [])


@pytest.mark.parametrize("link", [False, True])
def test_a_file_of_somebody_else_is_not_overwritten(run, tmp_path, link):
    out = tmp_path / "out"
    run(out, gnp(DENY, "one"))
    target = tmp_path / "elsewhere.yaml"
    target.write_text(HAND)
    there = out / "cluster.two.yaml"
    there.symlink_to(target) if link else there.write_text(HAND)
    code, answer, text = run(out, gnp(DENY, "two"))
    assert code == 64
    assert str(there) in answer["error"]
    assert str(there) in text
    assert there.read_text() == target.read_text() == HAND
    assert (out / "cluster.one.yaml").exists()


def test_a_translated_file_that_somebody_edited_is_theirs_from_then_on(run, tmp_path):
    out = tmp_path / "out"
    run(out, gnp(DENY, "one"), gnp(INWARD, "two"))
    edited = out / "cluster.one.yaml"
    theirs = edited.read_text().replace("name: one", "name: one\n  labels: {reviewed: 'yes'}")
    edited.write_text(theirs)
    code, answer, _ = run(out, gnp(DENY, "one"))
    assert (code, "was edited since a translation wrote it" in answer["error"]) == (64, True)
    assert (out / "cluster.two.yaml").exists()
    code, answer, text = run(out, gnp(INWARD, "two"))
    assert (code, answer["removed"], edited.read_text()) == (0, [], theirs)
    assert f"left as it is, as somebody edited it since a translation wrote it: {edited}" in text


def test_the_same_policies_give_the_same_bytes_and_a_file_from_before_seals_is_taken_over(run, tmp_path):
    out = tmp_path / "out"
    run(out, gnp(DENY, "one"), gnp(INWARD, "two"))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    run(out, gnp(INWARD, "two"), gnp(DENY, "one"))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    (out / "cluster.one.yaml").write_bytes(before["cluster.one.yaml"].partition(b"\n")[2])
    assert run(out, gnp(INWARD, "two"), gnp(DENY, "one"))[0] == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_what_is_refused_touches_no_file_and_says_what_is_still_there(run, tmp_path):
    out = tmp_path / "out"
    run(out, gnp(DENY, "one"))
    code, answer, text = run(out, gnp("{egress: [{action: Allow, protocol: 47}]}", "gre"))
    assert (code, answer["written"], answer["removed"]) == (1, [], [])
    assert "1 of an earlier translation" in text
    assert [path.name for path in out.iterdir()] == ["cluster.one.yaml"]


def test_what_is_bound_to_files_that_nobody_calls_whole_touches_no_file_either(run, tmp_path):
    out = tmp_path / "out"
    run(out, gnp(DENY, "one"))
    code, answer, text = run(out, gnp("{selector: app starts with 'w', types: [Egress]}", "two"))
    assert (code, answer["grade"], answer["written"], answer["removed"]) == (2, "bound", [], [])
    assert "1 of an earlier translation" in text
    assert [path.name for path in out.iterdir()] == ["cluster.one.yaml"]


def test_a_namespace_called_cluster_keeps_its_policies_apart(run, tmp_path):
    namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: cluster}\n"
    code, answer, _ = run(tmp_path / "out", namespace, gnp(DENY, "x"), np("{types: [Ingress]}", "x", "cluster"))
    assert code == 0
    assert len(set(answer["written"])) == len(answer["manifests"]) == 2
