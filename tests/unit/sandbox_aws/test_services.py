"""IAM, SSM, load balancing, and the account as a whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sandbox.aws import Aws, Settings, seed
from sandbox.aws.state import Json

from .conftest import Account


def test_a_role_with_policies_is_not_deleted(account: Account):
    iam, document = account.client("iam"), {"Version": "2012-10-17", "Statement": []}
    role = iam.create_role(
        RoleName="r", AssumeRolePolicyDocument=json.dumps(document), Tags=[{"Key": "a", "Value": "b"}]
    )
    assert role["Role"]["AssumeRolePolicyDocument"] == document
    iam.put_role_policy(RoleName="r", PolicyName="p", PolicyDocument=json.dumps(document))
    assert iam.get_role_policy(RoleName="r", PolicyName="p")["PolicyDocument"] == document
    with pytest.raises(iam.exceptions.DeleteConflictException):
        iam.delete_role(RoleName="r")
    iam.delete_role_policy(RoleName="r", PolicyName="p")
    iam.delete_role(RoleName="r")
    with pytest.raises(iam.exceptions.NoSuchEntityException, match="name r cannot be found"):
        iam.get_role(RoleName="r")


def test_a_boundary_is_a_policy_that_exists_and_is_kept_with_the_role(account: Account):
    iam, document = account.client("iam"), json.dumps({"Version": "2012-10-17", "Statement": []})
    missing = "arn:aws:iam::111122223333:policy/none"
    with pytest.raises(iam.exceptions.NoSuchEntityException, match="not attachable"):
        iam.create_role(RoleName="r", AssumeRolePolicyDocument=document, PermissionsBoundary=missing)
    bound = iam.create_policy(PolicyName="bound", PolicyDocument=document)["Policy"]["Arn"]
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=document, PermissionsBoundary=bound)
    assert iam.get_role(RoleName="r")["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == bound
    iam.delete_role_permissions_boundary(RoleName="r")
    assert "PermissionsBoundary" not in iam.get_role(RoleName="r")["Role"]
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.put_role_permissions_boundary(RoleName="r", PermissionsBoundary=missing)


def test_attaching_a_policy_that_does_not_exist_is_refused(account: Account):
    iam = account.client("iam")
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.attach_role_policy(RoleName="sandbox-node", PolicyArn="arn:aws:iam::111122223333:policy/none")
    attached = iam.list_attached_role_policies(RoleName="sandbox-node")["AttachedPolicies"]
    assert "AmazonEKSWorkerNodePolicy" in [policy["PolicyName"] for policy in attached]


def test_an_oidc_provider_exists_once_for_an_issuer(account: Account):
    iam, issuer = account.client("iam"), account.cluster()["identity"]["oidc"]["issuer"]
    arn = iam.create_open_id_connect_provider(Url=issuer, ClientIDList=["sts.amazonaws.com"], ThumbprintList=[])[
        "OpenIDConnectProviderArn"
    ]
    assert iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)["ClientIDList"] == ["sts.amazonaws.com"]
    iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="other")
    iam.remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="sts.amazonaws.com")
    assert iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)["ClientIDList"] == ["other"]
    with pytest.raises(iam.exceptions.EntityAlreadyExistsException):
        iam.create_open_id_connect_provider(Url=issuer)


def test_the_recommended_image_release_is_a_parameter(account: Account):
    ssm, path = (
        account.client("ssm"),
        "/aws/service/eks/optimized-ami/1.35/amazon-linux-2023/x86_64/standard/recommended",
    )
    release = ssm.get_parameter(Name=f"{path}/release_version")["Parameter"]["Value"]
    assert release.startswith("1.35.")
    image = json.loads(ssm.get_parameter(Name=path)["Parameter"]["Value"])["image_id"]
    assert account.client("ec2").describe_images(ImageIds=[image])["Images"][0]["Architecture"] == "x86_64"
    with pytest.raises(ssm.exceptions.ParameterNotFound):
        ssm.get_parameter(Name="/aws/service/eks/optimized-ami/1.02/x")


def _target_group(account: Account, delay: str) -> str:
    elb = account.client("elbv2")
    arn: str = elb.create_target_group(Name="web", Protocol="TCP", Port=30080, VpcId=account.seed["vpc"])[
        "TargetGroups"
    ][0]["TargetGroupArn"]
    attribute = {"Key": "deregistration_delay.timeout_seconds", "Value": delay}
    elb.modify_target_group_attributes(TargetGroupArn=arn, Attributes=[attribute])
    return arn


def _health(account: Account, arn: str, **more: object) -> list[str]:
    found = account.client("elbv2").describe_target_health(TargetGroupArn=arn, **more)
    return [entry["TargetHealth"]["State"] for entry in found["TargetHealthDescriptions"]]


def test_a_target_is_initial_then_healthy_then_draining_for_the_delay_and_then_gone(account: Account):
    account.scaling_group(DesiredCapacity=1)
    (member,) = account.members()
    arn, target = _target_group(account, "2"), [{"Id": member["InstanceId"]}]
    account.client("elbv2").register_targets(TargetGroupArn=arn, Targets=target)
    assert _health(account, arn) == ["initial"]
    account.pass_time(1)
    assert _health(account, arn) == ["healthy"]
    account.client("elbv2").deregister_targets(TargetGroupArn=arn, Targets=target)
    account.pass_time(1)
    assert _health(account, arn) == ["draining"]
    account.pass_time(2)
    assert _health(account, arn) == []
    assert _health(account, arn, Targets=target) == ["unused"]


def test_members_of_a_scaling_group_are_targets_of_its_target_groups(account: Account):
    arn = _target_group(account, "1")
    name = account.scaling_group(TargetGroupARNs=[arn])
    account.pass_time(1)
    assert _health(account, arn) == ["healthy"] * 3
    account.client("autoscaling").set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=2)
    account.pass_time(0.3)
    assert sorted(_health(account, arn)) == ["draining", "healthy", "healthy"]


def test_an_instance_that_is_gone_is_no_target(account: Account):
    arn, elb = _target_group(account, "1"), account.client("elbv2")
    with pytest.raises(elb.exceptions.InvalidTargetException):
        elb.register_targets(TargetGroupArn=arn, Targets=[{"Id": "i-0"}])


def test_an_account_is_the_same_after_it_was_saved_and_loaded(tmp_path: Path):
    path = tmp_path / "aws.json"
    first = Aws(path, "eu-west-1", Settings(None))
    with first.change():
        made = seed(first)
    first.flush()
    second = Aws(path, "eu-west-1", Settings(None))
    assert second.snapshot() == first.snapshot()
    assert seed(second) == made
    assert second.new_id("eni") == first.new_id("eni")


def test_settings_are_read_again_when_the_file_changes_and_survive_a_half_written_one(tmp_path: Path):
    path = tmp_path / "world.json"
    settings = Settings(path)
    assert settings.seconds("launch_delay") == 1.0
    path.write_text('{"launch_delay": 9, "probes": {"fail": ["a"]}}')
    assert settings.seconds("launch_delay") == 9.0
    assert settings.get("probes") == {"fail": ["a"]}
    path.write_text('{"launch_delay": ')
    assert settings.seconds("launch_delay") == 9.0


def test_ids_do_not_repeat(account: Account):
    made: set[Json | str] = {account.aws.new_id("i") for _ in range(1000)}
    assert len(made) == 1000
