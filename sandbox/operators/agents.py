"""Which agents run on which node, and what the Cilium configuration says there."""

from collections.abc import Iterable

from sandbox.operators import kube
from sandbox.operators.kube import Cluster, Object

AWS = "aws"
CILIUM = "cilium"
CONF_FILES = {AWS: "10-aws.conflist", CILIUM: "05-cilium.conflist"}
"""What each agent writes into a node's CNI directory; a container runtime uses the first in order of name."""

_DAEMON_SETS = {AWS: "aws-node", CILIUM: "cilium"}
_NAMESPACE = "kube-system"
CHAINED = "aws-cni"


def cni_of(pod: Object) -> str:
    """`aws` or `cilium` for the pod of a CNI agent, else an empty string."""
    if kube.namespace(pod) != _NAMESPACE:
        return ""
    return next((cni for cni, name in _DAEMON_SETS.items() if kube.owned_by_daemon_set(pod, name)), "")


def on_nodes(pods: Iterable[Object]) -> dict[str, dict[str, Object]]:
    """CNI agents by node and CNI; a Ready pod is preferred to others of the same DaemonSet."""
    found: dict[str, dict[str, Object]] = {}
    for pod in pods:
        node, cni = kube.node_of(pod), cni_of(pod)
        if node and cni:
            seen = found.setdefault(node, {})
            if cni not in seen or kube.ready(pod):
                seen[cni] = pod
    return found


def cilium_config(cluster: Cluster) -> dict[str, str]:
    """Data of ConfigMap kube-system/cilium-config; empty when Cilium is not installed."""
    for item in cluster.list(kube.CONFIG_MAPS):
        if kube.name(item) == "cilium-config" and kube.namespace(item) == _NAMESPACE:
            return item.get("data") or {}
    return {}


def operator_ready(pods: Iterable[Object]) -> bool:
    """Whether a pod of Deployment kube-system/cilium-operator is Ready."""
    return any(
        kube.labels(pod).get("io.cilium/app") == "operator" and kube.namespace(pod) == _NAMESPACE and kube.ready(pod)
        for pod in pods
    )


def pool(cilium_node: Object) -> list[str]:
    """Addresses that the operator gave to a node (spec.ipam.pools.allocated), without their /32."""
    pools = cilium_node.get("spec", {}).get("ipam", {}).get("pools", {}).get("allocated") or []
    return [cidr.split("/")[0] for entry in pools for cidr in entry.get("cidrs") or []]


def router(cilium_node: Object) -> str:
    """The address that the agent keeps for itself (cilium_host)."""
    found = (a["ip"] for a in cilium_node["spec"].get("addresses") or [] if a.get("type") == "CiliumInternalIP")
    return next(found, "")


def health(cilium_node: Object) -> str:
    """The address of the node's health endpoint."""
    return str(cilium_node["spec"].get("health", {}).get("ipv4", ""))
