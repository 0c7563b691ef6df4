"""What the survey proposes for groups that settings cannot mirror in full says so at the value."""

import base64
from typing import Any

import pytest
import yaml

from migration.settings import Settings
from operations.survey.propose import section
from tests.unit.survey.cluster import gathered, instance, node, settings

SUBNETS = ("subnet-a", "subnet-b")
ASG = {"DesiredCapacity": 3, "MinSize": 0, "MaxSize": 6, "VPCZoneIdentifier": "subnet-a,subnet-b"}
POLICY = {"LaunchTemplate": {"Overrides": [{"InstanceType": "m5.large"}, {"InstanceType": "m7g.large"}]}}


def managed(template: dict[str, Any] | None = None, **over: Any) -> str:
    group = {**gathered().nodegroups[0], "amiType": "AL2023_x86_64_STANDARD", "capacityType": "ON_DEMAND", **over}
    found = gathered(nodegroups=[group], templates={"general": template or {}})
    return checked(section(found, SUBNETS, set()))


def scaled(template: dict[str, Any] | None = None, system: str = "Amazon Linux 2023.9", **over: Any) -> str:
    one = node(7, {"eks.amazonaws.com/nodegroup": "", "team": "shop", "nvidia.com/gpu.count": "0"})
    one["status"]["nodeInfo"]["osImage"] = system
    one["spec"]["taints"] = [
        {"key": "batch", "value": "yes", "effect": "NoSchedule"},
        {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
    ]
    found = gathered(
        nodegroups=[],
        nodes=[one],
        instances=[instance(7)],
        scaling_group_of={"i-7": "own"},
        scaling_groups={"own": {**ASG, **over}},
        templates={"own": {"InstanceType": "m5.large", **(template or {})}},
    )
    return checked(section(found, SUBNETS, set()))


def checked(text: str) -> str:
    """The section is one of settings, whatever else it says."""
    plain = settings().model_dump(mode="json", by_alias=True, include={"journey", "stage", "cluster", "network"})
    plain["cluster"], plain["network"] = {"name": "shop", "adopt": True}, {
        "vpcId": "vpc-1", "subnetIds": list(SUBNETS), "vpcCidrs": ["10.0.0.0/16"],
    }  # fmt: skip
    Settings.load(plain | {"cilium": yaml.safe_load(text)["eks-cilium:cilium"]})
    return text


def groups(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(text)["eks-cilium:cilium"]["groups"]
    return found


def test_a_proposed_group_never_has_the_name_of_one_that_is_there():
    plain = gathered().nodegroups[0]
    several = gathered(nodegroups=[{**plain, "nodegroupName": name} for name in ("web", "web-cilium", "w" * 60)])
    names = [group["name"] for group in groups(section(several, SUBNETS, set()))]
    assert len(set(names)) == 3
    assert not {"web", "web-cilium"} & set(names)
    assert max(map(len, names)) <= 41


def test_a_group_of_both_architectures_becomes_one_of_each():
    text = scaled(MixedInstancesPolicy=POLICY)
    found = {group["name"]: (group["instanceTypes"], group["size"]) for group in groups(text)}
    assert found == {"own-x86-64-cilium": (["m5.large"], 2), "own-arm64-cilium": (["m7g.large"], 2)}
    assert "# a share of 3: no image runs on both architectures" in text


def test_labels_and_taints_are_those_that_user_data_gives():
    data = "/etc/eks/bootstrap.sh x --kubelet-extra-args '--node-labels=team=shop --register-with-taints=batch=yes:NoSchedule'"
    (group,) = groups(scaled({"UserData": base64.b64encode(data.encode()).decode()}))
    assert group["labels"] == {"team": "shop"}
    assert group["taints"] == [{"key": "batch", "value": "yes", "effect": "NoSchedule"}]
    (bare,) = groups(scaled())
    assert "labels" not in bare
    assert "taints" not in bare


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (lambda: managed(amiType="AL2_x86_64"), "Amazon Linux 2 is not kept"),
        (lambda: managed({"ImageId": "ami-1"}, amiType="CUSTOM"), "ami-1"),
        (lambda: scaled({"ImageId": "ami-2"}, system="Ubuntu 24.04"), "ami-2 (Ubuntu 24.04) is not kept"),
        (lambda: managed(capacityType="CAPACITY_BLOCK"), "Its capacity block is not kept"),
        (
            lambda: scaled(MixedInstancesPolicy={"InstancesDistribution": {"OnDemandPercentageAboveBaseCapacity": 30}}),
            "0 and 30 % above them were: a managed group is one or the other",
        ),
        (lambda: scaled({"InstanceType": None, "InstanceRequirements": {"VCpuCount": {}}}), "by attributes"),
        (lambda: managed(labels={"node-role.kubernetes.io/web": ""}), "node-role.kubernetes.io/web:  is not kept"),
        (lambda: managed(diskSize=10), "10 GiB before"),
        (lambda: managed({"BlockDeviceMappings": [{"DeviceName": "/dev/sdb"}]}), "further volume /dev/sdb is not kept"),
        (
            lambda: managed({"BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeType": "standard"}}]}),
            "its type standard is not kept",
        ),
        (lambda: managed({"NetworkInterfaces": [{}, {}]}), "further network interfaces are not kept"),
        (lambda: managed({"KeyName": "ops"}), "KeyName of its launch template is not kept"),
        (lambda: managed({"UserData": "IyEvYmluL3No"}), "Its user data is not copied"),
        (managed, "Its nodes have eks.amazonaws.com/nodegroup: general-cilium"),
    ],
    ids=range(14),
)
def test_what_cannot_be_kept_is_said_with_the_reason(text, said):
    assert [line for line in text().splitlines() if said in line and line.lstrip().startswith("#")]


def test_everything_else_of_a_group_is_carried_over():
    (group,) = groups(
        managed(
            {
                "BlockDeviceMappings": [
                    {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 200, "Iops": 5000, "KmsKeyId": "alias/nodes"}}
                ],
                "MetadataOptions": {"HttpPutResponseHopLimit": 1, "HttpTokens": "optional"},
            },
            subnets=["subnet-a"],
            updateConfig={"maxUnavailablePercentage": 33},
            taints=[{"key": "a", "value": "b", "effect": "NO_EXECUTE"}],
            tags={"team": "shop", "aws:x": "y", "eks:cluster-name": "shop"},
            capacityType="SPOT",
        )
    )
    assert group == {
        "name": "general-cilium",
        "instanceTypes": ["m5.large"],
        "capacityType": "spot",
        "size": 2,
        "maxSize": 5,
        "labels": {"team": "shop"},
        "taints": [{"key": "a", "value": "b", "effect": "NoExecute"}],
        "diskGib": 200,
        "diskIops": 5000,
        "diskKmsKey": "alias/nodes",
        "subnetIds": ["subnet-a"],
        "metadataHopLimit": 1,
        "metadataTokens": "optional",
        "maxUnavailable": "33%",
        "tags": {"team": "shop"},
    }


def test_security_groups_that_one_group_alone_has_are_its_own():
    plain = gathered()
    other = {**plain.nodegroups[0], "nodegroupName": "db", "resources": {"autoScalingGroups": [{"name": "eks-db"}]}}
    found = gathered(nodegroups=[*plain.nodegroups, other], scaling_group_of={"i-1": "eks-general", "i-2": "eks-db"})
    said = {g["name"]: g.get("securityGroupIds") for g in groups(section(found, SUBNETS, set()))}
    assert said == {"db-cilium": ["sg-2"], "general-cilium": None}


def test_a_group_without_a_node_that_names_no_types_is_left_out_in_words():
    asg = {"own": {**ASG, "LaunchTemplate": {}}}
    one = node(7, {"eks.amazonaws.com/nodegroup": ""})
    found = gathered(nodegroups=[], nodes=[one], instances=[], scaling_group_of={"i-7": "own"}, scaling_groups=asg)
    assert "own (self-managed) is not mirrored: it has no node" in section(found, SUBNETS, set())
