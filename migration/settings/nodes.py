"""Node groups and canary nodes, in the sections `legacy` and `cilium`."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from migration.rules import images
from migration.rules.disks import DiskType
from migration.rules.images import Family, Variant
from migration.rules.instances import Architecture
from migration.rules.node_taints import Effect
from migration.settings.model import Model

_INSTANCE_TYPE = r"^[a-z0-9-]{1,20}\.[a-z0-9-]{1,20}$"


_MOST_NODES = 100_000
"""More than any EKS cluster has."""


class NodeTaint(Model):
    """A taint that keeps pods off a node unless they tolerate it."""

    key: str
    value: str = ""
    effect: Effect


class NodeGroup(Model):
    """A managed node group. Sizes count only when the group is made: afterwards the refresh owns them."""

    name: str = Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z_-]{0,40}$")
    instance_type: str = Field(default="m5.large", pattern=_INSTANCE_TYPE)
    instance_types: tuple[str, ...] = ()
    """Several types, in the order in which AWS is to try them; instead of `instanceType`."""
    architecture: Architecture | None = None
    """Left out: as the instance types are."""
    ami_family: Family = "AL2023"
    """Operating system of the nodes."""
    variant: Variant | None = None
    """Kind of image. Left out: with the driver that the types' accelerators need, else `standard`."""
    capacity_type: Literal["on-demand", "spot"] = "on-demand"
    size: int = Field(ge=0, le=_MOST_NODES)
    max_size: int | None = Field(default=None, ge=1, le=_MOST_NODES)
    """Upper bound of the group. Left out: twice `size`, at least 1."""
    max_pods: int | None = Field(default=None, ge=4, le=250)
    """Left out: computed from the instance types; of several, the smallest."""
    release_version: str | None = None
    """AMI release, for example "1.35.0-20261101". Left out: the newest one when the group is made, kept afterwards."""
    disk_gib: int = Field(default=40, ge=20, le=65_536)
    """Of the volume that holds images and what pods write: Bottlerocket has another one for itself."""
    disk_type: DiskType = "gp3"
    disk_iops: int | None = Field(default=None, ge=100, le=256_000)
    disk_throughput: int | None = Field(default=None, ge=125, le=2_000)
    """MiB/s, of gp3."""
    disk_kms_key: str | None = None
    """KMS key of the volume: its ARN, id or alias. Left out: the account's own key for EBS."""
    labels: Mapping[str, str] = Field(default_factory=dict)
    """Further labels of the nodes, by kubelet's own rules."""
    taints: tuple[NodeTaint, ...] = ()
    """Taints that the nodes register with, and keep."""
    tags: Mapping[str, str] = Field(default_factory=dict)
    """Further tags of the group, its instances and their volumes."""
    subnet_ids: tuple[str, ...] = ()
    """Left out: the subnets of `network`. They also say in which zones the nodes are."""
    security_group_ids: tuple[str, ...] = ()
    """Further security groups of the nodes' first interface, besides those that all nodes have."""
    extra_user_data: str | None = Field(default=None, max_length=16_384)
    """AL2023: a NodeConfig, a shell script or cloud-config. Bottlerocket: TOML below `settings`."""
    max_unavailable: str = Field(default="1", pattern=r"^([1-9][0-9]?%?|100%?)$")
    """How many nodes EKS may replace at once when the group changes: a number or a share of its nodes, at most 100."""
    update_strategy: Literal["default", "minimal"] = "default"
    """Whether EKS makes new nodes before it takes old ones away, or after."""
    metadata_hop_limit: int = Field(default=2, ge=1, le=64)
    """How far answers of the instance metadata service go: 1 reaches the node alone, 2 its pods too."""
    metadata_tokens: Literal["required", "optional"] = "required"

    @property
    def upper_bound(self) -> int:
        return self.max_size if self.max_size is not None else max(2 * self.size, 1)

    @property
    def types(self) -> tuple[str, ...]:
        """Its instance types, one or more."""
        return self.instance_types or (self.instance_type,)

    @property
    def ami_type(self) -> str:
        """EKS's name of its kind of image."""
        machine = images.architecture(self.types, self.architecture)
        return images.ami_type(self.ami_family, machine, images.variant(self.types, self.variant))


class Canary(Model):
    """The first Cilium nodes: one in each zone, tainted, so that only probes run there."""

    instance_type: str = Field(default="m5.large", pattern=_INSTANCE_TYPE)
    ami_family: Family = "AL2023"
    """Operating system of the nodes: best the one that most Cilium nodes have."""
    max_pods: int | None = Field(default=None, ge=4, le=250)
