"""Everything a survey reads, as plain data: what EKS, EC2, Auto Scaling, IAM and Kubernetes answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kube.transport import Obj
from operations.cluster.calico import STORED


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """One cluster at one time. Objects are as their API answered."""

    account: str
    region: str
    cluster: Obj
    """EKS DescribeCluster."""
    vpc: Obj = field(default_factory=dict)
    nodegroups: Sequence[Obj] = ()
    addons: Mapping[str, Obj] = field(default_factory=dict)
    """Name → EKS DescribeAddon, of every installed add-on."""
    fargate_profiles: Sequence[str] = ()
    pod_identities: Sequence[Obj] = ()
    oidc_providers: Sequence[str] = ()
    """ARNs."""
    instances: Sequence[Obj] = ()
    """EC2 instances that are nodes."""
    scaling_group_of: Mapping[str, str] = field(default_factory=dict)
    """Instance id → Auto Scaling group."""
    scaling_groups: Mapping[str, Obj] = field(default_factory=dict)
    subnets: Sequence[Obj] = ()
    route_tables: Sequence[Obj] = ()
    templates: Mapping[str, Obj] = field(default_factory=dict)
    """Node group → data of its launch template."""

    calico_api: str = STORED
    """API group and version from which Calico enforces."""
    calico_untold: str = ""
    """Why that cannot be told; empty where it can."""
    nodes: Sequence[Obj] = ()
    pods: Sequence[Obj] = ()
    daemonsets: Sequence[Obj] = ()
    deployments: Sequence[Obj] = ()
    webhooks: Sequence[Obj] = ()
    """Validating and mutating webhook configurations."""
    custom: Mapping[str, Sequence[Obj]] = field(default_factory=dict)
    """Plural → custom objects, for the kinds in `gather.CUSTOM` and `CALICO`; empty when a kind is not served."""

    def daemonset(self, namespace: str, name: str) -> Obj | None:
        for found in self.daemonsets:
            if found["metadata"]["namespace"] == namespace and found["metadata"]["name"] == name:
                return found
        return None

    def objects_of(self, plural: str) -> Sequence[Obj]:
        return self.custom.get(plural, ())

    @property
    def env(self) -> dict[str, str]:
        """Plain environment of aws-node."""
        return env_of(self.daemonset("kube-system", "aws-node"))


def env_of(daemonset: Obj | None) -> dict[str, str]:
    """Plain environment of the first container."""
    if daemonset is None:
        return {}
    container = daemonset["spec"]["template"]["spec"]["containers"][0]
    return {e["name"]: str(e["value"]) for e in container.get("env") or [] if "value" in e}


def is_true(value: str | None) -> bool:
    """Whether aws-node takes a variable for set (Go's strconv.ParseBool)."""
    return value in {"1", "t", "T", "true", "TRUE", "True"}
