"""What the Tigera operator does while its pod is Ready: CRDs, the Installation, and its report on both.

Deletion is upstream's: finalizers hold the Installation until the operator has taken kube-controllers down,
the garbage collector removes the rest by owner. Without a running operator it hangs.
Source: tigera/operator 1.42 pkg/controller/{installation,status}, pkg/imports/crds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable

from sandbox.operators import kube, modules, tigera_render
from sandbox.operators.cni import now
from sandbox.operators.kube import Cluster, Kind, Object

MANAGER = "tigera-operator"
FINALIZERS = ("tigera.io/operator-cleanup", "operator.tigera.io/installation-controller")
APPLIED = "sandbox/applied"
"""Annotation of what the operator applied: a hash, so that a field it no longer sets is taken away."""

_ALL_AVAILABLE = ("AllObjectsAvailable", "All objects available")


class TigeraOperator:
    """One pass does all its jobs."""

    name = "tigera-operator"

    def __init__(
        self, cluster: Cluster, definitions: Callable[[], Iterable[Object]] = modules.calico_definitions
    ) -> None:
        self.cluster = cluster
        self._definitions = definitions
        self._registered_by = ""

    def reconcile(self) -> None:
        """Bring Calico to what the Installation says."""
        running = [p for p in self.cluster.list(kube.PODS) if _is_operator(p) and kube.ready(p)]
        if not running:
            return
        installation = next((i for i in self.cluster.list(kube.INSTALLATIONS) if kube.name(i) == "default"), None)
        operator = running[0]["metadata"]["uid"]
        arguments = [a for c in running[0]["spec"]["containers"] for a in c.get("args") or []]
        if "-manage-crds=true" not in arguments:
            self._registered_by = operator
        elif operator != self._registered_by or (installation is not None and not kube.deleting(installation)):
            self._register(operator)
        if installation is None:
            for status in self.cluster.list(kube.TIGERA_STATUSES):
                if kube.name(status) == "calico":
                    self.cluster.delete(kube.TIGERA_STATUSES, status)
        elif kube.deleting(installation):
            self._tear_down(installation)
        else:
            self._install(installation)

    def _register(self, operator: str) -> None:
        """All CRDs when an operator starts; those that are gone for as long as there is an Installation."""
        seen = {kube.name(d): d for d in self.cluster.list(kube.DEFINITIONS)}
        for definition in self._definitions():
            # The annotations carry the approval that definitions of a *.k8s.io group need.
            meta = {"name": kube.name(definition), "annotations": kube.annotations(definition)}
            body = {"metadata": meta, "spec": definition["spec"]}
            if kube.name(definition) not in seen:
                self.cluster.create(kube.DEFINITIONS, body)
            elif not kube.contains(seen[kube.name(definition)]["spec"], definition["spec"]):
                self.cluster.patch(kube.DEFINITIONS, body, {"spec": definition["spec"]})
        self._registered_by = operator

    # -- Installation -----------------------------------------------------------------------------

    def _install(self, installation: Object) -> None:
        spec = installation.get("spec") or {}
        filled = tigera_render.defaults(spec)
        held = installation["metadata"].get("finalizers") or []
        missing = [f for f in FINALIZERS if f not in held]
        if missing or not kube.contains(spec, filled):
            body = {
                "metadata": {
                    "resourceVersion": installation["metadata"]["resourceVersion"],
                    "finalizers": [*held, *missing],
                },
                "spec": filled,
            }
            self.cluster.patch(kube.INSTALLATIONS, installation, body)
            return
        if reason := tigera_render.refusal(spec):
            self._report(installation, degraded=f"Invalid Installation provided: {reason}")
            return
        for kind, body in tigera_render.initial_calico_objects():
            if kube.name(body) not in {kube.name(item) for item in self.cluster.list(kind)}:
                self.cluster.create(kind, body)
        for kind, body in tigera_render.objects(spec, self._schedulable(), self._digests()):
            self._keep(kind, body, installation)
        status = {"variant": "Calico", "calicoVersion": modules.CALICO_VERSION, "computed": spec}
        if not kube.contains(installation.get("status"), status):
            self.cluster.patch(kube.INSTALLATIONS, installation, {"status": status}, "status")
        self._report(installation, progressing=self._progress())

    def _digests(self) -> dict[str, str]:
        """Image -> digest, from the ImageSet of this version (pkg/controller/utils/imageset)."""
        wanted = f"calico-{modules.CALICO_VERSION}"
        found = next((s for s in self.cluster.list(kube.IMAGE_SETS) if kube.name(s) == wanted), None)
        return {i["image"]: i["digest"] for i in ((found or {}).get("spec") or {}).get("images") or []}

    def _schedulable(self) -> int:
        nodes = self.cluster.list(kube.NODES)
        return sum(
            1 for n in nodes if not n["spec"].get("unschedulable") and kube.labels(n).get("kubernetes.io/os") == "linux"
        )

    def _find(self, kind: Kind, body: Object) -> Object | None:
        wanted = (kube.namespace(body), kube.name(body))
        return next((i for i in self.cluster.list(kind) if (kube.namespace(i), kube.name(i)) == wanted), None)

    def _keep(self, kind: Kind, body: Object, installation: Object) -> None:
        """Apply an object that is not there, was rendered otherwise before, or was changed by somebody."""
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
        seen = self._find(kind, body)
        if seen is not None:
            same = kube.annotations(seen).get(APPLIED) == digest
            if kube.deleting(seen) or (same and kube.contains(seen, {**body, "metadata": {}})):
                return
        ref = {
            "apiVersion": kube.INSTALLATIONS.api_version,
            "kind": kube.INSTALLATIONS.kind,
            "name": kube.name(installation),
            "uid": installation["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
        meta = {**body["metadata"], "annotations": {APPLIED: digest}, "ownerReferences": [ref]}
        self.cluster.apply(kind, {**body, "metadata": meta}, MANAGER)

    def _tear_down(self, installation: Object) -> None:
        held = installation["metadata"].get("finalizers") or []
        if any(f not in FINALIZERS for f in held):
            return
        controllers = self._find(
            kube.DEPLOYMENTS,
            {"metadata": {"name": tigera_render.CONTROLLERS, "namespace": tigera_render.NAMESPACE}},
        )
        if controllers is not None:
            if not kube.deleting(controllers):
                self.cluster.delete(kube.DEPLOYMENTS, controllers)
            return
        if held:
            self.cluster.patch(kube.INSTALLATIONS, installation, {"metadata": {"finalizers": []}})

    # -- TigeraStatus -----------------------------------------------------------------------------

    def _progress(self) -> str:
        """What is still rolling out, in words; empty when everything is available."""
        found: list[str] = []
        for kind, name in tigera_render.WORKLOADS:
            item = self._find(kind, {"metadata": {"name": name, "namespace": tigera_render.NAMESPACE}})
            title = f'{kind.kind} "{tigera_render.NAMESPACE}/{name}"'
            if item is None:
                found.append(f"{title} is not there yet")
                continue
            status = item.get("status") or {}
            if status.get("observedGeneration", 0) < item["metadata"].get("generation", 0):
                found.append(f"{title} update is being processed")
            elif kind is kube.DAEMON_SETS:
                found += _daemon_set_progress(title, status)
            elif awaited := item["spec"].get("replicas", 1) - status.get("availableReplicas", 0):
                found.append(f"{title} is not available (awaiting {awaited} replicas)")
        return "; ".join(found)

    def _report(self, installation: Object, *, progressing: str = "", degraded: str = "") -> None:
        available = not progressing and not degraded
        idle = _ALL_AVAILABLE if available else ("Unknown", "")
        wanted = {
            "Available": ("True", *_ALL_AVAILABLE) if available else ("False", *idle),
            "Progressing": ("True", "ResourceNotReady", progressing) if progressing else ("False", *idle),
            "Degraded": ("True", "InvalidConfigurationError", degraded) if degraded else ("False", *idle),
        }
        status = next((s for s in self.cluster.list(kube.TIGERA_STATUSES) if kube.name(s) == "calico"), None)
        if status is None:
            self.cluster.create(kube.TIGERA_STATUSES, {"metadata": {"name": "calico"}, "spec": {}})
            return
        generation = installation["metadata"].get("generation", 1)
        conditions: list[Object] = []
        for kind, (value, reason, message) in wanted.items():
            seen = kube.condition(status, kind)
            conditions.append(
                {
                    "type": kind,
                    "status": value,
                    "reason": reason,
                    "message": message,
                    "observedGeneration": generation,
                    "lastTransitionTime": seen["lastTransitionTime"] if seen.get("status") == value else now(),
                }
            )
        if not kube.contains(status.get("status"), {"conditions": conditions}):
            self.cluster.patch(kube.TIGERA_STATUSES, status, {"status": {"conditions": conditions}}, "status")


def _is_operator(pod: Object) -> bool:
    return kube.namespace(pod) == "tigera-operator" and kube.labels(pod).get("k8s-app") == "tigera-operator"


def _daemon_set_progress(title: str, status: Object) -> list[str]:
    desired = status.get("desiredNumberScheduled", 0)
    updated = status.get("updatedNumberScheduled", 0)
    if updated < desired:
        return [f"{title} update is rolling out ({updated} out of {desired} updated)"]
    if status.get("numberUnavailable", 0):
        return [f"{title} is not available (awaiting {status['numberUnavailable']} nodes)"]
    return []
