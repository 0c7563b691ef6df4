"""What a container runtime and the CNI plugins do on nodes that nobody really runs.

A node is Ready once an agent has written its CNI configuration, and stays so while that file lies there,
also when the agent is gone: kubelet looks at the file, not at the agent. Pods are wired by the first file in
order of name, and only while the agent behind it is Ready.
"""

from __future__ import annotations

import datetime
import logging
from typing import Any

from sandbox.operators import agents, kube
from sandbox.operators.addresses import Instance, Network, Placement, grow, release
from sandbox.operators.agents import AWS, CILIUM, CONF_FILES
from sandbox.operators.kube import Cluster, Object

log = logging.getLogger(__name__)

WIRED_BY = "sandbox/wired-by"
POD_IP = "sandbox/pod-ip"
AWS_POD_IPS = "vpc.amazonaws.com/pod-ips"
CONF = "sandbox/cni-conf"
"""Annotation of a node: the CNI configuration files that lie on its disk, in order of name."""

NOT_READY = (
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady cni plugin not initialized"
)


def now() -> str:
    """The time as Kubernetes writes it (UTC, whole seconds)."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def written(node: Object, running: dict[str, Object], config: dict[str, str], cilium_node: Object | None) -> list[str]:
    """CNI configuration files on a node's disk now, in order of name.

    A file stays when its agent goes, except that an exclusive Cilium puts the others aside. Cilium writes its
    own only when it was told to, and when the operator has given the node addresses.
    """
    files = {f for f in kube.annotations(node).get(CONF, "").split(",") if f}
    if AWS in running and kube.ready(running[AWS]):
        files.add(CONF_FILES[AWS])
    writes = "write-cni-conf-when-ready" in config
    if writes and CILIUM in running and kube.ready(running[CILIUM]) and _serves(config, cilium_node):
        files.add(CONF_FILES[CILIUM])
        if config.get("cni-exclusive") == "true":
            files.discard(CONF_FILES[AWS])
    return sorted(files)


def _serves(config: dict[str, str], cilium_node: Object | None) -> bool:
    if config.get("cni-chaining-mode") == agents.CHAINED:
        return True
    return cilium_node is not None and bool(agents.pool(cilium_node))


class CniController:
    """Readiness of nodes, and addresses for pods."""

    name = "cni"

    def __init__(self, cluster: Cluster, network: Network) -> None:
        self.cluster = cluster
        self.network = network
        self._reported: set[str] = set()
        self._given: dict[str, str] = {}
        """Addresses by pod UID, given out in a pass whose annotations the cache may not show yet."""
        self._held: dict[str, frozenset[str]] = {}
        """Addresses in use at the last look, by instance of a node with aws-node."""

    def reconcile(self) -> None:
        """One pass over all nodes and pods."""
        pods = self.cluster.list(kube.PODS)
        waiting = {p["metadata"]["uid"] for p in pods if POD_IP not in kube.annotations(p)}
        self._given = {uid: address for uid, address in self._given.items() if uid in waiting}
        running = agents.on_nodes(pods)
        config = agents.cilium_config(self.cluster)
        cilium_nodes = {kube.name(c): c for c in self.cluster.list(kube.CILIUM_NODES)}
        on_node = kube.by_node(pods)
        for node in self.cluster.list(kube.NODES):
            name = kube.name(node)
            here = running.get(name, {})
            files = written(node, here, config, cilium_nodes.get(name))
            self._record(node, files)
            self._set_ready(node, bool(files))
            chained = config.get("cni-chaining-mode") == agents.CHAINED
            if len(here) > 1 and not chained:
                self._report_both(node, files)
            local = on_node.get(name, [])
            cni = next((cni for cni, file in CONF_FILES.items() if files[:1] == [file]), "")
            addressing = AWS if chained else cni
            if cni and cni in here and kube.ready(here[cni]) and addressing in here:
                self._wire(node, local, cni, addressing, cilium_nodes.get(name))
            if AWS in here:
                self._after_aws(node, local, here[AWS])

    # -- nodes ------------------------------------------------------------------------------------

    def _record(self, node: Object, files: list[str]) -> None:
        value = ",".join(files)
        if kube.annotations(node).get(CONF, "") != value:
            self.cluster.patch(kube.NODES, node, {"metadata": {"annotations": {CONF: value}}})

    def _set_ready(self, node: Object, is_ready: bool) -> None:
        seen = kube.condition(node, "Ready")
        status = "True" if is_ready else "False"
        if kube.deleting(node) or seen.get("status") == status or (not seen and not is_ready):
            return
        wanted = {
            "type": "Ready",
            "status": status,
            "reason": "KubeletReady" if is_ready else "KubeletNotReady",
            "message": "kubelet is posting ready status" if is_ready else NOT_READY,
            "lastHeartbeatTime": now(),
            "lastTransitionTime": now(),
        }
        # Only this condition: the list merges by type, and others write to it too.
        self.cluster.patch(kube.NODES, node, {"status": {"conditions": [wanted]}}, "status")

    def _report_both(self, node: Object, files: list[str]) -> None:
        uid = node["metadata"]["uid"]
        if uid in self._reported:
            return
        self._reported.add(uid)
        first = files[0] if files else "none"
        message = f"aws-node and cilium both run on this node; its pods are wired by {first}"
        log.warning("node %s: %s", kube.name(node), message)
        self.cluster.create(
            kube.EVENTS,
            {
                "metadata": {"name": f"two-cnis.{uid}", "namespace": "default"},
                "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": kube.name(node), "uid": uid},
                "reason": "TwoCniAgents",
                "message": message,
                "type": "Warning",
                "source": {"component": "kubelet", "host": kube.name(node)},
                "firstTimestamp": now(),
                "lastTimestamp": now(),
                "count": 1,
            },
        )

    # -- pods -------------------------------------------------------------------------------------

    def _taken(self, pods: list[Object]) -> set[str]:
        addresses = (
            kube.annotations(p).get(POD_IP) or self._given.get(p["metadata"]["uid"], "")
            for p in pods
            if not kube.finished(p)
        )
        return {a for a in addresses if a}

    def _wire(self, node: Object, pods: list[Object], cni: str, addressing: str, cilium_node: Object | None) -> None:
        waiting = [p for p in pods if _waits(p) and p["metadata"]["uid"] not in self._given]
        if not waiting:
            return
        used = self._taken(pods)
        if addressing == CILIUM and cilium_node is not None:
            own = {agents.router(cilium_node), agents.health(cilium_node)}
            free = [a for a in agents.pool(cilium_node) if a not in used | own]
        else:
            free = self._aws_addresses(kube.instance_of(node), used, len(waiting))
        for pod, address in zip(waiting, free, strict=False):
            if self._annotate(pod, {WIRED_BY: cni, POD_IP: address}):
                self._given[pod["metadata"]["uid"]] = address
        for pod in waiting[len(free) :]:
            log.info("no address on node %s for pod %s/%s", kube.name(node), kube.namespace(pod), kube.name(pod))

    def _aws_addresses(self, instance_id: str, used: set[str], wanted: int) -> list[str]:
        """Addresses of the instance that no pod has, after asking EC2 for those that lack."""
        instance = self.network.instance(instance_id)
        if instance is None:
            return []
        free = [a for a in instance.secondary() if a not in used]
        if len(free) < wanted:
            grow(self.network, instance, wanted - len(free), _aws_placement(instance))
            instance = self.network.instance(instance_id) or instance
            free = [a for a in instance.secondary() if a not in used]
        return free[:wanted]

    def _annotate(self, pod: Object, values: dict[str, str]) -> bool:
        # The UID keeps a pod of the same name that came in between from getting this pod's address.
        body: dict[str, Any] = {"metadata": {"uid": pod["metadata"]["uid"], "annotations": values}}
        return self.cluster.patch(kube.PODS, pod, body)

    def _after_aws(self, node: Object, pods: list[Object], agent: Object) -> None:
        """Pod addresses written to pods when aws-node is told so, and unused addresses given back."""
        if not kube.ready(agent):
            return
        env = {e["name"]: e.get("value") for c in agent["spec"]["containers"] for e in c.get("env") or []}
        if env.get("ANNOTATE_POD_IP") == "true":
            for pod in pods:
                seen = kube.annotations(pod)
                if seen.get(WIRED_BY) == AWS and seen.get(AWS_POD_IPS) != seen[POD_IP]:
                    self._annotate(pod, {AWS_POD_IPS: seen[POD_IP]})
        instance_id = kube.instance_of(node)
        taken = frozenset(self._taken(pods))
        if self._held.get(instance_id) == taken:
            return
        self._held[instance_id] = taken
        instance = self.network.instance(instance_id)
        if instance is not None:
            release(self.network, instance, [a for a in instance.secondary() if a not in taken])


def _waits(pod: Object) -> bool:
    return (
        not kube.host_network(pod)
        and POD_IP not in kube.annotations(pod)
        and not kube.deleting(pod)
        and pod.get("status", {}).get("phase") in (None, "Pending")
    )


def _aws_placement(instance: Instance) -> Placement:
    return Placement(
        description=f"aws-K8S-{instance.id}",
        tags={"node.k8s.amazonaws.com/instance_id": instance.id},
    )
