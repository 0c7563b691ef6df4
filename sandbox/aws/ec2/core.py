"""What all EC2 calls share: tags, filters, describing a table."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sandbox.aws.errors import AwsError
from sandbox.aws.protocol import Shape, service_model
from sandbox.aws.registry import answers
from sandbox.aws.state import Aws, Json, tags_as_list

__all__ = ["describe", "nothing", "select", "set_tags", "specified_tags", "tags_of", "with_tags"]

_EMPTY = {
    "DescribeVpcPeeringConnections": "VpcPeeringConnections",
    "DescribeTransitGatewayVpcAttachments": "TransitGatewayVpcAttachments",
    "DescribeTransitGatewayAttachments": "TransitGatewayAttachments",
    "DescribeVpcEndpoints": "VpcEndpoints",
    "DescribeVpnGateways": "VpnGateways",
    "DescribeManagedPrefixLists": "PrefixLists",
    "DescribePrefixLists": "PrefixLists",
    "DescribeVolumes": "Volumes",
    "DescribeKeyPairs": "KeyPairs",
    "DescribeEgressOnlyInternetGateways": "EgressOnlyInternetGateways",
}


def tags_of(aws: Aws, resource: str) -> dict[str, str]:
    """The tags of an EC2 resource, by its id; a live dict."""
    tags: dict[str, str] = aws.table("ec2.tags").setdefault(resource, {})
    return tags


def set_tags(aws: Aws, resource: str, tags: Mapping[str, str]) -> None:
    """Add `tags` to those of the resource."""
    tags_of(aws, resource).update(tags)


def specified_tags(values: Json, kind: str) -> dict[str, str]:
    """The tags that a request's TagSpecifications give to a resource of `kind`."""
    return {
        tag["Key"]: tag.get("Value", "")
        for specification in values.get("TagSpecifications", [])
        if specification.get("ResourceType") == kind
        for tag in specification.get("Tags", [])
    }


def with_tags(aws: Aws, resource: str, record: Json) -> Json:
    """The record as EC2 shows it, tags included."""
    return {**record, "Tags": tags_as_list(aws.table("ec2.tags").get(resource, {}))}


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("-"))


def _path(shape: Shape, name: str, aliases: Mapping[str, str]) -> list[str]:
    """The members that a filter name means, checked against the shape of the items."""
    path = (aliases.get(name) or ".".join(_camel(part) for part in name.split("."))).split(".")
    for member in path:
        while shape.type_name == "list":
            shape = shape.member
        if shape.type_name != "structure" or member not in shape.members:
            raise AwsError("InvalidParameterValue", f"The filter '{name}' is invalid")
        shape = shape.members[member]
    return path


def _values(item: Any, path: list[str]) -> Iterable[str]:
    if isinstance(item, list):
        for element in item:
            yield from _values(element, path)
    elif not path:
        if item is not None:
            yield str(item).lower() if isinstance(item, bool) else str(item)
    elif isinstance(item, dict) and path[0] in item:
        yield from _values(item[path[0]], path[1:])


def select(
    operation: str, key: str, items: list[Json], filters: list[Json], aliases: Mapping[str, str] | None = None
) -> list[Json]:
    """The items that pass all `Filters`; names are checked against the operation's output list `key`."""
    output: Shape = service_model("ec2").operation_model(operation).output_shape
    shape: Shape = output.members[key].member
    for wanted in filters:
        name, patterns = wanted["Name"], wanted.get("Values", [])
        if name == "tag-key":
            path = ["Tags", "Key"]
        elif name.startswith("tag:"):
            tag = name.removeprefix("tag:")
            items = [
                item
                for item in items
                if any(
                    entry["Key"] == tag and any(fnmatch.fnmatchcase(entry["Value"], pattern) for pattern in patterns)
                    for entry in item.get("Tags", [])
                )
            ]
            continue
        else:
            path = _path(shape, name, aliases or {})
        items = [
            item
            for item in items
            if any(fnmatch.fnmatchcase(value, pattern) for value in _values(item, path) for pattern in patterns)
        ]
    return items


def describe(
    aws: Aws,
    values: Json,
    table: str,
    *,
    operation: str,
    key: str,
    ids: str,
    missing: str,
    view: Callable[[Json], Json] | None = None,
    aliases: Mapping[str, str] | None = None,
) -> Json:
    """A Describe call over a table: by ids (error code `missing` for an unknown one), then by filters."""
    records = aws.table(table)
    wanted = values.get(ids)
    for name in wanted or []:
        if name not in records:
            raise AwsError(missing, f"The ID '{name}' does not exist")
    chosen = wanted or list(records)
    items = [with_tags(aws, name, view(records[name]) if view else records[name]) for name in chosen]
    return {key: select(operation, key, items, values.get("Filters", []), aliases)}


@answers("ec2", "CreateTags")
def create_tags(aws: Aws, values: Json) -> Json:
    for resource in values["Resources"]:
        set_tags(aws, resource, {tag["Key"]: tag.get("Value", "") for tag in values.get("Tags", [])})
    return {}


@answers("ec2", "DeleteTags")
def delete_tags(aws: Aws, values: Json) -> Json:
    for resource in values["Resources"]:
        tags = tags_of(aws, resource)
        for tag in values.get("Tags", [{"Key": key} for key in list(tags)]):
            if "Value" not in tag or tags.get(tag["Key"]) == tag["Value"]:
                tags.pop(tag["Key"], None)
    return {}


_KINDS = {
    "vpc": "vpc", "subnet": "subnet", "sg": "security-group", "eni": "network-interface", "i": "instance",
    "lt": "launch-template", "rtb": "route-table", "igw": "internet-gateway", "nat": "natgateway",
    "eipalloc": "elastic-ip", "sgr": "security-group-rule",
}  # fmt: skip


@answers("ec2", "DescribeTags")
def describe_tags(aws: Aws, values: Json) -> Json:
    items = [
        {
            "ResourceId": resource,
            "ResourceType": _KINDS.get(resource.split("-")[0], "unknown"),
            "Key": key,
            "Value": value,
        }
        for resource, tags in aws.table("ec2.tags").items()
        for key, value in tags.items()
    ]
    return {"Tags": select("DescribeTags", "Tags", items, values.get("Filters", []))}


def nothing(operation: str, key: str) -> None:
    """Register a Describe call that always finds nothing: the account has no such things."""

    @answers("ec2", operation)
    def empty(_aws: Aws, _values: Json) -> Json:
        return {key: []}


for _operation, _key in _EMPTY.items():
    nothing(_operation, _key)


@answers("ec2", "DescribeRegions")
def describe_regions(aws: Aws, _values: Json) -> Json:
    return {"Regions": [{"RegionName": aws.region, "Endpoint": aws.endpoint, "OptInStatus": "opt-in-not-required"}]}


@answers("ec2", "DescribeAvailabilityZones")
def describe_availability_zones(aws: Aws, values: Json) -> Json:
    zones = [
        {
            "ZoneName": zone, "ZoneId": zone_id(aws, zone), "RegionName": aws.region, "GroupName": aws.region,
            "State": "available", "ZoneType": "availability-zone", "OptInStatus": "opt-in-not-required",
            "NetworkBorderGroup": aws.region,
        }
        for zone in aws.zones()
        if zone in values.get("ZoneNames", [zone])
    ]  # fmt: skip
    aliases = {"state": "State", "region-name": "RegionName"}
    return {
        "AvailabilityZones": select(
            "DescribeAvailabilityZones", "AvailabilityZones", zones, values.get("Filters", []), aliases
        )
    }


def zone_id(aws: Aws, zone: str) -> str:
    """The zone's id, e.g. euw1-az1 for eu-west-1a."""
    words = aws.region.split("-")
    return f"{words[0]}{words[1][0]}{words[2]}-az{'abc'.index(zone[-1]) + 1}"


@answers("ec2", "DescribeAccountAttributes")
def describe_account_attributes(_aws: Aws, _values: Json) -> Json:
    values = [{"AttributeValue": "VPC"}]
    return {"AccountAttributes": [{"AttributeName": "supported-platforms", "AttributeValues": values}]}
