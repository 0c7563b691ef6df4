"""What an adopted cluster was like before we touched it: surveyed once, reviewed, committed as `facts.<stack>.yaml`."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

import reading
from migration.rules import addon_values, affinity
from migration.settings import Block, Model, Problem, Settings
from reading import Unreadable
from reading.failure import USAGE, Failure

FORMAT: Final = 1
"""Version of the file's form."""


class InvalidFacts(Failure, ValueError):
    """The file of facts is missing, damaged, of another form, or about another cluster."""

    exit_code = USAGE


class ClusterFacts(Model):
    """Identity of the cluster, from EKS DescribeCluster and STS GetCallerIdentity."""

    name: str
    arn: str
    account: str
    region: str
    version: str
    vpc_id: str
    vpc_cidrs: tuple[Block, ...]
    service_cidr: Block
    oidc_issuer: str
    """Issuer URL; an IAM OIDC provider for it must exist."""
    security_group_id: str
    """The cluster's own security group."""


def _shaped(value: dict[str, Any] | None) -> dict[str, Any] | None:
    if value is not None and (reason := affinity.problem(value)):
        raise ValueError(reason)
    return value


class DaemonSetFacts(Model):
    """A networking DaemonSet in kube-system, as found."""

    kind: Literal["addon", "self-managed", "absent"]
    addon_version: str | None = None
    configuration: str | None = None
    """`configurationValues` of the add-on, letter by letter as EKS holds them."""
    service_account_role_arn: str | None = None
    image: str | None = None
    """Image of the first container."""
    affinity: dict[str, Any] | None = None
    """Pod affinity of the live DaemonSet; going back restores exactly this."""
    env: Mapping[str, str] = Field(default_factory=dict)
    """Plain environment of the first container."""

    _shaped = field_validator("affinity")(_shaped)


class CalicoFacts(Model):
    """Calico, as found."""

    kind: Literal["operator", "aws-chart", "manifest", "absent"]
    version: str | None = None
    namespace: str | None = None
    affinity: dict[str, Any] | None = None
    """Override that the Installation `default` carries for calico-node; None when it carries none."""
    policies: int = 0
    _shaped = field_validator("affinity")(_shaped)
    """Calico policies of every kind, cluster-wide and namespaced."""


class GroupFacts(Model):
    """Nodes that belong together."""

    name: str
    kind: Literal["managed", "self-managed", "karpenter", "other"]
    scaling_group: str | None = None
    desired: int = 0
    min_size: int = 0
    max_size: int = 0
    instance_types: tuple[str, ...] = ()
    subnet_ids: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = ()
    labels: Mapping[str, str] = Field(default_factory=dict)
    """Labels that the group gives its nodes."""


class SubnetFacts(Model):
    """A subnet that nodes use."""

    id: str
    zone: str
    cidr: Block
    free: int
    public: bool


class Verdict(StrEnum):
    ABSENT = "absent"
    HANDLED = "handled"
    REFUSED = "refused"


class Decision(Model):
    """One item of the survey: found or not, and what that means for the journey."""

    item: str
    verdict: Verdict
    found: str = ""
    """What was found, with the names of the objects."""
    reason: str = ""
    """Why it is refused, or how it is handled."""
    way_out: str = ""
    """What to do about a refusal."""


class Facts(Model):
    """Everything surveyed."""

    format: Literal[1]
    surveyed_at: str
    """UTC, ISO 8601."""
    moved_at: str | None = None
    """When what may move was read again, UTC, ISO 8601."""
    cluster: ClusterFacts
    vpc_cni: DaemonSetFacts
    kube_proxy: DaemonSetFacts
    calico: CalicoFacts
    groups: tuple[GroupFacts, ...]
    subnets: tuple[SubnetFacts, ...]
    egress_source: Literal["node", "pod"]
    """Source address with which pods leave the VPC today (`pod` with AWS_VPC_K8S_CNI_EXTERNALSNAT=true)."""
    exclude_snat_cidrs: tuple[Block, ...] = ()
    """AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS."""
    decisions: tuple[Decision, ...]

    @model_validator(mode="after")
    def _readable(self) -> Self:
        # The survey writes down what it refuses, an add-on that nobody can read among it; no stage comes after that.
        if not self.refused:
            values = addon_values.parse(self.vpc_cni.configuration)
            if reason := affinity.problem(values.get("affinity") or {}):
                raise ValueError(f"vpcCni.configuration: its affinity {reason}")
        return self

    @property
    def refused(self) -> tuple[Decision, ...]:
        return tuple(d for d in self.decisions if d.verdict is Verdict.REFUSED)

    @property
    def security_group_ids(self) -> tuple[str, ...]:
        """Security groups that every surveyed node group has; the cluster's own when they have none in common."""
        sets = [set(group.security_group_ids) for group in self.groups if group.security_group_ids]
        common = set.intersection(*sets) if sets else set()
        return tuple(sorted(common)) or (self.cluster.security_group_id,)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read and validate a file of facts.

        Raises:
            InvalidFacts: naming the file, the key and the reason.
        """
        try:
            return cls.parse(reading.text_of(path), str(path))
        except FileNotFoundError:
            raise InvalidFacts(
                f"{path} does not exist: an adopted cluster is surveyed before its first deploy. "
                "Run `python -m operations survey`, read the file, commit it"
            ) from None
        except Unreadable as error:
            raise InvalidFacts(str(error)) from None

    @classmethod
    def parse(cls, text: str, name: str) -> Self:
        """The facts in a file's text.

        Raises:
            InvalidFacts: as `load`.
        """
        try:
            return cls.model_validate(reading.value(text, name))
        except Unreadable as error:
            raise InvalidFacts(str(error)) from None
        except ValidationError as error:
            lines = [f"  - {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
            raise InvalidFacts(f"{name} is not what the survey writes:\n" + "\n".join(lines)) from None

    def dump(self) -> str:
        """The file's text: stable order, so that a second survey of an unchanged cluster shows no difference."""
        return reading.dump(self.model_dump(mode="json", by_alias=True))


def contradictions(settings: Settings, facts: Facts) -> Iterator[Problem]:
    """Settings that say something else than the facts of the same thing."""
    cluster, network, known = settings.cluster, settings.network, facts.cluster
    if cluster.name != known.name:
        fix = "Use the facts of this cluster: `python -m operations survey`"
        yield Problem("cluster.name", cluster.name, f"the facts are about cluster {known.name}", fix)
        return
    if network.vpc_id != known.vpc_id:
        yield Problem("network.vpcId", network.vpc_id, f"the cluster lives in {known.vpc_id}", "Set it to that")
    if network.service_cidr != known.service_cidr:
        value = str(network.service_cidr)
        yield Problem("network.serviceCidr", value, f"the cluster's is {known.service_cidr}", "Set it to that")
    for block in known.vpc_cidrs:
        if block not in network.vpc_cidrs:
            reason = f"{block} of {known.vpc_id} is missing: what pods send there would get the address of their node"
            yield Problem("network.vpcCidrs", [str(b) for b in network.vpc_cidrs], reason, f'Add "{block}"')
    owners = {group.name for group in facts.groups if group.kind == "managed"}
    for index, group in enumerate(settings.cilium.groups):
        if group.name in owners:
            reason = "the cluster's owner has a node group of this name, and EKS makes no second one"
            yield Problem(f"cilium.groups.{index}.name", group.name, reason, "Choose another name")
    if "version" in cluster.model_fields_set and cluster.version != known.version:
        reason = f"the cluster is its owner's, and runs {known.version}"
        yield Problem("cluster.version", cluster.version, reason, "Remove the key: it is for owned clusters")
