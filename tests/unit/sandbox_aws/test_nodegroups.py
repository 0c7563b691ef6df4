"""Managed node groups: creation, configuration, rolling replacement, deletion."""

from __future__ import annotations

import base64
from collections import Counter
from typing import Any

import pytest
from botocore.exceptions import ClientError

from .conftest import Account


@pytest.fixture(autouse=True)
def _cluster(account: Account) -> None:
    account.cluster()


def test_a_node_group_is_active_only_when_all_its_nodes_are_ready(account: Account):
    assert account.nodegroup(ready=False)["status"] == "CREATING"
    account.pass_time(20)
    assert account.describe()["status"] == "CREATING"
    account.ready()
    assert account.describe()["status"] == "ACTIVE"


def test_a_node_group_whose_nodes_never_get_ready_fails_and_says_which(account: Account):
    account.settings["nodegroup_create_deadline"] = 2
    account.nodegroup(size=1, ready=False)
    account.pass_time(3)
    group = account.describe()
    assert group["status"] == "CREATE_FAILED"
    (issue,) = group["health"]["issues"]
    assert issue["code"] == "NodeCreationFailure"
    assert issue["resourceIds"] == list(account.aws.table("ec2.instances"))


def test_instances_are_spread_evenly_over_the_zones_of_the_subnets(account: Account):
    name = account.nodegroup(size=7)["resources"]["autoScalingGroups"][0]["name"]
    zones = Counter(member["AvailabilityZone"] for member in account.members(name))
    assert sorted(zones.values()) == [2, 2, 3]


def test_a_launch_without_capacity_is_named_in_the_health_of_the_group(account: Account):
    account.settings |= {"no_capacity": [{"instance_type": "m5.large"}], "nodegroup_create_deadline": 2}
    account.nodegroup(ready=False)
    account.pass_time(3)
    (issue,) = account.describe()["health"]["issues"]
    assert issue["code"] == "AsgInstanceLaunchFailures"
    assert "InsufficientInstanceCapacity" in issue["message"]


def test_sizes_must_fit_each_other(account: Account):
    eks = account.client("eks")
    with pytest.raises(eks.exceptions.InvalidParameterException, match="desired capacity 10 can't be greater"):
        account.nodegroup(size=10)
    account.nodegroup()
    with pytest.raises(eks.exceptions.InvalidParameterException, match="Minimum capacity 5"):
        eks.update_nodegroup_config(
            clusterName="demo", nodegroupName="ng", scalingConfig={"minSize": 5, "maxSize": 4, "desiredSize": 4}
        )


def test_changed_labels_and_taints_replace_no_instance(account: Account):
    account.nodegroup(labels={"a": "1", "b": "2"})
    before, eks = set(account.aws.table("ec2.instances")), account.client("eks")
    update = eks.update_nodegroup_config(
        clusterName="demo",
        nodegroupName="ng",
        labels={"addOrUpdateLabels": {"c": "3"}, "removeLabels": ["a"]},
        taints={"addOrUpdateTaints": [{"key": "k", "value": "v", "effect": "NO_SCHEDULE"}]},
    )["update"]
    assert account.describe()["status"] == "UPDATING"
    account.pass_time(5)
    reference = {"name": "demo", "nodegroupName": "ng", "updateId": update["id"]}
    assert eks.describe_update(**reference)["update"]["status"] == "Successful"
    group = account.describe()
    assert group["labels"] == {"b": "2", "c": "3"}
    assert group["taints"] == [{"key": "k", "value": "v", "effect": "NO_SCHEDULE"}]
    assert set(account.aws.table("ec2.instances")) == before


def test_one_update_at_a_time(account: Account):
    account.nodegroup()
    eks = account.client("eks")
    eks.update_nodegroup_config(clusterName="demo", nodegroupName="ng", labels={"addOrUpdateLabels": {"a": "1"}})
    with pytest.raises(eks.exceptions.ResourceInUseException):
        eks.update_nodegroup_config(clusterName="demo", nodegroupName="ng", labels={"removeLabels": ["a"]})


def test_sizes_that_others_changed_in_the_scaling_group_are_shown(account: Account):
    name = account.nodegroup()["resources"]["autoScalingGroups"][0]["name"]
    account.client("autoscaling").set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=4)
    assert account.describe()["scalingConfig"]["desiredSize"] == 4


def _roll(account: Account, seconds: float, *, drained: bool) -> None:
    for _ in range(round(seconds / 0.5)):
        for instance in account.aws.table("ec2.instances").values():
            if drained and "drain" in instance:
                instance["drain"]["done"] = True
        account.ready()


def test_a_new_template_version_replaces_every_instance_and_never_goes_below_the_size(account: Account):
    account.nodegroup()
    old = set(account.aws.table("ec2.instances"))
    update = account.client("eks").update_nodegroup_version(clusterName="demo", nodegroupName="ng")["update"]
    lowest = 99
    for _ in range(40):
        _roll(account, 0.5, drained=True)
        live = [i for i in account.aws.table("ec2.instances").values() if i["State"]["Name"] == "running"]
        lowest = min(lowest, len(live))
    reference = {"name": "demo", "nodegroupName": "ng", "updateId": update["id"]}
    assert account.client("eks").describe_update(**reference)["update"]["status"] == "Successful"
    assert not old & {i["InstanceId"] for i in live}
    assert len(live) == 3
    assert lowest == 3


@pytest.mark.parametrize(("force", "status"), [(False, "Failed"), (True, "Successful")])
def test_pods_that_cannot_be_evicted_end_an_update_unless_it_is_forced(account: Account, force: bool, status: str):
    account.settings["nodegroup_eviction_deadline"] = 1
    account.nodegroup()
    eks = account.client("eks")
    update = eks.update_nodegroup_version(clusterName="demo", nodegroupName="ng", force=force)["update"]
    _roll(account, 20, drained=False)
    found = eks.describe_update(name="demo", nodegroupName="ng", updateId=update["id"])["update"]
    assert found["status"] == status
    assert [error["errorCode"] for error in found["errors"]] == ([] if force else ["PodEvictionFailure"])


def test_deletion_waits_for_the_drain_for_a_while_and_then_terminates_regardless(account: Account):
    account.nodegroup()
    account.client("eks").delete_nodegroup(clusterName="demo", nodegroupName="ng")
    account.pass_time(1)
    instances = account.aws.table("ec2.instances").values()
    assert all(not instance["drain"]["done"] and instance["State"]["Name"] == "running" for instance in instances)
    account.pass_time(7)
    assert account.client("eks").list_nodegroups(clusterName="demo")["nodegroups"] == []
    assert {instance["State"]["Name"] for instance in instances} == {"terminated"}
    assert account.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"] == []
    assert account.client("ec2").describe_launch_templates()["LaunchTemplates"] == []


def _template(account: Account, **data: object) -> dict[str, str]:
    made = account.client("ec2").create_launch_template(LaunchTemplateName="t", LaunchTemplateData=data)
    return {"id": made["LaunchTemplate"]["LaunchTemplateId"], "version": "1"}


def test_instances_get_the_users_template_tags_user_data_and_the_cluster_security_group(account: Account):
    data = base64.b64encode(b"#!/bin/sh").decode()
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "team", "Value": "x"}]}]
    account.nodegroup(launchTemplate=_template(account, UserData=data, TagSpecifications=tags))
    shown = account.client("ec2").describe_instances(Filters=[{"Name": "tag:team", "Values": ["x"]}])
    instances = [instance for entry in shown["Reservations"] for instance in entry["Instances"]]
    assert len(instances) == 3
    group = account.client("eks").describe_cluster(name="demo")["cluster"]["resourcesVpcConfig"]
    for instance in instances:
        assert [entry["GroupId"] for entry in instance["SecurityGroups"]] == [group["clusterSecurityGroupId"]]
        assert {"Key": "eks:nodegroup-name", "Value": "ng"} in instance["Tags"]
    assert account.aws.table("ec2.instances")[instances[0]["InstanceId"]]["user_data"] == data


@pytest.mark.parametrize(
    ("template", "request_", "message"),
    [
        ({"InstanceType": "m5.large"}, {}, "Instance types"),
        ({"ImageId": "ami-1"}, {"amiType": "AL2023_x86_64_STANDARD"}, "Image type"),
        ({"IamInstanceProfile": {"Name": "p"}}, {}, "IamInstanceProfile"),
        ({"EbsOptimized": True}, {"diskSize": 20}, "Disk size"),
    ],
)
def test_what_the_template_and_the_request_both_decide_is_refused(
    account: Account, template: dict[str, Any], request_: dict[str, Any], message: str
):
    with pytest.raises(ClientError, match=message):
        account.nodegroup(launchTemplate=_template(account, **template), **request_)


def test_a_template_with_an_image_makes_a_group_of_type_custom_without_a_release(account: Account):
    group = account.nodegroup(launchTemplate=_template(account, ImageId="ami-1"))
    assert group["amiType"] == "CUSTOM"
    assert "releaseVersion" not in group
    assert {i["ImageId"] for i in account.aws.table("ec2.instances").values()} == {"ami-1"}


def test_a_mixed_group_on_spot_launches_its_types_in_turn(account: Account):
    name = account.nodegroup(
        size=4, instanceTypes=["m7g.large", "m6g.large"], amiType="BOTTLEROCKET_ARM_64", capacityType="SPOT"
    )["resources"]["autoScalingGroups"][0]["name"]
    assert Counter(member["InstanceType"] for member in account.members(name)) == {"m7g.large": 2, "m6g.large": 2}
    launched = list(account.aws.table("ec2.instances").values())
    assert {(i["Architecture"], i.get("InstanceLifecycle")) for i in launched} == {("arm64", "spot")}


def test_an_image_of_another_architecture_is_refused(account: Account):
    eks = account.client("eks")
    with pytest.raises(eks.exceptions.InvalidParameterException, match=r"m7g.large.*AL2023_x86_64_STANDARD"):
        account.nodegroup(instanceTypes=["m7g.large"])
