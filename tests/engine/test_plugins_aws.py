"""The stand-ins of the AWS and EKS providers under the real engine, against the emulated account."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from sandbox import toolcache
from sandbox.aws import seed
from tests.engine.project import Project, environment
from tests.unit.plugins_aws.conftest import QUICK
from tests.unit.plugins_aws.world import REGION, World, running

pytestmark = pytest.mark.engine


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An account of the test's own: it has room for one cluster."""
    (tmp_path / "account").mkdir()
    (tmp_path / "account" / "world.json").write_text(json.dumps(QUICK))
    with running(tmp_path / "account") as world:
        with world.aws.change():
            seed(world.aws)
        yield world


def project_in(directory: Path, world: World, program: str) -> Project:
    """A project that uses the account; the network is in its environment."""
    network = seed(world.aws)
    given = {name.upper(): network[name] for name in ("vpc", "cluster_role", "node_role")}
    given["SUBNETS"] = ",".join(network["private_subnets"])
    tools = toolcache.ensure(print)["pulumi"].parent
    return Project(directory / "project", environment(directory, tools) | world.environment() | given, program)


NODES = """
    import os
    import pulumi, pulumi_aws as aws
    subnets = os.environ["SUBNETS"].split(",")
    cluster = aws.eks.Cluster("cluster", name="plain", role_arn=os.environ["CLUSTER_ROLE"],
        vpc_config={"subnet_ids": subnets}, version="1.35")
    group = aws.ec2.SecurityGroup("group", vpc_id=os.environ["VPC"], tags={"Name": "nodes"})
    template = aws.ec2.LaunchTemplate("template", user_data=os.environ.get("DATA", "aGVsbG8="),
        instance_type="m5.large", vpc_security_group_ids=[group.id])
    nodes = aws.eks.NodeGroup("nodes", cluster_name=cluster.name, node_role_arn=os.environ["NODE_ROLE"],
        subnet_ids=subnets, labels={"cni-plugin": "aws"}, capacity_type=os.environ.get("CAPACITY"),
        scaling_config={"min_size": 0, "max_size": 2, "desired_size": int(os.environ.get("SIZE", "0"))},
        launch_template={"id": template.id, "version": template.latest_version.apply(str)},
        opts=pulumi.ResourceOptions(ignore_changes=["scalingConfig.desiredSize"]))
    if "ADOPT" in os.environ:
        aws.eks.Addon("adopted", cluster_name="plain", addon_name="kube-proxy", addon_version=os.environ["ADOPT"],
            preserve=True, opts=pulumi.ResourceOptions(import_="plain:kube-proxy"))
    pulumi.export("version", template.latest_version)
    pulumi.export("security_group", cluster.vpc_config.cluster_security_group_id)
"""


def test_node_groups_are_made_changed_replaced_imported_and_destroyed(world: World, tmp_path: Path):
    project = project_in(tmp_path, world, NODES)
    project.up()
    assert project.outputs()["security_group"].startswith("sg-")

    assert project.steps(size=2) == {}
    assert project.steps(data="Ynll") == {"template": "update", "nodes": "update"}
    steps = project.steps(data="Ynll", capacity="SPOT")
    assert steps == {"template": "update", "nodes": "replace"}

    version = _addon("plain", "kube-proxy")
    project.up(data="Ynll", adopt=version)
    adopted = project.resources()["adopted"]
    assert adopted["id"] == "plain:kube-proxy"
    assert adopted["inputs"]["preserve"] is True, "the engine imports, then updates what AWS does not keep"
    assert project.outputs()["version"] == 2
    (group,) = world.aws.table("eks.nodegroups").values()
    assert group["launchTemplate"]["version"] == "2"

    project.pulumi("destroy", "--yes", "--skip-preview")
    assert not world.aws.table("eks.clusters")
    assert not world.aws.table("eks.addons")


def _addon(cluster_name: str, addon_name: str) -> str:
    """Makes an add-on behind the engine's back; its version."""
    eks = boto3.client("eks", region_name=REGION)
    made = eks.create_addon(clusterName=cluster_name, addonName=addon_name)["addon"]
    eks.get_waiter("addon_active").wait(
        clusterName=cluster_name, addonName=addon_name, WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )
    return str(made["addonVersion"])


COMPONENT = """
    import os
    import pulumi, pulumi_aws as aws, pulumi_eks as eks
    release = "RELEASE" in os.environ
    admin = aws.iam.Role("admin", assume_role_policy='{"Version": "2012-10-17", "Statement": []}')
    whole = aws.eks.AccessPolicyAssociationAccessScopeArgs(type="cluster")
    policy = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
    cluster = eks.Cluster("demo", name="demo", version="1.35", vpc_id=os.environ["VPC"],
        private_subnet_ids=os.environ["SUBNETS"].split(","), skip_default_node_group="SKIP" in os.environ,
        authentication_mode=eks.AuthenticationMode.API, create_oidc_provider=True, tags={"team": "a"},
        use_default_vpc_cni=release, vpc_cni_options=eks.VpcCniOptionsArgs(warm_ip_target=2),
        kube_proxy_addon_options=eks.KubeProxyAddonOptionsArgs(enabled=not release),
        access_entries={"admin": eks.AccessEntryArgs(principal_arn=admin.arn, access_policies={
            "all": eks.AccessPolicyAssociationArgs(policy_arn=policy, access_scope=whole)})})
    pulumi.export("kubeconfig", cluster.kubeconfig)
    pulumi.export("name", cluster.eks_cluster.name)
    pulumi.export("group", cluster.cluster_security_group_id)
    pulumi.export("provider", cluster.oidc_provider_arn)
    pulumi.export("issuer", cluster.oidc_issuer)
    pulumi.export("endpoint", cluster.core.endpoint)
"""


def test_the_cluster_component_makes_what_upstream_makes(world: World, tmp_path: Path):
    project = project_in(tmp_path, world, COMPONENT)
    out = project.pulumi("preview", fails=True)
    assert "set skipDefaultNodeGroup to true" in out, out

    project.up(skip=1)
    made = project.resources()
    under = {name: made[name]["parent"].rpartition("::")[2] for name in made if made[name].get("parent")}
    assert under["demo-eksRole"] == under["demo-eksCluster"] == under["demo-nodeSecurityGroup"] == "demo"
    assert under["demo-eksRole-role"] == under["demo-eksRole-4b490823"] == "demo-eksRole"
    assert under["demo-admin-all"] == "demo-admin"
    assert made["demo-kube-proxy"]["inputs"]["preserve"] is True
    outputs = project.outputs()
    user = outputs["kubeconfig"]["users"][0]["user"]["exec"]
    assert [user["command"], *user["args"][2:6]] == ["aws", "eks", "get-token", "--cluster-name", "demo"]
    assert outputs["name"] == "demo"
    assert outputs["group"].startswith("sg-")
    assert outputs["provider"].endswith(outputs["issuer"])
    assert outputs["endpoint"] == "https://127.0.0.1:1"
    (addon,) = (item for item in world.aws.table("eks.addons").values() if item["addonName"] == "vpc-cni")
    assert json.loads(addon["configurationValues"])["env"]["WARM_IP_TARGET"] == "2"

    assert project.steps(skip=1) == {}
    released = {"demo": "update", "demo-kube-proxy": "delete", "demo-vpc-cni": "delete"}
    assert project.steps(skip=1, release=1) == released, "a component shows its changed arguments as an update"
    project.pulumi("destroy", "--yes", "--skip-preview")
    assert not world.aws.table("eks.clusters")
    assert {group["GroupName"] for group in world.aws.table("ec2.groups").values()} == {"default"}


ADOPTED = """
    import json, os, sys
    sys.path.insert(0, os.environ["ROOT"])
    import pulumi, pulumi_aws as aws
    from components.imported import others, untouched
    asked = {"configurationValues": ("affinity",)} if "PIN" in os.environ else {}
    declared = {"addonName", "clusterName", *asked}
    values = {"env": {"WARM_IP_TARGET": os.environ.get("WARM", "5")}}
    if "PIN" in os.environ:
        values["affinity"] = {"nodeAffinity": {}}
    careless = "CARELESS" in os.environ
    aws.eks.Addon("vpc-cni", cluster_name="theirs", addon_name="vpc-cni", addon_version="v1.0.0",
        configuration_values=json.dumps(values),
        opts=pulumi.ResourceOptions(import_="theirs:vpc-cni",
            ignore_changes=None if careless else others(aws.eks.AddonArgs, declared),
            hooks=untouched("the add-on vpc-cni", "baseline", asked)))
"""


def test_an_imported_addon_keeps_what_its_owner_gave_it_and_only_what_a_stage_asks_for_changes(
    world: World, tmp_path: Path
):
    eks = boto3.client("eks", region_name=REGION)
    network = seed(world.aws)
    eks.create_cluster(
        name="theirs",
        version="1.35",
        roleArn=network["cluster_role"],
        resourcesVpcConfig={"subnetIds": network["private_subnets"]},
    )
    eks.get_waiter("cluster_active").wait(name="theirs", WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    eks.create_addon(
        clusterName="theirs",
        addonName="vpc-cni",
        configurationValues="env:\n  WARM_IP_TARGET: '5'\n",
        tags={"team": "network"},
        podIdentityAssociations=[{"serviceAccount": "aws-node", "roleArn": network["node_role"]}],
    )
    eks.get_waiter("addon_active").wait(
        clusterName="theirs", addonName="vpc-cni", WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )

    def record() -> dict[str, Any]:
        found = eks.describe_addon(clusterName="theirs", addonName="vpc-cni")["addon"]
        associations = eks.list_pod_identity_associations(clusterName="theirs")["associations"]
        return {"addon": found, "associations": associations}

    project = project_in(tmp_path, world, ADOPTED)
    root: dict[str, Any] = {"root": str(Path(__file__).parents[2])}
    before = record()
    for command in (("preview",), ("up", "--yes", "--skip-preview")):
        out = project.pulumi(*command, fails=True, careless=1, **root)
        said = "would change addonVersion, configurationValues, podIdentityAssociations, region, tags of the add-on vpc-cni"
        assert said in " ".join(out.split()), out
        assert record() == before
    project.up(**root)
    assert record() == before, "an import, and nothing else"
    assert project.steps(**root) == {}

    out = project.pulumi("preview", fails=True, pin=1, warm=6, **root)
    assert "would change configurationValues.env of the add-on vpc-cni" in " ".join(out.split()), out
    project.up(pin=1, **root)
    after = record()
    changed = json.loads(after["addon"]["configurationValues"])
    assert changed == {"env": {"WARM_IP_TARGET": "5"}, "affinity": {"nodeAffinity": {}}}
    same = {"addonVersion", "tags", "podIdentityAssociations"}
    assert {key: after["addon"][key] for key in same} == {key: before["addon"][key] for key in same}
    assert after["associations"] == before["associations"]
