"""Random Calico and Kubernetes policies over a small cluster: tiers, orders, every kind of match. Seeded."""

from __future__ import annotations

import ipaddress
import random
from dataclasses import dataclass, replace
from typing import Any

from netpol import from_objects
from netpol.model.world import Backend, NamedPort, Namespace, Node, Pod, Service, ServicePort, Slice, World

NAMESPACES = {"red": {"team": "red", "env": "prod"}, "blue": {"team": "blue", "env": "dev"}}
LABELS = {"app": ("web", "db"), "tier": ("front", "back"), "old": ("yes",)}
PORTS = (53, 80, 443, 8080)
NAMES = ("http", "dns")
V4 = ("0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/24", "192.168.0.0/16", "169.254.169.254/32", "8.8.8.0/24")
OUTSIDE_V4 = ("0.0.0.0/0", "192.168.0.0/16", "169.254.169.254/32", "8.8.8.0/24", "172.16.0.0/12")
V6 = ("::/0", "2001:db8::/32")


SERVICES = (
    Service(namespace="red", name="db", selector={"app": "db"}, ports=(ServicePort(port=80, target="http"),)),
    Service(
        namespace="blue",
        name="web",
        selector={"app": "web"},
        ports=(ServicePort(name="a", port=80), ServicePort(name="b", port=53, protocol=17)),
    ),
)
SLICES = (
    Slice(
        namespace="red",
        service="outside",
        backends=(
            Backend(address=ipaddress.ip_address("8.8.8.8"), ports={"a": (6, 443)}),
            Backend(address=ipaddress.ip_address("192.168.7.7"), ports={"a": (6, 443)}, ready=False),
        ),
    ),
)
"""A service without a Service object, one endpoint of which is not ready."""


@dataclass(frozen=True)
class Shape:
    """What a generator may use; the plain shape holds what the other analyzer understands as well."""

    tiers: bool = True
    passes: bool = True
    kubernetes: bool = True
    named_ports: bool = True
    texts: bool = True
    negations: bool = True
    pod_nets: bool = True
    sets: bool = True
    icmp: bool = True
    six: bool = True
    odd_protocols: bool = True
    source_ports: bool = True
    services: bool = False
    accounts: bool = True
    ties: bool = True
    lone_nots: bool = True
    icmp_zero: bool = True
    exists_elsewhere: bool = True
    negated_namespaces: bool = True


PLAIN = Shape(
    tiers=False,
    named_ports=False,
    pod_nets=True,
    six=False,
    source_ports=False,
    accounts=False,
    sets=False,
    ties=False,
    lone_nots=False,
    icmp_zero=False,
    exists_elsewhere=False,
    negated_namespaces=False,
)
PLAIN_SETS = replace(PLAIN, sets=True, kubernetes=False)
SAYABLE = Shape(pod_nets=False, icmp=False, odd_protocols=False, source_ports=False, six=False)
SAYABLE_DUAL = replace(SAYABLE, six=True)
SAYABLE_SERVICES = replace(SAYABLE, services=True, passes=False)
"""What Cilium can mostly say."""


def pods(rng: random.Random, count: int, *, six: bool) -> tuple[Pod, ...]:
    out = []
    for i in range(count):
        addresses = [ipaddress.ip_address(f"10.0.{i % 2}.{10 + i}")]
        if six:
            addresses.append(ipaddress.ip_address(f"fd00::{10 + i}"))
        out.append(
            Pod(
                namespace=rng.choice(tuple(NAMESPACES)),
                name=f"p{i}",
                labels={k: rng.choice(v) for k, v in LABELS.items() if rng.random() < 0.7},
                service_account=rng.choice(("default", "robot")),
                addresses=tuple(addresses),
                node=f"n{i % 2}",
                ports=tuple(
                    NamedPort(name=n, protocol=6 if n == "http" else 17, number=rng.choice(PORTS))
                    for n in NAMES
                    if rng.random() < 0.6
                ),
            )
        )
    return tuple(out)


def world(rng: random.Random, shape: Shape, *, policies: int, pod_count: int = 5) -> World:
    """A random world; engines are the caller's choice (`enforced_by`)."""
    made = from_objects(PolicyMaker(rng, shape).objects(policies)).policies
    nodes = tuple(Node(name=f"n{i}", addresses=(ipaddress.ip_address(f"10.1.0.{i + 1}"),)) for i in range(2))
    namespaces = tuple(
        Namespace(name=n, labels={"kubernetes.io/metadata.name": n, **labels}) for n, labels in NAMESPACES.items()
    )
    return World(
        policies=made,
        pods=pods(rng, pod_count, six=shape.six),
        nodes=nodes,
        namespaces=namespaces,
        families=frozenset((4, 6)) if shape.six else frozenset((4,)),
        services=SERVICES if shape.services else (),
        slices=SLICES if shape.services else (),
    )


class PolicyMaker:
    """Random policy objects as plain mappings, fit for Calico's validator."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        self.rng = rng
        self.shape = shape
        self.orders = iter(rng.sample([*range(1, 40), *range(2000, 2040)], k=79))

    def objects(self, count: int) -> list[dict[str, Any]]:
        rng, shape = self.rng, self.shape
        out: list[dict[str, Any]] = []
        if shape.tiers:
            for name in rng.sample(("security", "platform"), k=rng.randint(0, 2)):
                spec: dict[str, Any] = {"order": rng.choice((100, 200, 2000000))}
                if rng.random() < 0.4:
                    spec["defaultAction"] = "Pass"
                out.append(_object("Tier", name, "", spec))
        tiers = [o["metadata"]["name"] for o in out] + ["default", "default"]
        if shape.sets and rng.random() < 0.5:
            out.append(_object("GlobalNetworkSet", "outside", "", {"nets": self.nets()}, {"role": "outside"}))
        makers = [self._global, self._global, self._namespaced]
        if shape.kubernetes:
            makers.append(self._kubernetes)
        return out + [rng.choice(makers)(i, tiers) for i in range(count)]

    def _global(self, index: int, tiers: list[str]) -> dict[str, Any]:
        spec = self._spec(tiers)
        if self.rng.random() < 0.3:
            spec["namespaceSelector"] = self.namespace_selector()
        return global_policy(f"g{index}", spec)

    def _namespaced(self, index: int, tiers: list[str]) -> dict[str, Any]:
        return _object("NetworkPolicy", f"n{index}", self.rng.choice(tuple(NAMESPACES)), self._spec(tiers))

    def _spec(self, tiers: list[str]) -> dict[str, Any]:
        rng, shape = self.rng, self.shape
        spec: dict[str, Any] = {"selector": self.selector()}
        if shape.tiers:
            spec["tier"] = rng.choice(tiers)
        if not shape.ties:
            spec["order"] = next(self.orders)
        elif rng.random() < 0.7:
            spec["order"] = rng.choice((10, 500, 1000, 2000))
        directions = rng.choice((("ingress",), ("egress",), ("ingress", "egress")))
        spec["types"] = [d.capitalize() for d in directions]
        for direction in directions:
            spec[direction] = [self.rule(direction) for _ in range(rng.randint(0, 3))]
            if shape.six and rng.random() < 0.2:
                spec[direction] += self.twins(direction)
        if self.shape.accounts and rng.random() < 0.1:
            spec["serviceAccountSelector"] = "projectcalico.org/name == 'robot'"
        return spec

    def rule(self, direction: str) -> dict[str, Any]:
        rng, shape = self.rng, self.shape
        actions = ["Allow", "Allow", "Deny", "Deny", "Log"] + (["Pass"] if shape.passes else [])
        rule: dict[str, Any] = {"action": rng.choice(actions)}
        peer = self.entity()
        target: dict[str, Any] = peer if direction == "egress" else {}
        kind = rng.random()
        if "services" in peer:
            if kind < 0.3:
                rule["protocol"] = "TCP"
        elif kind < 0.5:
            rule["protocol"] = rng.choice(("TCP", "TCP", "UDP", "SCTP"))
            if rng.random() < 0.8:
                target["ports"] = [self.port(rule["protocol"]) for _ in range(rng.randint(1, 2))]
            elif shape.negations:
                target["notPorts"] = [self.port(rule["protocol"])]
            if shape.source_ports and rng.random() < 0.1:
                (peer if direction == "ingress" else rule.setdefault("source", {}))["ports"] = ["1000:2000"]
        elif kind < 0.6 and shape.icmp:
            rule["protocol"] = "ICMP"
            if rng.random() < 0.6:
                rule["icmp"] = {"type": rng.choice((0, 3, 8) if shape.icmp_zero else (3, 8))}
                if rng.random() < 0.4:
                    rule["icmp"]["code"] = 1
            elif shape.negations and rng.random() < 0.5:
                rule["notICMP"] = {"type": 8}
        elif kind < 0.65 and shape.odd_protocols:
            rule["protocol"] = 47
        elif kind < 0.7 and shape.negations and shape.odd_protocols:
            rule["notProtocol"] = rng.choice(("TCP", "UDP"))
        if shape.six and rng.random() < 0.1:
            rule["ipVersion"] = 6 if rule.get("protocol") != "ICMP" else 4
        if peer:
            rule["source" if direction == "ingress" else "destination"] = peer
        if direction == "ingress" and target:
            rule["destination"] = target
        return rule

    def twins(self, direction: str) -> list[dict[str, Any]]:
        """One intent in a rule for each address family."""
        rng = self.rng
        action, port = rng.choice(("Allow", "Deny")), rng.choice(PORTS)
        blocks = rng.choice((("0.0.0.0/0", "::/0"), ("10.0.0.0/8", "fd00::/8"), ("8.8.8.0/24", "2001:db8::/32")))
        out: list[dict[str, Any]] = []
        for block in blocks:
            rule: dict[str, Any] = {"action": action}
            rule["source" if direction == "ingress" else "destination"] = {"nets": [block]}
            if port != PORTS[0]:
                rule["protocol"] = "TCP"
                rule.setdefault("destination", {})["ports"] = [port]
            out.append(rule)
        return out

    def entity(self) -> dict[str, Any]:
        rng, shape = self.rng, self.shape
        out: dict[str, Any] = {}
        kind = rng.random()
        if shape.services and rng.random() < 0.15:
            name, namespace = rng.choice((("db", "red"), ("web", "blue"), ("outside", "red")))
            return {"services": {"name": name, "namespace": namespace}}
        if kind < 0.2:
            return out
        if kind < 0.55:
            out["selector"] = self.selector()
            if rng.random() < 0.4:
                out["namespaceSelector"] = self.namespace_selector(entity=True)
        elif kind < 0.65:
            out["namespaceSelector"] = self.namespace_selector(entity=True)
        elif kind < 0.9:
            out["nets"] = self.nets()
            if shape.negations and rng.random() < 0.3:
                out["notNets"] = self.nets()
        elif shape.negations and shape.lone_nots:
            out["notSelector"] = self.selector()
        if shape.accounts and rng.random() < 0.05:
            out["serviceAccounts"] = {"names": ["robot"]}
        return out

    def nets(self) -> list[str]:
        pool = V4 if self.shape.pod_nets else OUTSIDE_V4
        if self.shape.six and self.rng.random() < 0.3:
            return self.rng.sample(V6, k=1)
        return self.rng.sample(pool, k=self.rng.randint(1, 2))

    def port(self, protocol: str) -> Any:
        kind = self.rng.random()
        if kind < 0.15 and self.shape.named_ports and protocol != "SCTP":
            return self.rng.choice(NAMES)
        if kind < 0.4:
            return self.rng.choice(("79:81", "1:1024", "8000:9000"))
        return self.rng.choice(PORTS)

    def selector(self, depth: int = 0) -> str:
        rng, shape = self.rng, self.shape
        if rng.random() < (0.3 if depth == 0 else 0.0):
            return "all()"
        key = rng.choice(tuple(LABELS))
        value = rng.choice(LABELS[key])
        kind = rng.random()
        if kind < 0.35 or depth > 1:
            return f"{key} == '{value}'"
        if kind < 0.45:
            return f"{key} in {{'{value}', 'other'}}"
        if kind < 0.55:
            return f"has({key})"
        if kind < 0.65 and shape.negations:
            return rng.choice((f"{key} != '{value}'", f"{key} not in {{'{value}'}}", f"!has({key})"))
        if kind < 0.72 and shape.texts:
            operator = rng.choice(("contains", "starts with", "ends with"))
            return f"{key} {operator} '{value[:2] if operator != 'ends with' else value[-2:]}'"
        if kind < 0.78 and shape.sets and depth == 0:
            return "role == 'outside'"
        joiner = rng.choice(("&&", "||"))
        return f"({self.selector(depth + 1)} {joiner} {self.selector(depth + 1)})"

    def namespace_selector(self, *, entity: bool = False) -> str:
        choices = [
            "team == 'red'",
            "env in {'prod'}",
            "all()",
            "has(team)",
            "projectcalico.org/name == 'blue'",
        ]
        if self.shape.negations and (self.shape.negated_namespaces or not entity):
            choices.append("team != 'red'")
        if entity and self.shape.sets:
            choices.append("global()")
        return self.rng.choice(choices)

    def _kubernetes(self, index: int, tiers: list[str]) -> dict[str, Any]:
        rng = self.rng
        del tiers
        directions = rng.choice((("ingress",), ("egress",), ("ingress", "egress")))
        spec: dict[str, Any] = {
            "podSelector": self._labels(LABELS),
            "policyTypes": [d.capitalize() for d in directions],
        }
        for direction in directions:
            rules = []
            for _ in range(rng.randint(0, 2)):
                rule: dict[str, Any] = {}
                if rng.random() < 0.8:
                    rule["from" if direction == "ingress" else "to"] = [self._peer() for _ in range(rng.randint(1, 2))]
                if rng.random() < 0.6:
                    rule["ports"] = [{"protocol": rng.choice(("TCP", "UDP")), "port": rng.choice(PORTS)}]
                rules.append(rule)
            if rules:
                spec[direction] = rules
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": f"k{index}", "namespace": rng.choice(tuple(NAMESPACES))},
            "spec": spec,
        }

    def _labels(self, pool: dict[str, tuple[str, ...]], *, exists: bool = True) -> dict[str, Any]:
        rng = self.rng
        if rng.random() < 0.3:
            return {}
        key = rng.choice(tuple(pool))
        if rng.random() < 0.7:
            return {"matchLabels": {key: rng.choice(pool[key])}}
        operator = rng.choice(("In", "NotIn", "Exists", "DoesNotExist") if exists else ("In", "NotIn"))
        expression: dict[str, Any] = {"key": key, "operator": operator}
        if operator.endswith("In"):
            expression["values"] = [rng.choice(pool[key])]
        return {"matchExpressions": [expression]}

    def _peer(self) -> dict[str, Any]:
        rng = self.rng
        kind = rng.random()
        if kind < 0.3:
            return {"ipBlock": {"cidr": rng.choice(V4 if self.shape.pod_nets else OUTSIDE_V4[1:])}}
        if kind < 0.6:
            return {"podSelector": self._labels(LABELS)}
        namespaces = self._labels({"team": ("red", "blue"), "env": ("prod", "dev")})
        return {
            "namespaceSelector": namespaces,
            **({"podSelector": self._labels(LABELS, exists=self.shape.exists_elsewhere)} if kind > 0.8 else {}),
        }


def global_policy(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A GlobalNetworkPolicy as the API has it."""
    return _object("GlobalNetworkPolicy", name, "", spec)


def _object(
    kind: str, name: str, namespace: str, spec: dict[str, Any], labels: dict[str, str] | None = None
) -> dict[str, Any]:
    meta: dict[str, Any] = {"name": name}
    if namespace:
        meta["namespace"] = namespace
    if labels:
        meta["labels"] = labels
    return {"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": meta, "spec": spec}
