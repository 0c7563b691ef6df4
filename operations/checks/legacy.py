"""What the legacy network consists of: bound, healthy, and at the end unused."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kube.transport import Obj
from migration.journeys import CheckId, Piece
from migration.names import (
    AWS_NODE,
    CALICO_NAMESPACE,
    CALICO_NODE,
    CNI_LABEL,
    KUBE_PROXY,
    LEGACY_CNI,
    SYSTEM_NAMESPACE,
)
from migration.rules import addon_values, affinity
from operations.access.context import Context
from operations.checks import AGAIN, check
from operations.cluster import objects
from operations.evidence import Answer, Finding, UnknownError

REFUSED_CONFIGURATION = "Update the add-on to a version that takes it, survey again"


@dataclass(frozen=True)
class Agent:
    """A DaemonSet of the legacy network."""

    piece: Piece
    namespace: str
    name: str
    original: Mapping[str, Any] | None
    """Its affinity before this program touched it."""

    def __str__(self) -> str:
        return f"daemonset {self.namespace}/{self.name}"


def agents(context: Context) -> list[Agent]:
    """The DaemonSets that a legacy node of this cluster runs, pieces that the survey did not find left out."""
    facts, found = context.facts, []
    for piece, name, known in (
        (Piece.VPC_CNI, AWS_NODE, facts.vpc_cni if facts else None),
        (Piece.KUBE_PROXY, KUBE_PROXY, facts.kube_proxy if facts else None),
    ):
        if known is None or known.kind != "absent":
            original = affinity.on_linux_ec2() if known is None else known.affinity
            found.append(Agent(piece, SYSTEM_NAMESPACE, name, original))
    if facts is None or facts.calico.kind != "absent":
        namespace = (facts.calico.namespace if facts else None) or CALICO_NAMESPACE
        found.append(Agent(Piece.CALICO, namespace, CALICO_NODE, facts.calico.affinity if facts else None))
    return found


def _live(context: Context) -> list[tuple[Agent, Obj | None]]:
    """With what runs. Pieces that the stage removes may be gone already, after a deploy that failed half-way."""
    pairs = [(agent, context.kube.daemonset(agent.namespace, agent.name)) for agent in agents(context)]
    return [(a, live) for a, live in pairs if live is not None or not context.retires(a.piece)]


@check(CheckId.ADDON_TAKES_AFFINITY)
def addon_takes_affinity(context: Context) -> Answer:
    """The installed version of the vpc-cni add-on accepts the configuration with our affinity."""
    record = context.aws.addon(context.cluster_name, "vpc-cni")
    if record is None:
        return Answer("the VPC CNI is self-managed: its affinity is patched")
    version = str(record["addonVersion"])
    described = context.aws.client("eks").describe_addon_configuration(addonName="vpc-cni", addonVersion=version)
    try:
        live = addon_values.parse(record.get("configurationValues"))
    except ValueError as error:
        raise UnknownError(f"its configuration {error}", "Write it as JSON", about="add-on vpc-cni") from None
    original = context.facts.vpc_cni.affinity if context.facts else affinity.on_linux_ec2()
    wanted = live | {"affinity": affinity.pin(live.get("affinity") or original, CNI_LABEL, LEGACY_CNI)}
    return Answer(
        f"vpc-cni {version}", tuple(schema_findings(version, described.get("configurationSchema") or "", wanted))
    )


def schema_findings(version: str, schema: str, wanted: Mapping[str, Any]) -> Iterator[Finding]:
    """What an add-on's own JSON schema has against a configuration."""
    about = f"add-on vpc-cni {version}"
    if not schema:
        yield Finding(about, "takes no configuration at all", REFUSED_CONFIGURATION)
        return
    from jsonschema.exceptions import SchemaError  # noqa: PLC0415 - a third of a second, for one check
    from jsonschema.validators import validator_for  # noqa: PLC0415

    try:
        rules = json.loads(schema)
        validator = validator_for(rules)
        validator.check_schema(rules)
        errors = list(validator(rules).iter_errors(wanted))
    except (ValueError, SchemaError) as unreadable:
        raise UnknownError(f"its schema cannot be read: {unreadable}", about=about) from None
    for error in errors:
        where = ".".join(map(str, error.absolute_path)) or "configuration"
        yield Finding(about, f"{where}: {error.message[:200]}", REFUSED_CONFIGURATION)


@check(CheckId.PINS_HOLD)
def pins_hold(context: Context) -> Answer:
    """aws-node, kube-proxy and calico-node are bound to legacy nodes, and run nowhere else."""
    nodes = {objects.name(node): node for node in context.kube.nodes()}
    pairs = _live(context)
    findings: list[Finding] = []
    for agent, live in pairs:
        findings += pin_findings(agent, live)
        findings += strays(agent, pods_of(context, agent), nodes)
    return Answer(
        f"{', '.join(agent.name for agent, _ in pairs) or 'nothing'} bound to {CNI_LABEL}={LEGACY_CNI}", tuple(findings)
    )


def pin_findings(agent: Agent, live: Obj | None) -> Iterator[Finding]:
    """Whether every way onto a node asks for the label, and everything asked before still is."""
    again = f"{AGAIN}; if something keeps changing it back, stop that first"
    if agent.name == AWS_NODE:  # the add-on's record in EKS is right: a refresh would see no difference
        again += ". A managed add-on: `aws eks update-addon --addon-name vpc-cni --resolve-conflicts OVERWRITE`"
    if live is None:
        yield Finding(str(agent), "does not exist", "Restore it: nothing wires or filters legacy nodes without it")
        return
    found = live["spec"]["template"]["spec"].get("affinity")
    if not affinity.is_pinned(found, CNI_LABEL, LEGACY_CNI):
        yield Finding(str(agent), f"its affinity does not ask for {CNI_LABEL}={LEGACY_CNI} in every term", again)
    for expression in affinity.lost(agent.original, found):
        values = ",".join(expression.get("values") or [])
        text = f"{expression['key']} {expression['operator']} {values}".rstrip()
        yield Finding(str(agent), f"its affinity no longer asks for {text}", again)


def pods_of(context: Context, agent: Agent) -> list[Obj]:
    pods = context.kube.pods(agent.namespace)
    return [
        pod
        for pod in pods
        if any(
            o.get("kind") == "DaemonSet" and o.get("name") == agent.name
            for o in pod["metadata"].get("ownerReferences") or []
        )
    ]


def strays(agent: Agent, pods: Iterable[Obj], nodes: Mapping[str, Obj]) -> Iterator[Finding]:
    """Pods of an agent on nodes that are not legacy; unknown nodes count."""
    for pod in pods:
        node = nodes.get(objects.node_of(pod))
        if objects.node_of(pod) and (node is None or objects.labels(node).get(CNI_LABEL) != LEGACY_CNI):
            yield Finding(
                f"node {objects.node_of(pod)}",
                f"runs {objects.key(pod)}, though it is not labelled {CNI_LABEL}={LEGACY_CNI}",
                "Wait for the DaemonSet controller to take the pod away, or label the node",
            )


@check(CheckId.LEGACY_HEALTHY)
def legacy_healthy(context: Context) -> Answer:
    """Every legacy node has a ready agent of each kind, and Calico says that it works."""
    nodes = context.kube.nodes()
    findings: list[Finding] = []
    counts = []
    for agent, live in _live(context):
        if live is None:
            findings.append(Finding(str(agent), "does not exist", "Restore it before going on"))
            continue
        pinned = affinity.is_pinned(live["spec"]["template"]["spec"].get("affinity"), CNI_LABEL, LEGACY_CNI)
        expected = [n for n in nodes if _runs_on(n, pinned=pinned)]
        counts.append(f"{agent.name} on {len(expected)}")
        findings += roll_out_findings(str(agent), live, expected, pods_of(context, agent))
    by_operator = context.facts is None or context.facts.calico.kind == "operator"
    if by_operator and not context.retires(Piece.CALICO):
        findings += tigera_findings(context.kube.custom("operator.tigera.io/v1", "tigerastatuses"))
    return Answer(f"{', '.join(counts)} legacy nodes", tuple(findings))


def _runs_on(node: Obj, *, pinned: bool) -> bool:
    return objects.is_legacy(node) and (not pinned or CNI_LABEL in objects.labels(node))


def roll_out_findings(about: str, live: Obj, expected: Iterable[Obj], pods: Iterable[Obj]) -> Iterator[Finding]:
    """Whether desired = ready = the nodes that should have it; names the nodes that do not."""
    names = {objects.name(node) for node in expected}
    desired, ready = objects.rolled_out(live)
    good = {objects.node_of(pod) for pod in pods if objects.holds(pod, "Ready")}
    if desired == ready == len(names):
        return
    lacking = sorted(names - good)
    where = f"; not ready on {objects.some(lacking)}" if lacking else ""
    extra = "" if desired <= len(names) else " (it also wants nodes that should not have it)"
    yield Finding(
        about,
        f"{ready} ready of {desired} desired on {len(names)} nodes{extra}{where}",
        "Look at the pods there: `kubectl describe pod`; wait for a roll-out to end",
    )


def tigera_findings(statuses: Iterable[Obj]) -> Iterator[Finding]:
    """Whether the operator says that Calico is available."""
    status = next((s for s in statuses if objects.name(s) == "calico"), None)
    if status is None:
        yield Finding("tigerastatus calico", "does not exist", "Look at deployment tigera-operator/tigera-operator")
        return
    for kind, wanted in (("Available", "True"), ("Degraded", "False")):
        found = objects.condition(status, kind)
        value = (found or {}).get("status", "False" if kind == "Degraded" else "Unknown")
        if value != wanted:
            why = (found or {}).get("message") or (found or {}).get("reason") or "no reason given"
            yield Finding(
                "tigerastatus calico",
                f"{kind} is {value}: {why}",
                "Repair Calico first: `kubectl describe tigerastatus calico`",
            )


@check(CheckId.AWS_NODE_IDLE)
def aws_node_idle(context: Context) -> Answer:
    """No node runs the VPC CNI any more."""
    live = context.kube.daemonset(SYSTEM_NAMESPACE, AWS_NODE)
    if live is None:
        return Answer(f"{AWS_NODE} does not exist")
    agent = Agent(Piece.VPC_CNI, SYSTEM_NAMESPACE, AWS_NODE, None)
    return Answer(f"{AWS_NODE} runs nowhere", tuple(idle_findings(live, pods_of(context, agent))))


def idle_findings(live: Obj, pods: Iterable[Obj]) -> Iterator[Finding]:
    desired = objects.rolled_out(live)[0]
    where = sorted({objects.node_of(pod) for pod in pods if objects.node_of(pod)})
    if desired or where:
        yield Finding(
            f"daemonset {SYSTEM_NAMESPACE}/{AWS_NODE}",
            f"is wanted on {objects.count(desired, 'node')}" + (f": {objects.some(where)}" if where else ""),
            "Empty and remove these nodes: `python -m operations refresh run --to cilium`",
        )


@check(CheckId.LEGACY_GROUPS_EMPTY)
def legacy_groups_empty(context: Context) -> Answer:
    """Legacy groups have no instance and want none."""
    facts, settings = context.facts, context.settings.legacy
    wanted = {g.name for g in facts.groups if g.kind == "managed"} if facts else set()
    wanted |= {g.name for g in settings.groups} if settings else set()
    found = [g for g in context.aws.nodegroups(context.cluster_name) if g["nodegroupName"] in wanted]
    scaling = {name: None for g in found for name in scaling_groups(g)}
    scaling |= {g.scaling_group: None for g in (facts.groups if facts else ()) if g.scaling_group}
    live = (
        context.aws.pages(
            "autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups", AutoScalingGroupNames=sorted(scaling)
        )
        if scaling
        else []
    )
    findings = [*sized_groups(found), *sized_scaling_groups(live), *legacy_nodes(context.kube.nodes())]
    return Answer(f"{objects.count(len(found), 'legacy group')}, no instance", tuple(findings))


def scaling_groups(group: Obj) -> list[str]:
    return [str(g["name"]) for g in (group.get("resources") or {}).get("autoScalingGroups") or []]


def sized_groups(groups: Iterable[Obj]) -> Iterator[Finding]:
    for group in groups:
        size = group["scalingConfig"]["desiredSize"]
        if size:
            yield Finding(
                f"node group {group['nodegroupName']}",
                f"wants {objects.count(size, 'node')}",
                "Run `python -m operations refresh run --to cilium`",
            )


def sized_scaling_groups(groups: Iterable[Obj]) -> Iterator[Finding]:
    for group in groups:
        ids = [str(i["InstanceId"]) for i in group.get("Instances") or []]
        if ids or group["DesiredCapacity"]:
            yield Finding(
                f"scaling group {group['AutoScalingGroupName']}",
                f"wants {group['DesiredCapacity']} and has {objects.count(len(ids), 'instance')}: {objects.some(ids)}",
                "Wait until its instances are gone; check that nothing scales it up",
            )


def legacy_nodes(nodes: Iterable[Obj]) -> Iterator[Finding]:
    for node in nodes:
        if objects.is_legacy(node):
            yield Finding(
                f"node {objects.name(node)}",
                "is still a legacy node",
                "Run `python -m operations refresh run --to cilium`, or remove the node yourself",
            )
