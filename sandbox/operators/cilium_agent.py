"""What Cilium's agents publish: a CiliumNode each, an identity and an endpoint for every pod they wired."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from sandbox.operators import agents, cilium_policy, kube
from sandbox.operators.addresses import Network
from sandbox.operators.agents import CILIUM
from sandbox.operators.cni import POD_IP, WIRED_BY
from sandbox.operators.kube import Cluster, Object
from sandbox.world import READY

log = logging.getLogger(__name__)

PREALLOCATE = 8
"""Free addresses that an agent keeps asking for, unless ipam.nodeSpec.ipamPreAllocate says otherwise."""

HELD_BY = "sandbox/held-by"
_OWN_ADDRESSES = 2  # router and health endpoint
_IDENTITIES = range(256, 65536)
_SPEC_KEYS = {
    "eni-first-interface-index": "first-interface-index",
    "eni-subnet-ids": "subnet-ids",
    "eni-subnet-tags": "subnet-tags",
    "eni-security-groups": "security-groups",
    "eni-security-group-tags": "security-group-tags",
    "eni-exclude-interface-tags": "exclude-interface-tags",
    "eni-delete-on-termination": "delete-on-termination",
}
"""cilium-config keys of eni.nodeSpec, and the fields of CiliumNode.spec.eni that agents make of them."""


def _value(key: str, text: str) -> Any:
    if key.endswith("index"):
        return int(text)
    if key.endswith("termination"):
        return text == "true"
    parts = [part for part in text.replace(" ", ",").split(",") if part]
    return dict(part.split("=", 1) for part in parts) if key.endswith("tags") else parts


def eni_spec(config: dict[str, str]) -> Object:
    """The part of CiliumNode.spec.eni that comes from cilium-config."""
    found = {field: _value(key, config[key]) for key, field in _SPEC_KEYS.items() if config.get(key)}
    return {"first-interface-index": 0, "delete-on-termination": True, **found}


class CiliumAgents:
    """All agents of a cluster at once."""

    name = "cilium-agents"

    def __init__(self, cluster: Cluster, network: Network) -> None:
        self.cluster = cluster
        self.network = network
        self._published: dict[str, Object] = {}
        """The endpoint that was last written for a pod, by UID: caches lag behind."""

    def reconcile(self) -> None:
        """One pass over all nodes with an agent."""
        config = agents.cilium_config(self.cluster)
        if not config:
            return
        pods = self.cluster.list(kube.PODS)
        running = {node: a[CILIUM] for node, a in agents.on_nodes(pods).items() if CILIUM in a}
        nodes = {kube.name(n): n for n in self.cluster.list(kube.NODES)}
        published = {kube.name(c): c for c in self.cluster.list(kube.CILIUM_NODES)}
        for name, agent in running.items():
            seen = published.get(name)
            self._hold(agent, served=config.get("ipam") != "eni" or bool(seen and agents.pool(seen)))
        if not running or not self._registered():
            return
        on_node = kube.by_node(pods)
        for name in running.keys() & nodes.keys():
            wired = [p for p in on_node.get(name, []) if kube.annotations(p).get(WIRED_BY) == CILIUM]
            self._publish_node(nodes[name], published.get(name), config, len(wired))
        self._publish_endpoints(pods, running, nodes, config)

    def _registered(self) -> bool:
        names = {kube.name(d) for d in self.cluster.list(kube.DEFINITIONS)}
        return {"ciliumnodes.cilium.io", "ciliumendpoints.cilium.io", "ciliumidentities.cilium.io"} <= names

    def _hold(self, agent: Object, *, served: bool) -> None:
        """An agent without addresses from the operator is not Ready."""
        if kube.deleting(agent):
            return
        held = HELD_BY in kube.annotations(agent)
        if not served and READY not in kube.annotations(agent):
            mark = {READY: "false", HELD_BY: self.name}
            self.cluster.patch(kube.PODS, agent, {"metadata": {"annotations": mark}})
        elif served and held:
            lifted = {READY: None, HELD_BY: None}
            self.cluster.patch(kube.PODS, agent, {"metadata": {"annotations": lifted}})

    # -- nodes ------------------------------------------------------------------------------------

    def _publish_node(self, node: Object, seen: Object | None, config: dict[str, str], pods: int) -> None:
        spec = self._node_spec(node, seen, config, pods)
        if spec is None:
            return
        if seen is None:
            ref = {
                "apiVersion": "v1",
                "kind": "Node",
                "name": kube.name(node),
                "uid": node["metadata"]["uid"],
            }
            meta = {"name": kube.name(node), "labels": kube.labels(node), "ownerReferences": [ref]}
            self.cluster.create(kube.CILIUM_NODES, {"metadata": meta, "spec": spec})
        elif not kube.contains(seen["spec"], spec):
            self.cluster.patch(kube.CILIUM_NODES, seen, {"spec": spec})

    def _node_spec(self, node: Object, seen: Object | None, config: dict[str, str], pods: int) -> Object | None:
        address = {"type": "InternalIP", "ip": kube.internal_address(node)}
        if config.get("ipam") != "eni":
            return {"addresses": [address]}
        instance = self.network.instance(kube.instance_of(node))
        if instance is None:
            return None
        subnet = next(s for s in self.network.subnets() if s.id == instance.primary.subnet)
        needed = pods + _OWN_ADDRESSES + int(config.get("ipam-pre-allocate", PREALLOCATE))
        spec: Object = {
            "instance-id": instance.id,
            "addresses": [address],
            "ipam": {"pools": {"requested": [{"pool": "default", "needed": {"ipv4-addrs": needed}}]}},
            "eni": {
                "instance-type": instance.type,
                "vpc-id": subnet.vpc,
                "availability-zone": subnet.zone,
                "node-subnet-id": subnet.id,
                **eni_spec(config),
            },
        }
        addresses = agents.pool(seen) if seen else []
        if len(addresses) >= _OWN_ADDRESSES and seen is not None:
            spec["addresses"].append({"type": "CiliumInternalIP", "ip": agents.router(seen) or addresses[0]})
            spec["health"] = {"ipv4": agents.health(seen) or addresses[1]}
        return spec

    # -- endpoints --------------------------------------------------------------------------------

    def _publish_endpoints(
        self, pods: list[Object], running: dict[str, Object], nodes: dict[str, Object], config: dict[str, str]
    ) -> None:
        endpoints = {_key(e): e for e in self.cluster.list(kube.CILIUM_ENDPOINTS)}
        identities = {
            frozenset((c.get("security-labels") or {}).items()): int(kube.name(c))
            for c in self.cluster.list(kube.CILIUM_IDENTITIES)
        }
        namespaces = {kube.name(n): n for n in self.cluster.list(kube.NAMESPACES)}
        ours = [*self.cluster.list(kube.CILIUM_POLICIES), *self.cluster.list(kube.CILIUM_CLUSTER_POLICIES)]
        plain = (
            self.cluster.list(kube.NETWORK_POLICIES) if config.get("enable-k8s-networkpolicy", "true") == "true" else []
        )
        self._published = {
            p["metadata"]["uid"]: self._published[p["metadata"]["uid"]]
            for p in pods
            if p["metadata"]["uid"] in self._published
        }
        self._withdraw(endpoints.values(), pods, {kube.internal_address(nodes[n]) for n in running if n in nodes})
        verdicts: dict[int, tuple[bool, bool]] = {}
        for pod in pods:
            node = nodes.get(kube.node_of(pod))
            agent = running.get(kube.node_of(pod))
            if node is None or agent is None or not kube.ready(agent) or not _managed(pod):
                continue
            labels = cilium_policy.security_labels(
                pod, namespaces.get(kube.namespace(pod)), config.get("cluster-name", "default")
            )
            identity = self._identity(labels, identities)
            if not identity:
                continue
            if identity not in verdicts:
                mode = config.get("enable-policy", "default")
                verdicts[identity] = cilium_policy.enforced(labels, mode, ours, plain)
            status = _endpoint(pod, node, identity, labels, verdicts[identity])
            self._write(pod, endpoints.get(_key(pod)), status)

    def _withdraw(self, endpoints: Iterable[Object], pods: list[Object], addresses: set[str]) -> None:
        """An agent deletes the endpoint of a pod that is gone; those of nodes without an agent are not its own."""
        alive = {p["metadata"]["uid"] for p in pods if not kube.finished(p)}
        for item in endpoints:
            owners = item["metadata"].get("ownerReferences") or []
            here = (item.get("status", {}).get("networking") or {}).get("node") in addresses
            if here and owners and not any(ref["uid"] in alive for ref in owners):
                self.cluster.delete(kube.CILIUM_ENDPOINTS, item)

    def _identity(self, labels: dict[str, str], known: dict[frozenset[tuple[str, str]], int]) -> int:
        """The number of the identity with these labels, made when there is none; 0 when it cannot be made now."""
        key = frozenset(labels.items())
        if key not in known:
            taken = set(known.values())
            number = next(n for n in _IDENTITIES if n not in taken)
            meta = {
                "name": str(number),
                "labels": {cilium_policy.NAMESPACE: labels[f"k8s:{cilium_policy.NAMESPACE}"]},
            }
            if not self.cluster.create(kube.CILIUM_IDENTITIES, {"metadata": meta, "security-labels": labels}):
                return 0
            known[key] = number
        return known[key]

    def _write(self, pod: Object, seen: Object | None, status: Object) -> None:
        uid = pod["metadata"]["uid"]
        if self._published.get(uid) == status and seen is not None:
            return
        if seen is None:
            ref = {"apiVersion": "v1", "kind": "Pod", "name": kube.name(pod), "uid": uid}
            meta = {
                "name": kube.name(pod),
                "namespace": kube.namespace(pod),
                "labels": kube.labels(pod),
                "ownerReferences": [ref],
            }
            if not self.cluster.create(kube.CILIUM_ENDPOINTS, {"metadata": meta, "status": status}):
                return
        elif not kube.contains(seen.get("status"), status) and not self.cluster.patch(
            kube.CILIUM_ENDPOINTS, seen, {"status": status}
        ):
            return
        self._published[uid] = status


def _managed(pod: Object) -> bool:
    return (
        not kube.host_network(pod)
        and not kube.deleting(pod)
        and not kube.finished(pod)
        and kube.annotations(pod).get(WIRED_BY) == CILIUM
        and bool(kube.annotations(pod).get(POD_IP))
    )


def _key(item: Object) -> tuple[str, str]:
    return kube.namespace(item), kube.name(item)


def _endpoint(pod: Object, node: Object, identity: int, labels: dict[str, str], enforcing: tuple[bool, bool]) -> Object:
    address = kube.annotations(pod)[POD_IP]
    directions = {
        direction: {"enforcing": on, "state": "enforcing" if on else "disabled"}
        for direction, on in zip(("ingress", "egress"), enforcing, strict=True)
    }
    status: Object = {
        # Local to the node in Cilium; here only stable.
        "id": int(address.split(".")[2]) * 256 + int(address.split(".")[3]),
        "state": "ready",
        "identity": {"id": identity, "labels": sorted(f"{k}={v}" for k, v in labels.items())},
        "networking": {"addressing": [{"ipv4": address}], "node": kube.internal_address(node)},
        "policy": directions,
        "encryption": {},
        "external-identifiers": {
            "k8s-namespace": kube.namespace(pod),
            "k8s-pod-name": kube.name(pod),
            "pod-name": f"{kube.namespace(pod)}/{kube.name(pod)}",
        },
    }
    if ports := cilium_policy.named_ports(pod):
        status["named-ports"] = ports
    return status
