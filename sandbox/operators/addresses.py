"""Addresses for pods out of the network interfaces of an instance.

`Network` is the port to the emulated EC2; the rules here are those of the EC2 API: an instance type bounds
the number of interfaces and of addresses on each, a subnet bounds both.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Interface:
    """A network interface in use by an instance. `secondary` leaves out the primary address."""

    id: str
    number: int
    subnet: str
    address: str
    mac: str = ""
    description: str = ""
    secondary: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Subnet:
    """A subnet of the account."""

    id: str
    vpc: str
    zone: str
    cidr: str
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Instance:
    """An instance, with the limits of its type: interfaces, and addresses (primary included) on each."""

    id: str
    type: str
    max_interfaces: int
    max_addresses: int
    interfaces: tuple[Interface, ...] = ()

    @property
    def primary(self) -> Interface:
        return self.interfaces[0]

    def secondary(self, first_interface: int = 0) -> list[str]:
        """Addresses for pods, in order of interface and of address."""
        return [a for i in self.interfaces if i.number >= first_interface for a in i.secondary]


class NoAddressError(Exception):
    """EC2 has no address to give: the subnet is full, or the instance has all that its type may have."""


class Network(Protocol):
    """The part of EC2 that container networking uses. Every call may raise NoAddressError."""

    def instance(self, instance_id: str) -> Instance | None:
        """A running instance, or None."""

    def subnets(self) -> Sequence[Subnet]:
        """All subnets of the account."""

    def free(self, subnet_id: str) -> int:
        """Addresses that EC2 can still hand out of a subnet; 0 for one that does not exist."""

    def assign(self, interface_id: str, count: int) -> None:
        """Give an interface `count` more secondary addresses, or none at all when the subnet lacks them."""

    def unassign(self, interface_id: str, addresses: Iterable[str]) -> None:
        """Give secondary addresses back to the subnet."""

    def attach(
        self,
        instance_id: str,
        *,
        subnet: str,
        groups: Sequence[str],
        addresses: int,
        description: str,
        tags: Mapping[str, str],
        delete_on_termination: bool,
    ) -> None:
        """Create an interface with `addresses` secondary addresses and attach it at the next free index."""


@dataclass(frozen=True)
class Placement:
    """Where and how new interfaces are made."""

    description: str
    tags: Mapping[str, str]
    subnets: tuple[str, ...] = ()
    """Candidates, best first; empty: the subnet of the instance's primary interface."""
    groups: tuple[str, ...] = ()
    """Security groups; empty: those of the primary interface."""
    first_interface: int = 0
    delete_on_termination: bool = True


def grow(network: Network, instance: Instance, count: int, placement: Placement) -> int:
    """Give an instance up to `count` more addresses; returns how many it got.

    Fills interfaces that exist before it makes one. The subnet that has no address left is skipped.
    """
    missing = count
    room_each = instance.max_addresses - 1
    for interface in instance.interfaces:
        room = room_each - len(interface.secondary)
        if missing > 0 and room > 0 and interface.number >= placement.first_interface:
            missing -= _assign_up_to(network, interface, min(room, missing))
    slots = instance.max_interfaces - len(instance.interfaces)
    candidates = list(placement.subnets or (instance.primary.subnet,))
    while missing > 0 and slots > 0 and candidates:
        share = min(missing, room_each)
        free = network.free(candidates[0]) - 1
        if free < 1:
            candidates.pop(0)
            continue
        try:
            network.attach(
                instance.id,
                subnet=candidates[0],
                groups=placement.groups or instance.primary.groups,
                addresses=min(share, free),
                description=placement.description,
                tags=placement.tags,
                delete_on_termination=placement.delete_on_termination,
            )
        except NoAddressError:
            candidates.pop(0)
            continue
        missing -= min(share, free)
        slots -= 1
    return count - missing


def _assign_up_to(network: Network, interface: Interface, count: int) -> int:
    count = min(count, network.free(interface.subnet))
    if count <= 0:
        return 0
    try:
        network.assign(interface.id, count)
    except NoAddressError:
        return 0
    return count


def release(network: Network, instance: Instance, unused: Iterable[str]) -> None:
    """Give unused secondary addresses back to their subnets."""
    gone = set(unused)
    for interface in instance.interfaces:
        if returned := [a for a in interface.secondary if a in gone]:
            network.unassign(interface.id, returned)
