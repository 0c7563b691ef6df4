"""Pod identity associations: which role the pods of a service account have."""

from __future__ import annotations

from sandbox.aws.eks.core import cluster
from sandbox.aws.errors import AwsError
from sandbox.aws.registry import answers
from sandbox.aws.state import Aws, Json

__all__ = ["associate_addon", "drop_addon"]

_TABLE = "eks.pod_identities"


def _find(aws: Aws, values: Json) -> Json:
    cluster(aws, values["clusterName"])
    record: Json | None = aws.table(_TABLE).get(values["associationId"])
    if record is None or record["clusterName"] != values["clusterName"]:
        raise AwsError("ResourceNotFoundException", f"No association found with ID: {values['associationId']}")
    return record


def _of(aws: Aws, name: str) -> list[Json]:
    return [record for record in aws.table(_TABLE).values() if record["clusterName"] == name]


def associate_addon(aws: Aws, addon: Json, wanted: list[Json]) -> None:
    """Give an add-on exactly the associations `wanted`: what is not among them is deleted, as EKS does."""
    kept = []
    for item in wanted:
        mine = [r for r in _of_addon(aws, addon) if r["serviceAccount"] == item["serviceAccount"]]
        if mine:
            mine[0]["roleArn"] = item["roleArn"]
            kept.append(mine[0]["associationId"])
            continue
        place = {"clusterName": addon["clusterName"], "namespace": "kube-system"}
        record = create_pod_identity_association(aws, {**place, **item})["association"]
        record["ownerArn"] = addon["addonArn"]
        kept.append(record["associationId"])
    for record in _of_addon(aws, addon):
        if record["associationId"] not in kept:
            del aws.table(_TABLE)[record["associationId"]]
    addon["podIdentityAssociations"] = [record["associationArn"] for record in _of_addon(aws, addon)]


def drop_addon(aws: Aws, addon: Json) -> None:
    """An add-on goes, and its associations with it."""
    associate_addon(aws, addon, [])


def _of_addon(aws: Aws, addon: Json) -> list[Json]:
    return [record for record in _of(aws, addon["clusterName"]) if record.get("ownerArn") == addon["addonArn"]]


@answers("eks", "CreatePodIdentityAssociation")
def create_pod_identity_association(aws: Aws, values: Json) -> Json:
    owner = cluster(aws, values["clusterName"])
    for other in _of(aws, owner["name"]):
        if all(other[key] == values[key] for key in ("namespace", "serviceAccount")):
            raise AwsError(
                "ResourceInUseException",
                f"{values['namespace']}/{values['serviceAccount']} already has association {other['associationId']}",
                clusterName=owner["name"],
            )
    name = aws.new_id("a")
    record = {
        "clusterName": owner["name"], "namespace": values["namespace"], "serviceAccount": values["serviceAccount"],
        "roleArn": values["roleArn"], "associationId": name, "createdAt": aws.now(), "modifiedAt": aws.now(),
        "associationArn": aws.arn("eks", f"podidentityassociation/{owner['name']}/{name}"),
        "tags": values.get("tags", {}), "disableSessionTags": values.get("disableSessionTags", False),
    }  # fmt: skip
    aws.table(_TABLE)[name] = record
    return {"association": record}


@answers("eks", "DescribePodIdentityAssociation")
def describe_pod_identity_association(aws: Aws, values: Json) -> Json:
    return {"association": _find(aws, values)}


@answers("eks", "ListPodIdentityAssociations")
def list_pod_identity_associations(aws: Aws, values: Json) -> Json:
    cluster(aws, values["clusterName"])
    wanted = {key: values[key] for key in ("namespace", "serviceAccount") if key in values}
    return {"associations": [record for record in _of(aws, values["clusterName"]) if wanted.items() <= record.items()]}


@answers("eks", "UpdatePodIdentityAssociation")
def update_pod_identity_association(aws: Aws, values: Json) -> Json:
    record = _find(aws, values)
    record |= {key: values[key] for key in ("roleArn", "disableSessionTags") if key in values}
    record["modifiedAt"] = aws.now()
    return {"association": record}


@answers("eks", "DeletePodIdentityAssociation")
def delete_pod_identity_association(aws: Aws, values: Json) -> Json:
    record = _find(aws, values)
    del aws.table(_TABLE)[values["associationId"]]
    return {"association": record}
