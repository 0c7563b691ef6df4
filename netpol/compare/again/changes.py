"""What changed between two pairs of worlds, and whether that can be proved by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import fields
from typing import TypeVar

from netpol.compare.again.pods import Pods
from netpol.compare.again.small import SPEAKING
from netpol.compare.again.voices import Key, key_of
from netpol.decide.models import calico_model, cilium_model
from netpol.model.packets import Party
from netpol.model.values import NetworkSet, Policy
from netpol.model.world import Enforcement, Engine, World

Pair = tuple[World, World]
K = TypeVar("K")
_FOLLOWED = ("policies", "pods", "namespaces", "nodes", "service_accounts", "derived")
_SOME = 2
"""So many nodes of one look say what more would say: one's own, and another."""


def unalike(before: World, after: World) -> str:
    """Why the worlds are proved as a whole each time, if they are."""
    for what in ("pods", "namespaces", "service_accounts", "families"):
        if getattr(before, what) != getattr(after, what):
            return f"the two worlds do not have the same {what.replace('_', ' ')}"
    if before.node_by_name.keys() != after.node_by_name.keys():
        return "the two worlds do not have the same nodes"
    if before.accepted:
        return "some differences are accepted"
    for world in (before, after):
        if len(by_key(world)) < sum(1 for p in world.policies if isinstance(p, SPEAKING)):
            return "two policies have one name"
        if world.cilium.enforcement is Enforcement.ALWAYS:
            # Then the first policy of a pod lets its node in, whoever the policy is about.
            return "Cilium is told to police every pod"
    return ""


def otherwise(old: Pair, new: Pair) -> str:
    """What else changed than pods, nodes, labels and policies that pods are policed by, if anything did."""
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


def renewed(old: Pair, new: Pair, pods: Pods) -> str:
    """Why a change of nodes has to be looked at by itself, if it has.

    Where policies see of the nodes of now what they saw of those before, it decides no flow that one came or went.
    """
    if all(was.nodes == there.nodes for was, there in zip(old, new, strict=True)):
        return ""
    if any(calico_model(world).all_host_endpoints for world in (*old, *new)):
        return "nodes with host endpoints changed"
    was, there = _looks(old, pods), _looks(new, pods)
    if any(look != there.get(name, look) for name, look in was.items()):
        return "a node looks otherwise"
    if _counted(was) != _counted(there):
        return "there are nodes of another look, or the last one of a look is gone"
    freed = {a for n in old[0].nodes for a in n.addresses} - {a for n in new[0].nodes for a in n.addresses}
    for address in sorted(freed, key=lambda a: (a.version, int(a))):
        if not pods.free_beside(address, (*old[0].pods, *new[0].pods)):
            return f"address {address} is free now, and rules tell it from every other free one"
    return ""


def _looks(worlds: Pair, pods: Pods) -> dict[str, Hashable]:
    """All that policies can see of each node."""
    by_label = any(e.peers.nodes for w in worlds if _cilium_enforces(w) for e in cilium_model(w).entries)
    out: dict[str, Hashable] = {}
    for name in worlds[0].node_by_name:
        nodes = [w.node_by_name[name] for w in worlds]
        labels = frozenset(nodes[0].labels.items()) if by_label else None
        out[name] = (
            labels,
            *((n.engines, n.recognised, n.is_remote_node, pods.within(n.addresses)) for n in nodes),
        )
    return out


def _cilium_enforces(world: World) -> bool:
    return any(Engine.CILIUM in node.engines for node in world.nodes)


def _counted(looks: Mapping[str, Hashable]) -> dict[Hashable, int]:
    return {look: min(count, _SOME) for look, count in Counter(looks.values()).items()}


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
        node = world.node_by_name.get(end.node.name)
        return None if node is None else Party(node=node, address=end.address)
    owned = any(end.address in pod.addresses for pod in world.pods)
    return None if owned else Party(address=end.address)
