"""Tables of public facts: instance types, AMI releases, Kubernetes versions.

Interfaces and addresses per interface are those of the EC2 user guide (what DescribeInstanceTypes says
as MaximumNetworkInterfaces and Ipv4AddressesPerInterface).
"""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.aws.errors import AwsError

__all__ = [
    "AMI_TYPES",
    "INSTANCE_TYPES",
    "KUBERNETES_VERSIONS",
    "InstanceType",
    "ami_id",
    "instance_type",
    "release_version",
]

KUBERNETES_VERSIONS = ("1.33", "1.34", "1.35")
"""Versions that a cluster may have, oldest first."""
_RELEASES = {"1.33": "1.33.8-20260415", "1.34": "1.34.4-20260415", "1.35": "1.35.4-20260415"}

AMI_TYPES = {
    "AL2023_x86_64_STANDARD": ("amazon-linux-2023", "x86_64", "amd64"),
    "AL2023_ARM_64_STANDARD": ("amazon-linux-2023", "arm64", "arm64"),
    "BOTTLEROCKET_x86_64": ("bottlerocket", "x86_64", "amd64"),
    "BOTTLEROCKET_ARM_64": ("bottlerocket", "arm64", "arm64"),
    "AL2023_x86_64_NVIDIA": ("amazon-linux-2023", "x86_64", "amd64"),
    "AL2023_ARM_64_NVIDIA": ("amazon-linux-2023", "arm64", "arm64"),
    "AL2023_x86_64_NEURON": ("amazon-linux-2023", "x86_64", "amd64"),
    "BOTTLEROCKET_x86_64_NVIDIA": ("bottlerocket", "x86_64", "amd64"),
    "BOTTLEROCKET_ARM_64_NVIDIA": ("bottlerocket", "arm64", "arm64"),
    "BOTTLEROCKET_x86_64_FIPS": ("bottlerocket", "x86_64", "amd64"),
    "BOTTLEROCKET_ARM_64_FIPS": ("bottlerocket", "arm64", "arm64"),
    "CUSTOM": ("custom", "x86_64", "amd64"),
}
"""AMI type of a node group, the ones without a driver first: family, EC2's architecture, Kubernetes' architecture."""


@dataclass(frozen=True, kw_only=True)
class InstanceType:
    """What a node of this type has. `memory` in GiB; `addresses` per interface, the primary included."""

    name: str
    cpus: int
    memory: int
    interfaces: int
    addresses: int
    arm: bool = False

    @property
    def max_pods(self) -> int:
        """Pods that the VPC CNI has addresses for without prefix delegation."""
        return self.interfaces * (self.addresses - 1) + 2


def _types() -> dict[str, InstanceType]:
    rows = """
        t3.small 2 2 3 4|t3.medium 2 4 3 6|t3.large 2 8 3 12|t3.xlarge 4 16 4 15|t3a.medium 2 4 3 6|t3a.large 2 8 3 12
        t4g.medium 2 4 3 6|t4g.large 2 8 3 12|m5.large 2 8 3 10|m5.xlarge 4 16 4 15|m5.2xlarge 8 32 4 15
        m5.4xlarge 16 64 8 30|m5a.large 2 8 3 10|m5a.xlarge 4 16 4 15|m6i.large 2 8 3 10|m6i.xlarge 4 16 4 15
        m6i.2xlarge 8 32 4 15|m6g.large 2 8 3 10|m6g.xlarge 4 16 4 15|m7i.large 2 8 3 10|m7i.xlarge 4 16 4 15
        m7g.large 2 8 3 10|m7g.xlarge 4 16 4 15|c5.large 2 4 3 10|c5.xlarge 4 8 4 15|c5.2xlarge 8 16 4 15
        c6i.large 2 4 3 10|c6i.xlarge 4 8 4 15|c6g.large 2 4 3 10|c7g.large 2 4 3 10|r5.large 2 16 3 10
        r5.xlarge 4 32 4 15|r6i.large 2 16 3 10|r6i.xlarge 4 32 4 15
    """
    found = {}
    for row in rows.replace("\n", "|").split("|"):
        if row.strip():
            name, *numbers = row.split()
            cpus, memory, interfaces, addresses = map(int, numbers)
            arm = name.split(".")[0].endswith("g")
            found[name] = InstanceType(
                name=name, cpus=cpus, memory=memory, interfaces=interfaces, addresses=addresses, arm=arm
            )
    return found


INSTANCE_TYPES = _types()


def instance_type(name: str) -> InstanceType:
    """The type called `name`, else InvalidInstanceType as EC2."""
    if name not in INSTANCE_TYPES:
        raise AwsError("InvalidInstanceType", f"The following supplied instance types do not exist: [{name}]")
    return INSTANCE_TYPES[name]


def release_version(version: str) -> str:
    """The newest AMI release of a Kubernetes version, e.g. 1.35.4-20260415."""
    return _RELEASES[version]


def ami_id(version: str, ami_type: str) -> str:
    """A stable made-up image id for a Kubernetes version and AMI type."""
    number = KUBERNETES_VERSIONS.index(version) * 16 + list(AMI_TYPES).index(ami_type) + 1
    return f"ami-0{number:016x}"
