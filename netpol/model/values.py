"""Policies as typed values: what the files say, nothing more. Meaning is in `calico`, `cilium` and
`kubernetes`.

Protocols are IP protocol numbers; ports are inclusive ranges, or names that pods declare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from netpol.model.derived import Derived
from netpol.model.errors import Place
from netpol.model.ranges import PORT_MAX, IPNetwork
from netpol.model.selector import ALL, Selector

INGRESS, EGRESS = "ingress", "egress"
DIRECTIONS = (INGRESS, EGRESS)
OTHER = {INGRESS: EGRESS, EGRESS: INGRESS}

PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132, "ICMP": 1, "ICMPv6": 58, "UDPLite": 136}
PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}
EXTENDED_PROTOCOLS = {"VRRP": 112, "IGMP": 2, "GRE": 47, "IPIP": 4, "IPV6": 41, "ESP": 50, "AH": 51}
TCP, UDP, SCTP, ICMP, ICMP6 = 6, 17, 132, 1, 58
WITH_PORTS = (TCP, UDP, SCTP)


def protocol_name(number: int) -> str:
    return PROTOCOL_NAMES.get(number, f"protocol {number}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """Which object a value came from."""

    kind: str
    name: str
    namespace: str = ""
    api: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    owners: tuple[str, ...] = ()
    """API versions of the objects that own this one."""
    stored: str = ""
    """Under which name Calico stores the object, where that is another one."""
    place: Place = field(default_factory=Place, compare=False)

    @property
    def of_operator(self) -> bool:
        """Whether the Tigera operator made the object, for Calico's own pods; it goes with Calico."""
        return any(owner.startswith("operator.tigera.io/") for owner in self.owners)

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace + '/' if self.namespace else ''}{self.name}"


@dataclass(frozen=True, slots=True)
class Port:
    """An inclusive range of port numbers, or a port that pods declare by `name`."""

    first: int = 0
    last: int = PORT_MAX
    name: str = ""

    def __str__(self) -> str:
        return self.name or (str(self.first) if self.first == self.last else f"{self.first}-{self.last}")


@dataclass(frozen=True, slots=True)
class Icmp:
    """An ICMP type and code; None stands for any."""

    type: int | None = None
    code: int | None = None


# --- Calico ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRef:
    name: str
    namespace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """One side of a Calico rule. Everything given must hold."""

    selector: Selector | None = None
    not_selector: Selector | None = None
    namespace_selector: Selector | None = None
    service_accounts: tuple[str, ...] = ()
    service_account_selector: Selector | None = None
    nets: tuple[IPNetwork, ...] = ()
    not_nets: tuple[IPNetwork, ...] = ()
    ports: tuple[Port, ...] = ()
    not_ports: tuple[Port, ...] = ()
    service: ServiceRef | None = None


ANYBODY = Entity()
"""A side of which nothing is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalicoRule:
    action: str
    where: str
    source: Entity = ANYBODY
    destination: Entity = ANYBODY
    protocol: int | None = None
    not_protocol: int | None = None
    icmp: Icmp | None = None
    not_icmp: Icmp | None = None
    ip_version: int | None = None
    http: bool = False
    place: Place = field(default_factory=Place, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalicoPolicy:
    """A Calico NetworkPolicy or GlobalNetworkPolicy (staged or not), or a Kubernetes policy as Calico sees it."""

    meta: Meta
    tier: str = "default"
    order: float | None = None
    selector: Selector = ALL
    namespace_selector: Selector | None = None
    service_account_selector: Selector | None = None
    directions: frozenset[str] = frozenset()
    ingress: tuple[CalicoRule, ...] = ()
    egress: tuple[CalicoRule, ...] = ()
    staged: bool = False
    apply_on_forward: bool = False
    pre_dnat: bool = False
    do_not_track: bool = False

    @property
    def hosts_only(self) -> bool:
        """Whether it acts on host endpoints alone; pods never see it."""
        return self.pre_dnat or self.do_not_track

    def rules(self, direction: str) -> tuple[CalicoRule, ...]:
        return self.ingress if direction == INGRESS else self.egress


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    meta: Meta
    order: float | None = None
    default_action: str = "Deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSet:
    """A NetworkSet or GlobalNetworkSet: addresses that selectors find by the set's labels."""

    meta: Meta
    nets: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    meta: Meta
    labels_to_apply: Mapping[str, str] = field(default_factory=dict, hash=False)
    ingress: tuple[CalicoRule, ...] = ()
    egress: tuple[CalicoRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostEndpoint:
    meta: Meta
    node: str
    interface: str = ""
    expected_ips: tuple[IPNetwork, ...] = ()
    profiles: tuple[str, ...] = ()


# --- Kubernetes -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesPeer:
    """A pod selector, a namespace selector, both, or an address block."""

    pods: Selector | None = None
    namespaces: Selector | None = None
    block: IPNetwork | None = None
    excepted: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesPort:
    protocol: int = TCP
    port: Port | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesRule:
    where: str
    peers: tuple[KubernetesPeer, ...] = ()
    ports: tuple[KubernetesPort, ...] = ()
    place: Place = field(default_factory=Place, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesPolicy:
    """`derived`: what each engine makes of it; no part of its value."""

    meta: Meta
    pods: Selector = ALL
    directions: frozenset[str] = frozenset()
    ingress: tuple[KubernetesRule, ...] = ()
    egress: tuple[KubernetesRule, ...] = ()
    derived: Derived = field(default_factory=Derived, init=False, repr=False, compare=False)

    def rules(self, direction: str) -> tuple[KubernetesRule, ...]:
        return self.ingress if direction == INGRESS else self.egress


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPeer:
    """A peer of a ClusterNetworkPolicy: exactly one of the fields is given (`unknown`: none that we know)."""

    namespaces: Selector | None = None
    pods: Selector | None = None
    nodes: Selector | None = None
    networks: tuple[IPNetwork, ...] = ()
    domains: tuple[str, ...] = ()
    unknown: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPort:
    """`protocol` None with a name: any protocol under which pods declare that name."""

    protocol: int | None = None
    port: Port | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRule:
    action: str
    where: str
    name: str = ""
    peers: tuple[ClusterPeer, ...] = ()
    ports: tuple[ClusterPort, ...] = ()
    place: Place = field(default_factory=Place, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ClusterWide:
    """The subject is a namespace selector, with or without a pod selector."""

    meta: Meta
    tier: str
    priority: int
    namespaces: Selector = ALL
    pods: Selector | None = None
    ingress: tuple[ClusterRule, ...] = ()
    egress: tuple[ClusterRule, ...] = ()

    def rules(self, direction: str) -> tuple[ClusterRule, ...]:
        return self.ingress if direction == INGRESS else self.egress


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPolicy(_ClusterWide):
    """Kubernetes ClusterNetworkPolicy, v1alpha2 and v1beta1, which are alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminPolicy(_ClusterWide):
    """Kubernetes AdminNetworkPolicy (tier Admin) and BaselineAdminNetworkPolicy (Baseline), v1alpha1."""


# --- Cilium ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CidrPeer:
    """A CIDR, or a CiliumCIDRGroup by name or labels; `excepted` is cut out of it."""

    cidr: IPNetwork | None = None
    group: str = ""
    group_selector: Selector | None = None
    excepted: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CiliumService:
    """A toServices item: a service by name, or services by their labels."""

    name: str = ""
    namespace: str = ""
    selector: Selector | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CiliumPort:
    """`protocol` None is ANY: TCP, UDP and SCTP. `port` None is every port of the protocol."""

    protocol: int | None = None
    port: Port | None = None


@dataclass(frozen=True, slots=True)
class IcmpType:
    """An ICMP type of one address family (4 or 6)."""

    family: int
    type: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CiliumRule:
    """One item of ingress, ingressDeny, egress or egressDeny.

    A list of peers is None when absent (everything) and empty when it selects nothing; `ports` and `icmps` likewise.
    `l7` names what inside a connection the rule looks at besides, which decides nothing about the connection itself.
    """

    direction: str
    deny: bool
    where: str
    endpoints: tuple[Selector, ...] | None = None
    nodes: tuple[Selector, ...] | None = None
    entities: tuple[str, ...] | None = None
    cidrs: tuple[CidrPeer, ...] | None = None
    services: tuple[CiliumService, ...] | None = None
    domains: tuple[str, ...] = ()
    groups: bool = False
    ports: tuple[CiliumPort, ...] | None = None
    icmps: tuple[IcmpType, ...] | None = None
    l7: str = ""
    place: Place = field(default_factory=Place, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CiliumSpec:
    """One `spec`: a subject, its rules, and whether they switch default deny on per direction (None: as documented)."""

    where: str
    endpoints: Selector | None = None
    nodes: Selector | None = None
    rules: tuple[CiliumRule, ...] = ()
    default_deny: Mapping[str, bool | None] = field(default_factory=dict, hash=False)
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CiliumPolicy:
    meta: Meta
    specs: tuple[CiliumSpec, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CidrGroup:
    meta: Meta
    nets: tuple[IPNetwork, ...] = ()


Policy = (
    CalicoPolicy
    | Tier
    | NetworkSet
    | Profile
    | HostEndpoint
    | KubernetesPolicy
    | ClusterPolicy
    | AdminPolicy
    | CiliumPolicy
    | CidrGroup
)
