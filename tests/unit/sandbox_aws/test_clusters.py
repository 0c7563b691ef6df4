"""EKS clusters as boto3 sees them."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from .conftest import Account


def test_a_cluster_becomes_active_after_its_delay_and_then_has_an_endpoint(account: Account):
    eks = account.client("eks")
    made = eks.create_cluster(
        name="demo", roleArn="arn", resourcesVpcConfig={"subnetIds": account.seed["private_subnets"]}
    )["cluster"]
    assert made["status"] == "CREATING"
    assert "endpoint" not in made
    account.pass_time(1)
    cluster = eks.describe_cluster(name="demo")["cluster"]
    assert cluster["status"] == "ACTIVE"
    assert cluster["endpoint"] == "https://127.0.0.1:1"
    assert cluster["certificateAuthority"] == {"data": "Q0E="}
    assert cluster["kubernetesNetworkConfig"]["serviceIpv4Cidr"] == "172.20.0.0/16"
    assert cluster["identity"]["oidc"]["issuer"].startswith("https://oidc.eks.eu-west-1.amazonaws.com/id/")
    assert cluster["resourcesVpcConfig"]["clusterSecurityGroupId"].startswith("sg-")


def test_a_second_cluster_exceeds_the_limit_and_the_same_name_is_in_use(account: Account):
    account.cluster()
    eks = account.client("eks")
    with pytest.raises(eks.exceptions.ResourceInUseException, match="demo"):
        account.cluster()
    with pytest.raises(eks.exceptions.ResourceLimitExceededException, match="taken by cluster demo"):
        account.cluster("other")


def test_a_cluster_with_node_groups_is_not_deleted(account: Account):
    account.cluster()
    account.nodegroup()
    with pytest.raises(account.client("eks").exceptions.ResourceInUseException) as refused:
        account.client("eks").delete_cluster(name="demo")
    assert refused.value.response["nodegroupName"] == "ng"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 409


def test_deleting_a_cluster_takes_away_what_eks_made_for_it(account: Account):
    before = account.free()
    group = account.cluster()["resourcesVpcConfig"]["clusterSecurityGroupId"]
    assert sum(account.free().values()) == sum(before.values()) - 2
    account.client("eks").delete_cluster(name="demo")
    account.pass_time(1)
    assert account.client("eks").list_clusters()["clusters"] == []
    assert account.free() == before
    with pytest.raises(ClientError, match=r"InvalidGroup\.NotFound"):
        account.client("ec2").describe_security_groups(GroupIds=[group])


def test_a_cluster_is_updated_one_minor_version_at_a_time(account: Account):
    account.cluster(version="1.33")
    eks = account.client("eks")
    with pytest.raises(eks.exceptions.InvalidParameterException, match=r"from 1\.33 to 1\.35"):
        eks.update_cluster_version(name="demo", version="1.35")
    update = eks.update_cluster_version(name="demo", version="1.34")["update"]
    assert eks.describe_cluster(name="demo")["cluster"]["status"] == "UPDATING"
    account.pass_time(1)
    assert eks.describe_update(name="demo", updateId=update["id"])["update"]["status"] == "Successful"
    assert eks.describe_cluster(name="demo")["cluster"]["version"] == "1.34"


def test_the_creator_of_a_cluster_has_an_access_entry_with_the_admin_policy(account: Account):
    account.cluster()
    eks, me = account.client("eks"), account.client("sts").get_caller_identity()["Arn"]
    assert eks.list_access_entries(clusterName="demo")["accessEntries"] == [me]
    policies = eks.list_associated_access_policies(clusterName="demo", principalArn=me)["associatedAccessPolicies"]
    assert [policy["policyArn"].rsplit("/", 1)[1] for policy in policies] == ["AmazonEKSClusterAdminPolicy"]
    with pytest.raises(eks.exceptions.ResourceInUseException):
        eks.create_access_entry(clusterName="demo", principalArn=me)


def test_access_entries_need_an_authentication_mode_with_api(account: Account):
    account.cluster(accessConfig={"authenticationMode": "CONFIG_MAP"})
    eks = account.client("eks")
    with pytest.raises(eks.exceptions.InvalidRequestException, match="authentication mode"):
        eks.create_access_entry(clusterName="demo", principalArn="arn:aws:iam::111122223333:role/x")


def test_tags_are_added_and_removed_by_arn(account: Account):
    arn = account.cluster(tags={"a": "1"})["arn"]
    eks = account.client("eks")
    eks.tag_resource(resourceArn=arn, tags={"b": "2"})
    eks.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert eks.list_tags_for_resource(resourceArn=arn)["tags"] == {"b": "2"}


def test_what_is_not_emulated_is_refused_by_name(account: Account):
    with pytest.raises(ClientError, match=r"does not emulate eks:RegisterCluster"):
        account.client("eks").register_cluster(name="far", connectorConfig={"roleArn": "a", "provider": "OTHER"})


def test_a_fargate_profile_is_listed_until_it_is_deleted(account: Account):
    account.cluster()
    eks, names = account.client("eks"), {"clusterName": "demo", "fargateProfileName": "jobs"}
    eks.create_fargate_profile(podExecutionRoleArn="arn", **names)
    assert eks.list_fargate_profiles(clusterName="demo")["fargateProfileNames"] == ["jobs"]
    eks.delete_fargate_profile(**names)
    assert eks.list_fargate_profiles(clusterName="demo")["fargateProfileNames"] == []


def test_a_service_account_has_one_pod_identity_association(account: Account):
    account.cluster()
    eks, role = account.client("eks"), account.seed["node_role"]
    wanted = {"clusterName": "demo", "namespace": "kube-system", "serviceAccount": "cilium-operator", "roleArn": role}
    made = eks.create_pod_identity_association(**wanted)["association"]
    with pytest.raises(eks.exceptions.ResourceInUseException, match="kube-system/cilium-operator"):
        eks.create_pod_identity_association(**wanted)
    (found,) = eks.list_pod_identity_associations(clusterName="demo", namespace="kube-system")["associations"]
    assert found["associationId"] == made["associationId"]
    eks.delete_pod_identity_association(clusterName="demo", associationId=made["associationId"])
    assert eks.list_pod_identity_associations(clusterName="demo")["associations"] == []
