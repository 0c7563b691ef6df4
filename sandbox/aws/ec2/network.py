"""VPCs, subnets, route tables. A subnet's free addresses are counted, not stored."""

from __future__ import annotations

import ipaddress

from sandbox.aws.ec2.core import describe, set_tags, specified_tags, with_tags, zone_id
from sandbox.aws.ec2.security import make_group
from sandbox.aws.errors import AwsError
from sandbox.aws.registry import answers
from sandbox.aws.state import ACCOUNT, Aws, Json

__all__ = ["free_address", "free_addresses", "make_subnet", "make_vpc", "subnet"]

_RESERVED = 5  # the first four addresses and the last of every subnet
_PREFIX = 16  # addresses of one delegated /28


def subnet(aws: Aws, name: str) -> Json:
    """The record of a subnet, else InvalidSubnetID.NotFound."""
    return aws.find("ec2.subnets", name, "InvalidSubnetID.NotFound", "The subnet ID")


def _used(aws: Aws, name: str) -> set[str]:
    used: set[str] = set()
    for interface in aws.table("ec2.interfaces").values():
        if interface["SubnetId"] == name:
            used.update(entry["PrivateIpAddress"] for entry in interface["PrivateIpAddresses"])
            for entry in interface.get("Ipv4Prefixes", []):
                used.update(map(str, ipaddress.ip_network(entry["Ipv4Prefix"])))
    return used


def free_addresses(aws: Aws, name: str) -> int:
    """AvailableIpAddressCount: what interfaces, their secondary addresses and prefixes leave."""
    record = subnet(aws, name)
    count = 0
    for interface in aws.table("ec2.interfaces").values():
        if interface["SubnetId"] == name:
            count += len(interface["PrivateIpAddresses"]) + _PREFIX * len(interface.get("Ipv4Prefixes", []))
    return ipaddress.ip_network(record["CidrBlock"]).num_addresses - _RESERVED - count


def free_address(aws: Aws, name: str, count: int = 1) -> list[str]:
    """`count` free addresses of a subnet, else InsufficientFreeAddressesInSubnet. Not yet taken.

    Goes round the subnet, as AWS does: an address is not given out again at once.
    """
    network = ipaddress.ip_network(subnet(aws, name)["CidrBlock"])
    if free_addresses(aws, name) < count:
        raise AwsError(
            "InsufficientFreeAddressesInSubnet", f"The specified subnet {name} does not have enough free addresses"
        )
    used, size = _used(aws, name), network.num_addresses
    cursors = aws.table("ec2.cursors")
    position, found = cursors.get(name, 4), list[str]()
    while len(found) < count:
        position = position + 1 if 4 <= position + 1 < size - 1 else 4
        address = str(network[position])
        if address not in used:
            found.append(address)
    cursors[name] = position
    return found


# -- VPC --------------------------------------------------------------------------------------------


def make_vpc(aws: Aws, cidr: str, tags: dict[str, str]) -> Json:
    """A VPC with its main route table and its default security group."""
    name = aws.new_id("vpc")
    record = {
        "VpcId": name, "CidrBlock": cidr, "State": "available", "IsDefault": False, "OwnerId": ACCOUNT,
        "InstanceTenancy": "default", "DhcpOptionsId": "dopt-00000000000000001",
        "CidrBlockAssociationSet": [_block(aws, cidr)],
        "attributes": {"EnableDnsSupport": True, "EnableDnsHostnames": False},
    }  # fmt: skip
    aws.table("ec2.vpcs")[name] = record
    set_tags(aws, name, tags)
    make_route_table(aws, record, main=True)
    make_group(aws, name, "default", "default VPC security group", {})
    return record


def _block(aws: Aws, cidr: str) -> Json:
    return {
        "AssociationId": aws.new_id("vpc-cidr-assoc"),
        "CidrBlock": cidr,
        "CidrBlockState": {"State": "associated"},
    }


def _vpc(aws: Aws, name: str) -> Json:
    return aws.find("ec2.vpcs", name, "InvalidVpcID.NotFound", "The vpc ID")


@answers("ec2", "CreateVpc")
def create_vpc(aws: Aws, values: Json) -> Json:
    record = make_vpc(aws, values["CidrBlock"], specified_tags(values, "vpc"))
    return {"Vpc": with_tags(aws, record["VpcId"], record)}


@answers("ec2", "DescribeVpcs")
def describe_vpcs(aws: Aws, values: Json) -> Json:
    aliases = {"cidr": "CidrBlock", "cidr-block-association.cidr-block": "CidrBlockAssociationSet.CidrBlock"}
    return describe(
        aws,
        values,
        "ec2.vpcs",
        operation="DescribeVpcs",
        key="Vpcs",
        ids="VpcIds",
        missing="InvalidVpcID.NotFound",
        aliases=aliases,
    )


@answers("ec2", "AssociateVpcCidrBlock")
def associate_vpc_cidr_block(aws: Aws, values: Json) -> Json:
    block = _block(aws, values["CidrBlock"])
    _vpc(aws, values["VpcId"])["CidrBlockAssociationSet"].append(block)
    for table in aws.table("ec2.routes").values():
        if table["VpcId"] == values["VpcId"]:
            table["Routes"].append(_local(values["CidrBlock"]))
    return {"VpcId": values["VpcId"], "CidrBlockAssociation": block}


@answers("ec2", "DescribeVpcAttribute")
def describe_vpc_attribute(aws: Aws, values: Json) -> Json:
    attributes = _vpc(aws, values["VpcId"])["attributes"]
    key = values["Attribute"][0].upper() + values["Attribute"][1:]
    return {"VpcId": values["VpcId"], key: {"Value": attributes.get(key, False)}}


@answers("ec2", "ModifyVpcAttribute")
def modify_vpc_attribute(aws: Aws, values: Json) -> Json:
    attributes = _vpc(aws, values["VpcId"])["attributes"]
    for key, value in values.items():
        if isinstance(value, dict) and "Value" in value:
            attributes[key] = value["Value"]
    return {}


@answers("ec2", "DeleteVpc")
def delete_vpc(aws: Aws, values: Json) -> Json:
    name = values["VpcId"]
    _vpc(aws, name)
    groups = [
        group
        for group in aws.table("ec2.groups").values()
        if group["VpcId"] == name and group["GroupName"] != "default"
    ]
    gateways = [
        gateway for gateway in aws.table("ec2.igws").values() if any(a["VpcId"] == name for a in gateway["Attachments"])
    ]
    tables = [t for t in aws.table("ec2.routes").values() if t["VpcId"] == name and not _is_main(t)]
    subnets = [record for record in aws.table("ec2.subnets").values() if record["VpcId"] == name]
    if groups or gateways or tables or subnets:
        raise AwsError("DependencyViolation", f"The vpc '{name}' has dependencies and cannot be deleted.")
    for table in ("ec2.groups", "ec2.routes"):
        for key in [key for key, record in aws.table(table).items() if record["VpcId"] == name]:
            del aws.table(table)[key]
    del aws.table("ec2.vpcs")[name]
    return {}


# -- subnets ----------------------------------------------------------------------------------------


def make_subnet(aws: Aws, vpc: str, cidr: str, zone: str, tags: dict[str, str], *, public: bool = False) -> Json:
    """A subnet; `public` only means that instances get a public address: routes are made apart."""
    network, name = ipaddress.ip_network(cidr), aws.new_id("subnet")
    blocks = [ipaddress.ip_network(block["CidrBlock"]) for block in _vpc(aws, vpc)["CidrBlockAssociationSet"]]
    if not any(network.subnet_of(block) for block in blocks):  # type: ignore[arg-type]
        raise AwsError("InvalidSubnet.Range", f"The CIDR '{cidr}' is invalid.")
    for other in aws.table("ec2.subnets").values():
        if other["VpcId"] == vpc and network.overlaps(ipaddress.ip_network(other["CidrBlock"])):
            raise AwsError("InvalidSubnet.Conflict", f"The CIDR '{cidr}' conflicts with another subnet")
    if zone not in aws.zones():
        raise AwsError("InvalidParameterValue", f"Value ({zone}) for parameter availabilityZone is invalid.")
    record = {
        "SubnetId": name, "VpcId": vpc, "CidrBlock": cidr, "AvailabilityZone": zone, "State": "available",
        "AvailabilityZoneId": zone_id(aws, zone), "MapPublicIpOnLaunch": public, "OwnerId": ACCOUNT,
        "DefaultForAz": False, "AssignIpv6AddressOnCreation": False, "Ipv6CidrBlockAssociationSet": [],
        "SubnetArn": aws.arn("ec2", f"subnet/{name}"), "Ipv6Native": False, "EnableDns64": False,
        "PrivateDnsNameOptionsOnLaunch": {"HostnameType": "ip-name", "EnableResourceNameDnsARecord": False},
    }  # fmt: skip
    aws.table("ec2.subnets")[name] = record
    set_tags(aws, name, tags)
    return record


def _shown_subnet(aws: Aws, record: Json) -> Json:
    return {**record, "AvailableIpAddressCount": free_addresses(aws, record["SubnetId"])}


@answers("ec2", "CreateSubnet")
def create_subnet(aws: Aws, values: Json) -> Json:
    zone = values.get("AvailabilityZone") or aws.zones()[0]
    record = make_subnet(aws, values["VpcId"], values["CidrBlock"], zone, specified_tags(values, "subnet"))
    return {"Subnet": with_tags(aws, record["SubnetId"], _shown_subnet(aws, record))}


@answers("ec2", "DescribeSubnets")
def describe_subnets(aws: Aws, values: Json) -> Json:
    aliases = {"cidr": "CidrBlock", "cidrBlock": "CidrBlock", "availabilityZone": "AvailabilityZone"}
    missing = "InvalidSubnetID.NotFound"
    view = lambda record: _shown_subnet(aws, record)  # noqa: E731 - one expression, used once
    return describe(
        aws,
        values,
        "ec2.subnets",
        operation="DescribeSubnets",
        key="Subnets",
        ids="SubnetIds",
        missing=missing,
        view=view,
        aliases=aliases,
    )


@answers("ec2", "ModifySubnetAttribute")
def modify_subnet_attribute(aws: Aws, values: Json) -> Json:
    record = subnet(aws, values["SubnetId"])
    for key in ("MapPublicIpOnLaunch", "AssignIpv6AddressOnCreation"):
        if key in values:
            record[key] = values[key]["Value"]
    return {}


@answers("ec2", "DeleteSubnet")
def delete_subnet(aws: Aws, values: Json) -> Json:
    name = values["SubnetId"]
    subnet(aws, name)
    if any(interface["SubnetId"] == name for interface in aws.table("ec2.interfaces").values()):
        raise AwsError("DependencyViolation", f"The subnet '{name}' has dependencies and cannot be deleted.")
    for table in aws.table("ec2.routes").values():
        table["Associations"] = [entry for entry in table["Associations"] if entry.get("SubnetId") != name]
    del aws.table("ec2.subnets")[name]
    return {}


# -- route tables -----------------------------------------------------------------------------------


def _is_main(table: Json) -> bool:
    return any(entry["Main"] for entry in table["Associations"])


def make_route_table(aws: Aws, vpc: Json, *, main: bool = False) -> Json:
    """A route table with a local route for each block; `main` serves subnets without one of their own."""
    name = aws.new_id("rtb")
    record: Json = {
        "RouteTableId": name, "VpcId": vpc["VpcId"], "OwnerId": ACCOUNT, "PropagatingVgws": [],
        "Routes": [_local(block["CidrBlock"]) for block in vpc["CidrBlockAssociationSet"]], "Associations": [],
    }  # fmt: skip
    if main:
        record["Associations"].append(_association(aws, name, main=True))
    aws.table("ec2.routes")[name] = record
    return record


def _local(block: str) -> Json:
    return {"DestinationCidrBlock": block, "GatewayId": "local", "State": "active", "Origin": "CreateRouteTable"}


def _association(aws: Aws, table: str, *, main: bool = False) -> Json:
    state = {"State": "associated"}
    return {
        "RouteTableAssociationId": aws.new_id("rtbassoc"),
        "RouteTableId": table,
        "Main": main,
        "AssociationState": state,
    }


def _route_table(aws: Aws, name: str) -> Json:
    return aws.find("ec2.routes", name, "InvalidRouteTableID.NotFound", "The routeTable ID")


@answers("ec2", "CreateRouteTable")
def create_route_table(aws: Aws, values: Json) -> Json:
    record = make_route_table(aws, _vpc(aws, values["VpcId"]))
    set_tags(aws, record["RouteTableId"], specified_tags(values, "route-table"))
    return {"RouteTable": with_tags(aws, record["RouteTableId"], record)}


@answers("ec2", "DescribeRouteTables")
def describe_route_tables(aws: Aws, values: Json) -> Json:
    aliases = {
        "association.main": "Associations.Main",
        "association.subnet-id": "Associations.SubnetId",
        "association.route-table-association-id": "Associations.RouteTableAssociationId",
        "association.route-table-id": "Associations.RouteTableId",
        "route.gateway-id": "Routes.GatewayId",
        "route.nat-gateway-id": "Routes.NatGatewayId",
        "route.destination-cidr-block": "Routes.DestinationCidrBlock",
    }
    missing = "InvalidRouteTableID.NotFound"
    return describe(
        aws,
        values,
        "ec2.routes",
        operation="DescribeRouteTables",
        key="RouteTables",
        ids="RouteTableIds",
        missing=missing,
        aliases=aliases,
    )


@answers("ec2", "CreateRoute", "ReplaceRoute")
def create_route(aws: Aws, values: Json) -> Json:
    table = _route_table(aws, values["RouteTableId"])
    targets = ("GatewayId", "NatGatewayId", "NetworkInterfaceId", "TransitGatewayId", "VpcPeeringConnectionId")
    route = {key: values[key] for key in ("DestinationCidrBlock", *targets) if key in values}
    others = [entry for entry in table["Routes"] if entry["DestinationCidrBlock"] != route["DestinationCidrBlock"]]
    table["Routes"] = [*others, {**route, "State": "active", "Origin": "CreateRoute"}]
    return {"Return": True}


@answers("ec2", "DeleteRoute")
def delete_route(aws: Aws, values: Json) -> Json:
    table, wanted = _route_table(aws, values["RouteTableId"]), values["DestinationCidrBlock"]
    rest = [entry for entry in table["Routes"] if entry["DestinationCidrBlock"] != wanted]
    if len(rest) == len(table["Routes"]):
        raise AwsError(
            "InvalidRoute.NotFound", f"no route with destination-cidr-block {wanted} in {values['RouteTableId']}"
        )
    table["Routes"] = rest
    return {}


@answers("ec2", "AssociateRouteTable")
def associate_route_table(aws: Aws, values: Json) -> Json:
    table = _route_table(aws, values["RouteTableId"])
    entry = {**_association(aws, values["RouteTableId"]), "SubnetId": subnet(aws, values["SubnetId"])["SubnetId"]}
    for other in aws.table("ec2.routes").values():
        if any(old.get("SubnetId") == entry["SubnetId"] for old in other["Associations"]):
            raise AwsError("Resource.AlreadyAssociated", f"the subnet {entry['SubnetId']} already has a route table")
    table["Associations"].append(entry)
    return {"AssociationId": entry["RouteTableAssociationId"], "AssociationState": entry["AssociationState"]}


@answers("ec2", "DisassociateRouteTable")
def disassociate_route_table(aws: Aws, values: Json) -> Json:
    for table in aws.table("ec2.routes").values():
        rest = [entry for entry in table["Associations"] if entry["RouteTableAssociationId"] != values["AssociationId"]]
        if len(rest) < len(table["Associations"]):
            table["Associations"] = rest
            return {}
    raise AwsError("InvalidAssociationID.NotFound", f"The association ID '{values['AssociationId']}' does not exist")


@answers("ec2", "DeleteRouteTable")
def delete_route_table(aws: Aws, values: Json) -> Json:
    table = _route_table(aws, values["RouteTableId"])
    if table["Associations"]:
        raise AwsError(
            "DependencyViolation", f"The routeTable '{values['RouteTableId']}' has dependencies and cannot be deleted."
        )
    del aws.table("ec2.routes")[values["RouteTableId"]]
    return {}
