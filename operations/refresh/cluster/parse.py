"""Kubernetes objects as JSON → the values a refresh works with."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from migration.names import (
    AGENT_NOT_READY_TAINT,
    AWS_NODE,
    CANARY_TAINT,
    CILIUM,
    CILIUM_CNI,
    CNI_LABEL,
    CORDONED_BY_US,
    LEGACY_CNI,
    REFRESH_TAINT,
    SYSTEM_NAMESPACE,
)
from operations.refresh.cluster.needs import needs
from operations.refresh.model import marks
from operations.refresh.model.values import DisruptionBudget, Node, Owner, Pod, Spread, Workload, share

Obj = Mapping[str, Any]

AGENT_OF: Final = {LEGACY_CNI: AWS_NODE, CILIUM_CNI: CILIUM}
"""Value of `cni-plugin` -> label `k8s-app` of the CNI agent's pods."""
OURS: Final = "by-refresh"
"""Value of the annotation: the refresh cordoned the node."""
FOUND: Final = "found"
"""The refresh found it cordoned."""
HOSTNAME: Final = "kubernetes.io/hostname"
REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
MIRROR: Final = "kubernetes.io/config.mirror"
UNSCHEDULABLE: Final = "node.kubernetes.io/unschedulable"

_shared: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}


def _share(labels: Mapping[str, str]) -> dict[str, str]:
    """One dictionary for all pods of the same labels: fifty thousand pods have few different ones."""
    key = tuple(sorted(labels.items()))
    if len(_shared) > 20_000:
        _shared.clear()
    return _shared.setdefault(key, dict(key))


def node(obj: Obj) -> Node:
    meta, spec = obj["metadata"], obj.get("spec") or {}
    labels, notes = meta.get("labels") or {}, meta.get("annotations") or {}
    taints = {(t.get("key"), t.get("effect")) for t in spec.get("taints") or []}
    keys = {key for key, _ in taints}
    provider = str(spec.get("providerID") or "")
    return Node(
        name=meta["name"],
        uid=meta.get("uid", ""),
        cni=labels.get(CNI_LABEL, ""),
        group=labels.get("eks.amazonaws.com/nodegroup", ""),
        zone=labels.get("topology.kubernetes.io/zone", ""),
        instance=provider.rsplit("/", 1)[-1] if provider.startswith("aws:") else "",
        ready=_condition(obj, "Ready") == "True",
        agent_ready=AGENT_NOT_READY_TAINT not in keys,
        unschedulable=bool(spec.get("unschedulable")),
        ours=CORDONED_BY_US in notes,
        found_cordoned=notes.get(CORDONED_BY_US) == FOUND,
        soft=(REFRESH_TAINT, "PreferNoSchedule") in taints,
        canary=CANARY_TAINT in keys,
        taints=tuple(spec.get("taints") or ()),
        version=str(meta.get("resourceVersion", "")),
    )


def _condition(obj: Obj, kind: str) -> str:
    conditions = (obj.get("status") or {}).get("conditions") or []
    return next((str(c.get("status")) for c in conditions if c.get("type") == kind), "")


def pod(obj: Obj, target_cni: str) -> Pod:
    """A pod.

    Args:
        target_cni: value of `cni-plugin` of the new nodes, whose agents are looked for.
    """
    meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    labels = meta.get("labels") or {}
    owner = next((o for o in meta.get("ownerReferences") or [] if o.get("controller")), None)
    volumes = spec.get("volumes") or []
    ready = _condition(obj, "Ready") == "True"
    asks, spread = _asks(spec), tuple(_spreads(spec))
    return Pod(
        uid=meta["uid"],
        namespace=meta["namespace"],
        name=meta["name"],
        node=spec.get("nodeName") or "",
        owner=Owner(owner["kind"], owner["name"], owner["uid"]) if owner else None,
        labels=_share(labels),
        mirror=MIRROR in (meta.get("annotations") or {}),
        finished=status.get("phase") in ("Succeeded", "Failed"),
        terminating=bool(meta.get("deletionTimestamp")),
        finalizers=tuple(meta.get("finalizers") or ()),
        ready=ready,
        agent=meta["namespace"] == SYSTEM_NAMESPACE and labels.get("k8s-app") == AGENT_OF[target_cni],
        tolerates_cordon=any(_tolerates_cordon(t) for t in spec.get("tolerations") or []),
        hosts=_hosts(asks),
        asks=asks,
        host_network=bool(spec.get("hostNetwork")),
        spread=spread,
        tolerations=tuple(t for t in spec.get("tolerations") or () if spread or not _everybodys(t)),
        needs=needs(spec),
        mark=marks.of(meta.get("annotations") or {}, meta.get("labels") or {}),
        scratch=any("emptyDir" in v or "hostPath" in v for v in volumes),
        claims=tuple(v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v),
        took=_took(obj) if ready else 0.0,
        problem="" if ready else _problem(obj),
    )


def _everybodys(toleration: Obj) -> bool:
    """One that admission gives every pod (DefaultTolerationSeconds)."""
    return toleration.get("key") in {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}


def _took(obj: Obj) -> float:
    """From creation to readiness; nothing for a pod that restarted or waited to be scheduled."""
    status = obj.get("status") or {}
    if any(c.get("restartCount") for c in status.get("containerStatuses") or []):
        return 0.0
    at = {c.get("type"): c.get("lastTransitionTime") for c in status.get("conditions") or []}
    if not at.get("PodScheduled") or not at.get("Ready"):
        return 0.0
    began, ready = (datetime.fromisoformat(str(at[k]).replace("Z", "+00:00")) for k in ("PodScheduled", "Ready"))
    return max(0.0, (ready - began).total_seconds())


def _tolerates_cordon(toleration: Obj) -> bool:
    key, effect = toleration.get("key") or "", toleration.get("effect") or "NoSchedule"
    everything = not key and toleration.get("operator") == "Exists"
    return effect == "NoSchedule" and (everything or key == UNSCHEDULABLE)


def _spreads(spec: Obj) -> Iterator[Spread]:
    for rule in spec.get("topologySpreadConstraints") or []:
        if rule.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule":
            yield Spread(
                str(rule.get("topologyKey", "")),
                int(rule.get("maxSkew", 1)),
                rule.get("labelSelector"),
                honours_taints=rule.get("nodeTaintsPolicy") == "Honor",
                honours_affinity=rule.get("nodeAffinityPolicy", "Honor") == "Honor",
            )


def _asks(spec: Obj) -> tuple[Obj, ...]:
    """What nodes a pod asks for, as node selector terms, ORed."""
    chosen = spec.get("nodeSelector") or {}
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(REQUIRED) or {}
    terms = required.get("nodeSelectorTerms") or ([{}] if chosen else [])
    own = [{"key": key, "operator": "In", "values": [value]} for key, value in sorted(chosen.items())]
    if not own:
        return tuple(terms)
    return tuple({**term, "matchExpressions": [*own, *(term.get("matchExpressions") or [])]} for term in terms)


def _hosts(asks: tuple[Obj, ...]) -> frozenset[str] | None:
    """Names that every way onto a node asks for."""
    found: set[str] = set()
    for term in asks:
        names = [
            set(e.get("values") or [])
            for key, part in ((HOSTNAME, "matchExpressions"), ("metadata.name", "matchFields"))
            for e in term.get(part) or []
            if e.get("key") == key and e.get("operator") == "In"
        ]
        if not names:
            return None
        found |= set.intersection(*names)
    return frozenset(found) if asks else None


def _problem(obj: Obj) -> str:
    """Why a pod is not ready, in a few words."""
    status = obj.get("status") or {}
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"cannot be scheduled: {condition.get('message') or condition.get('reason')}"
    for container in status.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason"):
            return f"container {container.get('name')}: {waiting['reason']}"
    return f"is {status.get('phase') or 'not started'}, not ready"


def budget(obj: Obj) -> DisruptionBudget:
    meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    current = status.get("observedGeneration", 0) >= meta.get("generation", 0)
    return DisruptionBudget(
        key=(meta["namespace"], meta["name"]),
        selector=spec.get("selector"),
        allowed=int(status.get("disruptionsAllowed", 0)) if current else 0,
        expected=int(status.get("expectedPods", 0)),
        desired=int(status.get("desiredHealthy", 0)),
        healthy=int(status.get("currentHealthy", 0)),
        version=str(meta.get("resourceVersion", "")),
        unnoted=tuple(status.get("disruptedPods") or ()),
        current=current and "expectedPods" in status,
        failure=_failure(status),
    )


def _failure(status: Obj) -> str:
    """Why the disruption controller cannot count."""
    for condition in status.get("conditions") or []:
        if condition.get("type") == "DisruptionAllowed" and condition.get("reason") == "SyncFailed":
            return str(condition.get("message") or "it does not say why")
    return ""


def workload(obj: Obj, kind: str) -> Workload:
    """A Deployment or a StatefulSet.

    Source: apps/v1, RollingUpdateDeployment and RollingUpdateStatefulSetStrategy: `maxUnavailable` is a number, or a
    share of the replicas that is rounded down; a StatefulSet without it takes one at a time.
    """
    meta, spec = obj["metadata"], obj.get("spec") or {}
    replicas = spec.get("replicas")
    replicas = 1 if replicas is None else int(replicas)
    strategy = spec.get("strategy" if kind == "Deployment" else "updateStrategy") or {}
    said = (strategy.get("rollingUpdate") or {}).get("maxUnavailable", 1 if kind == "StatefulSet" else None)
    return Workload((kind, meta["namespace"], meta["name"]), replicas, _at_once(said, replicas))


def _at_once(said: Any, replicas: int) -> int:
    """A number or a share; whatever else stands there says nothing."""
    text = str(said).removesuffix("%") if said is not None else ""
    if not text.isdecimal():
        return share(replicas)
    number = int(text[:9])
    return max(1, number * replicas // 100 if str(said).endswith("%") else number)


def attachment(obj: Obj) -> tuple[str, str]:
    """Name and node of a VolumeAttachment."""
    return obj["metadata"]["name"], str((obj.get("spec") or {}).get("nodeName", ""))
