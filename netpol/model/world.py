"""What policy is decided in: pods, namespaces, nodes with the engines that enforce on them, services, addresses.

A `World` is a plain frozen value. `load` makes one from files (policies and cluster objects mixed, any order);
`World(...)` takes the parts by hand.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

from netpol.model.accepted import Accepted
from netpol.model.derived import Derived
from netpol.model.identity import in_identity
from netpol.model.named import GIVEN_BY_KUBERNETES, namespaces_named
from netpol.model.ranges import IPAddress, IPNetwork
from netpol.model.values import Policy


class Engine(StrEnum):
    """Who enforces. `kubernetes` is an engine that knows NetworkPolicy only (the VPC CNI's agent)."""

    CALICO = "calico"
    CILIUM = "cilium"
    KUBERNETES = "kubernetes"


class Recognition(StrEnum):
    """What pods of a node are to Cilium elsewhere: pods with an identity, or mere addresses of the world."""

    CILIUM = "cilium"
    BRIDGE = "bridge"
    WORLD = "world"


class Enforcement(StrEnum):
    """Which pods Cilium polices: those that a policy selects, every pod, or none."""

    DEFAULT = "default"
    ALWAYS = "always"
    NEVER = "never"


class Rest(StrEnum):
    """What is taken of whatever is not in a world.

    `absent`: the world is whole, what is not there is not there. `unknown`: it may be there or not, and an answer that
    depends on it is none. `closed`: it matches nothing, as far as rules ask for it. `open`: it matches what it can.
    """

    ABSENT = "absent"
    UNKNOWN = "unknown"
    CLOSED = "closed"
    OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPort:
    """`calico_only`: Calico counts it, Cilium (pkg/k8s/labels.go, 1.20) does not: an init container declares it, or a
    later container declares its name again.
    """

    name: str
    protocol: int
    number: int
    calico_only: bool = False


def shadowed(ports: Iterable[NamedPort]) -> tuple[NamedPort, ...]:
    """Ports of a pod in the order of its containers: of one name, the last is all that Cilium knows."""
    listed = tuple(ports)
    last = {p.name.lower(): i for i, p in enumerate(listed) if not p.calico_only}
    return tuple(
        p if p.calico_only or last[p.name.lower()] == i else replace(p, calico_only=True) for i, p in enumerate(listed)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """A namespace. Not `given`: policies or objects name it, and of its labels only Kubernetes' own is known."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    given: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccount:
    namespace: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node; `recognised` says what its pods are to Cilium, `host_recognised` what its own addresses are."""

    name: str
    engines: frozenset[Engine] = frozenset()
    recognised: Recognition = Recognition.WORLD
    host_recognised: bool | None = None
    addresses: tuple[IPAddress, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    given: bool = True

    @property
    def is_remote_node(self) -> bool:
        """Whether Cilium on other nodes knows this node's addresses as `remote-node`.

        The bridge gives pods identities; nodes get one only when it is told to (`host_recognised`).
        """
        return self.recognised is Recognition.CILIUM if self.host_recognised is None else self.host_recognised


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod. Without addresses it may have any that the world's `pod_cidrs` hold. `place` tells copies apart.

    `namespace_labels`, `account_labels`: in place of the world's, for a pod that stands for one of several ways in
    which its namespace or service account could be labelled.
    """

    namespace: str
    name: str
    node: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    service_account: str = "default"
    addresses: tuple[IPAddress, ...] = ()
    ports: tuple[NamedPort, ...] = ()
    host_network: bool = False
    namespace_labels: Mapping[str, str] | None = field(default=None, hash=False)
    account_labels: Mapping[str, str] | None = field(default=None, hash=False)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort:
    name: str = ""
    protocol: int = 6
    port: int
    target: int | str = 0
    node_port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """An endpoint: its address, the pod behind it if there is one, and the port each service port leads to."""

    address: IPAddress
    pod: tuple[str, str] | None = None
    ports: Mapping[str, tuple[int, int]] = field(default_factory=dict, hash=False)
    ready: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What EndpointSlices say of one service, whether there is a Service object or not."""

    namespace: str
    service: str
    backends: tuple[Backend, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """`backends`: the ready endpoints; None means: nobody said, derive them from the selector."""

    namespace: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    selector: Mapping[str, str] = field(default_factory=dict, hash=False)
    cluster_ips: tuple[IPAddress, ...] = ()
    load_balancer_ips: tuple[IPAddress, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    local: bool = False
    backends: tuple[Backend, ...] | None = None

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CiliumOptions:
    """What the agents' version and configuration change about policy; the defaults are the chart's (1.20).

    `local_host_reaches_pods`: whether a node reaches its own pods unless a rule denies it. `counts`: whether a label
    of a pod, by its key, is part of the pod's identity. Options are compared, so it has to be a value, too.
    `cluster`: the name of the cluster; empty: nobody said it.
    """

    version: tuple[int, int] = (1, 20)
    cidr_match_nodes: bool = False
    cidr_match_pods: bool = False
    host_firewall: bool = False
    cluster_policies: bool = False
    enforcement: Enforcement = Enforcement.DEFAULT
    local_host_reaches_pods: bool = True
    extended_protocols: bool = False
    counts: Callable[[str], bool] = in_identity
    cluster: str = ""


DEFAULT_HOST_ADDRESSES = tuple(ipaddress.ip_address(a) for a in ("169.254.170.23", "fd00:ec2::23", "169.254.20.10"))
"""Addresses that live on every node: the Pod Identity agent's and the node-local DNS cache's."""


@dataclass(frozen=True, kw_only=True)
class World:
    """Everything that decides a flow.

    `families`: the address families of flows. `six_egress`: pods without an IPv6 address of their own reach IPv6
    destinations outside all the same (the VPC CNI's ENABLE_V6_EGRESS). `apiserver`: addresses that Cilium knows as
    `kube-apiserver`. `host_addresses`: addresses that each node serves itself. `pod_cidrs`: where pods without a
    known address may be. `families_stated`: whether somebody said the families, or an address did. `other_protocols`:
    whether pods may speak IP protocols other than TCP, UDP, SCTP and ICMP. `accepted`: what somebody accepts of the
    differences to another world. `rest`: what is taken of what is not in here. `beyond`: what objects say that is not
    modelled; proofs name it. `derived`: what was worked out about
    this world; no part of its value.
    """

    policies: tuple[Policy, ...] = ()
    pods: tuple[Pod, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    nodes: tuple[Node, ...] = ()
    services: tuple[Service, ...] = ()
    slices: tuple[Slice, ...] = ()
    service_accounts: tuple[ServiceAccount, ...] = ()
    apiserver: tuple[IPNetwork, ...] = ()
    host_addresses: tuple[IPAddress, ...] = DEFAULT_HOST_ADDRESSES
    pod_cidrs: tuple[IPNetwork, ...] = ()
    families: frozenset[int] = frozenset((4,))
    six_egress: bool = False
    calico_version: tuple[int, int] = (3, 32)
    cilium: CiliumOptions = CiliumOptions()
    families_stated: bool = True
    other_protocols: bool = True
    accepted: tuple[Accepted, ...] = ()
    rest: Rest = Rest.ABSENT
    beyond: tuple[str, ...] = ()
    derived: Derived = field(default_factory=Derived, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if {pod.node for pod in self.pods} - {"", *self.node_by_name}:
            stray = next(pod for pod in self.pods if pod.node and pod.node not in self.node_by_name)
            raise ValueError(f"pod {stray} is on node {stray.node!r}, which the world does not have")
        if not self.families or self.families - {4, 6}:
            raise ValueError(f"families are 4 and 6, not {sorted(self.families)}")

    @cached_property
    def node_by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def pod_by_name(self) -> dict[tuple[str, str], Pod]:
        return {(pod.namespace, pod.name): pod for pod in self.pods}

    @cached_property
    def namespace_labels(self) -> dict[str, Mapping[str, str]]:
        return {ns.name: ns.labels for ns in self.namespaces}

    @cached_property
    def account_labels(self) -> dict[tuple[str, str], Mapping[str, str]]:
        return {(a.namespace, a.name): a.labels for a in self.service_accounts}

    @cached_property
    def service_by_name(self) -> dict[tuple[str, str], Service]:
        return {(s.namespace, s.name): s for s in self.services}

    @cached_property
    def slices_by_service(self) -> dict[tuple[str, str], tuple[Backend, ...]]:
        out: dict[tuple[str, str], tuple[Backend, ...]] = {}
        for one in self.slices:
            key = (one.namespace, one.service)
            out[key] = (*out.get(key, ()), *one.backends)
        return out

    def endpoints(self, namespace: str, name: str) -> tuple[Backend, ...] | None:
        """Every endpoint that EndpointSlices hold for a service, ready or not, whether or not the Service is there.

        Without slices they are what its selector would make them; None where nobody gave either.
        """
        found = self.slices_by_service.get((namespace, name))
        service = self.service_by_name.get((namespace, name))
        if found is not None or service is None:
            return found
        return self.backends(service)

    def node_of(self, pod: Pod) -> Node:
        """The pod's node. A pod on no node is on one where nothing enforces."""
        return self.node_by_name.get(pod.node, _NOWHERE)

    def of(self, kind: type[Any]) -> list[Any]:
        """The policies of one type, in the order given."""
        return [p for p in self.policies if isinstance(p, kind)]

    def backends(self, service: Service) -> tuple[Backend, ...]:
        """The service's ready endpoints, from what was given or from its selector."""
        if service.backends is not None:
            return service.backends
        if not service.selector:
            return ()
        out: list[Backend] = []
        for pod in self.pods:
            if pod.namespace != service.namespace or any(pod.labels.get(k) != v for k, v in service.selector.items()):
                continue
            ports = {p.name: (p.protocol, n) for p in service.ports if (n := _target(p, pod))}
            addresses = self.node_of(pod).addresses if pod.host_network else pod.addresses
            out += [Backend(address=a, pod=(pod.namespace, pod.name), ports=ports) for a in addresses]
        return tuple(out)

    def enforced_by(self, *engines: Engine | str, recognised: Recognition | str | None = None) -> World:
        """The same world with these engines on every node (a node is added where there is none).

        Where Cilium enforces, its pods are recognised unless said otherwise.
        """
        chosen = frozenset(Engine(e) for e in engines)
        seen = Recognition(recognised or ("cilium" if Engine.CILIUM in chosen else "world"))
        nodes = tuple(replace(n, engines=chosen, recognised=seen) for n in self.nodes)
        if all(pod.node for pod in self.pods) and nodes:
            return replace(self, nodes=nodes)
        nodes = (*nodes, Node(name="anywhere", engines=chosen, recognised=seen))
        pods = tuple(pod if pod.node else replace(pod, node="anywhere") for pod in self.pods)
        return replace(self, nodes=nodes, pods=pods)

    def with_policies(self, policies: Iterable[Policy]) -> World:
        out = replace(self, policies=tuple(policies))
        return out if self.whole else out.with_named()

    @property
    def whole(self) -> bool:
        """Whether what is not in here is not there."""
        return self.rest is Rest.ABSENT

    def with_named(self) -> World:
        """The world with the namespaces that its policies and objects name, each with the label Kubernetes gives it.

        In a whole world only pods prove that a namespace exists.
        """
        named = {pod.namespace for pod in self.pods}
        if not self.whole:
            named |= namespaces_named(self.policies)
            for parts in (self.services, self.slices, self.service_accounts):
                named |= {one.namespace for one in parts}
        named -= self.namespace_labels.keys()
        fresh = [Namespace(name=n, labels={GIVEN_BY_KUBERNETES: n}, given=False) for n in sorted(named)]
        return replace(self, namespaces=(*self.namespaces, *fresh)) if fresh else self


def spread(*worlds: World) -> tuple[World, ...]:
    """The worlds with every pod on every kind of node, as `name@node`, so that a proof holds wherever pods run.

    Two nodes are of one kind when no world enforces or recognises them differently. Raises ValueError when the
    worlds share no node.
    """
    shared = [n.name for n in worlds[0].nodes if all(n.name in w.node_by_name for w in worlds)]
    kinds: dict[object, str] = {}
    for name in shared:
        nodes = [w.node_by_name[name] for w in worlds]
        kinds.setdefault(tuple((n.engines, n.recognised, n.is_remote_node) for n in nodes), name)
    if not kinds:
        raise ValueError("the worlds have no node in common to put pods on")
    out = []
    for world in worlds:
        pods = [replace(pod, name=f"{pod.name}@{node}", node=node) for pod in world.pods for node in kinds.values()]
        out.append(replace(world, pods=tuple(pods)))
    return tuple(out)


_NOWHERE = Node(name="", recognised=Recognition.WORLD)


def _target(port: ServicePort, pod: Pod) -> int:
    if isinstance(port.target, int):
        return port.target or port.port
    for named in pod.ports:
        if named.name == port.target and named.protocol == port.protocol:
            return named.number
    return 0
