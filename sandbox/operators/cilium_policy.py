"""How Cilium labels a pod, which policies select it, and which policies it refuses.

Sources: Cilium 1.20 pkg/labelsfilter (default filter), pkg/policy/api/rule_validation.go (Sanitize),
operator/pkg/networkpolicy (status conditions). Only the simplest rules of the sanitizer are repeated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from sandbox.operators import kube
from sandbox.operators.kube import Object

NAMESPACE = "io.kubernetes.pod.namespace"
CLUSTER = "io.cilium.k8s.policy.cluster"
SERVICE_ACCOUNT = "io.cilium.k8s.policy.serviceaccount"
NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels."
NAMED_PORTS = "gen:io.cilium.k8s.named-ports"

_DROPPED = re.compile(
    r"io\.kubernetes|kubernetes\.io|statefulset\.kubernetes\.io/pod-name|apps\.kubernetes\.io/pod-index"
    r"|batch\.kubernetes\.io/(job-completion-index|controller-uid)|.*beta\.kubernetes\.io|k8s\.io"
    r"|pod-template-(generation|hash)|controller-(revision-hash|uid)|annotation|etcd_node|topology\.kubernetes\.io"
)
_LISTS = ("ingress", "ingressDeny", "egress", "egressDeny")
_MAX_PORTS = 40


def security_labels(pod: Object, namespace: Object | None, cluster_name: str) -> dict[str, str]:
    """The labels that make up a pod's identity, with their source (`k8s:`, `gen:`)."""
    found = {key: value for key, value in kube.labels(pod).items() if not _DROPPED.match(key)}
    for key, value in (kube.labels(namespace) if namespace else {}).items():
        found[NAMESPACE_LABELS + key] = value
    found[NAMESPACE] = kube.namespace(pod)
    found[CLUSTER] = cluster_name
    found[SERVICE_ACCOUNT] = pod["spec"].get("serviceAccountName") or "default"
    labels = {f"k8s:{key}": value for key, value in found.items()}
    if ports := named_ports(pod):
        labels[NAMED_PORTS] = "_".join(f"{p['name']}.{p['protocol']}.{p['port']}" for p in ports)
    return labels


def named_ports(pod: Object) -> list[dict[str, Any]]:
    """Named container ports of a pod, in order of name."""
    ports = [p for c in pod["spec"]["containers"] for p in c.get("ports") or [] if p.get("name")]
    found = [{"name": p["name"], "port": p["containerPort"], "protocol": p.get("protocol", "TCP")} for p in ports]
    return sorted(found, key=lambda p: str(p["name"]))


def rules(policy: Object) -> list[Object]:
    """`spec` and `specs` of a Cilium policy."""
    return [*([policy["spec"]] if policy.get("spec") else []), *(policy.get("specs") or [])]


def refusal(policy: Object) -> str:
    """Why Cilium would not load a policy; empty when nothing that is looked at here is wrong."""
    found = rules(policy)
    if not found:
        return "spec or specs must be set"
    namespaced = bool(kube.namespace(policy))
    return next((reason for rule in found if (reason := _rule_refusal(rule, namespaced))), "")


def _rule_refusal(rule: Mapping[str, Any], namespaced: bool) -> str:
    if not any(rule.get(part) for part in _LISTS):
        return "rule must have at least one of Ingress, IngressDeny, Egress, EgressDeny"
    on_pods, on_nodes = "endpointSelector" in rule, "nodeSelector" in rule
    if on_pods == on_nodes:
        both = "rule cannot have both EndpointSelector and NodeSelector"
        return both if on_pods else "rule must have one of EndpointSelector or NodeSelector"
    if on_nodes and namespaced:
        return "nodeSelector is only allowed in a CiliumClusterwideNetworkPolicy"
    for part in _LISTS:
        for item in rule.get(part) or []:
            if reason := _item_refusal(item or {}):
                return f"{part}: {reason}"
    return ""


def _item_refusal(item: Mapping[str, Any]) -> str:
    peers = [key for key in item if re.match(r"(from|to)(?!Ports$)[A-Z]", key) and item[key] is not None]
    if len(peers) > 1 and set(peers) not in ({"fromCIDR", "fromCIDRSet"}, {"toCIDR", "toCIDRSet"}):
        return f"combining {' and '.join(sorted(peers))} is not supported yet"
    if item.get("icmps") and item.get("toPorts"):
        return "icmps and toPorts cannot be in one rule"
    return next((r for entry in item.get("toPorts") or [] if (r := _ports_refusal(entry))), "")


def _ports_refusal(entry: Mapping[str, Any]) -> str:
    ports = entry.get("ports") or []
    if len(ports) > _MAX_PORTS:
        return f"too many ports, the max is {_MAX_PORTS}"
    for port in ports:
        if not str(port.get("port") or ""):
            return "Port must be specified"
        if str(port["port"]).isdigit() and int(port["port"]) > 65535:
            return f"Unable to parse port {port['port']}"
    return "L7 rules need ports" if entry.get("rules") and not ports else ""


def validity(policy: Object, at: str) -> Object | None:
    """The condition `Valid` that a policy should have, or None when it has it."""
    reason = refusal(policy)
    status, message = ("False", reason) if reason else ("True", "Policy validation succeeded")
    seen = kube.condition(policy, "Valid")
    if (seen.get("status"), seen.get("message")) == (status, message):
        return None
    since = seen["lastTransitionTime"] if seen.get("status") == status else at
    return {"type": "Valid", "status": status, "message": message, "lastTransitionTime": since}


def enforced(
    labels: Mapping[str, str], mode: str, cilium_policies: Iterable[Object], policies: Iterable[Object]
) -> tuple[bool, bool]:
    """Whether ingress and egress of a pod with these security labels are default-deny.

    `mode` is cilium-config's enable-policy: default, always or never. `policies` are those of Kubernetes.
    """
    if mode in ("always", "never"):
        return mode == "always", mode == "always"
    bare = {key.split(":", 1)[1]: value for key, value in labels.items()}
    ingress = egress = False
    for policy in cilium_policies:
        if refusal(policy) or kube.namespace(policy) not in ("", bare[NAMESPACE]):
            continue
        for rule in rules(policy):
            if "endpointSelector" in rule and kube.selects(_bare_selector(rule["endpointSelector"]), bare):
                deny = rule.get("enableDefaultDeny") or {}
                ingress |= deny.get("ingress", bool(rule.get("ingress") or rule.get("ingressDeny")))
                egress |= deny.get("egress", bool(rule.get("egress") or rule.get("egressDeny")))
    for policy in policies:
        spec = policy["spec"]
        if kube.namespace(policy) == bare[NAMESPACE] and kube.selects(spec.get("podSelector") or {}, bare):
            types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
            ingress |= "Ingress" in types
            egress |= "Egress" in types
    return ingress, egress


def _bare_selector(selector: Mapping[str, Any]) -> dict[str, Any]:
    """A selector without the label sources that pods have; another source stays, and matches no pod."""
    return {
        "matchLabels": {_bare(k): v for k, v in (selector.get("matchLabels") or {}).items()},
        "matchExpressions": [{**rule, "key": _bare(rule["key"])} for rule in selector.get("matchExpressions") or []],
    }


def _bare(key: str) -> str:
    return re.sub(r"^(k8s|any)[:.](?=[a-zA-Z0-9])", "", key) if re.match(r"^(k8s|any):", key) else key
