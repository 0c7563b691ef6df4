"""What contradicts itself in node groups, and what kubelet, EKS, EC2 or EBS would refuse of them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import starmap
from typing import Final

from migration.names import CANARY_GROUP
from migration.rules import aws_rules, disks, extra_user_data, images, instances, node_labels, node_taints
from migration.settings.nodes import Canary, NodeGroup
from migration.settings.problem import Problem

_TYPE: Final = re.compile(r"[a-z0-9-]{1,20}\.[a-z0-9-]{1,20}")


def group_problems(
    sections: Mapping[str, Sequence[NodeGroup]], canary: Canary, *, prefixes: bool = False
) -> Iterable[Problem]:
    """What is wrong with all nodes.

    Args:
        sections: the groups, by the key under which they stand.
        prefixes: whether Cilium's interfaces are to take prefixes.
    """
    seen: dict[str, str] = {CANARY_GROUP: "the canary nodes"}
    for section, groups in sections.items():
        for index, group in enumerate(groups):
            key = f"{section}.{index}"
            if group.name in seen:
                yield Problem(
                    f"{key}.name",
                    group.name,
                    f"is already the name of {seen[group.name]}",
                    "Choose another name",
                )
            seen[group.name] = key
            yield from _machines(key, group)
            yield from _kubelet(key, group)
            yield from _aws(key, group)
            if prefixes and section.startswith("cilium"):
                yield from _prefixes(f"{key}.{_types_key(group)}", group.types)
    if canary.max_pods is None and instances.known(canary.instance_type) is None:
        yield Problem(
            "cilium.canary.instanceType",
            canary.instance_type,
            "its limits are not known here",
            f"Set cilium.canary.maxPods, or read the types anew with `{instances.REFRESH}`",
        )
    if prefixes:
        yield from _prefixes("cilium.canary.instanceType", (canary.instance_type,))


def _types_key(group: NodeGroup) -> str:
    return "instanceTypes" if group.instance_types else "instanceType"


def _machines(key: str, group: NodeGroup) -> Iterable[Problem]:
    """Types, image, pods and sizes."""
    types = f"{key}.{_types_key(group)}"
    if group.instance_types and "instance_type" in group.model_fields_set:
        yield Problem(f"{key}.instanceType", group.instance_type, "instanceTypes says which", "Remove one of the two")
    for index, name in enumerate(group.instance_types):
        if not _TYPE.fullmatch(name):
            yield Problem(f"{types}.{index}", name, "is not an instance type", "Write it as m7g.large")
            return
    yield from starmap(Problem, aws_rules.twice(types, group.instance_types))
    if len(group.types) > images.MOST_TYPES:
        yield Problem(types, len(group.types), f"a group has at most {images.MOST_TYPES}", "Name fewer")
    unknown = [name for name in group.types if instances.known(name) is None]
    unsaid = [
        name for name, said in (("maxPods", group.max_pods), ("architecture", group.architecture)) if said is None
    ]
    if unknown and unsaid:
        yield Problem(
            types,
            ", ".join(unknown),
            "is not among the known types, so nothing says how many pods it holds and which image runs there",
            f"Set {' and '.join(f'{key}.{name}' for name in unsaid)}, or read the types anew with "
            f"`{instances.REFRESH}`",
        )
        return
    yield from starmap(
        Problem,
        images.problems(
            key, group.types, asked=group.architecture, family=group.ami_family, asked_variant=group.variant
        ),
    )
    if group.upper_bound < group.size:
        yield Problem(f"{key}.maxSize", group.max_size, f"is below size {group.size}", "Raise it")


def _kubelet(key: str, group: NodeGroup) -> Iterable[Problem]:
    """What nodes register with, and what else their user data says."""
    for label, value, reason, fix in node_labels.problems(group.labels):
        yield Problem(f"{key}.labels.{label}".rstrip("."), value or None, reason, fix)
    for index, value, reason, fix in node_taints.problems(group.taints):
        yield Problem(f"{key}.taints.{index}", value, reason, fix)
    if group.extra_user_data is None:
        return
    found = False
    for reason, fix in extra_user_data.problems(group.ami_family, group.extra_user_data):
        found = True
        yield Problem(f"{key}.extraUserData", group.extra_user_data, reason, fix)
    size = len(group.extra_user_data.encode(errors="replace"))
    size += sum(len(label) + len(value) + 8 for label, value in group.labels.items())
    size += sum(len(taint.key) + len(taint.value) + len(taint.effect) + 8 for taint in group.taints)
    if not found and size > extra_user_data.MOST_BYTES - 1_024:
        reason = f"with labels and taints it has {size} bytes, and the user data of a node has no room for more than "
        reason += f"{extra_user_data.MOST_BYTES - 1_024}"
        yield Problem(f"{key}.extraUserData", f"{len(group.extra_user_data)} characters", reason, "Make it shorter")


def _aws(key: str, group: NodeGroup) -> Iterable[Problem]:
    """Disks, tags, subnets and security groups."""
    yield from starmap(
        Problem,
        disks.problems(
            key,
            gib=group.disk_gib,
            kind=group.disk_type,
            iops=group.disk_iops,
            throughput=group.disk_throughput,
            kms_key=group.disk_kms_key,
        ),
    )
    yield from starmap(Problem, aws_rules.tags(f"{key}.tags", group.tags))
    yield from starmap(Problem, aws_rules.ids(f"{key}.subnetIds", "subnet", group.subnet_ids))
    yield from starmap(Problem, aws_rules.security_groups(f"{key}.securityGroupIds", group.security_group_ids))


def _prefixes(key: str, types: Sequence[str]) -> Iterable[Problem]:
    xen = [name for name in types if (kind := instances.known(name)) is not None and not kind.nitro]
    if xen:
        yield Problem(
            key,
            ", ".join(xen),
            "is not of the Nitro system, and Cilium gives its nodes single addresses without a word",
            "Use types of the Nitro system, or leave out cilium.prefixDelegation",
        )
