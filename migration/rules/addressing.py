"""Address arithmetic: overlaps of CIDR blocks, pods a node can hold, addresses a subnet must have."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Final

from migration.rules.instances import InstanceType

CILIUM_OWN_ADDRESSES: Final = 2
"""Addresses Cilium takes on each node for itself: the router and the health endpoint (cilium/cilium#22054)."""

PODS_CAP_SMALL, PODS_CAP_LARGE, LARGE_VCPUS = 110, 250, 30
"""Kubernetes' recommended pods per node, up to and above 30 vCPUs, as the EKS AMI's own calculator applies it."""


def vpc_cni_max_pods(limits: InstanceType) -> int:
    """Pods a node holds under the VPC CNI with secondary addresses (amazon-vpc-cni-k8s, eni-max-pods.txt)."""
    return limits.interfaces * (limits.addresses_per_interface - 1) + 2


def cilium_max_pods(limits: InstanceType, *, prefix_delegation: bool, host_network_pods: int = 5) -> int:
    """`maxPods` of kubelet for a node in Cilium's ENI mode.

    Args:
        limits: of the instance type.
        prefix_delegation: each address slot holds a /28 (16 addresses); Nitro only.
        host_network_pods: pods per node that take no pod address: agent, Envoy, operator and the CSI or log agents.

    Source: Cilium pkg/aws/eni `GetMaximumAllocatableIPv4`, less what Cilium itself takes.
    """
    slots = limits.interfaces * (limits.addresses_per_interface - 1)
    addresses = slots * (16 if prefix_delegation and limits.nitro else 1) - CILIUM_OWN_ADDRESSES
    cap = PODS_CAP_LARGE if limits.vcpus > LARGE_VCPUS else PODS_CAP_SMALL
    return min(addresses + host_network_pods, cap)


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Two named blocks that share addresses."""

    first: str
    second: str
    first_block: IPv4Network
    second_block: IPv4Network

    def __str__(self) -> str:
        return f"{self.first} {self.first_block} overlaps {self.second} {self.second_block}"


def overlaps(blocks: Mapping[str, tuple[IPv4Network, ...]]) -> tuple[Overlap, ...]:
    """Overlaps between blocks of *different* names; blocks of one name may overlap each other.

    Of all blocks of one name that lie around a block, the smallest stands for the others. Takes n log n.
    """
    order = {name: number for number, name in enumerate(blocks)}
    # Two blocks overlap where one lies in the other, and what lies in a block comes right behind it.
    named = [(name, block) for name, several in blocks.items() for block in dict.fromkeys(several)]
    named.sort(key=lambda one: (int(one[1].network_address), one[1].prefixlen, order[one[0]]))
    around: dict[str, list[IPv4Network]] = {name: [] for name in blocks}
    out: list[tuple[int, int, Overlap]] = []
    for name, block in named:
        for other, outer in around.items():
            while outer and outer[-1].broadcast_address < block.network_address:
                outer.pop()
            if not outer or other == name:
                continue
            first, second = (other, name) if order[other] < order[name] else (name, other)
            one, two = (outer[-1], block) if first == other else (block, outer[-1])
            overlap = Overlap(first=first, second=second, first_block=one, second_block=two)
            out.append((order[first], order[second], overlap))
        around[name].append(block)
    return tuple(overlap for _, _, overlap in sorted(out, key=lambda one: one[:2]))


def surge_addresses(*, nodes: int, pods: int, limits: InstanceType) -> int:
    """Addresses that `nodes` new nodes take from their subnets while the old nodes still hold theirs.

    One primary address per interface in use, the pods, and what Cilium takes on each node.
    """
    pods_per_node = -(-pods // max(nodes, 1))
    per_interface = limits.addresses_per_interface - 1
    interfaces = min(limits.interfaces, -(-(pods_per_node + CILIUM_OWN_ADDRESSES) // per_interface))
    return nodes * (interfaces + CILIUM_OWN_ADDRESSES) + pods
