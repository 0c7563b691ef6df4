"""The objects that the Tigera operator makes of an Installation, as far as placement and rollout go.

On EKS with the VPC CNI. Sources: tigera/operator 1.42 pkg/render/{node,typha}.go, pkg/render/kubecontrollers,
pkg/common/autoscale.go, pkg/controller/installation/validation.go.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from sandbox.operators import kube
from sandbox.operators.kube import Kind, Object
from sandbox.operators.modules import CALICO_VERSION

NAMESPACE = "calico-system"
NODE, TYPHA, CONTROLLERS = "calico-node", "calico-typha", "calico-kube-controllers"
WORKLOADS = ((kube.DAEMON_SETS, NODE), (kube.DEPLOYMENTS, TYPHA), (kube.DEPLOYMENTS, CONTROLLERS))

_IPAM = {
    "Calico": ("Calico", "HostLocal"),
    "GKE": ("HostLocal",),
    "AmazonVPC": ("AmazonVPC",),
    "AzureVNET": ("AzureVNET",),
}
_PROVIDERS = {"GKE": "GKE", "AmazonVPC": "EKS", "AzureVNET": "AKS"}
_TOLERATE_ALL = [
    {"key": "CriticalAddonsOnly", "operator": "Exists"},
    {"effect": "NoSchedule", "operator": "Exists"},
    {"effect": "NoExecute", "operator": "Exists"},
]
_OVERRIDDEN = ("affinity", "nodeSelector", "tolerations")


def defaults(spec: Mapping[str, Any]) -> Object:
    """What the operator writes into an Installation that leaves it open, as a merge patch of its spec."""
    provider = spec.get("kubernetesProvider", "")
    cni = spec.get("cni") or {}
    kind = cni.get("type") or {"EKS": "AmazonVPC", "GKE": "GKE", "AKS": "AzureVNET"}.get(provider, "Calico")
    ipam = (cni.get("ipam") or {}).get("type") or (_IPAM.get(kind) or ("",))[0]
    network = spec.get("calicoNetwork") or {}
    filled: Object = {
        "variant": spec.get("variant", "Calico"),
        "cni": {"type": kind, "ipam": {"type": ipam}},
        "calicoNetwork": {
            "bgp": network.get("bgp") or ("Enabled" if kind == "Calico" else "Disabled"),
            "linuxDataplane": network.get("linuxDataplane", "Iptables"),
        },
        "flexVolumePath": spec.get("flexVolumePath", "None"),
        "nodeUpdateStrategy": spec.get("nodeUpdateStrategy")
        or {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
    }
    return filled


def refusal(spec: Mapping[str, Any]) -> str:
    """Why the operator would not act on an Installation whose defaults are filled in; empty when it would."""
    cni = spec.get("cni") or {}
    kind, provider = cni.get("type", ""), spec.get("kubernetesProvider", "")
    if kind not in _IPAM:
        return f"invalid value '{kind}' for spec.cni.type, it should be one of {','.join(_IPAM)}"
    if kind in _PROVIDERS and provider not in ("", _PROVIDERS[kind]):
        return f"spec.kubernetesProvider {provider} is not compatible with spec.cni.type {kind}"
    ipam = (cni.get("ipam") or {}).get("type", "")
    if ipam not in _IPAM[kind]:
        allowed = ",".join(_IPAM[kind])
        return f"spec.cni.ipam.type {ipam} is not compatible with spec.cni.type {kind}, valid IPAM values {allowed}"
    if kind != "Calico" and (spec.get("calicoNetwork") or {}).get("bgp") == "Enabled":
        return f"spec.calicoNetwork.bgp must be Disabled for spec.cni.type {kind}"
    return ""


def typha_replicas(nodes: int) -> int:
    """Replicas of typha for a number of schedulable Linux nodes."""
    if nodes <= 2:
        return 1
    if nodes <= 4:
        return 2
    return max(3, nodes // 200 + 2)


def objects(spec: Mapping[str, Any], nodes: int, digests: Mapping[str, str] | None = None) -> list[tuple[Kind, Object]]:
    """Everything that the operator keeps in place, in the order in which it is applied.

    Args:
        digests: of an ImageSet, by image: these images are named by their digest alone.
    """
    made: list[tuple[Kind, Object]] = [
        (kube.NAMESPACES, {"metadata": {"name": NAMESPACE, "labels": {"name": NAMESPACE}}}),
        *[(kube.SERVICE_ACCOUNTS, {"metadata": _meta(name)}) for _, name in WORKLOADS],
        (kube.CLUSTER_ROLES, {"metadata": {"name": NODE}, "rules": _RULES}),
        (kube.CLUSTER_ROLE_BINDINGS, _binding()),
        (kube.SERVICES, _typha_service()),
        (kube.DISRUPTION_BUDGETS, _typha_budget()),
        (kube.DEPLOYMENTS, _typha(spec, nodes)),
        (kube.DAEMON_SETS, _node(spec)),
        (kube.DEPLOYMENTS, _controllers(spec)),
    ]
    for _, item in made[-3:]:
        for container in item["spec"]["template"]["spec"]["containers"]:
            container["image"] = _image(container["image"], digests or {})
    return made


def _image(image: str, digests: Mapping[str, str]) -> str:
    repository = image.rsplit(":", 1)[0]
    digest = digests.get(repository.split("/", 1)[1])
    return f"{repository}@{digest}" if digest else image


def initial_calico_objects() -> list[tuple[Kind, Object]]:
    """Objects that Calico makes for itself when they are not there; later changes of them are left alone."""
    felix = {"healthPort": 9099, "routeTableRange": {"min": 65, "max": 99}, "bpfConnectTimeLoadBalancing": "TCP"}
    about = {"calicoVersion": CALICO_VERSION, "clusterType": "typha,kdd,k8s,operator,ecs", "datastoreReady": True}
    tiers = (("kube-admin", 1e3, "Pass"), ("default", 1e6, "Deny"), ("kube-baseline", 1e7, "Pass"))
    return [
        (kube.FELIX_CONFIGURATIONS, {"metadata": {"name": "default"}, "spec": felix}),
        (kube.CLUSTER_INFORMATIONS, {"metadata": {"name": "default"}, "spec": about}),
        *[
            (kube.CALICO_TIERS, {"metadata": {"name": name}, "spec": {"order": order, "defaultAction": action}})
            for name, order, action in tiers
        ],
    ]


_RULES = [
    {
        "apiGroups": [""],
        "resources": ["pods", "nodes", "namespaces", "endpoints", "services"],
        "verbs": ["get", "list", "watch"],
    },
    {"apiGroups": ["crd.projectcalico.org"], "resources": ["*"], "verbs": ["*"]},
]


def _meta(name: str) -> Object:
    return {"name": name, "namespace": NAMESPACE}


def _binding() -> Object:
    return {
        "metadata": {"name": NODE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NODE},
        "subjects": [{"kind": "ServiceAccount", "name": NODE, "namespace": NAMESPACE}],
    }


def _typha_service() -> Object:
    port = {"name": TYPHA, "port": 5473, "protocol": "TCP", "targetPort": TYPHA}
    return {"metadata": _meta(TYPHA), "spec": {"ports": [port], "selector": {"k8s-app": TYPHA}}}


def _typha_budget() -> Object:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": {"k8s-app": TYPHA}}}
    return {"metadata": _meta(TYPHA), "spec": spec}


def _template(name: str, pod: Object, overrides: Mapping[str, Any] | None) -> Object:
    """A pod template, with what the Installation says about its placement and its containers."""
    wanted = (((overrides or {}).get("spec") or {}).get("template") or {}).get("spec") or {}
    pod = {**pod, **copy.deepcopy({k: wanted[k] for k in _OVERRIDDEN if wanted.get(k)})}
    pod["nodeSelector"] = {"kubernetes.io/os": "linux", **pod.get("nodeSelector", {})}
    for container in pod["containers"]:
        for override in wanted.get("containers") or []:
            if override["name"] == container["name"] and override.get("resources"):
                container["resources"] = override["resources"]
    labels = {"k8s-app": name, "app.kubernetes.io/name": name}
    return {"metadata": {"labels": labels}, "spec": {"serviceAccountName": name, **pod}}


def _node(spec: Mapping[str, Any]) -> Object:
    pod = {
        "hostNetwork": True,
        "priorityClassName": "system-node-critical",
        "terminationGracePeriodSeconds": 5,
        "tolerations": _TOLERATE_ALL,
        "affinity": _not_on("eks.amazonaws.com/compute-type", "fargate"),
        "containers": [
            {
                "name": NODE,
                "image": f"quay.io/calico/node:{CALICO_VERSION}",
                "env": [
                    {"name": "DATASTORE_TYPE", "value": "kubernetes"},
                    {"name": "CALICO_NETWORKING_BACKEND", "value": "none"},
                    {"name": "FELIX_INTERFACEPREFIX", "value": "eni"},
                    {"name": "FELIX_IPTABLESMANGLEALLOWACTION", "value": "Return"},
                    {"name": "FELIX_DEFAULTENDPOINTTOHOSTACTION", "value": "ACCEPT"},
                    {"name": "FELIX_ROUTESOURCE", "value": "WorkloadIPs"},
                ],
            }
        ],
    }
    return {
        "metadata": _meta(NODE),
        "spec": {
            "selector": {"matchLabels": {"k8s-app": NODE}},
            "updateStrategy": spec["nodeUpdateStrategy"],
            "template": _template(NODE, pod, spec.get("calicoNodeDaemonSet")),
        },
    }


def _typha(spec: Mapping[str, Any], nodes: int) -> Object:
    pod: Object = {
        "hostNetwork": True,
        "priorityClassName": "system-cluster-critical",
        "terminationGracePeriodSeconds": 300,
        "tolerations": spec.get("controlPlaneTolerations") or _TOLERATE_ALL,
        "containers": [
            {
                "name": TYPHA,
                "image": f"quay.io/calico/typha:{CALICO_VERSION}",
                "env": [{"name": "FELIX_INTERFACEPREFIX", "value": "eni"}],
                "ports": [{"name": TYPHA, "containerPort": 5473, "hostPort": 5473, "protocol": "TCP"}],
            }
        ],
    }
    if spec.get("typhaAffinity"):
        pod["affinity"] = spec["typhaAffinity"]
    return {
        "metadata": _meta(TYPHA),
        "spec": {
            "replicas": typha_replicas(nodes),
            "selector": {"matchLabels": {"k8s-app": TYPHA}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": "100%"}},
            "template": _template(TYPHA, pod, spec.get("typhaDeployment")),
        },
    }


def _controllers(spec: Mapping[str, Any]) -> Object:
    master = [f"node-role.kubernetes.io/{role}" for role in ("master", "control-plane")]
    pod = {
        "priorityClassName": "system-cluster-critical",
        "tolerations": [
            *(spec.get("controlPlaneTolerations") or []),
            *[{"key": key, "effect": "NoSchedule"} for key in master],
            {"key": "CriticalAddonsOnly", "operator": "Exists"},
        ],
        "nodeSelector": spec.get("controlPlaneNodeSelector") or {},
        "containers": [{"name": CONTROLLERS, "image": f"quay.io/calico/kube-controllers:{CALICO_VERSION}"}],
    }
    return {
        "metadata": _meta(CONTROLLERS),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"k8s-app": CONTROLLERS}},
            "strategy": {"type": "Recreate"},
            "template": _template(CONTROLLERS, pod, spec.get("calicoKubeControllersDeployment")),
        },
    }


def _not_on(key: str, value: str) -> Object:
    term = {"matchExpressions": [{"key": key, "operator": "NotIn", "values": [value]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
