"""`python -m operations.policy`: exit codes, one JSON object on stdout, text for people on stderr."""

# ruff: noqa: ANN002

from __future__ import annotations

import argparse
import json

import pytest
import yaml

from operations.policy.cli import fill, main, run
from tests.unit.netpol.worlds import CLUSTER, ISOLATED, OUTWARD, PRODUCTION, TENANTS, TWIN, docs, gnp, knp


@pytest.fixture
def files(tmp_path):
    (tmp_path / "before").mkdir()
    (tmp_path / "before" / "all.yaml").write_text(docs(TENANTS, PRODUCTION, ISOLATED, OUTWARD))
    (tmp_path / "twin.yaml").write_text(TWIN)
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    return tmp_path


def call(capsys, *arguments):
    code = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    return code, json.loads(lines[0]) if lines else {}, captured.err


def test_explain_names_who_decided(files, capsys):
    code, answer, text = call(
        capsys, "explain", files / "before", "--from", "open/a", "--to", "169.254.169.254", "--port", 80
    )
    assert (code, answer["allowed"]) == (0, True)
    assert answer["paths"][0]["decided_by"][0]["policy"] == "NetworkPolicy open/outward"
    assert text.startswith("ALLOWED")
    code, answer, _ = call(
        capsys, "explain", files / "before", "--from", "plain/a", "--to", "169.254.169.254", "--port", 80
    )
    assert (code, answer["allowed"]) == (1, False)


def test_translate_writes_files_that_prove_equal(files, capsys):
    out = files / "out"
    code, answer, _ = call(capsys, "translate", files / "before", "--out", out)
    assert (code, answer["complete"]) == (0, True)
    (written,) = out.iterdir()
    assert yaml.safe_load(written.read_text())["kind"] == "CiliumClusterwideNetworkPolicy"
    code, answer, _ = call(capsys, "prove", files / "before", "--after", out)
    assert (code, answer["verdict"]) == (0, "equal")


METRICS = """
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: metrics}
spec:
  tier: Admin
  priority: 10
  subject: {namespaces: {matchLabels: {kubernetes.io/metadata.name: locked}}}
  egress:
  - {action: Accept, to: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: 9090}}}]}
"""


def test_policies_of_kubernetes_stay_unless_the_other_side_brings_its_own(files, capsys):
    (files / "kept").mkdir()
    (files / "kept" / "all.yaml").write_text(docs(TENANTS, ISOLATED, METRICS))
    (files / "nothing").mkdir()
    arguments = ("prove", files / "kept", "--cluster-policies", "--whole")
    assert call(capsys, *arguments, "--after-nothing")[0] == 0
    code, _, text = call(capsys, *arguments, "--after", files / "nothing")
    assert code == 64
    assert "holds no objects" in text
    (files / "nothing" / "own.yaml").write_text(METRICS.replace("9090", "9091"))
    assert call(capsys, *arguments, "--after", files / "nothing")[0] == 1


def test_prove_gives_counterexamples(files, capsys):
    code, answer, text = call(capsys, "prove", files / "before", "--after", files / "twin.yaml")
    assert (code, answer["verdict"]) == (1, "different")
    example = answer["counterexamples"][0]
    assert example["before"]["allowed"] is not example["after"]["allowed"]
    assert "before: " in text


def test_a_refused_translation_writes_nothing(files, capsys):
    (files / "gre.yaml").write_text(gnp("{egress: [{action: Allow, protocol: 47}]}"))
    code, answer, text = call(capsys, "translate", files / "cluster.yaml", files / "gre.yaml", "--out", files / "out")
    assert (code, answer["complete"], answer["manifests"]) == (1, False, [])
    assert not (files / "out").exists()
    assert "IP protocol 47" in text


def test_lint_fails_on_findings(files, capsys):
    code, answer, _ = call(capsys, "lint", files / "before")
    assert code == 1
    assert {f["code"] for f in answer["findings"]} >= {"cancels-isolation", "deny-overridden"}
    code, answer, _ = call(capsys, "lint", files / "cluster.yaml")
    assert (code, answer["findings"]) == (0, [])


def test_a_bad_file_is_named_with_line_and_field(files, capsys):
    (files / "bad.yaml").write_text(gnp("{ordr: 1}"))
    code, answer, text = call(capsys, "lint", files / "bad.yaml")
    assert (code, answer["line"], answer["field"]) == (1, 4, "spec.ordr")
    assert "bad.yaml:4: spec.ordr: unknown field" in text


def test_what_cannot_be_decided_is_neither_passed_nor_failed(files, capsys):
    (files / "dns.yaml").write_text(
        TWIN.replace("egressDeny:", "egress: [{toFQDNs: [{matchName: a.b}]}]\n  egressDeny:")
    )
    code, answer, _ = call(capsys, "prove", files / "before", "--after", files / "dns.yaml")
    assert code == 2
    assert "DNS answers" in answer["error"]
    many = docs(*(gnp(f"{{order: {i}, selector: key{i} == 'v', types: [Ingress]}}", f"g{i}") for i in range(12)))
    (files / "many.yaml").write_text(docs(CLUSTER, many))
    code, answer, _ = call(
        capsys,
        "prove",
        files / "many.yaml",
        "--after",
        files / "many.yaml",
        "--after-engine",
        "calico",
        "--future",
    )
    assert (code, answer["verdict"]) == (2, "undecided")


@pytest.mark.parametrize(
    "arguments",
    [
        ["explain", "--from", "a/b", "--to", "c/d"],
        ["explain", "FILE", "--from", "red/nobody", "--to", "red/db"],
        ["explain", "FILE", "--from", "red/web", "--to", "red/db", "--protocol", "TPC"],
        ["explain", "FILE", "--from", "red/web", "--to", "red/db", "--port", "65536"],
        ["lint", "FILE", "--apiserver", "nonsense"],
        ["lint", "FILE", "--calico-version", "new"],
        ["lint", "FILE", "--cilium-version", "new"],
        ["explain", "FILE", "--from", "red/web", "--to", "red/db", "--nodes", "a=b:flannel"],
        ["nonsense"],
    ],
)
def test_wrong_use_is_64(files, capsys, arguments):
    code, _, text = call(capsys, *[str(files / "cluster.yaml") if a == "FILE" else a for a in arguments])
    assert code == 64
    assert text


def test_nodes_of_different_kinds_by_label(files, capsys):
    cluster = CLUSTER.replace("metadata: {name: n1}", "metadata: {name: n1, labels: {cni-plugin: cilium}}").replace(
        "metadata: {name: n2}", "metadata: {name: n2, labels: {cni-plugin: aws}}"
    )
    policy = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: c, namespace: red}\nspec: {endpointSelector: {}, ingress: [{fromEndpoints: [{}]}]}"
    (files / "mixed.yaml").write_text(docs(cluster, policy))
    kinds = ["--nodes", "cni-plugin=cilium:cilium", "--nodes", "cni-plugin=aws:calico:world"]
    flow = ["--from", "red/db", "--to", "red/web", "--port", 80]
    assert call(capsys, "explain", files / "mixed.yaml", *flow, *kinds)[0] == 1
    kinds[-1] = "cni-plugin=aws:calico:bridge"
    assert call(capsys, "explain", files / "mixed.yaml", *flow, *kinds)[0] == 0


def test_the_version_of_cilium_says_what_a_port_name_of_an_egress_rule_is(files, capsys):
    named = knp("{podSelector: {}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}], ports: [{port: http}]}]}")
    (files / "named.yaml").write_text(docs(CLUSTER, named))
    arguments = ("prove", files / "named.yaml", "--whole", "--after-nothing")
    assert call(capsys, *arguments)[0] == 0
    code, answer, _ = call(capsys, *arguments, "--cilium-version", "v1.19.4")
    assert (code, answer["verdict"]) == (1, "different")
    assert call(capsys, *arguments[:2], *arguments[3:], "--cilium-version", "1.18")[0] == 2


def test_the_command_hangs_into_a_larger_command_line(files, capsys):
    parser = argparse.ArgumentParser()
    fill(parser.add_subparsers(dest="command").add_parser("policy"))
    arguments = parser.parse_args(["policy", "lint", str(files / "cluster.yaml")])
    assert run(arguments) == 0
    assert json.loads(capsys.readouterr().out)["command"] == "policy lint"
