"""Managed add-ons in the cluster: server-side apply as `eks`, roll-out, health, removal.

An add-on is applied when it is created or updated, and at no other time: what others changed in between
stays, until an update with OVERWRITE takes it back. NONE refuses when another field manager owns a field
that would change; PRESERVE leaves that field to its owner.

EKS makes these requests as a user of its own, so admission judges them like anybody's: what it refuses leaves the
add-on failed, with the API server's words in its health.
"""

from __future__ import annotations

import contextlib
import logging
import re
from typing import Any

from sandbox.aws.eks.addon_catalog import ADDONS, default_version
from sandbox.aws.eks.addons import configuration
from sandbox.aws.eks.core import finish_update
from sandbox.cluster.manifests import apply_path, manifests
from sandbox.world import Controller, KubeError, World

__all__ = ["MANAGER", "AddonController", "controllers", "without"]

log = logging.getLogger(__name__)

Json = dict[str, Any]
MANAGER = "eks"
USER = "eks:addon-manager"
"""Who EKS's add-on manager is to the API server."""
_RIGHTS: Json = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "eks:addon-cluster-admin"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}],
}
"""EKS binds its add-on manager so in every cluster."""
_WORKLOADS = {
    "vpc-cni": "/apis/apps/v1/namespaces/kube-system/daemonsets/aws-node",
    "kube-proxy": "/apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy",
    "coredns": "/apis/apps/v1/namespaces/kube-system/deployments/coredns",
}
_DEFINITIONS = (
    ("crd.k8s.amazonaws.com", "v1alpha1", "ENIConfig", "eniconfigs", "Cluster"),
    ("vpcresources.k8s.aws", "v1alpha1", "CNINode", "cninodes", "Cluster"),
    ("vpcresources.k8s.aws", "v1beta1", "SecurityGroupPolicy", "securitygrouppolicies", "Namespaced"),
    ("networking.k8s.aws", "v1alpha1", "PolicyEndpoint", "policyendpoints", "Namespaced"),
)
"""Kinds that every EKS cluster serves. Their schemas are open here."""


class _Conflict(Exception):
    """Another field manager owns fields that would change; names objects and fields."""


def _definition(group: str, version: str, kind: str, plural: str, scope: str) -> Json:
    open_schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "versions": [{"name": version, "served": True, "storage": True, "schema": open_schema}],
        },
    }


def without(item: Any, path: str) -> None:
    """Remove the field that a conflict names from an object, e.g. `.spec.containers[name="a"].env`."""
    steps = re.findall(r'\.([^.\[\]]+)|\[([\w-]+)="([^"]*)"\]|\[=?"?([^\]"]*)"?\]', path)
    for index, (name, key, value, _) in enumerate(steps):
        last = index == len(steps) - 1
        if name:
            if not isinstance(item, dict) or name not in item:
                return
            if last:
                del item[name]
                return
            item = item[name]
        elif key:
            found = next((entry for entry in item if str(entry.get(key)) == value), None)
            if found is None:
                return
            if last:
                item.remove(found)
                return
            item = found
        else:
            return


class AddonController:
    """Carries out the tasks of add-ons, keeps their status, installs the self-managed ones of a new cluster."""

    name = "addons"

    def __init__(self, world: World) -> None:
        self._world = world.acting_as(USER)
        self._administrator = world
        self._aws = world.aws
        self._aws.subscribe(world.wakeup)
        self._sets = world.informer("/apis/apps/v1/daemonsets")
        self._deployments = world.informer("/apis/apps/v1/deployments")

    def reconcile(self) -> None:
        """One pass over the cluster's bootstrap and over all add-ons."""
        if not (self._sets.synced and self._deployments.synced):
            return
        with self._aws.lock:
            clusters = list(self._aws.table("eks.clusters").values())
            records = list(self._aws.table("eks.addons").values())
        for cluster in clusters:
            self._bootstrap(cluster)
        for record in records:
            if "task" in record:
                if self._aws.now() >= record["task"]["at"]:
                    self._carry_out(record)
            else:
                self._judge(record)

    # -- doing --------------------------------------------------------------------------------------

    def _bootstrap(self, cluster: Json) -> None:
        if cluster.get("bootstrapped") or cluster["status"] == "DELETING":
            return
        with contextlib.suppress(KubeError):
            bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
            self._administrator.call("POST", bindings, _RIGHTS)
        for row in _DEFINITIONS:
            with contextlib.suppress(KubeError):
                path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
                self._administrator.call("POST", path, _definition(*row))
        if cluster["bootstrap_addons"]:
            for addon in ADDONS:
                version = default_version(addon, cluster["version"])
                for item in self._manifests(addon, version, cluster["name"], {}):
                    self._world.apply(apply_path(item), item, manager=MANAGER)
        with self._aws.change():
            cluster["bootstrapped"] = True

    def _manifests(self, addon: str, version: str, cluster: str, values: Json, role: str | None = None) -> list[Json]:
        region = self._aws.region
        return manifests(addon, version=version, configuration=values, region=region, cluster=cluster, role=role)

    def _objects(self, record: Json) -> list[Json]:
        values = configuration(record.get("configurationValues"))
        role = record.get("serviceAccountRoleArn")
        return self._manifests(record["addonName"], record["addonVersion"], record["clusterName"], values, role)

    def _carry_out(self, record: Json) -> None:
        task = record["task"]
        if task["action"] == "delete":
            refusals = [] if task["preserve"] else self._remove(self._objects(record))
            if refusals:
                self._fail(record, task, "AdmissionRequestDenied", "; ".join(refusals))
                return
            with self._aws.change():
                self._aws.table("eks.addons").pop(f"{record['clusterName']}/{record['addonName']}", None)
            return
        try:
            self._apply(self._objects(record), task["resolve"])
        except _Conflict as conflict:
            self._fail(record, task, "ConfigurationConflict", str(conflict))
        except KubeError as refusal:
            self._fail(record, task, "AdmissionRequestDenied", str(refusal))
        else:
            with self._aws.change():
                if record.get("task") == task:
                    del record["task"]
                    record |= {"unwell_since": self._aws.now(), "rolling": task.get("update", "")}

    def _remove(self, items: list[Json]) -> list[str]:
        """Delete all that can be deleted: the order that EKS keeps is not known, so none may be relied on."""
        refusals = []
        for item in reversed(items):
            try:
                self._world.delete(apply_path(item))
            except KubeError as refusal:
                refusals.append(str(refusal))
        return refusals

    def _apply(self, items: list[Json], resolve: str) -> None:
        if resolve == "NONE":
            conflicts = [text for item in items for text, _ in self._conflicts(item)]
            if conflicts:
                raise _Conflict(
                    "Conflicts found when trying to apply. Will not continue due to resolve conflicts mode. "
                    f"Conflicts:\n{chr(10).join(conflicts)}"
                )
        for item in items:
            if resolve == "PRESERVE":
                for _, field in self._conflicts(item):
                    without(item, field)
            self._world.apply(apply_path(item), item, manager=MANAGER)

    def _conflicts(self, item: Json) -> list[tuple[str, str]]:
        """(text, field path) of what applying would take from other field managers."""
        query = {"fieldManager": MANAGER, "force": "false", "dryRun": "All"}
        media = "application/apply-patch+yaml"
        response = self._world.open("PATCH", apply_path(item), item, media, query)
        if response.status != 409:
            return []
        causes = (response.json().get("details") or {}).get("causes") or []
        group = item["apiVersion"].partition("/")[0] if "/" in item["apiVersion"] else ""
        what = f"{item['kind']}{f'.{group}' if group else ''} {item['metadata']['name']}"
        return [(f"{what} - {cause['field']}", cause["field"]) for cause in causes if cause.get("field")]

    def _fail(self, record: Json, task: Json, code: str, message: str) -> None:
        log.warning("add-on %s: %s", record["addonName"], message)
        with self._aws.change():
            if record.get("task") != task:
                return
            del record["task"]
            update = self._aws.table("eks.updates").get(task.get("update", ""))
            failed = "DELETE_FAILED" if task["action"] == "delete" else "CREATE_FAILED"
            record["status"] = "UPDATE_FAILED" if update else failed
            record["health"] = {"issues": [{"code": code, "message": message, "resourceIds": []}]}
            if update:
                finish_update(self._aws, update, [{"errorCode": code, "errorMessage": message, "resourceIds": []}])
                for key, value in task["before"].items():
                    record.pop(key, None)
                    if value is not None:
                        record[key] = value

    # -- looking ------------------------------------------------------------------------------------

    def _judge(self, record: Json) -> None:
        """ACTIVE when it runs, DEGRADED when it has not for `addon_degraded_after`."""
        if record["status"].endswith("FAILED"):
            return
        addon = record["addonName"]
        problem = self._problem(addon, self._shown(addon))
        if problem is None and record["status"] != "ACTIVE":
            # The copy may be from before our own change, when all was well.
            problem = self._problem(addon, self._world.get(_WORKLOADS[addon]))
        now = self._aws.now()
        with self._aws.lock:
            if problem is None:
                record.pop("unwell_since", None)
                if record["status"] != "ACTIVE":
                    self._settle(record, "ACTIVE", None)
            elif "unwell_since" not in record:
                record["unwell_since"] = now
            elif record["status"] != "DEGRADED" and now >= record["unwell_since"] + self._world.settings.seconds(
                "addon_degraded_after"
            ):
                self._settle(record, "DEGRADED", problem)

    def _settle(self, record: Json, status: str, problem: Json | None) -> None:
        record |= {"status": status, "health": {"issues": [problem] if problem else []}}
        update = self._aws.table("eks.updates").get(record.pop("rolling", ""))
        if update is not None:
            error = problem and {"errorCode": problem["code"], "errorMessage": problem["message"], "resourceIds": []}
            finish_update(self._aws, update, [error] if error else None)
        self._aws.touch()

    def _shown(self, addon: str) -> Json | None:
        """The workload of an add-on as last seen."""
        copies = self._deployments if addon == "coredns" else self._sets
        return copies.get(_WORKLOADS[addon].rsplit("/", 1)[1], "kube-system")

    def _problem(self, addon: str, workload: Json | None) -> Json | None:
        """Why the workload of an add-on is not well; None when it is."""
        name = _WORKLOADS[addon].rsplit("/", 1)[1]
        if workload is None:
            return {
                "code": "K8sResourceNotFound",
                "message": f"{name} does not exist in kube-system",
                "resourceIds": [name],
            }
        status = workload.get("status", {})
        if addon == "coredns":
            wanted, ready = workload["spec"].get("replicas", 1), status.get("availableReplicas", 0)
            fresh = status.get("updatedReplicas", 0)
        else:
            wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
            fresh = status.get("updatedNumberScheduled", 0)
        if status.get("observedGeneration", 0) < workload["metadata"]["generation"] or ready < wanted or fresh < wanted:
            message = (
                f"The add-on is unhealthy because it doesn't have the desired number of replicas: {ready} of {wanted}."
            )
            return {"code": "InsufficientNumberOfReplicas", "message": message, "resourceIds": [name]}
        return None


controllers = [AddonController]
_: type[Controller] = AddonController
