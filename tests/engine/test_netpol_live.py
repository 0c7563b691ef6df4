"""`operations policy` against a real API server that holds policies of every kind: read, explained, linted, translated
and proved from there, and what we write accepted by the schemas of Cilium's own CRDs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes
import pytest
import yaml

from sandbox import lifecycle, toolcache
from tests.unit.netpol.worlds import ISOLATED, OUTWARD, PRODUCTION, TWIN

pytestmark = pytest.mark.engine

NODES = (("old", "10.1.0.1"), ("new", "10.1.0.2"))
PODS = (("locked", "a", "10.0.0.1", "old"), ("open", "a", "10.0.0.2", "old"), ("plain", "a", "10.0.0.3", "new"))
MORE = """
apiVersion: crd.projectcalico.org/v1
kind: Tier
metadata: {name: security}
spec: {order: 100}
---
apiVersion: crd.projectcalico.org/v1
kind: GlobalNetworkSet
metadata: {name: partners, labels: {role: partner}}
spec: {nets: [203.0.113.0/24]}
---
apiVersion: crd.projectcalico.org/v1
kind: GlobalNetworkPolicy
metadata: {name: security.no-partners}
spec:
  tier: security
  selector: app == 'a'
  namespaceSelector: has(guarded)
  types: [Egress]
  egress:
  - {action: Deny, destination: {selector: role == 'partner'}}
  - {action: Pass}
---
apiVersion: crd.projectcalico.org/v1
kind: NetworkPolicy
metadata: {name: default.from-open, namespace: plain}
spec:
  order: 5
  selector: all()
  types: [Ingress]
  ingress:
  - {action: Allow, protocol: TCP, source: {namespaceSelector: guarded == 'yes'}, destination: {ports: [80, '8000:8080']}}
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: metrics}
spec:
  tier: Admin
  priority: 10
  subject: {namespaces: {matchLabels: {kubernetes.io/metadata.name: plain}}}
  ingress:
  - action: Accept
    from: [{namespaces: {matchLabels: {kubernetes.io/metadata.name: open}}}]
    protocols: [{tcp: {destinationPort: {number: 9090}}}]
"""


@dataclass
class Answer:
    code: int
    value: dict[str, Any]
    text: str


class ControlPlane:
    """A started control plane, with the command and short ways to make objects."""

    def __init__(self, directory: Path) -> None:
        self.kubeconfig = directory / "kubeconfig"
        self.client = kubernetes.config.new_client_from_config(str(self.kubeconfig))
        self.dynamic = kubernetes.dynamic.DynamicClient(self.client)

    def apply(self, text: str) -> None:
        for item in yaml.safe_load_all(text):
            self.create(item)

    def create(self, item: dict[str, Any]) -> None:
        kind = self.dynamic.resources.get(api_version=item["apiVersion"], kind=item["kind"])
        kind.create(body=item, namespace=item["metadata"].get("namespace"))

    def policy(self, *arguments: str) -> Answer:
        done = subprocess.run(
            [sys.executable, "-m", "operations", "policy", *arguments, "--server", self.client.configuration.host],
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.stdout.strip(), done.stderr
        return Answer(done.returncode, json.loads(done.stdout), done.stderr)

    def versions(self) -> list[str]:
        """Name and version of every policy and pod: what a write would change."""
        kinds = (
            ("v1", "Pod"),
            ("networking.k8s.io/v1", "NetworkPolicy"),
            ("crd.projectcalico.org/v1", "GlobalNetworkPolicy"),
            ("crd.projectcalico.org/v1", "NetworkPolicy"),
            ("cilium.io/v2", "CiliumNetworkPolicy"),
            ("cilium.io/v2", "CiliumClusterwideNetworkPolicy"),
        )
        found = (i for api, kind in kinds for i in self.dynamic.resources.get(api_version=api, kind=kind).get().items)
        return sorted(f"{i.kind} {i.metadata.namespace} {i.metadata.name} {i.metadata.resourceVersion}" for i in found)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    directory = tmp_path_factory.mktemp("sandbox")
    lifecycle.up(directory, print, daemon=False)
    try:
        made = ControlPlane(directory)
        _definitions(made)
        _workloads(made)
        made.apply("\n---\n".join((PRODUCTION, ISOLATED, OUTWARD, MORE)))
        yield made
    finally:
        lifecycle.down(directory, print, purge=True)


def _definitions(made: ControlPlane) -> None:
    crds = toolcache.tigera_crds() / "calico"
    files = [
        *(crds / "v1.crd.projectcalico.org").glob("*.yaml"),
        *(crds / "policy.networking.k8s.io").glob("*.yaml"),
        *toolcache.cilium_crds(),
    ]
    for file in files:
        made.apply(file.read_text(encoding="utf-8"))
    api = kubernetes.client.ApiextensionsV1Api(made.client)
    deadline = time.monotonic() + 60
    while not all(_established(crd) for crd in api.list_custom_resource_definition().items):
        assert time.monotonic() < deadline, "the definitions were not established in time"
        time.sleep(0.2)
    made.dynamic = kubernetes.dynamic.DynamicClient(made.client)


def _established(crd: Any) -> bool:
    return any(c.type == "Established" and c.status == "True" for c in crd.status.conditions or ())


def _workloads(made: ControlPlane) -> None:
    core = kubernetes.client.CoreV1Api(made.client)
    for name, address in NODES:
        addresses = [{"type": "InternalIP", "address": address}]
        # Not one of the simulated kubelets' nodes: statuses stay what is written here.
        core.create_node({"metadata": {"name": name, "labels": {"cni": name}}, "status": {"addresses": addresses}})
    for namespace in ("locked", "open", "plain"):
        labels = {"guarded": "yes"} if namespace == "open" else {}
        core.create_namespace({"metadata": {"name": namespace, "labels": labels}})
    deadline = time.monotonic() + 30
    # Pods are refused until their namespace has its service account.
    while not {p[0] for p in PODS} <= {
        a.metadata.namespace
        for a in core.list_service_account_for_all_namespaces().items
        if a.metadata.name == "default"
    }:
        assert time.monotonic() < deadline, "the namespaces got no service accounts"
        time.sleep(0.2)
    for namespace, name, address, node in PODS:
        body = {
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"nodeName": node, "containers": [{"name": "main", "image": "example"}]},
        }
        core.create_namespaced_pod(namespace, body)
        status = {"status": {"podIP": address, "podIPs": [{"ip": address}]}}
        core.patch_namespaced_pod_status(name, namespace, status)


def test_a_flow_is_explained_from_the_live_cluster(cluster):
    denied = cluster.policy("explain", "--live", "--from", "locked/a", "--to", "169.254.169.254", "--port", "80")
    assert denied.code == 1
    assert "GlobalNetworkPolicy deny-aws-imds egress[1]" in denied.text
    # The policies of the default tier stand behind the one of tier security, which denies its network set.
    denied = cluster.policy("explain", "--live", "--from", "open/a", "--to", "203.0.113.9", "--port", "443")
    assert denied.code == 1
    assert "security.no-partners egress[0]" in denied.text
    # The admin tier's ClusterNetworkPolicy comes before the namespace's isolation.
    allowed = cluster.policy("explain", "--live", "--from", "open/a", "--to", "plain/a", "--port", "9090")
    assert allowed.code == 0
    assert "ClusterNetworkPolicy metrics" in allowed.text


def test_the_traps_of_the_live_cluster_are_named(cluster):
    found = cluster.policy("lint", "--live")
    assert found.code == 1
    told = {(f["code"], f["policy"]) for f in found.value["findings"]}
    assert ("cancels-isolation", "GlobalNetworkPolicy deny-aws-imds") in told
    assert ("deny-overridden", "GlobalNetworkPolicy deny-aws-imds") in told


def test_the_hand_written_twin_differs_from_the_live_cluster(cluster, tmp_path):
    (tmp_path / "twin.yaml").write_text(TWIN)
    proof = cluster.policy("prove", "--live", "--after", str(tmp_path / "twin.yaml"), "--most", "40")
    assert proof.code == 1
    assert proof.value["verdict"] == "different"
    assert any("169.254.169.254" in e["destination"] for e in proof.value["counterexamples"])


def test_the_translation_of_the_live_cluster_is_accepted_and_stays_proved(cluster, tmp_path):
    before = cluster.versions()
    arguments = ("--live", "--cluster-policies")
    written = cluster.policy("translate", *arguments, "--out", str(tmp_path))
    assert written.code == 0, written.text
    proof = cluster.policy("prove", *arguments, "--after", str(tmp_path))
    assert proof.code == 0, proof.text
    # Nothing so far wrote to the cluster.
    assert cluster.versions() == before
    for file in sorted(tmp_path.glob("*.yaml")):
        cluster.apply(file.read_text(encoding="utf-8"))
    # Read back with what the API server adds to objects, they say the same in Cilium's words.
    for port, code in (("80", 0), ("8081", 1), ("9090", 0)):
        flow = ("--from", "open/a", "--to", "plain/a", "--port", port)
        for engine in ("calico", "cilium"):
            assert cluster.policy("explain", *arguments, "--engine", engine, *flow).code == code, (port, engine)


def test_mixed_nodes_of_the_live_cluster_show_the_gap_and_the_bridge(cluster):
    flow = ("--live", "--from", "open/a", "--to", "plain/a", "--port", "80")
    sides = ("--nodes", "cni=new:cilium", "--nodes")
    for recognised, code in (("world", 1), ("bridge", 0)):
        answer = cluster.policy("explain", *flow, *sides, f"cni=old:calico:{recognised}")
        assert answer.code == code, answer.text
