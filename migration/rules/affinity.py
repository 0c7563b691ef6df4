"""Node affinity of DaemonSets: adding and reading one requirement without losing the others.

`nodeSelectorTerms` are ORed, the expressions inside one are ANDed. A pin therefore goes *inside every* term: a term
of its own would only widen the choice.
"""

import copy
from collections.abc import Mapping
from typing import Any, Final

REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"

Affinity = dict[str, Any]
"""A Kubernetes `Affinity` (core/v1), as plain data."""


def problem(affinity: object) -> str | None:
    """What keeps a value from being an Affinity whose required terms can be read; None when nothing does."""
    if not isinstance(affinity, dict):
        return "is not a mapping"
    node = affinity.get("nodeAffinity", {})
    if not isinstance(node, dict):
        return "nodeAffinity is not a mapping"
    required = node.get(REQUIRED) or {}
    if not isinstance(required, dict):
        return f"{REQUIRED} is not a mapping"
    found = required.get("nodeSelectorTerms") or []
    if not isinstance(found, list) or not all(isinstance(term, dict) for term in found):
        return "nodeSelectorTerms is not a list of mappings"
    expressions = [term.get("matchExpressions") or [] for term in found]
    if not all(isinstance(some, list) and all(isinstance(one, dict) for one in some) for some in expressions):
        return "matchExpressions is not a list of mappings"
    return None


def terms(affinity: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The required node selector terms; empty when any node will do."""
    node = (affinity or {}).get("nodeAffinity") or {}
    return list((node.get(REQUIRED) or {}).get("nodeSelectorTerms") or [])


def requirement(key: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": list(values)}


def pin(affinity: Mapping[str, Any] | None, key: str, value: str) -> Affinity:
    """The same affinity, bound in addition to nodes whose label `key` is `value`. Pinning twice changes nothing."""
    result: Affinity = copy.deepcopy(dict(affinity or {}))
    bound = []
    for term in terms(result) or [{}]:
        expressions = [e for e in term.get("matchExpressions") or [] if e.get("key") != key]
        bound.append({**term, "matchExpressions": [*expressions, requirement(key, value)]})
    result.setdefault("nodeAffinity", {})[REQUIRED] = {"nodeSelectorTerms": bound}
    return result


def is_pinned(affinity: Mapping[str, Any] | None, key: str, value: str) -> bool:
    """Whether *every* way onto a node asks for `key` in [`value`]."""
    found = terms(affinity)
    wanted = requirement(key, value)
    return bool(found) and all(wanted in (term.get("matchExpressions") or []) for term in found)


def lost(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Expressions of `before` that no longer bind every term of `after`: each one lets the DaemonSet onto nodes that
    it was kept off."""
    kept = [term.get("matchExpressions") or [] for term in terms(after)]
    return [
        expression
        for term in terms(before)
        for expression in term.get("matchExpressions") or []
        if not kept or any(expression not in expressions for expressions in kept)
    ]


def on_linux_ec2() -> Affinity:
    """What the vpc-cni add-on sets itself (amazon-vpc-cni-k8s v1.23.1, config/master/aws-k8s-cni.yaml): one term."""
    return {
        "nodeAffinity": {
            REQUIRED: {
                "nodeSelectorTerms": [
                    {
                        "matchExpressions": [
                            requirement("kubernetes.io/os", "linux"),
                            requirement("kubernetes.io/arch", "amd64", "arm64"),
                            {
                                "key": "eks.amazonaws.com/compute-type",
                                "operator": "NotIn",
                                "values": ["fargate", "hybrid", "auto"],
                            },
                        ]
                    }
                ]
            }
        }
    }
