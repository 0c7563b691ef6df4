"""What Cilium's agents enforce: every endpoint, in each direction in which a policy selects it."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import reading
from kube.transport import KubeError, Obj
from migration.journeys import CheckId
from migration.names import CILIUM, SYSTEM_NAMESPACE
from operations.access.context import Context
from operations.checks import check
from operations.checks.cilium import API, configuration, daemonset_of, managed_pods
from operations.cluster import objects, selectors
from operations.evidence import Answer, Finding

BOTH: Final = frozenset({"ingress", "egress"})
ENFORCED: Final = {"both": BOTH, "ingress": frozenset({"ingress"}), "egress": frozenset({"egress"})}
"""What an agent says of an endpoint, in its own API and in its metrics -> directions; auditing is not enforcing."""
METRIC: Final = "cilium_policy_endpoint_enforcement_status"
_SAMPLE: Final = re.compile(rf'^{METRIC}\{{enforcement="([a-z-]{{1,20}})"\}} ([0-9]{{1,9}})$', re.MULTILINE | re.ASCII)
_ADDRESS: Final = re.compile(r"[^\s]*:([0-9]{1,5})", re.ASCII)
LATER: Final = "A deploy asks the agents themselves; so does `check --check policies-realised --wait 60`"
RIGHTS: Final = "Give whoever deploys `get` on pods/proxy, or `create` on pods/exec, in kube-system"

Directions = frozenset[str]
"""Some of "ingress" and "egress"."""


@check(CheckId.POLICIES_REALISED)
def policies_realised(context: Context) -> Answer:
    """Each endpoint on a Cilium node enforces in every direction in which a policy selects it."""
    kube = context.kube
    nodes = {objects.name(n) for n in kube.nodes() if objects.is_cilium(n)}
    pods = managed_pods(kube.pods(), nodes)
    endpoints = {objects.key(e): e for e in kube.custom(API, "ciliumendpoints")}
    config = (configuration(kube) or {}).get("data") or {}
    if config.get("enable-policy") == "never":
        finding = Finding("configmap kube-system/cilium-config", "enable-policy is never", "Take it out of the values")
        return Answer("enforcement is switched off", (finding,))
    plain = kube.network_policies() if config.get("enable-k8s-networkpolicy", "true") == "true" else []
    policies = [*kube.custom(API, "ciliumnetworkpolicies"), *kube.custom(API, "ciliumclusterwidenetworkpolicies")]
    always = config.get("enable-policy") == "always"
    wanted = {objects.key(p): BOTH if always else selected(p, endpoints, plain, policies) for p in pods}
    told = _told(context, pods, endpoints, wanted, str(config.get("prometheus-serve-addr") or ""))
    findings = (*unrealised(wanted, endpoints, told.enforced), *told.lacking)
    summary = f"{objects.count(len(pods), 'pod')} on Cilium nodes"
    counted = f", on {objects.count(told.counted, 'node')} by the agents' counts" if told.counted else ""
    return Answer(summary + counted, findings, tuple(told.unknown))


def selected(pod: Obj, endpoints: Mapping[str, Obj], plain: Iterable[Obj], policies: Iterable[Obj]) -> frozenset[str]:
    """Directions in which some policy isolates a pod."""
    directions: set[str] = set()
    for policy in plain:
        directions |= selectors.kubernetes_directions(policy, pod)
    endpoint = endpoints.get(objects.key(pod))
    if endpoint is not None:
        identity = selectors.identity_labels(endpoint)
        for policy in policies:
            directions |= selectors.cilium_directions(policy, objects.namespace(pod), identity)
    return frozenset(directions)


def unrealised(
    wanted: Mapping[str, frozenset[str]], endpoints: Mapping[str, Obj], found: Mapping[str, frozenset[str]]
) -> Iterator[Finding]:
    """Pods that are open where a policy says they are not.

    Args:
        wanted: directions by pod.
        found: directions that are enforced, for the pods of which that is known.
    """
    for key, directions in wanted.items():
        if key not in endpoints:
            yield Finding(
                f"pod {key}", "has no CiliumEndpoint: nothing is enforced", "See the check endpoints-complete"
            )
            continue
        lacking = directions - found[key] if key in found else frozenset()
        if lacking:
            yield Finding(
                f"pod {key}",
                f"a policy isolates its {' and '.join(sorted(lacking))}, its endpoint does not enforce that",
                "Wait for the agent to regenerate it; if it stays, look at the agent of its node",
            )


@dataclass
class _Told:
    """What agents say of the endpoints on their nodes."""

    enforced: dict[str, Directions] = field(default_factory=dict)
    """By pod, as far as it is known."""
    lacking: list[Finding] = field(default_factory=list)
    """Nodes on which some pod is open, though nobody said which one."""
    unknown: list[Finding] = field(default_factory=list)
    counted: int = 0
    """Nodes of which counts alone were asked."""


def _told(
    context: Context, pods: Iterable[Obj], endpoints: Mapping[str, Obj], wanted: Mapping[str, Directions], address: str
) -> _Told:
    """Directions enforced by pod.

    CiliumEndpoints say it in older versions only (1.20's agent leaves `status.policy` out). Otherwise the agent's
    metrics are read through the API server: how many endpoints of the node enforce in which direction. Only where the
    counts are not what the policies ask for is a command run in the agent's pod, and only by a deploy: whoever may do
    that is root on the node, and previews run what a pull request says.

    Args:
        address: where agents serve metrics, as cilium-config has it; empty: nowhere.
    """
    told = _Told({key: found for key, e in endpoints.items() if (found := published(e)) is not None})
    silent: dict[str, list[str]] = {}
    for pod in pods:
        if (key := objects.key(pod)) in endpoints and key not in told.enforced:
            silent.setdefault(objects.node_of(pod), []).append(key)
    agents = {
        objects.node_of(pod): pod
        for pod in context.kube.pods(SYSTEM_NAMESPACE, labels="k8s-app=cilium")
        if daemonset_of(pod) == CILIUM
    }
    for node, keys in sorted(silent.items()):
        if node not in agents:
            told.unknown.append(Finding(f"node {node}", "no agent says what is enforced there", "Try again"))
            continue
        _ask(context, agents[node], address, {key: wanted[key] for key in keys}, told)
    return told


def _ask(context: Context, pod: Obj, address: str, wanted: Mapping[str, Directions], told: _Told) -> None:
    """Ask the agent in `pod` about the pods on its node."""
    about, agent, asked = f"node {objects.node_of(pod)}", objects.name(pod), counts(wanted.values())
    open_somewhere = False
    try:
        enforced = counted(_metrics(context, agent, address))
        if enforced == asked:
            told.enforced |= wanted
            told.counted += 1
            return
        open_somewhere = any(enforced[direction] < asked[direction] for direction in BOTH)
        why = f"policies isolate {_shown(asked)} there, its agent {agent} counts {_shown(enforced)}"
    except (KubeError, ValueError) as error:
        why = f"the counts of its agent {agent} cannot be read: {error}"
    if not context.deploying:
        if open_somewhere:
            told.lacking.append(Finding(about, why, f"Wait for the agent to regenerate the endpoints. {LATER}"))
        else:
            told.unknown.append(Finding(about, why, LATER))
        return
    try:
        text = context.kube.execute(
            SYSTEM_NAMESPACE, agent, "cilium-agent", ("cilium-dbg", "endpoint", "list", "-o", "json")
        )
        answer = agent_answer(text)
    except (KubeError, ValueError) as error:
        told.unknown.append(Finding(about, f"{why}; and it does not say what it enforces: {error}", RIGHTS))
        return
    told.enforced |= {key: answer[key] for key in wanted if key in answer}
    if left := sorted(wanted.keys() - answer.keys()):
        told.unknown.append(Finding(about, f"its agent does not know {objects.some(left)}", "Try again"))


def _metrics(context: Context, agent: str, address: str) -> str:
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise ValueError("it serves none: prometheus.enabled of the Cilium chart is off")
    path = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/pods/{agent}:{found[1]}/proxy/metrics"
    return context.kube.text(path)


def counted(text: str) -> dict[str, int]:
    """Endpoints of a node by the direction in which they are enforced, from an agent's metrics.

    Source: pkg/endpoint/metrics.go (Cilium 1.20): one sample for each state, zero or not.

    Raises:
        ValueError: the samples are not there.
    """
    states = {state: int(number) for state, number in _SAMPLE.findall(text)}
    if not ENFORCED.keys() <= states.keys():
        raise ValueError(f"its metrics have no {METRIC} by state")
    return {d: sum(states[state] for state, directions in ENFORCED.items() if d in directions) for d in BOTH}


def counts(wanted: Iterable[Directions]) -> dict[str, int]:
    """Pods by the direction in which they are to be enforced."""
    found = Counter(direction for directions in wanted for direction in directions)
    return {direction: found[direction] for direction in BOTH}


def _shown(found: Mapping[str, int]) -> str:
    return f"{found['ingress']} by ingress and {found['egress']} by egress"


def published(endpoint: Obj) -> frozenset[str] | None:
    """Directions that a CiliumEndpoint says are enforced; None when it says nothing."""
    policy = (endpoint.get("status") or {}).get("policy")
    if not policy:
        return None
    return frozenset(d for d in BOTH if (policy.get(d) or {}).get("enforcing"))


def agent_answer(text: str) -> dict[str, frozenset[str]]:
    """`cilium-dbg endpoint list -o json`: directions by `namespace/pod`, for endpoints whose policy is up to date.

    Raises:
        ValueError: the text is not that.
    """
    endpoints = reading.json_value(text, "the agent's answer")
    try:
        return dict(_up_to_date(endpoints))
    except (AttributeError, TypeError, KeyError) as error:
        raise ValueError(f"the agent's answer is not a list of endpoints: {error}") from None


def _up_to_date(endpoints: Iterable[Obj]) -> Iterator[tuple[str, frozenset[str]]]:
    for endpoint in endpoints:
        status = endpoint.get("status") or {}
        names = status.get("external-identifiers") or {}
        policy = status.get("policy") or {}
        realised, wanted = policy.get("realized") or {}, policy.get("spec") or {}
        if not names.get("k8s-pod-name"):
            continue
        stale = realised.get("policy-revision", 0) < wanted.get("policy-revision", 0)
        enforced = frozenset() if stale else ENFORCED.get(str(realised.get("policy-enabled")), frozenset())
        yield f"{names.get('k8s-namespace', '')}/{names['k8s-pod-name']}", frozenset(enforced)
