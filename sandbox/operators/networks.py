"""The EC2 that container networking uses, on the emulated account of the sandbox."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from sandbox.aws.catalog import instance_type
from sandbox.aws.ec2.interfaces import (
    assign_addresses,
    attach_interface,
    delete_interface,
    make_interface,
    unassign_addresses,
)
from sandbox.aws.ec2.network import free_addresses
from sandbox.aws.errors import AwsError
from sandbox.aws.state import Aws, Json
from sandbox.operators.addresses import Instance, Interface, Network, NoAddressError, Subnet

_FULL = frozenset(("AttachmentLimitExceeded", "PrivateIpAddressLimitExceeded", "InsufficientFreeAddressesInSubnet"))
_FRESH_SECONDS = 0.1
"""How long one reading of all interfaces serves: a pass over many nodes asks for each of them."""


class AwsNetwork(Network):
    """Reads and changes the account in process. Every method takes the account's lock for itself."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._read_at = 0.0
        self._by_instance: dict[str, list[Json]] = {}

    def _attached(self, instance_id: str) -> list[Json]:
        if time.monotonic() - self._read_at > _FRESH_SECONDS:
            found: dict[str, list[Json]] = {}
            for record in self._aws.table("ec2.interfaces").values():
                if owner := record.get("Attachment", {}).get("InstanceId"):
                    found.setdefault(owner, []).append(record)
            self._by_instance, self._read_at = found, time.monotonic()
        return sorted(self._by_instance.get(instance_id, []), key=lambda r: int(r["Attachment"]["DeviceIndex"]))

    @contextmanager
    def _change(self) -> Iterator[None]:
        try:
            with self._aws.change():
                yield
        except AwsError as error:
            if error.code in _FULL:
                raise NoAddressError(str(error)) from error
            raise
        finally:
            self._read_at = 0.0

    def instance(self, instance_id: str) -> Instance | None:
        with self._aws.lock:
            record = self._aws.table("ec2.instances").get(instance_id)
            if record is None or record["State"]["Name"] not in ("pending", "running"):
                return None
            kind = instance_type(record["InstanceType"])
            interfaces = tuple(self._interface(i) for i in self._attached(instance_id))
        return Instance(instance_id, kind.name, kind.interfaces, kind.addresses, interfaces)

    def _interface(self, record: Json) -> Interface:
        return Interface(
            id=record["NetworkInterfaceId"],
            number=int(record["Attachment"]["DeviceIndex"]),
            subnet=record["SubnetId"],
            address=record["PrivateIpAddress"],
            mac=record["MacAddress"],
            description=record["Description"],
            secondary=tuple(a["PrivateIpAddress"] for a in record["PrivateIpAddresses"] if not a["Primary"]),
            groups=tuple(g["GroupId"] for g in record["Groups"]),
            tags=dict(self._aws.table("ec2.tags").get(record["NetworkInterfaceId"], {})),
        )

    def subnets(self) -> Sequence[Subnet]:
        with self._aws.lock:
            tags = self._aws.table("ec2.tags")
            return [
                Subnet(name, s["VpcId"], s["AvailabilityZone"], s["CidrBlock"], dict(tags.get(name, {})))
                for name, s in self._aws.table("ec2.subnets").items()
            ]

    def free(self, subnet_id: str) -> int:
        with self._aws.lock:
            if subnet_id not in self._aws.table("ec2.subnets"):
                return 0
            return int(free_addresses(self._aws, subnet_id))

    def assign(self, interface_id: str, count: int) -> None:
        with self._change():
            assign_addresses(self._aws, interface_id, count)

    def unassign(self, interface_id: str, addresses: Iterable[str]) -> None:
        with self._change():
            unassign_addresses(self._aws, interface_id, addresses)

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
        with self._change():
            instance = self._aws.table("ec2.instances")[instance_id]
            made = make_interface(self._aws, subnet, groups, description, secondary=addresses, tags=dict(tags))
            name = made["NetworkInterfaceId"]
            try:
                attach_interface(self._aws, name, instance, delete=delete_on_termination)
            except AwsError:
                delete_interface(self._aws, name)
                raise
