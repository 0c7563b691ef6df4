"""What the Kubernetes provider knows about kinds without asking a server: names, ids, what cannot be changed."""

from __future__ import annotations

import copy
import os
import re
from typing import Any

from sandbox.plugins.kubernetes.client import Object
from sandbox.plugins.values import UNKNOWN, covered, differences

PREFIX = "pulumi.com/"
AUTONAMED = f"{PREFIX}autonamed"

_POD_UNCHANGEABLE = tuple(
    f"spec.{field}"
    for field in (
        "affinity",
        "dnsPolicy",
        "hostIPC",
        "hostNetwork",
        "hostPID",
        "hostname",
        "nodeName",
        "nodeSelector",
        "priorityClassName",
        "restartPolicy",
        "schedulerName",
        "securityContext",
        "serviceAccountName",
        "subdomain",
        "volumes",
        *(
            f"{kind}[*].{field}"
            for kind in ("containers", "initContainers")
            for field in (
                "args",
                "command",
                "env",
                "envFrom",
                "lifecycle",
                "livenessProbe",
                "name",
                "ports",
                "readinessProbe",
                "resources",
                "securityContext",
                "volumeMounts",
                "workingDir",
            )
        ),
    )
)
_UNCHANGEABLE: dict[tuple[str, str], tuple[str, ...]] = {
    ("apps", "DaemonSet"): ("spec.selector",),
    ("apps", "Deployment"): ("spec.selector",),
    ("apps", "ReplicaSet"): ("spec.selector",),
    ("apps", "StatefulSet"): (
        "spec.podManagementPolicy",
        "spec.selector",
        "spec.serviceName",
        "spec.volumeClaimTemplates",
    ),
    ("batch", "Job"): ("spec.completionMode", "spec.completions", "spec.selector", "spec.template"),
    ("", "ConfigMap"): ("binaryData", "data"),
    ("", "PersistentVolumeClaim"): (
        "spec.accessModes",
        "spec.selector",
        "spec.storageClassName",
        "spec.volumeName",
    ),
    ("", "Pod"): _POD_UNCHANGEABLE,
    ("", "ResourceQuota"): ("spec.scopes",),
    ("", "Secret"): ("data", "stringData", "type"),
    ("", "Service"): ("spec.clusterIP", "spec.type"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io", "RoleBinding"): ("roleRef",),
    ("storage.k8s.io", "StorageClass"): ("parameters", "provisioner"),
}


def group(api_version: str) -> str:
    """The API group of ``apps/v1``: ``apps``; the core group is empty."""
    return api_version.rpartition("/")[0]


def unchangeable(inputs: Object, mutable: dict[str, bool]) -> tuple[str, ...]:
    """Paths whose change needs a new object; ``mutable`` says for ConfigMap and Secret that their data may change.

    Immutable ConfigMaps and Secrets are replaced whatever ``mutable`` says.
    """
    kind = inputs.get("kind", "")
    paths = _UNCHANGEABLE.get((group(inputs.get("apiVersion", "")), kind), ())
    if mutable.get(kind) and not inputs.get("immutable"):
        paths = tuple(path for path in paths if path == "type")
    return (*paths, "kind", "metadata.name", "metadata.namespace")


def metadata(value: Object) -> Object:
    """The object's ``metadata``, empty when it has none (or it is unknown as a whole)."""
    found = value.get("metadata")
    return found if isinstance(found, dict) else {}


def annotations_of(value: Object) -> dict[str, Any]:
    """The object's annotations, empty when it has none (or they are unknown as a whole)."""
    found = metadata(value).get("annotations")
    return found if isinstance(found, dict) else {}


def annotated(value: Object, name: str) -> str:
    """The value of ``pulumi.com/NAME``, ``""`` when it is not set."""
    return str(annotations_of(value).get(PREFIX + name) or "")


def truthy(value: Any) -> bool:
    """Whether a setting or annotation says yes: true, "true", "1"."""
    return str(value).lower() in ("true", "1")


def identifier(value: Object) -> str:
    """The id of an object: ``namespace/name``, or ``name`` in no namespace."""
    meta = metadata(value)
    return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else str(meta["name"])


def label(value: Object) -> str:
    """How a message names an object: ``Kind namespace/name``."""
    return f"{value.get('kind')} {identifier(value)}"


def without_none(value: Any) -> Any:
    """The value without empty entries: the server would drop them."""
    if isinstance(value, dict):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_none(item) for item in value]
    return value


def named(inputs: Object, olds: Object, resource_name: str) -> Object:
    """The inputs with a name: their own, the one made up before, or ``RESOURCE-xxxxxxxx``."""
    meta = metadata(inputs)
    if meta.get("name") or meta.get("generateName") or inputs.get("metadata") == UNKNOWN:
        return inputs
    out = copy.deepcopy(inputs)
    target = out.setdefault("metadata", {})
    earlier = metadata(olds).get("name") if annotations_of(olds).get(AUTONAMED) else None
    target["name"] = earlier or f"{resource_name}-{os.urandom(4).hex()}"
    if not isinstance(target.get("annotations"), dict):
        target["annotations"] = {}
    target["annotations"][AUTONAMED] = "true"
    return out


def changes(old: Object, new: Object, mutable: dict[str, bool]) -> tuple[dict[str, str], list[str]]:
    """Leaf paths in which inputs differ, and those that need a new object."""
    found = differences(_comparable(old), _comparable(new))
    patterns = unchangeable(new, mutable)
    replaces = [path for path in found if covered(patterns, path)]
    if group(str(old.get("apiVersion"))) != group(str(new.get("apiVersion"))):
        replaces += [path for path in found if path == "apiVersion"]
    return found, replaces


def _comparable(inputs: Object) -> Object:
    out = without_none({key: value for key, value in inputs.items() if key != "status"})
    if isinstance(out.get("metadata"), dict) and out["metadata"].get("namespace") == "default":
        out["metadata"] = {key: value for key, value in out["metadata"].items() if key != "namespace"}
    return dict(out)


_EARLIER_MANAGERS = {
    ("kubectl", "Apply"),
    ("kubectl", "Update"),
    ("before-first-apply", "Update"),
    ("pulumi-kubernetes", "Update"),
    ("pulumi-kubernetes.exe", "Update"),
    ("pulumi-resource-kubernetes", "Update"),
}
"""Managers whose fields an update takes over (pulumi-kubernetes v4.29, await.go)."""


def taken(entries: list[Object], manager: str) -> list[Object]:
    """`managedFields` with the fields of earlier managers in the entry of ``manager``."""
    kept: list[Object] = []
    fields: Object = {}
    own: Object | None = None
    for entry in entries:
        who = (entry.get("manager"), entry.get("operation"))
        if who == (manager, "Apply") and not entry.get("subresource"):
            own = entry
        elif who in _EARLIER_MANAGERS and not entry.get("subresource"):
            fields = _union(fields, entry.get("fieldsV1") or {})
        else:
            kept.append(entry)
    if own is None and not fields:
        return entries
    own = own or {"manager": manager, "operation": "Apply", "apiVersion": entries[0]["apiVersion"]}
    own = {**own, "fieldsType": "FieldsV1", "fieldsV1": _union(own.get("fieldsV1") or {}, fields)}
    return [*kept, own]


def _union(one: Object, other: Object) -> Object:
    both = {key: _union(one[key], other[key]) for key in one.keys() & other.keys()}
    return {**one, **other, **both}


_SERVER_METADATA = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")
_SERVER_ANNOTATIONS = ("deployment.kubernetes.io/revision", "kubectl.kubernetes.io/last-applied-configuration")


def inputs_from_live(live: Object) -> Object:
    """The inputs of an imported object: everything but what only the server writes."""
    out = copy.deepcopy({key: value for key, value in live.items() if key != "status"})
    meta = metadata(out)
    for key in _SERVER_METADATA:
        meta.pop(key, None)
    kept = {key: value for key, value in annotations_of(out).items() if key not in _SERVER_ANNOTATIONS}
    meta.pop("annotations", None)
    if kept:
        meta["annotations"] = kept
    return out


def refreshed_inputs(inputs: Any, live: Any) -> Any:
    """The inputs with what the cluster has now in their fields; fields that are gone there are left out.

    What the server never stores (``stringData``, false, empty) or writes in another form (quantities) is no difference.
    """
    if isinstance(inputs, dict) and isinstance(live, dict):
        return {
            key: refreshed_inputs(value, live[key]) if key in live else value
            for key, value in inputs.items()
            if key in live or not value or key == "stringData"
        }
    if isinstance(inputs, list) and isinstance(live, list) and len(inputs) == len(live):
        return [refreshed_inputs(a, b) for a, b in zip(inputs, live, strict=True)]
    return inputs if _same_quantity(inputs, live) else live


_QUANTITY = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(m|k|[MGTPE]|[KMGTPE]i)?")
"""A quantity as Kubernetes writes it; an address has more points (apimachinery, api/resource/quantity.go)."""
_FACTORS = {"m": 1e-3, "k": 1e3, "": 1.0} | {
    f"{unit}{binary}": float((1024 if binary else 1000) ** power)
    for power, unit in enumerate("KMGTPE", start=1)
    for binary in ("", "i")
}


def _same_quantity(one: Any, other: Any) -> bool:
    found = [_QUANTITY.fullmatch(str(value)) for value in (one, other)]
    if not all(found) or isinstance(one, bool) or isinstance(other, bool):
        return False
    numbers = [float(match[1]) * _FACTORS[match[2] or ""] for match in found if match]
    return abs(numbers[0] - numbers[1]) <= 1e-9 * abs(numbers[0])
