"""The node groups that a stage declares, as frozen values. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from migration.journeys import Piece
from migration.names import AGENT_NOT_READY_TAINT, CANARY_GROUP, CANARY_TAINT, CILIUM_CNI, CNI_LABEL, LEGACY_CNI
from migration.rules import addressing, images
from migration.rules.disks import DiskType
from migration.rules.images import Family
from migration.settings import NodeGroup, Settings


class GroupRole(StrEnum):
    LEGACY = "legacy"
    CANARY = "canary"
    CILIUM = "cilium"


@dataclass(frozen=True, kw_only=True)
class Taint:
    key: str
    value: str
    effect: Literal["NoSchedule", "NoExecute", "PreferNoSchedule"] = "NoSchedule"

    def __str__(self) -> str:
        return f"{self.key}={self.value}:{self.effect}"


@dataclass(frozen=True, kw_only=True)
class Disk:
    """The volume that holds images and what pods write."""

    device: str
    gib: int
    type: DiskType
    iops: int | None
    throughput: int | None
    """MiB/s."""
    kms_key: str | None


@dataclass(frozen=True, kw_only=True)
class Group:
    """A managed node group with a launch template of its own."""

    name: str
    role: GroupRole
    instance_types: tuple[str, ...]
    ami_type: str
    """EKS's name of the kind of image, such as AL2023_x86_64_STANDARD."""
    ami_family: Family
    spot: bool
    initial_size: int
    """Nodes when the group is made. Sizes belong to the refresh afterwards."""
    max_size: int
    max_pods: int
    release_version: str | None
    disk: Disk
    tags: Mapping[str, str]
    """Of the group, its instances and volumes, besides the cluster's."""
    security_group_ids: tuple[str, ...]
    """Besides those that all nodes have."""
    extra_user_data: str | None
    max_unavailable: str
    """How many nodes EKS may replace at once: a number, or a share with %."""
    minimal_update: bool
    metadata_hop_limit: int
    metadata_tokens: Literal["required", "optional"]
    subnet_ids: tuple[str, ...]
    kubelet_labels: Mapping[str, str]
    """Registered by kubelet itself, so that no pod can arrive before them."""
    kubelet_taints: tuple[Taint, ...]
    protect: bool


PIECE_OF: Final = {
    GroupRole.LEGACY: Piece.LEGACY_GROUPS,
    GroupRole.CANARY: Piece.CANARY_GROUP,
    GroupRole.CILIUM: Piece.CILIUM_GROUPS,
}


def node_groups(
    settings: Settings, pieces: frozenset[Piece], protected: frozenset[Piece], *, start_empty: bool
) -> tuple[Group, ...]:
    """The groups of a stage with these pieces; those that move workloads start without a node if `start_empty`."""
    found: list[Group] = []
    legacy = settings.legacy.groups if settings.legacy and Piece.LEGACY_GROUPS in pieces else ()
    found += [_group(settings, group, GroupRole.LEGACY, protected, size=group.size) for group in legacy]
    if Piece.CANARY_GROUP in pieces:
        canary = settings.cilium.canary
        zones = len(settings.network.subnet_ids)
        group = NodeGroup(
            name=CANARY_GROUP,
            instance_type=canary.instance_type,
            ami_family=canary.ami_family,
            size=zones,
            max_size=zones,
            max_pods=canary.max_pods,
        )
        found.append(_group(settings, group, GroupRole.CANARY, protected, size=zones))
    if Piece.CILIUM_GROUPS in pieces:
        found += [
            _group(settings, group, GroupRole.CILIUM, protected, size=0 if start_empty else group.size)
            for group in settings.cilium.groups
        ]
    return tuple(found)


def _group(settings: Settings, group: NodeGroup, role: GroupRole, protected: frozenset[Piece], *, size: int) -> Group:
    legacy = role is GroupRole.LEGACY
    taints = () if legacy else (Taint(key=AGENT_NOT_READY_TAINT, value="true"),)
    if role is GroupRole.CANARY:
        taints = (*taints, Taint(key=CANARY_TAINT, value="true"))
    taints = (*taints, *(Taint(key=t.key, value=t.value, effect=t.effect) for t in group.taints))
    max_pods = group.max_pods
    if max_pods is None:
        # The smallest type counts: the scheduler would send a pod to a node that has no address for it.
        max_pods = min(
            addressing.vpc_cni_max_pods(limits)
            if legacy
            else addressing.cilium_max_pods(limits, prefix_delegation=settings.cilium.prefix_delegation)
            for limits in images.known(group.types)
        )
    return Group(
        name=group.name,
        role=role,
        instance_types=group.types,
        ami_type=group.ami_type,
        ami_family=group.ami_family,
        spot=group.capacity_type == "spot",
        initial_size=size,
        max_size=group.upper_bound,
        max_pods=max_pods,
        release_version=group.release_version,
        disk=Disk(
            device=images.DATA_DISK[group.ami_family],
            gib=group.disk_gib,
            type=group.disk_type,
            iops=group.disk_iops,
            throughput=group.disk_throughput,
            kms_key=group.disk_kms_key,
        ),
        tags=group.tags,
        security_group_ids=group.security_group_ids,
        extra_user_data=group.extra_user_data,
        max_unavailable=group.max_unavailable,
        minimal_update=group.update_strategy == "minimal",
        metadata_hop_limit=group.metadata_hop_limit,
        metadata_tokens=group.metadata_tokens,
        subnet_ids=group.subnet_ids or settings.network.subnet_ids,
        kubelet_labels={**group.labels, CNI_LABEL: LEGACY_CNI if legacy else CILIUM_CNI},
        kubelet_taints=taints,
        protect=PIECE_OF[role] in protected,
    )
