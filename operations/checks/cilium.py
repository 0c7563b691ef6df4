"""Cilium itself: operator, agents, the objects they publish."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from kube.cluster import Cluster
from kube.transport import Obj
from migration import manifests
from migration.journeys import CheckId, Piece
from migration.names import (
    AWS_NODE,
    CALICO_NODE,
    CANARY_TAINT,
    CILIUM,
    CILIUM_CNI,
    CILIUM_ENVOY,
    CILIUM_OPERATOR,
    CNI_LABEL,
    KUBE_PROXY,
    SYSTEM_NAMESPACE,
)
from operations.access.context import Context
from operations.checks import check
from operations.checks.legacy import roll_out_findings
from operations.checks.nodes import unready
from operations.cluster import objects
from operations.evidence import Answer, Finding, UnknownError

API: Final = "cilium.io/v2"
CRDS: Final = (
    "ciliumclusterwidenetworkpolicies.cilium.io",
    "ciliumendpoints.cilium.io",
    "ciliumidentities.cilium.io",
    "ciliumnetworkpolicies.cilium.io",
    "ciliumnodes.cilium.io",
)
"""What agents and our checks need; registered by the operator when it runs, not by the chart."""
CONFIG: Final = "cilium-config"
LEGACY_AGENTS: Final = frozenset({AWS_NODE, KUBE_PROXY, CALICO_NODE})
COREDNS: Final = "coredns"


@check(CheckId.CILIUM_OPERATOR_HEALTHY)
def cilium_operator_healthy(context: Context) -> Answer:
    """Every replica of the Cilium operator is available."""
    live = context.kube.deployment(SYSTEM_NAMESPACE, CILIUM_OPERATOR)
    wanted, there = objects.available(live) if live else (0, 0)
    return Answer(f"{there} of {wanted} replicas available", tuple(operator_findings(live)))


def operator_findings(live: Obj | None) -> Iterator[Finding]:
    about = f"deployment {SYSTEM_NAMESPACE}/{CILIUM_OPERATOR}"
    if live is None:
        yield Finding(about, "does not exist", "Deploy the stage install-cilium")
        return
    wanted, there = objects.available(live)
    if wanted == 0:
        yield Finding(about, "is scaled to zero", "Scale it up: nothing gives Cilium nodes addresses without it")
    elif there < wanted:
        yield Finding(
            about,
            f"{there} of {wanted} replicas available",
            "Look at its pods; each replica needs a node of its own (cilium.operatorReplicas)",
        )


@check(CheckId.CRDS_ESTABLISHED)
def crds_established(context: Context) -> Answer:
    """The CRDs that Cilium and the policy files need are served."""
    files = manifests.load(context.directory / context.settings.policies, "cilium")
    wanted = {*CRDS, *(f"{plural(m.kind)}.cilium.io" for m in files)}
    found = {name: context.kube.crd(name) for name in sorted(wanted)}
    return Answer(f"{len(found)} kinds", tuple(crd_findings(found)))


def plural(kind: str) -> str:
    """Resource name of a kind, for the policy kinds of Calico and Cilium."""
    return f"{kind[:-1].lower()}ies" if kind.endswith("y") else f"{kind.lower()}s"


def crd_findings(found: Mapping[str, Obj | None]) -> Iterator[Finding]:
    for name, crd in found.items():
        if crd is None:
            yield Finding(f"crd {name}", "does not exist", "Wait for the Cilium operator; look at its logs")
        elif not objects.holds(crd, "Established"):
            yield Finding(f"crd {name}", "is not established", f"`kubectl describe crd {name}`")


def configuration(kube: Cluster) -> Obj | None:
    """The ConfigMap that agents read."""
    return kube.get(f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps/{CONFIG}")


# -- nodes ------------------------------------------------------------------------------------------


@check(CheckId.CANARY_READY)
def canary_ready(context: Context) -> Answer:
    """Each zone has a canary node whose agent is ready, and none of them runs a legacy agent."""
    subnets = context.aws.pages(
        "ec2", "describe_subnets", "Subnets", SubnetIds=list(context.settings.network.subnet_ids)
    )
    zones = {str(s["AvailabilityZone"]) for s in subnets}
    canaries = [n for n in context.kube.nodes() if objects.is_canary(n)]
    published = {objects.name(n) for n in context.kube.custom(API, "ciliumnodes")}
    system = context.kube.pods()
    findings = [*zone_findings(zones, canaries)]
    for node in canaries:
        here = [p for p in system if objects.node_of(p) == objects.name(node)]
        findings += canary_findings(node, here, published=objects.name(node) in published)
    return Answer(f"{objects.count(len(canaries), 'canary node')} in {', '.join(sorted(zones))}", tuple(findings))


def zone_findings(zones: Iterable[str], canaries: Iterable[Obj]) -> Iterator[Finding]:
    covered = {objects.zone(n) for n in canaries if objects.holds(n, "Ready")}
    for zone in sorted(set(zones) - covered):
        yield Finding(f"zone {zone}", "has no Ready canary node", "Look at the node group canary and its instances")


def canary_findings(node: Obj, pods: Iterable[Obj], *, published: bool) -> Iterator[Finding]:
    """What keeps a canary node from being one.

    Args:
        pods: on that node.
        published: whether its agent has made the CiliumNode.
    """
    about = f"node {objects.name(node)}"
    look = "Look at the agent there: `kubectl -n kube-system logs -l k8s-app=cilium`"
    yield from unready([node])
    if not objects.is_cilium(node):
        yield Finding(about, f"is not labelled {CNI_LABEL}={CILIUM_CNI}", "Replace it by one of the group canary")
    if objects.agent_not_ready(node):
        yield Finding(about, "still has the taint of a node whose agent is not ready", look)
    if not published:
        yield Finding(about, "has no CiliumNode", look)
    owners = {owner: pod for pod in pods if (owner := daemonset_of(pod))}
    agent = owners.get(CILIUM)
    if agent is None or not objects.holds(agent, "Ready"):
        yield Finding(about, "has no ready Cilium agent", look)
    for name in sorted(LEGACY_AGENTS & owners.keys()):
        yield Finding(
            about, f"runs {name}", "It must be bound to legacy nodes: see the check pins-hold, then replace the node"
        )


def daemonset_of(pod: Obj) -> str:
    """Name of the DaemonSet a pod belongs to, or nothing."""
    owners = pod["metadata"].get("ownerReferences") or []
    return next((str(o["name"]) for o in owners if o.get("kind") == "DaemonSet"), "")


@check(CheckId.NO_CILIUM_NODES)
def no_cilium_nodes(context: Context) -> Answer:
    """No node needs Cilium."""
    return Answer("no Cilium node", tuple(cilium_nodes(context.kube.nodes())))


def cilium_nodes(nodes: Iterable[Obj]) -> Iterator[Finding]:
    for node in nodes:
        if objects.is_cilium(node):
            yield Finding(
                f"node {objects.name(node)}",
                "is wired by Cilium",
                "Empty and remove it: `python -m operations refresh run --to legacy`, then deploy the stage before",
            )


@check(CheckId.CANARY_UNUSED)
def canary_unused(context: Context) -> Answer:
    """No workload runs on the nodes that are about to go: the canary's, and on the way back every Cilium node."""
    leaving = context.retires(Piece.CILIUM_GROUPS)
    names = {
        objects.name(n) for n in context.kube.nodes() if objects.is_canary(n) or (leaving and objects.is_cilium(n))
    }
    return Answer(f"{objects.count(len(names), 'node')} without workloads", tuple(used(names, context.kube.pods())))


def used(nodes: Iterable[str], pods: Iterable[Obj]) -> Iterator[Finding]:
    """Workload pods on some nodes."""
    names = set(nodes)
    for pod in pods:
        if objects.node_of(pod) in names and objects.is_workload(pod):
            yield Finding(
                f"pod {objects.key(pod)}",
                f"runs on {objects.node_of(pod)}",
                f"Take away its toleration of {CANARY_TAINT}, or move it: `python -m operations refresh run`",
            )


# -- endpoints --------------------------------------------------------------------------------------


@check(CheckId.ENDPOINTS_COMPLETE)
def endpoints_complete(context: Context) -> Answer:
    """Every running pod on a Cilium node has an endpoint with an identity and the pod's own address."""
    nodes = {objects.name(n) for n in context.kube.nodes() if objects.is_cilium(n)}
    pods = managed_pods(context.kube.pods(), nodes)
    if pods and not context.kube.crd("ciliumendpoints.cilium.io"):
        raise UnknownError("the kind CiliumEndpoint is not served", "Look at the Cilium operator", about="crds")
    endpoints = {objects.key(e): e for e in context.kube.custom(API, "ciliumendpoints")}
    return Answer(f"{objects.count(len(pods), 'pod')} on Cilium nodes", tuple(endpoint_findings(pods, endpoints)))


def managed_pods(pods: Iterable[Obj], cilium_nodes: set[str]) -> list[Obj]:
    """Running pods that Cilium wires."""
    return [
        p
        for p in pods
        if objects.node_of(p) in cilium_nodes
        and objects.phase(p) == "Running"
        and not objects.host_network(p)
        and not p["metadata"].get("deletionTimestamp")
    ]


def endpoint_findings(pods: Iterable[Obj], endpoints: Mapping[str, Obj]) -> Iterator[Finding]:
    for pod in pods:
        about, endpoint = f"pod {objects.key(pod)}", endpoints.get(objects.key(pod))
        fix = f"Delete the pod so that Cilium wires it anew; if it stays, look at the agent on {objects.node_of(pod)}"
        if endpoint is None:
            yield Finding(about, "has no CiliumEndpoint: Cilium does not know it", fix)
            continue
        status = endpoint.get("status") or {}
        addresses = {a.get("ipv4") for a in (status.get("networking") or {}).get("addressing") or []}
        own = pod["status"].get("podIP")
        if not (status.get("identity") or {}).get("id"):
            yield Finding(about, "its CiliumEndpoint has no identity", fix)
        if own not in addresses:
            shown = ", ".join(sorted(a for a in addresses if a)) or "no address"
            yield Finding(about, f"has address {own}, its CiliumEndpoint {shown}", fix)


# -- the whole --------------------------------------------------------------------------------------


@check(CheckId.CILIUM_READY)
def cilium_ready(context: Context) -> Answer:
    """Every node is Ready and wired by a ready agent, and the operator and CoreDNS are available."""
    kube, nodes = context.kube, context.kube.nodes()
    ours = [n for n in nodes if objects.is_cilium(n)]
    pods = kube.pods(SYSTEM_NAMESPACE)
    findings = [*operator_findings(kube.deployment(SYSTEM_NAMESPACE, CILIUM_OPERATOR)), *unready(nodes)]
    for name in (CILIUM, CILIUM_ENVOY) if has_envoy(context) else (CILIUM,):
        live = kube.daemonset(SYSTEM_NAMESPACE, name)
        about = f"daemonset {SYSTEM_NAMESPACE}/{name}"
        if live is None:
            findings.append(Finding(about, "does not exist", "Deploy again"))
        else:
            findings += roll_out_findings(about, live, ours, [p for p in pods if daemonset_of(p) == name])
    findings += joined_findings(ours, {objects.name(n) for n in kube.custom(API, "ciliumnodes")})
    findings += dns_findings(kube.deployment(SYSTEM_NAMESPACE, COREDNS))
    return Answer(f"{objects.count(len(ours), 'Cilium node')} of {len(nodes)}", tuple(findings))


def has_envoy(context: Context) -> bool:
    """Whether the chart makes a DaemonSet for Envoy."""
    values = context.settings.cilium.values
    return (values.get("envoy") or {}).get("enabled") is not False and values.get("l7Proxy") is not False


def joined_findings(nodes: Iterable[Obj], published: set[str]) -> Iterator[Finding]:
    for node in nodes:
        about = f"node {objects.name(node)}"
        look = f"Look at the Cilium agent on {objects.name(node)}"
        if objects.agent_not_ready(node):
            yield Finding(about, "still has the taint of a node whose agent is not ready", look)
        if objects.name(node) not in published:
            yield Finding(about, "has no CiliumNode", look)


def dns_findings(live: Obj | None) -> Iterator[Finding]:
    """CoreDNS, where there is one: it is made after the first nodes, or belongs to somebody else."""
    if live is None:
        return
    wanted, there = objects.available(live)
    if there < wanted:
        yield Finding(
            f"deployment {SYSTEM_NAMESPACE}/{COREDNS}",
            f"{there} of {wanted} replicas available",
            "Look at its pods: names are not resolved reliably",
        )
