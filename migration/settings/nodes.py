"""Node groups and canary nodes, in the sections `legacy` and `cilium`, and what contradicts itself in them."""

from collections.abc import Iterable, Mapping, Sequence

from pydantic import Field

from migration.names import CANARY_GROUP
from migration.rules import addressing, node_labels
from migration.settings.model import Model
from migration.settings.problem import Problem

_INSTANCE_TYPE = r"^[a-z0-9-]{1,20}\.[a-z0-9-]{1,20}$"


_MOST_NODES = 100_000
"""More than any EKS cluster has."""


class NodeGroup(Model):
    """A managed node group. Sizes count only when the group is made: afterwards the refresh owns them."""

    name: str = Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z_-]{0,40}$")
    instance_type: str = Field(default="m5.large", pattern=_INSTANCE_TYPE)
    size: int = Field(ge=0, le=_MOST_NODES)
    max_size: int | None = Field(default=None, ge=1, le=_MOST_NODES)
    """Upper bound of the group. Left out: twice `size`, at least 1."""
    max_pods: int | None = Field(default=None, ge=4, le=250)
    """Left out: computed from the instance type."""
    release_version: str | None = None
    """AMI release, for example "1.35.0-20261101". Left out: the newest one when the group is made, kept afterwards."""
    disk_gib: int = Field(default=40, ge=20, le=65_536)
    labels: Mapping[str, str] = Field(default_factory=dict)
    """Further labels of the nodes, by kubelet's own rules."""
    subnet_ids: tuple[str, ...] = ()
    """Left out: the subnets of `network`."""

    @property
    def upper_bound(self) -> int:
        return self.max_size if self.max_size is not None else max(2 * self.size, 1)


class Canary(Model):
    """The first Cilium nodes: one in each zone, tainted, so that only probes run there."""

    instance_type: str = Field(default="m5.large", pattern=_INSTANCE_TYPE)
    max_pods: int | None = Field(default=None, ge=4, le=250)


def group_problems(sections: Mapping[str, Sequence[NodeGroup]], canary: Canary) -> Iterable[Problem]:
    """What contradicts itself among all nodes; `sections` has the groups by the key under which they stand."""
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
            for label, value, reason, fix in node_labels.problems(group.labels):
                yield Problem(f"{key}.labels.{label}".rstrip("."), value or None, reason, fix)
            if group.max_pods is None and group.instance_type not in addressing.LIMITS:
                yield Problem(
                    f"{key}.instanceType",
                    group.instance_type,
                    "its limits are not known here, so the number of pods it can hold is not either",
                    f"Set {key}.maxPods",
                )
            if group.upper_bound < group.size:
                yield Problem(f"{key}.maxSize", group.max_size, f"is below size {group.size}", "Raise it")
    if canary.max_pods is None and canary.instance_type not in addressing.LIMITS:
        yield Problem(
            "cilium.canary.instanceType",
            canary.instance_type,
            "its limits are not known here",
            "Set cilium.canary.maxPods",
        )
