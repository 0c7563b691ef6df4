"""Every type of the AWS stand-in, from its creation to its end, against the emulated account."""

import base64
import json

import pytest

from sandbox.plugins.aws import eks_addon
from sandbox.plugins.aws.provider import TYPES
from sandbox.plugins.operation import CheckFailed, PartialFailure, ProviderError
from sandbox.plugins.values import UNKNOWN
from tests.unit.plugins_aws.world import Driver

CLUSTER, ADDON, GROUP = "aws:eks/cluster:Cluster", "aws:eks/addon:Addon", "aws:eks/nodeGroup:NodeGroup"
ENTRY, TEMPLATE = "aws:eks/accessEntry:AccessEntry", "aws:ec2/launchTemplate:LaunchTemplate"
ASSOCIATION = "aws:eks/accessPolicyAssociation:AccessPolicyAssociation"
IDENTITY = "aws:eks/podIdentityAssociation:PodIdentityAssociation"
SECURITY_GROUP, RULE = "aws:ec2/securityGroup:SecurityGroup", "aws:ec2/securityGroupRule:SecurityGroupRule"
INGRESS, EGRESS = (f"aws:vpc/securityGroup{way}Rule:SecurityGroup{way}Rule" for way in ("Ingress", "Egress"))
ROLE, POLICY = "aws:iam/role:Role", "aws:iam/policy:Policy"
ATTACHMENT, INLINE = "aws:iam/rolePolicyAttachment:RolePolicyAttachment", "aws:iam/rolePolicy:RolePolicy"
OIDC, PROFILE = "aws:iam/openIdConnectProvider:OpenIdConnectProvider", "aws:iam/instanceProfile:InstanceProfile"
TAG = "aws:ec2/tag:Tag"

DOCUMENT = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"}]}
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
)
DISK = {"deviceName": "/dev/xvda", "ebs": {"volumeSize": 20, "encrypted": "true", "deleteOnTermination": "true"}}


@pytest.fixture
def declared(network, cluster):
    """Inputs of each type, and a change of them that is made in place (None: every change replaces)."""
    node_role, group = network["node_role"], {"vpcId": network["vpc"]}
    role_name = node_role.rpartition("/")[2]
    admin = "arn:aws:iam::111122223333:role/admin"
    data = {"userData": base64.b64encode(b"hello").decode(), "blockDeviceMappings": [DISK]}
    sizes = {"minSize": 0, "maxSize": 3, "desiredSize": 1}
    nodes = {"clusterName": cluster, "nodeRoleArn": node_role, "subnetIds": network["private_subnets"]}
    rule = {"type": "ingress", "protocol": "tcp", "fromPort": 443, "toPort": 443, "cidrBlocks": ["10.0.0.0/8"]}
    single = {"ipProtocol": "tcp", "fromPort": 80, "toPort": 81, "cidrIpv4": "10.1.0.0/16"}
    return {
        CLUSTER: (
            {
                "roleArn": network["cluster_role"],
                "vpcConfig": {"subnetIds": network["private_subnets"]},
                "enabledClusterLogTypes": ["api"],
                "tags": {"team": "a"},
            },
            {"enabledClusterLogTypes": ["audit"], "tags": {"team": "b"}},
        ),
        ADDON: (
            {"clusterName": cluster, "addonName": "kube-proxy", "tags": {"team": "a"}},
            {"configurationValues": '{"resources":{"limits":{"cpu":"1"}}}'},
        ),
        GROUP: (
            nodes | {"scalingConfig": sizes, "labels": {"cni-plugin": "aws"}, "instanceTypes": ["m5.large"]},
            {"labels": {"cni-plugin": "cilium"}, "scalingConfig": sizes | {"maxSize": 4}},
        ),
        ENTRY: (
            {"clusterName": cluster, "principalArn": admin, "kubernetesGroups": ["team"]},
            {"kubernetesGroups": ["others"]},
        ),
        ASSOCIATION: (
            {
                "clusterName": cluster,
                "principalArn": "arn:aws:iam::111122223333:role/policy",
                "policyArn": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy",
                "accessScope": {"type": "namespace", "namespaces": ["a", "b"]},
            },
            None,
        ),
        TEMPLATE: (
            data
            | {
                "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1},
                "networkInterfaces": [{"deviceIndex": 0, "securityGroups": ["sg-1"], "deleteOnTermination": "true"}],
                "tagSpecifications": [{"resourceType": "instance", "tags": {"a": "b"}}],
                "description": "first",
                "tags": {"team": "a"},
            },
            {"userData": base64.b64encode(b"bye").decode(), "tags": {"team": "a", "more": "yes"}},
        ),
        SECURITY_GROUP: (
            group | {"tags": {"Name": "x"}, "egress": [{"protocol": "-1", "fromPort": 0, "toPort": 0, "self": True}]},
            {"tags": {"Name": "y"}, "egress": []},
        ),
        RULE: (rule | {"description": "why"}, None),
        INGRESS: (single | {"tags": {"a": "b"}}, {"tags": {"a": "c"}}),
        EGRESS: ({"ipProtocol": "-1", "cidrIpv4": "0.0.0.0/0"}, {"tags": {"a": "b"}}),
        ROLE: (
            {"assumeRolePolicy": TRUST, "managedPolicyArns": ["arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy"]},
            {"managedPolicyArns": [], "description": "of nodes", "tags": {"team": "a"}},
        ),
        POLICY: ({"policy": DOCUMENT, "tags": {"team": "a"}}, {"policy": DOCUMENT | {"Id": "second"}}),
        ATTACHMENT: ({"role": role_name, "policyArn": "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"}, None),
        INLINE: ({"role": role_name, "policy": json.dumps(DOCUMENT)}, {"policy": DOCUMENT | {"Id": "second"}}),
        OIDC: (
            {
                "url": "https://oidc.example.com/id",
                "clientIdLists": ["sts.amazonaws.com"],
                "thumbprintLists": ["9e" * 20],
            },
            {"tags": {"a": "b"}},
        ),
        PROFILE: ({"role": role_name, "tags": {"team": "a"}}, {"role": network["cluster_role"].rpartition("/")[2]}),
        TAG: ({"resourceId": network["vpc"], "key": "seen", "value": "1"}, {"value": "2"}),
    }


@pytest.fixture
def prepared(engine, declared, network):
    """Inputs of a type with what they need already there; that is taken away afterwards."""
    made = []

    def prepare(token):
        inputs, change = declared[token]
        if token in (RULE, INGRESS, EGRESS):
            group = engine.create(SECURITY_GROUP, {"vpcId": network["vpc"]})
            made.append((SECURITY_GROUP, group))
            inputs = inputs | {"securityGroupId": group.id}
        if token == ASSOCIATION:
            entry = engine.create(ENTRY, {key: inputs[key] for key in ("clusterName", "principalArn")})
            made.append((ENTRY, entry))
        return inputs, change

    yield prepare
    for token, state in made:
        engine.delete(token, state)


TOKENS = [kind.schema.token for kind in TYPES if kind.schema.token not in (IDENTITY, CLUSTER)]


@pytest.mark.parametrize("token", TOKENS)
def test_a_resource_lives_from_its_creation_to_its_end(engine, prepared, token):
    inputs, change = prepared(token)
    state = engine.create(token, inputs)
    assert engine.diff(token, state, inputs).changes == {}

    refreshed = engine.read(token, state.id, state)
    assert refreshed == state

    imported = engine.read(token, _import_id(token, state))
    assert engine.diff(token, imported, imported.inputs).changes == {}
    explicit = {key: value for key, value in state.inputs.items() if key != "__defaults"}
    assert engine.diff(token, imported, explicit).changes == {}

    if change:
        wanted = inputs | change
        diff = engine.diff(token, state, wanted)
        assert diff.changes
        assert diff.replaces == []
        state = engine.update(token, state, wanted)
        assert engine.diff(token, state, wanted).changes == {}

    engine.delete(token, state)
    assert engine.read(token, state.id, state) is None
    engine.delete(token, state)


def _import_id(token, state):
    if token != RULE:
        return state.id
    return f"{state.inputs['securityGroupId']}_ingress_tcp_443_443_10.0.0.0/8"


def test_a_cluster_is_waited_for_and_keeps_what_aws_decided(engine, cluster):
    state = engine.read(CLUSTER, cluster)
    assert state.outputs["status"] == "ACTIVE"
    assert state.outputs["identities"][0]["oidcs"][0]["issuer"].startswith("https://oidc.eks.")
    assert state.outputs["vpcConfig"]["clusterSecurityGroupId"].startswith("sg-")
    fewer = state.inputs | {"vpcConfig": {"subnetIds": state.outputs["vpcConfig"]["subnetIds"]}}
    assert engine.diff(CLUSTER, state, fewer).changes == {}


def test_the_network_of_a_cluster_cannot_change_in_place(engine, cluster):
    state = engine.read(CLUSTER, cluster)
    other = state.inputs | {"roleArn": "arn:aws:iam::111122223333:role/other"}
    assert engine.diff(CLUSTER, state, other).replaces == ["roleArn"]


def test_a_second_thing_of_the_same_name_is_refused_in_the_words_of_aws(engine, cluster, network):
    inputs = {
        "name": cluster,
        "roleArn": network["cluster_role"],
        "vpcConfig": {"subnetIds": network["private_subnets"]},
    }
    with pytest.raises(ProviderError, match=r"creating EKS Cluster \(demo\): .*409.*ResourceInUseException: "):
        engine.create(CLUSTER, inputs)


def test_a_preview_of_a_new_cluster_knows_inputs_only(engine, network):
    planned = engine.preview(CLUSTER, None, {"roleArn": UNKNOWN, "vpcConfig": {"subnetIds": ["subnet-1"]}})
    assert planned["endpoint"] == UNKNOWN
    assert planned["vpcConfig"]["clusterSecurityGroupId"] == UNKNOWN
    assert planned["vpcConfig"]["subnetIds"] == ["subnet-1"]
    assert planned["tagsAll"] == {}
    assert planned["region"] == "eu-west-1"


def test_new_data_of_a_launch_template_make_the_latest_version_unknown(engine):
    inputs = {"userData": "aGVsbG8="}
    state = engine.create(TEMPLATE, inputs)
    assert state.outputs["latestVersion"] == 1
    changed = {"userData": "Ynll", "updateDefaultVersion": True}
    planned = engine.preview(TEMPLATE, state, changed)
    assert planned["latestVersion"] == planned["defaultVersion"] == UNKNOWN
    tagged = engine.preview(TEMPLATE, state, inputs | {"tags": {"a": "b"}})
    assert tagged["latestVersion"] == UNKNOWN, "the real provider says so, though only new data make a version"
    assert engine.preview(TEMPLATE, state, inputs)["latestVersion"] == 1
    state = engine.update(TEMPLATE, state, changed)
    assert (state.outputs["latestVersion"], state.outputs["defaultVersion"]) == (2, 2)
    engine.delete(TEMPLATE, state)


def test_a_node_group_follows_its_launch_template_in_place(engine, declared):
    template = engine.create(TEMPLATE, {"userData": "aGVsbG8=", "instanceType": "m5.large"})
    inputs = {key: value for key, value in declared[GROUP][0].items() if key != "instanceTypes"}
    inputs["launchTemplate"] = {"id": template.id, "version": "1"}
    state = engine.create(GROUP, inputs)
    unknown = inputs | {"launchTemplate": {"id": template.id, "version": UNKNOWN}}
    assert engine.diff(GROUP, state, unknown).changes == {"launchTemplate.version": "UPDATE"}
    assert engine.diff(GROUP, state, unknown).replaces == []
    engine.update(TEMPLATE, template, {"userData": "Ynll", "instanceType": "m5.large"})
    second = inputs | {"launchTemplate": {"id": template.id, "version": 2}}
    state = engine.update(GROUP, state, second)
    assert state.outputs["launchTemplate"]["version"] == "2"
    other = inputs | {"launchTemplate": {"id": "lt-0123456789abcdef0", "version": "2"}}
    assert engine.diff(GROUP, state, other).replaces == ["launchTemplate.id"]
    engine.delete(GROUP, state)
    engine.delete(TEMPLATE, template)


def test_nodes_that_never_join_leave_the_group_in_the_state_with_the_reason(engine, world, declared):
    world.joining = False
    try:
        with pytest.raises(PartialFailure, match="NodeCreationFailure: Instances failed to join") as failure:
            engine.create(GROUP, declared[GROUP][0])
    finally:
        world.joining = True
    assert failure.value.outputs["status"] == "CREATE_FAILED"
    group = engine.read(GROUP, failure.value.id)
    engine.delete(GROUP, group)


def test_an_addon_that_stays_degraded_fails_with_its_health(engine, world, cluster, monkeypatch):
    monkeypatch.setattr(eks_addon, "DEGRADED_GRACE", 0.3)
    world.degraded.add(f"{cluster}/coredns")
    try:
        with pytest.raises(PartialFailure, match="InsufficientNumberOfReplicas: no node") as failure:
            engine.create(ADDON, {"clusterName": cluster, "addonName": "coredns"})
    finally:
        world.degraded.clear()
    engine.delete(ADDON, engine.read(ADDON, failure.value.id))


def test_an_addon_keeps_what_its_program_leaves_unset(engine, cluster):
    inputs = {"clusterName": cluster, "addonName": "vpc-cni", "preserve": True}
    state = engine.create(ADDON, inputs | {"configurationValues": '{"env":{"WARM_IP_TARGET":"2"}}'})
    assert state.outputs["preserve"] is True
    assert engine.diff(ADDON, state, inputs).changes == {}
    wrong = inputs | {"configurationValues": '{"nonsense":1}'}
    with pytest.raises(PartialFailure, match=r"updating EKS Add-On \(demo:vpc-cni\): .*InvalidParameterException"):
        engine.update(ADDON, state, wrong)
    engine.delete(ADDON, state)


def test_an_import_does_not_know_what_aws_does_not_keep(engine, cluster):
    inputs = {"clusterName": cluster, "addonName": "vpc-cni", "preserve": True}
    state = engine.create(ADDON, inputs)
    imported = engine.read(ADDON, state.id)
    assert engine.diff(ADDON, imported, inputs).changes == {"preserve": "ADD"}
    engine.delete(ADDON, state)


def test_default_tags_are_in_tags_all_and_not_in_tags(network):
    engine = Driver({"defaultTags": json.dumps({"tags": {"owner": "us"}})})
    state = engine.create(SECURITY_GROUP, {"vpcId": network["vpc"], "tags": {"Name": "x"}})
    assert state.outputs["tags"] == {"Name": "x"}
    assert state.outputs["tagsAll"] == {"owner": "us", "Name": "x"}
    other = Driver({"defaultTags": json.dumps({"tags": {"owner": "them"}})})
    assert other.diff(SECURITY_GROUP, state, {"vpcId": network["vpc"], "tags": {"Name": "x"}}).changes == {
        "tagsAll": "UPDATE"
    }
    engine.delete(SECURITY_GROUP, state)


def test_a_security_group_in_use_is_waited_for_and_then_named(engine, network):
    group = engine.create(SECURITY_GROUP, {"vpcId": network["vpc"]})
    other = engine.create(SECURITY_GROUP, {"vpcId": network["vpc"]})
    rule = {"type": "ingress", "protocol": "tcp", "fromPort": 1, "toPort": 2, "sourceSecurityGroupId": group.id}
    rule = engine.create(RULE, rule | {"securityGroupId": other.id})
    with pytest.raises(ProviderError, match=r"deleting Security Group.*timed out.*DependencyViolation|timed out"):
        engine.provider.resource(SECURITY_GROUP).delete(engine.operation(timeout=0.3), group)
    engine.delete(RULE, rule)
    engine.delete(SECURITY_GROUP, group)
    engine.delete(SECURITY_GROUP, other)


def test_a_role_with_foreign_policies_is_only_deleted_when_told_to(engine):
    role = engine.create(ROLE, {"assumeRolePolicy": TRUST})
    policy = "arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy"
    attachment = engine.create(ATTACHMENT, {"role": role.id, "policyArn": policy})
    with pytest.raises(ProviderError, match="DeleteConflict"):
        engine.delete(ROLE, role)
    engine.delete(ATTACHMENT, attachment)
    engine.delete(ROLE, role)


def test_a_duplicate_rule_is_refused_as_upstream_does(engine, network):
    group = engine.create(SECURITY_GROUP, {"vpcId": network["vpc"]})
    rule = {"type": "egress", "protocol": "-1", "fromPort": 0, "toPort": 0, "self": True, "securityGroupId": group.id}
    first = engine.create(RULE, rule)
    with pytest.raises(ProviderError, match="A duplicate Security Group rule was found"):
        engine.create(RULE, rule)
    engine.delete(RULE, first)
    engine.delete(SECURITY_GROUP, group)


def test_wrong_inputs_are_refused_before_anything_is_asked(engine):
    with pytest.raises(CheckFailed) as failure:
        engine.check(ADDON, {"addonName": "x", "addonNmae": "y"})
    assert set(failure.value.reasons) == {"addonNmae", "clusterName"}


def test_functions_answer_from_the_account(engine, network, cluster):
    def invoke(what, **args):  # noqa: ANN003
        module, function = what.split(".")
        return engine.provider.invoke(engine.operation(), f"aws:{module}/{function}:{function}", args)

    assert invoke("index.getCallerIdentity")["accountId"] == "111122223333"
    assert invoke("index.getRegion")["region"] == "eu-west-1"
    assert len(invoke("index.getAvailabilityZones")["names"]) == 3
    vpc = invoke("ec2.getVpc", id=network["vpc"])
    assert vpc["cidrBlock"] == "10.0.0.0/16"
    assert vpc["enableDnsHostnames"] is True
    assert vpc["cidrBlockAssociations"][0]["cidrBlock"] == "10.0.0.0/16"
    found = invoke("ec2.getSubnets", filters=[{"name": "vpc-id", "values": [network["vpc"]]}])["ids"]
    assert set(found) == {*network["private_subnets"], *network["public_subnets"]}
    assert invoke("ec2.getSubnet", id=found[0])["vpcId"] == network["vpc"]
    with pytest.raises(ProviderError, match="no matching EC2 Subnet found"):
        invoke("ec2.getSubnet", vpcId="vpc-none")
    newest = invoke("eks.getAddonVersion", addonName="vpc-cni", kubernetesVersion="1.35", mostRecent=True)["version"]
    assert newest.startswith("v1.")
    assert invoke("eks.getCluster", name=cluster)["vpcConfig"]["vpcId"] == network["vpc"]
    assert invoke("eks.getClusterAuth", name=cluster)["token"].startswith("k8s-aws-v1.")
    statement = {"actions": ["a:B"], "resources": ["*"], "principals": [{"type": "Service", "identifiers": ["x"]}]}
    document = json.loads(invoke("iam.getPolicyDocument", statements=[statement])["json"])
    assert document["Statement"] == [
        {"Effect": "Allow", "Action": "a:B", "Resource": "*", "Principal": {"Service": "x"}}
    ]
    with pytest.raises(ProviderError, match="has no function"):
        invoke("s3.getBucket", bucket="x")
