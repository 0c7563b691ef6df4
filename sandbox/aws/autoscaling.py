"""Auto Scaling groups: the calls. What groups do by themselves is in `scaling`."""

from __future__ import annotations

from typing import Any

from sandbox.aws.ec2.instances import terminate
from sandbox.aws.ec2.network import subnet
from sandbox.aws.ec2.templates import resolve
from sandbox.aws.errors import AwsError
from sandbox.aws.registry import answers
from sandbox.aws.scaling import LIVE, activity, find_group, members
from sandbox.aws.state import Aws, Json

__all__ = ["make_group", "remove_group"]

_SERVICE_ROLE = "role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
_PROCESSES = (
    "Launch", "Terminate", "AddToLoadBalancer", "AlarmNotification", "AZRebalance", "HealthCheck",
    "InstanceRefresh", "ReplaceUnhealthy", "ScheduledActions",
)  # fmt: skip


def _sizes(group: Json, values: Json) -> None:
    sizes: Json = {key: values.get(key, group.get(key)) for key in ("MinSize", "MaxSize", "DesiredCapacity")}
    if sizes["DesiredCapacity"] is None:
        sizes["DesiredCapacity"] = sizes["MinSize"]
    if sizes["MinSize"] > sizes["MaxSize"]:
        raise AwsError(
            "ValidationError",
            f"Max bound, {sizes['MaxSize']}, must be greater than or equal to min bound, {sizes['MinSize']}",
        )
    if "DesiredCapacity" not in values and group:  # a changed bound moves the desired capacity along
        sizes["DesiredCapacity"] = min(max(sizes["DesiredCapacity"], sizes["MinSize"]), sizes["MaxSize"])
    _check_desired({**group, **sizes}, sizes["DesiredCapacity"])
    group.update(sizes)


def _check_desired(group: Json, desired: int) -> None:
    if desired > group["MaxSize"]:
        raise AwsError(
            "ValidationError",
            f"New SetDesiredCapacity value {desired} is above max value {group['MaxSize']} for the AutoScalingGroup.",
        )
    if desired < group["MinSize"]:
        raise AwsError(
            "ValidationError",
            f"New SetDesiredCapacity value {desired} is below min value {group['MinSize']} for the AutoScalingGroup.",
        )


def _template(aws: Aws, values: Json) -> Json | None:
    reference = values.get("LaunchTemplate")
    mixed = values.get("MixedInstancesPolicy")
    if mixed and not reference:
        reference = mixed["LaunchTemplate"]["LaunchTemplateSpecification"]
    if not reference:
        return None
    template, _ = resolve(aws, reference)
    return {
        "LaunchTemplateId": template["LaunchTemplateId"],
        "LaunchTemplateName": template["LaunchTemplateName"],
        "Version": str(reference.get("Version") or "$Default"),
    }


def make_group(aws: Aws, values: Json) -> Json:
    """A group from the input of CreateAutoScalingGroup."""
    name, groups = values["AutoScalingGroupName"], aws.table("autoscaling.groups")
    if name in groups:
        raise AwsError(
            "AlreadyExists",
            f"AutoScalingGroup by this name already exists - A group with the name {name} already exists",
        )
    places = [part.strip() for part in values.get("VPCZoneIdentifier", "").split(",") if part.strip()]
    template = _template(aws, values)
    if template is None or not places:
        raise AwsError("ValidationError", "Valid requests must contain LaunchTemplate and VPCZoneIdentifier")
    group: Json = {}
    _sizes(group, values)
    zones = sorted({subnet(aws, place)["AvailabilityZone"] for place in places})
    group |= {
        "AutoScalingGroupName": name, "CreatedTime": aws.now(), "LaunchTemplate": template,
        "AutoScalingGroupARN": aws.arn("autoscaling", f"autoScalingGroup:0:autoScalingGroupName/{name}"),
        "VPCZoneIdentifier": ",".join(places), "AvailabilityZones": zones, "DefaultCooldown": 300,
        "HealthCheckType": values.get("HealthCheckType", "EC2"), "HealthCheckGracePeriod": 15,
        "TargetGroupARNs": values.get("TargetGroupARNs", []), "LoadBalancerNames": [],
        "NewInstancesProtectedFromScaleIn": values.get("NewInstancesProtectedFromScaleIn", False),
        "CapacityRebalance": values.get("CapacityRebalance", False), "members": {}, "suspended": {},
        "TerminationPolicies": values.get("TerminationPolicies", ["Default"]), "tags": {},
        "ServiceLinkedRoleARN": aws.arn("iam", _SERVICE_ROLE, regional=False),
    }  # fmt: skip
    groups[name] = group
    _tag(group, values.get("Tags", []))
    aws.touch()
    return group


def remove_group(aws: Aws, name: str) -> None:
    """Terminate what is left in the group; the group goes when the last instance has."""
    group = find_group(aws, name)
    group |= {"MinSize": 0, "MaxSize": 0, "DesiredCapacity": 0, "Status": "Delete in progress"}
    for identifier in list(group["members"]):
        if group["members"][identifier]["LifecycleState"] in LIVE:
            group["members"][identifier]["LifecycleState"] = "Terminating"
            terminate(aws, identifier)
    aws.touch()


def _tag(group: Json, tags: list[Json]) -> None:
    for tag in tags:
        value = {"value": tag.get("Value", ""), "propagate": tag.get("PropagateAtLaunch", False)}
        group["tags"][tag["Key"]] = value


def _tags(group: Json) -> list[Json]:
    return [
        {
            "ResourceId": group["AutoScalingGroupName"], "ResourceType": "auto-scaling-group", "Key": key,
            "Value": tag["value"], "PropagateAtLaunch": tag["propagate"],
        }
        for key, tag in sorted(group["tags"].items())
    ]  # fmt: skip


def _shown(group: Json) -> Json:
    instances = [{**member, "InstanceId": name, "HealthStatus": "Healthy"} for name, member in group["members"].items()]
    suspended = [
        {"ProcessName": name, "SuspensionReason": reason} for name, reason in sorted(group["suspended"].items())
    ]
    return {**group, "Instances": instances, "Tags": _tags(group), "SuspendedProcesses": suspended}


@answers("autoscaling", "CreateAutoScalingGroup")
def create_auto_scaling_group(aws: Aws, values: Json) -> Json:
    make_group(aws, values)
    return {}


@answers("autoscaling", "DescribeAutoScalingGroups")
def describe_auto_scaling_groups(aws: Aws, values: Json) -> Json:
    groups = aws.table("autoscaling.groups")
    names = values.get("AutoScalingGroupNames") or list(groups)
    found = [groups[name] for name in names if name in groups]
    for entry in values.get("Filters", []):
        key = entry["Name"].removeprefix("tag:")
        if entry["Name"] == "tag-key":
            found = [group for group in found if set(entry["Values"]) & set(group["tags"])]
        else:
            found = [group for group in found if group["tags"].get(key, {}).get("value") in entry["Values"]]
    return {"AutoScalingGroups": [_shown(group) for group in found]}


@answers("autoscaling", "DescribeAutoScalingInstances")
def describe_auto_scaling_instances(aws: Aws, values: Json) -> Json:
    wanted = values.get("InstanceIds")
    return {
        "AutoScalingInstances": [
            {
                **member,
                "InstanceId": name,
                "AutoScalingGroupName": group["AutoScalingGroupName"],
                "HealthStatus": "HEALTHY",
            }
            for group in aws.table("autoscaling.groups").values()
            for name, member in group["members"].items()
            if wanted is None or name in wanted
        ]
    }


@answers("autoscaling", "DescribeTags")
def describe_tags(aws: Aws, values: Json) -> Json:
    tags = [tag for group in aws.table("autoscaling.groups").values() for tag in _tags(group)]
    keys: dict[str, str] = {"auto-scaling-group": "ResourceId", "key": "Key", "value": "Value"}
    for entry in values.get("Filters", []):
        tags = [tag for tag in tags if tag[keys[entry["Name"]]] in entry["Values"]]
    return {"Tags": tags}


@answers("autoscaling", "CreateOrUpdateTags")
def create_or_update_tags(aws: Aws, values: Json) -> Json:
    for tag in values["Tags"]:
        _tag(find_group(aws, tag["ResourceId"]), [tag])
    return {}


@answers("autoscaling", "DeleteTags")
def delete_tags(aws: Aws, values: Json) -> Json:
    for tag in values["Tags"]:
        find_group(aws, tag["ResourceId"])["tags"].pop(tag["Key"], None)
    return {}


@answers("autoscaling", "UpdateAutoScalingGroup")
def update_auto_scaling_group(aws: Aws, values: Json) -> Json:
    group = find_group(aws, values["AutoScalingGroupName"])
    _sizes(group, values)
    template = _template(aws, values)
    if template is not None:
        group["LaunchTemplate"] = template
    if "VPCZoneIdentifier" in values:
        places = [part.strip() for part in values["VPCZoneIdentifier"].split(",")]
        group["AvailabilityZones"] = sorted({subnet(aws, place)["AvailabilityZone"] for place in places})
    for key in ("VPCZoneIdentifier", "NewInstancesProtectedFromScaleIn", "TerminationPolicies", "CapacityRebalance"):
        if key in values:
            group[key] = values[key]
    return {}


@answers("autoscaling", "SetDesiredCapacity")
def set_desired_capacity(aws: Aws, values: Json) -> Json:
    group = find_group(aws, values["AutoScalingGroupName"])
    _check_desired(group, values["DesiredCapacity"])
    group["DesiredCapacity"] = values["DesiredCapacity"]
    return {}


@answers("autoscaling", "TerminateInstanceInAutoScalingGroup")
def terminate_instance(aws: Aws, values: Json) -> Json:
    name, decrement = values["InstanceId"], values["ShouldDecrementDesiredCapacity"]
    group = next((g for g in aws.table("autoscaling.groups").values() if name in g["members"]), None)
    if group is None:
        raise AwsError("ValidationError", f"Instance Id not found - No managed instance found for instance ID: {name}")
    member = group["members"][name]
    if member["LifecycleState"] in LIVE:
        if decrement:
            if group["DesiredCapacity"] - 1 < group["MinSize"]:
                raise AwsError(
                    "ValidationError",
                    f"Currently, desiredSize equals minSize ({group['MinSize']}). Terminating instance without "
                    "replacement will violate group's min size constraint. Either set shouldDecrementDesiredCapacity "
                    "flag to false or lower group's min size.",
                )
            group["DesiredCapacity"] -= 1
        member["LifecycleState"] = "Terminating"
        terminate(aws, name)
    reason = "instance was taken out of service in response to a user request"
    entry = activity(aws, group, f"Terminating EC2 instance: {name}", reason, "InProgress")
    return {"Activity": entry}


@answers("autoscaling", "SuspendProcesses")
def suspend_processes(aws: Aws, values: Json) -> Json:
    group = find_group(aws, values["AutoScalingGroupName"])
    for name in values.get("ScalingProcesses") or _PROCESSES:
        if name not in _PROCESSES:
            raise AwsError("ValidationError", f"{name} is not a valid ScalingProcess: one of {', '.join(_PROCESSES)}")
        group["suspended"][name] = f"User suspended at {int(aws.now())}"
    return {}


@answers("autoscaling", "ResumeProcesses")
def resume_processes(aws: Aws, values: Json) -> Json:
    group = find_group(aws, values["AutoScalingGroupName"])
    for name in values.get("ScalingProcesses") or _PROCESSES:
        group["suspended"].pop(name, None)
    return {}


@answers("autoscaling", "SetInstanceProtection")
def set_instance_protection(aws: Aws, values: Json) -> Json:
    group = find_group(aws, values["AutoScalingGroupName"])
    for name in values["InstanceIds"]:
        if name not in group["members"]:
            raise AwsError(
                "ValidationError",
                f"The instance {name} is not part of Auto Scaling group {group['AutoScalingGroupName']}.",
            )
        group["members"][name]["ProtectedFromScaleIn"] = values["ProtectedFromScaleIn"]
    return {}


@answers("autoscaling", "DeleteAutoScalingGroup")
def delete_auto_scaling_group(aws: Aws, values: Json) -> Json:
    group = find_group(aws, values["AutoScalingGroupName"])
    if members(group) and not values.get("ForceDelete"):
        raise AwsError(
            "ResourceInUse", "You cannot delete an AutoScalingGroup while there are instances still in the group."
        )
    remove_group(aws, values["AutoScalingGroupName"])
    return {}


@answers("autoscaling", "AttachLoadBalancerTargetGroups")
def attach_target_groups(aws: Aws, values: Json) -> Json:
    arns: list[Any] = find_group(aws, values["AutoScalingGroupName"])["TargetGroupARNs"]
    arns += [arn for arn in values["TargetGroupARNs"] if arn not in arns]
    return {}


@answers("autoscaling", "DetachLoadBalancerTargetGroups")
def detach_target_groups(aws: Aws, values: Json) -> Json:
    group = find_group(aws, values["AutoScalingGroupName"])
    group["TargetGroupARNs"] = [arn for arn in group["TargetGroupARNs"] if arn not in values["TargetGroupARNs"]]
    return {}


@answers("autoscaling", "DescribeScalingActivities")
def describe_scaling_activities(aws: Aws, values: Json) -> Json:
    groups = aws.table("autoscaling.groups")
    names = [values["AutoScalingGroupName"]] if "AutoScalingGroupName" in values else list(groups)
    found = [entry for name in names if name in groups for entry in groups[name].get("activities", [])]
    return {"Activities": list(reversed(found))}


@answers("autoscaling", "DescribeLifecycleHooks")
def describe_lifecycle_hooks(_aws: Aws, _values: Json) -> Json:
    return {"LifecycleHooks": []}


@answers("autoscaling", "DescribeInstanceRefreshes")
def describe_instance_refreshes(_aws: Aws, _values: Json) -> Json:
    return {"InstanceRefreshes": []}
