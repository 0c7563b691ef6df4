"""The policy freeze as values: what it covers, whom it lets through, and how it is seen to be in force.

Two ValidatingAdmissionPolicies. The first is for what the API server stores itself, and takes the mark as its
parameter. The second is for `projectcalico.org`, which Calico's own API server serves as a rule: that one evaluates
policies too, but may not read a ConfigMap, so its policy has no parameter and lets Calico's own parts through only.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import reading
from migration.manifests import Manifest
from migration.names import FREEZE_POLICY, MAY_GO
from migration.rules.deployers import PARAM_KIND, PARAM_REF, VARIABLES, of_mark
from migration.rules.versions import is_version, minor
from migration.settings import Settings

STORED_GROUP, SERVED_GROUP = "crd.projectcalico.org", "projectcalico.org"
POLICY_GROUP, OPERATOR_GROUP = "policy.networking.k8s.io", "operator.tigera.io"
SERVED_POLICY: Final = f"{FREEZE_POLICY}-v3"

_WHOLE: Final = (
    "networkpolicies",
    "globalnetworkpolicies",
    "networksets",
    "globalnetworksets",
    "tiers",
    "hostendpoints",
)
"""Kinds of Calico of which everything decides (projectcalico/calico v3.32, felix/calc). Staged kinds decide nothing."""
CLUSTER_POLICIES: Final[Mapping[str, str]] = {
    "adminnetworkpolicies": "AdminNetworkPolicy",
    "baselineadminnetworkpolicies": "BaselineAdminNetworkPolicy",
    "clusternetworkpolicies": "ClusterNetworkPolicy",
}
"""Resource → kind, of Kubernetes' own. The freeze keeps all, also where only one of the two engines enforces them."""
POLICY_VERSIONS: Final = ("v1beta1", "v1alpha2", "v1alpha1")
"""Versions under which they may be served, the newest first (kubernetes-sigs/network-policy-api)."""
_IDLE_FELIX: Final = (
    *("logSeverityScreen", "logSeverityFile", "logSeveritySys", "logFilePath", "logPrefix", "logDebugFilenameRegex"),
    *("logActionRateLimit", "logActionRateLimitBurst"),
    *("prometheusMetricsEnabled", "prometheusMetricsHost", "prometheusMetricsPort", "prometheusMetricsCAFile"),
    *("prometheusMetricsCertFile", "prometheusMetricsKeyFile", "prometheusMetricsClientAuth"),
    *("prometheusGoMetricsEnabled", "prometheusProcessMetricsEnabled", "prometheusWireGuardMetricsEnabled"),
    *("healthEnabled", "healthHost", "healthPort", "healthTimeoutOverrides"),
    *("usageReportingEnabled", "usageReportingInitialDelay", "usageReportingInterval"),
    *("reportingInterval", "reportingTTL", "endpointReportingDelay", "endpointReportingEnabled"),
    *("flowLogsCollectorDebugTrace", "flowLogsFlushInterval", "flowLogsGoldmaneServer", "flowLogsLocalReporter"),
    *("flowLogsPolicyEvaluationMode", "goGCThreshold", "goMaxProcs", "goMemoryLimitMB"),
    *("debugHost", "debugPort", "debugMemoryProfilePath"),
    *("bpfLogLevel", "bpfLogFilters", "bpfCTLBLogFilter", "bpfConntrackLogLevel"),
)
"""Fields of a FelixConfiguration that report and change no verdict (Calico v3.32, reference of FelixConfiguration).
Any other may: which interfaces are workloads, failsafe ports, actions, backends, marks, masquerading. So a field that
nobody here knows counts as one that matters."""
IDLE: Final[Mapping[str, Sequence[str]]] = {
    "felixconfigurations": _IDLE_FELIX,
    "kubecontrollersconfigurations": (
        *("debugProfilePort", "etcdV3CompactionPeriod", "healthChecks", "logSeverityScreen", "prometheusMetricsPort"),
    ),
}
"""Resource → fields of its spec that change no verdict; `controllers` makes host endpoints, which do."""
DECIDING: Final[Mapping[str, Sequence[str]]] = {
    "clusterinformations": ("datastoreReady",),
    "installations": ("calicoNetwork", "cni", "kubernetesProvider", "variant"),
}
"""Resource → the only fields of its spec that change a verdict: whether Felix programs anything, and its dataplane."""

FROZEN: Final[Mapping[str, Sequence[str]]] = {
    STORED_GROUP: (*_WHOLE, *IDLE, "clusterinformations"),
    POLICY_GROUP: tuple(CLUSTER_POLICIES),
    OPERATOR_GROUP: ("installations",),
}
"""API group → resources that the freeze covers."""

RESOURCES: Final[Mapping[str, str]] = {
    "GlobalNetworkPolicy": "globalnetworkpolicies",
    "NetworkPolicy": "networkpolicies",
    "GlobalNetworkSet": "globalnetworksets",
    "NetworkSet": "networksets",
    "Tier": "tiers",
}
"""Kind → resource of what policy files of Calico may hold."""

_CONTROLLERS: Final = tuple(
    f"system:serviceaccount:{name}"
    for name in (
        "kube-system:namespace-controller",
        "kube-system:generic-garbage-collector",
        "tigera-operator:tigera-operator",
        # calico-node makes tiers at each start, and admission comes before "already exists". By manifest and by AWS's
        # chart all of Calico lives in kube-system.
        *(f"{place}:calico-node" for place in ("calico-system", "kube-system")),
        *(f"{place}:calico-kube-controllers" for place in ("calico-system", "kube-system")),
        *(f"{place}:calico-apiserver" for place in ("calico-system", "calico-apiserver")),
    )
)
"""Whoever has to write for Calico and Kubernetes to work. The API server of Calico writes what it has itself let in."""

MESSAGE: Final = (
    "Calico policies are frozen while this cluster moves to Cilium: both engines change together or not at all. "
    "Change the files under policies/network/calico and policies/network/cilium and deploy them with `pulumi up`"
)
_SERVED_MESSAGE: Final = f"{MESSAGE}, which writes crd.projectcalico.org/v1"
STACK_MANAGER: Final = "pulumi"
"""How the field managers of the stack's writes begin."""

_BOOKKEEPING: Final = "['managedFields', 'resourceVersion', 'generation']"
APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_SAME_METADATA: Final = (
    f"object.metadata.all(k, k in {_BOOKKEEPING} "
    "|| (k in oldObject.metadata && oldObject.metadata[k] == object.metadata[k])) "
    f"&& oldObject.metadata.all(k, k in {_BOOKKEEPING} || k in object.metadata)"
)
_SAME_REST: Final = (
    "object.all(k, k == 'metadata' || (k in oldObject && oldObject[k] == object[k])) && oldObject.all(k, k in object)"
)
_NEUTRAL: Final = f"request.operation == 'UPDATE' && {_SAME_METADATA} && {_SAME_REST}"
"""CEL: nothing changes but what the API server keeps about writers. Labels, annotations, owners, finalizers count."""
_SAME_LIFE: Final = (
    "request.operation != 'UPDATE' || ("
    "oldObject.metadata.?ownerReferences.orValue([]) == object.metadata.?ownerReferences.orValue([]) "
    "&& oldObject.metadata.?finalizers.orValue([]) == object.metadata.?finalizers.orValue([]) "
    f"&& oldObject.metadata.?annotations[?'{MAY_GO}'].orValue('') == "
    f"object.metadata.?annotations[?'{MAY_GO}'].orValue(''))"
)


def _listed(words: Sequence[str]) -> str:
    return "[" + ", ".join(f"'{word}'" for word in words) + "]"


def _by_field() -> list[dict[str, str]]:
    """Variables that tell, for the kinds of which some fields matter, whether one of these changes."""
    idle = " : ".join(f"request.resource.resource == '{kind}' ? {_listed(fields)}" for kind, fields in IDLE.items())
    deciding = " : ".join(
        f"request.resource.resource == '{kind}' ? {_listed(fields)}" for kind, fields in DECIDING.items()
    )
    idle_here = "(k in variables.idle || (size(variables.deciding) > 0 && !(k in variables.deciding)))"
    return [
        {"name": "idle", "expression": f"{idle} : []"},
        {"name": "deciding", "expression": f"{deciding} : []"},
        {"name": "spec", "expression": "request.operation == 'DELETE' ? {} : object.?spec.orValue({})"},
        {"name": "oldSpec", "expression": "request.operation == 'CREATE' ? {} : oldObject.?spec.orValue({})"},
        {
            "name": "reportsOnly",
            "expression": (
                "(size(variables.idle) > 0 || size(variables.deciding) > 0) "
                f"&& variables.spec.all(k, {idle_here} "
                "|| (k in variables.oldSpec && variables.oldSpec[k] == variables.spec[k])) "
                f"&& variables.oldSpec.all(k, {idle_here} || k in variables.spec) "
                f"&& ({_SAME_LIFE})"
            ),
        },
    ]


def _neutral() -> list[dict[str, str]]:
    return [{"name": "neutral", "expression": _NEUTRAL}]


def _with_revision(spec: dict[str, Any], message: str) -> dict[str, Any]:
    """A policy whose refusals say which policy spoke: only so can a changed one be told from the one before."""
    mark = hashlib.sha256(json.dumps([spec, message], sort_keys=True).encode()).hexdigest()[:8]
    text = f"{message} [{FREEZE_POLICY} {mark}]"
    said = (
        "variables.isStack && !variables.isDeployer ? 'User ' + request.userInfo.username + ' is none of the "
        f"deployers of this cluster: see the setting deployers. ' + '{text}' : '{text}'"
    )
    validation = dict(spec["validations"][0])
    validation["message"] = text
    if spec.get("paramKind"):
        validation["messageExpression"] = said
    return {**spec, "validations": [validation]}


def _policy(rules: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    return {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": [group],
                    "apiVersions": ["*"],
                    # An Installation goes with Calico itself, which is not the freeze's to allow.
                    "operations": ["CREATE", "UPDATE", *(["DELETE"] if group != OPERATOR_GROUP else [])],
                    "resources": list(resources),
                }
                for group, resources in rules.items()
            ]
        },
        "matchConditions": [
            {"name": "not-a-controller", "expression": f"!(request.userInfo.username in {_listed(_CONTROLLERS)})"}
        ],
    }


def stored_policy() -> dict[str, Any]:
    """`spec` of the policy for what the API server stores itself."""
    manager = f"request.?options.?fieldManager.orValue('').startsWith('{STACK_MANAGER}')"
    # Whoever throws the whole cluster away has held the guard open for it.
    may_go = f"(oldObject.metadata.?annotations[?'{MAY_GO}'].orValue('') == 'true' || {of_mark('open')} != '')"
    validation = {
        "expression": ("variables.reportsOnly || variables.neutral || (variables.isDeployer && variables.isStack)"),
        "reason": "Forbidden",
    }
    stack = {"name": "isStack", "expression": f"request.operation == 'DELETE' ? {may_go} : {manager}"}
    spec = {
        "paramKind": dict(PARAM_KIND),
        **_policy(FROZEN),
        "variables": [*VARIABLES, stack, *_neutral(), *_by_field()],
        "validations": [validation],
    }
    return _with_revision(spec, MESSAGE)


def served_policy() -> dict[str, Any]:
    """`spec` of the policy for `projectcalico.org`, evaluated wherever that group is served."""
    spec = {
        **_policy({SERVED_GROUP: FROZEN[STORED_GROUP]}),
        "variables": [*_neutral(), *_by_field()],
        "validations": [{"expression": "variables.reportsOnly || variables.neutral", "reason": "Forbidden"}],
    }
    return _with_revision(spec, _SERVED_MESSAGE)


def policies() -> dict[str, dict[str, Any]]:
    """Name → `spec` of each ValidatingAdmissionPolicy of the freeze."""
    return {FREEZE_POLICY: stored_policy(), SERVED_POLICY: served_policy()}


def bindings() -> dict[str, dict[str, Any]]:
    """Name → `spec` of each ValidatingAdmissionPolicyBinding; names are those of the policies."""
    deny = {"validationActions": ["Deny"]}
    return {
        FREEZE_POLICY: {"policyName": FREEZE_POLICY, "paramRef": dict(PARAM_REF), **deny},
        SERVED_POLICY: {"policyName": SERVED_POLICY, **deny},
    }


def revision() -> str:
    """Text in every refusal of the declared `stored_policy`, and of no other."""
    message: str = stored_policy()["validations"][0]["message"]
    return message[message.rindex("[") :]


def by_calico_only(resource: str, calico: str | None, settings: Settings) -> bool:
    """Whether Calico enforces a cluster-wide policy of Kubernetes and Cilium, as it is set up, does not.

    Calico enforces AdminNetworkPolicies from v3.29 to v3.31 and ClusterNetworkPolicies since v3.32; Cilium since 1.20
    the latter, when `k8sClusterNetworkPolicy.enabled` says so (release notes of both).

    Args:
        resource: of `CLUSTER_POLICIES`.
        calico: its version; None when nothing tells it, which counts as one that enforces.
    """
    known = minor(calico) if calico and is_version(calico) else None
    if resource != "clusternetworkpolicies":
        return known is None or (3, 29) <= known < (3, 32)
    switch = settings.cilium.values.get("k8sClusterNetworkPolicy")
    both = isinstance(switch, Mapping) and switch.get("enabled") is True and minor(settings.cilium.version) >= (1, 20)
    return not both and (known is None or known >= (3, 32))


@dataclass(frozen=True)
class Judged:
    """What of an object the freeze keeps as it is."""

    metadata: Mapping[str, Any]
    content: Mapping[str, Any]


def judged(resource: str, obj: Mapping[str, Any]) -> Judged:
    """The part of an object that decides, without what the API server and controllers keep in it.

    Args:
        resource: its plural.
        obj: as the API server answers.
    """
    meta = obj.get("metadata") or {}
    spec = obj.get("spec") or {}
    if resource in IDLE:
        return Judged({}, {"spec": {k: v for k, v in spec.items() if k not in IDLE[resource]}})
    if resource in DECIDING:
        return Judged({}, {"spec": {k: v for k, v in spec.items() if k in DECIDING[resource]}})
    annotations = {k: v for k, v in (meta.get("annotations") or {}).items() if k not in {MAY_GO, APPLIED}}
    kept = {"labels": meta.get("labels") or {}, "annotations": annotations}
    content = {k: v for k, v in obj.items() if k not in {"apiVersion", "kind", "metadata", "status"}}
    return Judged(kept, content)


KEPT: Final = "calico-kept"
"""Name of the command in the stack whose output is a `Record`."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the stack's state keeps of the frozen objects."""

    objects: Mapping[str, str]
    """`resource/namespace/name` → digest of the live object."""
    files: Mapping[str, str]
    """Key of a policy file's object → digest of the file's."""
    proof: str = ""
    """What the proof of exactly these objects said, in one line; empty in a record of a version that made none."""

    def dump(self) -> str:
        kept = {"objects": self.objects, "files": self.files, "proof": self.proof}
        return json.dumps(kept, sort_keys=True, separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> Self:
        """The record from the command's output.

        Raises:
            ValueError: it is none.
        """
        found = reading.json_value(text, "the record of frozen objects")
        if not isinstance(found, dict) or not all(_texts(found.get(k)) for k in ("objects", "files")):
            raise ValueError("it is not a record of frozen objects")
        if not isinstance(found.get("proof", ""), str):
            raise ValueError("it does not say what was proved of the frozen objects")  # noqa: TRY004
        return cls(objects=found["objects"], files=found["files"], proof=found.get("proof", ""))


def _texts(found: object) -> bool:
    return isinstance(found, dict) and all(isinstance(value, str) for value in found.values())


def object_key(resource: str, obj: Mapping[str, Any]) -> str:
    """How a record names an object."""
    meta = obj["metadata"]
    return "/".join(part for part in (resource, meta.get("namespace"), meta["name"]) if part)


def file_key(manifest: Manifest) -> str:
    """How a record names the object of a policy file."""
    resource = RESOURCES[manifest.kind]
    return "/".join(part for part in (resource, manifest.namespace, manifest.name) if part)


def file_digests(files: Iterable[Manifest]) -> dict[str, str]:
    """Key → digest of what a file says."""
    return {
        file_key(it): hashlib.sha256(
            json.dumps([it.labels, it.annotations, it.body], sort_keys=True, default=str).encode()
        ).hexdigest()[:12]
        for it in files
    }


def differences(before: Record, now: Record) -> dict[str, str]:
    """What was changed past the freeze: key → what happened. A change that the files made is none."""
    found = {}
    for key in sorted(before.objects.keys() | now.objects.keys()):
        old, new = before.objects.get(key), now.objects.get(key)
        if old == new or before.files.get(key) != now.files.get(key):
            continue
        found[key] = "is gone" if new is None else "is new" if old is None else "is not as it was"
    return found


def digest(resource: str, obj: Mapping[str, Any]) -> str:
    """Twelve hex digits that change when the deciding part of an object does; see `judged`."""
    it = judged(resource, obj)
    text = json.dumps([it.metadata, it.content], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
