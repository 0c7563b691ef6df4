"""The guard: what nobody may delete at a stage, and the admission policy by which the API server refuses it. Pure.

Protection in the engine's state can be switched off from the command line (`--ignore-protect`, Pulumi 3.256 and later)
and binds the engine only. The guard binds everybody: people, other tools, and EKS's own add-on manager. Its parameter
is the mark, so a stage changes what is guarded by writing the mark, and the policy stays as it is.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from migration.invariants import NEEDED_BY
from migration.journeys import Cni, Engine, Piece, Proxy, Stage
from migration.names import (
    ANNOTATION_PREFIX,
    AWS_NODE,
    CALICO_NAMESPACE,
    CALICO_NODE,
    CILIUM,
    CILIUM_ENVOY,
    CILIUM_OPERATOR,
    GUARD_POLICY,
    KUBE_PROXY,
    MARK,
    SYSTEM_NAMESPACE,
    TIGERA_NAMESPACE,
    WORKLOADS,
)
from migration.rules import deployers
from migration.rules.deployers import of_mark

ADDON_MANAGER: Final = "eks:addon-manager"
"""User by which EKS puts managed add-ons into a cluster, and takes them away."""
_TIGERA: Final = f"system:serviceaccount:{TIGERA_NAMESPACE}:tigera-operator"
_FOLLOWERS: Final = (
    ADDON_MANAGER,
    _TIGERA,
    "system:serviceaccount:kube-system:generic-garbage-collector",
    "system:serviceaccount:kube-system:namespace-controller",
)
"""Who deletes because of what somebody else deleted; while the guard is open they may."""

_NAMESPACES: Final = (SYSTEM_NAMESPACE, TIGERA_NAMESPACE, CALICO_NAMESPACE, "cilium-secrets")
_OBJECTS: Final[Mapping[Piece, tuple[str, ...]]] = {
    Piece.VPC_CNI: (AWS_NODE, "amazon-vpc-cni"),
    Piece.KUBE_PROXY: (KUBE_PROXY, "kube-proxy-config", "eks:kube-proxy"),
    Piece.CALICO: (CALICO_NODE, "calico-cni-plugin", "tigera-operator", TIGERA_NAMESPACE, CALICO_NAMESPACE),
    Piece.CILIUM: (CILIUM, CILIUM_ENVOY, CILIUM_OPERATOR, "cilium-config", "cilium-envoy-config"),
}
"""Names of what a piece cannot do without, of whatever kind: agents, operators, their rights and configuration."""
_RELEASES: Final[Mapping[Piece, tuple[str, ...]]] = {
    Piece.CALICO: ("tigera-operator", "calico-crds", "calico", "aws-calico"),
    Piece.CILIUM: (CILIUM,),
}
_GROUPS: Final[Mapping[Piece, tuple[str, ...]]] = {
    Piece.VPC_CNI: ("crd.k8s.amazonaws.com", "vpcresources.k8s.aws", "networking.k8s.aws"),
    Piece.CALICO: ("operator.tigera.io", "crd.projectcalico.org", "projectcalico.org", "policy.networking.k8s.io"),
    Piece.CILIUM: ("cilium.io",),
}
"""API groups whose definitions a piece reads: with a definition go all objects of its kind."""
_AMENITIES: Final = ("hubble", "clustermesh-apiserver")
"""Beginnings of the names of what a release may lose in an upgrade that switches something off."""

_DELETED: Final = (
    ("", ("namespaces", "configmaps", "secrets", "serviceaccounts", "services")),
    ("apps", ("daemonsets", "deployments")),
    ("rbac.authorization.k8s.io", ("roles", "rolebindings", "clusterroles", "clusterrolebindings")),
    ("apiextensions.k8s.io", ("customresourcedefinitions",)),
    ("operator.tigera.io", ("installations",)),
)
_UPDATED: Final = (
    ("", ("secrets",)),
    ("apps", ("daemonsets",)),
    ("operator.tigera.io", ("installations",)),
)
_OURS: Final = (
    ("rbac.authorization.k8s.io", ("roles",), (MARK,)),
    ("", ("configmaps",), (WORKLOADS, MARK)),
)
"""The mark and what stands beside it: (group, resources, names). An update has one name, so nothing else of these kinds
waits for the guard's answer. A ConfigMap of the mark's name is of a version before: a freeze of that version still goes
by it, until the deploy that takes it over has finished."""
_SCHEDULING: Final = (
    *("nodeSelector", "affinity", "tolerations", "nodeName", "schedulerName", "schedulingGates"),
    *("topologySpreadConstraints", "priorityClassName", "runtimeClassName", "overhead", "resources", "resourceClaims"),
    *("serviceAccountName", "hostNetwork", "volumes", "os"),
)
"""Fields of a pod's spec that decide whether its pods are made, find a node, and are let in there by kubelet."""
_OF_CONTAINERS: Final = ("resources", "ports")
"""The same, of each container: what no node has room for, or has already, is not started."""
_OF_INSTALLATION: Final = ("calicoNodeDaemonSet", "componentResources", "cni", "variant", "kubernetesProvider")
"""Fields of an Installation by which the Tigera operator changes where calico-node runs, or whether it enforces."""

PROBE: Final = f"{ANNOTATION_PREFIX}/probe"
"""Annotation that the guard never lets anybody give to the mark; the refusal says that it is in force."""
EARLIER_PROBE: Final = "probe"
"""The same for a guard of a version that kept the mark in a ConfigMap: a key of its data."""


def guarded(target: Stage, *before: Stage) -> frozenset[Piece]:
    """Pieces that nobody may delete.

    Args:
        target: the stage that is entered, or is reached.
        before: stages whose nodes may still be there while it is entered: the one that was reached, and one whose
            deploy began and did not finish. What the target removes is guarded no more: its gate proved it unused.
    """
    found = _needed(target)
    for stage in before:
        found |= _needed(stage) & target.pieces
    return found


def _needed(stage: Stage) -> frozenset[Piece]:
    """What wires, enforces or routes on some kind of node that may exist at a stage."""
    things: list[Cni | Proxy | Engine] = [*stage.wiring.values(), *stage.proxy.values()]
    things += [engine for engines in stage.enforcement.values() for engine in engines]
    return frozenset(NEEDED_BY[thing] for thing in things)


# -- the policy -------------------------------------------------------------------------------------


def policy() -> dict[str, Any]:
    """`spec` of the ValidatingAdmissionPolicy; its name is `GUARD_POLICY`."""
    return {
        "failurePolicy": "Fail",
        "paramKind": dict(deployers.PARAM_KIND),
        "matchConstraints": {
            "namespaceSelector": {
                "matchExpressions": [
                    {"key": "kubernetes.io/metadata.name", "operator": "In", "values": list(_NAMESPACES)}
                ]
            },
            "resourceRules": [
                *_rules("DELETE", _DELETED),
                *_rules("UPDATE", _UPDATED),
                *(rule for group, kinds, names in _OURS for rule in _rules("UPDATE", [(group, kinds)], names)),
            ],
        },
        "variables": [dict(variable) for variable in (*deployers.VARIABLES, *_VARIABLES)],
        "validations": [
            {"expression": _PROBED, "messageExpression": f"'{in_force()}' + {_STATE}", "reason": "Forbidden"},
            *(
                {"expression": expression, "messageExpression": message, "reason": "Forbidden"}
                for expression, message in _VALIDATIONS
            ),
        ],
    }


def binding() -> dict[str, Any]:
    """`spec` of its ValidatingAdmissionPolicyBinding, of the same name."""
    return {"policyName": GUARD_POLICY, "paramRef": dict(deployers.PARAM_REF), "validationActions": ["Deny"]}


def in_force(open_: bool | None = None, attempt: int | None = None, *, version: str = "") -> str:
    """What the refusal of the probe says: which version of the guard an API server has, and which mark.

    Args:
        open_: whether the guard is open; None leaves the mark out.
        attempt: in the mark; None leaves it out.
        version: revision of the guard; left out: of the declared one.
    """
    text = f"guard {version or revision()}"
    if open_ is not None:
        text += f" {'open' if open_ else 'closed'}"
        text += "" if attempt is None else f", attempt {attempt}."
    return text


def revision() -> str:
    """Changes with whatever the guard asks."""
    whole = json.dumps([_NAMESPACES, _DELETED, _UPDATED, _OURS, _VARIABLES, deployers.VARIABLES, _PROBED, _VALIDATIONS])
    return hashlib.sha256(whole.encode()).hexdigest()[:8]


def revision_of(policy: Mapping[str, Any]) -> str:
    """The revision that a policy (its `spec`) says itself; empty when it says none."""
    said = [str(validation.get("messageExpression", "")) for validation in policy.get("validations") or ()]
    found = (re.match(r"'guard ([0-9a-f]{8})'", text) for text in said)
    return next((match[1] for match in found if match), "")


def digest(policy: Mapping[str, Any], binding: Mapping[str, Any]) -> str:
    """The same for two policies and bindings (their `spec`) that ask the same; what the API server fills in, and words
    for people, do not count."""
    constraints = policy.get("matchConstraints") or {}
    rules = [
        [sorted(rule.get(key) or ()) for key in ("apiGroups", "apiVersions", "operations", "resources")]
        + [sorted(rule.get("resourceNames") or ()), rule.get("scope") or "*"]
        for rule in constraints.get("resourceRules") or ()
    ]
    whole = [
        policy.get("failurePolicy"),
        policy.get("paramKind"),
        rules,
        constraints.get("excludeResourceRules") or [],
        constraints.get("namespaceSelector") or {},
        constraints.get("objectSelector") or {},
        policy.get("matchConditions") or [],
        policy.get("variables"),
        [validation.get("expression") for validation in policy.get("validations") or ()],
        binding.get("policyName"),
        binding.get("paramRef"),
        "Deny" in (binding.get("validationActions") or ()),
        _limits(binding.get("matchResources") or {}),
    ]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]


def _limits(match: Mapping[str, Any]) -> dict[str, Any]:
    """What a binding's `matchResources` leaves out; the API server fills in empty selectors."""
    return {key: value for key, value in match.items() if value and key != "matchPolicy"}


def _rules(
    operation: str, kinds: Iterable[tuple[str, Sequence[str]]], names: Sequence[str] = ()
) -> list[dict[str, Any]]:
    # Deletions without names of objects: a request that deletes a whole collection has none, and would pass.
    named = {"resourceNames": list(names)} if names else {}
    return [
        {"apiGroups": [group], "apiVersions": ["*"], "operations": [operation], "resources": list(resources), **named}
        for group, resources in kinds
    ]


def _list(words: Iterable[str]) -> str:
    return "[" + ", ".join(f"'{word}'" for word in words) + "]"


def _first(rows: Mapping[Piece, tuple[str, ...]], value: str, otherwise: str) -> str:
    """CEL: the piece among whose words a value is."""
    text = otherwise
    for piece, words in reversed(tuple(rows.items())):
        text = f"{value} in {_list(words)} ? '{piece}' : ({text})"
    return text


_RELEASE_OF: Final = _first(_RELEASES, "variables.release", "''")
_VARIABLES: Final = (
    {"name": "guarded", "expression": f"{of_mark('guarded')}.split(',')"},
    {"name": "open", "expression": f"{of_mark('open')} != ''"},
    {"name": "user", "expression": "request.userInfo.?username.orValue('')"},
    {"name": "name", "expression": "oldObject.metadata.name"},
    {
        "name": "release",
        "expression": (
            "request.resource.resource == 'secrets' "
            "? (oldObject.metadata.?labels[?'owner'].orValue('') == 'helm' "
            "&& oldObject.metadata.?labels[?'status'].orValue('') == 'deployed' "
            "? oldObject.metadata.?labels[?'name'].orValue('') : '') "
            ": oldObject.metadata.?annotations[?'meta.helm.sh/release-name'].orValue('')"
        ),
    },
    {
        "name": "piece",
        "expression": (
            "request.resource.resource == 'customresourcedefinitions' "
            f"? ({_first(_GROUPS, 'oldObject.spec.group', _RELEASE_OF)}) "
            f": request.resource.resource == 'installations' ? '{Piece.CALICO}' "
            f": ({_first(_OBJECTS, 'variables.name', _RELEASE_OF)})"
        ),
    },
    {"name": "kept", "expression": "variables.piece != '' && variables.piece in variables.guarded"},
    {
        "name": "isMark",
        "expression": (
            f"request.resource.resource == 'roles' && variables.name == '{MARK}' "
            f"&& request.namespace == '{SYSTEM_NAMESPACE}'"
        ),
    },
    {
        "name": "isBeside",
        "expression": (
            f"request.resource.resource == 'configmaps' && variables.name in {_list((WORKLOADS, MARK))} "
            f"&& request.namespace == '{SYSTEM_NAMESPACE}'"
        ),
    },
    {
        "name": "mayAnyway",
        "expression": f"variables.open && (variables.isDeployer || variables.user in {_list(_FOLLOWERS)})",
    },
    {
        "name": "isAmenity",
        "expression": (
            "request.resource.resource != 'customresourcedefinitions' && variables.isDeployer && ("
            + " || ".join(f"variables.name.startsWith('{beginning}')" for beginning in _AMENITIES)
            + ")"
        ),
    },
    {
        "name": "isOwner",
        "expression": (
            f"variables.isDeployer || variables.user == '{ADDON_MANAGER}' "
            f"|| (variables.piece == '{Piece.CALICO}' && variables.user == '{_TIGERA}')"
        ),
    },
)
_UPDATE: Final = "request.operation == 'UPDATE'"
_DELETE: Final = "request.operation == 'DELETE'"
_PROBED: Final = f"!({_UPDATE} && variables.isMark) || !object.metadata.?annotations[?'{PROBE}'].hasValue()"
_STATE: Final = f"(variables.open ? ' open, attempt ' : ' closed, attempt ') + {of_mark('attempt')} + '.'"
_AT: Final = of_mark("reached")
_WHAT: Final = "request.resource.resource + ' ' + variables.name"
_OPEN_IT: Final = "open the guard first: `python -m operations guard open` (docs/recovery.md)'"


def _same(path: str, fields: Iterable[str]) -> str:
    return " && ".join(f"object.{path}.?{field} == oldObject.{path}.?{field}" for field in fields)


_CONTAINERS: Final = " && ".join(
    f"object.spec.template.spec.containers.map(c, c.?{field}.orValue({empty})) "
    f"== oldObject.spec.template.spec.containers.map(c, c.?{field}.orValue({empty}))"
    for field, empty in zip(_OF_CONTAINERS, ("{}", "[]"), strict=True)
)
_VALIDATIONS: Final = (
    (
        f"!({_DELETE} && variables.kept) || variables.mayAnyway || variables.isAmenity "
        f"|| (variables.piece == '{Piece.CALICO}' && variables.user == '{_TIGERA}' "
        "&& request.resource.resource in ['daemonsets', 'deployments'])",
        f"{_WHAT} + ' belongs to ' + variables.piece + ', which nodes of this cluster need at ' + {_AT} "
        "+ ', so it was not deleted. Go on to the stage that removes it; to delete it now, " + _OPEN_IT,
    ),
    (
        f"!(variables.isMark || variables.isBeside) || variables.isDeployer && ({_UPDATE} || variables.open "
        f"|| variables.isBeside && variables.name == '{MARK}')",
        f"{_WHAT} + ' says what this cluster guards, or what it is judged by: only deployers write it, and nobody "
        "deletes it. The deployers are ' + variables.deployers.join(', ')",
    ),
    (
        f"!({_UPDATE} && variables.kept && request.resource.resource == 'daemonsets') || variables.isOwner "
        f"|| ({_same('spec.template.spec', _SCHEDULING)} && {_same('spec.template.metadata', ('labels',))} "
        f"&& {_CONTAINERS})",
        f"{_WHAT} + ' belongs to ' + variables.piece + ': on which nodes it runs is changed by deployers only'",
    ),
    (
        f"!({_UPDATE} && variables.kept && request.resource.resource == 'installations') || variables.isOwner "
        f"|| !has(oldObject.spec) || has(object.spec) && {_same('spec', _OF_INSTALLATION)}",
        f"{_WHAT} + ' says where calico-node runs and what it enforces: that is changed by deployers only'",
    ),
    (
        f"!({_UPDATE} && variables.kept && request.resource.resource == 'secrets') || variables.mayAnyway "
        "|| object.metadata.?labels[?'status'].orValue('') != 'uninstalling'",
        f"'the Helm release ' + variables.release + ' belongs to ' + variables.piece + ', which nodes of this cluster "
        f"need at ' + {_AT} + ': it is not uninstalled. To do it all the same, " + _OPEN_IT,
    ),
)
"""(expression, message expression). Nothing here may fail to evaluate: an error refuses the request."""
