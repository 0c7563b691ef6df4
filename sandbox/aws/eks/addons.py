"""Managed add-ons: the calls. `sandbox.cluster.addons` puts them into the cluster and reports back."""

from __future__ import annotations

import json
import uuid
from typing import Any

import jsonschema
import yaml

from sandbox.aws.catalog import KUBERNETES_VERSIONS
from sandbox.aws.eks.addon_catalog import ADDONS, SCHEMAS, default_version
from sandbox.aws.eks.core import active_cluster, cluster, new_update
from sandbox.aws.eks.pod_identity import associate_addon, drop_addon
from sandbox.aws.errors import AwsError
from sandbox.aws.registry import answers
from sandbox.aws.state import Aws, Json

__all__ = ["configuration"]


def _invalid(values: Json, message: str) -> AwsError:
    return AwsError(
        "InvalidParameterException",
        message,
        clusterName=values.get("clusterName"),
        addonName=values.get("addonName"),
    )


def configuration(text: str | None) -> Json:
    """`configurationValues` (JSON or YAML) as a dict, empty when there are none."""
    return yaml.safe_load(text or "{}") or {}


def _check_configuration(values: Json) -> str | None:
    text: str | None = values.get("configurationValues")
    if text is None:
        return None
    try:
        given = configuration(text)
    except yaml.YAMLError as problem:
        raise _invalid(values, f"ConfigurationValue provided in request is neither JSON nor YAML: {problem}") from None
    validator = jsonschema.Draft7Validator(SCHEMAS[values["addonName"]])
    problems = [f"{problem.json_path}: {problem.message}" for problem in validator.iter_errors(given)]
    if problems:
        raise _invalid(
            values,
            "ConfigurationValue provided in request is not supported: Json schema validation failed with error: "
            f"[{', '.join(sorted(problems))}]",
        )
    return text


def _known(values: Json) -> str:
    name: str = values["addonName"]
    if name not in ADDONS:
        raise _invalid(values, f"Addon {name} specified is not supported: the sandbox has {', '.join(ADDONS)}")
    return name


def _version(values: Json, kubernetes: str) -> str:
    name = _known(values)
    version: str = values.get("addonVersion") or default_version(name, kubernetes)
    if version not in ADDONS[name][kubernetes]:
        raise _invalid(
            values, f"Addon version specified is not supported: {name} {version} with Kubernetes {kubernetes}"
        )
    return version


def _find(aws: Aws, values: Json) -> Json:
    cluster(aws, values["clusterName"])
    record: Json | None = aws.table("eks.addons").get(f"{values['clusterName']}/{values['addonName']}")
    if record is None:
        raise AwsError(
            "ResourceNotFoundException",
            f"No addon: {values['addonName']} found in cluster: {values['clusterName']}",
            clusterName=values["clusterName"],
            addonName=values["addonName"],
        )
    return record


def _task(aws: Aws, action: str, resolve: str, **more: Any) -> Json:
    """What `sandbox.cluster.addons` has to do: `apply` or `delete`, from `at` on."""
    at = aws.now() + aws.settings.seconds("addon_delay")
    return {"id": str(uuid.uuid4()), "action": action, "resolve": resolve, "at": at, **more}


@answers("eks", "CreateAddon")
def create_addon(aws: Aws, values: Json) -> Json:
    owner, name = active_cluster(aws, values["clusterName"]), _known(values)
    key, addons = f"{owner['name']}/{name}", aws.table("eks.addons")
    if key in addons:
        raise AwsError("ResourceInUseException", "Addon already exists.", clusterName=owner["name"], addonName=name)
    resolve = values.get("resolveConflicts", "NONE")
    if resolve == "PRESERVE":
        raise _invalid(values, "Conflict resolution option PRESERVE is not supported when creating an add-on.")
    record: Json = {
        "addonName": name, "clusterName": owner["name"], "status": "CREATING", "health": {"issues": []},
        "addonVersion": _version(values, owner["version"]), "createdAt": aws.now(), "modifiedAt": aws.now(),
        "addonArn": aws.arn("eks", f"addon/{owner['name']}/{name}/{uuid.uuid4()}"), "tags": values.get("tags", {}),
        "podIdentityAssociations": [], "task": _task(aws, "apply", resolve),
    }  # fmt: skip
    text = _check_configuration(values)
    if text is not None:
        record["configurationValues"] = text
    if values.get("serviceAccountRoleArn"):
        record["serviceAccountRoleArn"] = values["serviceAccountRoleArn"]
    associate_addon(aws, record, values.get("podIdentityAssociations") or [])
    addons[key] = record
    return {"addon": record}


@answers("eks", "DescribeAddon")
def describe_addon(aws: Aws, values: Json) -> Json:
    return {"addon": _find(aws, values)}


@answers("eks", "ListAddons")
def list_addons(aws: Aws, values: Json) -> Json:
    owner = cluster(aws, values["clusterName"])
    records = aws.table("eks.addons").values()
    return {"addons": sorted(record["addonName"] for record in records if record["clusterName"] == owner["name"])}


@answers("eks", "UpdateAddon")
def update_addon(aws: Aws, values: Json) -> Json:
    record, owner = _find(aws, values), cluster(aws, values["clusterName"])
    if record["status"] in ("CREATING", "UPDATING", "DELETING"):
        raise AwsError(
            "ResourceInUseException",
            f"Addon {record['addonName']} cannot be updated as it is currently in {record['status']} state",
            clusterName=owner["name"],
            addonName=record["addonName"],
        )
    params: Json = {"ResolveConflicts": values.get("resolveConflicts", "NONE")}
    if "addonVersion" in values:
        params["AddonVersion"] = _version(values, owner["version"])
    text = _check_configuration(values)
    if text is not None:
        params["ConfigurationValues"] = text
    if "serviceAccountRoleArn" in values:
        params["ServiceAccountRoleArn"] = values["serviceAccountRoleArn"]
    before = {key: record.get(key) for key in ("addonVersion", "configurationValues", "serviceAccountRoleArn")}
    record["addonVersion"] = params.get("AddonVersion", record["addonVersion"])
    if text is not None:
        record["configurationValues"] = text
    if "serviceAccountRoleArn" in values:
        record["serviceAccountRoleArn"] = values["serviceAccountRoleArn"]
    if "podIdentityAssociations" in values:  # left out: they stay; an empty list: they go
        associate_addon(aws, record, values["podIdentityAssociations"])
    update = new_update(aws, "AddonUpdate", f"{owner['name']}/addon/{record['addonName']}", params)
    record |= {
        "status": "UPDATING",
        "modifiedAt": aws.now(),
        "task": _task(aws, "apply", params["ResolveConflicts"], update=update["id"], before=before),
    }
    return {"update": update}


@answers("eks", "DeleteAddon")
def delete_addon(aws: Aws, values: Json) -> Json:
    record = _find(aws, values)
    drop_addon(aws, record)
    record |= {"status": "DELETING", "task": _task(aws, "delete", "NONE", preserve=values.get("preserve", False))}
    return {"addon": record}


@answers("eks", "DescribeAddonVersions")
def describe_addon_versions(_aws: Aws, values: Json) -> Json:
    names = [values["addonName"]] if "addonName" in values else list(ADDONS)
    kubernetes = [values["kubernetesVersion"]] if "kubernetesVersion" in values else list(KUBERNETES_VERSIONS)
    found = []
    for name in names:
        rows: dict[str, list[Json]] = {}
        for cluster_version in kubernetes:
            for version in ADDONS.get(name, {}).get(cluster_version, []):
                rows.setdefault(version, []).append(
                    {
                        "clusterVersion": cluster_version,
                        "platformVersions": ["*"],
                        "defaultVersion": version == default_version(name, cluster_version),
                    }
                )
        versions = [
            {
                "addonVersion": version, "architecture": ["amd64", "arm64"], "computeTypes": ["ec2"],
                "compatibilities": entries, "requiresConfiguration": False,
                "requiresIamPermissions": name == "vpc-cni",
            }
            for version, entries in rows.items()
        ]  # fmt: skip
        if versions:
            found.append(
                {"addonName": name, "type": "networking", "addonVersions": versions, "publisher": "eks", "owner": "aws"}
            )
    return {"addons": found}


@answers("eks", "DescribeAddonConfiguration")
def describe_addon_configuration(_aws: Aws, values: Json) -> Json:
    name = _known(values)
    if not any(values["addonVersion"] in versions for versions in ADDONS[name].values()):
        raise _invalid(values, f"Addon version specified is not supported: {name} {values['addonVersion']}")
    return {
        "addonName": name,
        "addonVersion": values["addonVersion"],
        "configurationSchema": json.dumps(SCHEMAS[name]),
        "podIdentityConfiguration": [],
    }
