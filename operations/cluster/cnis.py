"""Who besides the VPC CNI wires pods."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from kube.transport import Obj
from migration.names import AWS_NODE, CALICO_NODE, SYSTEM_NAMESPACE
from operations.cluster import objects
from operations.evidence import Finding

CNI_DIRECTORY: Final = "/etc/cni/net.d"
FOREIGN_CNIS: Final = re.compile(
    r"\b(antrea|flannel|weave-net|weave-kube|kube-router|kube-ovn|multus|romana|canal|istio-cni|linkerd-cni|install-cni)\b"
)
"""In names or images of what writes CNI configuration, or changes it."""


MESH_CNIS: Final = re.compile(r"\b(istio-cni|linkerd-cni)\b")
"""In names of the DaemonSets of meshes, which chain a plugin behind whatever CNI there is."""


def foreign_cnis(kind: str, things: Iterable[Obj], *, chained: bool) -> Iterator[Finding]:
    """DaemonSets that write into the CNI directory of their node or are known to, and pods that write there.

    Args:
        chained: whether the plugins of meshes are let be: Cilium leaves them there (`cni.exclusive: false`).
    """
    for thing in things:
        if chained and kind == "daemonset" and MESH_CNIS.search(objects.name(thing)):
            continue
        if kind == "daemonset" and objects.key(thing) == f"{SYSTEM_NAMESPACE}/{AWS_NODE}":
            continue
        spec = thing["spec"]["template"]["spec"] if kind == "daemonset" else thing["spec"]
        writes = mounts_for_writing(spec, CNI_DIRECTORY)
        known = _known_cni(thing, spec) if kind == "daemonset" else ""
        if not known and not writes:
            continue
        why = f"looks like {known}" if known else f"writes to {CNI_DIRECTORY}"
        if objects.name(thing) == CALICO_NODE:
            why = "installs a CNI configuration: this Calico wires pods, it does not only enforce policy"
        yield Finding(
            f"{kind} {objects.key(thing)}",
            f"{why}; this journey starts from pods wired by the VPC CNI alone",
            "Remove it, or keep this cluster as it is",
        )


def _known_cni(thing: Obj, spec: Obj) -> str:
    containers = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    words = [objects.name(thing), *(f"{c['name']} {c.get('image', '')}" for c in containers)]
    found = next((match for word in words if (match := FOREIGN_CNIS.search(word))), None)
    return found.group(1) if found else ""


def mounts_for_writing(spec: Obj, directory: str) -> bool:
    """Whether a container of a pod spec has a host directory, or one above it, mounted read-write."""
    volumes = {
        v["name"]
        for v in spec.get("volumes") or []
        if f"{directory}/".startswith(f"{str((v.get('hostPath') or {}).get('path', '-')).rstrip('/')}/")
        and (v.get("hostPath") or {}).get("path") not in {"/", "/etc"}
    }
    containers = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    return any(m["name"] in volumes and not m.get("readOnly") for c in containers for m in c.get("volumeMounts") or [])
