"""What happened to a cluster, event by event, and what of it must never happen. Nothing here knows the engine.

Objects come from watches, so an event is a state that the cluster really had, not a sample. etcd numbers the changes
of all kinds in one sequence (`resourceVersion`): events of different watches are put back in that order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from migration.names import AGENT_NOT_READY_TAINT, CORDONED_BY_US

Json = dict[str, Any]
Key = tuple[str, str]

COUNTED_LATE = 1.5
"""Seconds in which the disruption controller may not yet have counted a pod that failed by itself."""
SEEN_LATE = 0.5
"""Seconds by which a watch may lag behind what an account says of the same instant."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What one run has to keep to."""

    node_budget: int
    """Most nodes on their way out at once."""
    floor: int
    """Fewest nodes that can take pods."""
    zone_cap: int | None = None
    exempt: frozenset[str] = frozenset()
    """Values of the label `app` of pods that may be ended with their node: they come back whatever is done."""
    others: frozenset[str] = frozenset()
    """Nodes whose instances a test ended itself, and what became of their pods."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """A change of an object. `at`: when it was seen, seconds since the epoch."""

    at: float
    version: int
    kind: str
    """pods | budgets | nodes"""
    gone: bool
    value: Json

    @property
    def uid(self) -> str:
        return str(self.value["uid"])


@dataclass(frozen=True, kw_only=True)
class Ended:
    """An instance was told to end."""

    at: float
    instance: str
    asked: bool
    """Somebody asked for it over the wire that is watched; then `pods` and `serving` were read at that very instant."""
    pods: tuple[Json, ...] = ()
    serving: tuple[str, ...] = ()
    """Target groups at which it still got connections."""


def pod(obj: Json) -> Json:
    """What matters of a pod."""
    meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    owners = [o for o in meta.get("ownerReferences") or [] if o.get("controller")]
    return {
        "uid": meta["uid"],
        "name": f"{meta['namespace']}/{meta['name']}",
        "namespace": meta["namespace"],
        "labels": meta.get("labels") or {},
        "node": spec.get("nodeName") or "",
        "healthy": _true(status, "Ready") and not meta.get("deletionTimestamp") and status.get("phase") == "Running",
        "deleting": bool(meta.get("deletionTimestamp")),
        "stays": (
            status.get("phase") in ("Succeeded", "Failed")
            and not (meta.get("deletionTimestamp") and meta.get("finalizers"))
        )
        or any(o["kind"] == "DaemonSet" for o in owners)
        or "kubernetes.io/config.mirror" in (meta.get("annotations") or {}),
    }


def budget(obj: Json) -> Json:
    """What matters of a PodDisruptionBudget."""
    meta, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    return {
        "uid": meta["uid"],
        "name": f"{meta['namespace']}/{meta['name']}",
        "namespace": meta["namespace"],
        "labels": (spec.get("selector") or {}).get("matchLabels") or {},
        "least": spec.get("minAvailable"),
        "most_missing": spec.get("maxUnavailable"),
        "expected": status.get("expectedPods", 0),
        "desired": status.get("desiredHealthy", 0),
    }


def node(obj: Json) -> Json:
    """What matters of a node."""
    meta, spec = obj["metadata"], obj.get("spec") or {}
    labels, taints = meta.get("labels") or {}, [t.get("key") for t in spec.get("taints") or []]
    closed = bool(spec.get("unschedulable"))
    return {
        "uid": meta["uid"],
        "name": meta["name"],
        "zone": labels.get("topology.kubernetes.io/zone", ""),
        "instance": str(spec.get("providerID") or "").rsplit("/", 1)[-1],
        "leaving": closed and CORDONED_BY_US in (meta.get("annotations") or {}),
        "open": not closed and _true(obj.get("status") or {}, "Ready") and AGENT_NOT_READY_TAINT not in taints,
    }


def _true(status: Mapping[str, Any], condition: str) -> bool:
    return any(c.get("type") == condition and c.get("status") == "True" for c in status.get("conditions") or [])


@dataclass
class State:
    """Everything as it was at one instant."""

    objects: dict[str, dict[str, Json]] = field(default_factory=lambda: {"pods": {}, "budgets": {}, "nodes": {}})

    def take(self, event: Event) -> Json | None:
        """Apply an event; gives back the object before it."""
        of_kind = self.objects[event.kind]
        before = of_kind.get(event.uid)
        if event.gone:
            of_kind.pop(event.uid, None)
        else:
            of_kind[event.uid] = event.value
        return before

    @property
    def nodes(self) -> list[Json]:
        return list(self.objects["nodes"].values())

    def of(self, found: Json) -> list[Json]:
        """The pods that a budget selects."""
        return [
            p
            for p in self.objects["pods"].values()
            if p["namespace"] == found["namespace"] and found["labels"].items() <= p["labels"].items()
        ]


def violations(events: Iterable[Event], ended: Iterable[Ended], rules: Rules, since: float = 0.0) -> list[str]:
    """Everything that must never be and was, in words, in order. What came before `since` only makes the state."""
    history = sorted(events, key=lambda e: (e.version, e.at))
    return [*_of_history(history, rules, since), *_of_instances(history, ended, rules, since)]


def _of_history(history: list[Event], rules: Rules, since: float) -> Iterator[str]:
    state, failed = State(), dict[str, float]()
    for event in history:
        before = state.take(event)
        if event.at < since:
            continue
        if event.kind == "pods":
            yield from _of_pod(state, before, event, rules, failed)
        elif event.kind == "nodes":
            yield from _of_nodes(state, event, rules)


def _of_pod(state: State, before: Json | None, event: Event, rules: Rules, failed: dict[str, float]) -> Iterator[str]:
    """A pod that was well and is not any more, against the budgets that select it."""
    if before is None or not before["healthy"] or (event.value["healthy"] and not event.gone):
        return
    for found in state.objects["budgets"].values():
        selected = found["labels"].items() <= before["labels"].items()
        if found["namespace"] != before["namespace"] or not selected or not found["expected"]:
            continue
        if not event.gone and not event.value["deleting"]:
            failed[found["name"]] = event.at  # by itself: nobody disrupted it
            continue
        if before["node"] in rules.others or event.at < failed.get(found["name"], -COUNTED_LATE) + COUNTED_LATE:
            continue
        healthy, least = sum(p["healthy"] for p in state.of(found)), _least(found)
        if healthy < least:
            yield (
                f"{event.at:.2f}: {before['name']} went although {found['name']} wants {least} of "
                f"{found['expected']} pods healthy: {healthy} are left"
            )


def _least(found: Json) -> int:
    """Pods that must be healthy, from the budget's own words; shares as the disruption controller counts them."""
    if isinstance(found["least"], int):
        return int(found["least"])
    if isinstance(found["most_missing"], int):
        return int(found["expected"]) - int(found["most_missing"])
    return int(found["desired"])


def _of_nodes(state: State, event: Event, rules: Rules) -> Iterator[str]:
    nodes = state.nodes
    leaving = [n for n in nodes if n["leaving"]]
    if len(leaving) > rules.node_budget:
        names = ", ".join(sorted(n["name"] for n in leaving))
        yield f"{event.at:.2f}: {len(leaving)} nodes leave at once, the node budget is {rules.node_budget}: {names}"
    if rules.zone_cap is not None:
        for zone, number in Counter(n["zone"] for n in leaving).items():
            if number > rules.zone_cap:
                yield f"{event.at:.2f}: {number} nodes leave zone {zone} at once, its cap is {rules.zone_cap}"
    room = sum(n["open"] for n in nodes)
    if room < rules.floor:
        yield f"{event.at:.2f}: {room} nodes can take pods, the floor is {rules.floor}"


def _of_instances(history: list[Event], ended: Iterable[Ended], rules: Rules, since: float) -> Iterator[str]:
    names = {e.value["instance"]: e.value["name"] for e in history if e.kind == "nodes"}
    asked = {end.instance for end in ended if end.asked}
    for end in sorted(ended, key=lambda e: e.at):
        name = names.get(end.instance, "")
        if end.at < since or name in rules.others or (not end.asked and end.instance in asked):
            continue
        pods = [pod(p) for p in end.pods] if end.asked else _pods_at(history, name, end.at)
        left = sorted(
            p["name"]
            for p in pods
            if p["node"] == name and not p["stays"] and p["labels"].get("app") not in rules.exempt
        )
        if name and left:
            yield f"{end.at:.2f}: instance {end.instance} was ended with {', '.join(left)} on it"
        if end.serving:
            yield f"{end.at:.2f}: instance {end.instance} was ended while {', '.join(end.serving)} sends it connections"


def _pods_at(history: list[Event], name: str, at: float) -> list[Json]:
    """Pods that were on a node before an instant and still some time after it."""
    before, after = State(), State()
    for event in history:
        if event.kind == "pods" and event.at <= at + SEEN_LATE:
            after.take(event)
            if event.at <= at - SEEN_LATE:
                before.take(event)
    held = before.objects["pods"].keys()
    return [p for uid, p in after.objects["pods"].items() if uid in held and p["node"] == name]
