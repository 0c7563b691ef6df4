"""When a Kubernetes object counts as ready, by kind, as the Kubernetes provider waits for it.

A judge looks at an object and returns what it still waits for, ``None`` when it is ready. `Failed` means that it will
not become ready. Kinds without a judge are ready at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from sandbox.plugins.kubernetes.client import Object
from sandbox.plugins.kubernetes.rules import annotated, group

Judge = Callable[[Object], str | None]
DEFAULT_TIMEOUT = 600.0
"""Seconds."""


class Failed(Exception):
    """The object has failed for good."""


def judge(wanted: Object, find: Callable[[str, str, str], Object | None]) -> Judge:
    """The judge for an object with these inputs; ``find(api_version, kind, name)`` looks in its namespace."""
    if annotated(wanted, "waitFor"):
        return _wait_for(annotated(wanted, "waitFor"))
    kind = wanted.get("kind", "")
    if (group(wanted.get("apiVersion", "")), kind) == ("", "Service"):
        return lambda live: _service(live, find)
    return _JUDGES.get((group(wanted.get("apiVersion", "")), kind), lambda _live: None)


def condition(live: Object, name: str) -> Object:
    """The object's status condition of this type, empty when it has none."""
    found: list[Object] = (live.get("status") or {}).get("conditions") or []
    return next((item for item in found if item.get("type") == name), {})


def _observed(live: Object) -> str | None:
    seen = (live.get("status") or {}).get("observedGeneration", 0)
    if seen < live["metadata"].get("generation", 0):
        return f"its controller has not seen generation {live['metadata']['generation']} yet (it saw {seen})"
    return None


def _deployment(live: Object) -> str | None:
    spec, status = live.get("spec") or {}, live.get("status") or {}
    progressing = condition(live, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        raise Failed(f"[{progressing['reason']}] {progressing.get('message', '')}")
    wanted = spec.get("replicas", 1)
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if _observed(live):
        return _observed(live)
    if updated < wanted or available < wanted or status.get("replicas", 0) > updated:
        return (
            f"{updated} of {wanted} pods are of the newest template, {available} are available, "
            f"{max(status.get('replicas', 0) - updated, 0)} old ones are left"
        )
    return None


def _daemon_set(live: Object) -> str | None:
    status = live.get("status") or {}
    wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    updated = status.get("updatedNumberScheduled", 0)
    if _observed(live):
        return _observed(live)
    if updated < wanted or ready < wanted or status.get("numberMisscheduled", 0):
        on_delete = (live["spec"].get("updateStrategy") or {}).get("type") == "OnDelete"
        text = (
            f"{updated} of {wanted} pods are of the newest template, {ready} are ready, "
            f"{status.get('numberMisscheduled', 0)} run on nodes where they should not"
        )
        return text + ("; its update strategy is OnDelete: delete the old pods" if on_delete else "")
    return None


def _stateful_set(live: Object) -> str | None:
    spec, status = live.get("spec") or {}, live.get("status") or {}
    wanted = spec.get("replicas", 1)
    ready, updated = status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
    if _observed(live):
        return _observed(live)
    rolled = (spec.get("updateStrategy") or {}).get("type") == "OnDelete" or updated >= wanted
    if ready < wanted or not rolled:
        return f"{updated} of {wanted} pods are of the newest template, {ready} are ready"
    return None


def _job(live: Object) -> str | None:
    failed = condition(live, "Failed")
    if failed.get("status") == "True":
        raise Failed(f"[{failed.get('reason', '')}] {failed.get('message', '')}")
    if condition(live, "Complete").get("status") == "True":
        return None
    status = live.get("status") or {}
    return (
        f"it is not complete: {status.get('active', 0)} active, {status.get('succeeded', 0)} succeeded, "
        f"{status.get('failed', 0)} failed"
    )


def _pod(live: Object) -> str | None:
    phase = (live.get("status") or {}).get("phase", "Pending")
    if phase == "Succeeded":
        return None
    if phase == "Failed":
        raise Failed(f"the pod failed: {(live['status'].get('message') or live['status'].get('reason') or '')}")
    ready = condition(live, "Ready")
    return None if ready.get("status") == "True" else f"phase {phase}; {ready.get('message', 'not ready')}"


def _definition(live: Object) -> str | None:
    if condition(live, "NamesAccepted").get("status") == "False":
        raise Failed(str(condition(live, "NamesAccepted").get("message")))
    return None if condition(live, "Established").get("status") == "True" else "it is not established"


def _service(live: Object, find: Callable[[str, str, str], Object | None]) -> str | None:
    spec = live.get("spec") or {}
    balancer = (live.get("status") or {}).get("loadBalancer") or {}
    if spec.get("type") == "LoadBalancer" and not balancer.get("ingress"):
        return "it has no load balancer address"
    if spec.get("type") == "ExternalName" or not spec.get("selector"):
        return None
    endpoints = find("v1", "Endpoints", live["metadata"]["name"]) or {}
    if any(subset.get("addresses") for subset in endpoints.get("subsets") or []):
        return None
    if spec.get("clusterIP") == "None":  # headless ones may select nothing
        return None
    return "it selects no ready pod"


_JUDGES: dict[tuple[str, str], Judge] = {
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("batch", "Job"): _job,
    ("", "Pod"): _pod,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
}


def _wait_for(text: str) -> Judge:
    """The judge of ``pulumi.com/waitFor``: ``condition=Type[=Status]``, ``jsonpath={.a.b}[=value]``, or a JSON list."""
    wanted = json.loads(text) if text.lstrip().startswith("[") else [text]

    def judged(live: Object) -> str | None:
        return next((item for item in wanted if not _fulfilled(item, live)), None)

    return judged


def _fulfilled(text: str, live: Object) -> bool:
    form, _, rest = text.partition("=")
    if form == "condition":
        name, _, status = rest.partition("=")
        return str(condition(live, name).get("status", "")).lower() == (status or "True").lower()
    if form == "jsonpath":
        path, brace, value = rest.partition("}")
        found = look_up(live, path.strip("{} ") if brace else path)
        expected = value.removeprefix("=").strip("'\"")
        return found is not None and (not value or _text(found) == expected)
    raise Failed(f"pulumi.com/waitFor: {text!r} is neither condition=… nor jsonpath={{…}}=…")


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (bool, dict, list)) else str(value)


_STEP = re.compile(r"\.([\w-]+)|\[(\d+)\]|\['([^']+)'\]|\[\?\(@\.([\w.-]+)\s*==\s*['\"]([^'\"]*)['\"]\)\]|\[\*\]")


def look_up(value: Any, path: str) -> Any:
    """The first value at a JSONPath of keys, indices, ``[*]`` and ``[?(@.key=="text")]``; None when there is none."""
    position = 0
    path = path.removeprefix("$")
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            raise Failed(f"pulumi.com/waitFor: the path {path!r} is beyond what this stand-in reads, at {position}")
        position = step.end()
        name, index, quoted, key, text = step.groups()
        items = value if isinstance(value, list) else []
        if name or quoted:
            value = value.get(name or quoted) if isinstance(value, dict) else None
        elif key:
            value = next((item for item in items if str(look_up(item, f".{key}")) == text), None)
        else:
            place = int(index or 0)
            value = items[place] if place < len(items) else None
        if value is None:
            return None
    return value
