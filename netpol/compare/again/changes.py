"""What changed between two pairs of worlds, and whether that can be proved by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TypeVar

from netpol.compare.again.small import SPEAKING
from netpol.compare.again.voices import Key, key_of
from netpol.model.packets import Party
from netpol.model.values import NetworkSet, Policy
from netpol.model.world import World

Pair = tuple[World, World]
K = TypeVar("K")
_FOLLOWED = ("policies", "pods", "namespaces", "service_accounts", "derived")


def unalike(before: World, after: World) -> str:
    """Why the worlds are proved as a whole each time, if they are."""
    for what in ("pods", "namespaces", "service_accounts", "families"):
        if getattr(before, what) != getattr(after, what):
            return f"the two worlds do not have the same {what.replace('_', ' ')}"
    if before.node_by_name.keys() != after.node_by_name.keys():
        return "the two worlds do not have the same nodes"
    for world in (before, after):
        if len(by_key(world)) < sum(1 for p in world.policies if isinstance(p, SPEAKING)):
            return "two policies have one name"
    return ""


def otherwise(old: Pair, new: Pair) -> str:
    """What else changed than pods, labels and policies that pods are policed by, if anything did."""
    for was, there in zip(old, new, strict=True):
        for one in fields(World):
            if one.name not in _FOLLOWED and getattr(was, one.name) != getattr(there, one.name):
                return f"{one.name.replace('_', ' ')} changed"
        silent = [[p for p in w.policies if not isinstance(p, SPEAKING)] for w in (was, there)]
        if silent[0] != silent[1]:
            return "tiers, network sets or host endpoints changed"
        spaces = changed(was.namespace_labels, there.namespace_labels)
        if any(s.meta.namespace in spaces for s in there.of(NetworkSet)):
            return "the labels of a network set's namespace changed"
    return ""


def by_key(world: World) -> dict[Key, Policy]:
    """The policies that pods are policed by."""
    return world.derived.once(
        "policies by name", lambda: {key_of(p.meta): p for p in world.policies if isinstance(p, SPEAKING)}
    )


def changed(was: Mapping[K, object], there: Mapping[K, object]) -> list[K]:
    """The keys of what is new, gone or another value."""
    out = [key for key, value in there.items() if was.get(key) is not value and was.get(key) != value]
    return out + [key for key in was if key not in there]


def now(world: World, end: Party, family: int) -> Party | None:
    """An end of a flow as it is in the world; None where it is no longer there."""
    if end.pod is not None:
        pod = world.pod_by_name.get((end.pod.namespace, end.pod.name))
        if pod is None or pod.host_network:
            return None
        address = next((a for a in pod.addresses if a.version == family), None)
        if pod.addresses and address is None and end.address is not None:
            return None
        return Party(pod=pod, node=world.node_of(pod), address=address if pod.addresses else end.address)
    if end.node is not None:
        return Party(node=world.node_by_name[end.node.name], address=end.address)
    owned = any(end.address in pod.addresses for pod in world.pods)
    return None if owned else Party(address=end.address)
