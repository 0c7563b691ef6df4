"""`policy translate` ends with a table, each refusal has a way out, and accepted differences are always shown."""

# ruff: noqa: ANN002

from __future__ import annotations

import json

import pytest

from operations.policy import main
from tests.unit.netpol.worlds import CLUSTER, docs, gnp, knp, np, tier

VPC = gnp("{egress: [{action: Allow, destination: {nets: [10.0.0.0/8]}}]}", "vpc")
ENDPOINT = "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: h, labels: {host: h}}\nspec: {node: n1, interfaceName: '*'}\n"
FORWARD = gnp(
    "{applyOnForward: true, selector: host == 'h' || app == 'db', ingress: [{action: Allow, source: {selector: app == 'web'}}]}",
    "forward",
)


def accepted(until: str, to: str = "{nodes: true}") -> str:
    return f"accepted:\n- reason: no pod asks the agent\n  who: jane\n  until: {until}\n  to: {to}\n"


@pytest.fixture
def call(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(command, policies, *arguments):
        (tmp_path / "all.yaml").write_text(docs(CLUSTER, policies))
        code = main([command, str(tmp_path / "all.yaml"), "--whole", *arguments])
        said = capsys.readouterr()
        return code, json.loads(said.out), said.err

    return run


def outcomes(answer):
    return {f["policy"]: (f["outcome"], f["files"]) for f in answer["policies"]}


def test_each_policy_has_a_line_with_its_file_or_why_there_is_none(call, tmp_path):
    policies = docs(
        tier("first", 1),
        np("{selector: app == 'web', types: [Ingress]}", "web", "blue"),
        gnp("{selector: app == 'web', egress: [{action: Allow, destination: {selector: role == 'out'}}]}", "web"),
        gnp("{order: 1, egress: [{action: Log}]}", "log").replace("kind: Global", "kind: StagedGlobal"),
        knp("{podSelector: {}, policyTypes: [Ingress]}", "stays"),
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {name: out, labels: {role: out}}\nspec: {nets: [8.8.8.0/24]}",
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {name: idle, labels: {role: idle}}\nspec: {nets: [9.9.9.0/24]}",
    )
    code, answer, text = call("translate", policies, "--out", "out")
    assert code == 0
    assert outcomes(answer) == {
        "Tier first": ("nothing to say", []),
        "NetworkPolicy blue/web": ("translated", ["blue.web.yaml"]),
        "GlobalNetworkPolicy web": ("translated", ["cluster.web.yaml"]),
        "StagedGlobalNetworkPolicy log": ("left out", []),
        "NetworkPolicy red/stays": ("stays", []),
        "GlobalNetworkSet out": ("translated", ["group.out.yaml"]),
        "GlobalNetworkSet idle": ("nothing to say", []),
    }
    assert all(f["files"] or f["why"] for f in answer["policies"])
    lines = text.splitlines()[-len(answer["policies"]) :]
    assert [line.split("  ")[0] for line in lines] == [f["policy"] for f in answer["policies"]]
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"blue.web.yaml", "cluster.web.yaml", "group.out.yaml"}


@pytest.mark.parametrize(
    ("policies", "way"),
    [
        (VPC, "--host-address ADDRESS or none"),
        (gnp("{egress: [{action: Allow, destination: {nets: [10.0.0.2/32]}}]}"), "select those pods by labels"),
        (gnp("{egress: [{action: Allow, protocol: 47}]}"), "--no-other-protocols"),
        (gnp("{selector: pod-template-hash == 'abc', types: [Egress]}"), "select by a label that pods keep"),
        (gnp("{egress: [{action: Allow, protocol: ICMP, icmp: {type: 3, code: 1}}]}"), "leave the code out"),
        (docs(ENDPOINT, FORWARD), "--without-hosts"),
    ],
)
def test_each_refusal_has_a_way_out(call, policies, way):
    code, answer, text = call("translate", policies)
    assert code == 1
    assert any(way in r["way_out"] for r in answer["refused"])
    assert all(r["way_out"] for r in answer["refused"])
    assert "way out: " in text
    assert "refused" in {f["outcome"] for f in answer["policies"]}


def test_an_accepted_difference_is_the_last_resort_and_always_shown(call, tmp_path):
    code, answer, _ = call("translate", VPC)
    assert (code, answer["proof"]["accepted"]) == (1, [])
    assert "policies/accepted.yaml" in answer["refused"][0]["way_out"]
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies/accepted.yaml").write_text(accepted("2999-01-01"))
    code, answer, text = call("translate", VPC, "--out", "out")
    assert code == 0
    (one,) = answer["proof"]["accepted"]
    assert (one["reason"], one["who"], one["until"]) == ("no pod asks the agent", "jane", "2999-01-01")
    assert one["example"]["before"]["allowed"] is not one["example"]["after"]["allowed"]
    assert "accepted: anybody -> nodes: no pod asks the agent (jane, until 2999-01-01)" in text
    code, answer, text = call("prove", VPC, "--after", "out")
    assert (code, len(answer["accepted"])) == (0, 1)
    assert "but for 1 accepted difference" in text
    # Somebody else's copy of the repository has no such file.
    (tmp_path / "policies/accepted.yaml").unlink()
    assert call("prove", VPC, "--after", "out")[0] == 1


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (accepted("2020-01-01"), 1, "not accepted any more, since its last day is past"),
        (accepted("2999-01-01", "{nets: [9.9.9.9/32]}"), 1, "accepted and not needed"),
        (accepted("someday"), 1, "until: 'someday': the last day"),
        ("accepted: {", 64, "is not YAML"),
    ],
)
def test_what_is_not_accepted_is_said(call, tmp_path, text, code, said):
    (tmp_path / "mine.yaml").write_text(text)
    found, _, shown = call("translate", VPC, "--accepted", "mine.yaml")
    assert found == code
    assert said in shown
    assert call("translate", VPC, "--accepted", "nothing.yaml")[0] == 64


def test_hosts_may_be_left_out_and_are_named_then(call):
    policies = docs(ENDPOINT, FORWARD)
    assert call("translate", policies)[0] == 1
    code, answer, text = call("translate", policies, "--without-hosts", "--out", "out")
    assert (code, answer["hosts_left_out"]) == (0, ["HostEndpoint h", "GlobalNetworkPolicy forward (applyOnForward)"])
    assert "left out with all policy on hosts: HostEndpoint h" in text
    assert outcomes(answer)["HostEndpoint h"][0] == "left out"
    code, answer, text = call("prove", policies, "--after", "out")
    assert code == 2
    assert "--without-hosts" in text
    code, answer, _ = call("prove", policies, "--after", "out", "--without-hosts")
    assert code == 0
    assert any("policy on hosts (HostEndpoint h" in a for a in answer["assumptions"])
