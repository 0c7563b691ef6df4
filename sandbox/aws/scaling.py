"""What Auto Scaling groups do by themselves: launch, scale in, rebalance zones.

As the user guide describes: launches go to the zone with the fewest instances, scale-in takes the zone
with the most, in it the instance of the oldest launch template, then the oldest instance. Zones out of
balance are evened out by launching first and terminating then, for which the group may exceed its
desired size by one; nobody drains the instance that is terminated.
"""

from __future__ import annotations

import uuid

from sandbox.aws.ec2.core import specified_tags
from sandbox.aws.ec2.instances import launch, terminate
from sandbox.aws.ec2.network import free_addresses, subnet
from sandbox.aws.ec2.templates import resolve
from sandbox.aws.errors import AwsError
from sandbox.aws.registry import on_tick
from sandbox.aws.state import Aws, Json

__all__ = ["LIVE", "activity", "find_group", "members"]

LIVE = ("Pending", "InService")
_ACTIVITIES = 50  # kept for each group


def find_group(aws: Aws, name: str) -> Json:
    """The record of a group, else ValidationError."""
    group: Json | None = aws.table("autoscaling.groups").get(name)
    if group is None:
        raise AwsError("ValidationError", f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
    return group


def members(group: Json) -> dict[str, Json]:
    """The members that count against the desired capacity."""
    return {name: member for name, member in group["members"].items() if member["LifecycleState"] in LIVE}


def activity(aws: Aws, group: Json, description: str, cause: str, status: str = "Successful") -> Json:
    """Note a scaling activity, newest last."""
    entry = {
        "ActivityId": str(uuid.uuid4()), "AutoScalingGroupName": group["AutoScalingGroupName"],
        "Description": description, "Cause": cause, "StartTime": aws.now(), "StatusCode": status,
        "Progress": 100 if status == "Successful" else 50, "Details": "{}",
    }  # fmt: skip
    if status == "Failed":
        entry |= {"StatusMessage": cause, "EndTime": entry["StartTime"], "Progress": 100}
    group["activities"] = [*group.get("activities", []), entry][-_ACTIVITIES:]
    return entry


def _by_zone(group: Json) -> dict[str, list[str]]:
    zones: dict[str, list[str]] = {zone: [] for zone in group["AvailabilityZones"]}
    for name, member in members(group).items():
        zones.setdefault(member["AvailabilityZone"], []).append(name)
    return zones


def _launch_in(aws: Aws, group: Json, zone: str, cause: str) -> str | None:
    """Launch one instance in a zone; None, and a failed activity, when it cannot."""
    template, version = resolve(aws, group["LaunchTemplate"])
    data = version["LaunchTemplateData"]
    if group.get("types"):  # of several, the next in turn: a mixed group has some of each
        data = {**data, "InstanceType": group["types"][len(group["members"]) % len(group["types"])]}
    places = [
        place for place in group["VPCZoneIdentifier"].split(",") if subnet(aws, place)["AvailabilityZone"] == zone
    ]
    place = max(places, key=lambda name: free_addresses(aws, name))
    source = {
        "LaunchTemplateId": template["LaunchTemplateId"],
        "LaunchTemplateName": template["LaunchTemplateName"],
        "Version": str(version["VersionNumber"]),
    }
    tags = specified_tags(data, "instance")
    tags |= {key: tag["value"] for key, tag in group["tags"].items() if tag["propagate"]}
    tags["aws:autoscaling:groupName"] = group["AutoScalingGroupName"]
    try:
        record = launch(aws, place, data, tags, source)
    except AwsError as refusal:
        message = f"{refusal.message} Launching EC2 instance failed."
        activity(aws, group, "Launching a new EC2 instance", message, "Failed")
        group["failures"] = [*group.get("failures", []), {"code": refusal.code, "message": message}][-5:]
        aws.touch()
        return None
    name = str(record["InstanceId"])
    group["members"][name] = {
        "AvailabilityZone": zone, "LifecycleState": "Pending", "LaunchTemplate": source,
        "InstanceType": record["InstanceType"],
        "ProtectedFromScaleIn": group["NewInstancesProtectedFromScaleIn"],
    }  # fmt: skip
    activity(aws, group, f"Launching a new EC2 instance: {name}", cause)
    group["failures"] = []
    aws.touch()
    return name


def _launch(aws: Aws, group: Json, count: int, cause: str, now: float) -> None:
    for _ in range(count):
        zones = sorted(_by_zone(group).items(), key=lambda item: (len(item[1]), item[0]))
        allowed = [zone for zone, _ in zones if zone in group["AvailabilityZones"]]
        if not any(_launch_in(aws, group, zone, cause) for zone in allowed):
            group["retry_at"] = now + aws.settings.seconds("launch_retry_delay")
            return


def _age(aws: Aws, group: Json, name: str) -> tuple[int, int, float, str]:
    """Sort key of the default termination policy: the first to go is the smallest."""
    source, current = group["members"][name]["LaunchTemplate"], group["LaunchTemplate"]["LaunchTemplateId"]
    launched = aws.table("ec2.instances").get(name, {}).get("LaunchTime", 0.0)
    return (int(source["LaunchTemplateId"] == current), int(source["Version"]), launched, name)


def _scale_in(aws: Aws, group: Json, cause: str) -> bool:
    """Terminate one unprotected instance of the fullest zone that has one; says whether it did."""
    for _, names in sorted(_by_zone(group).items(), key=lambda item: (-len(item[1]), item[0])):
        free = [name for name in names if not group["members"][name]["ProtectedFromScaleIn"]]
        if free:
            victim = min(free, key=lambda name: _age(aws, group, name))
            group["members"][victim]["LifecycleState"] = "Terminating"
            terminate(aws, victim)
            activity(aws, group, f"Terminating EC2 instance: {victim}", cause)
            aws.touch()
            return True
    return False


def _uneven(group: Json) -> tuple[str, str] | None:
    """(emptiest, fullest) zone when they differ by more than one instance."""
    zones = {zone: names for zone, names in _by_zone(group).items() if zone in group["AvailabilityZones"]}
    if len(zones) < 2:
        return None
    order = sorted(zones, key=lambda zone: (len(zones[zone]), zone))
    if len(zones[order[-1]]) - len(zones[order[0]]) > 1:
        return order[0], order[-1]
    return None


def _rebalance(aws: Aws, group: Json, now: float) -> None:
    """Even out the zones: launch, wait until in service, and only then terminate."""
    running: Json | None = group.get("rebalance")
    if running and "launched" in running:
        state = group["members"].get(running["launched"], {}).get("LifecycleState")
        if state != "Pending":
            del group["rebalance"]  # the surplus goes by the rule of scale-in: from the fullest zone
            aws.touch()
        return
    uneven = _uneven(group) if "AZRebalance" not in group["suspended"] else None
    if uneven is None:
        group.pop("rebalance", None)
    elif running is None:
        group["rebalance"] = {"at": now + aws.settings.seconds("rebalance_delay")}
    elif now >= running["at"] and "Launch" not in group["suspended"]:
        cause = f"availability zone {uneven[0]} has fewer instances than {uneven[1]}: rebalancing"
        launched = _launch_in(aws, group, uneven[0], cause)
        group["rebalance"] = (
            {"launched": launched} if launched else {"at": now + aws.settings.seconds("rebalance_delay")}
        )


def _follow(aws: Aws, group: Json) -> None:
    """Take over what EC2 says about the members."""
    instances = aws.table("ec2.instances")
    for name, member in list(group["members"].items()):
        state = instances.get(name, {}).get("State", {}).get("Name", "terminated")
        if state == "terminated":
            del group["members"][name]
            aws.touch()
        elif state == "shutting-down" and member["LifecycleState"] in LIVE:
            member["LifecycleState"] = "Terminating"  # somebody ended it: it is replaced
            aws.touch()
        elif state == "running" and member["LifecycleState"] == "Pending":
            member["LifecycleState"] = "InService"
            aws.touch()


@on_tick
def move_groups(aws: Aws, now: float) -> None:
    """Bring every group to its desired capacity, and balance its zones."""
    groups = aws.table("autoscaling.groups")
    for name, group in list(groups.items()):
        _follow(aws, group)
        if group.get("Status"):
            if not group["members"]:
                del groups[name]
                aws.touch()
            continue
        surplus = (
            len(members(group)) - group["DesiredCapacity"] - (1 if "launched" in group.get("rebalance", {}) else 0)
        )
        if surplus < 0 and "Launch" not in group["suspended"] and now >= group.get("retry_at", 0):
            _launch(
                aws,
                group,
                -surplus,
                "an instance was started in response to a difference between desired and actual capacity",
                now,
            )
        elif surplus > 0 and "Terminate" not in group["suspended"]:
            for _ in range(surplus):
                if not _scale_in(aws, group, "an instance was taken out of service in response to a surplus"):
                    break
        elif surplus == 0:
            _rebalance(aws, group, now)
