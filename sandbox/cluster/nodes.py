"""Instances become Nodes and Nodes go with their instances: kubelet's registration and the node life cycle.

An instance joins when it carries the cluster's tag, `launch_delay` after its launch, if its user data (or,
for a managed group with EKS's own image, EKS itself) tells it which cluster to join and its role may. A
Node that somebody deletes does not come back: kubelet registers once. Labels and taints of the node group
API arrive late (`late_labels_delay`), as on EKS; those of the user data are there from the start.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

from sandbox.aws.catalog import AMI_TYPES, instance_type, release_version
from sandbox.aws.ec2.core import tags_of, zone_id
from sandbox.cluster.userdata import Registration, parse
from sandbox.world import Controller, KubeError, World

__all__ = ["NodeController", "controllers", "node_of"]

log = logging.getLogger(__name__)

Json = dict[str, Any]
_EFFECTS = {"NO_SCHEDULE": "NoSchedule", "NO_EXECUTE": "NoExecute", "PREFER_NO_SCHEDULE": "PreferNoSchedule"}
_COLLECT = 0.5  # seconds between two looks for pods of nodes that are gone
_registration = functools.lru_cache(maxsize=256)(parse)


def node_of(
    *, instance: Json, zone_identifier: str, version: str, registration: Registration, group: Json | None
) -> Json:
    """The Node that the kubelet of an instance registers. `version`: v1.35.4-eks-…; `group`: its managed group."""
    kind = instance_type(instance["InstanceType"])
    zone = instance["Placement"]["AvailabilityZone"]
    rocket = group is not None and group["amiType"].startswith("BOTTLEROCKET")
    machine = "aarch64" if kind.arm else "x86_64"
    region, arch = zone[:-1], "arm64" if kind.arm else "amd64"
    name = instance["PrivateDnsName"]
    pods = registration.max_pods or min(kind.max_pods, 110)
    labels = {
        "beta.kubernetes.io/arch": arch, "beta.kubernetes.io/instance-type": kind.name,
        "beta.kubernetes.io/os": "linux", "failure-domain.beta.kubernetes.io/region": region,
        "failure-domain.beta.kubernetes.io/zone": zone, "kubernetes.io/arch": arch, "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux", "node.kubernetes.io/instance-type": kind.name,
        "topology.k8s.aws/zone-id": zone_identifier, "topology.kubernetes.io/region": region,
        "topology.kubernetes.io/zone": zone,
    }  # fmt: skip
    if group is not None:
        labels |= {
            "eks.amazonaws.com/nodegroup": group["nodegroupName"],
            "eks.amazonaws.com/nodegroup-image": instance["ImageId"],
            "eks.amazonaws.com/capacityType": group["capacityType"],
        }
        if "launchTemplate" in group:
            labels["eks.amazonaws.com/sourceLaunchTemplateId"] = group["launchTemplate"]["id"]
            labels["eks.amazonaws.com/sourceLaunchTemplateVersion"] = group["launchTemplate"]["version"]
    capacity = {
        "cpu": str(kind.cpus), "memory": f"{kind.memory * 1024 - 256}Mi", "pods": str(pods),
        "ephemeral-storage": "80Gi", "hugepages-1Gi": "0", "hugepages-2Mi": "0",
    }  # fmt: skip
    reserved = 255 + 11 * pods + 100  # MiB: what nodeadm reserves, and the eviction threshold
    allocatable = {
        **capacity,
        "cpu": f"{kind.cpus * 1000 - 70}m",
        "memory": f"{kind.memory * 1024 - 256 - reserved}Mi",
        "ephemeral-storage": "72Gi",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {**labels, **registration.labels},
            "annotations": {
                "kwok.x-k8s.io/node": "fake",
                "alpha.kubernetes.io/provided-node-ip": instance["PrivateIpAddress"],
                "node.alpha.kubernetes.io/ttl": "0",
            },
        },
        "spec": {
            "providerID": f"aws:///{zone}/{instance['InstanceId']}",
            "taints": registration.taints,
        },
        "status": {
            "capacity": capacity,
            "allocatable": allocatable,
            "addresses": [
                {"type": "InternalIP", "address": instance["PrivateIpAddress"]},
                {"type": "InternalDNS", "address": name},
                {"type": "Hostname", "address": name},
            ],
            "nodeInfo": {
                "architecture": arch, "operatingSystem": "linux", "kubeletVersion": version,
                "kubeProxyVersion": "",
                "osImage": "Bottlerocket OS 1.49.0 (aws-k8s)" if rocket else "Amazon Linux 2023.9.20260415",
                "kernelVersion": "6.12.40" if rocket else f"6.12.40-64.114.amzn2023.{machine}",
                "containerRuntimeVersion": "containerd://2.1.4", "bootID": instance["InstanceId"],
                "machineID": instance["InstanceId"], "systemUUID": instance["InstanceId"],
            },
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        },
    }  # fmt: skip


def _identity(taint: Json) -> tuple[str, str]:
    """What makes two taints the same one."""
    return taint["key"], taint["effect"]


class NodeController:
    """Keeps Nodes and the instances of the cluster in step."""

    name = "nodes"

    def __init__(self, world: World) -> None:
        self._world = world
        self._aws = world.aws
        self._aws.subscribe(world.wakeup)
        self._nodes = world.informer("/api/v1/nodes")
        self._pods = world.informer("/api/v1/pods")
        self._orphaned: dict[str, float] = {}  # node that is gone -> since when its pods are known to be left
        self._collected = 0.0

    def reconcile(self) -> None:
        """One pass over all instances, and over the pods of nodes that are gone."""
        if not self._nodes.synced:
            return
        now = self._aws.now()
        with self._aws.lock:
            clusters = list(self._aws.table("eks.clusters").values())
            instances = list(self._aws.table("ec2.instances").values())
        launch, late = self._delay("launch_delay"), self._delay("late_labels_delay")
        for instance in instances:
            state = instance["State"]["Name"]
            try:
                if "node" in instance:
                    if state == "terminated":
                        self._unregister(instance)
                    else:
                        self._follow(instance, due=now >= instance["node"]["since"] + late)
                elif clusters and state == "running" and now >= instance["LaunchTime"] + launch:
                    self._register(clusters[0], instance, now)
            except KubeError as refusal:
                log.warning("node of %s: %s", instance["InstanceId"], refusal)
        self._collect(now)

    def _delay(self, name: str) -> float:
        return self._world.settings.seconds(name)

    # -- joining ------------------------------------------------------------------------------------

    def _group(self, instance: Json) -> Json | None:
        tags = tags_of(self._aws, instance["InstanceId"])
        key = f"{tags.get('eks:cluster-name')}/{tags.get('eks:nodegroup-name')}"
        found: Json | None = self._aws.table("eks.nodegroups").get(key)
        return found

    def _may_join(self, cluster: Json, instance: Json, registration: Registration, group: Json | None) -> bool:
        tags = tags_of(self._aws, instance["InstanceId"])
        if f"kubernetes.io/cluster/{cluster['name']}" not in tags:
            return False
        if (group is None or group["amiType"] == "CUSTOM") and registration.cluster != cluster["name"]:
            return False
        if cluster["accessConfig"]["authenticationMode"] == "CONFIG_MAP":
            return True  # the aws-auth ConfigMap is not looked at
        if group is not None:
            return group["nodeRole"] in cluster["access"]
        profile = instance.get("IamInstanceProfile", {}).get("Arn", "").rsplit("/", 1)[-1]
        roles = self._aws.table("iam.profiles").get(profile, {}).get("roles", [])
        arns = {self._aws.table("iam.roles").get(role, {}).get("Arn") for role in roles}
        return bool(arns & set(cluster["access"]))

    def _register(self, cluster: Json, instance: Json, now: float) -> None:
        with self._aws.lock:
            group = self._group(instance)
            family = AMI_TYPES[group["amiType"]][0] if group and group["amiType"] != "CUSTOM" else ""
            registration = _registration(instance["user_data"], family)
            if not self._may_join(cluster, instance, registration, group):
                return
            kubernetes = group["version"] if group else cluster["version"]
            version = f"v{release_version(kubernetes).split('-')[0]}-eks-sandbox"
            place = zone_id(self._aws, instance["Placement"]["AvailabilityZone"])
        node = node_of(
            instance=instance, zone_identifier=place, version=version, registration=registration, group=group
        )
        try:
            self._world.call("POST", "/api/v1/nodes", node)
        except KubeError as error:
            if error.status != 409:
                raise
            present = self._world.get(f"/api/v1/nodes/{node['metadata']['name']}") or {}
            if present.get("spec", {}).get("providerID") != node["spec"]["providerID"]:
                self._world.delete(f"/api/v1/nodes/{node['metadata']['name']}")  # of an instance long gone
                return
        with self._aws.change():
            instance["node"] = {
                "name": node["metadata"]["name"],
                "ready": False,
                "since": now,
                "labels": {},
                "taints": [],
            }
        log.info("%s joined as %s", instance["InstanceId"], node["metadata"]["name"])

    # -- living -------------------------------------------------------------------------------------

    def _follow(self, instance: Json, *, due: bool) -> None:
        record = instance["node"]
        node = self._nodes.get(record["name"])
        ready = node is not None and any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for condition in node.get("status", {}).get("conditions") or []
        )
        if ready != record["ready"]:
            with self._aws.change():
                record["ready"] = ready
        if node is not None and due:
            self._late(instance, record, node)

    def _late(self, instance: Json, record: Json, node: Json) -> None:
        """Labels and taints of the node group API: those that it set before and no longer has go."""
        with self._aws.lock:
            group = self._group(instance)
            if group is None:
                return
            labels = dict(group["labels"])
            taints = [
                {"key": taint["key"], "value": taint.get("value", ""), "effect": _EFFECTS[taint["effect"]]}
                for taint in group["taints"]
            ]
        if labels == record["labels"] and taints == record["taints"]:
            return
        path = f"/api/v1/nodes/{record['name']}"
        gone = {key: None for key in record["labels"] if key not in labels}
        ours = {_identity(taint) for taint in [*record["taints"], *taints]}
        kept = [taint for taint in node["spec"].get("taints") or [] if _identity(taint) not in ours]
        patch: Json = {"metadata": {"labels": {**gone, **labels}}}
        if taints != record["taints"]:
            patch["metadata"]["resourceVersion"] = node["metadata"]["resourceVersion"]
            patch["spec"] = {"taints": kept + taints}
        try:
            self._world.patch(path, patch, fieldManager="eks-nodegroup")
        except KubeError as error:
            if error.status in (404, 409):
                return
            raise
        with self._aws.change():
            record |= {"labels": labels, "taints": taints}

    # -- leaving ------------------------------------------------------------------------------------

    def _unregister(self, instance: Json) -> None:
        name = instance["node"]["name"]
        node = self._nodes.get(name)
        if node is not None and node["spec"].get("providerID", "").endswith(instance["InstanceId"]):
            self._world.delete(f"/api/v1/nodes/{name}")
            log.info("node %s is gone with its instance %s", name, instance["InstanceId"])
        with self._aws.change():
            del instance["node"]

    def _collect(self, now: float) -> None:
        """Pods of nodes that are gone: deleted soon, as the garbage collector does after 40 s."""
        delay = self._delay("orphan_pods_delay")
        if delay < 0 or now < self._collected + _COLLECT:
            return
        self._collected = now
        missing = set()
        for pod in self._pods.list():
            name = pod["spec"].get("nodeName")
            if not name or self._nodes.get(name) is not None:
                continue
            missing.add(name)
            if now >= self._orphaned.setdefault(name, now) + delay:
                metadata = pod["metadata"]
                self._world.delete(f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}", grace=0)
        self._orphaned = {name: since for name, since in self._orphaned.items() if name in missing}


controllers = [NodeController]
_: type[Controller] = NodeController
