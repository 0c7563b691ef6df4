"""Small questions to Kubernetes objects, asked by many checks. Pure."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from kube.transport import Obj
from migration.names import (
    AGENT_NOT_READY_TAINT,
    CANARY_TAINT,
    CILIUM_CNI,
    CNI_LABEL,
    LEGACY_CNI,
)
from reading import STORED_API, metadata_of

COMPUTE_TYPE: Final = "eks.amazonaws.com/compute-type"
NOT_EC2: Final = frozenset({"fargate", "hybrid", "auto"})
"""Compute types whose nodes bring their own CNI: no DaemonSet of ours or of the VPC CNI runs there."""
ZONE: Final = "topology.kubernetes.io/zone"
NODEGROUP: Final = "eks.amazonaws.com/nodegroup"
NODEPOOL: Final = "karpenter.sh/nodepool"
SHOWN: Final = 3


def name(obj: Obj) -> str:
    return str(obj["metadata"]["name"])


def namespace(obj: Obj) -> str:
    return str(obj["metadata"].get("namespace", ""))


def key(obj: Obj) -> str:
    """`namespace/name`, or the name alone."""
    return f"{namespace(obj)}/{name(obj)}" if namespace(obj) else name(obj)


def labels(obj: Obj) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


def annotations(obj: Obj) -> Mapping[str, str]:
    return obj["metadata"].get("annotations") or {}


def as_calico_reads(obj: Obj, api: str = STORED_API) -> Obj:
    """One of Calico's objects with the metadata that Calico gives it.

    Where its annotation holds none the object is as it stands: Calico does not read it, so whose it is stays open.

    Args:
        api: under which it was read; items of a list do not say it.
    """
    try:
        return {**obj, "metadata": metadata_of(str(obj.get("apiVersion") or api), obj["metadata"])}
    except ValueError:
        return obj


def condition(obj: Obj, kind: str) -> Obj | None:
    conditions = (obj.get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c.get("type") == kind), None)


def holds(obj: Obj, kind: str) -> bool:
    """Whether a condition is there and True."""
    return (condition(obj, kind) or {}).get("status") == "True"


def since(obj: Obj, kind: str) -> datetime | None:
    """When a condition changed last, UTC."""
    text = (condition(obj, kind) or {}).get("lastTransitionTime")
    return instant(text) if text else None


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)


def written(obj: Obj, *path: str) -> datetime | None:
    """When whoever set a field wrote last, UTC, by the API server's clock; None when it is not recorded.

    Args:
        path: to the field, as in `managedFields` but without `f:` before names: ("spec", "renewTime").
    """
    times = [
        instant(entry["time"])
        for entry in obj["metadata"].get("managedFields") or []
        if entry.get("time") and _holds_field(entry.get("fieldsV1") or {}, path)
    ]
    return max(times, default=None)


def _holds_field(fields: Mapping[str, Any], path: Iterable[str]) -> bool:
    here: Any = fields
    for part in path:
        here = here.get(part if part.startswith("k:") else f"f:{part}")
        if here is None:
            return False
    return True


# -- nodes ------------------------------------------------------------------------------------------


def is_ec2_linux(node: Obj) -> bool:
    """Whether DaemonSets of the network run there: not Fargate, hybrid, Auto Mode or Windows."""
    found = labels(node)
    return found.get(COMPUTE_TYPE) not in NOT_EC2 and found.get("kubernetes.io/os", "linux") == "linux"


def is_cilium(node: Obj) -> bool:
    return labels(node).get(CNI_LABEL) == CILIUM_CNI


def is_legacy(node: Obj) -> bool:
    """Wired by the VPC CNI: labelled so, or an EC2 node without any label."""
    return is_ec2_linux(node) and labels(node).get(CNI_LABEL, LEGACY_CNI) == LEGACY_CNI


def is_canary(node: Obj) -> bool:
    return has_taint(node, CANARY_TAINT)


def has_taint(node: Obj, taint: str) -> bool:
    return any(t.get("key") == taint for t in node.get("spec", {}).get("taints") or [])


def agent_not_ready(node: Obj) -> bool:
    return has_taint(node, AGENT_NOT_READY_TAINT)


def zone(node: Obj) -> str:
    return labels(node).get(ZONE, "")


# -- pods -------------------------------------------------------------------------------------------


def node_of(pod: Obj) -> str:
    return str(pod.get("spec", {}).get("nodeName") or "")


def host_network(pod: Obj) -> bool:
    return bool(pod.get("spec", {}).get("hostNetwork"))


def phase(pod: Obj) -> str:
    return str((pod.get("status") or {}).get("phase", ""))


def owner_kind(pod: Obj) -> str:
    """Kind of the controller; empty for a bare pod. "Node" for a static pod's mirror."""
    owners = pod["metadata"].get("ownerReferences") or []
    return next((str(o["kind"]) for o in owners if o.get("controller")), "")


def is_workload(pod: Obj) -> bool:
    """Wired by a CNI and not there only because its node is: it has to move when the node goes."""
    return not host_network(pod) and owner_kind(pod) not in {"DaemonSet", "Node"} and not is_over(pod)


def is_over(pod: Obj) -> bool:
    return phase(pod) in {"Succeeded", "Failed"}


# -- workloads --------------------------------------------------------------------------------------


def rolled_out(daemonset: Obj) -> tuple[int, int]:
    """(desired, ready) of a DaemonSet; ready is 0 while its controller has not seen the last change."""
    status = daemonset.get("status") or {}
    desired, ready = int(status.get("desiredNumberScheduled", 0)), int(status.get("numberReady", 0))
    if status.get("observedGeneration", 0) < daemonset["metadata"].get("generation", 0):
        return desired, 0
    return desired, min(ready, int(status.get("updatedNumberScheduled", ready)))


def available(deployment: Obj) -> tuple[int, int]:
    """(wanted, available) of a Deployment."""
    wanted = deployment.get("spec", {}).get("replicas")
    status = deployment.get("status") or {}
    return (1 if wanted is None else int(wanted)), int(status.get("availableReplicas", 0))


def images(obj: Obj) -> list[str]:
    """Images of the containers of a pod template, in order."""
    containers = obj["spec"]["template"]["spec"].get("containers") or []
    return [str(c.get("image", "")) for c in containers]


def some(names: Iterable[str], limit: int = SHOWN) -> str:
    """Names for people: "a, b, c and 4 more"."""
    found = sorted(names)
    more = f" and {len(found) - limit} more" if len(found) > limit else ""
    return ", ".join(found[:limit]) + more


def count(number: int, noun: str, plural: str = "") -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def tag(image: str) -> str | None:
    """Tag of an image; None for one that is pinned by digest alone."""
    last = image.split("@", 1)[0].rsplit("/", 1)[-1]
    return last.split(":", 1)[1] if ":" in last else None
