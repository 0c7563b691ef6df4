"""Which policies select a pod, and in which directions. Pure.

Sources: Kubernetes NetworkPolicy (networking.k8s.io/v1), Cilium 1.20 pkg/policy/api (Rule, EndpointSelector,
DefaultDenyConfig).
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from kube.transport import Obj
from operations.cluster import objects

_SOURCE = re.compile(r"^(?:k8s|any):")
OPERATORS = frozenset({"In", "NotIn", "Exists", "DoesNotExist"})
"""Of a LabelSelector (meta/v1)."""
LISTS = {"ingress": ("ingress", "ingressDeny"), "egress": ("egress", "egressDeny")}


class UnknownOperator(ValueError):
    """A selector has an operator that is not known here, so what it selects cannot be told."""


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """A Kubernetes label selector; Cilium's label sources are left out of its keys. An empty one matches all.

    Raises:
        UnknownOperator: it cannot be told.
    """
    chosen = selector or {}
    if any(labels.get(bare(k)) != v for k, v in (chosen.get("matchLabels") or {}).items()):
        return False
    return all(_holds(rule, labels) for rule in chosen.get("matchExpressions") or [])


def bare(key: str) -> str:
    """`k8s:app` -> `app`. Another source (`reserved:host`) stays, and matches no pod."""
    return _SOURCE.sub("", key)


def unknown_operators(selector: Mapping[str, Any] | None) -> frozenset[str]:
    """Operators of a label selector that are not known here."""
    rules = (selector or {}).get("matchExpressions") or []
    return frozenset(str(rule.get("operator")) for rule in rules) - OPERATORS


def _holds(rule: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(bare(rule["key"])), rule.get("values") or []
    match rule.get("operator"):
        case "In":
            return value is not None and value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case other:
            raise UnknownOperator(f"unknown operator {other!r} in a selector")


def kubernetes_directions(policy: Obj, pod: Obj) -> set[str]:
    """Directions in which a NetworkPolicy makes a pod default-deny."""
    spec = policy.get("spec") or {}
    if objects.namespace(policy) != objects.namespace(pod):
        return set()
    if not matches(spec.get("podSelector"), objects.labels(pod)):
        return set()
    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    return {str(kind).lower() for kind in types}


def cilium_directions(policy: Obj, namespace: str, identity: Mapping[str, str]) -> set[str]:
    """Directions in which a CiliumNetworkPolicy or CiliumClusterwideNetworkPolicy makes an endpoint default-deny.

    Args:
        identity: the endpoint's security labels without their source.
    """
    if objects.namespace(policy) not in ("", namespace):
        return set()
    found: set[str] = set()
    rules: Iterable[Obj] = [*([policy["spec"]] if policy.get("spec") else []), *(policy.get("specs") or [])]
    for rule in rules:
        if "endpointSelector" not in rule or not matches(rule["endpointSelector"], identity):
            continue
        chosen = rule.get("enableDefaultDeny") or {}
        for direction, keys in LISTS.items():
            # A list that is there, even an empty one, asks for nothing unless it has a rule.
            if chosen.get(direction, any(rule.get(key) for key in keys)):
                found.add(direction)
    return found


def identity_labels(endpoint: Obj) -> dict[str, str]:
    """Security labels of a CiliumEndpoint, without their source."""
    listed = ((endpoint.get("status") or {}).get("identity") or {}).get("labels") or []
    pairs = (bare(str(text)).partition("=") for text in listed)
    return {key: value for key, _, value in pairs}
