"""From drafts to Cilium's objects: one for each of Calico's, with its name and where it came from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from netpol.model.identity import NAMESPACE, NAMESPACE_LABELS, SERVICE_ACCOUNT
from netpol.model.selector import Has, In, Not, NotIn, Selector, Text
from netpol.model.values import DIRECTIONS, CalicoPolicy, Meta
from netpol.translate.emit import Draft
from netpol.translate.naming import fitting

SOURCE = "eks-cilium/translated-from"


EXPANDED = "eks-cilium/expanded-over-labels"


WRITTEN_OUT = "eks-cilium/written-out"
"""Objects of which a policy holds a copy: it has to be made anew when they change."""


BOUND = "eks-cilium/holds-for"


ASSUMES = "eks-cilium/assumes"


def assuming(manifest: dict[str, Any], what: tuple[str, ...]) -> dict[str, Any]:
    """The manifest with a note of what the proof rests on."""
    meta = manifest["metadata"]
    return {**manifest, "metadata": {**meta, "annotations": {**meta["annotations"], ASSUMES: "; ".join(what)}}}


def bound(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest with a note that it was proved for the objects of its day, and not for all that could exist."""
    meta = manifest["metadata"]
    said = {BOUND: "the objects it was made from; prove again when pods, labels or services change"}
    return {**manifest, "metadata": {**meta, "annotations": {**meta["annotations"], **said}}}


def manifest_of(owner: CalicoPolicy, drafts: list[Draft]) -> dict[str, Any]:
    """One Cilium policy from the drafts of one Calico policy: a spec per subject, rules in their order."""
    namespace = owner.meta.namespace
    specs: list[dict[str, Any]] = []
    groups: dict[tuple[Any, ...], list[Draft]] = {}
    for draft in drafts:
        # Denies stand apart: they must not switch default deny on.
        groups.setdefault((draft.subject, draft.default_deny), []).append(draft)
    for (subject, default_deny), members in groups.items():
        spec: dict[str, Any] = {
            "description": f"{owner.meta}: " + ", ".join(dict.fromkeys(m.origin for m in members)),
            "endpointSelector": _selector(subject, without=NAMESPACE if namespace else ""),
        }
        for member in members:
            side = member.direction + ("Deny" if member.deny else "")
            spec.setdefault(side, []).append(_rule_object(member, namespace))
        spec["enableDefaultDeny"] = {
            direction: default_deny for direction in DIRECTIONS if any(m.direction == direction for m in members)
        }
        for side in ("ingress", "egress"):
            rules = spec.get(side)
            if rules is not None and len(rules) > 1 and {} in rules:
                spec[side] = [r for r in rules if r]
        specs.append(spec)
    meta: dict[str, Any] = {"name": _name(owner.meta)}
    if namespace:
        meta["namespace"] = namespace
    meta["annotations"] = {SOURCE: f"{owner.meta} ({owner.meta.api})"}
    expanded = sorted({key for d in drafts for key in d.expanded})
    if expanded:
        meta["annotations"][EXPANDED] = ",".join(expanded)
    copied = sorted({name for d in drafts for name in d.copied})
    if copied:
        meta["annotations"][WRITTEN_OUT] = ", ".join(copied)
    out: dict[str, Any] = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy" if namespace else "CiliumClusterwideNetworkPolicy",
        "metadata": meta,
    }
    if len(specs) == 1:
        out["spec"] = specs[0]
    else:
        out["specs"] = specs
    return out


def _name(meta: Meta) -> str:
    name = re.sub(r"[^a-z0-9.-]+", "-", meta.name.lower()).strip("-.") or "policy"
    return fitting(name, "-as-calico" if meta.api.startswith("networking.k8s.io") else "")


def _rule_object(draft: Draft, namespace: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in draft.rule.items():
        if key.endswith("Endpoints"):
            out[key] = [_peer(term, namespace) for _, term in value]
        else:
            out[key] = value
    return out


def _peer(term: Iterable[Selector], namespace: str) -> dict[str, Any]:
    literals = list(term)
    asked = _keys(literals)
    out = _selector(literals)
    if namespace and NAMESPACE not in asked and not any(k.startswith(NAMESPACE_LABELS) for k in asked):
        # Without it, Cilium would look in the policy's own namespace only.
        everywhere = {"key": f"k8s:{NAMESPACE}", "operator": "Exists"}
        out["matchExpressions"] = [*out.get("matchExpressions", []), everywhere]
    return out


def _selector(literals: Iterable[Selector], *, without: str = "") -> dict[str, Any]:
    """A Kubernetes label selector; `without`: a key whose requirement the policy's namespace already makes."""
    labels: dict[str, str] = {}
    expressions: list[dict[str, Any]] = []
    for literal in literals:
        match literal:
            case In(key, values):
                if key == without:
                    continue
                if len(values) == 1:
                    labels[_written(key)] = next(iter(values))
                else:
                    expressions.append({"key": _written(key), "operator": "In", "values": sorted(values)})
            case NotIn(key, values):
                expressions.append({"key": _written(key), "operator": "NotIn", "values": sorted(values)})
            case Has(key):
                expressions.append({"key": _written(key), "operator": "Exists"})
            case Not(Has(key)):
                expressions.append({"key": _written(key), "operator": "DoesNotExist"})
            case _:
                raise TypeError(f"not a literal Cilium knows: {literal}")
    out: dict[str, Any] = {}
    if labels:
        out["matchLabels"] = dict(sorted(labels.items()))
    if expressions:
        out["matchExpressions"] = sorted(expressions, key=lambda e: (e["key"], e["operator"]))
    return out


def _written(key: str) -> str:
    internal = key in (NAMESPACE, SERVICE_ACCOUNT) or key.startswith(NAMESPACE_LABELS)
    return f"k8s:{key}" if internal else key


def _keys(literals: Iterable[Selector]) -> set[str]:
    out: set[str] = set()
    for literal in literals:
        inner = literal.inner if isinstance(literal, Not) else literal
        if isinstance(inner, Has | In | NotIn | Text):
            out.add(inner.key)
    return out
