"""What tests compare before and after: every object of a cluster, every record of the emulated account, and what a
watcher of the API saw in between. None of it asks the program."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kubernetes import client

from migration.rules import addon_values
from sandbox import lifecycle, processes
from tests.engine.journey import Journey

Obj = dict[str, Any]

FLEETING = {
    *("Pod", "PodMetrics", "Event", "Lease", "Endpoints", "EndpointSlice", "ReplicaSet", "ControllerRevision"),
    *("CSINode", "CSIStorageCapacity", "PersistentVolume", "ComponentStatus", "FlowSchema", "APIService"),
    *("CiliumNode", "CiliumEndpoint", "CiliumIdentity", "TigeraStatus", "PriorityLevelConfiguration"),
}
"""Kinds whose objects follow from others, or from the nodes of the moment."""
NODE_WORDS = ("cni-plugin", "eks-cilium.io/", "workload", "eks.amazonaws.com/nodegroup", "node.cilium.io/")
"""Prefixes of the labels, annotations and taints of a node that are ours, its owner's or Cilium's."""
LEFT_BY_CILIUM = re.compile(r"^CustomResourceDefinition/.*\.cilium\.io$")
"""Cilium's operator registers its CRDs at run time, so Helm does not know them and leaves them behind. Deleting them
would delete every policy of that kind with them, whoever wrote it: that stays with people."""

MARK = ("Role/kube-system/eks-cilium-mark", "ConfigMap/kube-system/eks-cilium-workloads")
"""Counts deploys, or pods that are ready, and goes with the stack: never the same twice."""
_VOLATILE = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "managedFields",
    "selfLink",
    "ownerReferences",
)
_COUNTERS = ("deployment.kubernetes.io/", "deprecated.daemonset.template.generation", "kubectl.kubernetes.io/")
_SIGNATURE = ("pulumi.com/patchForce", "pulumi.com/patchFieldManager")
"""How a patch of the stack is signed. The signature stays with the object, as the patch does, and does nothing."""


def cluster(journey: Journey) -> dict[str, Any]:
    """Every lasting object by `Kind/namespace/name` as somebody declared it; nodes as `nodes`, see `_nodes`."""
    api = journey.cluster()
    found: dict[str, Any] = {"nodes": _nodes(_read(api, "/api/v1/nodes")["items"])}
    for path, kind in sorted(_listable(api)):
        for item in _read(api, path).get("items") or []:
            meta = item["metadata"]
            if (meta.get("labels") or {}).get("owner") == "helm":
                found[f"Release/{meta['namespace']}/{meta['labels']['name']}"] = "installed"
                continue
            key = "/".join(filter(None, (kind, meta.get("namespace"), meta["name"])))
            if key in MARK:
                continue
            found[key] = _declared(item)
    return found


def _listable(api: client.ApiClient) -> Iterator[tuple[str, str]]:
    """Collection path and kind of everything that is served, once for each kind."""
    bases = {"v1": "/api/v1"}
    for group in _read(api, "/apis")["groups"]:
        version = group["preferredVersion"]["groupVersion"]
        bases[version] = f"/apis/{version}"
    for base in bases.values():
        for resource in _read(api, base)["resources"]:
            kind = resource["kind"]
            if "list" in resource["verbs"] and "/" not in resource["name"] and kind not in FLEETING | {"Node"}:
                yield f"{base}/{resource['name']}", kind


def _read(api: client.ApiClient, path: str) -> Obj:
    pool: Any = api.rest_client.pool_manager
    response = pool.request("GET", api.configuration.host + path)
    assert response.status == 200, f"{path}: {response.data.decode()}"
    answer: Obj = json.loads(response.data)
    return answer


def _declared(item: Obj) -> Obj:
    meta = {key: value for key, value in item["metadata"].items() if key not in _VOLATILE}
    annotations = {
        k: v for k, v in (meta.pop("annotations", None) or {}).items() if not k.startswith((*_COUNTERS, *_SIGNATURE))
    }
    rest = {key: value for key, value in item.items() if key not in ("metadata", "status", "kind", "apiVersion")}
    return {"metadata": meta | ({"annotations": annotations} if annotations else {}), **rest}


def _nodes(items: list[Obj]) -> list[str]:
    """One text for each node, without its name: nodes are replaced. Sorted."""
    found = []
    for item in items:
        meta, taints = item["metadata"], item["spec"].get("taints") or []
        words = {**(meta.get("labels") or {}), **(meta.get("annotations") or {})}
        kept = {key: value for key, value in words.items() if key.startswith(NODE_WORDS)}
        kept |= {f"taint {taint['key']}": taint["effect"] for taint in taints}
        found.append(json.dumps(kept | {"unschedulable": bool(item["spec"].get("unschedulable"))}, sort_keys=True))
    return sorted(found)


def nodes_by_group(journey: Journey) -> dict[str, int]:
    """Number of nodes of each managed group that has some."""
    counts: dict[str, int] = {}
    for item in _read(journey.cluster(), "/api/v1/nodes")["items"]:
        group = item["metadata"]["labels"]["eks.amazonaws.com/nodegroup"]
        counts[group] = counts.get(group, 0) + 1
    return counts


def workload_groups(journey: Journey) -> set[str]:
    """Managed groups on whose nodes the sample workloads' replicated pods run."""
    api = journey.cluster()
    group = {
        item["metadata"]["name"]: item["metadata"]["labels"]["eks.amazonaws.com/nodegroup"]
        for item in _read(api, "/api/v1/nodes")["items"]
    }
    pods = _read(api, "/api/v1/namespaces/shop/pods")["items"]
    owned = [pod for pod in pods if pod["metadata"]["ownerReferences"][0]["kind"] != "DaemonSet"]
    return {group[pod["spec"]["nodeName"]] for pod in owned}


# -- the account ----------------------------------------------------------------------------------------

_RECORDS = ("counters", "ec2.cursors", "sts.keys", "eks.updates", "ec2.tags", "seen", "faults")
"""Tables of the stand-in that are no things of the account."""


def account(journey: Journey, save: str | None = None) -> dict[str, Any]:
    """Everything that exists in the emulated account, by `table/id`; of a save where one is named.

    What AWS itself forgets after a while is left out: terminated instances.
    """
    path = journey.directory / "aws.json"
    if save is not None:
        path = journey.directory / "saves" / f"{journey.journey}-{save}" / "aws.json"
    else:
        time.sleep(1)  # the stand-in writes its state a moment after it changed
    found = {}
    for table, records in json.loads(path.read_text()).items():
        if table in _RECORDS:
            continue
        for name, record in records.items():
            if table != "ec2.instances" or record["State"]["Name"] != "terminated":
                found[f"{table}/{name}"] = record
    return found


def groups(journey: Journey) -> dict[str, Any]:
    """Each managed node group as EKS describes it, as far as it was asked for."""
    eks, name = journey.aws("eks"), _cluster_name(journey)
    found = {}
    for group in eks.list_nodegroups(clusterName=name)["nodegroups"]:
        described = eks.describe_nodegroup(clusterName=name, nodegroupName=group)["nodegroup"]
        wanted = ("status", "scalingConfig", "labels", "taints", "launchTemplate", "subnets", "instanceTypes", "tags")
        found[group] = {key: described.get(key) for key in wanted}
    return found


def addons(journey: Journey) -> dict[str, Any]:
    """Version, status and configuration of each managed add-on."""
    eks, name = journey.aws("eks"), _cluster_name(journey)
    found = {}
    for addon in eks.list_addons(clusterName=name)["addons"]:
        described = eks.describe_addon(clusterName=name, addonName=addon)["addon"]
        configuration = addon_values.parse(described.get("configurationValues"))
        found[addon] = (described["addonVersion"], described["status"], configuration)
    return found


def _cluster_name(journey: Journey) -> str:
    name: str = journey.aws("eks").list_clusters()["clusters"][0]
    return name


def state(journey: Journey) -> dict[str, bool]:
    """The stack's resources by URN without the stack's name, and whether the engine protects each.

    Left out are the providers that the engine makes by itself, and drops and makes again as it likes.
    """
    found = {item["urn"].partition("::")[2]: bool(item.get("protect")) for item in journey.resources()}
    return {urn: protect for urn, protect in found.items() if "::default" not in urn}


def differences(before: dict[str, Any], after: dict[str, Any], *, without: re.Pattern[str] | None = None) -> list[str]:
    """What is in one and not, or not equally, in the other; in words."""
    found = []
    for key in sorted(before.keys() | after.keys()):
        if without is not None and without.search(key):
            continue
        if key not in after:
            found.append(f"gone: {key}")
        elif key not in before:
            found.append(f"new: {key}")
        elif before[key] != after[key]:
            found.append(f"changed: {key}: {_changes(before[key], after[key])}")
    return found


def _changes(before: Any, after: Any, path: str = "") -> str:
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
        return "; ".join(_changes(before.get(key), after.get(key), f"{path}.{key}") for key in keys)
    if isinstance(before, list) and isinstance(after, list):  # all that is equal would only hide the rest
        before, after = _less(before, after), _less(after, before)
        if not before and not after:
            return f"{path or 'it'} is the same, in another order"
    return f"{path or 'it'} was {json.dumps(before, default=str)[:600]}, is {json.dumps(after, default=str)[:600]}"


def _less(items: list[Any], others: list[Any]) -> list[Any]:
    """Without one for each equal one of the others: two equal nodes less one are one."""
    left = list(items)
    for other in others:
        if other in left:
            left.remove(other)
    return left


# -- the watcher ----------------------------------------------------------------------------------------


@dataclass
class Watch:
    """What the watcher saw; filled in when it ends."""

    violations: list[Obj] = field(default_factory=list)
    armed: bool = False
    """Whether every workload pod was enforced at some instant: without it nothing could have lapsed."""


@contextlib.contextmanager
def watching(journey: Journey, name: str) -> Iterator[Watch]:
    """Run `sandbox.watch` while the block runs. A sandbox that is restored meanwhile would be a gap: do not."""
    directory = journey.directory / "walk" / name
    directory.mkdir(parents=True, exist_ok=True)
    out = directory / "watch.jsonl"
    out.unlink(missing_ok=True)
    process = processes.start(
        "watcher",
        [sys.executable, "-m", "sandbox.watch", "--dir", journey.directory, "--out", out],
        log=directory / "watch.log",
        cwd=lifecycle.ROOT,
    )
    lifecycle.attach(journey.directory, process)
    watch = Watch()
    deadline = time.monotonic() + 30
    while not out.exists():  # it opens its output once it has listed everything
        assert process.alive(), (directory / "watch.log").read_text()
        assert time.monotonic() < deadline, "the watcher does not begin"
        time.sleep(0.1)
    try:
        yield watch
    finally:
        processes.stop([process])
    *findings, summary = [json.loads(line) for line in out.read_text().splitlines()]
    assert summary.get("summary"), "the watcher ended early"
    watch.violations = [f for f in findings if f["severity"] == "violation" and "seconds" not in f]
    watch.armed = summary["enforcement_seen"]
