"""The operators of the sandbox on the real control plane, with Cilium's real chart, and the witness beside them."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import config as kubeconfig
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError, ResourceNotFoundError

from sandbox import lifecycle, processes, seeds, toolcache

pytestmark = pytest.mark.engine

NAME = "operators"
TAINT = {"key": "node.cilium.io/agent-not-ready", "value": "true", "effect": "NoSchedule"}


def bound_to(cni: str) -> dict[str, Any]:
    term = {"matchExpressions": [{"key": "cni-plugin", "operator": "In", "values": [cni]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}


class Sandbox:
    """A started sandbox, with short ways to look at it and to change it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.account = seeds.Account(directory)

    def kind(self, api_version: str, kind: str) -> Any:
        client = DynamicClient(kubeconfig.new_client_from_config(str(self.directory / "kubeconfig")))
        return client.resources.get(api_version=api_version, kind=kind)

    def found(self, api_version: str, kind: str, **where: str) -> list[dict[str, Any]]:
        try:
            return list(self.kind(api_version, kind).get(**where).to_dict()["items"])
        except (ResourceNotFoundError, NotFoundError):
            return []

    def pods(self, namespace: str, **labels: str) -> list[dict[str, Any]]:
        selector = ",".join(f"{key.replace('_', '-')}={value}" for key, value in labels.items())
        return self.found("v1", "Pod", namespace=namespace, label_selector=selector)

    def nodes(self, cni: str) -> list[dict[str, Any]]:
        return self.found("v1", "Node", label_selector=f"cni-plugin={cni}")

    def patch(self, api_version: str, kind: str, name: str, body: dict[str, Any], namespace: str | None = None) -> None:
        merge = "application/merge-patch+json"
        self.kind(api_version, kind).patch(name=name, namespace=namespace, body=body, content_type=merge)

    def install_cilium(self) -> None:
        values = {
            "eni": {"enabled": True},
            "ipam": {"mode": "eni"},
            "routingMode": "native",
            "kubeProxyReplacement": True,
            "k8sServiceHost": "127.0.0.1",
            "k8sServicePort": 443,
            "hubble": {"enabled": False},
            "operator": {"unmanagedPodWatcher": {"restart": False}},
            "affinity": bound_to("cilium"),
        }
        helm = [str(self.directory / "bin" / "helm"), "--kubeconfig", str(self.directory / "kubeconfig")]
        chart = [str(toolcache.cilium_chart()), "--namespace", "kube-system", "--values", "-"]
        subprocess.run([*helm, "install", "cilium", *chart], input=json.dumps(values), text=True, check=True)

    def join_cilium_nodes(self, count: int) -> None:
        """A node group whose kubelets register with Cilium's label and taint."""
        taint = f"{TAINT['key']}={TAINT['value']}:{TAINT['effect']}"
        flags = ["--node-labels=cni-plugin=cilium", f"--register-with-taints={taint}"]
        config = {
            "apiVersion": "node.eks.aws/v1alpha1",
            "kind": "NodeConfig",
            "spec": {"cluster": {"name": NAME}, "kubelet": {"flags": flags}},
        }
        data = {"UserData": base64.b64encode(json.dumps(config).encode()).decode(), "InstanceType": "m5.large"}
        made = self.account("ec2").create_launch_template(LaunchTemplateName="cilium", LaunchTemplateData=data)
        eks = self.account("eks")
        cluster = eks.describe_cluster(name=NAME)["cluster"]
        eks.create_nodegroup(
            clusterName=NAME,
            nodegroupName="cilium",
            subnets=cluster["resourcesVpcConfig"]["subnetIds"],
            nodeRole=cluster["roleArn"].replace("-cluster", "-node"),
            launchTemplate={"id": made["LaunchTemplate"]["LaunchTemplateId"], "version": "1"},
            scalingConfig={"minSize": 0, "desiredSize": count, "maxSize": 6},
        )

    def free_addresses(self) -> int:
        return sum(s["AvailableIpAddressCount"] for s in self.account("ec2").describe_subnets()["Subnets"])


def is_ready(item: dict[str, Any]) -> bool:
    conditions = item["status"].get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def until(holds: Callable[[], Any], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A legacy cluster with Calico and workloads, whose agents are bound to its nodes; and Cilium, without a node."""
    directory = tmp_path_factory.mktemp("sandbox")
    lifecycle.up(directory, print)
    try:
        seeds.settings("adopted", NAME, directory, print)
        found = Sandbox(directory)
        for node in found.found("v1", "Node"):
            found.patch("v1", "Node", node["metadata"]["name"], {"metadata": {"labels": {"cni-plugin": "aws"}}})
        template = {"spec": {"template": {"spec": {"affinity": bound_to("aws")}}}}
        for name in ("aws-node", "kube-proxy"):
            found.patch("apps/v1", "DaemonSet", name, template, "kube-system")
        override = {"spec": {"calicoNodeDaemonSet": template}}
        found.patch("operator.tigera.io/v1", "Installation", "default", override)
        found.install_cilium()
        yield found
    finally:
        lifecycle.down(directory, print, purge=True)


@pytest.fixture(scope="module")
def witness(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Watches from here on; a call ends the watch and gives its lines."""
    out = tmp_path_factory.mktemp("watch") / "watch.jsonl"
    argv = [sys.executable, "-m", "sandbox.watch", "--dir", str(sandbox.directory), "--out", str(out)]
    process = processes.start("watch", argv, log=out.with_suffix(".log"), cwd=lifecycle.ROOT)
    until(out.exists, "the watch begins")

    def end() -> list[dict[str, Any]]:
        processes.stop([process])
        return [json.loads(line) for line in out.read_text().splitlines()]

    yield end
    processes.stop([process])


def test_without_a_cilium_node_the_operator_registers_definitions_and_nothing_else(sandbox, witness):
    until(lambda: len(sandbox.found("apiextensions.k8s.io/v1", "CustomResourceDefinition")) > 50, "Cilium's CRDs")
    definitions = sandbox.found("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    ours = [d for d in definitions if d["metadata"]["name"].endswith(".cilium.io")]
    assert all(d["metadata"]["labels"]["io.cilium.k8s.crd.schema.version"] for d in ours)
    assert sandbox.found("cilium.io/v2", "CiliumNode") == []
    assert sandbox.pods("kube-system", k8s_app="cilium") == []


def test_a_policy_gets_the_verdict_of_the_operator(sandbox, witness):
    policies: dict[str, dict[str, Any]] = {
        "good": {"ingress": [{}]},
        "bad": {"egress": [{"toCIDR": ["1.1.1.1/32"], "toEntities": ["all"]}]},
    }
    resource = sandbox.kind("cilium.io/v2", "CiliumNetworkPolicy")
    for name, rules in policies.items():
        spec = {"endpointSelector": {"matchLabels": {"app": "web"}}, **rules}
        body = {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": {"name": name}, "spec": spec}
        resource.create(namespace="shop", body=body)

    def verdicts() -> dict[str, str]:
        found = sandbox.found("cilium.io/v2", "CiliumNetworkPolicy")
        return {p["metadata"]["name"]: c["status"] for p in found for c in p.get("status", {}).get("conditions", [])}

    until(lambda: verdicts() == {"good": "True", "bad": "False"}, "verdicts")


def test_a_cilium_node_becomes_ready_with_cilium_alone_and_its_pods_get_endpoints(sandbox, witness):
    before = sandbox.free_addresses()
    sandbox.join_cilium_nodes(2)
    until(lambda: len(sandbox.nodes("cilium")) == 2 and all(map(is_ready, sandbox.nodes("cilium"))), "Cilium nodes")
    until(lambda: not any(n["spec"].get("taints") for n in sandbox.nodes("cilium")), "taints gone")
    names = {n["metadata"]["name"] for n in sandbox.nodes("cilium")}
    reasons = [
        c["reason"] for n in sandbox.nodes("cilium") for c in n["status"]["conditions"] if c["status"] == "False"
    ]
    assert reasons.count("CiliumIsUp") == 2
    here = [p for p in sandbox.found("v1", "Pod") if p["spec"].get("nodeName") in names]
    assert not [p for p in here if p["metadata"]["name"].startswith(("aws-node", "kube-proxy", "calico-node"))]
    # Ten addresses each (eight ahead, router, health endpoint), the interfaces' own besides.
    assert before - sandbox.free_addresses() >= 2 * 11
    interfaces = sandbox.account("ec2").describe_network_interfaces(
        Filters=[{"Name": "tag:io.cilium/cilium-managed", "Values": ["true"]}]
    )["NetworkInterfaces"]
    assert interfaces
    assert all(i["Attachment"]["DeleteOnTermination"] for i in interfaces)

    def pods() -> list[dict[str, Any]]:
        found = [p for p in sandbox.pods("shop") if p["spec"].get("nodeName") in names and is_ready(p)]
        return [p for p in found if not p["metadata"].get("deletionTimestamp")]

    for node in sandbox.nodes("aws"):
        sandbox.patch("v1", "Node", node["metadata"]["name"], {"spec": {"unschedulable": True}})
    sandbox.kind("v1", "Pod").delete(name=sandbox.pods("shop", app="web")[0]["metadata"]["name"], namespace="shop")
    until(lambda: [p for p in pods() if p["metadata"]["labels"].get("app") == "web"], "a web pod on Cilium")

    def endpoints() -> dict[str, dict[str, Any]]:
        return {e["metadata"]["name"]: e["status"] for e in sandbox.found("cilium.io/v2", "CiliumEndpoint")}

    until(lambda: {p["metadata"]["name"] for p in pods()} == set(endpoints()), "one endpoint for each pod there")
    (web,) = (p for p in pods() if p["metadata"]["labels"].get("app") == "web")
    status = endpoints()[web["metadata"]["name"]]
    assert status["networking"]["addressing"] == [{"ipv4": web["status"]["podIP"]}]
    assert status["policy"]["ingress"]["enforcing"]
    identities = {i["metadata"]["name"]: i["security-labels"] for i in sandbox.found("cilium.io/v2", "CiliumIdentity")}
    assert identities[str(status["identity"]["id"])]["k8s:app"] == "web"


def test_the_witness_saw_nothing_so_far_and_names_what_is_then_done_wrong(sandbox, witness):
    """Cut the power of a Cilium node that runs pods, and delete more pods than a budget allows."""
    (node, *_) = sandbox.nodes("cilium")
    for pod in sandbox.pods("shop", app="cart"):
        sandbox.kind("v1", "Pod").delete(name=pod["metadata"]["name"], namespace="shop")
    time.sleep(2)
    instance = node["spec"]["providerID"].rsplit("/", 1)[-1]
    sandbox.account("ec2").terminate_instances(InstanceIds=[instance])
    until(lambda: node["metadata"]["name"] not in {n["metadata"]["name"] for n in sandbox.nodes("cilium")}, "its end")
    until(
        lambda: (
            node["metadata"]["name"] not in {n["metadata"]["name"] for n in sandbox.found("cilium.io/v2", "CiliumNode")}
        ),
        "its CiliumNode goes with it",
    )
    *lines, summary = witness()
    found = {(line["rule"], line["object"]) for line in lines if line["severity"] == "violation"}
    assert ("pdb", "shop/cart") in found
    assert ("terminated-with-pods", instance) in found
    # Nothing but what was done wrong: joining a node and moving a pod broke no rule. There is no bridge here, so Cilium
    # knows none of the legacy nodes' pods, and the witness says so too.
    assert {rule for rule, _ in found} == {"pdb", "terminated-with-pods", "identity-missing"}
    assert summary["summary"]
    assert summary["enforcement_seen"]
    assert summary["gaps"] == 0
    assert summary["events"] > 100
