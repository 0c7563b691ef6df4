"""Pods that do not exist yet: a few that show whether a rule is needed for more than today's pods."""

from __future__ import annotations

from dataclasses import replace

from netpol.compare.future import pod_of, sample
from netpol.model.world import Namespace, Pod, World

PROBE = "probe-"
_MOST = 400


def with_probes(world: World) -> World:
    """The world with bare pods and those that selectors look for, in namespaces and under accounts as they look for
    them, whether these exist or not.

    Probes only keep a translation from dropping rules that merely happen to be idle; they prove nothing.
    """
    if not world.nodes:
        return world
    node = world.nodes[-1].name
    # Where today's pods are, tomorrow's will be.
    addresses = next((pod.addresses for pod in world.pods if not pod.host_network), ())
    found = [pod_of(kind) for kind in sample((world,), most=_MOST)]
    namespaces = (*world.namespaces, Namespace(name=f"{PROBE}namespace"))
    bare = [Pod(namespace=n.name, name="bare") for n in namespaces]
    pods = [
        replace(pod, name=f"{PROBE}{i}", node=node, addresses=addresses)
        for i, pod in enumerate([*(p for p in found if p is not None), *bare][: 2 * _MOST])
    ]
    return replace(world, pods=(*world.pods, *pods), namespaces=namespaces)
