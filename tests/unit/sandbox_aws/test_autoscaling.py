"""Auto Scaling groups: spread, scale-in, decrement, rebalancing, failures."""

from __future__ import annotations

from collections import Counter

import pytest
from botocore.exceptions import ClientError

from sandbox.aws.state import Json

from .conftest import Account


def _zones(account: Account) -> dict[str, int]:
    return Counter(member["AvailabilityZone"][-1] for member in account.members())


def _in(account: Account, zone: str) -> list[str]:
    return [m["InstanceId"] for m in account.members() if m["AvailabilityZone"].endswith(zone)]


def _end(account: Account, name: str, *, decrement: bool) -> Json:
    answer: Json = account.client("autoscaling").terminate_instance_in_auto_scaling_group(
        InstanceId=name, ShouldDecrementDesiredCapacity=decrement
    )
    return answer


def test_an_ended_instance_is_replaced_unless_the_desired_capacity_falls_with_it(account: Account):
    account.scaling_group()
    _end(account, account.members()[0]["InstanceId"], decrement=False)
    account.pass_time(2)
    assert len(account.members()) == 3
    _end(account, account.members()[0]["InstanceId"], decrement=True)
    account.pass_time(2)
    assert len(account.members()) == 2


def test_a_decrement_below_the_minimum_is_a_validation_error(account: Account):
    account.scaling_group(MinSize=3)
    with pytest.raises(ClientError, match=r"ValidationError.*desiredSize equals minSize"):
        _end(account, account.members()[0]["InstanceId"], decrement=True)
    assert len(account.members()) == 3


def test_after_a_decrement_rebalancing_may_end_an_instance_that_nobody_drained(account: Account):
    account.scaling_group(DesiredCapacity=6)
    bystanders = set(_in(account, "b") + _in(account, "c"))
    for name in _in(account, "a"):
        _end(account, name, decrement=True)
    account.pass_time(5)
    left = {member["InstanceId"] for member in account.members()}
    assert sorted(_zones(account).values()) == [1, 1, 2]
    assert len(left) == 4
    assert bystanders - left


def test_with_rebalancing_suspended_a_decrement_ends_that_instance_only(account: Account):
    name = account.scaling_group(DesiredCapacity=6)
    account.client("autoscaling").suspend_processes(AutoScalingGroupName=name, ScalingProcesses=["AZRebalance"])
    bystanders = set(_in(account, "b") + _in(account, "c"))
    for instance in _in(account, "a"):
        _end(account, instance, decrement=True)
    account.pass_time(5)
    assert {member["InstanceId"] for member in account.members()} == bystanders
    account.client("autoscaling").resume_processes(AutoScalingGroupName=name, ScalingProcesses=["AZRebalance"])
    account.pass_time(5)
    assert sorted(_zones(account).values()) == [1, 1, 2]


def test_rebalancing_launches_before_it_terminates(account: Account):
    account.scaling_group(DesiredCapacity=6)
    for name in _in(account, "a"):
        _end(account, name, decrement=True)
    sizes = []
    for _ in range(50):
        account.pass_time(0.1)
        sizes.append(sum(m["LifecycleState"] in ("Pending", "InService") for m in account.members()))
    assert min(sizes) == 4
    assert max(sizes) == 5


def test_scale_in_takes_the_fullest_zone_the_oldest_template_and_spares_the_protected(account: Account):
    name = account.scaling_group(DesiredCapacity=4)
    scaling = account.client("autoscaling")
    fullest = max(_zones(account), key=lambda zone: _zones(account)[zone])
    first, second = _in(account, fullest)
    scaling.set_instance_protection(AutoScalingGroupName=name, InstanceIds=[first], ProtectedFromScaleIn=True)
    scaling.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=3)
    account.pass_time(2)
    assert _in(account, fullest) == [first]
    assert second not in {member["InstanceId"] for member in account.members()}


def test_capacity_stays_between_the_bounds(account: Account):
    name, scaling = account.scaling_group(MinSize=2, MaxSize=4), account.client("autoscaling")
    for size, side in ((5, "above max"), (1, "below min")):
        with pytest.raises(ClientError, match=side):
            scaling.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=size)
    scaling.update_auto_scaling_group(AutoScalingGroupName=name, MaxSize=2)
    account.pass_time(2)
    assert len(account.members()) == 2


def test_a_zone_without_capacity_is_skipped_and_the_failure_is_an_activity(account: Account):
    account.settings["no_capacity"] = [{"instance_type": "m5.large", "zone": "eu-west-1a"}]
    name = account.scaling_group()
    assert set(_zones(account)) == {"b", "c"}
    activities = account.client("autoscaling").describe_scaling_activities(AutoScalingGroupName=name)["Activities"]
    failed = [entry for entry in activities if entry["StatusCode"] == "Failed"]
    assert "eu-west-1a" in failed[0]["StatusMessage"]
    account.settings["no_capacity"] = []
    account.pass_time(8)
    assert set(_zones(account)) == {"a", "b", "c"}


def test_calls_are_throttled_as_often_as_the_settings_say(account: Account):
    account.settings["faults"] = [{"service": "autoscaling", "code": "Throttling", "times": 2}]
    scaling = account.client("autoscaling")
    for _ in range(2):
        with pytest.raises(ClientError, match="Throttling"):
            scaling.describe_auto_scaling_groups()
    assert scaling.describe_auto_scaling_groups()["AutoScalingGroups"] == []


def test_a_group_with_instances_is_deleted_by_force_only(account: Account):
    name, scaling = account.scaling_group(), account.client("autoscaling")
    with pytest.raises(ClientError, match="ResourceInUse"):
        scaling.delete_auto_scaling_group(AutoScalingGroupName=name)
    scaling.delete_auto_scaling_group(AutoScalingGroupName=name, ForceDelete=True)
    account.pass_time(2)
    assert scaling.describe_auto_scaling_groups()["AutoScalingGroups"] == []


def test_an_unknown_instance_is_a_validation_error(account: Account):
    account.scaling_group()
    with pytest.raises(ClientError, match="ValidationError"):
        _end(account, "i-0", decrement=False)


def test_tags_are_described_updated_and_carried_to_new_instances(account: Account):
    tag = {"Key": "team", "Value": "x", "PropagateAtLaunch": True}
    name = account.scaling_group(Tags=[tag])
    found = account.client("autoscaling").describe_tags(Filters=[{"Name": "key", "Values": ["team"]}])["Tags"]
    assert [(entry["ResourceId"], entry["Value"]) for entry in found] == [(name, "x")]
    shown = account.client("ec2").describe_instances(Filters=[{"Name": "tag:team", "Values": ["x"]}])
    assert len(shown["Reservations"]) == 3
