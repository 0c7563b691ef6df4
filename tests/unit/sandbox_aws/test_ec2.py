"""EC2: addresses, interfaces, security groups, templates, filters."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from sandbox.aws.ec2.interfaces import assign_addresses, attach_interface, interfaces_of, make_interface

from .conftest import Account


def test_a_subnet_loses_addresses_to_instances_and_pods_and_gets_them_back(account: Account):
    place, ec2 = account.seed["private_subnets"][0], account.client("ec2")
    assert account.free()[place] == 4091
    template = {"InstanceType": "m5.large", "SubnetId": place, "ImageId": "ami-1"}
    instance = ec2.run_instances(MinCount=1, MaxCount=1, **template)["Instances"][0]["InstanceId"]
    (interface,) = interfaces_of(account.aws, instance)
    ec2.assign_private_ip_addresses(
        NetworkInterfaceId=interface["NetworkInterfaceId"], SecondaryPrivateIpAddressCount=9
    )
    assert account.free()[place] == 4091 - 10
    ec2.terminate_instances(InstanceIds=[instance])
    account.pass_time(1)
    assert account.free()[place] == 4091


def test_an_interface_holds_no_more_addresses_than_its_instance_type_allows(account: Account):
    place = account.seed["private_subnets"][0]
    made = account.client("ec2").run_instances(
        MinCount=1, MaxCount=1, InstanceType="t3.medium", SubnetId=place, ImageId="ami-1"
    )["Instances"][0]
    interface = made["NetworkInterfaces"][0]["NetworkInterfaceId"]
    with pytest.raises(ClientError, match=r"PrivateIpAddressLimitExceeded.*limit of 6"):
        account.client("ec2").assign_private_ip_addresses(
            NetworkInterfaceId=interface, SecondaryPrivateIpAddressCount=6
        )
    assert account.free()[place] == 4090


def test_an_instance_takes_no_more_interfaces_than_its_type_allows(account: Account):
    place = account.seed["private_subnets"][0]
    name = account.client("ec2").run_instances(
        MinCount=1, MaxCount=1, InstanceType="m5.large", SubnetId=place, ImageId="ami-1"
    )["Instances"][0]["InstanceId"]
    instance = account.aws.table("ec2.instances")[name]
    made = [make_interface(account.aws, place, [])["NetworkInterfaceId"] for _ in range(3)]
    for interface in made[:2]:
        attach_interface(account.aws, interface, instance)
    with pytest.raises(ClientError, match="AttachmentLimitExceeded"):
        account.client("ec2").attach_network_interface(NetworkInterfaceId=made[2], InstanceId=name, DeviceIndex=3)


def test_a_full_subnet_refuses_the_next_address(account: Account):
    place = account.seed["public_subnets"][1]
    name = make_interface(account.aws, place, [])["NetworkInterfaceId"]
    assert len(assign_addresses(account.aws, name, account.free()[place])) == 58
    assert account.free()[place] == 0
    with pytest.raises(ClientError, match="InsufficientFreeAddressesInSubnet"):
        account.client("ec2").create_network_interface(SubnetId=place)


@pytest.mark.parametrize(("delete", "left"), [(True, 0), (False, 1)])
def test_an_interface_outlives_its_instance_unless_it_is_deleted_on_termination(
    account: Account, delete: bool, left: int
):
    place, ec2 = account.seed["private_subnets"][0], account.client("ec2")
    name = ec2.run_instances(MinCount=1, MaxCount=1, InstanceType="m5.large", SubnetId=place, ImageId="ami-1")[
        "Instances"
    ][0]["InstanceId"]
    group = ec2.create_security_group(GroupName="pods", Description="d", VpcId=account.seed["vpc"])["GroupId"]
    extra = make_interface(account.aws, place, [group])["NetworkInterfaceId"]
    attach_interface(account.aws, extra, account.aws.table("ec2.instances")[name], delete=delete)
    ec2.terminate_instances(InstanceIds=[name])
    account.pass_time(1)
    filters = [{"Name": "group-id", "Values": [group]}]
    found = ec2.describe_network_interfaces(Filters=filters)["NetworkInterfaces"]
    assert [interface["Status"] for interface in found] == ["available"] * left
    if left:
        with pytest.raises(ClientError, match="DependencyViolation"):
            ec2.delete_security_group(GroupId=group)
        ec2.delete_network_interface(NetworkInterfaceId=extra)
    ec2.delete_security_group(GroupId=group)


def test_prefixes_take_sixteen_addresses_each(account: Account):
    place, ec2 = account.seed["private_subnets"][0], account.client("ec2")
    made = ec2.create_network_interface(SubnetId=place, Ipv4PrefixCount=2)["NetworkInterface"]
    assert [entry["Ipv4Prefix"][-3:] for entry in made["Ipv4Prefixes"]] == ["/28", "/28"]
    assert account.free()[place] == 4091 - 33


def test_rules_of_a_security_group_are_added_described_and_revoked(account: Account):
    ec2 = account.client("ec2")
    group = ec2.create_security_group(GroupName="g", Description="d", VpcId=account.seed["vpc"])["GroupId"]
    rule = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    with pytest.raises(ClientError, match=r"InvalidPermission\.Duplicate"):
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    shown = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]
    assert shown["IpPermissions"][0]["IpRanges"] == [{"CidrIp": "10.0.0.0/8"}]
    assert shown["IpPermissionsEgress"][0]["IpProtocol"] == "-1"
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[rule])
    assert ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"] == []
    with pytest.raises(ClientError, match=r"InvalidPermission\.NotFound"):
        ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[rule])


def test_a_rule_is_changed_in_place(account: Account):
    ec2 = account.client("ec2")
    group = ec2.create_security_group(GroupName="g", Description="d", VpcId=account.seed["vpc"])["GroupId"]
    (rule,) = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])["SecurityGroupRules"]
    change = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "ReferencedGroupId": group}
    update = {"SecurityGroupRuleId": rule["SecurityGroupRuleId"], "SecurityGroupRule": change}
    ec2.modify_security_group_rules(GroupId=group, SecurityGroupRules=[update])
    shown = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissionsEgress"]
    assert [(e["FromPort"], e["UserIdGroupPairs"][0]["GroupId"], e["IpRanges"]) for e in shown] == [(1, group, [])]


def test_route_tables_tell_public_from_private_subnets(account: Account):
    ec2 = account.client("ec2")
    for key, target in (("private_subnets", "NatGatewayId"), ("public_subnets", "GatewayId")):
        filters = [{"Name": "association.subnet-id", "Values": [account.seed[key][0]]}]
        (table,) = ec2.describe_route_tables(Filters=filters)["RouteTables"]
        (route,) = [r for r in table["Routes"] if r["DestinationCidrBlock"] == "0.0.0.0/0"]
        assert target in route


def test_versions_of_a_launch_template_are_resolved_by_number_latest_and_default(account: Account):
    ec2 = account.client("ec2")
    name = ec2.create_launch_template(LaunchTemplateName="t", LaunchTemplateData={"ImageId": "ami-1"})[
        "LaunchTemplate"
    ]["LaunchTemplateId"]
    ec2.create_launch_template_version(
        LaunchTemplateId=name, SourceVersion="1", LaunchTemplateData={"InstanceType": "m5.large"}
    )
    shown = ec2.describe_launch_template_versions(LaunchTemplateId=name, Versions=["$Latest", "$Default"])
    latest, default = shown["LaunchTemplateVersions"]
    assert latest["LaunchTemplateData"] == {"ImageId": "ami-1", "InstanceType": "m5.large"}
    assert (latest["VersionNumber"], default["VersionNumber"]) == (2, 1)
    with pytest.raises(ClientError, match="VersionNotFound"):
        ec2.describe_launch_template_versions(LaunchTemplateId=name, Versions=["7"])


def test_filters_select_and_unknown_ones_are_refused(account: Account):
    ec2 = account.client("ec2")
    filters = [{"Name": "tag:kubernetes.io/role/elb", "Values": ["1"]}, {"Name": "availability-zone", "Values": ["*b"]}]
    (found,) = ec2.describe_subnets(Filters=filters)["Subnets"]
    assert found["SubnetId"] == account.seed["public_subnets"][1]
    with pytest.raises(ClientError, match=r"InvalidParameterValue.*colour"):
        ec2.describe_subnets(Filters=[{"Name": "colour", "Values": ["red"]}])


def test_a_vpc_with_subnets_is_not_deleted(account: Account):
    with pytest.raises(ClientError, match="DependencyViolation"):
        account.client("ec2").delete_vpc(VpcId=account.seed["vpc"])


def test_instance_types_tell_their_limits(account: Account):
    (kind,) = account.client("ec2").describe_instance_types(InstanceTypes=["m5.large"])["InstanceTypes"]
    assert kind["NetworkInfo"]["MaximumNetworkInterfaces"] == 3
    assert kind["NetworkInfo"]["Ipv4AddressesPerInterface"] == 10
    with pytest.raises(ClientError, match="InvalidInstanceType"):
        account.client("ec2").describe_instance_types(InstanceTypes=["x1.nothing"])
