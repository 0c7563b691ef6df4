"""Checks and labels against a real API server and the emulated AWS, through the command line as gates call it."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from kube.transport import APPLY, KubeError, Obj
from migration.facts import Facts
from migration.names import CNI_LABEL, FIELD_MANAGER, FREEZE_POLICY, LABELLED_BY_US, LEGACY_CNI
from migration.rules import addon_values, affinity
from operations.access.context import Context
from sandbox import lifecycle, seeds, toolcache
from sandbox.operators.modules import CALICO_VERSION

OWN = '{"reached": true}'
"""What a state would say that had no mark yet: these checks are asked without a stack."""
pytestmark = [pytest.mark.engine, pytest.mark.timeout(600, func_only=True)]

ROOT = Path(__file__).parents[2]
NAME = "checks"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"


class Live:
    """An adopted legacy cluster in a sandbox, and a stack's directory that means it."""

    def __init__(self, sandbox: Path, project: Path) -> None:
        self.sandbox, self.project = sandbox, project
        self.environment = {**os.environ, **lifecycle.environment(sandbox)}
        self.environment.pop("KUBECONFIG", None)

    def run(self, *arguments: str, **environment: str) -> tuple[int, Any, str]:
        """(exit code, what stdout says as JSON, stderr)"""
        done = subprocess.run(
            ["sh", str(ROOT / "operations/run"), *arguments, "--stack", "test"],
            cwd=self.project,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr

    def check(self, *names: str, wait: int = 30, **environment: str) -> tuple[int, str]:
        """(exit code, text)"""
        chosen = [word for name in names for word in ("--check", name)]
        code, _, text = self.run("check", *chosen, "--wait", str(wait), **environment)
        return code, text

    @property
    def context(self) -> Context:
        """Fresh, for looking at the cluster and for breaking it."""
        return Context.load("test", self.project)

    def request(self, method: str, path: str, body: Any = None, kind: str = "", manager: str = "") -> Obj:
        where = f"{path}?fieldManager={manager}&force=true" if kind == APPLY else path
        where = f"{path}?fieldManager={manager}" if manager and kind != APPLY else where
        return self.context.kube.request(method, where, body=body, content_type=kind)

    def configure(self, stage: str) -> None:
        path = self.project / "Pulumi.test.yaml"
        content = yaml.safe_load(path.read_text())
        content["config"]["eks-cilium:stage"] = stage
        path.write_text(yaml.safe_dump(content))


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    sandbox, project = tmp_path_factory.mktemp("sb"), tmp_path_factory.mktemp("project")
    lifecycle.up(sandbox, print)
    try:
        values = seeds.settings("adopted", NAME, sandbox, print)
        del values["policies"]  # those of the project beside
        config = {"aws:region": "eu-west-1", "eks-cilium:journey": "replace", "eks-cilium:stage": "label-legacy"}
        config |= {f"eks-cilium:{key}": value for key, value in values.items()}
        (project / "Pulumi.yaml").write_text("name: eks-cilium\nruntime: python\n")
        (project / "Pulumi.test.yaml").write_text(yaml.safe_dump({"config": config}))
        found = Live(sandbox, project)
        with pytest.MonkeyPatch.context() as patch:
            for key, value in found.environment.items():
                patch.setenv(key, value)
            patch.delenv("KUBECONFIG", raising=False)
            (project / "facts.test.yaml").write_text(surveyed(found.context).dump())
            yield found
    finally:
        lifecycle.down(sandbox, print, purge=True)


def surveyed(context: Context) -> Facts:
    """The facts of the cluster as it is now, as far as the checks here look at them."""
    cluster = context.aws.cluster(NAME)
    assert cluster is not None

    def agent(addon: str, name: str) -> Obj:
        record, found = context.aws.addon(NAME, addon), context.kube.daemonset("kube-system", name)
        assert record is not None
        assert found is not None
        spec = found["spec"]["template"]["spec"]
        container = spec["containers"][0]
        return {
            "kind": "addon",
            "addonVersion": record["addonVersion"],
            "configuration": record.get("configurationValues"),
            "image": container["image"],
            "affinity": spec.get("affinity"),
            "env": {e["name"]: e["value"] for e in container.get("env") or [] if "value" in e},
        }

    return Facts.model_validate(
        {
            "format": 1,
            "surveyedAt": "2026-11-01T00:00:00Z",
            "cluster": {
                "name": NAME,
                "arn": cluster["arn"],
                "account": cluster["arn"].split(":")[4],
                "region": "eu-west-1",
                "version": cluster["version"],
                "vpcId": cluster["resourcesVpcConfig"]["vpcId"],
                "vpcCidrs": [seeds.VPC_CIDR, seeds.SECOND_CIDR],
                "serviceCidr": cluster["kubernetesNetworkConfig"]["serviceIpv4Cidr"],
                "oidcIssuer": cluster["identity"]["oidc"]["issuer"],
                "securityGroupId": cluster["resourcesVpcConfig"]["clusterSecurityGroupId"],
            },
            "vpcCni": agent("vpc-cni", "aws-node"),
            "kubeProxy": agent("kube-proxy", "kube-proxy"),
            "calico": {"kind": "operator", "version": CALICO_VERSION, "namespace": "calico-system"},
            "groups": [{"name": g["nodegroupName"], "kind": "managed"} for g in context.aws.nodegroups(NAME)],
            "subnets": [],
            "egressSource": "node",
            "decisions": [],
        }
    )


def eventually(question: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not (answer := question()) and time.monotonic() < end:
        time.sleep(0.5)
    return answer


def labels(live: Live) -> dict[str, str | None]:
    return {n["metadata"]["name"]: n["metadata"]["labels"].get(CNI_LABEL) for n in live.context.kube.nodes()}


def test_the_first_gates_pass_on_a_healthy_cluster_and_say_that_it_is_simulated(live: Live):
    for stage in ("baseline", "label-legacy"):
        code, report, text = live.run("check", "--place", stage, "--gate", "--own", OWN, "--wait", "30")
        assert code == 0, text
        assert (report["stage"], report["verdict"], report["simulated"]) == (stage, "passed", True)
    assert live.run("check", "--place", "baseline", "--settle", "--wait", "60")[0] == 0


def test_a_gate_stops_at_a_node_that_is_not_ready_and_passes_once_it_is_gone(live: Live):
    live.request("POST", "/api/v1/nodes", {"metadata": {"name": "dead", "labels": {"kubernetes.io/os": "linux"}}})
    code, report, text = live.run("check", "--place", "label-legacy", "--gate", "--own", OWN)
    assert code == 1
    assert "node dead: is not Ready" in text
    assert [c["check"] for c in report["checks"] if c["verdict"] != "passed"] == ["nodes-ready"]
    live.request("DELETE", "/api/v1/nodes/dead")
    assert live.run("check", "--place", "label-legacy", "--gate", "--own", OWN, "--wait", "30")[0] == 0


def test_labels_come_go_and_reach_nodes_that_join_later(live: Live):
    before = labels(live)
    assert live.check("nodes-labelled", "groups-labelled", wait=0)[0] == 1
    code, done, text = live.run("label", "--legacy", "present")
    assert code == 0, text
    assert sorted(done["nodes"]) == sorted(before)
    assert set(labels(live).values()) == {LEGACY_CNI}
    assert live.check("nodes-labelled", "groups-labelled")[0] == 0
    assert live.run("label", "--legacy", "present")[1]["nodes"] == []

    eks = live.context.aws.client("eks")
    group = done["groups"][0]
    size = live.context.aws.nodegroups(NAME)[0]["scalingConfig"]["desiredSize"]
    eks.update_nodegroup_config(clusterName=NAME, nodegroupName=group, scalingConfig={"desiredSize": size + 1})
    assert eventually(lambda: list(labels(live).values()) == [LEGACY_CNI] * (len(before) + 1)), labels(live)

    code, done, text = live.run("label", "--legacy", "absent")
    assert code == 0, text
    assert eventually(lambda: set(labels(live).values()) == {None}), labels(live)
    assert all(LABELLED_BY_US not in (n["metadata"].get("annotations") or {}) for n in live.context.kube.nodes())
    assert all(not g["tags"] for g in live.context.aws.nodegroups(NAME))
    assert live.run("label", "--legacy", "absent")[1] == {
        "legacy": "absent",
        "nodes": [],
        "groups": [],
        "left_alone": [],
    }


def test_pins_are_seen_and_an_unlabelled_node_is_named_but_breaks_nothing(live: Live):
    assert live.run("label", "--legacy", "present")[0] == 0
    assert live.check("pins-hold", wait=0)[0] == 1
    pin_everything(live)
    code, text = live.check("pins-hold", "legacy-healthy", "facts-hold", wait=90)
    assert code == 0, text
    body = {"metadata": {"name": "joined", "labels": {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}}}
    live.request("POST", "/api/v1/nodes", body)
    try:
        code, text = live.check("nodes-labelled", "pins-hold", "legacy-healthy", wait=0)
        assert code == 1
        assert "node joined: has no label cni-plugin" in text
        assert "PASSED  pins-hold" in text
        assert "PASSED  legacy-healthy" in text
    finally:
        live.request("DELETE", "/api/v1/nodes/joined")


def pin_everything(live: Live) -> None:
    """What the stage pin-legacy does: the add-on by its configuration, the others where their owners look."""
    context = live.context
    record = context.aws.addon(NAME, "vpc-cni")
    assert record is not None
    values = addon_values.parse(record["configurationValues"])
    values["affinity"] = affinity.pin(affinity.on_linux_ec2(), CNI_LABEL, LEGACY_CNI)
    eks = context.aws.client("eks")
    eks.update_addon(clusterName=NAME, addonName="vpc-cni", configurationValues=json.dumps(values))
    found = context.kube.daemonset("kube-system", "kube-proxy")
    assert found is not None
    pinned = affinity.pin(found["spec"]["template"]["spec"].get("affinity"), CNI_LABEL, LEGACY_CNI)
    meta = {"name": "kube-proxy", "namespace": "kube-system"}
    patch = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta}
    patch["spec"] = {"template": {"spec": {"affinity": pinned}}}
    live.request(
        "PATCH", "/apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy", patch, APPLY, manager=FIELD_MANAGER
    )
    override = {"template": {"spec": {"affinity": affinity.pin(None, CNI_LABEL, LEGACY_CNI)}}}
    body = {"spec": {"calicoNodeDaemonSet": {"spec": override}}}
    live.request("PATCH", "/apis/operator.tigera.io/v1/installations/default", body, "application/merge-patch+json")


def test_a_change_of_a_calico_policy_after_the_freeze_is_seen_with_its_author(live: Live):
    policy = {
        "apiVersion": "crd.projectcalico.org/v1",
        "kind": "GlobalNetworkPolicy",
        "metadata": {"name": "guard"},
        "spec": {"selector": "all()", "types": ["Ingress"]},
    }
    path = "/apis/crd.projectcalico.org/v1/globalnetworkpolicies"
    live.request("POST", path, policy, manager="pulumi-kubernetes-1")
    match = {"resourceRules": [{"apiGroups": ["x"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}]}
    spec = {"failurePolicy": "Fail", "matchConstraints": match, "validations": [{"expression": "true"}]}
    frozen = {"metadata": {"name": FREEZE_POLICY}, "spec": spec}
    bound = {"metadata": {"name": FREEZE_POLICY}, "spec": {"policyName": FREEZE_POLICY, "validationActions": ["Deny"]}}
    live.request("POST", f"{ADMISSION}/validatingadmissionpolicies", frozen)
    live.request("POST", f"{ADMISSION}/validatingadmissionpolicybindings", bound)
    assert live.check("calico-unchanged", wait=0)[0] == 0
    until = datetime.now(UTC).timestamp() + 1.1  # times of the API server are whole seconds
    time.sleep(max(until - datetime.now(UTC).timestamp(), 0))
    change = {"spec": {"types": ["Egress"]}}
    live.request("PATCH", f"{path}/guard", change, "application/merge-patch+json", manager="kubectl-edit")
    code, text = live.check("calico-unchanged", wait=0)
    assert code == 1
    assert "GlobalNetworkPolicy/guard: was changed by kubectl-edit" in text


def test_what_the_api_server_fills_in_is_no_difference_and_what_people_change_is(live: Live):
    names = ("ciliumclusterwidenetworkpolicies", "ciliumnetworkpolicies")
    folder = toolcache.cilium_chart().parents[2] / "pkg/k8s/apis/cilium.io/client/crds/v2"
    for name in names:
        live.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                     yaml.safe_load((folder / f"{name}.yaml").read_text()))  # fmt: skip
    path = "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies"
    assert eventually(lambda: served(live, path))
    policy = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumClusterwideNetworkPolicy",
        "metadata": {"name": "ping"},
        "spec": {"endpointSelector": {}, "ingress": [{"icmps": [{"fields": [{"type": 8}]}]}]},
    }
    directory = live.project / "policies/network/cilium"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "ping.yaml").write_text(yaml.safe_dump(policy))
    made = live.request("POST", path, policy)
    assert made["spec"]["ingress"][0]["icmps"][0]["fields"][0]["family"] == "IPv4"  # a default of the CRD
    code, text = live.check("policies-accepted", wait=0)
    assert code == 2, text  # no operator of Cilium has judged it
    assert "has not judged it yet" in text
    change = {"spec": {"egressDeny": [{"toEntities": ["world"]}]}}
    live.request("PATCH", f"{path}/ping", change, "application/merge-patch+json")
    code, text = live.check("policies-accepted", wait=0)
    assert code == 1
    assert "CiliumClusterwideNetworkPolicy/ping: differs from" in text
    assert "at spec.egressDeny" in text


def served(live: Live, path: str) -> bool:
    try:
        live.request("GET", path)
    except KubeError:
        return False
    return True


def test_another_clusters_kubeconfig_is_refused(live: Live, tmp_path: Path):
    content = yaml.safe_load((live.sandbox / "kubeconfig").read_text())
    content["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    other = tmp_path / "kubeconfig"
    other.write_text(yaml.safe_dump(content))
    code, text = live.check("identity-agrees", wait=0, KUBECONFIG=str(other))
    assert code == 2
    assert "KUBECONFIG leads to https://127.0.0.1:1" in text
    assert live.check("identity-agrees", wait=0, KUBECONFIG=str(live.sandbox / "kubeconfig"))[0] == 0


def test_a_caller_without_access_gets_unknown_never_passed(live: Live):
    iam, sts = live.context.aws.client("iam"), live.context.aws.client("sts")
    trust = {"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}]}
    role = iam.create_role(RoleName="stranger", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    given = sts.assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    code, text = live.check(
        "nodes-ready",
        wait=0,
        AWS_ACCESS_KEY_ID=given["AccessKeyId"],
        AWS_SECRET_ACCESS_KEY=given["SecretAccessKey"],
        AWS_SESSION_TOKEN=given["SessionToken"],
    )
    assert code == 2, text
    assert "access entry" in text
