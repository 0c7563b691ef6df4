"""A cluster and an AWS account as plain objects, for checks to look at."""

import copy
import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock
from urllib.parse import parse_qs, urlsplit

from botocore.exceptions import ClientError

from kube.cluster import Cluster
from kube.transport import APPLY, KubeError, Obj
from migration.facts import Facts
from migration.guarding import guard
from migration.guarding.mark import Mark, Own
from migration.guarding.workloads import dump, seal
from migration.journeys import JOURNEYS
from migration.names import (
    BRIDGE,
    CILIUM_CNI,
    CNI_LABEL,
    GUARD_DIGEST,
    GUARD_LOG,
    GUARD_POLICY,
    LEGACY_CNI,
    MARK,
    PROOF,
    PROVER,
    WORKLOADS,
)
from migration.rules import affinity, calico_crds
from migration.settings import Settings
from operations.access.connection import Aws
from operations.access.context import Context
from operations.cluster.standings import seen
from operations.continuity.recognised import expected_labels
from prover.cilium_config import options
from prover.counting import counted
from prover.said import Said, now
from tests.oracles import random_handover
from tests.transport import Answers

ACCOUNT, REGION, NAME = "111122223333", "eu-west-1", "shop"
ARN = f"arn:aws:eks:{REGION}:{ACCOUNT}:cluster/{NAME}"
ZONES = ("eu-west-1a", "eu-west-1b")
SUBNETS = ("subnet-0a", "subnet-0b")
AGO = (datetime.now(UTC) - timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
PLURALS = {
    "ClusterNetworkPolicy": "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies",
    "Node": "/api/v1/nodes",
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/serviceaccounts",
    "Pod": "/api/v1/pods",
    "ConfigMap": "/api/v1/configmaps",
    "Role": "/apis/rbac.authorization.k8s.io/v1/roles",
    "PersistentVolume": "/api/v1/persistentvolumes",
    "PersistentVolumeClaim": "/api/v1/persistentvolumeclaims",
    "DaemonSet": "/apis/apps/v1/daemonsets",
    "Deployment": "/apis/apps/v1/deployments",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "CiliumIdentity": "/apis/cilium.io/v2/ciliumidentities",
    "CiliumNode": "/apis/cilium.io/v2/ciliumnodes",
    "CiliumEndpoint": "/apis/cilium.io/v2/ciliumendpoints",
    "CiliumNetworkPolicy": "/apis/cilium.io/v2/ciliumnetworkpolicies",
    "CiliumClusterwideNetworkPolicy": "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies",
    "GlobalNetworkPolicy": "/apis/crd.projectcalico.org/v1/globalnetworkpolicies",
    "Tier": "/apis/crd.projectcalico.org/v1/tiers",
    "NativeTier": "/apis/projectcalico.org/v3/tiers",
    "NativePolicy": "/apis/projectcalico.org/v3/globalnetworkpolicies",
    "DatastoreMigration": "/apis/migration.projectcalico.org/v1beta1/datastoremigrations",
    "TigeraStatus": "/apis/operator.tigera.io/v1/tigerastatuses",
    "Installation": "/apis/operator.tigera.io/v1/installations",
    "SecurityGroupPolicy": "/apis/vpcresources.k8s.aws/v1beta1/securitygrouppolicies",
    "HostEndpoint": "/apis/crd.projectcalico.org/v1/hostendpoints",
    "IPPool": "/apis/crd.projectcalico.org/v1/ippools",
    "FelixConfiguration": "/apis/crd.projectcalico.org/v1/felixconfigurations",
    "ENIConfig": "/apis/crd.k8s.amazonaws.com/v1alpha1/eniconfigs",
    "ClusterInformation": "/apis/crd.projectcalico.org/v1/clusterinformations",
    "CiliumNodeConfig": "/apis/cilium.io/v2/ciliumnodeconfigs",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/networkpolicies",
    "NodePool": "/apis/karpenter.sh/v1/nodepools",
    "Lease": "/apis/coordination.k8s.io/v1/leases",
    "Service": "/api/v1/services",
    "ReplicaSet": "/apis/apps/v1/replicasets",
    "StatefulSet": "/apis/apps/v1/statefulsets",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/endpointslices",
    "PodDisruptionBudget": "/apis/policy/v1/poddisruptionbudgets",
    "ValidatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "ValidatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
}


# -- the API server ---------------------------------------------------------------------------------


class FakeApi(Answers):
    """A `Transport` over objects in memory: they are read, made, merged and deleted. `refuse` makes every request fail
    with a status, `stop` the next write to a path that ends so, once."""

    def __init__(self, objects: Iterable[Obj]) -> None:
        self.objects = list(objects)
        self.refuse = 0
        self.stop = ""
        self.ahead: timedelta | None = timedelta()
        """By how much the API server's clock is ahead of this machine's; None: it does not say."""
        self.requests: list[tuple[str, str]] = []
        self.outputs: dict[str, str] = {}
        """What commands print, by pod."""
        self.texts: dict[str, str] = {}
        """Answers that are no objects, by path."""

    def __call__(
        self, method: str, path: str, *, body: Any = None, content_type: str = "", seconds: float = 10.0
    ) -> Obj:
        self.requests.append((method, path))
        if self.refuse:
            raise KubeError(self.refuse, f"{self.refuse} refused")
        parts = urlsplit(path)
        if parts.path == "/version":
            return {"major": "1", "minor": "35"}
        if (method, parts.path) == ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews"):
            if self.ahead is None:
                return {"metadata": {}}
            return {"metadata": {"creationTimestamp": (datetime.now(UTC) + self.ahead).strftime("%Y-%m-%dT%H:%M:%SZ")}}
        if method != "GET" and self.stop and parts.path.endswith(self.stop):
            self.stop = ""
            raise KubeError(0, "the connection is gone")
        collection, namespace, name = _split(parts.path)
        found = [o for o in self.objects if PLURALS[o["kind"]] == collection]
        found = [o for o in found if not namespace or o["metadata"].get("namespace") == namespace]
        if not name and method == "POST":
            return self._make(body)
        if not name:
            wanted = dict(p.split("=") for p in parse_qs(parts.query).get("labelSelector", [""])[0].split(",") if p)
            items = [o for o in found if wanted.items() <= o["metadata"].get("labels", {}).items()]
            return {**_list_of(collection), "items": items}
        one = next((o for o in found if o["metadata"]["name"] == name), None)
        if one is None and (method, content_type) == ("PATCH", APPLY):
            return self._make(body)
        if one is None:
            raise KubeError(404, "404 Not Found")
        if method == "PATCH":
            self._merge(one, body)
        if method == "DELETE":
            if (body or {}).get("preconditions", {}).get("uid", one["metadata"]["uid"]) != one["metadata"]["uid"]:
                raise KubeError(409, "409 Conflict")
            self.objects.remove(one)
        return copy.deepcopy(one)

    def _make(self, body: Any) -> Obj:
        meta = body["metadata"]
        if any((o["kind"], o["metadata"]["name"]) == (body["kind"], meta["name"]) for o in self.objects):
            raise KubeError(409, "409 already exists")
        self.objects.append(copy.deepcopy({**body, "metadata": {**meta, "resourceVersion": "1", "uid": meta["name"]}}))
        return copy.deepcopy(self.objects[-1])

    def _merge(self, one: Obj, body: Any) -> None:
        change = {k: v for k, v in body["metadata"].items() if k not in ("name", "namespace")}
        if change.pop("resourceVersion", one["metadata"].get("resourceVersion")) != one["metadata"]["resourceVersion"]:
            raise KubeError(409, "409 Conflict")
        for field, values in change.items():
            for key, value in values.items():
                kept = one["metadata"].setdefault(field, {})
                kept.pop(key, None) if value is None else kept.update({key: value})
        if "data" in body:
            one["data"].update(body["data"])
        one["metadata"]["resourceVersion"] += "1"

    def text(self, path: str, *, seconds: float) -> str:
        self.requests.append(("GET", path))
        if path not in self.texts:
            raise KubeError(403, "403 pods/proxy is forbidden")
        return self.texts[path]

    def execute(self, namespace: str, pod: str, container: str, command: Any, *, seconds: float) -> str:
        self.requests.append(("EXEC", pod))
        if pod not in self.outputs:
            raise KubeError(403, "403 exec is forbidden")
        return self.outputs[pod]


def _list_of(collection: str) -> Obj:
    """What a list says of its items, which do not say it themselves."""
    kind = next(kind for kind, path in PLURALS.items() if path == collection).removeprefix("Native")
    api = collection.removeprefix("/apis/").removeprefix("/api/").rpartition("/")[0]
    return {"kind": f"{kind}List", "apiVersion": api}


def _split(path: str) -> tuple[str, str, str]:
    """(path of the whole kind, namespace, name)"""
    namespace = ""
    if "/namespaces/" in path:
        before, rest = path.split("/namespaces/", 1)
        namespace, rest = rest.split("/", 1)
        path = f"{before}/{rest}"
    known = [p for p in PLURALS.values() if path == p or path.startswith(p + "/")]
    if not known:
        raise KubeError(404, "404 no such kind")
    return known[0], namespace, path[len(known[0]) + 1 :]


class FakeAws:
    """boto3 clients that answer from `answers`: operation -> value, or a function of the arguments."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.refuse = False
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.meta = MagicMock()

    def call(self, operation: str, arguments: dict[str, Any]) -> Any:
        self.calls.append((operation, arguments))
        if self.refuse:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, operation)
        answer = self.answers[operation]
        found = answer(**arguments) if callable(answer) else answer
        if found is None:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": "none"}}, operation)
        return copy.deepcopy(found)

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        return lambda **arguments: self.call(operation, arguments)

    def get_paginator(self, operation: str) -> Any:
        api = self

        class Pager:
            def paginate(self, **arguments: Any) -> list[Any]:
                return [api.call(operation, arguments)]

        return Pager()


# -- objects ----------------------------------------------------------------------------------------


def thing(kind: str, name: str, namespace: str = "", **more: Any) -> Obj:
    uid = f"{kind}/{namespace}/{name}"
    meta: Obj = {"name": name, "uid": uid, "resourceVersion": "1", "creationTimestamp": AGO, **more.pop("meta", {})}
    if namespace:
        meta["namespace"] = namespace
    return {"kind": kind, "metadata": meta, **more}


def condition(kind: str, status: str = "True", **more: Any) -> Obj:
    return {"type": kind, "status": status, "lastTransitionTime": AGO, **more}


def node(
    name: str, cni: str | None, zone: str = ZONES[0], labels: Mapping[str, str] = {}, *, canary: bool = False
) -> Obj:
    marks = {
        "topology.kubernetes.io/zone": zone,
        "kubernetes.io/os": "linux",
        "kubernetes.io/hostname": name,
        "eks.amazonaws.com/nodegroup": "old",
    }
    marks.update(labels)
    if cni:
        marks[CNI_LABEL] = cni
    taints = [{"key": "eks-cilium.io/canary", "value": "true", "effect": "NoSchedule"}] if canary else []
    return thing(
        "Node",
        name,
        meta={"labels": marks},
        spec={"taints": taints, "providerID": f"aws:///{zone}/i-{name}"},
        status={"conditions": [condition("Ready")], "addresses": [{"type": "InternalIP", "address": address(name)}]},
    )


def address(name: str) -> str:
    """An address of the VPC for whatever has this name."""
    number = zlib.crc32(name.encode())
    return f"10.0.{number >> 8 & 127}.{number & 255}"


def pod(name: str, where: str, owner: str = "ReplicaSet/web", namespace: str = "shop", **more: Any) -> Obj:
    kind, _, owned_by = owner.partition("/")
    uid = f"{kind}/{namespace}/{owned_by}"
    owners = [{"kind": kind, "name": owned_by, "uid": uid, "controller": True}] if owner else []
    host = more.pop("host_network", False)
    return thing(
        "Pod",
        name,
        namespace,
        meta={"ownerReferences": owners, "labels": more.pop("labels", {"app": "web"})},
        spec={"nodeName": where, "hostNetwork": host, "containers": more.pop("containers", [{"name": "c"}]), **more},
        status={
            "phase": "Running",
            "podIP": address(name),
            "hostIP": address(where),
            "conditions": [condition("Ready")],
        },
    )


def daemonset(name: str, namespace: str, size: int, *, pinned: Any = None, image: str = "img:v1") -> Obj:
    return thing(
        "DaemonSet",
        name,
        namespace,
        meta={"generation": 1},
        spec={"template": {"spec": {"hostNetwork": True, "affinity": pinned, "containers": [{"name": "c", "image": image}]}}},
        status={
            "observedGeneration": 1,
            "desiredNumberScheduled": size,
            "numberReady": size,
            "updatedNumberScheduled": size,
        },
    )  # fmt: skip


def deployment(name: str, namespace: str, replicas: int = 2) -> Obj:
    return thing(
        "Deployment",
        name,
        namespace,
        spec={"replicas": replicas},
        status={"availableReplicas": replicas, "readyReplicas": replicas},
    )


def endpoint(of: Obj, *, enforcing: str = "", told: bool = True) -> Obj:
    directions = {d: {"enforcing": d in enforcing} for d in ("ingress", "egress")}
    return thing(
        "CiliumEndpoint",
        of["metadata"]["name"],
        of["metadata"]["namespace"],
        status={
            "identity": {"id": 4711, "labels": [f"k8s:{k}={v}" for k, v in of["metadata"]["labels"].items()]},
            "networking": {"addressing": [{"ipv4": of["status"]["podIP"]}], "node": of["status"]["hostIP"]},
            **({"policy": directions} if told else {}),
        },
    )


def crd(plural: str, group: str = "cilium.io", schema: Any = None) -> Obj:
    versions = [{"name": v, "schema": {"openAPIV3Schema": schema or {}}} for v in ("v1", "v2")]
    return thing(
        "CustomResourceDefinition",
        f"{plural}.{group}",
        spec={"versions": versions},
        status={"conditions": [condition("Established")]},
    )


PIN = affinity.pin(affinity.on_linux_ec2(), CNI_LABEL, LEGACY_CNI)
AGENTS = (("aws-node", "kube-system"), ("kube-proxy", "kube-system"), ("calico-node", "calico-system"))
IMAGES = {"aws-node": "img:v1", "kube-proxy": "img:v1", "calico-node": "calico/node:v3.32.1"}
SCHEMA = json.dumps(
    {
        "$schema": "http://json-schema.org/draft-06/schema#",
        "type": "object",
        "additionalProperties": False,
        "properties": {"affinity": {"type": "object"}, "env": {"type": "object"}},
    }
)


def default_tier() -> Obj:
    """What a Calico that runs keeps."""
    return thing("Tier", "default", spec={"order": 1000000, "defaultAction": "Deny"})


def legacy_objects(*, pinned: bool) -> list[Obj]:
    """Two legacy nodes with their agents and one workload pod each."""
    found = [node("old-a", "aws", ZONES[0]), node("old-b", "aws", ZONES[1])]
    for name, namespace in AGENTS:
        original = affinity.on_linux_ec2() if name != "calico-node" else None
        found.append(daemonset(name, namespace, 2, pinned=PIN if pinned else original, image=IMAGES[name]))
        found += [pod(f"{name}-{n}", n, f"DaemonSet/{name}", namespace, host_network=True) for n in ("old-a", "old-b")]
    found.append(default_tier())
    found.append(
        thing("TigeraStatus", "calico", status={"conditions": [condition("Available"), condition("Degraded", "False")]})
    )
    return [*found, pod("web-1", "old-a"), pod("web-2", "old-b")]


def cilium_objects(names: Iterable[str], *, canary: bool) -> list[Obj]:
    """Cilium nodes in both zones with agents, and what the operator registers."""
    nodes = list(names)
    found: list[Obj] = [node(n, "cilium", ZONES[i % 2], canary=canary) for i, n in enumerate(nodes)]
    found += [thing("CiliumNode", n) for n in nodes]
    for name in ("cilium", "cilium-envoy"):
        found.append(daemonset(name, "kube-system", len(nodes)))
        labels = {"k8s-app": name}
        found += [
            pod(f"{name}-{n}", n, f"DaemonSet/{name}", "kube-system", host_network=True, labels=labels) for n in nodes
        ]
    found += [deployment("cilium-operator", "kube-system"), deployment("coredns", "kube-system"), cilium_config()]
    kinds = ("ciliumclusterwidenetworkpolicies", "ciliumendpoints", "ciliumidentities", "ciliumnetworkpolicies")
    return found + [crd(plural) for plural in (*kinds, "ciliumnodes")]


def cilium_config(**more: str) -> Obj:
    """What the chart makes of the values, as far as it matters here."""
    data = {
        **{"enable-policy": "default", "ipam": "eni", "routing-mode": "native", "kube-proxy-replacement": "true"},
        **{"cluster-name": "default", "cluster-id": "0", "cni-exclusive": "true", "enable-endpoint-routes": "true"},
        **{"enable-ipv4-masquerade": "true", "unmanaged-pod-watcher-interval": "0", "enable-l7-proxy": "true"},
    }
    return thing("ConfigMap", "cilium-config", "kube-system", data=data | more)


def deny_policy(name: str = "deny-metadata") -> Obj:
    spec = {"endpointSelector": {}, "egressDeny": [{"toCIDR": ["169.254.169.254/32"]}]}
    return thing("CiliumClusterwideNetworkPolicy", name, spec=spec, status={"conditions": [condition("Valid")]})


def probes(legacy: Iterable[str], cilium: Iterable[str]) -> list[Obj]:
    found = []
    for kind, nodes in (("aws", list(legacy)), ("cilium", list(cilium))):
        name = f"eks-cilium-probe-{kind}"
        labels = {"app.kubernetes.io/name": "eks-cilium-probe", CNI_LABEL: kind}
        found.append(daemonset(name, "kube-system", len(nodes)))
        found += [pod(f"{name}-{n}", n, f"DaemonSet/{name}", "kube-system", labels=labels) for n in nodes]
    return found


# -- contexts ---------------------------------------------------------------------------------------


class World:
    """What a context looks at; `edit` anything, then ask."""

    def __init__(
        self, directory: Path, objects: Iterable[Obj], *, adopted: bool = False, stage: str = "canary"
    ) -> None:
        self.directory = directory
        self.api = FakeApi(objects)
        self.aws = FakeAws(account(self))
        self.settings = settings(adopted=adopted, stage=stage)
        self.facts = facts() if adopted else None
        self.sizes = {"old": 2, "new": 2}
        self.labels: dict[str, str] = {CNI_LABEL: LEGACY_CNI}
        self.own = Own(id="0a1b", attempt=4, taken=True, reached=True)
        record = dump(seen(self.context.kube))
        self.add(mark(id="0a1b", attempt=4, guarded=("vpc-cni",), workloads=seal(record)), *guarding())
        self.add(thing("ConfigMap", WORKLOADS, "kube-system", data={"workloads": record}))
        self.api.requests.clear()
        self.tags: dict[str, str] = {}
        self.strays: set[str] = set()
        """Nodes of no Auto Scaling group."""

    @property
    def context(self) -> Context:
        return Context(
            stack="test",
            settings=self.settings,
            facts=self.facts,
            kube=Cluster(lambda: self.api),
            aws=Aws(REGION, lambda _: self.aws),
            directory=self.directory,
            stage=JOURNEYS[self.settings.journey][self.settings.stage],
            own=lambda: self.own,
        )

    def find(self, kind: str, name: str) -> Obj:
        return next(o for o in self.api.objects if o["kind"] == kind and o["metadata"]["name"] == name)

    def drop(self, kind: str, name: str = "") -> None:
        self.api.objects = [
            o for o in self.api.objects if o["kind"] != kind or (name and o["metadata"]["name"] != name)
        ]

    def add(self, *objects: Obj) -> None:
        self.api.objects += objects

    def at(self, stage: str) -> None:
        self.settings = settings(adopted=self.facts is not None, stage=stage)


def settings(*, adopted: bool, stage: str) -> Settings:
    values: dict[str, object] = {
        "journey": "greenfield" if stage == "launch" else "replace",
        "stage": stage,
        "cluster": {"name": NAME, "adopt": adopted},
        "network": {"vpcId": "vpc-01", "subnetIds": list(SUBNETS), "vpcCidrs": ["10.0.0.0/16"]},
        "cilium": {"groups": [{"name": "new", "size": 2}]},
    }
    if not adopted:
        values["legacy"] = {"groups": [{"name": "old", "size": 2}]}
    return Settings.load(values)


def facts() -> Facts:
    agent = {"kind": "addon", "addonVersion": "v1", "image": "img:v1", "affinity": affinity.on_linux_ec2()}
    return Facts.model_validate(
        {
            "format": 1,
            "surveyedAt": "2026-11-01T00:00:00Z",
            "cluster": {
                "name": NAME,
                "arn": ARN,
                "account": ACCOUNT,
                "region": REGION,
                "version": "1.35",
                "vpcId": "vpc-01",
                "vpcCidrs": ["10.0.0.0/16"],
                "serviceCidr": "172.20.0.0/16",
                "oidcIssuer": "https://oidc.example/1",
                "securityGroupId": "sg-1",
            },
            "vpcCni": agent,
            "kubeProxy": agent,
            "calico": {"kind": "operator", "version": "v3.32.1", "namespace": "calico-system"},
            "groups": [
                {"name": "old", "kind": "managed", "scalingGroup": "asg-old", "desired": 2},
                {"name": "own", "kind": "self-managed", "scalingGroup": "asg-own"},
            ],
            "subnets": [
                {"id": s, "zone": z, "cidr": f"10.0.{n * 16}.0/20", "free": 200, "public": False}
                for n, (s, z) in enumerate(zip(SUBNETS, ZONES, strict=True))
            ],
            "egressSource": "node",
            "decisions": [{"item": "windows nodes", "verdict": "absent"}],
        }
    )


def account(world: "World") -> dict[str, Any]:
    """A healthy AWS account; sizes and labels of the legacy group are the world's."""

    def nodegroup(clusterName: str, nodegroupName: str) -> Any:  # noqa: N803 - boto3's names
        if nodegroupName not in world.sizes:
            return None
        return {
            "nodegroup": {
                "nodegroupName": nodegroupName,
                "status": "ACTIVE",
                "nodegroupArn": f"arn:{nodegroupName}",
                "nodeRole": "arn:aws:iam::111122223333:role/workers",
                "labels": world.labels,
                "tags": world.tags,
                "subnets": list(SUBNETS),
                "scalingConfig": {"minSize": 0, "desiredSize": world.sizes[nodegroupName], "maxSize": 9},
                "resources": {"autoScalingGroups": [{"name": f"asg-{nodegroupName}"}]},
                "launchTemplate": {"id": "lt-1", "version": "1"},
            }
        }

    def relabel(clusterName: str, nodegroupName: str, labels: Obj) -> Any:  # noqa: N803 - boto3's names
        world.labels = {**world.labels, **labels.get("addOrUpdateLabels", {})}
        world.labels = {k: v for k, v in world.labels.items() if k not in labels.get("removeLabels", [])}
        return {"update": {"id": "u-1", "status": "InProgress"}}

    def tag(resourceArn: str, tags: dict[str, str]) -> Any:  # noqa: N803 - boto3's names
        world.tags.update(tags)
        return {}

    def untag(resourceArn: str, tagKeys: list[str]) -> Any:  # noqa: N803 - boto3's names
        for key in tagKeys:
            world.tags.pop(key, None)
        return {}

    def instances(InstanceIds: Any = (), Filters: Any = ()) -> Any:  # noqa: N803 - boto3's names
        wanted = [*InstanceIds, *(i for f in Filters for i in f["Values"])]
        return {"Reservations": [{"Instances": [instance(i) for i in wanted]}]}

    def scaled(InstanceIds: list[str]) -> Any:  # noqa: N803 - boto3's names
        return {"AutoScalingInstances": [{"InstanceId": i, "AutoScalingGroupName": "asg-old"} for i in InstanceIds]}

    def scaling_groups(AutoScalingGroupNames: Any) -> Any:  # noqa: N803 - boto3's names
        found = []
        for name in (n for n in AutoScalingGroupNames if n.removeprefix("asg-") in world.sizes):
            cni = LEGACY_CNI if name == "asg-old" else CILIUM_CNI
            nodes = [o for o in world.api.objects if o["kind"] == "Node"]
            nodes = [n for n in nodes if n["metadata"]["name"] not in world.strays]
            here = [n for n in nodes if n["metadata"]["labels"].get(CNI_LABEL, LEGACY_CNI) == cni]
            members = [
                {"InstanceId": i, "LifecycleState": "InService", "AvailabilityZone": ZONES[0]}
                for i in map(_instance, here)
            ]
            size = {"MinSize": 0, "DesiredCapacity": min(len(members), world.sizes[name[4:]]), "MaxSize": 9}
            found.append({"AutoScalingGroupName": name, "Instances": members, **size})
        return {"AutoScalingGroups": found}

    described = {
        "name": NAME,
        "arn": ARN,
        "status": "ACTIVE",
        "version": "1.35",
        "endpoint": "https://shop.example",
        "resourcesVpcConfig": {"vpcId": "vpc-01", "clusterSecurityGroupId": "sg-1"},
        "kubernetesNetworkConfig": {"serviceIpv4Cidr": "172.20.0.0/16", "ipFamily": "ipv4"},
        "identity": {"oidc": {"issuer": "https://oidc.example/1"}},
    }
    policies = ("AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly")
    return {
        "get_caller_identity": {"Account": ACCOUNT},
        "describe_cluster": {"cluster": described},
        "describe_addon": {"addon": {"addonVersion": "v1", "status": "ACTIVE"}},
        "describe_addon_configuration": {"configurationSchema": SCHEMA},
        "list_nodegroups": lambda **_: {"nodegroups": list(world.sizes)},
        "describe_nodegroup": nodegroup,
        "update_nodegroup_config": relabel,
        "describe_update": {"update": {"id": "u-1", "status": "Successful"}},
        "tag_resource": tag,
        "untag_resource": untag,
        "describe_launch_template_versions": {"LaunchTemplateVersions": []},
        "describe_auto_scaling_groups": scaling_groups,
        "describe_auto_scaling_instances": scaled,
        "list_addons": {"addons": ["vpc-cni", "kube-proxy"]},
        "list_fargate_profiles": {"fargateProfileNames": []},
        "list_pod_identity_associations": {"associations": []},
        "list_open_id_connect_providers": {
            "OpenIDConnectProviderList": [{"Arn": f"arn:aws:iam::{ACCOUNT}:oidc-provider/oidc.example/1"}]
        },
        "describe_vpcs": {
            "Vpcs": [
                {
                    "VpcId": "vpc-01",
                    "CidrBlock": "10.0.0.0/16",
                    "CidrBlockAssociationSet": [
                        {"CidrBlock": "10.0.0.0/16", "CidrBlockState": {"State": "associated"}}
                    ],
                }
            ]
        },
        "describe_subnets": {"Subnets": [subnet(s, z, n) for n, (s, z) in enumerate(zip(SUBNETS, ZONES, strict=True))]},
        "describe_security_groups": {"SecurityGroups": []},
        "describe_instances": instances,
        "describe_route_tables": {
            "RouteTables": [
                {
                    "VpcId": "vpc-01",
                    "Associations": [{"Main": True}],
                    "Routes": [{"DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": "nat-1"}],
                }
            ]
        },
        "list_attached_role_policies": {"AttachedPolicies": [{"PolicyName": p} for p in policies]},
        "list_role_policies": {"PolicyNames": []},
    }


def _instance(node: Obj) -> str:
    return str(node["spec"]["providerID"]).rsplit("/", 1)[-1]


def subnet(identifier: str, zone: str, number: int) -> Obj:
    return {
        "SubnetId": identifier,
        "VpcId": "vpc-01",
        "AvailabilityZone": zone,
        "CidrBlock": f"10.0.{number * 16}.0/20",
        "AvailableIpAddressCount": 200,
    }


def instance(identifier: str, **more: Any) -> Obj:
    return {
        "InstanceId": identifier,
        "InstanceType": "m5.large",
        "SubnetId": SUBNETS[0],
        "VpcId": "vpc-01",
        "SecurityGroups": [{"GroupId": "sg-1"}],
        "MetadataOptions": {"HttpPutResponseHopLimit": 2},
        **more,
    }


def legacy_world(directory: Path, *, adopted: bool = True) -> World:
    """Before Cilium: labelled, not pinned."""
    return World(directory, legacy_objects(pinned=False), adopted=adopted, stage="label-legacy")


def calico_world(directory: Path) -> World:
    """Before Cilium: Calico by its operator with all that it needs, of a patch that nobody has seen yet."""
    world = legacy_world(directory)
    world.find("DaemonSet", "calico-node")["spec"]["template"]["spec"]["containers"][0]["image"] = "img:v3.32.99"
    typha = deployment("calico-typha", "calico-system")
    typha["spec"]["template"] = {"spec": {"containers": [{"name": "calico-typha", "image": "img:v3.32.99"}]}}
    for workload in (world.find("DaemonSet", "calico-node"), typha):
        told(workload, FELIX_INTERFACEPREFIX="eni")
    wanted = calico_crds.complete("v3.32.99", native=False) or {}
    world.add(typha, *(calico_crd(definition) for definition in wanted.values()))
    return world


def chart_world(directory: Path) -> World:
    """Calico as AWS's chart makes it, prepared for the operator: nothing left that it would refuse."""
    world = legacy_world(directory)
    world.drop("DaemonSet", "calico-node")
    made = random_handover.Case()
    made.node["spec"]["template"]["spec"]["containers"][0].pop("resources")
    for part in (made.node, made.typha):
        world.add({**part, "metadata": {"uid": part["metadata"]["name"], "resourceVersion": "1", **part["metadata"]}})
    world.add(thing("FelixConfiguration", "default", spec={}), node("old-c", "aws"), node("old-d", "aws"))
    return world


def calico_crd(wanted: calico_crds.Definition, schema: Any = None) -> Obj:
    """A CRD that is served and stored as a version of Calico wants it."""
    plural, _, group = wanted.name.partition(".")
    found = crd(plural, group)
    found["spec"]["versions"] = [
        {"name": v, "served": True, "storage": v == wanted.stored, "schema": {"openAPIV3Schema": schema or {}}}
        for v in wanted.served
    ]
    return found


def told(workload: Obj, **variables: str) -> None:
    """Give the first container of a workload these variables, and no others."""
    container = workload["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": name, "value": value} for name, value in variables.items()]


def mixed_world(directory: Path, *, adopted: bool = False) -> World:
    """Canaries beside legacy nodes, everything pinned, one policy from a file, the freeze."""
    write_policy(directory)
    canaries = ("new-a", "new-b")
    web = pod("web-3", "new-a")
    extra = [*probes(("old-a", "old-b"), canaries), deny_policy(), web, *freeze()]
    objects = [*legacy_objects(pinned=True), *cilium_objects(canaries, canary=True), *extra]
    objects += [endpoint(p, enforcing="egress") for p in extra if p["kind"] == "Pod"]
    return World(directory, objects, adopted=adopted)


def known_world(directory: Path) -> World:
    """Canaries beside legacy nodes, and Cilium knows the pods there; no policy at all."""
    world = mixed_world(directory)
    world.drop("CiliumClusterwideNetworkPolicy")
    (directory / "policies" / "network" / "cilium" / "deny.yaml").unlink()
    world.add(thing("Namespace", "shop"), thing("Namespace", "kube-system"), deployment(BRIDGE, "kube-system"))
    world.add(deployment(PROVER, "kube-system"))
    publish(world)
    introduce(world)
    return world


def publish(world: World, **changed: Any) -> None:
    """What the prover says: that every flow keeps its verdict, just now."""
    whole: dict[str, Any] = {"verdict": "equal", "since": now(), "published": now(), "beat": 1, "by": "one"}
    world.drop("ConfigMap", PROOF)
    world.add(thing("ConfigMap", PROOF, "kube-system", data=Said(**(whole | changed)).data()))


def introduce(world: World, *, but: Iterable[str] = ()) -> None:
    """What the bridge writes for every pod with an address of its own, those called `but` left out."""
    namespaces = {
        o["metadata"]["name"]: o["metadata"].get("labels", {}) for o in world.api.objects if o["kind"] == "Namespace"
    }
    pods = [o for o in world.api.objects if o["kind"] == "Pod" and not o["spec"]["hostNetwork"]]
    configs = [o for o in world.api.objects if o["kind"] == "ConfigMap" and o["metadata"]["name"] == "cilium-config"]
    agents = options(configs[0]["data"] if configs else {}, (1, 20), counted)
    for number, one in enumerate(p for p in pods if p["metadata"]["name"] not in but):
        labels = expected_labels(one, namespaces[one["metadata"]["namespace"]], agents)
        end = endpoint(one, enforcing="egress")
        end["status"]["identity"]["id"] = 2000 + number
        end["metadata"]["ownerReferences"] = [{"kind": "Pod", "uid": one["metadata"]["uid"]}]
        world.drop("CiliumEndpoint", one["metadata"]["name"])
        world.drop("CiliumIdentity", str(2000 + number))
        held: Obj = {"security-labels": {f"k8s:{k}": v for k, v in labels.items()}}
        world.add(end, {**thing("CiliumIdentity", str(2000 + number)), **held})


def moved_world(directory: Path) -> World:
    """Legacy groups are empty, everything runs on Cilium nodes."""
    write_policy(directory)
    web = pod("web-1", "new-a")
    objects = [*cilium_objects(("new-a", "new-b"), canary=False), deny_policy(), *freeze()]
    objects += [web, endpoint(web, enforcing="egress")]
    objects += [daemonset(name, namespace, 0, pinned=PIN, image=IMAGES[name]) for name, namespace in AGENTS]
    objects.append(default_tier())
    world = World(directory, objects, stage="release")
    world.sizes = {"old": 0}
    return world


def mark(**more: Any) -> Obj:
    noted = {GUARD_DIGEST: guard.digest(guard.policy(), guard.binding())}
    annotations = {**Mark(stack="test", **more).annotations(), **noted}
    return thing("Role", MARK, "kube-system", meta={"annotations": annotations}, rules=[])


def earlier_mark(text: str = "", **more: Any) -> Obj:
    """The mark as versions before kept it, the record of workloads in it."""
    data = {**Mark(stack="test", **more).dump(), "workloads": text}
    noted = {GUARD_DIGEST: "of before", GUARD_LOG: "ann opened it"}
    return thing("ConfigMap", MARK, "kube-system", data=data, meta={"annotations": noted})


def guarding() -> list[Obj]:
    return [
        thing("ValidatingAdmissionPolicy", GUARD_POLICY, spec=guard.policy()),
        thing("ValidatingAdmissionPolicyBinding", GUARD_POLICY, spec=guard.binding()),
    ]


def freeze() -> list[Obj]:
    return [
        thing("ValidatingAdmissionPolicy", "eks-cilium-policy-freeze"),
        thing("ValidatingAdmissionPolicyBinding", "eks-cilium-policy-freeze", spec={"validationActions": ["Deny"]}),
    ]


def write_policy(directory: Path) -> None:
    folder = directory / "policies/network/cilium"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "deny.yaml").write_text(
        "apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {name: deny-metadata}\n"
        "spec:\n  endpointSelector: {}\n  egressDeny: [{toCIDR: [169.254.169.254/32]}]\n"
    )
