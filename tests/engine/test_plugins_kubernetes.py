"""The Kubernetes stand-in under the real engine, against a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import lifecycle, toolcache
from sandbox.plugins.kubernetes.client import APPLY, ApiError, Client, Kubeconfig
from tests.engine.project import Project, environment

pytestmark = pytest.mark.engine

PROGRAM = """
    import json
    import os
    import pulumi
    import pulumi_kubernetes as k8s

    modes = os.environ.get("MODE", "").split(",")
    value = os.environ.get("VALUE", "1")
    provider = k8s.Provider("cluster", kubeconfig=os.environ["CONFIG"])
    def opts(*on, **more):
        return pulumi.ResourceOptions(provider=provider, depends_on=list(on), **more)

    space = k8s.core.v1.Namespace("space", metadata={"name": "demo"}, opts=opts())
    auto = k8s.core.v1.ConfigMap("auto", metadata={"namespace": space.metadata.name}, data={"v": value}, opts=opts())
    secret = k8s.core.v1.Secret("secret", metadata={"name": "s", "namespace": "demo"},
                                string_data={"password": "hush-" + value}, opts=opts(space))
    definition = k8s.apiextensions.v1.CustomResourceDefinition("definition", metadata={"name": "foos.ex.io"}, spec={
        "group": "ex.io", "scope": "Namespaced", "names": {"plural": "foos", "kind": "Foo"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
            "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}, opts=opts())
    foo = k8s.apiextensions.CustomResource("foo", api_version="ex.io/v1", kind="Foo",
        metadata={"name": "foo", "namespace": "demo"}, spec={"x": value}, opts=opts(space, definition))
    deployment = k8s.apps.v1.Deployment("deployment", metadata={"name": "d", "namespace": "demo"}, spec={
        "replicas": int(os.environ.get("REPLICAS", "0")),
        "selector": {"matchLabels": {"app": "d" + os.environ.get("SELECTOR", "")}},
        "template": {"metadata": {"labels": {"app": "d" + os.environ.get("SELECTOR", "")}},
                     "spec": {"containers": [{"name": "c", "image": "example"}]}}},
        opts=opts(space, custom_timeouts=pulumi.CustomTimeouts(create="2s", update="2s")))
    if "taken" in modes:
        k8s.core.v1.ConfigMap("taken", metadata={"name": "kube-root-ca.crt", "namespace": "demo"}, opts=opts(space))
    if "patch" in modes:
        k8s.apps.v1.DaemonSetPatch("patch", metadata={"name": "agent", "namespace": "demo", "annotations": {
            "pulumi.com/patchForce": str("force" in modes).lower(), "pulumi.com/patchFieldManager": "mover"}},
            spec={"template": {"spec": {"nodeSelector": {"cni": value}, "priorityClassName": ""}}}, opts=opts())
    if "release" in modes:
        release = k8s.helm.v3.Release("release", name="r", chart="./chart", namespace="demo",
            values={"value": auto.metadata.uid, "fail": "hang" in modes, "hush": pulumi.Output.secret("hush-1")},
            timeout=3, opts=opts(space))
        pulumi.export("release", release.status)
    pulumi.export("uid", space.metadata.uid)
    pulumi.export("auto", auto.metadata.name)
"""


class Cluster(Client):
    """Short ways to look at and to make objects beside the program."""

    def get(self, version: str, kind: str, name: str, namespace: str | None = "demo") -> dict[str, Any] | None:
        try:
            return self.request("GET", self.path(version, kind, namespace, name))
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def apply(self, value: dict[str, Any], manager: str) -> None:
        meta = value["metadata"]
        path = self.path(value["apiVersion"], value["kind"], meta.get("namespace"), meta["name"])
        self.request("PATCH", path, value, {"fieldManager": manager, "force": "true"}, APPLY)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("kubernetes")
    lifecycle.up(made / "sandbox", print, daemon=False)
    try:
        yield made
    finally:
        lifecycle.down(made / "sandbox", print, purge=True)


@pytest.fixture(scope="module")
def cluster(directory: Path) -> Cluster:
    return Cluster(Kubeconfig.load(str(directory / "sandbox" / "kubeconfig")))


@pytest.fixture(scope="module")
def project(directory: Path) -> Project:
    config = directory / "sandbox" / "kubeconfig"
    tools = toolcache.ensure(print)
    path = environment(directory, tools["pulumi"].parent)
    path["PATH"] += f":{tools['helm'].parent}"
    made = Project(directory / "p", path | {"CONFIG": config.read_text(), "KUBECONFIG": str(config)}, PROGRAM)
    templates = made.directory / "chart" / "templates"
    templates.mkdir(parents=True)
    (templates.parent / "Chart.yaml").write_text("apiVersion: v2\nname: tiny\nversion: 0.1.0\nappVersion: '9'\n")
    (templates / "all.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: r}\ndata: {value: {{ .Values.value | quote }}}\n"
        "{{ if .Values.fail }}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: never}\n"
        "spec: {containers: [{name: c, image: example}]}\n{{ end }}\n"
    )
    return made


@pytest.fixture(scope="module")
def deployed(project: Project) -> Project:
    project.up()
    return project


def test_a_preview_without_namespace_and_definition_works_and_touches_nothing(project: Project, cluster: Cluster):
    steps = project.steps(mode="release")
    assert set(steps.values()) == {"create"}
    assert {"space", "auto", "foo", "deployment", "release"} <= set(steps)
    assert cluster.get("v1", "Namespace", "demo", None) is None


def test_objects_are_made_named_awaited_and_then_left_alone(deployed: Project, cluster: Cluster):
    outputs = deployed.outputs()
    assert outputs["uid"] == (cluster.get("v1", "Namespace", "demo", None) or {})["metadata"]["uid"]
    assert outputs["auto"].startswith("auto-")
    assert (cluster.get("ex.io/v1", "Foo", "foo") or {})["spec"] == {"x": "1"}
    secret = deployed.resources()["secret"]
    assert "hush" not in json.dumps(secret)
    assert "ciphertext" in secret["outputs"]["data"]
    deployed.pulumi("preview", "--expect-no-changes")


def test_changes_update_replace_and_wait_as_the_kind_demands(deployed: Project, cluster: Cluster):
    name = deployed.outputs()["auto"]
    selector: dict[str, Any] = {"value": 2, "selector": "x"}
    assert deployed.steps(**selector) == {
        "auto": "replace",
        "secret": "replace",
        "foo": "update",
        "deployment": "replace",
    }
    deployed.up(**selector)
    assert deployed.outputs()["auto"] != name
    assert cluster.get("v1", "ConfigMap", name) is None
    assert (cluster.get("ex.io/v1", "Foo", "foo") or {})["spec"] == {"x": "2"}
    deployed.up()


def test_an_update_first_takes_what_client_side_managers_wrote_and_so_takes_it_away(
    deployed: Project, cluster: Cluster
):
    path, merge = cluster.path("ex.io/v1", "Foo", "demo", "foo"), "application/merge-patch+json"
    for manager, field in (("kubectl", "applied"), ("kubectl-edit", "edited")):
        cluster.request("PATCH", path, {"spec": {field: "1"}}, {"fieldManager": manager}, merge)
    deployed.up(value=3)
    assert (cluster.get("ex.io/v1", "Foo", "foo") or {})["spec"] == {"x": "3", "edited": "1"}
    cluster.request("PATCH", path, {"spec": {"edited": None}}, {"fieldManager": "kubectl-edit"}, merge)
    deployed.up()


def test_an_object_that_exists_is_not_taken_over(deployed: Project):
    out = deployed.up(fails=True, mode="taken")
    assert 'configmaps "kube-root-ca.crt" already exists' in out
    assert "taken" not in deployed.resources()


def test_what_does_not_become_ready_fails_the_deploy_stays_in_the_state_and_is_tried_again(
    deployed: Project, cluster: Cluster
):
    out = deployed.up(fails=True, replicas=1)
    assert "'demo/d' was successfully updated" in out
    assert "timed out after 2 s" in out
    assert "0 are available" in out
    assert "initErrors" in deployed.resources()["deployment"]
    deployed.up()
    assert "initErrors" not in deployed.resources()["deployment"]


def test_a_patch_needs_its_object_refuses_conflicts_and_gives_its_fields_back(deployed: Project, cluster: Cluster):
    out = deployed.up(fails=True, mode="patch")
    assert "DaemonSet demo/agent does not exist" in out
    agent = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "demo"},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "template": {
                "metadata": {"labels": {"app": "agent"}},
                "spec": {"containers": [{"name": "c", "image": "example"}], "nodeSelector": {"cni": "theirs"}},
            },
        },
    }
    cluster.apply(agent, "them")
    out = deployed.pulumi("preview", fails=True, mode="patch")
    assert "Server-Side Apply field conflict detected on DaemonSet demo/agent" in out
    assert 'conflict with "them"' in out

    deployed.up(mode="patch,force")
    live = cluster.get("apps/v1", "DaemonSet", "agent") or {}
    assert live["spec"]["template"]["spec"]["nodeSelector"] == {"cni": "1"}
    assert "mover" in {entry["manager"] for entry in live["metadata"]["managedFields"]}

    deployed.up()
    live = cluster.get("apps/v1", "DaemonSet", "agent") or {}
    assert "nodeSelector" not in live["spec"]["template"]["spec"], "nobody owned it any more"
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "example"


def test_a_release_is_installed_upgraded_and_its_half_done_upgrade_is_kept(deployed: Project):
    deployed.up(mode="release")
    status = deployed.outputs()["release"]
    assert (status["revision"], status["status"], status["version"], status["app_version"]) == (
        1,
        "deployed",
        "0.1.0",
        "9",
    )
    out = deployed.up(fails=True, mode="release,hang")
    assert "Helm release demo/r was changed, but failed to initialize completely" in out
    assert deployed.resources()["release"]["outputs"]["status"]["status"] == "failed"
    deployed.up(mode="release")
    assert deployed.outputs()["release"]["status"] == "deployed"


def test_a_refresh_sees_drift_and_what_is_gone(deployed: Project, cluster: Cluster):
    cluster.request("DELETE", cluster.path("ex.io/v1", "Foo", "demo", "foo"))
    patch = {"spec": {"replicas": 3}}
    cluster.request(
        "PATCH", cluster.path("apps/v1", "Deployment", "demo", "d"), patch, None, "application/merge-patch+json"
    )
    deployed.pulumi("refresh", "--yes", "--skip-preview")
    assert "foo" not in deployed.resources()
    assert deployed.steps(mode="release") == {"foo": "create", "deployment": "update"}


def test_an_import_takes_over_what_exists_and_a_cluster_that_is_gone_allows_a_preview(deployed: Project):
    token, name = "kubernetes:core/v1:ConfigMap", "demo/kube-root-ca.crt"
    deployed.pulumi(
        "import", token, "imported", name, "--yes", "--skip-preview", "--generate-code=false", "--protect=false"
    )
    assert set(deployed.resources()["imported"]["inputs"]["data"]) == {"ca.crt"}
    deployed.pulumi("state", "delete", deployed.resources()["imported"]["urn"], "--yes")

    gone = json.dumps(
        {
            "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {}}],
            "current-context": "c",
        }
    )
    fresh = Project(deployed.directory.parent / "gone", deployed.environment | {"CONFIG": gone}, PROGRAM, "gone")
    assert "foo" in fresh.steps()
    assert "configured Kubernetes cluster is unreachable: http://127.0.0.1:9" in fresh.up(fails=True)


def test_destroy_waits_until_everything_is_gone(deployed: Project, cluster: Cluster):
    deployed.pulumi("destroy", "--yes", "--skip-preview")
    assert cluster.get("v1", "Namespace", "demo", None) is None
    assert cluster.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", "foos.ex.io", None) is None
