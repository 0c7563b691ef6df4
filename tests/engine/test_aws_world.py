"""The emulated account and a real control plane together: what boto3 asks for happens in the cluster."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from sandbox import lifecycle
from sandbox.aws import Aws, Settings
from sandbox.world import World, connect

pytestmark = pytest.mark.engine

SETS = "/apis/apps/v1/namespaces/kube-system/daemonsets"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
NODE_CONFIG = """
apiVersion: node.eks.aws/v1alpha1
kind: NodeConfig
spec:
  cluster: {name: demo}
  kubelet:
    config: {maxPods: 25}
    flags: ["--node-labels=cni-plugin=aws", "--register-with-taints=example.com/new=true:NoSchedule"]
"""


class Sandbox:
    """A running sandbox with boto3 clients and the cluster's API."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = lifecycle.environment(directory)
        aws = Aws(None, "eu-west-1", Settings(None))
        self.kube = World(directory, connect(directory / "kubeconfig"), aws)
        self.eks, self.ec2, self.scaling = (self.client(name) for name in ("eks", "ec2", "autoscaling"))
        url = f"{self.environment['AWS_ENDPOINT_URL']}/sandbox/seed"
        with urllib.request.urlopen(urllib.request.Request(url, data=b"{}")) as answer:  # noqa: S310
            self.seed: dict[str, Any] = json.load(answer)

    def client(self, service: str) -> Any:
        make: Any = boto3.client
        return make(
            service,
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            region_name="eu-west-1",
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
        )

    def cluster(self, **more: Any) -> None:
        self.eks.create_cluster(
            name="demo",
            roleArn=self.seed["cluster_role"],
            resourcesVpcConfig={"subnetIds": self.seed["private_subnets"]},
            accessConfig={"authenticationMode": "API"},
            **more,
        )
        until(lambda: self.eks.describe_cluster(name="demo")["cluster"]["status"] == "ACTIVE")

    def nodegroup(self, name: str, *, size: int = 3, **more: Any) -> None:
        self.eks.create_nodegroup(
            clusterName="demo",
            nodegroupName=name,
            subnets=self.seed["private_subnets"],
            nodeRole=self.seed["node_role"],
            scalingConfig={"minSize": 0, "maxSize": 9, "desiredSize": size},
            **{"instanceTypes": ["m5.large"], **more},
        )

    def group(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.eks.describe_nodegroup(clusterName="demo", nodegroupName=name)["nodegroup"]
        return found

    def settle(self, name: str) -> dict[str, Any]:
        until(lambda: self.group(name)["status"] not in ("CREATING", "UPDATING"))
        return self.group(name)

    def nodes(self, group: str) -> list[dict[str, Any]]:
        found = self.kube.call("GET", "/api/v1/nodes", labelSelector=f"eks.amazonaws.com/nodegroup={group}")
        items: list[dict[str, Any]] = found["items"]
        return items

    def addon(self, name: str) -> dict[str, Any]:
        until(lambda: not self._addon(name)["status"].endswith("ING"))
        return self._addon(name)

    def _addon(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.eks.describe_addon(clusterName="demo", addonName=name)["addon"]
        return found

    def affinity(self, name: str) -> list[str]:
        """Keys of the node selector term of a DaemonSet."""
        spec = self.kube.call("GET", f"{SETS}/{name}")["spec"]["template"]["spec"]
        required = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        (term,) = required["nodeSelectorTerms"]
        return [row["key"] for row in term["matchExpressions"]]

    def set_world(self, **values: Any) -> None:
        (self.directory / "world.json").write_text(json.dumps(values))


def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    """Wait for it, else fail."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox with a cluster and a node group, shared: each test leaves both as it found them."""
    directory = tmp_path_factory.mktemp("sandbox")
    lifecycle.up(directory, print)
    try:
        world = Sandbox(directory)
        world.cluster()
        world.nodegroup("base", size=3, labels={"late": "yes"})
        assert world.settle("base")["status"] == "ACTIVE"
        yield world
    finally:
        lifecycle.down(directory, print, purge=True)


def test_nodes_carry_what_kubelet_and_the_cloud_put_on_them_and_api_labels_late(sandbox: Sandbox):
    nodes = sandbox.nodes("base")
    zones = {node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in nodes}
    assert zones == {"eu-west-1a", "eu-west-1b", "eu-west-1c"}
    for node in nodes:
        assert node["metadata"]["name"].endswith(".eu-west-1.compute.internal")
        zone, instance = node["spec"]["providerID"].removeprefix("aws:///").split("/")
        assert zone == node["metadata"]["labels"]["topology.kubernetes.io/zone"]
        assert sandbox.ec2.describe_instances(InstanceIds=[instance])["Reservations"]
        assert node["status"]["allocatable"]["pods"] == "29"
    until(lambda: all(node["metadata"]["labels"].get("late") == "yes" for node in sandbox.nodes("base")))


def test_user_data_reaches_kubelet_before_the_node_group_api(sandbox: Sandbox):
    sandbox.set_world(late_labels_delay=3600)
    data = {"UserData": base64.b64encode(NODE_CONFIG.encode()).decode()}
    template = sandbox.ec2.create_launch_template(LaunchTemplateName="labelled", LaunchTemplateData=data)
    reference = {"id": template["LaunchTemplate"]["LaunchTemplateId"], "version": "1"}
    sandbox.nodegroup("labelled", size=1, launchTemplate=reference, labels={"late": "yes"})
    assert sandbox.settle("labelled")["status"] == "ACTIVE"
    (node,) = sandbox.nodes("labelled")
    assert node["metadata"]["labels"]["cni-plugin"] == "aws"
    assert "late" not in node["metadata"]["labels"]
    assert node["status"]["allocatable"]["pods"] == "25"
    assert "example.com/new" in [taint["key"] for taint in node["spec"]["taints"]]
    sandbox.set_world(late_labels_delay=0.1)
    until(lambda: sandbox.nodes("labelled")[0]["metadata"]["labels"].get("late") == "yes")
    sandbox.eks.delete_nodegroup(clusterName="demo", nodegroupName="labelled")
    until(lambda: sandbox.eks.list_nodegroups(clusterName="demo")["nodegroups"] == ["base"])
    until(lambda: not sandbox.nodes("labelled"))
    left = sandbox.kube.call("GET", "/api/v1/pods", fieldSelector=f"spec.nodeName={node['metadata']['name']}")
    until(lambda: not left["items"] or not sandbox.kube.get(_path(left["items"][0])))


def _path(pod: dict[str, Any]) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def test_nodes_without_a_cni_fail_their_group_and_a_cni_repairs_the_next_one(sandbox: Sandbox):
    sandbox.set_world(nodegroup_create_deadline=4)
    block = {"spec": {"template": {"spec": {"nodeSelector": {"nobody": "here"}}}}}
    sandbox.kube.patch(f"{SETS}/aws-node", block)
    try:
        sandbox.nodegroup("dead", size=1)
        group = sandbox.settle("dead")
        assert group["status"] == "CREATE_FAILED"
        assert [issue["code"] for issue in group["health"]["issues"]] == ["NodeCreationFailure"]
    finally:
        sandbox.kube.patch(f"{SETS}/aws-node", {"spec": {"template": {"spec": {"nodeSelector": None}}}})
        sandbox.set_world()
        sandbox.eks.delete_nodegroup(clusterName="demo", nodegroupName="dead")
    until(lambda: sandbox.eks.list_nodegroups(clusterName="demo")["nodegroups"] == ["base"])


def test_an_ended_instance_loses_its_node_and_the_group_gets_a_new_one(sandbox: Sandbox):
    before = {node["metadata"]["name"] for node in sandbox.nodes("base")}
    victim = sandbox.nodes("base")[0]["spec"]["providerID"].rsplit("/", 1)[1]
    sandbox.scaling.terminate_instance_in_auto_scaling_group(InstanceId=victim, ShouldDecrementDesiredCapacity=False)
    until(lambda: len({node["metadata"]["name"] for node in sandbox.nodes("base")} - before) == 1)
    until(lambda: len(sandbox.nodes("base")) == 3)


def test_a_node_that_somebody_deletes_does_not_come_back(sandbox: Sandbox):
    node = sandbox.nodes("base")[0]
    instance = node["spec"]["providerID"].rsplit("/", 1)[1]
    sandbox.kube.delete(f"/api/v1/nodes/{node['metadata']['name']}")
    time.sleep(1)
    assert node["metadata"]["name"] not in {other["metadata"]["name"] for other in sandbox.nodes("base")}
    sandbox.scaling.terminate_instance_in_auto_scaling_group(InstanceId=instance, ShouldDecrementDesiredCapacity=False)
    until(lambda: len(sandbox.nodes("base")) == 3)


def test_addons_take_over_from_self_managed_ones_and_obey_their_owners_conflict_rules(sandbox: Sandbox):
    own = {"cni-plugin": "aws"}
    plain = ["kubernetes.io/os", "kubernetes.io/arch", "eks.amazonaws.com/compute-type"]
    assert sandbox.affinity("kube-proxy") == plain
    sandbox.eks.create_addon(clusterName="demo", addonName="kube-proxy", resolveConflicts="OVERWRITE")
    assert sandbox.addon("kube-proxy")["status"] == "ACTIVE"
    row = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [row]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    patch = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "kube-proxy", "annotations": own},
        "spec": {"template": {"spec": {"affinity": affinity}}},
    }
    sandbox.kube.apply(f"{SETS}/kube-proxy", patch, manager="program")
    newest = "v1.35.4-eksbuild.2"

    def update(mode: str) -> str:
        values = {"addonVersion": newest, "resolveConflicts": mode}
        made = sandbox.eks.update_addon(clusterName="demo", addonName="kube-proxy", **values)["update"]
        reference = {"name": "demo", "addonName": "kube-proxy", "updateId": made["id"]}
        until(lambda: sandbox.eks.describe_update(**reference)["update"]["status"] != "InProgress")
        found = sandbox.eks.describe_update(**reference)["update"]
        return str(found["errors"][0]["errorCode"] if found["errors"] else found["status"])

    assert update("NONE") == "ConfigurationConflict"
    assert sandbox.addon("kube-proxy")["addonVersion"] != newest
    assert update("PRESERVE") == "Successful"
    assert sandbox.addon("kube-proxy")["addonVersion"] == newest
    assert sandbox.affinity("kube-proxy") == ["kubernetes.io/os"]
    assert update("OVERWRITE") == "Successful"
    assert sandbox.affinity("kube-proxy") == plain
    sandbox.eks.delete_addon(clusterName="demo", addonName="kube-proxy", preserve=True)
    until(lambda: sandbox.eks.list_addons(clusterName="demo")["addons"] == [])
    assert sandbox.kube.get(f"{SETS}/kube-proxy")


def test_configuration_values_of_vpc_cni_are_merged_and_taken_back(sandbox: Sandbox):
    expression = {"key": "cni-plugin", "operator": "In", "values": ["nobody"]}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    values = {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}
    sandbox.eks.create_addon(clusterName="demo", addonName="vpc-cni", resolveConflicts="OVERWRITE")
    assert sandbox.addon("vpc-cni")["status"] == "ACTIVE"
    update = {"clusterName": "demo", "addonName": "vpc-cni", "resolveConflicts": "NONE"}
    sandbox.eks.update_addon(**update, configurationValues=json.dumps(values))
    sandbox.addon("vpc-cni")
    assert sandbox.affinity("aws-node") == ["cni-plugin"]
    sandbox.eks.update_addon(**update, configurationValues="{}")
    assert sandbox.addon("vpc-cni")["status"] == "ACTIVE"
    assert len(sandbox.affinity("aws-node")) == 3
    assert sandbox.kube.call("GET", f"{SETS}/aws-node")["status"]["numberReady"] == 3


def test_what_admission_refuses_to_the_addon_manager_fails_the_addon_with_its_words(sandbox: Sandbox):
    named = {"clusterName": "demo", "addonName": "kube-proxy"}
    sandbox.eks.create_addon(**named, resolveConflicts="OVERWRITE")
    assert sandbox.addon("kube-proxy")["status"] == "ACTIVE"
    rule = {"apiGroups": ["apps"], "apiVersions": ["*"], "operations": ["DELETE"], "resources": ["daemonsets"]}
    refused = {"expression": "request.userInfo.username != 'eks:addon-manager'", "message": "kube-proxy stays"}
    policies, bindings = f"{ADMISSION}/validatingadmissionpolicies", f"{ADMISSION}/validatingadmissionpolicybindings"
    spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": [refused]}
    sandbox.kube.call("POST", policies, {"metadata": {"name": "keep"}, "spec": spec})
    binding = {"policyName": "keep", "validationActions": ["Deny"]}
    sandbox.kube.call("POST", bindings, {"metadata": {"name": "keep"}, "spec": binding})
    time.sleep(2)  # until the API server has noticed
    try:
        sandbox.eks.delete_addon(**named)
        failed = sandbox.addon("kube-proxy")
        assert failed["status"] == "DELETE_FAILED"
        assert "kube-proxy stays" in failed["health"]["issues"][0]["message"]
        assert sandbox.kube.get(f"{SETS}/kube-proxy")
    finally:
        sandbox.kube.delete(f"{bindings}/keep")
        sandbox.kube.delete(f"{policies}/keep")
    sandbox.eks.delete_addon(**named, preserve=True)
    until(lambda: "kube-proxy" not in sandbox.eks.list_addons(clusterName="demo")["addons"])


def test_an_eks_token_of_the_shim_opens_the_api_server(sandbox: Sandbox):
    command = ["aws", "eks", "get-token", "--cluster-name", "demo"]
    environment = {**os.environ, **sandbox.environment}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    token = json.loads(done.stdout)["status"]["token"]
    client = connect(sandbox.directory / "kubeconfig")
    client.configuration.cert_file = client.configuration.key_file = None
    bare = World(sandbox.directory, type(client)(client.configuration), sandbox.kube.aws)
    pool = bare.kube.rest_client.pool_manager
    answers = [
        pool.request(
            "GET", f"{client.configuration.host}/api/v1/nodes", headers={"Authorization": f"Bearer {text}"}
        ).status
        for text in (token, token[:-8])
    ]
    assert answers == [200, 401]


def test_a_rolling_replacement_honours_budgets_and_keeps_the_size(sandbox: Sandbox):
    before = {node["metadata"]["name"] for node in sandbox.nodes("base")}
    update = sandbox.eks.update_nodegroup_version(clusterName="demo", nodegroupName="base")["update"]
    lowest = 99

    def done() -> bool:
        nonlocal lowest
        budget = sandbox.kube.call("GET", "/apis/policy/v1/namespaces/kube-system/poddisruptionbudgets/coredns")
        lowest = min(lowest, budget["status"]["currentHealthy"])
        reference = {"name": "demo", "nodegroupName": "base", "updateId": update["id"]}
        return bool(sandbox.eks.describe_update(**reference)["update"]["status"] == "Successful")

    until(done, 120)
    until(lambda: len(sandbox.nodes("base")) == 3)
    assert not before & {node["metadata"]["name"] for node in sandbox.nodes("base")}
    assert lowest >= 1


def test_the_account_and_the_cluster_are_the_same_after_save_and_restore(sandbox: Sandbox):
    before = {node["metadata"]["name"] for node in sandbox.nodes("base")}
    lifecycle.save(sandbox.directory, "here", print)
    sandbox.eks.update_nodegroup_config(clusterName="demo", nodegroupName="base", scalingConfig={"desiredSize": 4})
    until(lambda: len(sandbox.nodes("base")) == 4)
    lifecycle.restore(sandbox.directory, "here", print)
    assert {node["metadata"]["name"] for node in sandbox.nodes("base")} == before
    assert sandbox.group("base")["scalingConfig"]["desiredSize"] == 3
    until(lambda: sandbox.group("base")["status"] == "ACTIVE")
