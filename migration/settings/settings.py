"""Everything a stack says about its cluster, and what contradicts itself across its sections."""

import re
from collections.abc import Iterable, Mapping
from itertools import starmap
from typing import Literal, Self

from pydantic import Field, ValidationError

import reading
from migration.names import BRIDGE_IMAGE, PROBE_IMAGE
from migration.rules import aws_rules, versions
from migration.rules.deployers import MOST_BYTES, InvalidDeployer, canonical
from migration.settings.addon import Addon
from migration.settings.cilium import Cilium, chart_problems
from migration.settings.cluster import Cluster, cluster_problems
from migration.settings.legacy import Legacy
from migration.settings.model import Image, Model
from migration.settings.network import Network, address_problems
from migration.settings.node_problems import group_problems
from migration.settings.problem import InvalidSettings, Problem
from migration.settings.refresh import Refresh
from migration.settings.wrong_values import every
from reading import Unreadable


class Probes(Model):
    """The pods that show, from `canary` to `retire-legacy`, that nodes of either kind reach the other."""

    image: Image = PROBE_IMAGE
    """Pinned by its digest. For a cluster that cannot pull from there: a copy of the same image elsewhere."""


class Bridge(Model):
    """What tells Cilium, from `install-cilium` to `retire-legacy`, who the pods of legacy nodes are."""

    enabled: bool = True
    """Without it such a pod is a mere address to Cilium; `canary` is entered only where no policy minds."""
    image: Image = BRIDGE_IMAGE
    """A Python 3.11 or newer to run it with, pinned by its digest; nothing has to be in it besides. `make image` builds
    one for a registry of your own."""


JourneyName = Literal["replace", "greenfield"]


class Settings(Model):
    """Everything a stack says about its cluster."""

    journey: JourneyName
    """How the cluster gets to Cilium."""
    stage: str = Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")
    """The stage at which the cluster should be. Each deploy moves one."""
    cluster: Cluster
    network: Network
    legacy: Legacy | None = None
    """Owned clusters on the journey `replace`; may stay when the journey becomes `greenfield`."""
    cilium: Cilium
    coredns: Addon = Addon()
    """Owned clusters only."""
    refresh: Refresh = Refresh()
    soak_minutes: int = Field(default=60, ge=0, le=525_600)
    """How long all workloads must have run on Cilium nodes before anything of the legacy network is removed."""
    accept_worse: tuple[str, ...] = ()
    """Workloads of which fewer pods may be ready than before the move when the legacy network, and Calico, are removed:
    `deployment NAMESPACE/NAME`, `statefulset …`, `daemonset …` or `replicaset …`."""
    policies: str = Field(default="policies/network", pattern=r"^[^\x00-\x1f\x7f]{1,1000}$")
    """Directory of the network policies, with the sub-directories `calico` and `cilium`."""
    probes: Probes = Probes()
    bridge: Bridge = Bridge()
    permissions_boundary: str | None = None
    """ARN of the IAM policy that bounds every role that this stack makes."""
    deployers: tuple[str, ...] = ()
    """Who may deploy this stack: ARNs of IAM roles and users, `user:NAME` or `group:NAME`. What guards the cluster
    lets nobody else write. Left out: whoever makes the first deploy."""

    @classmethod
    def load(cls, values: Mapping[str, object]) -> Self:
        """Validate the configuration of a stack.

        Args:
            values: the project's keys without their namespace, as plain YAML values.

        Raises:
            InvalidSettings: with every problem found.
        """
        try:
            settings = cls.model_validate(dict(values))
        except ValidationError as error:
            raise InvalidSettings(every(cls, values, error, _contradictions)) from None
        problems = tuple(_contradictions(settings))
        if problems:
            raise InvalidSettings(problems)
        return settings

    @classmethod
    def from_pulumi(cls, values: Mapping[str, str]) -> Self:
        """The same for Pulumi's own form, in which every value is text and structured ones are JSON."""
        found: dict[str, object] = {}
        damaged: list[Problem] = []
        for key, value in values.items():
            try:
                found[key] = reading.json_value(value, key) if value.startswith(("{", "[")) else value
            except Unreadable as error:
                damaged.append(
                    Problem(key, value, error.reason.rpartition(". ")[0], "Write a plain value or valid JSON")
                )
        if damaged:
            raise InvalidSettings(damaged)
        return cls.load(found)


def _contradictions(settings: Settings) -> Iterable[Problem]:
    cluster, network = settings.cluster, settings.network
    if cluster.adopt and settings.legacy is not None:
        yield Problem(
            "legacy",
            None,
            "an adopted cluster's nodes and add-ons are what the survey found, not settings",
            "Remove the key",
        )
    if settings.journey == "replace" and not cluster.adopt and settings.legacy is None:
        yield Problem(
            "legacy",
            None,
            "the journey replace of an owned cluster starts from legacy nodes",
            "Add legacy.groups",
        )
    if cluster.take_over and not cluster.adopt:
        yield Problem(
            "cluster.takeOver",
            True,
            "this stack owns the cluster already",
            "Remove the key, or set cluster.adopt",
        )
    yield from _deployer_problems(settings.deployers)
    yield from _exception_problems(settings.accept_worse)
    yield from cluster_problems(cluster)
    yield from address_problems(network)
    yield from _aws_problems(settings)
    yield from group_problems(
        {"legacy.groups": settings.legacy.groups if settings.legacy else (), "cilium.groups": settings.cilium.groups},
        settings.cilium.canary,
        prefixes=settings.cilium.prefix_delegation,
    )
    yield from _version_problems(settings)
    yield from chart_problems(settings.cilium, settings.journey)
    if network.pod_cidr is not None:
        yield Problem(
            "network.podCidr",
            str(network.pod_cidr),
            f"the journey {settings.journey} gives pods addresses of the VPC",
            "Remove the key",
        )


def _deployer_problems(deployers: tuple[str, ...]) -> Iterable[Problem]:
    size = sum(len(entry.encode(errors="replace")) + 1 for entry in deployers)
    if size > MOST_BYTES:
        yield Problem(
            "deployers",
            f"{len(deployers)} entries",
            f"have {size} bytes, and the mark in the cluster holds {MOST_BYTES} of them",
            "Name a role or a group that they share",
        )
    seen: dict[str, int] = {}
    for index, entry in enumerate(deployers):
        try:
            known = seen.setdefault(canonical(entry), index)
        except InvalidDeployer as error:
            yield Problem(f"deployers.{index}", entry, error.reason, error.fix)
            continue
        if known != index:
            yield Problem(f"deployers.{index}", entry, f"is the same as deployers.{known}", "Remove one of the two")


_WORKLOAD = re.compile(r"(deployment|statefulset|daemonset|replicaset) [a-z0-9][-a-z0-9]*/[a-z0-9][-.a-z0-9]*")


def _exception_problems(names: tuple[str, ...]) -> Iterable[Problem]:
    for index, name in enumerate(names):
        if not _WORKLOAD.fullmatch(name):
            yield Problem(
                f"acceptWorse.{index}", name, "names no workload", 'Write it as "deployment NAMESPACE/NAME", in full'
            )


def _aws_problems(settings: Settings) -> Iterable[Problem]:
    """What EKS or EC2 would refuse after the deploy has begun, or take for something else."""
    network = settings.network
    yield from starmap(Problem, aws_rules.services(network.service_cidr))
    yield from starmap(Problem, aws_rules.vpc(network.vpc_cidrs))
    yield from starmap(Problem, aws_rules.twice("network.peerCidrs", network.peer_cidrs))
    yield from starmap(Problem, aws_rules.ids("network.subnetIds", "subnet", network.subnet_ids))
    yield from starmap(Problem, aws_rules.ids("network.podSubnetIds", "subnet", network.pod_subnet_ids))
    yield from starmap(Problem, aws_rules.security_groups("network.securityGroupIds", network.security_group_ids))
    yield from starmap(Problem, aws_rules.twice("cluster.logTypes", settings.cluster.log_types))
    yield from starmap(Problem, aws_rules.tags("cluster.tags", settings.cluster.tags))
    if settings.permissions_boundary is not None:
        yield from starmap(Problem, aws_rules.policy("permissionsBoundary", settings.permissions_boundary))


def _version_problems(settings: Settings) -> Iterable[Problem]:
    calico = settings.legacy.calico.version if settings.legacy and settings.journey == "replace" else None
    chosen = {"cilium.version": settings.cilium.version, "legacy.calico.version": calico}
    for key, version in chosen.items():
        if version is not None and not re.fullmatch(r"v?[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}", version):
            yield Problem(key, version, "is not a version", "Write it as MAJOR.MINOR.PATCH")
            return
    if settings.cilium.prefix_delegation and versions.release(settings.cilium.version) < versions.PREFIX_DELEGATION:
        yield Problem(
            "cilium.prefixDelegation",
            True,
            f"Cilium {settings.cilium.version} may fall back to single addresses without a word",
            f"Use Cilium {'.'.join(map(str, versions.PREFIX_DELEGATION))} or newer, or leave it out",
        )
    if settings.cluster.adopt:
        return  # the cluster's own version is a fact: checked when the facts are there
    for misfit in versions.misfits(kubernetes=settings.cluster.version, cilium=settings.cilium.version, calico=calico):
        key = "cilium.version" if misfit.subject == "Cilium" else "legacy.calico.version"
        yield Problem(key, misfit.value, misfit.text, "Change one of the two")
