"""The stack configuration as one typed, validated value.

`Settings.load` takes what stands under the project's keys in `Pulumi.<stack>.yaml` and gives back a frozen value, or
raises `InvalidSettings` with *everything* that is wrong, each entry naming key, value, reason and fix.
"""

import copy
import difflib
import functools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from itertools import starmap
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_camel

import reading
from migration.names import BRIDGE_IMAGE, CANARY_GROUP, PROBE_IMAGE
from migration.rules import addressing, affinity, aws_rules, node_labels, versions
from migration.rules.chart_keys import value_errors
from migration.rules.chart_rules import refusals
from migration.rules.deployers import MOST_BYTES, InvalidDeployer, canonical
from reading import Unreadable
from reading.failure import USAGE, Failure


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the configuration."""

    key: str
    value: object
    reason: str
    fix: str

    def __str__(self) -> str:
        shown = "" if self.value is None else f" = {_short(self.value)}"
        return f"{self.key}{shown}: {self.reason}. {self.fix}"


_MOST_SHOWN = 50
"""Problems in one text: whoever has more has one cause for all of them."""


def _short(value: object) -> str:
    try:
        text = json.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= 200 else f"{text[:200]}…"


class InvalidSettings(Failure, ValueError):
    """The configuration cannot be used. `problems` holds every reason, in the order of the keys."""

    exit_code = USAGE

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        noun = "problem" if len(self.problems) == 1 else "problems"
        lines = "\n".join(f"  - {problem}" for problem in self.problems[:_MOST_SHOWN])
        if len(self.problems) > _MOST_SHOWN:
            lines += f"\n  - and {len(self.problems) - _MOST_SHOWN} more"
        super().__init__(f"{len(self.problems)} {noun} in the stack configuration:\n{lines}")


class Model(BaseModel):
    """Keys are camelCase in YAML; unknown keys are errors; values cannot change after loading."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )


_BLOCK = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}")


def _written(value: object) -> object:
    """A block as people write it: a number, bytes or a netmask would be one to the library too."""
    if isinstance(value, IPv4Network):
        return value
    if not isinstance(value, str) or not _BLOCK.fullmatch(value):
        raise ValueError("expected a block such as 10.0.0.0/16")
    return IPv4Network(value)  # its own words for what is wrong with one


Block = Annotated[IPv4Network, BeforeValidator(_written)]
"""An IPv4 block, written ADDRESS/LENGTH."""


class Chart(Model):
    """Where a Helm chart comes from."""

    name: str
    """Name in the repository, or a path to a chart directory or archive."""
    repository: str | None = None
    """Chart repository. Leave out when `name` is a path."""


class Cluster(Model):
    """The EKS cluster: owned by this stack, or adopted by name."""

    name: str = Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z_-]{0,99}$")
    adopt: bool = False
    """The cluster exists and belongs to somebody else: nothing of theirs is recreated, replaced or deleted."""
    take_over: bool = False
    """Adopted clusters only: `retire-legacy` also deletes the owner's vpc-cni and kube-proxy add-ons."""
    version: str = versions.KUBERNETES_DEFAULT
    """Kubernetes minor version of an owned cluster, for example "1.35"."""
    endpoint_public_access: bool = True
    endpoint_private_access: bool = True
    public_access_cidrs: tuple[Block, ...] = ()
    """Blocks from which the public endpoint of an owned cluster may be reached, whoever deploys among them. Left out:
    from anywhere, which each preview says."""
    admins: tuple[str, ...] = ()
    """ARNs of IAM roles or users that get AmazonEKSClusterAdminPolicy on an owned cluster, besides whoever makes it."""
    log_types: tuple[Literal["api", "audit", "authenticator", "controllerManager", "scheduler"], ...] = ("audit",)
    tags: Mapping[str, str] = Field(default_factory=dict)

    @field_validator("version")
    @classmethod
    def _is_a_minor(cls, value: str) -> str:
        if not re.fullmatch(r"1\.[0-9]{1,3}", value):
            raise ValueError('expected a minor version in quotes, such as "1.35"')
        return value


class Network(Model):
    """The VPC the cluster lives in. It is never changed by this program."""

    vpc_id: str = Field(pattern=r"^vpc-[0-9a-z]{1,40}$")
    subnet_ids: tuple[str, ...] = Field(min_length=2)
    """Subnets of the nodes, in at least two zones."""
    pod_subnet_ids: tuple[str, ...] = ()
    """Subnets of the interfaces that carry Cilium pods. Empty: the subnets of the nodes."""
    security_group_ids: tuple[str, ...] = ()
    """Security groups of Cilium's interfaces. Empty: the cluster's own security group, or as surveyed."""
    vpc_cidrs: tuple[Block, ...] = Field(min_length=1)
    """Every IPv4 block of the VPC."""
    service_cidr: Block = IPv4Network("172.20.0.0/16")
    peer_cidrs: tuple[Block, ...] = ()
    """Blocks of peered VPCs, VPNs and other networks that the cluster talks to."""
    pod_cidr: Block | None = None
    """Refused by the journeys that there are: they give pods addresses of the VPC."""


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


class Addon(Model):
    """A managed EKS add-on of an owned cluster."""

    version: str | None = None
    """Left out: the default of the cluster's Kubernetes version when the add-on is made, kept afterwards."""
    configuration: Mapping[str, Any] = Field(default_factory=dict)
    """`configurationValues` of the add-on; checked against its own schema by a gate."""

    @field_validator("configuration")
    @classmethod
    def _has_an_affinity(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        if reason := affinity.problem(value.get("affinity") or {}):
            raise ValueError(f"its affinity {reason}")
        return value


class Calico(Model):
    """Calico on an owned cluster, by the Tigera operator, enforcing policy only."""

    version: str = versions.CALICO_DEFAULT
    chart: Chart = Chart(name="tigera-operator", repository="https://docs.tigera.io/calico/charts")
    crds_chart: Chart = Chart(name="crd.projectcalico.org.v1", repository="https://docs.tigera.io/calico/charts")


class Legacy(Model):
    """What an owned cluster runs before the migration."""

    groups: tuple[NodeGroup, ...] = Field(min_length=1)
    vpc_cni: Addon = Addon()
    kube_proxy: Addon = Addon()
    calico: Calico = Calico()


class Canary(Model):
    """The first Cilium nodes: one in each zone, tainted, so that only probes run there."""

    instance_type: str = Field(default="m5.large", pattern=_INSTANCE_TYPE)
    max_pods: int | None = Field(default=None, ge=4, le=250)


class Cilium(Model):
    """Cilium as it is installed, and the nodes it wires."""

    version: str = versions.CILIUM_DEFAULT
    chart: Chart = Chart(name="cilium", repository="https://helm.cilium.io")
    cluster_name: str = Field(default="default", pattern=r"^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$")
    """Name in a cluster mesh. Fixed at the first install."""
    cluster_id: int = Field(default=0, ge=0, le=127)
    """Id in a cluster mesh, 1 to 127; 0 without one. Fixed at the first install."""
    egress_source: Literal["node", "pod"] | None = None
    """Source address of pods that leave the VPC. Left out: as surveyed; `node` on an owned cluster."""
    prefix_delegation: bool = False
    """Give interfaces /28 prefixes instead of single addresses: more pods a node, more fragmented subnets."""
    operator_replicas: int = Field(default=2, ge=1, le=5)
    values: Mapping[str, Any] = Field(default_factory=dict)
    """Further chart values, checked against the pinned chart. What the journey rests on is refused, with the setting to
    use instead; tolerations and `operator.extraEnv` add to what is needed anyway."""
    groups: tuple[NodeGroup, ...] = Field(min_length=1)
    canary: Canary = Canary()


class Refresh(Model):
    """How nodes are replaced."""

    strategy: Literal["surge", "replace", "shrink"] = "surge"
    budget: str = Field(default="10%", pattern=r"^([1-9][0-9]{0,5}|[1-9][0-9]?%|100%)$")
    """The node budget: how many nodes may be on their way out at once, a number or a share of the old nodes."""
    deadline_minutes: int = Field(default=45, ge=1, le=720)
    """Inside `pulumi up` the refresh stops cleanly after this long; run again to go on."""
    evict_marked: bool = False
    """Evict also pods whose owners ask, by a mark on them, that they be left alone
    (`cluster-autoscaler.kubernetes.io/safe-to-evict: "false"`, `karpenter.sh/do-not-disrupt: "true"` and their like).
    Left out: such a pod stays, and with it its node."""


_DIGEST = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")


def _pinned(value: str) -> str:
    if not _DIGEST.fullmatch(value):
        raise ValueError("expected an image with its digest, NAME@sha256: and 64 hexadecimal digits")
    return value


Image = Annotated[str, AfterValidator(_pinned)]
"""An image with its digest."""


class Probes(Model):
    """The pods that show, from `canary` to `retire-legacy`, that nodes of either kind reach the other."""

    image: Image = PROBE_IMAGE
    """Pinned by its digest. For a cluster that cannot pull from there: a copy of the same image elsewhere."""


class Bridge(Model):
    """What tells Cilium, from `install-cilium` to `retire-legacy`, who the pods of legacy nodes are."""

    enabled: bool = True
    """Without it such a pod is a mere address to Cilium; `canary` is entered only where no policy minds."""
    image: Image = BRIDGE_IMAGE
    """A Python 3.11 or newer to run it with, pinned by its digest; nothing has to be in it besides."""


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
            raise InvalidSettings(_every(cls, values, error)) from None
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


_STAND_INS: Mapping[str, object] = {
    "journey": "replace",
    "stage": "baseline",
    "size": 1,
    "vpcId": "vpc-0",
    "subnetIds": ["subnet-0", "subnet-1"],
    "vpcCidrs": ["198.18.0.0/16"],
    "cluster": {"name": "stand-in"},
    "network": {"vpcId": "vpc-0", "subnetIds": ["subnet-0", "subnet-1"], "vpcCidrs": ["198.18.0.0/16"]},
    "legacy": {"groups": [{"name": "stand-in-legacy", "size": 1}]},
    "cilium": {"groups": [{"name": "stand-in-cilium", "size": 1}]},
}
"""Values of required keys that contradict nothing."""


def _every(model: type[Settings], values: Mapping[str, object], error: ValidationError) -> list[Problem]:
    """What is wrong with single values, and what else is wrong with the ones that are right."""
    found = _single(error)
    problems = [_problem(model, item) for item in found]
    blamed = [tuple(map(str, item["loc"])) for item in found]
    rest = copy.deepcopy(dict(values))
    for number, item in enumerate(found[:_MOST_SHOWN]):
        _stand_in(rest, item["loc"], missing=item["type"] == "missing", number=number)
    try:
        settings = model.model_validate(rest)
    except ValidationError:
        return problems
    hanging = [pattern for other in blamed for key, pattern in _HANGING if _meet(other, tuple(key.split(".")))]
    for problem in _contradictions(settings):
        path = tuple(problem.key.split("."))
        if not any(_meet(path, other) for other in blamed) and not any(p.match(problem.key) for p in hanging):
            problems.append(problem)
    return problems


def _meet(one: tuple[str, ...], two: tuple[str, ...]) -> bool:
    """Whether one key is the other, or holds it."""
    length = min(len(one), len(two))
    return one[:length] == two[:length]


_HANGING = tuple(
    (key, re.compile(pattern))
    for key, pattern in (
        ("journey", r"legacy$|legacy\.calico\.version|network\.podCidr|cilium\.values"),
        ("cluster.adopt", r"legacy$|cluster\.(takeOver|name)$|cilium\.(version|values)|legacy\.calico\.version"),
        ("cluster.version", r"cilium\.version|legacy\.calico\.version"),
        ("network", r"cilium\.values"),
        ("network.vpcCidrs", r"network\.peerCidrs$"),
        ("network.serviceCidr", r"network\.peerCidrs$"),
        ("cilium", r"cilium\.(values|groups\.[0-9]+\.instanceType|canary\.instanceType)|legacy\.calico\.version"),
        ("legacy", r"legacy\.groups\.[0-9]+\.instanceType|cilium\.version"),
    )
)
"""Key → problems that a stand-in for it may make up."""


def _single(error: ValidationError) -> list[Any]:
    """The errors without "too short" for a list that lacks only its wrong entries."""
    found: list[Any] = error.errors()
    around = {item["loc"][:length] for item in found for length in range(1, len(item["loc"]))}
    return [item for item in found if item["type"] != "too_short" or item["loc"] not in around]


def _stand_in(values: Any, location: Sequence[int | str], *, missing: bool, number: int) -> None:
    """Put something harmless in the place of a wrong value; where that is no field of its own, of the one around it."""
    here: Any = values
    holder: Any = None
    at: int | str = ""
    for part in location:
        if not _has(here, part) and not (missing and isinstance(here, dict)):
            break
        inner = here[part] if _has(here, part) else None
        if isinstance(here, dict) or isinstance(inner, dict):
            holder, at = here, part
        here = inner
    if holder is None:
        return
    group = {"name": f"stand-in-{number}", "size": 1}
    harmless = group if isinstance(at, int) else {**_STAND_INS, "name": group["name"], "groups": [group]}.get(at)
    if harmless is not None:
        holder[at] = harmless
    elif isinstance(holder, dict):
        holder.pop(at, None)


def _has(here: object, part: int | str) -> bool:
    if isinstance(here, dict):
        return part in here
    return isinstance(here, list) and isinstance(part, int) and part < len(here)


_FIXES = {
    "missing": "Add it",
    "extra_forbidden": "Remove it, or correct its spelling",
    "string_type": "Write it in quotes",
    "too_short": "Give more entries",
}


def _problem(model: type[BaseModel], error: Any) -> Problem:
    location = [str(part) for part in error["loc"]]
    kind, reason = error["type"], error["msg"].removeprefix("Value error, ")
    value = None if kind == "missing" else error["input"]
    fix = _FIXES.get(kind, "Change the value")
    if kind == "missing":
        reason = "this key is required"
    elif kind == "extra_forbidden":
        reason = "there is no such key"
        near = difflib.get_close_matches(location[-1][:64], _keys(model, tuple(location[:-1])), n=1)
        fix = f"Did you mean {near[0]}?" if near else fix
    elif kind == "literal_error":
        reason = f"must be one of {error['ctx']['expected']}"
    return Problem(".".join(location), value, reason, fix)


@functools.cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema(by_alias=True)


@functools.lru_cache(maxsize=256)
def _keys(model: type[BaseModel], path: tuple[str, ...]) -> list[str]:
    """The keys that may stand at a path of the model."""
    schema = _schema(model)
    here = schema
    for part in path:
        here = here.get("items", {}) if part.isdigit() else here.get("properties", {}).get(part, {})
        options = here.get("anyOf", [here])
        here = next((o for o in options if o.get("type") != "null"), {})
        if "$ref" in here:
            here = schema["$defs"][here["$ref"].rsplit("/", 1)[1]]
    return list(here.get("properties", {}))


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
    yield from _administrator_problems(cluster)
    yield from _endpoint_problems(cluster)
    yield from _owned_cluster_problems(settings)
    yield from _address_problems(network)
    yield from _aws_problems(settings)
    yield from _group_problems(settings)
    yield from _version_problems(settings)
    yield from _chart_problems(settings)
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


def _chart_problems(settings: Settings) -> Iterable[Problem]:
    found = set()
    for path, value, reason in value_errors(settings.cilium.values):
        found.add(path)
        yield Problem(f"cilium.values.{path}", value, reason, f"See the values of the Cilium chart {_CHART_MINOR}")
    for path, value, reason, instead in refusals(settings.cilium.values, settings):
        if path not in found:
            yield Problem(f"cilium.values.{path}", value, reason, instead)


_CHART_MINOR = ".".join(versions.CILIUM_DEFAULT.split(".")[:2])


_PRINCIPAL = "Write arn:aws:iam::ACCOUNT:role/NAME or …:user/NAME"


def _administrator_problems(cluster: Cluster) -> Iterable[Problem]:
    seen: dict[str, int] = {}
    for index, entry in enumerate(cluster.admins):
        key = f"cluster.admins.{index}"
        try:
            principal = canonical(entry)
        except InvalidDeployer as error:
            yield Problem(key, entry, error.reason, _PRINCIPAL if "user:NAME" in error.fix else error.fix)
            continue
        if not principal.startswith("arn:"):
            yield Problem(
                key, entry, "is not an IAM role or user, and EKS gives access entries to nobody else", _PRINCIPAL
            )
        elif aws_rules.service_role(entry):
            yield Problem(key, entry, "is a role of an AWS service, and EKS gives it no access entry", _PRINCIPAL)
        elif principal in seen:
            yield Problem(key, entry, f"is the same as cluster.admins.{seen[principal]}", "Name each once")
        seen.setdefault(principal, index)


LONGEST_CLUSTER_NAME = 43
"""Of an owned cluster: IAM takes role names of 64 characters, and its role is called NAME-eksRole-role-1234567."""


def _owned_cluster_problems(settings: Settings) -> Iterable[Problem]:
    """What EKS, IAM or the AWS provider would refuse after the deploy has begun."""
    if settings.cluster.adopt:
        return
    name = settings.cluster.name
    if len(name) > LONGEST_CLUSTER_NAME:
        yield Problem(
            "cluster.name",
            name,
            f"has {len(name)} characters, and the name of the cluster's role would be too long for IAM",
            f"Use at most {LONGEST_CLUSTER_NAME}",
        )


def _address_problems(network: Network) -> Iterable[Problem]:
    blocks = {
        "network.vpcCidrs": network.vpc_cidrs,
        "network.serviceCidr": (network.service_cidr,),
        "network.peerCidrs": network.peer_cidrs,
    }
    for overlap in addressing.overlaps(blocks):
        yield Problem(
            overlap.second,
            str(overlap.second_block),
            f"overlaps {overlap.first} {overlap.first_block}: an address would mean two things",
            "Use blocks that share no address",
        )


def _endpoint_problems(cluster: Cluster) -> Iterable[Problem]:
    blocks = cluster.public_access_cidrs
    shown = [str(block) for block in blocks]
    if cluster.adopt:
        if blocks:
            yield Problem(
                "cluster.publicAccessCidrs",
                shown,
                "the endpoint of an adopted cluster is its owner's",
                "Remove the key",
            )
        return
    if not cluster.endpoint_public_access and not cluster.endpoint_private_access:
        yield Problem(
            "cluster.endpointPrivateAccess",
            False,
            "nobody could reach the API server: the public endpoint is off too",
            "Turn one of the two on",
        )
    if not blocks:
        return
    if not cluster.endpoint_public_access:
        yield Problem(
            "cluster.publicAccessCidrs",
            shown,
            "there is no public endpoint: endpointPublicAccess is false",
            "Remove one of the two keys",
        )
    elif not cluster.endpoint_private_access:
        yield Problem(
            "cluster.endpointPrivateAccess",
            False,
            "nodes would reach the API server by its public endpoint, from addresses that publicAccessCidrs may lack",
            "Set it to true",
        )
    yield from starmap(Problem, aws_rules.public_access("cluster.publicAccessCidrs", blocks))


def _aws_problems(settings: Settings) -> Iterable[Problem]:
    """What EKS or EC2 would refuse after the deploy has begun, or take for something else."""
    network, legacy = settings.network, settings.legacy.groups if settings.legacy else ()
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
    for section, groups in (("legacy.groups", legacy), ("cilium.groups", settings.cilium.groups)):
        for index, group in enumerate(groups):
            yield from starmap(Problem, aws_rules.ids(f"{section}.{index}.subnetIds", "subnet", group.subnet_ids))


def _group_problems(settings: Settings) -> Iterable[Problem]:
    legacy = settings.legacy.groups if settings.legacy else ()
    sections = {"legacy.groups": legacy, "cilium.groups": settings.cilium.groups}
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
    canary = settings.cilium.canary
    if canary.max_pods is None and canary.instance_type not in addressing.LIMITS:
        yield Problem(
            "cilium.canary.instanceType",
            canary.instance_type,
            "its limits are not known here",
            "Set cilium.canary.maxPods",
        )


def _version_problems(settings: Settings) -> Iterable[Problem]:
    calico = settings.legacy.calico.version if settings.legacy and settings.journey == "replace" else None
    chosen = {"cilium.version": settings.cilium.version, "legacy.calico.version": calico}
    for key, version in chosen.items():
        if version is not None and not re.fullmatch(r"v?[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}", version):
            yield Problem(key, version, "is not a version", "Write it as MAJOR.MINOR.PATCH")
            return
    if settings.cluster.adopt:
        return  # the cluster's own version is a fact: checked when the facts are there
    for misfit in versions.misfits(kubernetes=settings.cluster.version, cilium=settings.cilium.version, calico=calico):
        key = "cilium.version" if misfit.subject == "Cilium" else "legacy.calico.version"
        yield Problem(key, misfit.value, misfit.text, "Change one of the two")
