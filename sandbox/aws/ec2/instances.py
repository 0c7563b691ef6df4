"""Instances, from launch to termination, with the interfaces that go with them; types and images."""

from __future__ import annotations

import dataclasses

from sandbox.aws.catalog import AMI_TYPES, INSTANCE_TYPES, KUBERNETES_VERSIONS, ami_id, instance_type
from sandbox.aws.ec2.core import select, set_tags, specified_tags, tags_of, with_tags
from sandbox.aws.ec2.interfaces import (
    attach_interface,
    delete_interface,
    detach_interface,
    interfaces_of,
    make_interface,
)
from sandbox.aws.ec2.network import free_addresses, subnet
from sandbox.aws.ec2.templates import resolve
from sandbox.aws.errors import AwsError
from sandbox.aws.registry import answers, on_tick
from sandbox.aws.state import ACCOUNT, Aws, Json

__all__ = ["RUNNING", "instance", "launch", "terminate"]

_CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
_BOOT = 0.3  # share of launch_delay after which an instance is running; its node registers at the end
_MEMORY = 300.0  # seconds that a terminated instance is still shown; an hour on AWS
RUNNING = ("pending", "running")


def instance(aws: Aws, name: str) -> Json:
    """The record of an instance, else InvalidInstanceID.NotFound."""
    return aws.find("ec2.instances", name, "InvalidInstanceID.NotFound", "The instance ID")


def _set_state(record: Json, name: str) -> None:
    record["State"] = {"Code": _CODES[name], "Name": name}


def no_capacity(aws: Aws, kind: str, zone: str) -> bool:
    """Whether world.json says that there is no capacity for this type in this zone."""
    return any(
        entry.get("instance_type", kind) == kind and entry.get("zone", zone) == zone
        for entry in aws.settings.get("no_capacity", [])
    )


def launch(aws: Aws, place: str, data: Json, tags: dict[str, str], template: Json | None = None) -> Json:
    """Start an instance in subnet `place` from launch template data; `template` is what it came from.

    Raises InsufficientInstanceCapacity, InsufficientFreeAddressesInSubnet, InvalidInstanceType.
    """
    where, kind = subnet(aws, place), instance_type(data["InstanceType"])
    zone = where["AvailabilityZone"]
    if no_capacity(aws, kind.name, zone):
        raise AwsError(
            "InsufficientInstanceCapacity",
            f"We currently do not have sufficient {kind.name} capacity in the zone you requested ({zone}).",
            500,
        )
    if free_addresses(aws, place) < 1:
        raise AwsError("InsufficientFreeAddressesInSubnet", f"Not enough free addresses in subnet '{place}'")
    now, name = aws.now(), aws.new_id("i")
    request: Json = next(iter(data.get("NetworkInterfaces", [])), {})
    groups = data.get("SecurityGroupIds") or request.get("Groups") or [_default_group(aws, where["VpcId"])]
    metadata = {"HttpTokens": "optional", "HttpPutResponseHopLimit": 1, "HttpEndpoint": "enabled"}
    record: Json = {
        "InstanceId": name, "InstanceType": kind.name, "ImageId": data.get("ImageId", ""), "LaunchTime": now,
        "SubnetId": place, "VpcId": where["VpcId"], "Architecture": "arm64" if kind.arm else "x86_64",
        "Placement": {"AvailabilityZone": zone, "Tenancy": "default"}, "AmiLaunchIndex": 0,
        "MetadataOptions": {"State": "applied", **metadata, **data.get("MetadataOptions", {})},
        "Monitoring": {"State": "disabled"}, "SourceDestCheck": True, "VirtualizationType": "hvm",
        "user_data": data.get("UserData", ""), "template": template or {},
    }  # fmt: skip
    if (data.get("InstanceMarketOptions") or {}).get("MarketType") == "spot":
        record["InstanceLifecycle"] = "spot"
    _set_state(record, "pending")
    if data.get("IamInstanceProfile"):
        profile = data["IamInstanceProfile"]
        identifier = profile.get("Name") or profile["Arn"].rsplit("/", 1)[1]
        record["IamInstanceProfile"] = {
            "Arn": aws.arn("iam", f"instance-profile/{identifier}", regional=False),
            "Id": "AIPASANDBOX",
        }
    interface = make_interface(aws, place, groups, requester=ACCOUNT)
    attach_interface(aws, interface["NetworkInterfaceId"], record, 0, delete=request.get("DeleteOnTermination", True))
    if request.get("AssociatePublicIpAddress", where["MapPublicIpOnLaunch"]):
        record["PublicIpAddress"] = f"198.51.100.{int(name[-4:], 16) % 250 + 1}"
    record["PrivateIpAddress"] = interface["PrivateIpAddress"]
    record["PrivateDnsName"] = interface["PrivateDnsName"]
    aws.table("ec2.instances")[name] = record
    set_tags(aws, name, tags)
    return record


def _default_group(aws: Aws, vpc: str) -> str:
    for group in aws.table("ec2.groups").values():
        if group["VpcId"] == vpc and group["GroupName"] == "default":
            return str(group["GroupId"])
    raise AwsError("InvalidGroup.NotFound", f"VPC {vpc} has no default security group")


def terminate(aws: Aws, name: str) -> Json:
    """Begin to end an instance; it is gone after `terminate_delay`."""
    record = instance(aws, name)
    if record["State"]["Name"] in RUNNING:
        _set_state(record, "shutting-down")
        record["ends_at"] = aws.now() + aws.settings.seconds("terminate_delay")
        aws.touch()
    return record


@on_tick
def move_instances(aws: Aws, now: float) -> None:
    """pending → running, shutting-down → terminated, and forgotten at last."""
    table = aws.table("ec2.instances")
    for name, record in list(table.items()):
        state = record["State"]["Name"]
        if state == "pending" and now >= record["LaunchTime"] + _BOOT * aws.settings.seconds("launch_delay"):
            _set_state(record, "running")
            aws.touch()
        elif state == "shutting-down" and now >= record["ends_at"]:
            _set_state(record, "terminated")
            for interface in interfaces_of(aws, name):
                if interface["Attachment"]["DeleteOnTermination"]:
                    delete_interface(aws, interface["NetworkInterfaceId"])
                else:
                    detach_interface(aws, interface["NetworkInterfaceId"])
            aws.touch()
        elif state == "terminated" and now >= record["ends_at"] + _MEMORY and not record.get("node"):
            del table[name]
            aws.table("ec2.tags").pop(name, None)


# -- calls ------------------------------------------------------------------------------------------


def _shown(aws: Aws, records: list[Json]) -> list[Json]:
    attached: dict[str, list[Json]] = {record["InstanceId"]: [] for record in records}
    for interface in aws.table("ec2.interfaces").values():
        owner = interface.get("Attachment", {}).get("InstanceId")
        if owner in attached:
            attached[owner].append(interface)
    shown = []
    for record in records:
        interfaces = sorted(attached[record["InstanceId"]], key=lambda entry: int(entry["Attachment"]["DeviceIndex"]))
        groups = interfaces[0]["Groups"] if interfaces else []
        own = {"NetworkInterfaces": interfaces, "SecurityGroups": groups}
        shown.append(with_tags(aws, record["InstanceId"], {**record, **own}))
    return shown


@answers("ec2", "DescribeInstances")
def describe_instances(aws: Aws, values: Json) -> Json:
    chosen = [instance(aws, name) for name in values.get("InstanceIds", [])] or list(
        aws.table("ec2.instances").values()
    )
    wrapped: list[Json] = [
        {"Instances": [record], "ReservationId": _reservation(record), "OwnerId": ACCOUNT}
        for record in _shown(aws, chosen)
    ]
    aliases = {
        key: f"Instances.{path}"
        for key, path in {
            "instance-state-name": "State.Name", "instance-state-code": "State.Code", "vpc-id": "VpcId",
            "instance-id": "InstanceId", "instance-type": "InstanceType", "subnet-id": "SubnetId",
            "private-dns-name": "PrivateDnsName", "private-ip-address": "PrivateIpAddress", "image-id": "ImageId",
            "availability-zone": "Placement.AvailabilityZone", "instance.group-id": "SecurityGroups.GroupId",
            "network-interface.network-interface-id": "NetworkInterfaces.NetworkInterfaceId",
            "iam-instance-profile.arn": "IamInstanceProfile.Arn",
        }.items()
    }  # fmt: skip
    filters = values.get("Filters", [])
    for entry in filters:
        if entry["Name"] == "tag-key" or entry["Name"].startswith("tag:"):
            wrapped = [item for item in wrapped if _tagged(item["Instances"][0], entry)]
    rest = [entry for entry in filters if not entry["Name"].startswith("tag")]
    return {"Reservations": select("DescribeInstances", "Reservations", wrapped, rest, aliases)}


def _tagged(record: Json, wanted: Json) -> bool:
    tags = {tag["Key"]: tag["Value"] for tag in record["Tags"]}
    if wanted["Name"] == "tag-key":
        return any(key in tags for key in wanted["Values"])
    return tags.get(wanted["Name"].removeprefix("tag:")) in wanted["Values"]


def _reservation(record: Json) -> str:
    return f"r-{record['InstanceId'].removeprefix('i-')}"


@answers("ec2", "DescribeInstanceStatus")
def describe_instance_status(aws: Aws, values: Json) -> Json:
    chosen = values.get("InstanceIds") or list(aws.table("ec2.instances"))
    statuses = []
    for name in chosen:
        record = instance(aws, name)
        if record["State"]["Name"] == "running" or values.get("IncludeAllInstances"):
            entry = {
                "InstanceId": name,
                "InstanceState": record["State"],
                "AvailabilityZone": record["Placement"]["AvailabilityZone"],
            }
            statuses.append(entry | {"InstanceStatus": {"Status": "ok"}, "SystemStatus": {"Status": "ok"}})
    return {"InstanceStatuses": statuses}


@answers("ec2", "DescribeInstanceAttribute")
def describe_instance_attribute(aws: Aws, values: Json) -> Json:
    record, attribute = instance(aws, values["InstanceId"]), values["Attribute"]
    answer: Json = {"InstanceId": values["InstanceId"]}
    if attribute == "userData":
        answer["UserData"] = {"Value": record["user_data"]}
    elif attribute == "disableApiTermination":
        answer["DisableApiTermination"] = {"Value": False}
    return answer


@answers("ec2", "ModifyInstanceMetadataOptions")
def modify_instance_metadata_options(aws: Aws, values: Json) -> Json:
    options = instance(aws, values["InstanceId"])["MetadataOptions"]
    for key in ("HttpTokens", "HttpPutResponseHopLimit", "HttpEndpoint"):
        if key in values:
            options[key] = values[key]
    return {"InstanceId": values["InstanceId"], "InstanceMetadataOptions": options}


@answers("ec2", "RunInstances")
def run_instances(aws: Aws, values: Json) -> Json:
    template, data = {}, dict(values)
    if "LaunchTemplate" in values:
        found, version = resolve(aws, values["LaunchTemplate"])
        data = {**version["LaunchTemplateData"], **values}
        template = {"LaunchTemplateId": found["LaunchTemplateId"], "Version": str(version["VersionNumber"])}
    place = data.get("SubnetId") or next(
        (i["SubnetId"] for i in data.get("NetworkInterfaces", []) if "SubnetId" in i), None
    )
    if place is None:
        raise AwsError("MissingInput", "No subnets found for the default VPC: give SubnetId")
    tags = specified_tags(data, "instance")
    records = [launch(aws, place, data, tags, template) for _ in range(values.get("MinCount", 1))]
    shown = _shown(aws, records)
    return {"Instances": shown, "ReservationId": _reservation(records[0]), "OwnerId": ACCOUNT}


@answers("ec2", "TerminateInstances")
def terminate_instances(aws: Aws, values: Json) -> Json:
    before = [(name, dict(instance(aws, name)["State"])) for name in values["InstanceIds"]]
    return {
        "TerminatingInstances": [
            {"InstanceId": name, "PreviousState": state, "CurrentState": terminate(aws, name)["State"]}
            for name, state in before
        ]
    }


@answers("ec2", "DescribeInstanceTypes")
def describe_instance_types(_aws: Aws, values: Json) -> Json:
    chosen = [instance_type(name) for name in values.get("InstanceTypes", [])] or list(INSTANCE_TYPES.values())
    shown = [
        {
            "InstanceType": kind.name, "CurrentGeneration": True, "BareMetal": False, "Hypervisor": "nitro",
            "ProcessorInfo": {"SupportedArchitectures": ["arm64" if kind.arm else "x86_64"]},
            "VCpuInfo": {"DefaultVCpus": kind.cpus}, "MemoryInfo": {"SizeInMiB": kind.memory * 1024},
            "NetworkInfo": {
                "MaximumNetworkInterfaces": kind.interfaces, "MaximumNetworkCards": 1,
                "DefaultNetworkCardIndex": 0, "Ipv4AddressesPerInterface": kind.addresses,
                "NetworkCards": [{"NetworkCardIndex": 0, "MaximumNetworkInterfaces": kind.interfaces}],
            },
        }
        for kind in chosen
    ]  # fmt: skip
    return {"InstanceTypes": select("DescribeInstanceTypes", "InstanceTypes", shown, values.get("Filters", []))}


@answers("ec2", "DescribeInstanceTypeOfferings")
def describe_instance_type_offerings(aws: Aws, values: Json) -> Json:
    zonal = values.get("LocationType") == "availability-zone"
    offerings = [
        {"InstanceType": name, "LocationType": values.get("LocationType", "region"), "Location": place}
        for name in INSTANCE_TYPES
        for place in (aws.zones() if zonal else [aws.region])
    ]
    key = "InstanceTypeOfferings"
    return {key: select("DescribeInstanceTypeOfferings", key, offerings, values.get("Filters", []))}


@answers("ec2", "DescribeImages")
def describe_images(_aws: Aws, values: Json) -> Json:
    images = [
        {
            "ImageId": ami_id(version, ami_type), "Name": f"amazon-eks-node-{family}-{arch}-{version}",
            "Architecture": arch, "OwnerId": "602401143452", "State": "available", "Public": True,
            "RootDeviceType": "ebs", "RootDeviceName": "/dev/xvda", "VirtualizationType": "hvm",
            "PlatformDetails": "Linux/UNIX",
        }
        for version in KUBERNETES_VERSIONS
        for ami_type, (family, arch, _) in AMI_TYPES.items()
    ]  # fmt: skip
    wanted = values.get("ImageIds")
    if wanted is not None:
        known = {image["ImageId"] for image in images}
        for name in wanted:
            if name not in known:
                raise AwsError("InvalidAMIID.NotFound", f"The image id '[{name}]' does not exist")
        images = [image for image in images if image["ImageId"] in wanted]
    return {"Images": select("DescribeImages", "Images", images, values.get("Filters", []))}


def instances_tagged(aws: Aws, key: str, value: str) -> list[Json]:
    """The live and the dying instances that carry a tag."""
    return [record for name, record in aws.table("ec2.instances").items() if tags_of(aws, name).get(key) == value]


def as_dict(name: str) -> Json:
    """The catalogue entry of an instance type as a dict, limits included."""
    kind = instance_type(name)
    return {**dataclasses.asdict(kind), "max_pods": kind.max_pods}
