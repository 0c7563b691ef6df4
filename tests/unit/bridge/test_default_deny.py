"""No policy of people's stands between the bridge and the API server: decided by `netpol`, on the pods that are shipped."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.options import Options
from bridge.ship import manifests
from netpol import CiliumOptions, Flow, decide
from netpol.model.world import Enforcement, Recognition, World
from netpol.read.world import from_objects

API = "10.0.200.5"
"""Where the API server answers, behind the service default/kubernetes."""
GLOBAL = {
    "apiVersion": "crd.projectcalico.org/v1",
    "kind": "GlobalNetworkPolicy",
    "metadata": {"name": "default.deny-all"},
    "spec": {"selector": "all()", "order": 1, "types": ["Ingress", "Egress"]},
}
IN_ITS_NAMESPACE = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "deny-all", "namespace": "kube-system"},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
}
CLUSTERWIDE = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumClusterwideNetworkPolicy",
    "metadata": {"name": "deny-all"},
    "spec": {
        "endpointSelector": {},
        "ingressDeny": [{"fromEntities": ["all"]}],
        "egressDeny": [{"toEntities": ["all"]}],
    },
}
DENIES = [GLOBAL, IN_ITS_NAMESPACE, CLUSTERWIDE]


def pod(node: str, address: str, *, host: bool | None = None) -> dict[str, Any]:
    """A pod of the Deployment as it is shipped; `host`: on another network than the shipped one."""
    template = manifests.deployment(Options(), image="python", pack=b"")["spec"]["template"]
    spec = {**template["spec"], "nodeName": node}
    if host is not None:
        spec["hostNetwork"] = host
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"bridge-{node}", "namespace": "kube-system", "labels": template["metadata"]["labels"]},
        "spec": spec,
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "hostIP": address},
    }


def world(engine: str, *pods: dict[str, Any], always: bool = False) -> World:
    """Two nodes under a default deny in the words of each engine."""
    nodes = [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name},
            "status": {"addresses": [{"type": "InternalIP", "address": address}]},
        }
        for name, address in (("a", "10.0.0.1"), ("b", "10.0.0.2"))
    ]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "spec": {"clusterIP": "172.20.0.1", "ports": [{"port": 443, "targetPort": 443, "protocol": "TCP"}]},
    }
    behind = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "k", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4",
        "ports": [{"port": 443, "protocol": "TCP"}],
        "endpoints": [{"addresses": [API]}],
    }
    return from_objects(
        [*nodes, service, behind, *pods, *DENIES],
        whole=True,
        apiserver=(f"{API}/32",),
        cilium=CiliumOptions(enforcement=Enforcement.ALWAYS if always else Enforcement.DEFAULT),
        engines=lambda _: ([engine], Recognition.CILIUM if engine == "cilium" else Recognition.BRIDGE),
    )


def reaches(where: World, to: str, port: int = 443) -> bool:
    return decide(where, Flow.of("kube-system/bridge-a", to, "TCP", port)).allowed


@pytest.mark.parametrize("engine", ["calico", "cilium"])
@pytest.mark.parametrize("to", [API, "service:default/kubernetes"])
def test_the_bridge_asks_the_api_server_under_everybodys_default_deny(engine: str, to: str):
    assert reaches(world(engine, pod("a", "10.0.0.1"), always=True), to)


@pytest.mark.parametrize("engine", ["calico", "cilium"])
def test_a_pod_of_its_own_network_would_be_cut_off(engine: str):
    where = world(engine, pod("a", "10.0.64.9", host=False))
    assert not reaches(where, API)
    assert not reaches(where, "service:default/kubernetes")


def test_on_its_nodes_network_it_listens_to_that_node_alone():
    template = pod("a", "10.0.0.1")["spec"]
    [container] = template["containers"]
    assert template["hostNetwork"] is True
    assert Options().listen.startswith("127.0.0.1:")
    assert {container[probe]["httpGet"]["host"] for probe in ("readinessProbe", "livenessProbe")} == {"127.0.0.1"}
    with pytest.raises(ValueError, match="no loopback address"):
        Options.load('{"listen": "0.0.0.0:9287"}')
