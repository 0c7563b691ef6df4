"""Managed node groups: the calls. How they come up, roll and go away is in `nodegroup_life`."""

from __future__ import annotations

import uuid
from typing import Any

from sandbox.aws.autoscaling import make_group
from sandbox.aws.catalog import AMI_TYPES, ami_id, instance_type, release_version
from sandbox.aws.ec2.network import subnet
from sandbox.aws.ec2.templates import add_version, make_template, resolve
from sandbox.aws.eks.access import grant_nodes
from sandbox.aws.eks.core import active_cluster, cluster, new_update
from sandbox.aws.errors import AwsError
from sandbox.aws.registry import answers
from sandbox.aws.scaling import find_group
from sandbox.aws.state import Aws, Json

__all__ = ["asg_of", "max_unavailable"]

_EFFECTS = ("NO_SCHEDULE", "NO_EXECUTE", "PREFER_NO_SCHEDULE")


def _invalid(values: Json, message: str) -> AwsError:
    return AwsError(
        "InvalidParameterException",
        message,
        clusterName=values["clusterName"],
        nodegroupName=values.get("nodegroupName"),
    )


def _find(aws: Aws, values: Json) -> Json:
    cluster(aws, values["clusterName"])
    key = f"{values['clusterName']}/{values['nodegroupName']}"
    record: Json | None = aws.table("eks.nodegroups").get(key)
    if record is None:
        raise AwsError(
            "ResourceNotFoundException",
            f"No node group found for name: {values['nodegroupName']}.",
            clusterName=values["clusterName"],
            nodegroupName=values["nodegroupName"],
        )
    return record


def asg_of(aws: Aws, record: Json) -> Json | None:
    """The Auto Scaling group of a node group; None when someone deleted it."""
    name = record["resources"]["autoScalingGroups"][0]["name"]
    group: Json | None = aws.table("autoscaling.groups").get(name)
    return group


def max_unavailable(record: Json) -> int:
    """How many nodes an update may take at a time, at least 1."""
    config, size = record["updateConfig"], record["scalingConfig"]["desiredSize"]
    if "maxUnavailablePercentage" in config:
        return max(1, int(size * config["maxUnavailablePercentage"] // 100))
    return max(1, int(config.get("maxUnavailable", 1)))


def _sizes(values: Json, config: Json) -> Json:
    low, high = config.get("minSize", 1), config.get("maxSize", max(config.get("minSize", 1), 2))
    desired = config.get("desiredSize", low)
    if high < 1 or low > high:
        raise _invalid(
            values, f"Minimum capacity {low} can't be greater than maximum capacity {high}, which must be at least 1"
        )
    if not low <= desired <= high:
        side = "less than minimum" if desired < low else "greater than maximum"
        bound = low if desired < low else high
        raise _invalid(values, f"desired capacity {desired} can't be {side} size {bound}")
    return {"minSize": low, "maxSize": high, "desiredSize": desired}


def _identity(taint: Json) -> tuple[str, str]:
    """What makes two taints the same one."""
    return taint["key"], taint["effect"]


def _taints(values: Json, taints: list[Json]) -> list[Json]:
    for taint in taints:
        if taint["effect"] not in _EFFECTS:
            raise _invalid(values, f"taint effect {taint['effect']} is not one of {', '.join(_EFFECTS)}")
    return taints


def _fitting(values: Json, ami_type: str, types: list[str]) -> None:
    """The image runs on each of the types."""
    for name in types:
        machine = "arm64" if instance_type(name).arm else "x86_64"
        if ami_type != "CUSTOM" and AMI_TYPES[ami_type][1] != machine:
            raise _invalid(values, f"[{name}] is not a valid instance type for requested amiType {ami_type}")


def _template_data(aws: Aws, values: Json, record: Json, reference: Json | None) -> Json:
    """What EKS launches: the user's template and its own choices, in a template of its own."""
    owner = cluster(aws, record["clusterName"])
    data: Json = {}
    if reference is not None:
        template, version = resolve(
            aws,
            {
                "LaunchTemplateId": reference.get("id"),
                "LaunchTemplateName": reference.get("name"),
                "Version": reference.get("version"),
            },
        )
        data = dict(version["LaunchTemplateData"])
        record["launchTemplate"] = {
            "id": template["LaunchTemplateId"], "name": template["LaunchTemplateName"],
            "version": str(version["VersionNumber"]),
        }  # fmt: skip
        for key in ("IamInstanceProfile", "InstanceMarketOptions"):
            if key in data:
                raise _invalid(
                    values, f"Launch template {template['LaunchTemplateName']} should not specify {key}: EKS does."
                )
        if any("SubnetId" in interface for interface in data.get("NetworkInterfaces", [])):
            raise _invalid(values, "Launch template should not specify a subnet: give the node group subnets instead.")
        if "InstanceType" in data and values.get("instanceTypes"):
            raise _invalid(values, "Instance types can be given in the launch template or in the request, not in both.")
        if "diskSize" in values:
            raise _invalid(values, "Disk size must be specified within the launch template.")
    if "ImageId" in data:
        if values.get("amiType", "CUSTOM") != "CUSTOM" or values.get("releaseVersion") or values.get("version"):
            raise _invalid(
                values,
                "Image type, version and release version cannot go with a launch template that has an image id.",
            )
        record["amiType"] = "CUSTOM"
        record.pop("releaseVersion", None)
    else:
        data["ImageId"] = ami_id(record["version"], record["amiType"])
    types = (
        [data["InstanceType"]]
        if "InstanceType" in data
        else values.get("instanceTypes") or record.get("instanceTypes") or ["t3.medium"]
    )
    _fitting(values, record["amiType"], types)
    if "InstanceType" not in data:
        record["instanceTypes"] = types
    data["InstanceType"] = types[0]
    if record["capacityType"] == "SPOT":
        data["InstanceMarketOptions"] = {"MarketType": "spot"}
    groups = owner["resourcesVpcConfig"]["clusterSecurityGroupId"]
    if not data.get("SecurityGroupIds") and not any(i.get("Groups") for i in data.get("NetworkInterfaces", [])):
        data["SecurityGroupIds"] = [groups]
    data.setdefault("MetadataOptions", {"HttpTokens": "required", "HttpPutResponseHopLimit": 2})
    role = record["nodeRole"].rsplit("/", 1)[1]
    data["IamInstanceProfile"] = {"Arn": aws.arn("iam", f"instance-profile/eks-{role}", regional=False)}
    tags = {
        "eks:cluster-name": record["clusterName"], "eks:nodegroup-name": record["nodegroupName"],
        f"kubernetes.io/cluster/{record['clusterName']}": "owned",
        "Name": record["nodegroupName"],
    }  # fmt: skip
    own = [s for s in data.get("TagSpecifications", []) if s.get("ResourceType") != "instance"]
    user = {
        t["Key"]: t["Value"]
        for s in data.get("TagSpecifications", [])
        if s.get("ResourceType") == "instance"
        for t in s["Tags"]
    }
    merged = [{"Key": key, "Value": value} for key, value in {**tags, **user}.items()]
    data["TagSpecifications"] = [*own, {"ResourceType": "instance", "Tags": merged}]
    return data


@answers("eks", "CreateNodegroup")
def create_nodegroup(aws: Aws, values: Json) -> Json:
    owner, name = active_cluster(aws, values["clusterName"]), values["nodegroupName"]
    key, groups = f"{owner['name']}/{name}", aws.table("eks.nodegroups")
    if key in groups:
        raise AwsError(
            "ResourceInUseException",
            f"NodeGroup already exists with name {name} and cluster name {owner['name']}",
            clusterName=owner["name"],
            nodegroupName=name,
        )
    version = values.get("version", owner["version"])
    if version != owner["version"]:
        raise _invalid(
            values, f"Requested Nodegroup Kubernetes version {version} does not match the cluster's {owner['version']}"
        )
    ami_type = values.get("amiType", "AL2023_x86_64_STANDARD")
    if ami_type not in AMI_TYPES:
        raise _invalid(values, f"the sandbox does not know the AMI type {ami_type}: one of {', '.join(AMI_TYPES)}")
    for place in values["subnets"]:
        subnet(aws, place)
    sizes = _sizes(values, values.get("scalingConfig", {}))
    record: Json = {
        "nodegroupName": name, "clusterName": owner["name"], "version": version, "status": "CREATING",
        "nodegroupArn": aws.arn("eks", f"nodegroup/{owner['name']}/{name}/{uuid.uuid4()}"),
        "releaseVersion": values.get("releaseVersion", release_version(version)), "createdAt": aws.now(),
        "modifiedAt": aws.now(), "capacityType": values.get("capacityType", "ON_DEMAND"), "scalingConfig": sizes,
        "subnets": values["subnets"], "amiType": ami_type, "nodeRole": values["nodeRole"],
        "labels": values.get("labels", {}), "taints": _taints(values, values.get("taints", [])),
        "health": {"issues": []}, "updateConfig": values.get("updateConfig", {"maxUnavailable": 1}),
        "tags": values.get("tags", {}), "deadline_at": aws.now() + aws.settings.seconds("nodegroup_create_deadline"),
    }  # fmt: skip
    if "launchTemplate" not in values:
        record["diskSize"] = values.get("diskSize", 20)
    data = _template_data(aws, values, record, values.get("launchTemplate"))
    identifier = str(uuid.uuid4())
    tags = {"eks:cluster-name": owner["name"], "eks:nodegroup-name": name}
    template = make_template(aws, f"eks-{identifier}", data, tags, creator="arn:aws:sts::aws:eks")
    group_name = f"eks-{name}-{identifier}"
    propagated = {**tags, f"kubernetes.io/cluster/{owner['name']}": "owned"}
    own = {"k8s.io/cluster-autoscaler/enabled": "true", f"k8s.io/cluster-autoscaler/{owner['name']}": "owned"}
    make_group(
        aws,
        {
            "AutoScalingGroupName": group_name, "MinSize": sizes["minSize"], "MaxSize": sizes["maxSize"],
            "DesiredCapacity": sizes["desiredSize"], "VPCZoneIdentifier": ",".join(values["subnets"]),
            "LaunchTemplate": {"LaunchTemplateId": template["LaunchTemplateId"], "Version": "1"},
            "Tags": [
                *({"Key": k, "Value": v, "PropagateAtLaunch": True} for k, v in propagated.items()),
                *({"Key": k, "Value": v, "PropagateAtLaunch": False} for k, v in own.items()),
            ],
        },
    )  # fmt: skip
    find_group(aws, group_name)["types"] = record.get("instanceTypes", [data["InstanceType"]])
    record["resources"] = {"autoScalingGroups": [{"name": group_name}]}
    record["own_template"] = template["LaunchTemplateId"]
    if owner["accessConfig"]["authenticationMode"] != "CONFIG_MAP":
        grant_nodes(aws, owner, values["nodeRole"])
    groups[key] = record
    return {"nodegroup": _shown(aws, record)}


def _shown(aws: Aws, record: Json) -> Json:
    """The record; the sizes are those of the Auto Scaling group, which others may have changed."""
    shown, group = dict(record), asg_of(aws, record)
    if group is not None and record["status"] == "ACTIVE":
        keys = (("minSize", "MinSize"), ("maxSize", "MaxSize"), ("desiredSize", "DesiredCapacity"))
        shown["scalingConfig"] = {key: group[name] for key, name in keys}
    return shown


@answers("eks", "DescribeNodegroup")
def describe_nodegroup(aws: Aws, values: Json) -> Json:
    return {"nodegroup": _shown(aws, _find(aws, values))}


@answers("eks", "ListNodegroups")
def list_nodegroups(aws: Aws, values: Json) -> Json:
    owner = cluster(aws, values["clusterName"])
    groups = aws.table("eks.nodegroups").values()
    return {"nodegroups": sorted(group["nodegroupName"] for group in groups if group["clusterName"] == owner["name"])}


def _changeable(aws: Aws, values: Json) -> Json:
    record = _find(aws, values)
    names = {"clusterName": record["clusterName"], "nodegroupName": record["nodegroupName"]}
    if record["status"] == "UPDATING":
        raise AwsError(
            "ResourceInUseException", "Nodegroup cannot be updated as it currently has an update in progress", **names
        )
    if record["status"] not in ("ACTIVE", "DEGRADED"):
        raise AwsError(
            "InvalidRequestException", f"Nodegroup cannot be updated as it is {record['status']}, not ACTIVE", **names
        )
    return record


@answers("eks", "UpdateNodegroupConfig")
def update_nodegroup_config(aws: Aws, values: Json) -> Json:
    record = _changeable(aws, values)
    params: dict[str, Any] = {}
    if "scalingConfig" in values:
        group = find_group(aws, record["resources"]["autoScalingGroups"][0]["name"])
        now = {"minSize": group["MinSize"], "maxSize": group["MaxSize"], "desiredSize": group["DesiredCapacity"]}
        sizes = _sizes(values, {**now, **values["scalingConfig"]})
        group |= {"MinSize": sizes["minSize"], "MaxSize": sizes["maxSize"], "DesiredCapacity": sizes["desiredSize"]}
        record["scalingConfig"] = sizes
        params |= {"MinSize": sizes["minSize"], "MaxSize": sizes["maxSize"], "DesiredSize": sizes["desiredSize"]}
    labels = values.get("labels", {})
    record["labels"] = {
        key: value
        for key, value in {**record["labels"], **labels.get("addOrUpdateLabels", {})}.items()
        if key not in labels.get("removeLabels", [])
    }
    if labels:
        params |= {
            key: labels[name]
            for key, name in (("LabelsToAdd", "addOrUpdateLabels"), ("LabelsToRemove", "removeLabels"))
            if labels.get(name)
        }
    taints = values.get("taints", {})
    added = _taints(values, taints.get("addOrUpdateTaints", []))
    gone = {_identity(taint) for taint in [*added, *taints.get("removeTaints", [])]}
    record["taints"] = [taint for taint in record["taints"] if _identity(taint) not in gone] + added
    if "updateConfig" in values:
        record["updateConfig"] = {k: v for k, v in values["updateConfig"].items() if k.startswith("max")}
    record |= {"modifiedAt": aws.now(), "status": "UPDATING"}
    reference = f"{record['clusterName']}/nodegroup/{record['nodegroupName']}"
    due = aws.settings.seconds("update_delay")
    return {"update": new_update(aws, "ConfigUpdate", reference, params, due=due)}


@answers("eks", "UpdateNodegroupVersion")
def update_nodegroup_version(aws: Aws, values: Json) -> Json:
    record, params = _changeable(aws, values), {}
    reference = values.get("launchTemplate")
    if reference is not None and "launchTemplate" not in record:
        raise _invalid(values, "This node group was made without a launch template: it cannot get one.")
    if reference is None and "launchTemplate" in record:
        reference = record["launchTemplate"]
    if record["amiType"] != "CUSTOM":
        record["version"] = values.get("version", cluster(aws, record["clusterName"])["version"])
        record["releaseVersion"] = values.get("releaseVersion", release_version(record["version"]))
        params = {"Version": record["version"], "ReleaseVersion": record["releaseVersion"]}
    data = _template_data(aws, values, record, reference)
    template = aws.table("ec2.templates")[record["own_template"]]
    version = add_version(aws, template, data, "arn:aws:sts::aws:eks")
    group = find_group(aws, record["resources"]["autoScalingGroups"][0]["name"])
    group["LaunchTemplate"]["Version"] = str(version["VersionNumber"])
    group["types"] = record.get("instanceTypes", [data["InstanceType"]])
    if reference is not None:
        params |= {
            "LaunchTemplateVersion": record["launchTemplate"]["version"],
            "LaunchTemplateName": record["launchTemplate"]["name"],
        }
    record |= {"modifiedAt": aws.now(), "status": "UPDATING"}
    update = new_update(
        aws,
        "VersionUpdate",
        f"{record['clusterName']}/nodegroup/{record['nodegroupName']}",
        params,
        version=str(version["VersionNumber"]),
        force=values.get("force", False),
        size=group["DesiredCapacity"],
        high=group["MaxSize"],
    )
    return {"update": update}


@answers("eks", "DeleteNodegroup")
def delete_nodegroup(aws: Aws, values: Json) -> Json:
    record = _find(aws, values)
    if record["status"] != "DELETING":
        record |= {"status": "DELETING", "drain_until": aws.now() + aws.settings.seconds("nodegroup_drain_time")}
    return {"nodegroup": _shown(aws, record)}
