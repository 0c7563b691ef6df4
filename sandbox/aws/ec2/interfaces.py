"""Network interfaces and their addresses: what pods, nodes and load balancers take from a subnet.

The functions here are also called in process, by those who play the VPC CNI and the Cilium operator.
Hold `aws.lock` around them, or use `aws.change()`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from sandbox.aws.catalog import instance_type
from sandbox.aws.ec2.core import describe, set_tags, specified_tags, with_tags
from sandbox.aws.ec2.network import free_address, free_addresses, subnet
from sandbox.aws.errors import AwsError
from sandbox.aws.registry import CALLER, answers
from sandbox.aws.state import ACCOUNT, Aws, Json

__all__ = [
    "assign_addresses",
    "attach_interface",
    "delete_interface",
    "detach_interface",
    "interfaces_of",
    "make_interface",
    "unassign_addresses",
]

_MISSING = "InvalidNetworkInterfaceID.NotFound"


def _interface(aws: Aws, name: str) -> Json:
    return aws.find("ec2.interfaces", name, _MISSING, "The networkInterface ID")


def interfaces_of(aws: Aws, instance: str) -> list[Json]:
    """The interfaces attached to an instance, by device index."""
    found = [
        interface
        for interface in aws.table("ec2.interfaces").values()
        if interface.get("Attachment", {}).get("InstanceId") == instance
    ]
    return sorted(found, key=lambda interface: int(interface["Attachment"]["DeviceIndex"]))


def make_interface(
    aws: Aws,
    place: str,
    groups: Sequence[str],
    description: str = "",
    *,
    secondary: int = 0,
    kind: str = "interface",
    requester: str = "",
    tags: dict[str, str] | None = None,
) -> Json:
    """An interface in subnet `place` with `secondary` further addresses, not attached to anything."""
    where = subnet(aws, place)
    known = aws.table("ec2.groups")
    for group in groups:
        if group not in known:
            raise AwsError("InvalidGroup.NotFound", f"The security group '{group}' does not exist")
    addresses = free_address(aws, place, 1 + secondary)
    name = aws.new_id("eni")
    record = {
        "NetworkInterfaceId": name, "SubnetId": place, "VpcId": where["VpcId"], "OwnerId": ACCOUNT,
        "AvailabilityZone": where["AvailabilityZone"], "Description": description, "InterfaceType": kind,
        "Groups": [{"GroupId": group, "GroupName": known[group]["GroupName"]} for group in groups],
        "PrivateIpAddress": addresses[0], "PrivateDnsName": private_name(aws, addresses[0]),
        "PrivateIpAddresses": [_address(aws, address, primary=not index) for index, address in enumerate(addresses)],
        "Ipv4Prefixes": [], "Status": "available", "SourceDestCheck": True, "RequesterId": requester,
        "RequesterManaged": kind != "interface", "MacAddress": _mac(name),
    }  # fmt: skip
    aws.table("ec2.interfaces")[name] = record
    set_tags(aws, name, tags or {})
    return record


def private_name(aws: Aws, address: str) -> str:
    """The private DNS name of an address, which is also the name of the node."""
    domain = "ec2.internal" if aws.region == "us-east-1" else f"{aws.region}.compute.internal"
    return f"ip-{address.replace('.', '-')}.{domain}"


def _mac(name: str) -> str:
    digits = name[-10:]
    return ":".join(["06", *(digits[index : index + 2] for index in range(0, 10, 2))])


def _address(aws: Aws, address: str, *, primary: bool = False) -> Json:
    return {"PrivateIpAddress": address, "Primary": primary, "PrivateDnsName": private_name(aws, address)}


def attach_interface(aws: Aws, name: str, instance: Json, index: int | None = None, *, delete: bool = False) -> Json:
    """Attach at device `index`, the next free one by default; AttachmentLimitExceeded beyond the type's limit."""
    interface, taken = _interface(aws, name), interfaces_of(aws, instance["InstanceId"])
    if interface["Status"] == "in-use":
        raise AwsError("InvalidNetworkInterface.InUse", f"Interface: [{name}] in use.")
    if instance["Placement"]["AvailabilityZone"] != interface["AvailabilityZone"]:
        message = (
            f"You may not attach a network interface of {interface['AvailabilityZone']} to {instance['InstanceId']}"
        )
        raise AwsError("InvalidParameterCombination", message)
    limit = instance_type(instance["InstanceType"]).interfaces
    if len(taken) >= limit:
        raise AwsError(
            "AttachmentLimitExceeded",
            f"Interface count {len(taken) + 1} exceeds the limit for {instance['InstanceType']}, which is {limit}",
        )
    used = {entry["Attachment"]["DeviceIndex"] for entry in taken}
    if index is None:
        index = next(number for number in range(limit) if number not in used)
    if index in used:
        raise AwsError(
            "InvalidParameterValue", f"Instance '{instance['InstanceId']}' already has an interface at {index}"
        )
    interface["Status"] = "in-use"
    interface["Attachment"] = {
        "AttachmentId": aws.new_id("eni-attach"), "InstanceId": instance["InstanceId"], "DeviceIndex": index,
        "InstanceOwnerId": ACCOUNT, "DeleteOnTermination": delete, "Status": "attached", "AttachTime": aws.now(),
        "NetworkCardIndex": 0,
    }  # fmt: skip
    return interface


def detach_interface(aws: Aws, name: str) -> None:
    """The interface stays, unattached."""
    interface = _interface(aws, name)
    interface.pop("Attachment", None)
    interface["Status"] = "available"


def delete_interface(aws: Aws, name: str) -> None:
    """The interface and its addresses are gone, attached or not."""
    del aws.table("ec2.interfaces")[name]
    aws.table("ec2.tags").pop(name, None)


def _limit(aws: Aws, interface: Json) -> int | None:
    owner = aws.table("ec2.instances").get(interface.get("Attachment", {}).get("InstanceId"))
    return instance_type(owner["InstanceType"]).addresses if owner else None


def assign_addresses(aws: Aws, name: str, count: int = 0, addresses: Iterable[str] = ()) -> list[str]:
    """Further addresses for an interface: `count` free ones, or these.

    PrivateIpAddressLimitExceeded beyond the instance type's limit, InsufficientFreeAddressesInSubnet when
    the subnet is full; nothing is assigned then.
    """
    interface, wanted = _interface(aws, name), list(addresses)
    total = len(interface["PrivateIpAddresses"]) + len(interface["Ipv4Prefixes"]) + (len(wanted) or count)
    limit = _limit(aws, interface)
    if limit is not None and total > limit:
        raise AwsError(
            "PrivateIpAddressLimitExceeded", f"Number of private addresses will exceed limit of {limit} on {name}."
        )
    wanted = wanted or free_address(aws, interface["SubnetId"], count)
    interface["PrivateIpAddresses"] += [_address(aws, address) for address in wanted]
    return wanted


def assign_prefixes(aws: Aws, name: str, count: int) -> list[str]:
    """`count` free /28 blocks of the subnet for an interface, each in the place of one address."""
    interface = _interface(aws, name)
    place = subnet(aws, interface["SubnetId"])
    if free_addresses(aws, interface["SubnetId"]) < 16 * count:
        raise AwsError("InsufficientCidrBlocks", f"There are not enough free cidr blocks in {interface['SubnetId']}")
    taken: set[ipaddress.IPv4Network | ipaddress.IPv6Network] = set()
    for other in aws.table("ec2.interfaces").values():
        if other["SubnetId"] == interface["SubnetId"]:
            for entry in other["PrivateIpAddresses"]:
                taken.add(ipaddress.ip_network(f"{entry['PrivateIpAddress']}/28", strict=False))
            taken.update(ipaddress.ip_network(entry["Ipv4Prefix"]) for entry in other["Ipv4Prefixes"])
    network = ipaddress.ip_network(place["CidrBlock"])
    blocks = [block for block in list(network.subnets(new_prefix=28))[1:-1] if block not in taken][:count]
    if len(blocks) < count:
        raise AwsError("InsufficientCidrBlocks", f"There are not enough free cidr blocks in {interface['SubnetId']}")
    interface["Ipv4Prefixes"] += [{"Ipv4Prefix": str(block)} for block in blocks]
    return [str(block) for block in blocks]


def unassign_addresses(aws: Aws, name: str, addresses: Iterable[str]) -> None:
    """Give secondary addresses back to the subnet."""
    interface, gone = _interface(aws, name), set(addresses)
    if interface["PrivateIpAddress"] in gone:
        raise AwsError("InvalidParameterValue", f"{interface['PrivateIpAddress']} is the primary address of {name}")
    kept = [entry for entry in interface["PrivateIpAddresses"] if entry["PrivateIpAddress"] not in gone]
    interface["PrivateIpAddresses"] = kept


# -- calls ------------------------------------------------------------------------------------------


@answers("ec2", "CreateNetworkInterface")
def create_network_interface(aws: Aws, values: Json) -> Json:
    where = subnet(aws, values["SubnetId"])
    default = next(
        group["GroupId"]
        for group in aws.table("ec2.groups").values()
        if group["VpcId"] == where["VpcId"] and group["GroupName"] == "default"
    )
    secondary = values.get("SecondaryPrivateIpAddressCount", 0)
    record = make_interface(
        aws,
        values["SubnetId"],
        values.get("Groups") or [default],
        values.get("Description", ""),
        secondary=secondary,
        requester=values[CALLER],
        tags=specified_tags(values, "network-interface"),
    )
    if values.get("Ipv4PrefixCount"):
        assign_prefixes(aws, record["NetworkInterfaceId"], values["Ipv4PrefixCount"])
    return {"NetworkInterface": _shown(with_tags(aws, record["NetworkInterfaceId"], record))}


def _shown(record: Json) -> Json:
    return {**record, "TagSet": record["Tags"]}


@answers("ec2", "DescribeNetworkInterfaces")
def describe_network_interfaces(aws: Aws, values: Json) -> Json:
    aliases = {
        "group-id": "Groups.GroupId",
        "group-name": "Groups.GroupName",
        "addresses.private-ip-address": "PrivateIpAddresses.PrivateIpAddress",
    }
    found = describe(
        aws,
        values,
        "ec2.interfaces",
        operation="DescribeNetworkInterfaces",
        key="NetworkInterfaces",
        ids="NetworkInterfaceIds",
        missing=_MISSING,
        aliases=aliases,
    )
    return {"NetworkInterfaces": [_shown(record) for record in found["NetworkInterfaces"]]}


@answers("ec2", "AttachNetworkInterface")
def attach_network_interface(aws: Aws, values: Json) -> Json:
    instance = aws.find("ec2.instances", values["InstanceId"], "InvalidInstanceID.NotFound", "The instance ID")
    interface = attach_interface(aws, values["NetworkInterfaceId"], instance, values["DeviceIndex"])
    return {"AttachmentId": interface["Attachment"]["AttachmentId"]}


@answers("ec2", "DetachNetworkInterface")
def detach_network_interface(aws: Aws, values: Json) -> Json:
    for interface in aws.table("ec2.interfaces").values():
        if interface.get("Attachment", {}).get("AttachmentId") == values["AttachmentId"]:
            if interface["Attachment"]["DeviceIndex"] == 0:
                raise AwsError("OperationNotPermitted", "The network interface at device index 0 cannot be detached.")
            detach_interface(aws, interface["NetworkInterfaceId"])
            return {}
    raise AwsError("InvalidAttachmentID.NotFound", f"The attachment '{values['AttachmentId']}' does not exist")


@answers("ec2", "ModifyNetworkInterfaceAttribute")
def modify_network_interface_attribute(aws: Aws, values: Json) -> Json:
    interface = _interface(aws, values["NetworkInterfaceId"])
    if "Attachment" in values and "Attachment" in interface:
        interface["Attachment"]["DeleteOnTermination"] = values["Attachment"].get("DeleteOnTermination", False)
    if "Groups" in values:
        known = aws.table("ec2.groups")
        interface["Groups"] = [{"GroupId": name, "GroupName": known[name]["GroupName"]} for name in values["Groups"]]
    if "Description" in values:
        interface["Description"] = values["Description"]["Value"]
    return {}


@answers("ec2", "DeleteNetworkInterface")
def delete_network_interface(aws: Aws, values: Json) -> Json:
    interface = _interface(aws, values["NetworkInterfaceId"])
    if interface["Status"] == "in-use" or interface["RequesterManaged"]:
        raise AwsError(
            "InvalidParameterValue", f"Network interface '{values['NetworkInterfaceId']}' is currently in use."
        )
    delete_interface(aws, values["NetworkInterfaceId"])
    return {}


@answers("ec2", "AssignPrivateIpAddresses")
def assign_private_ip_addresses(aws: Aws, values: Json) -> Json:
    name = values["NetworkInterfaceId"]
    if values.get("Ipv4PrefixCount"):
        blocks = assign_prefixes(aws, name, values["Ipv4PrefixCount"])
        return {"NetworkInterfaceId": name, "AssignedIpv4Prefixes": [{"Ipv4Prefix": block} for block in blocks]}
    count, given = values.get("SecondaryPrivateIpAddressCount", 0), values.get("PrivateIpAddresses", [])
    assigned = assign_addresses(aws, name, count, given)
    return {
        "NetworkInterfaceId": name,
        "AssignedPrivateIpAddresses": [{"PrivateIpAddress": address} for address in assigned],
    }


@answers("ec2", "UnassignPrivateIpAddresses")
def unassign_private_ip_addresses(aws: Aws, values: Json) -> Json:
    unassign_addresses(aws, values["NetworkInterfaceId"], values.get("PrivateIpAddresses", []))
    return {}
