"""What nodes to come will be, as far as their group says. Pure."""

from collections.abc import Iterator, Mapping
from typing import Final

from migration.names import CILIUM_CNI, CNI_LABEL
from migration.rules import images, instances
from migration.rules.instances import InstanceType
from migration.settings import NodeGroup
from operations.cluster import objects
from operations.refresh.blockers.homes import Place

_ARCH: Final = {"x86_64": "amd64", "arm64": "arm64"}


def places(group: NodeGroup) -> Iterator[Place]:
    """A node of each of its types."""
    for name in group.types:
        kind = instances.known(name)
        machine = images.architecture(group.types, group.architecture)
        labels = {
            **group.labels,
            CNI_LABEL: CILIUM_CNI,
            objects.NODEGROUP: group.name,
            "eks.amazonaws.com/capacityType": "SPOT" if group.capacity_type == "spot" else "ON_DEMAND",
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": _ARCH[machine],
            "node.kubernetes.io/instance-type": name,
        }
        yield Place(labels, taints(group), whole=False, room=_room(kind) if kind is not None else {})


def taints(group: NodeGroup) -> list[Mapping[str, str]]:
    """Those that its nodes keep."""
    return [{"key": t.key, "value": t.value, "effect": t.effect} for t in group.taints]


def _room(kind: InstanceType) -> dict[str, int]:
    """Most that a pod may ask for there.

    Kubelet keeps 100 MiB from eviction on every node; how much more it reserves grows with the pods of the node and is
    not taken off, nor is what the hypervisor keeps: a request that fits by a hair is not told.
    """
    return {
        "cpu": kind.vcpus * 1_000,
        "memory": (kind.memory_mib - 100) * 2**20,
        "nvidia.com/gpu": kind.nvidia,
        "aws.amazon.com/neuron": kind.neurons,
        "aws.amazon.com/neuroncore": kind.neuron_cores,
    }
