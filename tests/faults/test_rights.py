"""plan, run, status and undo under exactly the rights that are shipped, on a real API server; and without one of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from operations.refresh.cluster import cloud
from tests.engine.refresh_cluster import ROOT
from tests.faults.stage import NAME, Run, Stage

ROLE = "refresher"
RBAC = ROOT / "docs" / "refresh" / "rbac.yaml"
IAM = ROOT / "docs" / "refresh" / "iam.json"
KINDS = {
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/rolebindings",
}


def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(RBAC.read_text()))


def granted(*without: str) -> set[str]:
    """The calls of the shipped policy."""
    policy = json.loads(IAM.read_text())
    return {action for statement in policy["Statement"] for action in statement["Action"]} - set(without)


class Refresher:
    """A role of the account with an access entry that puts it into the group of the shipped bindings."""

    def __init__(self, stage: Stage, keys: dict[str, str]) -> None:
        self.stage, self.keys = stage, keys

    def do(self, *argv: str) -> Run:
        return self.stage.command(*argv, **self.keys).wait()


@pytest.fixture
def refresher(stage: Stage, tmp_path: Path) -> Iterator[Refresher]:
    for document in documents():
        stage.kube.call("POST", KINDS[document["kind"]], document)
    account = stage.accounts("iam")
    trust = {"Version": "2012-10-17", "Statement": []}  # type: dict[str, Any]
    arn = account.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    groups = {d["subjects"][0]["name"] for d in documents() if "subjects" in d}
    stage.eks.create_access_entry(clusterName=NAME, principalArn=arn, kubernetesGroups=sorted(groups))
    found = stage.accounts("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    keys = {
        "AWS_ACCESS_KEY_ID": found["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": found["SecretAccessKey"],
        "AWS_SESSION_TOKEN": found["SessionToken"],
    }
    stage.cloud.allowed = granted().__contains__
    try:
        yield Refresher(stage, keys)
    finally:
        stage.cloud.allowed = None
        stage.eks.delete_access_entry(clusterName=NAME, principalArn=arn)
        account.delete_role(RoleName=ROLE)
        for document in documents():
            stage.kube.delete(f"{KINDS[document['kind']]}/{document['metadata']['name']}")


@pytest.mark.core
def test_plan_run_status_pause_and_undo_need_no_more_than_what_is_shipped(refresher: Refresher):
    stage = refresher.stage
    plan = refresher.do("refresh", "plan", "--to", "cilium")
    assert plan.code == 0, plan.text
    for argv in (
        ("run", "--to", "cilium", "--budget", "1"),
        ("status",),
        ("pause",),
        ("undo",),
        ("run", "--to", "legacy", "--budget", "1"),
    ):
        done = refresher.do("refresh", *argv)
        assert done.code == 0, f"{argv}: {done.text}"
    refused = [r for r in [*stage.api.requests, *stage.cloud.requests] if r.status in (401, 403)]
    assert refused == []


@pytest.mark.core
def test_with_these_rights_nobody_deletes_a_pod_or_reads_a_secret(refresher: Refresher):
    api = refresher.stage.kube
    for resource, verb in (("pods", "delete"), ("pods", "deletecollection"), ("secrets", "get"), ("secrets", "list")):
        about = {"resource": resource, "verb": verb, "namespace": "shop"}
        groups = ["system:authenticated", "eks-cilium-refresh"]
        review = {"spec": {"user": "refresher", "groups": groups, "resourceAttributes": about}}
        answer = api.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        assert not answer["status"]["allowed"], f"{verb} {resource}"


@contextmanager
def without(stage: Stage, resource: str, verb: str) -> Iterator[None]:
    """The shipped rules less one right."""
    kind = "Role" if resource == "leases" else "ClusterRole"
    document = next(d for d in documents() if d["kind"] == kind)
    path = f"{KINDS[kind]}/{document['metadata']['name']}"
    less = copy.deepcopy(document["rules"])
    for rule in less:
        if resource in rule["resources"]:
            rule["verbs"] = [v for v in rule["verbs"] if v != verb] or ["get"]
    stage.kube.patch(path, {"rules": less})
    try:
        yield
    finally:
        stage.kube.patch(path, {"rules": document["rules"]})


@pytest.mark.parametrize(
    ("resource", "verb"),
    [
        ("nodes", "list"), ("nodes", "patch"), ("nodes", "delete"), ("pods", "watch"), ("pods/eviction", "create"),
        ("poddisruptionbudgets", "list"), ("volumeattachments", "watch"), ("leases", "update"),
    ],
)  # fmt: skip
def test_without_one_right_in_the_cluster_a_run_names_it_and_touches_nothing(
    refresher: Refresher, resource: str, verb: str
):
    stage = refresher.stage
    with without(stage, resource, verb):
        run = refresher.do("refresh", "run", "--to", "cilium", "--budget", "1")
    assert run.code == 1, run.text
    assert len(run.text.strip().splitlines()) == 1, run.text
    assert f"{verb} {resource}" in run.text
    assert run.boundaries == []
    assert stage.state()["marked"] == []


CALLS = [f"{service}:{action}" for service, action, _ in cloud.CALLS]
ALWAYS_NEEDED = {
    "eks:DescribeNodegroup", "eks:UpdateNodegroupConfig", "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:DescribeAutoScalingInstances", "autoscaling:TerminateInstanceInAutoScalingGroup",
    "autoscaling:SuspendProcesses", "elasticloadbalancing:DescribeTargetGroups",
}  # fmt: skip


@pytest.mark.parametrize("call", sorted(ALWAYS_NEEDED))
def test_without_one_right_in_the_account_a_run_stops_and_names_it(refresher: Refresher, call: str):
    assert call in CALLS
    refresher.stage.cloud.allowed = granted(call).__contains__
    run = refresher.do("refresh", "run", "--to", "cilium", "--budget", "1")
    assert run.code in (1, 2), run.text
    assert call in run.text, run.text
    assert "Traceback" not in run.text


def test_another_account_than_the_clusters_is_refused_before_anything_is_touched(refresher: Refresher):
    stage = refresher.stage
    before = stage.cloud.rewrite

    def rewrite(action: str, body: bytes) -> bytes:
        body = before(action, body) if before else body
        return body.replace(b"111122223333", b"999988887777") if action == "GetCallerIdentity" else body

    stage.cloud.rewrite = rewrite
    try:
        run = refresher.do("refresh", "run", "--to", "cilium")
    finally:
        stage.cloud.rewrite = before
    assert run.code == 2, run.text
    assert "the credentials belong to account 999988887777" in run.text
    assert run.boundaries == []


@pytest.mark.core
def test_a_kubeconfig_of_another_cluster_is_refused_before_anything_is_touched(stage: Stage, tmp_path: Path):
    """The proxy's address is not the cluster's endpoint. In a process of its own: the client reads KUBECONFIG early."""
    path = tmp_path / "kubeconfig"
    original = (stage.directory / "kubeconfig").read_text()
    path.write_text(original.replace(stage.api.upstream, stage.api.url))
    assert path.read_text() != original
    process = stage.start("refresh", "run", "--to", "cilium", KUBECONFIG=str(path))
    _, text = process.communicate(timeout=60)
    assert process.returncode == 2, text
    assert f"KUBECONFIG leads to {stage.api.url}" in text
    assert len(text.strip().splitlines()) == 1
    assert stage.state()["marked"] == []
