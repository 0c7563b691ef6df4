"""The objects with which a program of ours runs in a cluster, as values: rights, pack, two replicas.

On the network of its node, so that no policy of either engine stands between it and the API server; it listens on a
loopback address only. No privileges, nothing written to disk, no Secret.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bridge.names import PREFIX
from bridge.ship.zipapp import digest

Obj = dict[str, Any]

OPTIONS: Final = "options.json"
_RBAC: Final = "rbac.authorization.k8s.io"
_REPLICAS: Final = 2
_NOT_ON: Final = ("fargate", "hybrid", "auto")
"""Kinds of compute of EKS on which there is no network of a node to be on, or a node that is not ours to use."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """What runs.

    Attributes:
        name: of every object that it runs with.
        short: of its container, its folder there and its pack.
        options: the text of its options.
        listen: "ADDRESS:PORT" on the loopback where readiness is served; empty: nowhere.
        rights: (API group, resource, verbs) that hold in the whole cluster.
        named_rights: (API group, resource, verbs, name) that hold in its namespace; no name: of any.
        memory: that it asks for, and may not exceed.
        cpu: that it asks for.
    """

    name: str
    short: str
    namespace: str
    options: str
    listen: str
    rights: Sequence[tuple[str, str, Sequence[str]]]
    named_rights: Sequence[tuple[str, str, Sequence[str], str]]
    memory: tuple[str, str] = ("96Mi", "256Mi")
    cpu: str = "50m"

    @property
    def pack(self) -> str:
        """Name of its pack in the ConfigMap."""
        return f"{self.short}.pyz"

    @property
    def labels(self) -> Mapping[str, str]:
        return {"app.kubernetes.io/name": self.name}


def objects(program: Program, *, image: str, pack: bytes) -> tuple[Obj, ...]:
    """All objects, each after what it needs.

    Args:
        image: with Python 3.11 or later as `python3`, by digest.
        pack: from `zipapp.build`.
    """
    return (
        _object(program, "v1", "ServiceAccount", program.namespace),
        *rights(program),
        _config(program, pack),
        _object(
            program,
            "policy/v1",
            "PodDisruptionBudget",
            program.namespace,
            spec={"maxUnavailable": 1, "selector": {"matchLabels": program.labels}},
        ),
        deployment(program, image=image, pack=pack),
    )


def rights(program: Program) -> tuple[Obj, ...]:
    """What it may do, made from the requests that it makes: in the whole cluster, and in its namespace."""
    everywhere = [_rule(group, resource, verbs) for group, resource, verbs in _merged(program.rights)]
    there = [_rule(group, resource, verbs, name) for group, resource, verbs, name in program.named_rights]
    subjects = [{"kind": "ServiceAccount", "name": program.name, "namespace": program.namespace}]
    return (
        _object(program, f"{_RBAC}/v1", "ClusterRole", "", rules=everywhere),
        _object(
            program, f"{_RBAC}/v1", "ClusterRoleBinding", "", roleRef=_role(program, "ClusterRole"), subjects=subjects
        ),
        _object(program, f"{_RBAC}/v1", "Role", program.namespace, rules=there),
        _object(
            program,
            f"{_RBAC}/v1",
            "RoleBinding",
            program.namespace,
            roleRef=_role(program, "Role"),
            subjects=subjects,
        ),
    )


def deployment(program: Program, *, image: str, pack: bytes) -> Obj:
    """Two replicas on two nodes; one writes, the other has seen everything and waits for its turn."""
    return _object(
        program,
        "apps/v1",
        "Deployment",
        program.namespace,
        spec={
            "replicas": _REPLICAS,
            "selector": {"matchLabels": program.labels},
            # Two of them on one node would want one port of it, so the old one has to go first.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "template": {
                "metadata": {
                    "labels": program.labels,
                    "annotations": {
                        f"{PREFIX}/pack": digest(pack),
                        f"{PREFIX}/options": digest(program.options.encode()),
                    },
                },
                "spec": _pod(program, image),
            },
        },
    )


def _pod(program: Program, image: str) -> Obj:
    folder = f"/{program.short}"
    container: Obj = {
        "name": program.short,
        "image": image,
        "command": ["python3", "-I", "-B", f"{folder}/{program.pack}"],
        "args": ["run", "--options", f"{folder}/{OPTIONS}", "--name", "$(POD_NAME)"],
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "resources": {
            "requests": {"cpu": program.cpu, "memory": program.memory[0]},
            "limits": {"memory": program.memory[1]},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": program.short, "mountPath": folder, "readOnly": True}],
    }
    if program.listen:
        host, _, port = program.listen.rpartition(":")
        asked = {"host": host.strip("[]"), "port": int(port)}
        # The scheduler then puts nothing else there that wants this port of the node.
        container["ports"] = [{"name": "health", "containerPort": int(port), "hostPort": int(port)}]
        container["readinessProbe"] = {"httpGet": {"path": "/readyz", **asked}, "periodSeconds": 5}
        container["livenessProbe"] = {
            "httpGet": {"path": "/healthz", **asked},
            "initialDelaySeconds": 30,
            "periodSeconds": 20,
            "failureThreshold": 3,
        }
    return {
        "serviceAccountName": program.name,
        "hostNetwork": True,
        "dnsPolicy": "Default",
        "priorityClassName": "system-cluster-critical",
        "terminationGracePeriodSeconds": 30,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {
                            "matchExpressions": [
                                {"key": "eks.amazonaws.com/compute-type", "operator": "NotIn", "values": list(_NOT_ON)}
                            ]
                        }
                    ]
                }
            },
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": program.labels}}
                ]
            },
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": program.labels},
            }
        ],
        "containers": [container],
        "volumes": [{"name": program.short, "configMap": {"name": program.name, "defaultMode": 0o444}}],
    }


def _config(program: Program, pack: bytes) -> Obj:
    return _object(
        program,
        "v1",
        "ConfigMap",
        program.namespace,
        data={OPTIONS: program.options},
        binaryData={program.pack: base64.b64encode(pack).decode()},
    )


def _object(program: Program, api: str, kind: str, namespace: str, **rest: Any) -> Obj:
    metadata: Obj = {"name": program.name, "labels": program.labels}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}


def _role(program: Program, kind: str) -> Mapping[str, str]:
    return {"apiGroup": _RBAC, "kind": kind, "name": program.name}


def _merged(rights: Sequence[tuple[str, str, Sequence[str]]]) -> list[tuple[str, str, list[str]]]:
    """One rule for each resource."""
    verbs: dict[tuple[str, str], dict[str, None]] = {}
    for group, resource, more in rights:
        verbs.setdefault((group, resource), {}).update(dict.fromkeys(more))
    return [(group, resource, list(found)) for (group, resource), found in verbs.items()]


def _rule(group: str, resource: str, verbs: Sequence[str], name: str = "") -> Obj:
    named = {"resourceNames": [name]} if name else {}
    return {"apiGroups": [group], "resources": [resource], "verbs": list(verbs), **named}
