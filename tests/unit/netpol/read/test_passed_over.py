"""What stands between people's files and their policies: policies inside other objects, pages, pointers, tables."""

from __future__ import annotations

import json

import pytest

from netpol import PolicyError, from_objects
from operations.policy import main
from tests.programs.published import write
from tests.unit.netpol.worlds import CLUSTER, knp

DENY = knp("{podSelector: {}, policyTypes: [Ingress]}", "deny")
INNER = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: a, namespace: red}, spec: {podSelector: {}}}"
GLOBAL = "{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: g}, spec: {types: [Ingress]}}"


def told(tmp_path, capsys, files):
    code = main(["lint", str(write(tmp_path, files))])
    out, err = capsys.readouterr()
    return code, json.loads(out), err


def kind(api, name, spec):
    return f"apiVersion: {api}\nkind: {name}\nmetadata: {{name: x, namespace: red}}\nspec: {spec}\n"


INSIDE = {
    "a generating policy": (
        kind("kyverno.io/v1", "ClusterPolicy", f"{{rules: [{{generate: {INNER}}}]}}"),
        "NetworkPolicy at spec.rules[0].generate",
    ),
    "a bundle for other clusters": (
        kind("work.open-cluster-management.io/v1", "ManifestWork", f"{{workload: {{manifests: [{GLOBAL}, {INNER}]}}}}"),
        "NetworkPolicy at spec.workload.manifests[1], GlobalNetworkPolicy at spec.workload.manifests[0]",
    ),
    "an object of an object": (
        kind("kubernetes.crossplane.io/v1alpha2", "Object", f"{{forProvider: {{manifest: {INNER}}}}}"),
        "NetworkPolicy at spec.forProvider.manifest",
    ),
    "values of a chart": (f"extraObjects:\n- {INNER}\n", "NetworkPolicy at extraObjects[0]"),
}


@pytest.mark.parametrize("what", INSIDE)
def test_policies_inside_of_what_somebody_else_reads_are_named_in_its_line(tmp_path, capsys, what):
    text, expected = INSIDE[what]
    code, answer, said = told(tmp_path, capsys, {"a.yaml": DENY, "b.yaml": text})
    assert code == 0
    assert f"{expected} is not read" in said
    assert len(answer["skipped"]) == 1


@pytest.mark.parametrize(
    ("api", "name"),
    [
        ("helm.toolkit.fluxcd.io/v2", "HelmRelease"),
        ("argoproj.io/v1alpha1", "ApplicationSet"),
        ("kustomize.toolkit.fluxcd.io/v1", "Kustomization"),
        ("helm.cattle.io/v1", "HelmChart"),
    ],
)
def test_what_brings_objects_from_elsewhere_is_not_said_to_decide_nothing(tmp_path, capsys, api, name):
    _, _, said = told(tmp_path, capsys, {"a.yaml": DENY, "b.yaml": kind(api, name, "{}")})
    assert f"{name} ({api}): what it brings is not seen here" in said
    assert "decides no traffic" not in said


TEMPLATE = f"apiVersion: template.openshift.io/v1\nkind: Template\nmetadata: {{name: t}}\nobjects:\n- {INNER}\n"
NOT_THE_THING = {
    "a template of OpenShift": (1, TEMPLATE, "Render it first: oc process -f "),
    "a pointer of Git LFS": (64, "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "git lfs pull"),
    "a table": (1, '{"kind": "Table", "apiVersion": "meta.k8s.io/v1", "rows": []}', "get them with -o yaml"),
    "a page of a list": (
        1,
        f"apiVersion: v1\nkind: List\nmetadata: {{continue: abc, remainingItemCount: 40}}\nitems: [{INNER}]\n",
        "metadata.continue: this is one page of a list: 40 more items are not in it",
    ),
    "a page of a list of one kind": (
        1,
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicyList\nmetadata:\n  continue: abc\nitems: []\n",
        "b.yaml:4: metadata.continue: this is one page of a list: more items",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", NOT_THE_THING)
def test_what_only_stands_for_policies_is_a_fault_with_the_command_that_gets_them(tmp_path, capsys, what):
    expected, text, words = NOT_THE_THING[what]
    code, _, said = told(tmp_path, capsys, {"a.yaml": DENY, "b.yaml": text})
    assert code == expected
    assert words in said


def test_the_last_page_of_a_list_is_a_list():
    page = {"apiVersion": "v1", "kind": "PodList", "metadata": {"continue": ""}, "items": []}
    assert from_objects([page]).pods == ()
    with pytest.raises(PolicyError, match="one page of a list"):
        from_objects([page | {"metadata": {"continue": "x"}}])


NO_MANIFEST = {
    "cloudformation": "Resources:\n  V: {Type: AWS::EC2::VPC, CidrBlock: !Ref Block}\n",
    "pages of a manual": "markdown_extensions:\n- x: !!python/name:a.b\n",
    "JSON with comments": '{\n  // comment\n  "a": 1,\n}\n',
}


@pytest.mark.parametrize("what", NO_MANIFEST)
def test_a_file_in_a_directory_that_is_no_yaml_and_says_no_kind_is_passed_over(tmp_path, capsys, what):
    files = {"a.yaml": DENY, "b.yaml": NO_MANIFEST[what]}
    code, answer, _ = told(tmp_path, capsys, files)
    assert code == 0
    (skipped,) = answer["skipped"]
    assert "says no kind, and cannot be read" in skipped["reason"]
    assert main(["lint", str(tmp_path / "b.yaml")]) == 64, "who names it means it"
    capsys.readouterr()
    assert told(tmp_path, capsys, {"b.yaml": "kind: NetworkPolicy\n" + NO_MANIFEST[what]})[0] == 64


def test_no_word_is_lost_about_a_file_between_good_ones(tmp_path, capsys):
    code, answer, _ = told(tmp_path, capsys, {"a.yaml": CLUSTER, "b.yaml": "a: !x b\n", "c.yaml": DENY})
    assert (code, len(answer["skipped"])) == (0, 1)


@pytest.mark.parametrize("name", ["UISettings", "GlobalThreatFeed", "GlobalAlert", "PacketCapture", "ManagedCluster"])
def test_what_calico_enterprise_holds_beside_policies_is_passed_over_with_a_line(name, tmp_path, capsys):
    other = f"apiVersion: projectcalico.org/v3\nkind: {name}\nmetadata: {{name: x}}\nspec: {{}}\n"
    code, answer, _ = told(tmp_path, capsys, {"np.yaml": DENY, "other.yaml": other})
    assert code == 0
    assert [s["what"] for s in answer["skipped"]] == [f"{name} (projectcalico.org/v3)"]
