"""Fargate profiles: that they are there. No pod runs on them."""

from __future__ import annotations

from sandbox.aws.eks.core import active_cluster, cluster
from sandbox.aws.errors import AwsError
from sandbox.aws.registry import answers
from sandbox.aws.state import Aws, Json

__all__: list[str] = []

_TABLE = "eks.fargate_profiles"


def _key(values: Json) -> str:
    return f"{values['clusterName']}/{values['fargateProfileName']}"


def _find(aws: Aws, values: Json) -> Json:
    cluster(aws, values["clusterName"])
    record: Json | None = aws.table(_TABLE).get(_key(values))
    if record is None:
        raise AwsError(
            "ResourceNotFoundException", f"No Fargate Profile found with name: {values['fargateProfileName']}."
        )
    return record


@answers("eks", "CreateFargateProfile")
def create_fargate_profile(aws: Aws, values: Json) -> Json:
    owner, name = active_cluster(aws, values["clusterName"]), values["fargateProfileName"]
    if _key(values) in aws.table(_TABLE):
        raise AwsError("ResourceInUseException", f"Fargate Profile already exists with name: {name}")
    record = {
        "fargateProfileName": name, "clusterName": owner["name"], "status": "ACTIVE", "createdAt": aws.now(),
        "podExecutionRoleArn": values["podExecutionRoleArn"], "subnets": values.get("subnets", []),
        "selectors": values.get("selectors", []), "tags": values.get("tags", {}), "health": {"issues": []},
        "fargateProfileArn": aws.arn("eks", f"fargateprofile/{owner['name']}/{name}/{aws.new_id('fp')}"),
    }  # fmt: skip
    aws.table(_TABLE)[_key(values)] = record
    return {"fargateProfile": record}


@answers("eks", "DescribeFargateProfile")
def describe_fargate_profile(aws: Aws, values: Json) -> Json:
    return {"fargateProfile": _find(aws, values)}


@answers("eks", "ListFargateProfiles")
def list_fargate_profiles(aws: Aws, values: Json) -> Json:
    owner = cluster(aws, values["clusterName"])
    profiles = aws.table(_TABLE).values()
    return {
        "fargateProfileNames": sorted(p["fargateProfileName"] for p in profiles if p["clusterName"] == owner["name"])
    }


@answers("eks", "DeleteFargateProfile")
def delete_fargate_profile(aws: Aws, values: Json) -> Json:
    record = _find(aws, values)
    del aws.table(_TABLE)[_key(values)]
    return {"fargateProfile": {**record, "status": "DELETING"}}
