"""The section `network`, and which of its addresses would mean two things."""

from collections.abc import Iterable
from ipaddress import IPv4Network

from pydantic import Field

from migration.rules import addressing
from migration.settings.model import Block, Model
from migration.settings.problem import Problem


class Network(Model):
    """The VPC the cluster lives in. It is never changed by this program."""

    vpc_id: str = Field(pattern=r"^vpc-[0-9a-z]{1,40}$")
    subnet_ids: tuple[str, ...] = Field(min_length=2)
    """Subnets of the nodes, in at least two zones."""
    pod_subnet_ids: tuple[str, ...] = ()
    """Subnets of the interfaces that carry Cilium pods. Empty: the subnets of the nodes."""
    security_group_ids: tuple[str, ...] = ()
    """Security groups of Cilium's interfaces. Empty: the cluster's own security group, or as surveyed."""
    vpc_cidrs: tuple[Block, ...] = Field(min_length=1)
    """Every IPv4 block of the VPC."""
    service_cidr: Block = IPv4Network("172.20.0.0/16")
    peer_cidrs: tuple[Block, ...] = ()
    """Blocks of peered VPCs, VPNs and other networks that the cluster talks to."""
    pod_cidr: Block | None = None
    """Refused by the journeys that there are: they give pods addresses of the VPC."""


def address_problems(network: Network) -> Iterable[Problem]:
    blocks = {
        "network.vpcCidrs": network.vpc_cidrs,
        "network.serviceCidr": (network.service_cidr,),
        "network.peerCidrs": network.peer_cidrs,
    }
    for overlap in addressing.overlaps(blocks):
        yield Problem(
            overlap.second,
            str(overlap.second_block),
            f"overlaps {overlap.first} {overlap.first_block}: an address would mean two things",
            "Use blocks that share no address",
        )
