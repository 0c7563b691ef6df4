"""How managed node groups come up, are replaced node by node, and go away.

Whether a node is Ready and whether it is drained, only the cluster knows: `sandbox.cluster.nodes` and
`sandbox.cluster.nodegroups` write `node: {name, ready}` and `drain: {done}` into the instances.
"""

from __future__ import annotations

from sandbox.aws.autoscaling import remove_group
from sandbox.aws.ec2.instances import terminate
from sandbox.aws.eks.core import finish_update
from sandbox.aws.eks.nodegroups import asg_of, max_unavailable
from sandbox.aws.registry import on_tick
from sandbox.aws.scaling import members
from sandbox.aws.state import Aws, Json

__all__: list[str] = []


def _ready(aws: Aws, name: str) -> bool:
    return bool(aws.table("ec2.instances").get(name, {}).get("node", {}).get("ready"))


def _issue(aws: Aws, group: Json) -> Json:
    """Why the nodes of a group are not there: launches that failed, or instances that did not become nodes."""
    names = list(members(group))
    failures = group.get("failures") or []
    if failures:
        message = f"Could not launch On-Demand Instances. {failures[-1]['code']} - {failures[-1]['message']}"
        return {"code": "AsgInstanceLaunchFailures", "message": message, "resourceIds": [group["AutoScalingGroupName"]]}
    bad = [name for name in names if not _ready(aws, name)]
    if any(aws.table("ec2.instances").get(name, {}).get("node") for name in bad):
        return {
            "code": "NodeCreationFailure",
            "message": "Unhealthy nodes in the kubernetes cluster",
            "resourceIds": bad,
        }
    message = "Instances failed to join the kubernetes cluster"
    return {"code": "NodeCreationFailure", "message": message, "resourceIds": bad}


def _come_up(aws: Aws, record: Json, group: Json, now: float) -> None:
    live = members(group)
    if len(live) >= group["DesiredCapacity"] and all(_ready(aws, name) for name in live):
        record["status"] = "ACTIVE"
        aws.touch()
    elif now >= record["deadline_at"]:
        record["status"] = "CREATE_FAILED"
        record["health"] = {"issues": [_issue(aws, group)]}
        aws.touch()


def _drain(aws: Aws, names: list[str], until: float, *, politely: bool = True) -> None:
    for name in names:
        instance = aws.table("ec2.instances").get(name)
        if instance is not None and "drain" not in instance:
            instance["drain"] = {"done": False, "until": until, "politely": politely}
            aws.touch()


def _drained(aws: Aws, name: str) -> bool:
    return bool(aws.table("ec2.instances").get(name, {}).get("drain", {}).get("done", True))


def _go_away(aws: Aws, key: str, record: Json, group: Json | None, now: float) -> None:
    if group is None:
        aws.table("ec2.templates").pop(record["own_template"], None)
        del aws.table("eks.nodegroups")[key]
        aws.touch()
        return
    if group.get("Status"):
        return
    live = list(members(group))
    group["suspended"].setdefault("Launch", "node group is being deleted")
    group["suspended"].setdefault("AZRebalance", "node group is being deleted")
    _drain(aws, live, record["drain_until"])
    if now >= record["drain_until"] or all(_drained(aws, name) for name in live):
        remove_group(aws, group["AutoScalingGroupName"])


def _roll(aws: Aws, record: Json, group: Json, update: Json, now: float) -> None:
    """One step of a rolling replacement: surge, drain a batch, terminate it, until no old instance is left."""
    live, batch = members(group), max_unavailable(record)
    old = [name for name, member in live.items() if member["LaunchTemplate"]["Version"] != update["own_version"]]
    new = [name for name in live if name not in old]
    size: int = update["own_size"]
    if "own_deadline" not in update:
        group["suspended"].setdefault("AZRebalance", "node group update")
        update["own_deadline"] = now + aws.settings.seconds("nodegroup_create_deadline")
        group["DesiredCapacity"] = size + min(batch, len(old))
        group["MaxSize"] = max(group["MaxSize"], group["DesiredCapacity"])
        aws.touch()
    draining = [name for name in old if "drain" in aws.table("ec2.instances")[name]]
    for name in draining:
        drain = aws.table("ec2.instances")[name]["drain"]
        if not drain["done"] and now >= drain["until"] and not update["own_force"]:
            message = (
                "Reached max retries while trying to evict pods from nodes in node group " + record["nodegroupName"]
            )
            _abort(
                aws,
                record,
                group,
                update,
                {"errorCode": "PodEvictionFailure", "errorMessage": message, "resourceIds": [name]},
            )
            return
        if drain["done"] or now >= drain["until"]:
            if group["DesiredCapacity"] > size and len(old) <= group["DesiredCapacity"] - size:
                group["DesiredCapacity"] -= 1
            group["members"][name]["LifecycleState"] = "Terminating"
            terminate(aws, name)
            update["own_deadline"] = now + aws.settings.seconds("nodegroup_create_deadline")
    if not old and len(live) == size and all(_ready(aws, name) for name in new):
        _settle(group, update)
        record["status"] = "ACTIVE"
        finish_update(aws, update)
    elif len(live) >= group["DesiredCapacity"] and all(_ready(aws, name) for name in new):
        waiting = [name for name in old if name not in draining]
        until = now + aws.settings.seconds("nodegroup_eviction_deadline")
        _drain(aws, waiting[: max(0, batch - len(draining))], until)
        if draining:
            update["own_deadline"] = now + aws.settings.seconds("nodegroup_create_deadline")
    elif now >= update["own_deadline"]:
        issue = _issue(aws, group)
        error = {"errorCode": issue["code"], "errorMessage": issue["message"], "resourceIds": issue["resourceIds"]}
        _abort(aws, record, group, update, error)


def _settle(group: Json, update: Json) -> None:
    group["DesiredCapacity"], group["MaxSize"] = update["own_size"], update["own_high"]
    group["suspended"].pop("AZRebalance", None)


def _abort(aws: Aws, record: Json, group: Json, update: Json, error: Json) -> None:
    for name in members(group):
        aws.table("ec2.instances")[name].pop("drain", None)
    _settle(group, update)
    record["status"] = "ACTIVE"
    finish_update(aws, update, [error])


@on_tick
def move_nodegroups(aws: Aws, now: float) -> None:
    """One step of every node group that is on its way somewhere."""
    groups = aws.table("eks.nodegroups")
    for key, record in list(groups.items()):
        group = asg_of(aws, record)
        if record["status"] == "DELETING":
            _go_away(aws, key, record, group, now)
        elif group is None:
            if record["status"] != "DEGRADED":
                missing = record["resources"]["autoScalingGroups"][0]["name"]
                issue = {"code": "AutoScalingGroupNotFound", "message": f"no group {missing}", "resourceIds": [missing]}
                record |= {"status": "DEGRADED", "health": {"issues": [issue]}}
                aws.touch()
        elif record["status"] == "CREATING":
            _come_up(aws, record, group, now)
    for update in aws.table("eks.updates").values():
        if update["status"] == "InProgress" and "own_version" in update:
            owner, _, name = update["own_ref"].partition("/nodegroup/")
            record, group = groups.get(f"{owner}/{name}"), None
            if record is not None and record["status"] == "UPDATING":
                group = asg_of(aws, record)
            if record is None or group is None:
                finish_update(
                    aws, update, [{"errorCode": "OperationNotPermitted", "errorMessage": "the node group is gone"}]
                )
            else:
                _roll(aws, record, group, update, now)
