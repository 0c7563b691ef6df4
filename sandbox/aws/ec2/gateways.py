"""Internet gateways, NAT gateways and elastic addresses: enough for routes to mean public or private."""

from __future__ import annotations

from sandbox.aws.ec2.core import describe, set_tags, specified_tags, with_tags
from sandbox.aws.ec2.interfaces import delete_interface, make_interface
from sandbox.aws.ec2.network import subnet
from sandbox.aws.errors import AwsError
from sandbox.aws.registry import answers
from sandbox.aws.state import ACCOUNT, Aws, Json

__all__: list[str] = []


@answers("ec2", "CreateInternetGateway")
def create_internet_gateway(aws: Aws, values: Json) -> Json:
    name = aws.new_id("igw")
    record = {"InternetGatewayId": name, "Attachments": [], "OwnerId": ACCOUNT}
    aws.table("ec2.igws")[name] = record
    set_tags(aws, name, specified_tags(values, "internet-gateway"))
    return {"InternetGateway": with_tags(aws, name, record)}


def _gateway(aws: Aws, name: str) -> Json:
    return aws.find("ec2.igws", name, "InvalidInternetGatewayID.NotFound", "The internetGateway ID")


@answers("ec2", "DescribeInternetGateways")
def describe_internet_gateways(aws: Aws, values: Json) -> Json:
    aliases = {"attachment.vpc-id": "Attachments.VpcId", "attachment.state": "Attachments.State"}
    missing, ids = "InvalidInternetGatewayID.NotFound", "InternetGatewayIds"
    return describe(
        aws,
        values,
        "ec2.igws",
        operation="DescribeInternetGateways",
        key="InternetGateways",
        ids=ids,
        missing=missing,
        aliases=aliases,
    )


@answers("ec2", "AttachInternetGateway")
def attach_internet_gateway(aws: Aws, values: Json) -> Json:
    attachments = _gateway(aws, values["InternetGatewayId"])["Attachments"]
    attachments.append({"VpcId": values["VpcId"], "State": "available"})
    return {}


@answers("ec2", "DetachInternetGateway")
def detach_internet_gateway(aws: Aws, values: Json) -> Json:
    gateway = _gateway(aws, values["InternetGatewayId"])
    gateway["Attachments"] = [entry for entry in gateway["Attachments"] if entry["VpcId"] != values["VpcId"]]
    return {}


@answers("ec2", "DeleteInternetGateway")
def delete_internet_gateway(aws: Aws, values: Json) -> Json:
    if _gateway(aws, values["InternetGatewayId"])["Attachments"]:
        raise AwsError("DependencyViolation", f"The internetGateway '{values['InternetGatewayId']}' is attached")
    del aws.table("ec2.igws")[values["InternetGatewayId"]]
    return {}


@answers("ec2", "AllocateAddress")
def allocate_address(aws: Aws, values: Json) -> Json:
    name = aws.new_id("eipalloc")
    number = len(aws.table("ec2.addresses")) + 10
    record = {
        "AllocationId": name,
        "PublicIp": f"203.0.113.{number}",
        "Domain": "vpc",
        "NetworkBorderGroup": aws.region,
    }
    aws.table("ec2.addresses")[name] = record
    set_tags(aws, name, specified_tags(values, "elastic-ip"))
    return record


@answers("ec2", "DescribeAddresses")
def describe_addresses(aws: Aws, values: Json) -> Json:
    missing = "InvalidAllocationID.NotFound"
    return describe(
        aws,
        values,
        "ec2.addresses",
        operation="DescribeAddresses",
        key="Addresses",
        ids="AllocationIds",
        missing=missing,
    )


@answers("ec2", "ReleaseAddress")
def release_address(aws: Aws, values: Json) -> Json:
    name = values["AllocationId"]
    if aws.find("ec2.addresses", name, "InvalidAllocationID.NotFound", "The allocation ID").get("AssociationId"):
        raise AwsError("InvalidIPAddress.InUse", f"The address {name} is in use.")
    del aws.table("ec2.addresses")[name]
    return {}


@answers("ec2", "CreateNatGateway")
def create_nat_gateway(aws: Aws, values: Json) -> Json:
    name, place = aws.new_id("nat"), subnet(aws, values["SubnetId"])
    description = f"Interface for NAT Gateway {name}"
    interface = make_interface(aws, place["SubnetId"], [], description, kind="nat_gateway")
    addresses: Json = {
        "NetworkInterfaceId": interface["NetworkInterfaceId"],
        "PrivateIp": interface["PrivateIpAddress"],
    }
    if "AllocationId" in values:
        allocation = values["AllocationId"]
        elastic = aws.find("ec2.addresses", allocation, "InvalidAllocationID.NotFound", "The allocation ID")
        elastic["AssociationId"] = aws.new_id("eipassoc")
        addresses |= {"AllocationId": allocation, "PublicIp": elastic["PublicIp"]}
    record = {
        "NatGatewayId": name, "SubnetId": place["SubnetId"], "VpcId": place["VpcId"], "State": "available",
        "ConnectivityType": "public", "CreateTime": aws.now(), "NatGatewayAddresses": [addresses],
    }  # fmt: skip
    aws.table("ec2.nats")[name] = record
    set_tags(aws, name, specified_tags(values, "natgateway"))
    return {"NatGateway": with_tags(aws, name, record)}


@answers("ec2", "DescribeNatGateways")
def describe_nat_gateways(aws: Aws, values: Json) -> Json:
    values = {**values, "Filters": values.get("Filter", [])}
    missing = "NatGatewayNotFound"
    return describe(
        aws,
        values,
        "ec2.nats",
        operation="DescribeNatGateways",
        key="NatGateways",
        ids="NatGatewayIds",
        missing=missing,
    )


@answers("ec2", "DeleteNatGateway")
def delete_nat_gateway(aws: Aws, values: Json) -> Json:
    record = aws.find("ec2.nats", values["NatGatewayId"], "NatGatewayNotFound", "The Nat Gateway")
    if record["State"] != "deleted":
        for entry in record["NatGatewayAddresses"]:
            delete_interface(aws, entry["NetworkInterfaceId"])
            if "AllocationId" in entry:
                aws.table("ec2.addresses").get(entry["AllocationId"], {}).pop("AssociationId", None)
        record["State"] = "deleted"
    return {"NatGatewayId": values["NatGatewayId"]}
