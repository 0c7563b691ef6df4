"""The node groups that a cluster of the corpus has, and what EKS, EC2, Auto Scaling and kubelet say of them."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from tests.unit.corpus.shapes import Shape

Obj = dict[str, Any]
ZONES: Final = {"subnet-a": "eu-west-1a", "subnet-b": "eu-west-1b"}
SPOT_TAINT: Final = {"key": "lifecycle", "value": "spot", "effect": "NoSchedule"}
GPU_TAINT: Final = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
TYPES: Final = {"x86_64": ("m5.xlarge", "m5a.xlarge"), "arm64": ("m7g.xlarge", "m6g.xlarge")}
GPU_TYPE: Final = {"x86_64": "g5.xlarge", "arm64": "g5g.xlarge"}
EFFECTS: Final = {"NoSchedule": "NO_SCHEDULE", "NoExecute": "NO_EXECUTE", "PreferNoSchedule": "PREFER_NO_SCHEDULE"}
IMAGES: Final = {
    "AL2023": ("Amazon Linux 2023.9.20261020", "6.12.46-66.121.amzn2023"),
    "Bottlerocket": ("Bottlerocket OS 1.49.0 (aws-k8s-1.35)", "6.12.46"),
}
"""Family → what a node says of its system and its kernel."""


@dataclass(frozen=True, kw_only=True)
class Legacy:
    """One group: what its owner chose."""

    name: str
    managed: bool
    types: tuple[str, ...]
    architecture: str
    family: str
    capacity: str
    gpu: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    taints: tuple[dict[str, str], ...] = ()
    size: int = 2

    @property
    def scaling_group(self) -> str:
        return f"eks-{self.name}" if self.managed else self.name

    @property
    def ami_type(self) -> str:
        kind = {"x86_64": "x86_64", "arm64": "ARM_64"}[self.architecture]
        if self.family == "AL2023":
            return f"AL2023_{kind}_{'NVIDIA' if self.gpu else 'STANDARD'}"
        return f"BOTTLEROCKET_{kind}{'_NVIDIA' if self.gpu else ''}"


def groups(shape: Shape) -> list[Legacy]:
    """The groups of a shape: one for each architecture and way of making nodes, and one more with GPUs."""
    architectures = ("x86_64", "arm64") if shape.architecture == "both" else (shape.architecture,)
    ways = {"managed": (True,), "self-managed": (False,), "mixed": (True, False)}[shape.groups]
    found = []
    for managed in ways:
        for architecture in architectures:
            spot = shape.capacity == "spot" and (not managed or len(ways) == 1)
            name = f"{'workers' if managed else 'own'}-{architecture.replace('_', '-')}"
            found.append(
                Legacy(
                    name=name,
                    managed=managed,
                    types=TYPES[architecture] if spot else TYPES[architecture][:1],
                    architecture=architecture,
                    family=shape.family,
                    capacity="spot" if spot else "on-demand",
                    labels={"team": "shop", "pool": name},
                    taints=(SPOT_TAINT,) if spot else (),
                )
            )
    if shape.gpu == "nvidia":
        one = found[0]
        found.append(
            Legacy(
                name="models",
                managed=one.managed,
                types=(GPU_TYPE[one.architecture],),
                architecture=one.architecture,
                family=shape.family,
                capacity="on-demand",
                gpu=True,
                labels={"team": "models"},
                taints=(GPU_TAINT,),
                size=1,
            )
        )
    return found


def nodegroup(group: Legacy) -> Obj:
    """EKS DescribeNodegroup."""
    return {
        "nodegroupName": group.name,
        "scalingConfig": {"minSize": 1, "desiredSize": group.size, "maxSize": 6},
        "subnets": list(ZONES),
        "instanceTypes": list(group.types),
        "amiType": group.ami_type,
        "capacityType": "SPOT" if group.capacity == "spot" else "ON_DEMAND",
        "diskSize": 80,
        "labels": group.labels,
        "taints": [{**taint, "effect": EFFECTS[taint["effect"]]} for taint in group.taints],
        "updateConfig": {"maxUnavailable": 1},
        "resources": {"autoScalingGroups": [{"name": group.scaling_group}]},
    }


def scaling_group(group: Legacy) -> Obj:
    """Auto Scaling DescribeAutoScalingGroups, of a self-managed group."""
    template = {"LaunchTemplateId": f"lt-{group.name}", "Version": "3"}
    found: Obj = {
        "AutoScalingGroupName": group.scaling_group,
        "DesiredCapacity": group.size,
        "MinSize": 1,
        "MaxSize": 6,
        "VPCZoneIdentifier": ",".join(ZONES),
    }
    if group.capacity != "spot":
        return found | {"LaunchTemplate": template}
    policy = {
        "LaunchTemplate": {
            "LaunchTemplateSpecification": template,
            "Overrides": [{"InstanceType": name} for name in group.types],
        },
        "InstancesDistribution": {"OnDemandBaseCapacity": 0, "OnDemandPercentageAboveBaseCapacity": 0},
    }
    return found | {"MixedInstancesPolicy": policy}


def template(group: Legacy) -> Obj:
    """Data of the launch template of a self-managed group."""
    device = "/dev/xvda" if group.family == "AL2023" else "/dev/xvdb"
    return {
        "ImageId": f"ami-{group.name}",
        "InstanceType": group.types[0],
        "SecurityGroupIds": ["sg-1"],
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 2},
        "BlockDeviceMappings": [{"DeviceName": device, "Ebs": {"VolumeSize": 80, "VolumeType": "gp3"}}],
        "UserData": base64.b64encode(_user_data(group).encode()).decode(),
    }


def _user_data(group: Legacy) -> str:
    taints = [f"{t['key']}={t['value']}:{t['effect']}" for t in group.taints]
    if group.family == "AL2023":
        flags = [f"--node-labels={','.join(f'{k}={v}' for k, v in group.labels.items())}"]
        flags += [f"--register-with-taints={','.join(taints)}"] if taints else []
        lines = "".join(f"\n    - {flag}" for flag in flags)
        return f"apiVersion: node.eks.aws/v1alpha1\nkind: NodeConfig\nspec:\n  kubelet:\n    flags:{lines}\n"
    text = "[settings.kubernetes.node-labels]\n" + "".join(f'"{k}" = "{v}"\n' for k, v in group.labels.items())
    if group.taints:
        text += "[settings.kubernetes.node-taints]\n"
        text += "".join(f'"{t["key"]}" = ["{t["value"]}:{t["effect"]}"]\n' for t in group.taints)
    return text


def nodes(group: Legacy, first: int) -> Iterator[tuple[Obj, Obj]]:
    """Each node, and its instance as EC2 describes it.

    Args:
        first: number of the first; they count on from there.
    """
    system, kernel = IMAGES[group.family]
    for number in range(first, first + group.size):
        subnet, zone = list(ZONES.items())[number % 2]
        kind = group.types[number % len(group.types)]
        labels = {
            **group.labels,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64" if group.architecture == "x86_64" else "arm64",
            "node.kubernetes.io/instance-type": kind,
            "topology.kubernetes.io/zone": zone,
        }
        if group.managed:
            labels |= {
                "eks.amazonaws.com/nodegroup": group.name,
                "eks.amazonaws.com/capacityType": "SPOT" if group.capacity == "spot" else "ON_DEMAND",
            }
        node = {
            "metadata": {"name": f"ip-10-0-0-{number}", "labels": labels},
            "spec": {"providerID": f"aws:///{zone}/i-{number}", "taints": list(group.taints)},
            "status": {
                "nodeInfo": {"kernelVersion": kernel, "osImage": system},
                "allocatable": {"nvidia.com/gpu": "1"} if group.gpu else {},
            },
        }
        instance = {
            "InstanceId": f"i-{number}",
            "InstanceType": kind,
            "Architecture": group.architecture,
            "SubnetId": subnet,
            "SecurityGroups": [{"GroupId": "sg-1"}],
            "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 2},
            "NetworkInterfaces": [
                {"Attachment": {"DeviceIndex": 0}, "SubnetId": subnet, "Groups": [{"GroupId": "sg-1"}]}
            ],
        } | ({"InstanceLifecycle": "spot"} if group.capacity == "spot" else {})
        yield node, instance
