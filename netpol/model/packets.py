"""The flow being decided: who talks to whom, and what the first packet looks like."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace

from netpol.model.ranges import PORT_MAX, IPAddress, whole
from netpol.model.values import ICMP, ICMP6, PROTOCOLS, WITH_PORTS, protocol_name
from netpol.model.world import Node, Pod, World


@dataclass(frozen=True, slots=True)
class Packet:
    """What the first packet of a connection shows besides its addresses. `port` is the destination port."""

    family: int
    protocol: int
    port: int = 0
    source_port: int = 0
    icmp_type: int = 0
    icmp_code: int = 0

    def __str__(self) -> str:
        text = protocol_name(self.protocol)
        if self.protocol in WITH_PORTS:
            text += f" {self.port}"
            if self.source_port:
                text += f" from port {self.source_port}"
        elif self.protocol in (ICMP, ICMP6):
            text += f" type {self.icmp_type} code {self.icmp_code}"
        return f"{text} over IPv{self.family}"


@dataclass(frozen=True, slots=True)
class Party:
    """One end of a flow as policy sees it: a pod, a node (its own processes and host-network pods), or an address."""

    pod: Pod | None = None
    node: Node | None = None
    address: IPAddress | None = None
    local: bool = False
    """A node, or an address on it, that is the other end's own node."""

    def __str__(self) -> str:
        where = f" at {self.address}" if self.address is not None else ""
        if self.pod is not None:
            on = f" on node {self.node.name}" if self.node is not None and self.node.name else ""
            return f"pod {self.pod}{on}{where}"
        if self.node is not None:
            return f"{'its own' if self.local else 'remote'} node {self.node.name}{where}"
        return f"{'node-local ' if self.local else ''}address {self.address}"


@dataclass(frozen=True, slots=True)
class PodEnd:
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class NodeEnd:
    """A node's own processes, and the pods that share its network."""

    name: str

    def __str__(self) -> str:
        return f"node:{self.name}"


@dataclass(frozen=True, slots=True)
class AddressEnd:
    address: IPAddress

    def __str__(self) -> str:
        return str(self.address)


@dataclass(frozen=True, slots=True)
class ServiceEnd:
    """A service by its cluster address; `via` names the node whose node port (or load balancer target) is used."""

    namespace: str
    name: str
    via: str = ""

    def __str__(self) -> str:
        return f"service:{self.namespace}/{self.name}" + (f"@{self.via}" if self.via else "")


End = PodEnd | NodeEnd | AddressEnd | ServiceEnd


def end(text: str) -> End:
    """`namespace/pod`, `node:NAME`, an address, `service:namespace/name`, or that with `@node` for its node
    port.

    Raises ValueError.
    """
    if text.startswith("node:"):
        return NodeEnd(text.removeprefix("node:"))
    if text.startswith("service:"):
        name, _, via = text.removeprefix("service:").partition("@")
        namespace, slash, name = name.partition("/")
        if slash:
            return ServiceEnd(namespace, name, via)
    elif "/" in text:
        namespace, _, name = text.partition("/")
        return PodEnd(namespace, name)
    else:
        try:
            return AddressEnd(ipaddress.ip_address(text))
        except ValueError:
            pass
    raise ValueError(f"{text!r} is not namespace/pod, node:NAME, an address, or service:namespace/name[@node]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A connection attempt. `reply` asks about its answers instead, which every engine lets pass with it."""

    source: End
    destination: End
    protocol: int = 6
    port: int = 0
    source_port: int = 0
    icmp_type: int = 8
    icmp_code: int = 0
    family: int | None = None
    reply: bool = False

    def __post_init__(self) -> None:
        limits = {"port": PORT_MAX, "source_port": PORT_MAX, "protocol": 255, "icmp_type": 255, "icmp_code": 255}
        for name, most in limits.items():
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} {getattr(self, name)} is not between 0 and {most}")

    @staticmethod
    def of(source: str, destination: str, protocol: str = "TCP", port: int = 0, **more: int) -> Flow:
        """`Flow.of("shop/web-1", "169.254.169.254", "TCP", 80)`. Raises ValueError."""
        names = {name.lower(): number for name, number in PROTOCOLS.items()}
        number = names.get(protocol.lower()) or whole(protocol, 255)
        if number is None:
            raise ValueError(f"protocol {protocol!r} is not one of {', '.join(PROTOCOLS)} or a number")
        return Flow(
            source=end(source),
            destination=end(destination),
            protocol=number,
            port=port,
            **more,  # type: ignore[arg-type]
        )

    def packet(self, family: int) -> Packet:
        icmp = self.protocol in (ICMP, ICMP6)
        return Packet(
            family=family,
            protocol=self.protocol,
            port=self.port if self.protocol in WITH_PORTS else 0,
            source_port=self.source_port if self.protocol in WITH_PORTS else 0,
            icmp_type=self.icmp_type if icmp else 0,
            icmp_code=self.icmp_code if icmp else 0,
        )

    def __str__(self) -> str:
        text = f"{self.source} -> {self.destination} {self.packet(self.family or 4)}"
        return text if self.family else text.rsplit(" over", 1)[0]


def party(world: World, which: End, family: int) -> Party:
    """The end as policy sees it, with its address of the family. Raises ValueError for names the world lacks."""
    match which:
        case PodEnd(namespace, name):
            pod = world.pod_by_name.get((namespace, name))
            if pod is None:
                raise ValueError(f"no pod {namespace}/{name} in this world")
            node = world.node_of(pod)
            if pod.host_network:
                return Party(node=node, address=_first(node.addresses or pod.addresses, family))
            return Party(pod=pod, node=node, address=_first(pod.addresses, family))
        case NodeEnd(name):
            if name not in world.node_by_name:
                raise ValueError(f"no node {name} in this world")
            node = world.node_by_name[name]
            return Party(node=node, address=_first(node.addresses, family))
        case AddressEnd(address):
            return _owner(world, address)
    raise ValueError(f"{which} has no single address")


def _first(addresses: tuple[IPAddress, ...], family: int) -> IPAddress | None:
    return next((a for a in addresses if a.version == family), None)


def _owner(world: World, address: IPAddress) -> Party:
    """An address belongs to the pod or node that has it; nothing is decided about a bare number that is a pod."""
    for pod in world.pods:
        if address in pod.addresses and not pod.host_network:
            return Party(pod=pod, node=world.node_of(pod), address=address)
    for node in world.nodes:
        if address in node.addresses:
            return Party(node=node, address=address)
    return Party(address=address)


def related(world: World, mine: Party, other: Party) -> Party:
    """`mine` with `local` set when it is the other end's own node, or an address that every node serves itself."""
    if mine.pod is not None:
        return mine
    if mine.node is not None:
        return replace(mine, local=other.node is not None and other.node.name == mine.node.name)
    return replace(mine, local=mine.address in world.host_addresses)
