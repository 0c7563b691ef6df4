"""A real API server with Cilium's kinds, and bridges as processes of their own under their service account's rights."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config

from bridge.names import NAME
from bridge.options import Options
from bridge.ship import manifests, zipapp
from sandbox import lifecycle, toolcache
from tests.engine.replicas import Replicas, get

CILIUM_CONFIG = {
    "identity-allocation-mode": "crd",
    "routing-mode": "native",
    "unmanaged-pod-watcher-interval": "0",
    "cluster-name": "default",
    "cluster-id": "0",
    "enable-ipv4": "true",
}
JSON_PATCH = "application/json-patch+json"
ENDPOINTS, IDENTITIES = "ciliumendpoints", "ciliumidentities"


class Api:
    """Objects of a cluster, as people and agents make them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        api = config.new_client_from_config(str(directory / "kubeconfig"))
        self.core = client.CoreV1Api(api)
        self.custom = client.CustomObjectsApi(api)
        self.leases = client.CoordinationV1Api(api)
        self.extensions = client.ApiextensionsV1Api(api)
        self.rbac = client.RbacAuthorizationV1Api(api)

    # -- what there is before a bridge ------------------------------------------------------------------

    def prepare(self) -> None:
        """Kinds, configuration and rights; a legacy node and one with an agent."""
        for path in toolcache.cilium_crds():
            if any(word in path.name for word in (ENDPOINTS, IDENTITIES, "ciliumnodes", "ciliumnodeconfigs")):
                self.extensions.create_custom_resource_definition(yaml.safe_load(path.read_text()))
        self.core.create_namespaced_config_map(
            "kube-system", {"metadata": {"name": "cilium-config"}, "data": CILIUM_CONFIG}
        )
        self.core.create_namespaced_service_account("kube-system", {"metadata": {"name": NAME}})
        cluster_role, cluster_binding, role, binding = manifests.rights(Options())
        self.rbac.create_cluster_role(cluster_role)
        self.rbac.create_cluster_role_binding(cluster_binding)
        self.rbac.create_namespaced_role("kube-system", role)
        self.rbac.create_namespaced_role_binding("kube-system", binding)
        self.node("legacy", "10.0.0.21", "aws")
        self.node("new", "10.0.0.11", "cilium")
        eventually(self._served, 30)
        self.custom.create_cluster_custom_object(
            "cilium.io",
            "v2",
            "ciliumnodes",
            {
                "apiVersion": "cilium.io/v2",
                "kind": "CiliumNode",
                "metadata": {"name": "new"},
                "spec": {"addresses": [{"type": "InternalIP", "ip": "10.0.0.11"}]},
            },
        )

    def _served(self) -> bool:
        try:
            return all(
                self.custom.list_cluster_custom_object("cilium.io", "v2", kind) for kind in (ENDPOINTS, "ciliumnodes")
            )
        except client.ApiException:
            return False

    def node(self, name: str, address: str, cni: str) -> None:
        self.core.create_node(
            {
                "metadata": {"name": name, "labels": {"cni-plugin": cni}},
                "status": {"addresses": [{"type": "InternalIP", "address": address}]},
            }
        )

    def namespace(self, name: str, **labels: str) -> None:
        self.core.create_namespace({"metadata": {"name": name, "labels": labels}})
        eventually(lambda: self._account(name), 30)

    def _account(self, namespace: str) -> bool:
        return bool(self.core.list_namespaced_service_account(namespace).items)

    def pod(
        self,
        name: str,
        address: str = "",
        *,
        namespace: str = "shop",
        node: str = "legacy",
        labels: dict[str, str] | None = None,
        annotated: str | None = None,
    ) -> str:
        """A scheduled pod with an address; its uid."""
        annotations = {} if annotated is None else {"vpc.amazonaws.com/pod-ips": annotated}
        made = self.core.create_namespaced_pod(
            namespace,
            {
                "metadata": {"name": name, "labels": labels or {"app": name}, "annotations": annotations},
                "spec": {
                    "nodeName": node,
                    "terminationGracePeriodSeconds": 0,
                    "containers": [
                        {"name": "main", "image": "example", "ports": [{"name": "web", "containerPort": 80}]}
                    ],
                },
            },
        )
        if address:
            self.address(name, address, namespace)
        return str(made.metadata.uid)

    def address(self, name: str, address: str, namespace: str = "shop") -> None:
        """What kubelet says once a pod runs."""
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
        self.core.patch_namespaced_pod_status(name, namespace, {"status": status})

    def delete(self, name: str, namespace: str = "shop") -> None:
        self.core.delete_namespaced_pod(name, namespace, grace_period_seconds=0)

    def take_away(self, endpoint: str, namespace: str) -> None:
        """An endpoint, unless Kubernetes' garbage collector was faster."""
        with contextlib.suppress(client.exceptions.NotFoundException):
            self.custom.delete_namespaced_custom_object("cilium.io", "v2", namespace, ENDPOINTS, endpoint)

    def adopt(self, name: str, address: str, number: int, namespace: str = "shop") -> dict[str, Any]:
        """An agent's endpoint: it takes over what is there, as agents of 1.20 do, or makes one."""
        status = {
            "id": 77,
            "state": "ready",
            "identity": {"id": number},
            "networking": {"node": "10.0.0.11", "addressing": [{"ipv4": address}]},
        }
        there = self.endpoint(name, namespace)
        if there:
            patch = [
                {"op": "test", "path": "/metadata/uid", "value": there["metadata"]["uid"]},
                {"op": "replace", "path": "/status", "value": status},
            ]
            # The client sends every patch of a custom object as a merge patch, whatever it is told (kubernetes 37).
            api = self.custom.api_client
            path = f"{api.configuration.host}/apis/cilium.io/v2/namespaces/{namespace}/{ENDPOINTS}/{name}"
            pool: Any = api.rest_client.pool_manager
            answer = pool.request("PATCH", path, body=json.dumps(patch), headers={"Content-Type": JSON_PATCH})
            assert answer.status == 200, answer.data
            return dict(json.loads(answer.data))
        body = {"apiVersion": "cilium.io/v2", "kind": "CiliumEndpoint", "metadata": {"name": name}, "status": status}
        return dict(self.custom.create_namespaced_custom_object("cilium.io", "v2", namespace, ENDPOINTS, body))

    # -- what came of it --------------------------------------------------------------------------------

    def endpoint(self, name: str, namespace: str = "shop") -> dict[str, Any] | None:
        try:
            found = self.custom.get_namespaced_custom_object("cilium.io", "v2", namespace, ENDPOINTS, name)
        except client.ApiException as error:
            if error.status == 404:
                return None
            raise
        return dict(found)

    def all(self, kind: str) -> list[dict[str, Any]]:
        return list(self.custom.list_cluster_custom_object("cilium.io", "v2", kind)["items"])

    def labels_of(self, name: str, namespace: str = "shop") -> dict[str, str]:
        """What agents take a pod for."""
        endpoint = self.endpoint(name, namespace)
        if endpoint is None:
            return {}
        number = str(endpoint["status"]["identity"]["id"])
        found = [i for i in self.all(IDENTITIES) if i["metadata"]["name"] == number]
        return dict(found[0]["security-labels"]) if found else {}

    def wrong(self) -> list[str]:
        """An independent reading of pods, identities and endpoints: what is not as it should be."""
        identities = {i["metadata"]["name"]: i["security-labels"] for i in self.all(IDENTITIES)}
        endpoints = {(e["metadata"]["namespace"], e["metadata"]["name"]): e for e in self.all(ENDPOINTS)}
        found = []
        pods = [p for p in self.core.list_pod_for_all_namespaces().items if p.spec.node_name == "legacy"]
        for pod in pods:
            key = (pod.metadata.namespace, pod.metadata.name)
            if not pod.status.pod_ip and pod.metadata.annotations:
                endpoints.pop(key, None)  # by the VPC CNI's annotation alone
            if not pod.status.pod_ip or pod.spec.host_network or pod.status.phase in ("Succeeded", "Failed"):
                continue
            endpoint = endpoints.pop(key, None)
            if endpoint is None:
                found.append(f"{key} has no endpoint")
                continue
            status = endpoint["status"]
            labels = identities.get(str(status["identity"]["id"]), {})
            right = {f"k8s:{k}": v for k, v in (pod.metadata.labels or {}).items()}
            if not right.items() <= labels.items() or labels.get("k8s:io.kubernetes.pod.namespace") != key[0]:
                found.append(f"{key} is taken for {labels}")
            if status["networking"]["addressing"] != [{"ipv4": pod.status.pod_ip}]:
                found.append(f"{key} has another address: {status['networking']}")
            if endpoint["metadata"]["ownerReferences"][0]["uid"] != pod.metadata.uid:
                found.append(f"{key} is another pod's endpoint")
        found += [f"{key} has no pod" for key, e in endpoints.items() if not e["status"].get("id")]
        return found


def eventually(true: Callable[[], bool], seconds: float = 20.0, why: Callable[[], Any] = lambda: "") -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"it did not happen in time: {why()}"
        time.sleep(0.1)


class Bridges(Replicas):
    """Bridges, and what they say."""

    def __init__(self, api: Api, folder: Path, python: str = sys.executable) -> None:
        super().__init__(api, folder, NAME, ("bridge.pyz", zipapp.build()), python)
        self.ports: dict[str, int] = {}

    def _told(self, options: Options, *words: str) -> Path:
        path = self.folder / f"options-{'-'.join(words)}.json"
        path.write_text(options.dump())
        return path

    def start(self, name: str, *, port: int = 0, server: str = "") -> subprocess.Popen[bytes]:
        """One replica."""
        told = self._told(Options(listen=f"127.0.0.1:{port}" if port else "", late_seconds=2), "run", name)
        self.ports[name] = port
        return self.begin(name, self.command("run", told, name, server))

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command that ends."""
        command = self.command(words[0], self._told(Options(listen=""), *words), *words[1:])
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    def get(self, name: str, path: str) -> tuple[int, str]:
        return get(self.ports[name], path)

    def holder(self) -> str:
        """Who holds the Lease."""
        return str(self.api.leases.read_namespaced_lease(NAME, "kube-system").spec.holder_identity or "")

    def says(self) -> dict[str, Any]:
        """What the holder of the Lease wrote beside it."""
        annotations = self.api.leases.read_namespaced_lease(NAME, "kube-system").metadata.annotations
        return dict(json.loads(annotations["eks-cilium.io/step"]))


def control_plane(directory: Path, report: Callable[[str], None] = print) -> Api:
    """A started control plane, made ready."""
    lifecycle.up(directory, report, daemon=False)
    api = Api(directory)
    api.prepare()
    return api


def free_ports(count: int) -> Iterable[int]:
    """Ports that nobody listens on now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports
