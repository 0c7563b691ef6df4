"""Inputs of the shape that people publish, larger or knottier than `benchmarks.netpol` makes them. Fixed and seeded."""

# ruff: noqa: S311, PLR0917

from __future__ import annotations

import ipaddress
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netpol import World, policies_from_objects
from netpol.model.values import KubernetesPolicy
from netpol.model.world import Namespace, Node, Pod

SEED = 15
NAMESPACES, POLICIES, PODS = 1_450, 3_200, 4_400
"""One platform with a namespace for each team's service in each environment."""
TIERED = {"policies": 36, "blocks": 216, "pods": 48}
_V3 = "projectcalico.org/v3"
_NODES = 120
_ENVIRONMENTS = ("dev", "test", "staging", "prod")
_PORTS = (80, 443, 8080, 8443, 9090, 9093, 5432, 3306, 6379, 9092, 27017, 9200, 15021, 50051)
Object = dict[str, Any]


def published(count: int = POLICIES) -> list[Object]:
    """Policies of a platform: tiers around the teams' own, sets of hundreds of blocks, NetworkPolicies by the dozen.

    Args:
        count: how many policies besides tiers and network sets.
    """
    rng = random.Random(SEED)
    out = [
        manifest(_V3, "Tier", name, "", {"order": order})
        for name, order in (("security", 100), ("platform", 200), ("late", 2_000_000))
    ]
    for i, blocks in enumerate((420, 310, 260, 90, 40)):
        out.append(
            manifest(_V3, "GlobalNetworkSet", f"feed-{i}", "", {"nets": _blocks(rng, blocks)}, {"feed": f"f{i}"})
        )
    for i in range(40):
        spec = {"nets": _blocks(rng, 6)}
        out.append(manifest(_V3, "NetworkSet", "partners", _namespace(i * 31 % NAMESPACES), spec, {"partner": f"p{i}"}))
    out += [_global(rng, i) for i in range(48)]
    at = 0
    while len(out) < count + 48:
        out += _of_namespace(rng, at, at // NAMESPACES)
        at += 1
    return out[: count + 48]


def _namespace(number: int) -> str:
    return f"service-{number // len(_ENVIRONMENTS)}-{_ENVIRONMENTS[number % len(_ENVIRONMENTS)]}"


def _blocks(rng: random.Random, count: int) -> list[str]:
    """Disjoint and nested blocks, as feeds of addresses have them."""
    out: dict[str, None] = {}
    while len(out) < count:
        first = rng.choice((23, 34, 45, 52, 91, 104, 151, 185, 193, 203))
        bits = rng.choice((16, 19, 20, 22, 24, 24, 24, 27, 29, 32, 32))
        number = (first << 24) | rng.randrange(1 << 24)
        out[str(ipaddress.IPv4Network((number >> (32 - bits) << (32 - bits), bits)))] = None
    return list(out)


def manifest(
    api: str, kind: str, name: str, namespace: str, spec: Object, labels: dict[str, str] | None = None
) -> Object:
    """An object as a file has it; of no namespace where that is empty."""
    meta: Object = {"name": name}
    if namespace:
        meta["namespace"] = namespace
    if labels:
        meta["labels"] = labels
    return {"apiVersion": api, "kind": kind, "metadata": meta, "spec": spec}


def _global(rng: random.Random, i: int) -> Object:
    """Guard rails of a platform team."""
    tier = ("security", "platform", "default", "late")[i % 4 if i % 16 else 0]
    port = rng.choice(_PORTS)
    egress: list[Object] = [
        {"action": "Deny", "destination": {"selector": f"feed == 'f{i % 5}'"}},
        {"action": "Deny", "destination": {"nets": ["169.254.169.254/32"]}, "source": {"notSelector": "has(imds)"}},
        {
            "action": "Allow",
            "protocol": "TCP",
            "destination": {"selector": f"has(partner) && partner != 'p{i % 7}'", "ports": [port, 443]},
        },
        {"action": "Allow", "protocol": "UDP", "destination": {"selector": "k8s-app == 'kube-dns'", "ports": [53]}},
    ]
    ingress: list[Object] = [
        {"action": "Deny", "source": {"nets": [f"10.{200 + i % 8}.0.0/16"], "notNets": [f"10.{200 + i % 8}.4.0/24"]}},
        {
            "action": "Allow",
            "protocol": "TCP",
            "source": {"namespaceSelector": "purpose == 'monitoring'"},
            "destination": {"ports": ["9090:9100"]},
        },
        {"action": "Deny", "source": {"namespaceSelector": f"env == '{rng.choice(_ENVIRONMENTS)}'"}}
        if i % 3 == 0
        else {"action": "Log"},
    ]
    environment = _ENVIRONMENTS[i % 4]
    spec: Object = {
        "tier": tier,
        "order": 10 + i * 7,
        "types": ["Ingress", "Egress"],
        "namespaceSelector": f"env == '{environment}' && team == 't{i % 30}'" if i % 2 else f"env == '{environment}'",
        "selector": rng.choice(("all()", "has(app)", f"level == 'l{i % 4}'")),
    }
    if tier != "default":
        egress.append({"action": "Pass"})
        ingress.append({"action": "Pass"})
    return manifest(_V3, "GlobalNetworkPolicy", f"{tier}.guard-{i}", "", {**spec, "ingress": ingress, "egress": egress})


def _of_namespace(rng: random.Random, number: int, turn: int) -> list[Object]:
    """What a team writes: default deny and DNS in one, who may come in, and now and then one of Calico's."""
    namespace = _namespace(number % NAMESPACES)
    app = f"app-{rng.randrange(3)}"
    peer = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": _namespace(rng.randrange(NAMESPACES))}}
    }
    ports = [{"protocol": "TCP", "port": rng.choice((*_PORTS, 7000 + rng.randrange(150)))}]
    inward: Object = {
        "podSelector": {"matchLabels": {"app": app}},
        "policyTypes": ["Ingress"],
        "ingress": [
            {"from": [{"podSelector": {}}]},
            {"from": [peer, {"namespaceSelector": {"matchLabels": {"purpose": "ingress"}}}], "ports": ports},
        ],
    }
    closed: Object = {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "egress": [
            {"to": [{"podSelector": {}}]},
            {
                "to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}],
                "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
            },
            {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}], "ports": [{"port": 443}]},
        ],
    }
    out = [manifest("networking.k8s.io/v1", "NetworkPolicy", f"in-{turn}", namespace, inward)]
    if turn == 0:
        out.append(manifest("networking.k8s.io/v1", "NetworkPolicy", "default", namespace, closed))
    if number % 5 == 0:
        rules = [
            {"action": "Deny", "source": {"notSelector": "has(app)", "namespaceSelector": "env != 'prod'"}},
            {
                "action": "Allow",
                "protocol": "TCP",
                "source": {"selector": f"app in {{'{app}', 'app-1'}}"},
                "destination": {"ports": [rng.choice(_PORTS), "8000:8100"]},
            },
        ]
        spec = {"order": 50 + turn, "selector": f"app == '{app}'", "types": ["Ingress"], "ingress": rules}
        out.append(manifest(_V3, "NetworkPolicy", f"own-{turn}", namespace, spec))
    return out


def pods(count: int = PODS) -> tuple[Pod, ...]:
    """Pods over all namespaces, each with labels that no other has."""
    return tuple(pod(i) for i in range(count))


def pod(number: int, *, version: int = 0) -> Pod:
    """One pod; `version` tells the pods apart that follow one another in its place."""
    at = number + version * PODS
    labels = {
        "app": f"app-{number // NAMESPACES}",
        "level": f"l{number % 4}",
        "app.kubernetes.io/instance": f"release-{number}",
        "pod-template-hash": f"h{at:x}",
        "statefulset.kubernetes.io/pod-name": f"pod-{at}",
    }
    if number % NAMESPACES == 1 and number // NAMESPACES < 3:
        labels["k8s-app"] = "kube-dns"
    if number % 11 == 0:
        labels["imds"] = "yes"
    return Pod(
        namespace=_namespace(number % NAMESPACES),
        name=f"pod-{at}",
        labels=labels,
        addresses=(ipaddress.IPv4Address("10.0.0.10") + at,),
        node=f"node-{at % _NODES}",
    )


def namespaces() -> tuple[Namespace, ...]:
    purposes = {0: "ingress", 5: "monitoring"}
    out = []
    for i in range(NAMESPACES):
        name = _namespace(i)
        labels = {"kubernetes.io/metadata.name": name, "env": _ENVIRONMENTS[i % 4], "team": f"t{i // 4 % 30}"}
        out.append(Namespace(name=name, labels=labels | ({"purpose": purposes[i]} if i in purposes else {})))
    return tuple(out)


def platform(objects: list[Object], cluster: tuple[Pod, ...]) -> World:
    """The world of the platform, enforced by Calico."""
    return World(
        policies=policies_from_objects(objects),
        pods=cluster,
        namespaces=namespaces(),
        nodes=tuple(
            Node(name=f"node-{i}", addresses=(ipaddress.IPv4Address("10.128.0.1") + i,)) for i in range(_NODES)
        ),
    ).enforced_by("calico")


def tiered(policies: int = 36, blocks: int = 216, count: int = 48) -> World:
    """Tiers that pass on, with a set of blocks that many rules name, over few pods: what takes long to translate."""
    rng = random.Random(SEED)
    names = [f"team-{i}" for i in range(6)]
    objects = [
        manifest(_V3, "Tier", name, "", {"order": order})
        for name, order in (("security", 100), ("platform", 200), ("application", 300))
    ]
    objects.append(manifest(_V3, "GlobalNetworkSet", "feed", "", {"nets": _blocks(rng, blocks)}, {"feed": "threats"}))
    objects += [_in_tier(rng, i) for i in range(policies)]
    pods_ = tuple(
        Pod(
            namespace=names[i % len(names)],
            name=f"pod-{i}",
            labels={"app": f"app-{i % 12}", "level": f"l{i % 3}", "release": f"r{i}"},
            addresses=(ipaddress.IPv4Address("10.0.0.10") + i,),
            node=f"node-{i % 4}",
        )
        for i in range(count)
    )
    return World(
        policies=policies_from_objects(objects),
        pods=pods_,
        namespaces=tuple(
            Namespace(name=n, labels={"team": n, "env": _ENVIRONMENTS[i % 2], "kubernetes.io/metadata.name": n})
            for i, n in enumerate(names)
        ),
        nodes=tuple(Node(name=f"node-{i}", addresses=(ipaddress.IPv4Address("10.128.0.1") + i,)) for i in range(4)),
    ).enforced_by("calico")


def _in_tier(rng: random.Random, i: int) -> Object:
    tier = ("security", "platform", "application")[i % 3]
    port = _PORTS[i % len(_PORTS)]
    egress: list[Object] = [{"action": "Deny", "destination": {"selector": "feed == 'threats'"}}]
    ingress: list[Object] = []
    for turn in range(3):
        several = ", ".join(f"'app-{rng.randrange(12)}'" for _ in range(2))
        other = _PORTS[(i + turn) % len(_PORTS)]
        egress += [
            {
                "action": "Allow",
                "protocol": "TCP",
                "destination": {"selector": f"app in {{{several}}}", "ports": [other, port]},
            },
            {"action": "Deny", "destination": {"nets": [f"10.{64 + i + turn}.0.0/16"]}},
        ]
        ingress += [
            {
                "action": "Deny",
                "protocol": "TCP",
                "source": {"selector": f"level == 'l{turn}' && release != 'r{i}'"},
                "destination": {"ports": [other]},
            },
            {
                "action": "Allow",
                "protocol": "TCP",
                "source": {"selector": f"app in {{{several}}}"},
                "destination": {"ports": [other, 443]},
            },
        ]
    if tier != "application":
        egress.append({"action": "Pass"})
        ingress.append({"action": "Pass"})
    spec: Object = {
        "tier": tier,
        "order": 10 + i,
        "selector": f"app == 'app-{i % 12}'" if i % 2 else "all()",
        "types": ["Ingress", "Egress"],
        "ingress": ingress,
        "egress": egress,
    }
    return manifest(_V3, "GlobalNetworkPolicy", f"{tier}.p{i}", "", spec)


def rewritten(objects: list[Object]) -> list[Object]:
    """A copy that means the same: in another order, with selectors written another way."""
    copy: list[Object] = json.loads(json.dumps(objects).replace("== 'prod'", "in {'prod'}"))
    random.Random(SEED + 1).shuffle(copy)
    return copy


def changes(pair: tuple[World, World], count: int) -> Iterator[tuple[World, World]]:
    """Both worlds after each of a fixed mix of changes: 70 % pods, 20 % labels, 10 % policies."""
    rng = random.Random(SEED + 2)
    for turn in range(count):
        kind = rng.random()
        make = _pods_change if kind < 0.7 else _labels_change if kind < 0.9 else _policies_change
        pair = make(rng, pair, turn)
        yield pair


def _pods_change(rng: random.Random, pair: tuple[World, World], turn: int) -> tuple[World, World]:
    """A pod goes, comes, or is followed by another one."""
    pods = list(pair[0].pods)
    at, kind = rng.randrange(len(pods)), rng.random()
    fresh = pod(rng.randrange(PODS), version=turn + 1)
    if kind < 0.4:
        old = pods[at]
        pods[at] = replace(fresh, namespace=old.namespace, labels={**old.labels, "pod-template-hash": f"n{turn}"})
    elif kind < 0.7:
        pods.insert(at, fresh)
    else:
        pods.pop(at)
    return replace(pair[0], pods=tuple(pods)), replace(pair[1], pods=tuple(pods))


def _labels_change(rng: random.Random, pair: tuple[World, World], turn: int) -> tuple[World, World]:
    """A pod, or now and then a namespace, gets another label."""
    if turn % 4:
        pods = list(pair[0].pods)
        at = rng.randrange(len(pods))
        labels = rng.choice(
            ({"app": f"app-{rng.randrange(5)}"}, {"level": f"l{rng.randrange(4)}"}, {"note": f"{turn}"})
        )
        pods[at] = replace(pods[at], labels={**pods[at].labels, **labels})
        return replace(pair[0], pods=tuple(pods)), replace(pair[1], pods=tuple(pods))
    spaces = list(pair[0].namespaces)
    at = rng.randrange(len(spaces))
    labels = rng.choice(({"team": f"t{rng.randrange(30)}"}, {"env": rng.choice(_ENVIRONMENTS)}, {"note": f"{turn}"}))
    spaces[at] = replace(spaces[at], labels={**spaces[at].labels, **labels})
    return replace(pair[0], namespaces=tuple(spaces)), replace(pair[1], namespaces=tuple(spaces))


def _policies_change(rng: random.Random, pair: tuple[World, World], turn: int) -> tuple[World, World]:
    """A team's NetworkPolicy goes, comes, or says something else."""
    known = [p for p in pair[0].policies if isinstance(p, KubernetesPolicy)]
    gone = rng.choice(known).meta
    out = []
    kept = _of_namespace(rng, rng.randrange(NAMESPACES), 7)[0]
    if rng.random() < 0.6:
        kept["metadata"] = {"name": gone.name, "namespace": gone.namespace}
    else:
        kept["metadata"]["name"] = f"late-{turn}"
    (fresh,) = policies_from_objects([kept])
    for world in pair:
        rest = [p for p in world.policies if p.meta != gone]
        out.append(world.with_policies([*rest, fresh] if turn % 5 else rest))
    return out[0], out[1]
