"""The objects with which a bridge runs in a cluster, as values: rights, pack, two replicas.

On the network of its node, so that no policy of either engine stands between it and the API server; it listens on a
loopback address only. No privileges, nothing written to disk, no Secret.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bridge.names import NAME, PREFIX
from bridge.options import Options
from bridge.process.requests import NAMED_RIGHTS, RIGHTS
from bridge.ship.zipapp import digest

Obj = dict[str, Any]

PACK: Final = "bridge.pyz"
OPTIONS: Final = "options.json"
LABELS: Final = {"app.kubernetes.io/name": NAME}
_FOLDER: Final = "/bridge"
_RBAC: Final = "rbac.authorization.k8s.io"
_REPLICAS: Final = 2
_NOT_ON: Final = ("fargate", "hybrid", "auto")
"""Kinds of compute of EKS on which there is no network of a node to be on, or a node that is not ours to use."""


def objects(options: Options, *, image: str, pack: bytes) -> tuple[Obj, ...]:
    """All objects, each after what it needs.

    Args:
        image: with Python 3.11 or later as `python3`, by digest.
        pack: from `zipapp.build`.
    """
    return (
        _object("v1", "ServiceAccount", options.namespace),
        *rights(options),
        _config(options, pack),
        _object(
            "policy/v1",
            "PodDisruptionBudget",
            options.namespace,
            spec={"maxUnavailable": 1, "selector": {"matchLabels": LABELS}},
        ),
        deployment(options, image=image, pack=pack),
    )


def rights(options: Options) -> tuple[Obj, ...]:
    """What the bridge may do, made from the requests that it makes: in the whole cluster, and in its namespace."""
    everywhere = [_rule(group, resource, verbs) for group, resource, verbs in _merged(RIGHTS)]
    names = {"cilium-config": options.cilium_config, NAME: options.lease}
    there = [
        _rule(group, resource, verbs, names.get(name, name) if name else "")
        for group, resource, verbs, name in NAMED_RIGHTS
    ]
    subjects = [{"kind": "ServiceAccount", "name": NAME, "namespace": options.namespace}]
    return (
        _object(f"{_RBAC}/v1", "ClusterRole", "", rules=everywhere),
        _object(f"{_RBAC}/v1", "ClusterRoleBinding", "", roleRef=_role("ClusterRole"), subjects=subjects),
        _object(f"{_RBAC}/v1", "Role", options.namespace, rules=there),
        _object(f"{_RBAC}/v1", "RoleBinding", options.namespace, roleRef=_role("Role"), subjects=subjects),
    )


def deployment(options: Options, *, image: str, pack: bytes) -> Obj:
    """Two replicas on two nodes; one writes, the other has seen everything and waits for its turn."""
    return _object(
        "apps/v1",
        "Deployment",
        options.namespace,
        spec={
            "replicas": _REPLICAS,
            "selector": {"matchLabels": LABELS},
            # Two of them on one node would want one port of it, so the old one has to go first.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "template": {
                "metadata": {
                    "labels": LABELS,
                    "annotations": {
                        f"{PREFIX}/pack": digest(pack),
                        f"{PREFIX}/options": digest(options.dump().encode()),
                    },
                },
                "spec": _pod(options, image),
            },
        },
    )


def _pod(options: Options, image: str) -> Obj:
    container: Obj = {
        "name": "bridge",
        "image": image,
        "command": ["python3", "-I", "-B", f"{_FOLDER}/{PACK}"],
        "args": ["run", "--options", f"{_FOLDER}/{OPTIONS}", "--name", "$(POD_NAME)"],
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "resources": {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "bridge", "mountPath": _FOLDER, "readOnly": True}],
    }
    if options.listen:
        host, _, port = options.listen.rpartition(":")
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
        "serviceAccountName": NAME,
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
                    {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": LABELS}}
                ]
            },
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": LABELS},
            }
        ],
        "containers": [container],
        "volumes": [{"name": "bridge", "configMap": {"name": NAME, "defaultMode": 0o444}}],
    }


def _config(options: Options, pack: bytes) -> Obj:
    return _object(
        "v1",
        "ConfigMap",
        options.namespace,
        data={OPTIONS: options.dump()},
        binaryData={PACK: base64.b64encode(pack).decode()},
    )


def _object(api: str, kind: str, namespace: str, **rest: Any) -> Obj:
    metadata: Obj = {"name": NAME, "labels": LABELS}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}


def _role(kind: str) -> Mapping[str, str]:
    return {"apiGroup": _RBAC, "kind": kind, "name": NAME}


def _merged(rights: Sequence[tuple[str, str, Sequence[str]]]) -> list[tuple[str, str, list[str]]]:
    """One rule for each resource."""
    verbs: dict[tuple[str, str], dict[str, None]] = {}
    for group, resource, more in rights:
        verbs.setdefault((group, resource), {}).update(dict.fromkeys(more))
    return [(group, resource, list(found)) for (group, resource), found in verbs.items()]


def _rule(group: str, resource: str, verbs: Sequence[str], name: str = "") -> Obj:
    named = {"resourceNames": [name]} if name else {}
    return {"apiGroups": [group], "resources": [resource], "verbs": list(verbs), **named}
