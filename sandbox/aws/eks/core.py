"""What all EKS calls share: finding clusters, updates that finish by themselves, tags by ARN."""

from __future__ import annotations

import uuid
from typing import Any

from sandbox.aws.errors import AwsError
from sandbox.aws.registry import answers, on_tick
from sandbox.aws.state import Aws, Json

__all__ = ["active_cluster", "cluster", "finish_update", "new_update"]


def cluster(aws: Aws, name: str) -> Json:
    """The record of a cluster, else ResourceNotFoundException."""
    record: Json | None = aws.table("eks.clusters").get(name)
    if record is None:
        raise AwsError("ResourceNotFoundException", f"No cluster found for name: {name}.", clusterName=name)
    return record


def active_cluster(aws: Aws, name: str) -> Json:
    """The record of a cluster that takes changes, else ResourceInUseException or InvalidRequestException."""
    record = cluster(aws, name)
    if record["status"] != "ACTIVE":
        code = "ResourceInUseException" if record["status"] == "UPDATING" else "InvalidRequestException"
        raise AwsError(code, f"Cluster {name} is {record['status']}: try again when it is ACTIVE", clusterName=name)
    return record


# -- updates ----------------------------------------------------------------------------------------


def new_update(
    aws: Aws, kind: str, owner: str, params: dict[str, Any], *, due: float | None = None, **own: Any
) -> Json:
    """An update in progress of `owner` (`CLUSTER`, `CLUSTER/nodegroup/NAME`, `CLUSTER/addon/NAME`).

    With `due` (seconds from now) it succeeds by itself, and sets the owner ACTIVE again.
    """
    identifier = str(uuid.uuid4())
    update: Json = {
        "id": identifier, "status": "InProgress", "type": kind, "createdAt": aws.now(), "errors": [],
        "params": [{"type": key, "value": str(value)} for key, value in params.items()],
        "own_ref": owner, **{f"own_{key}": value for key, value in own.items()},
    }  # fmt: skip
    if due is not None:
        update["own_due"] = aws.now() + due
    aws.table("eks.updates")[identifier] = update
    return update


def finish_update(aws: Aws, update: Json, errors: list[Json] | None = None) -> None:
    """The update ends: Successful, or Failed with `errors` of {errorCode, errorMessage, resourceIds}."""
    update["status"] = "Failed" if errors else "Successful"
    update["errors"] = errors or []
    aws.touch()


def _owner(aws: Aws, reference: str) -> Json | None:
    name, _, rest = reference.partition("/")
    if not rest:
        found: Json | None = aws.table("eks.clusters").get(name)
        return found
    kind, _, item = rest.partition("/")
    owner: Json | None = aws.table(f"eks.{kind}s").get(f"{name}/{item}")
    return owner


@on_tick
def finish_updates(aws: Aws, now: float) -> None:
    """Updates with a due time succeed when it has come."""
    for update in aws.table("eks.updates").values():
        if update["status"] == "InProgress" and now >= update.get("own_due", now + 1):
            finish_update(aws, update)
            owner = _owner(aws, update["own_ref"])
            if owner is not None and owner["status"] == "UPDATING":
                owner["status"] = "ACTIVE"


def _reference(values: Json) -> str:
    for key, kind in (("nodegroupName", "nodegroup"), ("addonName", "addon")):
        if key in values:
            return f"{values['name']}/{kind}/{values[key]}"
    return str(values["name"])


@answers("eks", "DescribeUpdate")
def describe_update(aws: Aws, values: Json) -> Json:
    cluster(aws, values["name"])
    update = aws.table("eks.updates").get(values["updateId"])
    if update is None or update["own_ref"] != _reference(values):
        raise AwsError("ResourceNotFoundException", f"No update found for ID: {values['updateId']}")
    return {"update": update}


@answers("eks", "ListUpdates")
def list_updates(aws: Aws, values: Json) -> Json:
    cluster(aws, values["name"])
    reference = _reference(values)
    return {"updateIds": [key for key, update in aws.table("eks.updates").items() if update["own_ref"] == reference]}


# -- tags -------------------------------------------------------------------------------------------


def _by_arn(aws: Aws, arn: str) -> Json:
    keys = {"eks.clusters": "arn", "eks.nodegroups": "nodegroupArn", "eks.addons": "addonArn"}
    for table, key in keys.items():
        for record in aws.table(table).values():
            if record[key] == arn:
                found: Json = record
                return found
    for owner in aws.table("eks.clusters").values():
        for entry in owner["access"].values():
            if entry["accessEntryArn"] == arn:
                access: Json = entry
                return access
    raise AwsError("NotFoundException", f"Resource was not found: {arn}", 404)


@answers("eks", "TagResource")
def tag_resource(aws: Aws, values: Json) -> Json:
    _by_arn(aws, values["resourceArn"])["tags"].update(values["tags"])
    return {}


@answers("eks", "UntagResource")
def untag_resource(aws: Aws, values: Json) -> Json:
    tags = _by_arn(aws, values["resourceArn"])["tags"]
    for key in values["tagKeys"]:
        tags.pop(key, None)
    return {}


@answers("eks", "ListTagsForResource")
def list_tags_for_resource(aws: Aws, values: Json) -> Json:
    return {"tags": _by_arn(aws, values["resourceArn"])["tags"]}
