"""Random pods and namespaces with the labels that Cilium's filter decides about, as cases of `LabelsOracle`."""

from __future__ import annotations

import random
from typing import Any

KEYS = (
    *("app", "app.kubernetes.io/name", "app.kubernetes.io", "apps.kubernetes.io/pod-index", "pod-template-hash"),
    *("statefulset.kubernetes.io/pod-name", "batch.kubernetes.io/job-completion-index", "controller-uid"),
    *("batch.kubernetes.io/controller-uid", "io.kubernetes.pod.namespace", "io.kubernetes.pod.name", "k8s.io/x"),
    *("io.cilium.k8s.policy.cluster", "io.cilium.k8s.policy.serviceaccount", "io.cilium.k8s.named-ports"),
    *(
        "io.cilium.k8s.namespace.labels.team",
        "io.cilium/x",
        "kubernetes.io/metadata.name",
        "topology.kubernetes.io/zone",
    ),
    *("failure-domain.beta.kubernetes.io/zone", "annotation.x", "annotations", "etcd_node", "pod-template-generation"),
    *("controller-revision-hash", "example.com/team", "Team", "team", "reserved", "reserved.host", "a", "9", "x_y.z-1"),
    *("appXkubernetesXio", "beta.kubernetes.io/arch", "io.kubernetes", "kubernetes.io", "k8s-app", "io.cilium.k8s"),
)
VALUES = ("", "web", "Web", "a.b-c_d", "1", "true", "9f" * 31 + "x")
FILTERS = (
    *(
        "app",
        "k8s:app",
        "!app",
        "k8s:!app",
        "!k8s:app",
        "any:app",
        "team !team",
        "io.kubernetes",
        "!.*",
        ".*",
        "k8s:.*",
    ),
    *("k8s:io.kubernetes.pod.namespace k8s:app", "!io.cilium.k8s.policy", "!io.cilium.k8s.namespace.labels", "app$"),
    *(
        r"app\.kubernetes\.io/name",
        "[a-m].*",
        "[^a-m].*",
        "(app|team)",
        "(?:app|te)am?",
        "x_y.z{1,2}-1",
        "te.?m",
        "^app",
    ),
    *(
        "reserved:.*",
        "!io.cilium.k8s.policy.cluster",
        "k8s:!io.kubernetes",
        "T",
        "!k8s",
        "gen:.*",
        "io",
        "a+p*",
        r"\w+",
    ),
    *(
        r"!\S+kubernetes\.io",
        r"\d",
        "!.",
        "ap{2}",
        "ap{3,}",
        "app,team",
        "[[]",
        "*",
        "(",
        "a**",
        "!",
        ":",
        "k8s:",
        "a{,2}",
    ),
)
NAMES = ("http", "HTTP", "metrics", "web-1", "a--b", "-a", "1", "1a", "very-long-name-15", "grpc", "dns", "dns-tcp", "")
PROTOCOLS = ("TCP", "UDP", "SCTP", "", "tcp", "ANY", "bogus")


def case(rng: random.Random) -> dict[str, Any]:
    """One pod in its namespace, under one configuration."""
    filters = rng.choices(FILTERS, k=rng.choice((0, 0, 1, 1, 2, 3)))
    return {
        "filter": rng.choice((" ", "  ", "\n")).join(filters),
        "cluster": rng.choice(("default", "prod-1")),
        "namespace": rng.choice(("default", "shop", "kube-system")),
        "namespaceLabels": _labels(rng, 5) | {"kubernetes.io/metadata.name": "shop"},
        "labels": _labels(rng, 9),
        "serviceAccount": rng.choice(("", "default", "shop")),
        "containers": [_ports(rng) for _ in range(rng.choice((1, 1, 2, 3)))],
    }


def _labels(rng: random.Random, most: int) -> dict[str, str]:
    found = {key: rng.choice(VALUES) for key in rng.sample(KEYS, rng.randint(0, most))}
    for _ in range(rng.randint(0, 2)):
        found["".join(rng.choices("appkubernets.io/-_", k=rng.randint(1, 12)))] = rng.choice(VALUES)
    return found


def _ports(rng: random.Random) -> list[dict[str, Any]]:
    many = [f"p{n}" for n in range(12)]
    names = rng.choice((NAMES, NAMES, many))
    return [
        {
            "name": rng.choice(names),
            "port": rng.choice((80, 443, 8080, 0, 65535, 65536, 53)),
            "protocol": rng.choice(PROTOCOLS),
        }
        for _ in range(rng.choice((0, 1, 2, 4, 12)))
    ]
