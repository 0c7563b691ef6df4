"""Inputs that grow evenly: 600 classes of labels, whatever the number of pods. Fixed and seeded."""

from __future__ import annotations

import ipaddress
import random
from typing import Any

from benchmarks.netpol_shapes import manifest
from netpol.model.world import Pod

SEED = 4
NAMESPACES = 20
_LABEL_CLASSES = 600
V3 = "projectcalico.org/v3"
Object = dict[str, Any]


def pods(count: int) -> tuple[Pod, ...]:
    """Pods over namespaces and applications; the labels of a pod follow from its number alone."""
    per_namespace = _LABEL_CLASSES // NAMESPACES
    out = []
    for i in range(count):
        kind = (i // NAMESPACES) % per_namespace
        labels = {
            "app": f"app-{kind % 10}",
            "tier": ("front", "back", "data")[kind // 10],
            "pod-template-hash": f"{i}",
        }
        out.append(
            Pod(
                namespace=f"team-{i % NAMESPACES}",
                name=f"pod-{i}",
                labels=labels,
                addresses=(ipaddress.IPv4Address("10.0.0.10") + i,),
                node=f"node-{i % 50}",
            )
        )
    return tuple(out)


def policy_objects(count: int, *, tiers: bool = True) -> list[Object]:
    """Mostly Kubernetes and namespaced policies, some global ones in tiers, a few network sets."""
    rng = random.Random(SEED)  # noqa: S311 - a benchmark
    out: list[Object] = []
    if tiers:
        out.append(manifest(V3, "Tier", "security", "", {"order": 100}))
    for i in range(min(count // 20, 20)):
        nets = [f"172.{16 + i % 16}.{rng.randrange(256)}.0/24", f"203.0.113.{rng.randrange(64) * 4}/30"]
        out.append(manifest(V3, "GlobalNetworkSet", f"partner-{i}", "", {"nets": nets}, {"partner": f"p{i}"}))
    while len(out) < count:
        i, kind = len(out), rng.random()
        make = kubernetes if kind < 0.5 else _namespaced if kind < 0.85 else _global
        out.append(make(rng, i, tiers=tiers))
    return out


def _port(rng: random.Random) -> int:
    return rng.choice((80, 443, 5432, 6379, 8080, 9090, 1024 + rng.randrange(200) * 10))


def kubernetes(rng: random.Random, i: int, *, tiers: bool) -> Object:
    del tiers
    block = {"ipBlock": {"cidr": f"198.51.{rng.randrange(100)}.0/24"}}
    spec: Object = {
        "podSelector": {"matchLabels": {"app": f"app-{rng.randrange(10)}"}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {
                "from": [{"podSelector": {"matchLabels": {"app": f"app-{rng.randrange(10)}"}}}],
                "ports": [{"protocol": "TCP", "port": _port(rng)}],
            }
        ],
        "egress": [
            {"to": [{"namespaceSelector": {"matchLabels": {"team": f"t{rng.randrange(5)}"}}}]},
            {"to": [block], "ports": [{"protocol": "TCP", "port": 443}]},
        ],
    }
    return manifest("networking.k8s.io/v1", "NetworkPolicy", f"k-{i}", f"team-{rng.randrange(NAMESPACES)}", spec)


def _namespaced(rng: random.Random, i: int, *, tiers: bool) -> Object:
    del tiers
    app, other = f"app-{rng.randrange(10)}", f"app-{rng.randrange(10)}"
    rules = [
        {
            "action": "Deny",
            "protocol": "TCP",
            "source": {"selector": f"app == '{other}' && tier == 'data'"},
            "destination": {"ports": [22]},
        },
        {
            "action": "Allow",
            "protocol": "TCP",
            "source": {"selector": f"app in {{'{app}', '{other}'}}"},
            "destination": {"ports": [_port(rng), "8000:8100"]},
        },
    ]
    spec = {"order": 10 + i * 2, "selector": f"app == '{app}'", "types": ["Ingress"], "ingress": rules}
    return manifest(V3, "NetworkPolicy", f"n-{i}", f"team-{rng.randrange(NAMESPACES)}", spec)


def _global(rng: random.Random, i: int, *, tiers: bool) -> Object:
    partner = f"partner == 'p{rng.randrange(5)}'"
    low = rng.choice((1024, 8000, 30000))
    egress: list[Object] = [
        {"action": "Deny", "destination": {"nets": [f"192.0.2.{rng.randrange(64) * 4}/30"]}},
        {"action": "Allow", "protocol": "UDP", "destination": {"selector": "app == 'app-0'", "ports": [53]}},
        {
            "action": "Allow",
            "protocol": "TCP",
            "destination": {"selector": partner, "ports": [f"{low}:{low + 999}"]},
        },
        {
            "action": "Deny",
            "protocol": "TCP",
            "destination": {"nets": ["172.16.0.0/12"], "notNets": ["172.20.0.0/16"], "ports": ["1:1023"]},
        },
        {"action": "Allow", "protocol": "ICMP"},
    ]
    ingress: list[Object] = [
        {"action": "Deny", "source": {"selector": f"app == 'app-{rng.randrange(10)}' && tier == 'data'"}},
        {
            "action": "Allow",
            "protocol": "TCP",
            "source": {"nets": [f"198.51.{rng.randrange(100)}.0/24"]},
            "destination": {"ports": [_port(rng), f"{low}:{low + 99}"]},
        },
        {"action": "Allow", "source": {"namespaceSelector": f"team == 't{rng.randrange(5)}'"}},
    ]
    subject = rng.choice(("front", "back"))
    spec: Object = {"order": 11 + i * 2, "selector": f"tier == '{subject}'", "types": ["Ingress", "Egress"]}
    if tiers and rng.random() < 0.3:
        spec["tier"] = "security"
        egress.append({"action": "Pass"})
        ingress.append({"action": "Pass"})
    return manifest(V3, "GlobalNetworkPolicy", f"g-{i}", "", {**spec, "ingress": ingress, "egress": egress})
