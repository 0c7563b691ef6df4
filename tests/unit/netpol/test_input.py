"""Files as people have them: what kubectl would take is read or passed over with a line, and all faults come at once."""

# ruff: noqa: ANN002

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from netpol import PolicyError, from_objects, load, policies_from_text
from netpol.model.values import KubernetesPolicy
from operations.policy import main
from tests.unit.netpol.worlds import CLUSTER, TENANTS, cnp, docs, gnp, knp, np


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def call(capsys, *arguments):
    code = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, json.loads(captured.out.splitlines()[-1]), captured.err


DENY = knp("{podSelector: {}, policyTypes: [Ingress]}", "deny")
OTHER_KINDS = {
    "Deployment": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {template: {}}\n",
    "Kustomization of Flux": "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: k}\nspec: {path: ./a}\n",
    "IPPool": "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: p}\nspec: {cidr: 10.0.0.0/8}\n",
    "BGPPeer": "apiVersion: crd.projectcalico.org/v1\nkind: BGPPeer\nmetadata: {name: p}\nspec: {asNumber: 64512}\n",
    "Ingress": "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: i}\nspec: {rules: []}\n",
    "Knative Service": "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: s}\nspec: {template: {}}\n",
    "CiliumNode": "apiVersion: cilium.io/v2\nkind: CiliumNode\nmetadata: {name: n}\nspec: {}\n",
    "policy of another engine": "apiVersion: crd.antrea.io/v1beta1\nkind: NetworkPolicy\nmetadata: {name: n}\nspec: {}\n",
    "JSON patches": "- {op: replace, path: /spec/order, value: 1}\n",
    "values of a chart": "image: a\nreplicas: 2\n",
    "workflow": "name: test\non: [push]\njobs: {}\n",
    "a list": "- a\n- b\n",
    "an equals sign": "a: =\nb: [=]\n",
    "nothing": "# only a comment\n",
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_what_decides_no_traffic_is_passed_over_with_a_line_that_says_so(tmp_path, capsys, kind):
    tree(tmp_path, {"a/policy.yaml": docs(DENY, CLUSTER), "a/other.yaml": OTHER_KINDS[kind]})
    code, answer, text = call(capsys, "prove", tmp_path / "a", "--after-engine", "calico", "--after", tmp_path / "a")
    assert code == 0, text
    said = [s["file"] for s in answer["skipped"]]
    assert said == ([] if kind == "nothing" else [str(tmp_path / "a/other.yaml")])
    assert (kind == "nothing") or "skipped: " in text


MISSPELT = {
    "NetworkPolicy of v1": (DENY.replace("networking.k8s.io/v1", "v1"), "write apiVersion: networking.k8s.io/v1"),
    "extensions/v1beta1": (DENY.replace("networking.k8s.io/v1", "extensions/v1beta1"), "gone since Kubernetes 1.16. Write apiVersion: networking.k8s.io/v1"),
    "a misspelt group": (DENY.replace("networking", "netwroking"), "write apiVersion: networking.k8s.io/v1"),
    "a misspelt kind": (gnp("{}").replace("GlobalNetworkPolicy", "GlobalNetworkPolice"), "did you mean GlobalNetworkPolicy"),
    "a kind without version": (DENY.replace("apiVersion: networking.k8s.io/v1", "x: y"), "apiVersion: is required"),
    "Kind for kind": (DENY.replace("kind:", "Kind:"), "kind: is required"),
    "a pod of v2": ("apiVersion: v2\nkind: Pod\nmetadata: {name: a}\nspec: {}\n", "write apiVersion: v1"),
    "objects in a list": ("- apiVersion: networking.k8s.io/v1\n  kind: NetworkPolicy\n", "Put --- between them"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MISSPELT)
def test_what_may_be_a_policy_is_never_passed_over(tmp_path, capsys, kind):
    text, expected = MISSPELT[kind]
    tree(tmp_path, {"other.yaml": text, "policy.yaml": DENY})
    code, _, said = call(capsys, "lint", tmp_path)
    assert code == 1
    assert expected in said


def test_all_faults_of_a_run_come_at_once_each_with_file_line_object_and_field(tmp_path, capsys):
    tree(
        tmp_path,
        {
            "a.yaml": docs(
                gnp(
                    "\n  ordr: 1\n  order: high\n  types: [In]\n  egress:\n  - {action: allow}\n  - {action: Deny, protocol: TPC}\n"
                    "  - {action: Deny, protocol: TCP, destination: {ports: [x y, '90:80'], nets: [10.0.0.0/33, 10.0.0.0/34]}}"
                ),
                knp(
                    "{podSelector: {matchLabels: {team: yes}}, ingress: [{from: [{}], ports: [{port: 0}, {port: 99999}]}]}"
                ),
            ),
            "b/c.yaml": cnp(
                "{endpointSelector: {}, egres: [{}], ingress: [{fromEntities: [wrld]}, {toPorts: [{ports: [{port: 80}]}]}]}"
            ),
            "d.yaml": "a: [",
            "e.yaml": np("{selector: 'a ='}", namespace="''"),
        },
    )
    after = tree(tmp_path / "after", {"f.yaml": gnp("{selectr: all()}")})
    for folder in ("a.yaml", "b", "d.yaml", "e.yaml"):
        assert (tmp_path / folder).exists()
    paths = [tmp_path / name for name in ("a.yaml", "b", "d.yaml", "e.yaml")]
    code, answer, text = call(capsys, "prove", *paths, "--after", after)
    assert code == 64, "one of the files cannot be read"
    found = [(Path(e["file"]).name, e["line"], e["object"], e["field"]) for e in answer["errors"]]
    g, k, c, n = "GlobalNetworkPolicy g", "NetworkPolicy red/k", "CiliumNetworkPolicy red/c", "NetworkPolicy np"
    assert sorted(found) == sorted(
        [
            ("a.yaml", 5, g, "spec.ordr"),
            ("a.yaml", 6, g, "spec.order"),
            ("a.yaml", 7, g, "spec.types[0]"),
            ("a.yaml", 9, g, "spec.egress[0].action"),
            ("a.yaml", 10, g, "spec.egress[1].protocol"),
            *(("a.yaml", 11, g, f"spec.egress[2].destination.{f}[{i}]") for f in ("ports", "nets") for i in (0, 1)),
            *(("a.yaml", 17, k, f"spec.{f}") for f in ("podSelector.matchLabels.team", "ingress[0].from[0]", "ingress[0].ports[0].port", "ingress[0].ports[1].port")),
            *(("c.yaml", 4, c, f"spec.{f}") for f in ("egres", "ingress[0].fromEntities[0]", "ingress[1].toPorts[0].ports[0].port")),
            ("d.yaml", 2, "", ""),
            ("e.yaml", 3, n, "metadata.namespace"),
            ("e.yaml", 4, n, "spec.selector"),
            ("f.yaml", 4, g, "spec.selectr"),
        ]
    )  # fmt: skip
    assert text.count("\n") == len(found)


def test_faults_of_documents_around_one_that_is_no_yaml_are_told_with_it(tmp_path, capsys):
    tree(tmp_path, {"a.yaml": docs(gnp("{ordr: 1}"), "a: [", gnp("{selectr: x}"), "a: {", "b: c")})
    code, answer, _ = call(capsys, "lint", tmp_path)
    assert code == 64
    assert sorted((e["line"], e["field"]) for e in answer["errors"]) == [
        (4, "spec.ordr"),
        (8, ""),
        (12, "spec.selectr"),
        (16, ""),
    ]


def test_a_link_to_nothing_is_a_fault_and_a_pipe_keeps_nobody_waiting(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.yaml")
    assert call(capsys, "lint", tmp_path)[1]["skipped"][0]["what"] == "no file"
    os.symlink(tmp_path / "nowhere", tmp_path / "link.yaml")
    code, answer, _ = call(capsys, "lint", tmp_path)
    assert (code, answer["file"]) == (64, str(tmp_path / "link.yaml"))


def test_a_fault_that_follows_from_another_is_not_told():
    with pytest.raises(PolicyError) as caught:
        policies_from_text(gnp("{egress: [{action: Allow, protocol: TPC, destination: {ports: [80]}}]}"))
    assert [e.field for e in caught.value.errors] == ["spec.egress[0].protocol"]


@pytest.mark.parametrize("order", [1, -1])
def test_published_yaml_with_merges_and_anchors_is_read(tmp_path, capsys, order):
    lines = ["  <<: *shared", "  podSelector: {matchLabels: {app: web}}"][::order]
    text = f"""x-shared: &shared {{policyTypes: [Ingress]}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicyList
items:
- metadata: &meta {{name: a, namespace: red}}
  spec: &shared {{podSelector: {{}}, policyTypes: [Egress]}}
- metadata: {{<<: *meta, name: b}}
  spec: *shared
- metadata: {{name: c, <<: {{namespace: red}}}}
  spec: &shared {{policyTypes: [Ingress], podSelector: }}
- metadata: {{name: d, namespace: red}}
  spec:
  {lines[0].replace("*shared", "{policyTypes: [Ingress]}")}
  {lines[1].replace("*shared", "{policyTypes: [Ingress]}")}
"""
    tree(tmp_path, {"a.yaml": text})
    code, answer, said = call(capsys, "lint", tmp_path)
    assert (code, answer["findings"]) == (0, []), said
    assert [s["what"] for s in answer["skipped"]] == ["no object of Kubernetes"]


def test_an_empty_pod_selector_selects_every_pod_as_it_does_to_the_api_server():
    (policy,) = policies_from_text(DENY.replace("podSelector: {}", "podSelector: "))
    assert isinstance(policy, KubernetesPolicy)
    assert policy.pods.matches({"any": "pod"})


def test_objects_without_a_namespace_are_where_the_command_line_says(tmp_path, capsys):
    tree(tmp_path, {"a.yaml": docs(CLUSTER, DENY.replace(", namespace: red", ""))})
    arguments = ("explain", tmp_path, "--from", "blue/web", "--to", "red/db", "--port", 80)
    code, _, text = call(capsys, *arguments)
    assert code == 1
    assert "--namespace" in text
    assert "DENIED" not in text
    assert call(capsys, *arguments, "--namespace", "red")[0] == 1
    assert call(capsys, *arguments, "--namespace", "blue")[0] == 0
    code, _, text = call(capsys, *arguments, "--namespace", "No_Name")
    assert (code, "No_Name" in text) == (64, True)


def test_a_calico_port_name_may_be_longer_than_a_pod_can_declare(tmp_path, capsys):
    name = "a-very-long-port-name.of_calico"
    rules = f"{{action: Allow, protocol: TCP, destination: {{ports: [{name}, http]}}}}"
    tree(tmp_path, {"a.yaml": docs(CLUSTER, gnp(f"{{selector: app == 'web', ingress: [{rules}]}}"))})
    code, answer, text = call(capsys, "translate", tmp_path)
    assert (code, answer["complete"]) == (0, True), text
    assert name not in json.dumps(answer["manifests"])
    for bad in ("a b", "", "a/b", "x" * 129):
        with pytest.raises(PolicyError, match="port name"):
            policies_from_text(
                gnp(f"{{ingress: [{{action: Allow, protocol: TCP, destination: {{ports: ['{bad}']}}}}]}}")
            )


V3_COPY = """
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: knp.default.deny, namespace: red, uid: x}
spec: {order: 1000, selector: projectcalico.org/orchestrator == 'k8s', types: [Ingress], tier: default}
"""


def test_calicos_copy_of_a_kubernetes_policy_is_not_counted_twice(tmp_path, capsys):
    tree(tmp_path, {"dump.yaml": docs(CLUSTER, DENY, V3_COPY)})
    code, answer, text = call(capsys, "translate", tmp_path)
    assert (code, answer["manifests"]) == (0, []), text
    assert [s["what"] for s in answer["skipped"]] == ["NetworkPolicy red/knp.default.deny"]
    tree(tmp_path, {"dump.yaml": docs(CLUSTER, DENY, V3_COPY.replace("'k8s'", "'k8s' && app == 'db'"))})
    assert call(capsys, "translate", tmp_path)[1]["skipped"] == [], "it says something else"


def test_an_object_in_both_groups_of_calico_counts_once_and_differing_ones_are_a_fault(tmp_path, capsys):
    v3 = gnp("{types: [Ingress], selector: all()}")
    v1 = v3.replace("projectcalico.org/v3", "crd.projectcalico.org/v1")
    tree(tmp_path, {"a.yaml": docs(v3, v1)})
    assert call(capsys, "lint", tmp_path)[0] == 0
    tree(tmp_path, {"a.yaml": docs(v3, v1.replace("all()", "has(a)"))})
    code, _, text = call(capsys, "lint", tmp_path)
    assert (code, "given twice" in text) == (1, True)
    tree(tmp_path, {"a.yaml": CLUSTER, "b.yaml": CLUSTER})
    assert call(capsys, "lint", tmp_path)[0] == 0
    tree(tmp_path, {"b.yaml": CLUSTER.replace("tier: front", "tier: back")})
    code, answer, _ = call(capsys, "lint", tmp_path)
    assert (code, answer["object"]) == (1, "Pod red/web")


CHART = {
    "chart/Chart.yaml": "apiVersion: v2\nname: shop\nversion: 1.0.0\n",
    "chart/values.yaml": "policies: true\n",
    "chart/templates/deny.yaml": "{{- if .Values.policies }}\n"
    + DENY.replace("red", "{{ .Release.Namespace }}")
    + "{{- end }}\n",
    "chart/templates/allow.yaml": DENY.replace("deny", "{{ .Release.Name }}-deny"),
    "chart/templates/deployment.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ .Release.Name }}\n",
    "chart/templates/_helpers.tpl": '{{ define "x" }}{{ end }}',
}


def test_templates_are_recognised_and_the_command_that_renders_them_is_named(tmp_path, capsys):
    root = tree(tmp_path / "repo", CHART)
    code, answer, text = call(capsys, "translate", root)
    assert code == 64
    (error,) = answer["errors"]
    assert f"Render it first: helm template NAME {root / 'chart'} >" in error["reason"]
    assert "1 more of the chart" in error["reason"]
    assert "Deployment" in text, "a template of what decides no traffic stops nobody"
    for placeholder in ("{{ .Values.team }}", "${TEAM}"):
        tree(tmp_path / "quoted", {"a.yaml": knp(f"{{podSelector: {{matchLabels: {{team: '{placeholder}'}}}}}}")})
        code, answer, _ = call(capsys, "lint", tmp_path / "quoted")
        assert (code, "Render it first" in answer["error"]) == (1, True)
    text = CLUSTER.replace("containers: []", "containers: [{name: c, args: ['{{.Name}}', '${HOME}']}]")
    tree(tmp_path / "pods", {"a.yaml": text})
    assert call(capsys, "lint", tmp_path / "pods")[0] == 0, "what a container is told is not ours"


KUSTOMIZE = {
    "base/kustomization.yaml": "resources: [deny.yaml]\n",
    "base/deny.yaml": DENY,
    "prod/kustomization.yaml": "resources: [../base]\npatches: [{path: patch.yaml}, {path: more.json, target: {kind: NetworkPolicy}}]\n"
    "patchesStrategicMerge: [old.yaml]\n",
    "prod/patch.yaml": "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny}\nspec: {policyTypes: [Egress]}\n",
    "prod/old.yaml": "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny}\nspec: {policyTypes: [Egress]}\n",
    "prod/more.json": '[{"op": "add", "path": "/spec/egress", "value": []}]',
}


def test_a_kustomization_and_its_patches_are_passed_over_and_the_command_that_builds_it_is_named(tmp_path, capsys):
    root = tree(tmp_path, KUSTOMIZE)
    code, answer, text = call(capsys, "lint", root)
    assert (code, answer["findings"]) == (0, []), text
    said = {Path(s["file"]).name: s["reason"] for s in answer["skipped"] if "prod" in s["file"]}
    assert set(said) == {"kustomization.yaml", "patch.yaml", "old.yaml", "more.json"}
    assert all(f"kubectl kustomize {root / 'prod'}" in reason for reason in said.values())


def test_tool_directories_are_passed_over_unless_they_are_named(tmp_path, capsys):
    root = tree(tmp_path, {".github/workflows/a.yaml": "on: [push]\n", ".git/x.yaml": "{", "a.yaml": DENY})
    os.symlink(tmp_path, root / "loop")
    code, answer, _ = call(capsys, "lint", root)
    assert code == 0
    assert [Path(s["file"]).name for s in answer["skipped"]] == [".git", ".github", "loop"]
    assert call(capsys, "lint", root / ".git")[0] == 64


NO_YAML = {
    "control characters": "a: \x07\n",
    "NUL": "a: \0",
    "an escape": "a: \x1b[31mred\n",
    "a complex key": "? [a, b]\n: c\n",
    "a mapping as a key": "{a: b}: c\n",
    "a key of an alias": "a: &a [1]\n*a : b\n",
    "half a document": "a: [\n",
    "a tab": "a:\n\tb: c\n",
}


@pytest.mark.parametrize("kind", NO_YAML)
def test_a_file_that_is_no_yaml_is_one_error_with_its_line(tmp_path, capsys, kind):
    tree(tmp_path, {"bad.yaml": DENY + "---\n" + NO_YAML[kind], "good.yaml": CLUSTER})
    for paths in ([tmp_path], [tmp_path / "bad.yaml"]):
        code, answer, text = call(capsys, "lint", *paths)
        assert code == 64
        (error,) = answer["errors"]
        assert error["line"] >= 5
        assert "Traceback" not in text


def test_nothing_of_a_file_reaches_the_terminal_as_a_control_character(tmp_path, capsys):
    odd = json.dumps("\x1b[31m")
    tree(
        tmp_path,
        {
            "a.yaml": docs(
                f"{{apiVersion: v1, kind: {odd}}}", f"{{apiVersion: v1, kind: Pod, metadata: {{name: {odd}}}}}"
            )
        },
    )
    text = call(capsys, "lint", tmp_path)[2]
    assert "skipped" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("name", ["../../etc/x", "a\nb", "a\x1bb", "", " ", "a/b", "x" * 300, "-a"])
def test_a_name_that_no_object_can_have_is_a_fault_and_never_a_path(tmp_path, capsys, name):
    tree(tmp_path, {"a.yaml": gnp("{}").replace("{name: g}", json.dumps({"name": name}))})
    code, answer, text = call(capsys, "translate", tmp_path, "--out", tmp_path / "out")
    assert (code, answer["field"]) == (1, "metadata.name")
    assert "\x1b" not in text
    assert not (tmp_path / "out").exists()


def test_an_unreadable_file_is_a_wrong_command_whichever_command_it_is(tmp_path, capsys):
    tree(tmp_path, {"good.yaml": docs(CLUSTER, DENY)})
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe")
    flow = ["--from", "red/web", "--to", "red/db", "--port", "80"]
    for bad in (tmp_path / "none.yaml", tmp_path / "bytes.yaml", tmp_path / "good.yaml" / "x"):
        for command in (["lint"], ["translate"], ["explain", *flow], ["prove", "--after", tmp_path / "good.yaml"]):
            code, answer, text = call(capsys, command[0], bad, tmp_path / "good.yaml", *command[1:])
            assert (code, answer["file"]) == (64, str(bad)), text


def test_explain_without_a_port_asks_for_one(tmp_path, capsys):
    tree(tmp_path, {"a.yaml": CLUSTER})
    for protocol in ("TCP", "UDP", "SCTP"):
        flow = ["--from", "red/web", "--to", "red/db", "--protocol", protocol]
        code, answer, text = call(capsys, "explain", tmp_path, *flow)
        assert code == 64
        assert "--port 5432" in text
        assert "allowed" not in answer
    assert call(capsys, "explain", tmp_path, "--from", "red/web", "--to", "red/db", "--protocol", "ICMP")[0] == 0
    code, _, text = call(capsys, "explain", tmp_path, "--from", "red/web", "--to", "service:red/db")
    assert (code, "--port 5432" in text) == (64, True)


def test_an_error_in_a_live_object_names_the_object():
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "namespace": "red"},
        "spec": {},
        "status": {"podIP": "x"},
    }
    policy = {
        "apiVersion": "crd.projectcalico.org/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "p", "namespace": "red"},
        "spec": {"selector": "a ="},
    }
    with pytest.raises(PolicyError) as caught:
        from_objects([pod, policy])
    assert [(e.about, e.field) for e in caught.value.errors] == [
        ("Pod red/a", "status.podIPs"),
        ("NetworkPolicy red/p", "spec.selector"),
    ]
    assert "[Pod red/a]" in str(caught.value)


def test_a_dump_of_a_whole_cluster_is_read(tmp_path):
    items = "".join(
        "- " + text.strip().replace("\n", "\n  ") + "\n"
        for text in (
            *CLUSTER.split("---"),
            *TENANTS.split("---"),
            DENY,
            *(t for k, t in OTHER_KINDS.items() if "kind: " in t),
        )
    )
    tree(tmp_path, {"dump.yaml": f"apiVersion: v1\nkind: List\nmetadata: {{resourceVersion: ''}}\nitems:\n{items}"})
    world = load([tmp_path])
    assert (len(world.pods), len(world.policies)) == (6, 1)
