"""How workloads stand: read from the cluster, for the record in the mark and for what is compared with it."""

from collections.abc import Mapping
from typing import Final

from kube.cluster import Cluster
from kube.transport import Obj
from migration.guarding.workloads import Standing, digest
from operations.cluster import objects

PATHS: Final[Mapping[str, str]] = {
    "deployment": "/apis/apps/v1/deployments",
    "statefulset": "/apis/apps/v1/statefulsets",
    "daemonset": "/apis/apps/v1/daemonsets",
    "replicaset": "/apis/apps/v1/replicasets",
}


def seen(kube: Cluster) -> dict[str, Standing]:
    """How every workload stands now; ReplicaSets of Deployments stand with these."""
    found = {}
    for kind, path in PATHS.items():
        for item in kube.items(path):
            if kind != "replicaset" or objects.owner_kind(item) != "Deployment":
                found[f"{kind} {objects.key(item)}"] = _standing(kind, item)
    return found


def _standing(kind: str, item: Obj) -> Standing:
    spec, status = item.get("spec") or {}, item.get("status") or {}
    template = digest(spec.get("template") or {})
    if kind == "daemonset":
        return Standing(template, int(status.get("desiredNumberScheduled", 0)), int(status.get("numberReady", 0)))
    wanted = spec.get("replicas")
    return Standing(template, 1 if wanted is None else int(wanted), int(status.get("readyReplicas", 0)))
