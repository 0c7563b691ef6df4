"""Nodes and what they are made from: ready, labelled, and wired by nobody unknown."""

import base64
import re
from collections.abc import Iterable, Iterator
from typing import Any

from kube.transport import Obj
from migration.journeys import CheckId, Piece
from migration.names import (
    AWS_NODE,
    CILIUM_CNI,
    CNI_LABEL,
    LEGACY_CNI,
    SYSTEM_NAMESPACE,
)
from operations.access.connection import Aws
from operations.access.context import Context
from operations.checks import AGAIN, check
from operations.cluster import objects
from operations.cluster.cnis import foreign_cnis
from operations.evidence import Answer, Finding
from operations.label import own_groups

_USER_DATA_LABEL = re.compile(rf"\b{CNI_LABEL}[\"']?\s*[=:]\s*[\"']?{LEGACY_CNI}\b")


@check(CheckId.NODES_READY)
def nodes_ready(context: Context) -> Answer:
    """Every node is Ready."""
    nodes = context.kube.nodes()
    bound = context.stage is None or context.stage.pinned
    return Answer(f"{objects.count(len(nodes), 'node')}", tuple(unready(nodes, bound=bound)))


def unready(nodes: Iterable[Obj], *, bound: bool = True) -> Iterator[Finding]:
    """Nodes that are not Ready.

    Args:
        bound: whether agents run on labelled nodes only, so that a lacking label is the reason.
    """
    for node in nodes:
        if objects.holds(node, "Ready"):
            continue
        seen = objects.condition(node, "Ready") or {}
        why = seen.get("message") or seen.get("reason") or "it never reported"
        fix = "Repair or replace it"
        if bound and CNI_LABEL not in objects.labels(node) and objects.is_ec2_linux(node):
            fix = f"It has no label {CNI_LABEL}: no CNI runs there. Replace it by a node of a known group"
        yield Finding(f"node {objects.name(node)}", f"is not Ready: {why}", fix)


@check(CheckId.CNI_KNOWN)
def cni_known(context: Context) -> Answer:
    """Nothing but the VPC CNI writes CNI configuration, and no node is marked as somebody else's."""
    values: Any = context.settings.cilium.values
    chained = (values.get("cni") or {}).get("exclusive") is False
    findings = [
        *foreign_cnis("daemonset", context.kube.daemonsets(), chained=chained),
        *foreign_cnis("pod", (p for p in context.kube.pods() if objects.owner_kind(p) != "DaemonSet"), chained=chained),
        *foreign_labels(context.kube.nodes()),
    ]
    return Answer(f"{SYSTEM_NAMESPACE}/{AWS_NODE} is the only CNI", tuple(findings))


def foreign_labels(nodes: Iterable[Obj]) -> Iterator[Finding]:
    for node in nodes:
        value = objects.labels(node).get(CNI_LABEL)
        if value not in {None, LEGACY_CNI, CILIUM_CNI}:
            yield Finding(
                f"node {objects.name(node)}",
                f"is labelled {CNI_LABEL}={value}: neither {LEGACY_CNI} nor {CILIUM_CNI}",
                "Find out who set the label and what wires the node's pods, then take the label away",
            )


@check(CheckId.NODES_LABELLED)
def nodes_labelled(context: Context) -> Answer:
    """Every EC2 node says which CNI wires it: without the label none does."""
    nodes = [node for node in context.kube.nodes() if objects.is_ec2_linux(node)]
    legacy = sum(objects.labels(node).get(CNI_LABEL) == LEGACY_CNI for node in nodes)
    findings = unlabelled(nodes, adoptable=not context.retires(Piece.VPC_CNI))
    return Answer(f"{objects.count(len(nodes), 'node')}, {legacy} of them legacy", tuple(findings))


def unlabelled(nodes: Iterable[Obj], *, adoptable: bool = True) -> Iterator[Finding]:
    """Nodes that no agent is bound to.

    Args:
        adoptable: whether there is a legacy network that a label could give them to.
    """
    for node in nodes:
        if not objects.is_ec2_linux(node) or objects.labels(node).get(CNI_LABEL) in {LEGACY_CNI, CILIUM_CNI}:
            continue
        group = objects.labels(node).get(objects.NODEGROUP) or objects.labels(node).get(objects.NODEPOOL)
        value = objects.labels(node).get(CNI_LABEL)
        yield Finding(
            f"node {objects.name(node)}",
            f"has {f'the label {CNI_LABEL}={value}' if value else f'no label {CNI_LABEL}'}. Once agents run on "
            "labelled nodes only, it has no CNI and stays NotReady",
            f"Give {'group ' + group if group else 'whatever makes it'} the label {CNI_LABEL}={LEGACY_CNI}, then run "
            "`python -m operations label --legacy present`, or replace the node"
            if adoptable
            else f"Replace it by a node of a Cilium group, and remove {'group ' + group if group else 'what makes it'}",
        )


@check(CheckId.GROUPS_LABELLED)
def groups_labelled(context: Context) -> Answer:
    """Nodes that come later are labelled from birth."""
    managed = context.aws.nodegroups(context.cluster_name)
    ours = own_groups(context)
    legacy_names = {g.name for g in context.settings.legacy.groups} if context.settings.legacy else set()
    findings, asked = [], 0
    for group in managed:
        name = str(group["nodegroupName"])
        if name in ours and name not in legacy_names:
            continue
        asked += 1
        if (group.get("labels") or {}).get(CNI_LABEL) == LEGACY_CNI:
            continue
        if not says_legacy(template_user_data(context.aws, group.get("launchTemplate"))):
            fix = (
                "Run `python -m operations label --legacy present`"
                if context.adopted
                else AGAIN
                if name in legacy_names
                else f"Run `aws eks update-nodegroup-config --cluster-name {context.cluster_name} --nodegroup-name "
                f"{name} --labels addOrUpdateLabels={{{CNI_LABEL}={LEGACY_CNI}}}`"
            )
            findings.append(Finding(f"node group {name}", f"gives its nodes no label {CNI_LABEL}={LEGACY_CNI}", fix))
    for surveyed in context.facts.groups if context.facts else ():
        if surveyed.kind == "self-managed" and surveyed.scaling_group:
            asked += 1
            if not says_legacy(scaling_group_user_data(context.aws, surveyed.scaling_group)):
                findings.append(
                    Finding(
                        f"scaling group {surveyed.scaling_group}",
                        f"the user data of its launch template does not register {CNI_LABEL}={LEGACY_CNI}",
                        f"Make a launch template version whose kubelet gets --node-labels={CNI_LABEL}={LEGACY_CNI}, "
                        "and let the group use it",
                    )
                )
    pools = [*context.kube.custom("karpenter.sh/v1", "nodepools")]
    return Answer(f"{objects.count(asked + len(pools), 'group')}", (*findings, *unlabelled_pools(pools)))


def unlabelled_pools(pools: Iterable[Obj]) -> Iterator[Finding]:
    """Karpenter NodePools whose nodes get no label, neither `aws` nor `cilium`."""
    for pool in pools:
        template = pool["spec"].get("template") or {}
        given = ((template.get("metadata") or {}).get("labels") or {}).get(CNI_LABEL)
        required = [
            r.get("values")
            for r in (template.get("spec") or {}).get("requirements") or []
            if r.get("key") == CNI_LABEL and r.get("operator") == "In"
        ]
        if given in {LEGACY_CNI, CILIUM_CNI} or required in ([[LEGACY_CNI]], [[CILIUM_CNI]]):
            continue
        yield Finding(
            f"nodepool {objects.name(pool)}",
            f"gives its nodes no label {CNI_LABEL}",
            f"Set spec.template.metadata.labels[{CNI_LABEL}]={LEGACY_CNI} where the pool is declared",
        )


def says_legacy(user_data: str) -> bool:
    """Whether user data (nodeadm, bootstrap.sh or Bottlerocket) makes kubelet register the label."""
    return bool(_USER_DATA_LABEL.search(user_data))


def template_user_data(aws: Aws, template: Obj | None) -> str:
    """Decoded user data of a launch template version; empty when there is none."""
    if not template:
        return ""
    which = {"LaunchTemplateId": template.get("id") or template.get("LaunchTemplateId")}
    if not which["LaunchTemplateId"]:
        which = {"LaunchTemplateName": template.get("name") or template.get("LaunchTemplateName")}
    version = str(template.get("version") or template.get("Version") or "$Default")
    found = aws.pages("ec2", "describe_launch_template_versions", "LaunchTemplateVersions", Versions=[version], **which)
    data = found[0]["LaunchTemplateData"].get("UserData", "") if found else ""
    return base64.b64decode(data).decode(errors="replace")


def scaling_group_user_data(aws: Aws, name: str) -> str:
    """Decoded user data of the launch template of an Auto Scaling group."""
    groups = aws.pages("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups", AutoScalingGroupNames=[name])
    if not groups:
        return ""
    policy = groups[0].get("MixedInstancesPolicy") or {}
    mixed = (policy.get("LaunchTemplate") or {}).get("LaunchTemplateSpecification")
    return template_user_data(aws, groups[0].get("LaunchTemplate") or mixed)
