"""`label`: put the label of legacy nodes on nodes and on managed node groups, or take away what we put there."""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from botocore.exceptions import ClientError

from kube.transport import KubeError, Obj
from migration.names import (
    CANARY_GROUP,
    CNI_LABEL,
    FIELD_MANAGER,
    LABELLED_BY_US,
    LEGACY_CNI,
)
from operations.access.context import Context
from operations.arguments import of_stack
from operations.cluster import objects
from operations.say import say
from reading.failure import Failure

UPDATE_SECONDS: Final = 300.0
POLL_SECONDS: Final = 1.0
ATTEMPTS: Final = 5
"""How often a node that changes under our hands is tried."""

Action = Literal["add", "remove", "keep", "foreign"]


@dataclass
class Done:
    """What the command did, for people and as JSON."""

    nodes: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    left_alone: list[str] = field(default_factory=list)
    """Labelled otherwise: by whom is for people to find out."""


def fill(command: Any) -> None:
    of_stack(command)
    command.add_argument("--legacy", required=True, choices=("present", "absent"))
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    context = Context.load(args.stack)
    context.surveyed() if context.adopted else None
    done = present(context) if args.legacy == "present" else absent(context)
    verb = "labelled" if args.legacy == "present" else "unlabelled"
    for kind, names in (("node", done.nodes), ("node group", done.groups)):
        say(f"{objects.count(len(names), kind)} {verb}{': ' if names else ''}{', '.join(names)}")
    for name in done.left_alone:
        say(f"left alone: {name}")
    print(json.dumps({"legacy": args.legacy} | vars(done), separators=(",", ":")))
    return 0


# -- decisions --------------------------------------------------------------------------------------


def node_to_label(node: Obj) -> Action:
    """What `--legacy present` does to a node."""
    value = objects.labels(node).get(CNI_LABEL)
    if value is None:
        return "add" if objects.is_ec2_linux(node) else "keep"
    return "keep" if objects.is_cilium(node) or value == LEGACY_CNI else "foreign"


def node_to_unlabel(node: Obj, our_groups: set[str]) -> Action:
    """What `--legacy absent` does to a node.

    Args:
        our_groups: managed groups that we labelled: nodes they made later carry the label without our annotation.
    """
    ours = LABELLED_BY_US in objects.annotations(node)
    ours = ours or objects.labels(node).get(objects.NODEGROUP) in our_groups
    value = objects.labels(node).get(CNI_LABEL)
    if not ours or objects.is_cilium(node):
        return "keep"
    if value is None:
        return "remove" if LABELLED_BY_US in objects.annotations(node) else "keep"
    return "remove" if value == LEGACY_CNI else "foreign"


def group_to_label(group: Obj, our_names: set[str]) -> Action:
    """What `--legacy present` does to a managed group; those of this stack have their labels from it."""
    value = (group.get("labels") or {}).get(CNI_LABEL)
    if group["nodegroupName"] in our_names or value == LEGACY_CNI:
        return "keep"
    return "add" if value is None else "foreign"


def labelled_by_us(group: Obj) -> bool:
    return LABELLED_BY_US in (group.get("tags") or {})


def own_groups(context: Context) -> set[str]:
    """Names of the node groups that the stack makes."""
    legacy = context.settings.legacy.groups if context.settings.legacy else ()
    return {group.name for group in (*legacy, *context.settings.cilium.groups)} | {CANARY_GROUP}


# -- doing ------------------------------------------------------------------------------------------


def present(context: Context) -> Done:
    """Every node without the label gets it, and adopted managed groups give it to later nodes. Idempotent."""
    done = Done()
    for node in context.kube.nodes():
        if _settle_node(context, node, node_to_label, LEGACY_CNI, done):
            done.nodes.append(objects.name(node))
    if context.adopted:
        for group in context.aws.nodegroups(context.cluster_name):
            action = group_to_label(group, own_groups(context))
            if action == "add":
                # the tag first: a label without it would look like the owner's own
                context.aws.client("eks").tag_resource(resourceArn=group["nodegroupArn"], tags={LABELLED_BY_US: "true"})
                _update_group(context, group, {"addOrUpdateLabels": {CNI_LABEL: LEGACY_CNI}})
                done.groups.append(group["nodegroupName"])
            elif action == "foreign":
                done.left_alone.append(f"node group {group['nodegroupName']}: {CNI_LABEL}={group['labels'][CNI_LABEL]}")
    return done


def absent(context: Context) -> Done:
    """Takes away what `present` put there, and nothing else. Idempotent."""
    done = Done()
    groups = context.aws.nodegroups(context.cluster_name) if context.adopted else []
    ours = [group for group in groups if labelled_by_us(group)]
    for group in ours:
        if (group.get("labels") or {}).get(CNI_LABEL) == LEGACY_CNI:
            _update_group(context, group, {"removeLabels": [CNI_LABEL]})
            done.groups.append(group["nodegroupName"])
    names = {str(group["nodegroupName"]) for group in ours}
    for node in context.kube.nodes():
        if _settle_node(context, node, lambda n: node_to_unlabel(n, names), None, done):
            done.nodes.append(objects.name(node))
    for group in ours:  # the mark goes last: a run that is killed before finds it again
        context.aws.client("eks").untag_resource(resourceArn=group["nodegroupArn"], tagKeys=[LABELLED_BY_US])
    return done


def _settle_node(context: Context, node: Obj, decide: Callable[[Obj], Action], value: str | None, done: Done) -> bool:
    """Does what `decide` says, on the version of the node that it was asked about."""
    path = f"/api/v1/nodes/{objects.name(node)}"
    for _ in range(ATTEMPTS):
        action = decide(node)
        if action == "foreign":
            done.left_alone.append(f"node {objects.name(node)}: {CNI_LABEL}={objects.labels(node)[CNI_LABEL]}")
        if action in {"foreign", "keep"}:
            return False
        change = {
            "resourceVersion": node["metadata"]["resourceVersion"],
            "labels": {CNI_LABEL: value},
            "annotations": {LABELLED_BY_US: "true" if value else None},
        }
        try:
            context.kube.merge(path, {"metadata": change}, manager=FIELD_MANAGER)
        except KubeError as error:
            if error.status == 404:
                return False
            if error.status != 409:
                raise
            node = context.kube.request("GET", path)
            continue
        return True
    raise KubeError(409, f"node {objects.name(node)} changed {ATTEMPTS} times while it was being labelled. Run again")


def _update_group(context: Context, group: Obj, labels: Obj) -> None:
    eks, where = context.aws.client("eks"), {"nodegroupName": group["nodegroupName"]}
    end = time.monotonic() + UPDATE_SECONDS
    while True:
        try:
            update = eks.update_nodegroup_config(clusterName=context.cluster_name, labels=labels, **where)["update"]
            break
        except ClientError as error:
            busy = error.response["Error"]["Code"] == "ResourceInUseException"
            if not busy or time.monotonic() > end:
                raise
            time.sleep(POLL_SECONDS)
    while update["status"] == "InProgress":
        if time.monotonic() > end:
            raise TimeoutError(
                f"node group {group['nodegroupName']}: update {update['id']} is not done after {UPDATE_SECONDS:.0f} s. "
                "Look at it in EKS, then run again"
            )
        time.sleep(POLL_SECONDS)
        update = eks.describe_update(name=context.cluster_name, updateId=update["id"], **where)["update"]
    if update["status"] != "Successful":
        reasons = "; ".join(e.get("errorMessage", "") for e in update.get("errors", []))
        raise GroupUpdateError(
            f"node group {group['nodegroupName']}: update {update['id']} {update['status']}: {reasons}"
        )


class GroupUpdateError(Failure):
    """EKS did not change a node group's labels."""
