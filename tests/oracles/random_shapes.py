"""Shapes that people's policies have and that the plain generators lack: each by name, so that a campaign counts them."""

from __future__ import annotations

import json
import random
from typing import Any

from tests.oracles import random_calico

Object = dict[str, Any]
_POLICY = "policy.networking.k8s.io"

SHAPES = (
    "allow list",
    "namespaces to come",
    "service accounts",
    "host endpoints only",
    "ClusterNetworkPolicy",
    "AdminNetworkPolicy",
    "metadata in an annotation",
)
"""Everything that is counted."""
LEAST = 0.01


def some(rng: random.Random, *, share: float = 0.12) -> dict[str, list[Object]]:
    """Some of the shapes, by name, with the objects of each; the last one is made of others by `stored`."""
    makers = (_allow_list, _to_come, _accounts, _hosts, _cluster, _admin)
    return {name: made(rng) for name, made in zip(SHAPES, makers, strict=False) if rng.random() < share}


def stored(rng: random.Random, objects: list[Object], *, share: float = 0.2) -> tuple[list[Object], bool]:
    """The same objects, some as Calico stores them: labels stand in an annotation alone; and whether there is one.

    Only what says its directions: in the stored form, none said are both.
    """
    out, any_stored = [], False
    for one in objects:
        undirected = one["kind"].endswith("Policy") and "types" not in one["spec"]
        if one["apiVersion"] != "projectcalico.org/v3" or undirected or rng.random() >= share:
            out.append(one)
        else:
            any_stored = True
            meta = dict(one["metadata"])
            held = {"labels": meta.pop("labels", {}), "creationTimestamp": None}
            meta["annotations"] = {"projectcalico.org/metadata": json.dumps(held)}
            out.append({**one, "apiVersion": "crd.projectcalico.org/v1", "metadata": meta})
    return out, any_stored


def _gnp(name: str, spec: Object) -> Object:
    return {
        "apiVersion": "projectcalico.org/v3",
        "kind": "GlobalNetworkPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }


def _allow_list(rng: random.Random) -> list[Object]:
    direction = rng.choice(("ingress", "egress"))
    side = "source" if direction == "ingress" else "destination"
    allows = [{"action": "Allow", side: {"selector": f"app == '{app}'"}} for app in rng.sample(("web", "db"), k=1)]
    spec = {"order": rng.choice((45, 1500)), "selector": "app == 'web'", "types": [direction.capitalize()]}
    return [_gnp("allow-list", {**spec, direction: [*allows, {"action": "Deny"}]})]


def _to_come(rng: random.Random) -> list[Object]:
    spec = {"order": 3, "namespaceSelector": "pci == 'true'", "types": ["Ingress"]}
    return [_gnp("to-come", {**spec, "ingress": [{"action": rng.choice(("Deny", "Allow"))}]})]


def _accounts(rng: random.Random) -> list[Object]:
    rule = {"action": rng.choice(("Allow", "Deny")), "source": {"serviceAccounts": {"names": ["robot"]}}}
    return [_gnp("accounts", {"order": 4, "types": ["Ingress"], "ingress": [rule, {"action": "Pass"}]})]


def _hosts(rng: random.Random) -> list[Object]:
    how = rng.choice(("preDNAT", "doNotTrack"))
    return [
        _gnp(
            "hosts-only",
            {"order": 1, how: True, "applyOnForward": True, "types": ["Ingress"], "ingress": [{"action": "Deny"}]},
        )
    ]


def _subject(rng: random.Random) -> Object:
    team = rng.choice(tuple(random_calico.NAMESPACES))
    return {"namespaces": {"matchLabels": {"team": team}}} if rng.random() < 0.7 else {"namespaces": {}}


def _cluster(rng: random.Random) -> list[Object]:
    direction = rng.choice(("ingress", "egress"))
    side = "from" if direction == "ingress" else "to"
    rule = {"action": rng.choice(("Accept", "Deny", "Pass")), side: [_subject(rng)]}
    if rng.random() < 0.5:
        rule["protocols"] = [{"tcp": {"destinationPort": {"number": rng.choice((80, 443))}}}]
    spec = {"tier": rng.choice(("Admin", "Baseline")), "priority": 7, "subject": _subject(rng), direction: [rule]}
    api = f"{_POLICY}/{rng.choice(('v1alpha2', 'v1beta1'))}"
    return [{"apiVersion": api, "kind": "ClusterNetworkPolicy", "metadata": {"name": "cluster"}, "spec": spec}]


def _admin(rng: random.Random) -> list[Object]:
    direction = rng.choice(("ingress", "egress"))
    side = "from" if direction == "ingress" else "to"
    rule = {"action": rng.choice(("Allow", "Deny", "Pass")), side: [_subject(rng)]}
    spec = {"priority": 7, "subject": _subject(rng), direction: [rule]}
    return [
        {"apiVersion": f"{_POLICY}/v1alpha1", "kind": "AdminNetworkPolicy", "metadata": {"name": "admin"}, "spec": spec}
    ]
