"""Random Cilium cases: policies of every kind, endpoints of every kind, flows between them. Seeded, small, dense."""

# ruff: noqa: S311

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from netpol import from_objects
from netpol.model.packets import Packet, Party
from netpol.model.values import ICMP, ICMP6, SCTP, TCP, UDP
from netpol.model.world import (
    CiliumOptions,
    Enforcement,
    Engine,
    NamedPort,
    Namespace,
    Node,
    Pod,
    Recognition,
    World,
    shadowed,
)
from prover.counting import counted

NAMESPACES = {
    "red": {"team": "red", "env": "prod"},
    "blue": {"team": "blue", "env": "prod"},
    "grey": {"env": "dev"},
}
LABELS = {
    "app": ("web", "db", "cache"),
    "tier": ("front", "back"),
    "app.kubernetes.io/name": ("x", "y"),
    "pod-template-hash": ("1", "2"),
}
ADDRESSES = (
    "10.0.0.9",
    "10.0.1.9",
    "10.0.1.200",
    "192.168.3.4",
    "169.254.169.254",
    "8.8.8.8",
    "2001:db8::1",
    "2001:db8:1::1",
    "2600::1",
)
CIDRS = {
    4: (
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.0.0.0/16",
        "10.0.1.0/24",
        "10.0.1.128/25",
        "169.254.169.254/32",
        "8.8.8.8/32",
    ),
    6: ("::/0", "2001:db8::/32", "2001:db8:1::/48", "2600::/16"),
}
PORTS = (0, 22, 53, 80, 443, 8080, 8081, 30000, 65535)
NAMES = ("http", "dns", "metrics")
ENTITIES = (
    "all",
    "world",
    "world-ipv4",
    "world-ipv6",
    "cluster",
    "cluster-mesh",
    "host",
    "remote-node",
    "kube-apiserver",
    "init",
    "ingress",
    "unmanaged",
    "health",
    "none",
)
FILTERS = (
    "!app",
    "k8s:!tier !pod-template-hash",
    r"app io\.kubernetes\.pod\.namespace",
    r"tier k8s:io\.cilium\.k8s\.namespace\.labels\.(env|team) io\.kubernetes",
    r"!io\.cilium\.k8s\.namespace\.labels\.team",
    r"!io\.cilium\.k8s\.policy\.serviceaccount !io\.kubernetes\.pod\.namespace",
    ".*",
)
"""Values of `labels` in cilium-config."""
ICMP_TYPES = {4: (0, 3, 8, "EchoRequest", "EchoReply"), 6: (128, 129, "EchoRequest")}


@dataclass
class Case:
    """One policy set with the flows to try. `ends` holds (party, what the oracle is told) pairs."""

    world: World
    objects: list[dict[str, Any]]
    ends: list[tuple[Party, dict[str, Any]]]
    flows: list[tuple[int, int, Packet]]
    config: dict[str, Any]

    def question(self) -> dict[str, Any]:
        return {
            "config": self.config,
            "policies": self.objects,
            "endpoints": [told for _, told in self.ends],
            "flows": [
                {
                    "from": a,
                    "to": b,
                    "proto": p.protocol,
                    "port": p.icmp_type if p.protocol in (ICMP, ICMP6) else p.port,
                }
                for a, b, p in self.flows
            ],
        }


def cases(seed: int, flows: int = 40) -> Iterator[Case]:
    """An endless stream of cases; the same seed gives the same stream."""
    rng = random.Random(seed)
    while True:
        yield _case(rng, flows)


def _case(rng: random.Random, flows: int) -> Case:
    families = frozenset((4, 6)) if rng.random() < 0.6 else frozenset((4,))
    finds_nodes = rng.random() < 0.5
    enforcement = rng.choices(tuple(Enforcement), weights=(86, 10, 4))[0]
    local = rng.random() < 0.9
    prefixes = rng.choice(FILTERS) if rng.random() < 0.2 else ""
    maker = PolicyMaker(rng, families)
    objects = maker.objects()
    nodes = (
        Node(
            name="own",
            engines=frozenset((Engine.CILIUM,)),
            recognised=Recognition.CILIUM,
            addresses=(ipaddress.ip_address("10.0.0.1"),),
        ),
        Node(
            name="far",
            engines=frozenset((Engine.CILIUM,)),
            recognised=Recognition.CILIUM,
            addresses=(ipaddress.ip_address("10.0.0.2"),),
        ),
        Node(
            name="legacy",
            engines=frozenset((Engine.CALICO,)),
            recognised=Recognition.WORLD,
            addresses=(ipaddress.ip_address("10.0.1.3"),),
        ),
    )
    pods = tuple(_pod(rng, i, families) for i in range(rng.randint(3, 7)))
    world = from_objects(
        objects,
        families=families,
        apiserver=(ipaddress.ip_network("10.0.1.200/32"),),
        cilium=CiliumOptions(
            cluster_policies=True,
            cidr_match_nodes=finds_nodes,
            enforcement=enforcement,
            local_host_reaches_pods=local,
            counts=counted(prefixes),
            cluster="default",
        ),
    )
    world = World(
        policies=world.policies,
        pods=pods,
        nodes=nodes,
        namespaces=tuple(
            Namespace(name=n, labels={"kubernetes.io/metadata.name": n, **own}) for n, own in NAMESPACES.items()
        ),
        families=families,
        apiserver=world.apiserver,
        cilium=world.cilium,
    )
    ends = _ends(world, families)
    managed = [i for i, (who, told) in enumerate(ends) if told.get("namespace")]
    host = next(i for i, (_, told) in enumerate(ends) if told.get("reserved") == "host")
    tries = []
    for _ in range(flows):
        node = rng.random()
        first, second = rng.choice(managed), rng.randrange(len(ends))
        if node < 0.2:
            second = host if node < 0.11 else host + 1
        if rng.random() < 0.5:
            first, second = second, first
        family = _family(rng, ends[first][0], ends[second][0], families)
        if first != second and family is not None:
            tries.append((first, second, _packet(rng, family)))
    return Case(
        world=world,
        objects=objects,
        ends=ends,
        flows=tries,
        config={
            "ipv4": True,
            "ipv6": 6 in families,
            "cidrMatchMode": ["nodes"] if finds_nodes else [],
            "hostFirewall": False,
            "enforcement": enforcement.value,
            "allowLocalhost": "always" if local else "policy",
            "labels": prefixes.split(),
        },
    )


def _pod(rng: random.Random, index: int, families: frozenset[int]) -> Pod:
    labels = {k: rng.choice(v) for k, v in LABELS.items() if rng.random() < 0.7}
    ports = tuple(
        NamedPort(
            name=n,
            protocol=rng.choice((TCP, UDP)),
            number=rng.choice((53, 80, 8080)),
            calico_only=rng.random() < 0.15,
        )
        for n in rng.choices(NAMES, k=rng.randint(0, 3))
    )
    addresses = [ipaddress.ip_address(f"10.0.{rng.choice((0, 1))}.{100 + index}")]
    if 6 in families:
        addresses.append(ipaddress.ip_address(f"2001:db8:1::{100 + index}"))
    return Pod(
        namespace=rng.choice(tuple(NAMESPACES)),
        name=f"p{index}",
        labels=labels,
        service_account=rng.choice(("default", "robot")),
        node="legacy" if index and rng.random() < 0.2 else rng.choice(("own", "far")),
        addresses=tuple(addresses),
        ports=shadowed(ports),
    )


def _ends(world: World, families: frozenset[int]) -> list[tuple[Party, dict[str, Any]]]:
    out: list[tuple[Party, dict[str, Any]]] = []
    protocols = {TCP: "TCP", UDP: "UDP", SCTP: "SCTP"}
    for pod in world.pods:
        node = world.node_of(pod)
        if node.recognised is Recognition.WORLD:
            # To Cilium it is nothing but an address; the engine is told just that.
            out += [(Party(pod=pod, node=node, address=a), {"ip": str(a)}) for a in pod.addresses]
            continue
        told = {
            "namespace": pod.namespace,
            "namespaceLabels": dict(world.namespace_labels[pod.namespace]),
            "labels": dict(pod.labels),
            "serviceAccount": pod.service_account,
            "ports": [
                {"name": p.name, "port": p.number, "protocol": protocols[p.protocol]}
                for i, p in enumerate(pod.ports)
                # Of one name the engine itself takes the last.
                if any(q.name == p.name and not q.calico_only for q in pod.ports[i:])
            ],
        }
        out.append((Party(pod=pod, node=node), told))
    own, far, legacy = world.nodes
    mine = [str(a) for a in (*own.addresses, *world.host_addresses)]
    out.append((Party(node=own, address=own.addresses[0], local=True), {"reserved": "host", "ips": mine}))
    out.append((Party(node=far, address=far.addresses[0]), {"reserved": "remote-node", "ips": [str(far.addresses[0])]}))
    out.append((Party(node=legacy, address=legacy.addresses[0]), {"ip": str(legacy.addresses[0])}))
    for text in ADDRESSES:
        address = ipaddress.ip_address(text)
        if address.version in families:
            out.append((Party(address=address), {"ip": text, "apiserver": text == "10.0.1.200"}))
    return out


def _family(rng: random.Random, first: Party, second: Party, families: frozenset[int]) -> int | None:
    fixed = {who.address.version for who in (first, second) if who.address is not None}
    if len(fixed) == 2:
        return None
    return fixed.pop() if fixed else rng.choice(sorted(families))


def _packet(rng: random.Random, family: int) -> Packet:
    protocol = rng.choice((TCP, TCP, TCP, UDP, UDP, SCTP, ICMP if family == 4 else ICMP6, 47))
    if protocol in (ICMP, ICMP6):
        return Packet(family, protocol, icmp_type=rng.choice((0, 3, 8) if family == 4 else (1, 128, 129)))
    port = rng.choice((1, 22, 53, 79, 80, 81, 443, 8080, 8081, 8090, 30000, 65535)) if protocol != 47 else 0
    return Packet(family, protocol, port=port)


def _inside(inner: str, outer: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    net = ipaddress.ip_network(inner)
    return net.version == outer.version and net.network_address in outer and net.prefixlen >= outer.prefixlen


class PolicyMaker:
    """Random objects that the API server and Cilium's sanitizer accept."""

    def __init__(self, rng: random.Random, families: frozenset[int]) -> None:
        self.rng = rng
        self.families = families
        self.groups: list[dict[str, Any]] = []

    def objects(self) -> list[dict[str, Any]]:
        rng = self.rng
        self.groups = [self._group(i) for i in range(rng.randint(0, 2))]
        makers = (
            self._cnp,
            self._cnp,
            self._ccnp,
            self._ccnp,
            self._kubernetes,
            self._kubernetes,
            self._cluster,
        )
        return self.groups + [rng.choice(makers)(i) for i in range(rng.randint(2, 5))]

    # --- selectors
    def selector(self, *, prefix: str = "", pool: dict[str, tuple[str, ...]] | None = None) -> dict[str, Any]:
        rng = self.rng
        pool = pool or LABELS
        labels: dict[str, str] = {}
        expressions: list[dict[str, Any]] = []
        for key in rng.sample(sorted(pool), k=rng.choice((0, 0, 1, 1, 2))):
            values, kind = pool[key], rng.random()
            if kind < 0.5:
                labels[prefix + key] = rng.choice(values)
                continue
            operator = rng.choice(("In", "NotIn", "Exists", "DoesNotExist"))
            item: dict[str, Any] = {"key": prefix + key, "operator": operator}
            if operator in ("In", "NotIn"):
                item["values"] = rng.sample(values, k=rng.randint(1, len(values)))
            expressions.append(item)
        out: dict[str, Any] = {}
        if labels:
            out["matchLabels"] = labels
        if expressions:
            out["matchExpressions"] = expressions
        return out

    def namespaces(self, prefix: str = "") -> dict[str, Any]:
        return self.selector(prefix=prefix, pool={"team": ("red", "blue"), "env": ("prod", "dev")})

    def peer_selector(self) -> dict[str, Any]:
        out = self.selector(prefix=self.rng.choice(("", "k8s:", "any:")))
        kind = self.rng.random()
        if kind < 0.3:
            out.setdefault("matchLabels", {})["k8s:io.kubernetes.pod.namespace"] = self.rng.choice(tuple(NAMESPACES))
        elif kind < 0.5:
            out.setdefault("matchLabels", {})["k8s:io.cilium.k8s.namespace.labels.env"] = "prod"
        elif kind < 0.6:
            out.setdefault("matchLabels", {})["io.cilium.k8s.policy.serviceaccount"] = "robot"
        elif kind < 0.68:
            operator = self.rng.choice(("In", "In", "NotIn", "Exists", "DoesNotExist"))
            asked: dict[str, Any] = {"key": "io.cilium.k8s.policy.cluster", "operator": operator}
            if operator.endswith("In"):
                asked["values"] = self.rng.sample(("default", "other"), k=self.rng.randint(1, 2))
            out.setdefault("matchExpressions", []).append(asked)
        elif kind < 0.73:
            out = {"matchLabels": {f"reserved:{self.rng.choice(('host', 'world', 'remote-node'))}": ""}}
        return out

    # --- Cilium
    def _meta(self, kind: str, index: int, namespace: str = "", api: str = "cilium.io/v2") -> dict[str, Any]:
        meta: dict[str, Any] = {"name": f"{kind.lower()}-{index}"}
        if namespace:
            meta["namespace"] = namespace
        return {"apiVersion": api, "kind": kind, "metadata": meta}

    def _group(self, index: int) -> dict[str, Any]:
        out = self._meta("CiliumCIDRGroup", index)
        out["metadata"]["labels"] = {"zone": self.rng.choice(("a", "b"))}
        pool = [c for f in self.families for c in CIDRS[f] if not c.endswith("/0")]
        out["spec"] = {"externalCIDRs": self.rng.sample(pool, k=self.rng.randint(1, 3))}
        return out

    def _cnp(self, index: int) -> dict[str, Any]:
        return self._cilium("CiliumNetworkPolicy", index, self.rng.choice(tuple(NAMESPACES)))

    def _ccnp(self, index: int) -> dict[str, Any]:
        return self._cilium("CiliumClusterwideNetworkPolicy", index, "")

    def _cilium(self, kind: str, index: int, namespace: str) -> dict[str, Any]:
        out = self._meta(kind, index, namespace)
        specs = [self._spec() for _ in range(self.rng.choice((1, 1, 2)))]
        if len(specs) == 1:
            out["spec"] = specs[0]
        else:
            out["specs"] = specs
        return out

    def _spec(self) -> dict[str, Any]:
        rng = self.rng
        # Mostly wide subjects: cases that no policy touches try little.
        spec: dict[str, Any] = {"endpointSelector": self.selector() if rng.random() < 0.5 else {}}
        for key in rng.sample(("ingress", "ingressDeny", "egress", "egressDeny"), k=rng.choice((1, 2, 2, 3))):
            spec[key] = [self._rule(key) for _ in range(rng.randint(1, 3))]
        if rng.random() < 0.4:
            switches = {d: rng.random() < 0.3 for d in rng.sample(("ingress", "egress"), k=rng.randint(1, 2))}
            spec["enableDefaultDeny"] = switches
        return spec

    def _rule(self, key: str) -> dict[str, Any]:
        rng = self.rng
        side = "from" if key.startswith("ingress") else "to"
        out: dict[str, Any] = {}
        kind = rng.random()
        if kind < 0.3:
            out[f"{side}Endpoints"] = [self.peer_selector() for _ in range(rng.randint(1, 2))]
        elif kind < 0.55:
            entities = rng.sample(ENTITIES, k=rng.randint(1, 2))
            out[f"{side}Entities"] = entities
        elif kind < 0.68:
            out[f"{side}CIDR"] = [self._cidr() for _ in range(rng.randint(1, 2))]
        elif kind < 0.87:
            out[f"{side}CIDRSet"] = [self._cidr_set(side) for _ in range(rng.randint(1, 2))]
        elif kind < 0.9:
            out[f"{side}Endpoints"] = []
        ports = rng.random()
        if ports < 0.5:
            out["toPorts"] = [{"ports": [self._port() for _ in range(rng.randint(1, 3))]}]
        elif ports < 0.65:
            out["icmps"] = [{"fields": [self._icmp() for _ in range(rng.randint(1, 2))]}]
        return out

    def _cidr(self) -> str:
        return self.rng.choice(CIDRS[self.rng.choice(sorted(self.families))])

    def _cidr_set(self, side: str) -> dict[str, Any]:
        kind = self.rng.random()
        if kind < 0.3 and self.groups:
            return {"cidrGroupRef": self.rng.choice(self.groups)["metadata"]["name"]}
        if kind < 0.45 and self.groups:
            return {"cidrGroupSelector": {"matchLabels": {"zone": self.rng.choice(("a", "b"))}}}
        cidr = self._cidr()
        out: dict[str, Any] = {"cidr": cidr}
        net = ipaddress.ip_network(cidr)
        inner = [c for c in CIDRS[net.version] if c != cidr and _inside(c, net)]
        if inner and self.rng.random() < 0.6:
            out["except"] = self.rng.sample(inner, k=1)
        return out

    def _port(self) -> dict[str, Any]:
        rng = self.rng
        protocol = rng.choice(("TCP", "TCP", "UDP", "SCTP", "ANY", None))
        out: dict[str, Any] = {} if protocol is None else {"protocol": protocol}
        kind = rng.random()
        if kind < 0.2:
            return out | {"port": rng.choice(NAMES)}
        port = rng.choice(PORTS)
        out["port"] = str(port)
        if port and kind < 0.5:
            out["endPort"] = rng.choice((port + 1, port + 10, 65535, max(port - 1, 1)))
            out["endPort"] = min(out["endPort"], 65535)
        return out

    def _icmp(self) -> dict[str, Any]:
        family = self.rng.choice((4, 6))
        return {"family": f"IPv{family}", "type": self.rng.choice(ICMP_TYPES[family])}

    # --- Kubernetes
    def _kubernetes(self, index: int) -> dict[str, Any]:
        rng = self.rng
        out = self._meta("NetworkPolicy", index, rng.choice(tuple(NAMESPACES)), "networking.k8s.io/v1")
        directions = rng.choice((("ingress",), ("egress",), ("ingress", "egress")))
        spec: dict[str, Any] = {
            "podSelector": self.selector() if rng.random() < 0.5 else {},
            "policyTypes": [d.capitalize() for d in directions],
        }
        for direction in directions:
            if rng.random() < 0.85:
                spec[direction] = [self._kubernetes_rule(direction) for _ in range(rng.randint(1, 2))]
        out["spec"] = spec
        return out

    def _kubernetes_rule(self, direction: str) -> dict[str, Any]:
        rng = self.rng
        out: dict[str, Any] = {}
        if rng.random() < 0.8:
            peers: list[dict[str, Any]] = []
            for _ in range(rng.randint(1, 2)):
                kind = rng.random()
                if kind < 0.4:
                    item = {"cidr": self._cidr()}
                    net = ipaddress.ip_network(item["cidr"])
                    inner = [c for c in CIDRS[net.version] if c != item["cidr"] and _inside(c, net)]
                    if inner and rng.random() < 0.5:
                        item["except"] = rng.sample(inner, k=1)  # type: ignore[assignment]
                    peers.append({"ipBlock": item})
                elif kind < 0.6:
                    peers.append({"podSelector": self.selector()})
                elif kind < 0.8:
                    peers.append({"namespaceSelector": self.namespaces()})
                else:
                    peers.append({"podSelector": self.selector(), "namespaceSelector": self.namespaces()})
            out["from" if direction == "ingress" else "to"] = peers
        if rng.random() < 0.6:
            out["ports"] = [self._kubernetes_port() for _ in range(rng.randint(1, 2))]
        return out

    def _kubernetes_port(self) -> dict[str, Any]:
        rng = self.rng
        out: dict[str, Any] = {"protocol": rng.choice(("TCP", "UDP", "SCTP"))}
        kind = rng.random()
        if kind < 0.25:
            return out
        if kind < 0.5:
            return out | {"port": rng.choice(NAMES)}
        out["port"] = rng.choice(PORTS[1:])
        if kind < 0.7:
            out["endPort"] = min(out["port"] + rng.choice((0, 1, 1000)), 65535)
        return out

    def _cluster(self, index: int) -> dict[str, Any]:
        rng = self.rng
        out = self._meta("ClusterNetworkPolicy", index, api="policy.networking.k8s.io/v1alpha2")
        spec: dict[str, Any] = {
            "tier": rng.choice(("Admin", "Baseline")),
            "priority": rng.randint(0, 5),
            "subject": self._subject(),
        }
        for direction in rng.sample(("ingress", "egress"), k=rng.randint(1, 2)):
            spec[direction] = [self._cluster_rule(direction) for _ in range(rng.randint(1, 3))]
        out["spec"] = spec
        return out

    def _subject(self) -> dict[str, Any]:
        if self.rng.random() < 0.5:
            return {"namespaces": self.namespaces()}
        return {"pods": {"namespaceSelector": self.namespaces(), "podSelector": self.selector()}}

    def _cluster_rule(self, direction: str) -> dict[str, Any]:
        rng = self.rng
        action = rng.choice(("Accept", "Deny", "Pass"))
        peers: list[dict[str, Any]] = []
        for _ in range(rng.randint(1, 2)):
            if direction == "egress" and rng.random() < 0.4:
                peers.append({"networks": [self._cidr()]})
            else:
                peers.append(self._subject())
        out: dict[str, Any] = {"action": action, "from" if direction == "ingress" else "to": peers}
        if rng.random() < 0.6:
            out["protocols"] = [self._cluster_port() for _ in range(rng.randint(1, 2))]
        return out

    def _cluster_port(self) -> dict[str, Any]:
        rng = self.rng
        if rng.random() < 0.2:
            return {"destinationNamedPort": rng.choice(NAMES)}
        inner: dict[str, Any] = {}
        kind = rng.random()
        if kind < 0.5:
            inner = {"destinationPort": {"number": rng.choice(PORTS[1:])}}
        elif kind < 0.8:
            start = rng.choice(PORTS[1:-1])
            inner = {"destinationPort": {"range": {"start": start, "end": start + 10}}}
        return {rng.choice(("tcp", "udp", "sctp")): inner}
