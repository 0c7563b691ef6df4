"""Roles, policies, instance profiles. Nothing is evaluated: they exist or they do not."""

from __future__ import annotations

import json
import urllib.parse

from sandbox.aws.errors import AwsError
from sandbox.aws.registry import answers
from sandbox.aws.state import Aws, Json, tags_as_list

__all__: list[str] = []

_GONE = "NoSuchEntity"


def _tags(values: Json) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in values.get("Tags", [])}


def _arn(aws: Aws, kind: str, values: Json, name: str) -> str:
    return aws.arn("iam", f"{kind}{values.get('Path', '/')}{name}", regional=False)


def _document(text: str) -> str:
    try:
        json.loads(text)
    except ValueError:
        raise AwsError("MalformedPolicyDocument", "The policy document is not JSON") from None
    return urllib.parse.quote(text)


def _get(aws: Aws, table: str, name: str, what: str) -> Json:
    record: Json | None = aws.table(table).get(name)
    if record is None:
        raise AwsError(_GONE, f"The {what} with name {name} cannot be found.", 404)
    return record


# -- roles ------------------------------------------------------------------------------------------


def _role(aws: Aws, values: Json) -> Json:
    return _get(aws, "iam.roles", values["RoleName"], "role")


def _shown(record: Json) -> Json:
    return {**record, "Tags": tags_as_list(record["tags"])}


def _boundary(aws: Aws, arn: str) -> Json:
    if not arn.startswith("arn:aws:iam::aws:policy/") and arn not in aws.table("iam.policies"):
        raise AwsError(_GONE, f"Scope ARN: {arn} does not exist or is not attachable.", 404)
    return {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn}


@answers("iam", "CreateRole")
def create_role(aws: Aws, values: Json) -> Json:
    name = values["RoleName"]
    if name in aws.table("iam.roles"):
        raise AwsError("EntityAlreadyExists", f"Role with name {name} already exists.", 409)
    record = {
        "RoleName": name, "Path": values.get("Path", "/"), "Arn": _arn(aws, "role", values, name),
        "RoleId": aws.new_id("AROA").replace("-", "").upper(), "CreateDate": aws.now(),
        "AssumeRolePolicyDocument": _document(values["AssumeRolePolicyDocument"]),
        "Description": values.get("Description", ""), "MaxSessionDuration": values.get("MaxSessionDuration", 3600),
        "tags": _tags(values), "inline": {}, "attached": [],
    }  # fmt: skip
    if bound := values.get("PermissionsBoundary"):
        record["PermissionsBoundary"] = _boundary(aws, bound)
    aws.table("iam.roles")[name] = record
    return {"Role": _shown(record)}


@answers("iam", "GetRole")
def get_role(aws: Aws, values: Json) -> Json:
    return {"Role": _shown(_role(aws, values))}


@answers("iam", "ListRoles")
def list_roles(aws: Aws, values: Json) -> Json:
    prefix = values.get("PathPrefix", "/")
    return {"Roles": [_shown(role) for role in aws.table("iam.roles").values() if role["Path"].startswith(prefix)]}


@answers("iam", "UpdateRole")
def update_role(aws: Aws, values: Json) -> Json:
    _role(aws, values).update({key: values[key] for key in ("Description", "MaxSessionDuration") if key in values})
    return {}


@answers("iam", "UpdateRoleDescription")
def update_role_description(aws: Aws, values: Json) -> Json:
    update_role(aws, values)
    return get_role(aws, values)


@answers("iam", "UpdateAssumeRolePolicy")
def update_assume_role_policy(aws: Aws, values: Json) -> Json:
    _role(aws, values)["AssumeRolePolicyDocument"] = _document(values["PolicyDocument"])
    return {}


@answers("iam", "PutRolePermissionsBoundary")
def put_role_permissions_boundary(aws: Aws, values: Json) -> Json:
    _role(aws, values)["PermissionsBoundary"] = _boundary(aws, values["PermissionsBoundary"])
    return {}


@answers("iam", "DeleteRolePermissionsBoundary")
def delete_role_permissions_boundary(aws: Aws, values: Json) -> Json:
    if _role(aws, values).pop("PermissionsBoundary", None) is None:
        raise AwsError(_GONE, f"The role {values['RoleName']} has no permissions boundary.", 404)
    return {}


@answers("iam", "DeleteRole")
def delete_role(aws: Aws, values: Json) -> Json:
    role, name = _role(aws, values), values["RoleName"]
    if role["inline"] or role["attached"]:
        raise AwsError(
            "DeleteConflict", "Cannot delete entity, must delete policies and detach all policies first.", 409
        )
    if any(name in profile["roles"] for profile in aws.table("iam.profiles").values()):
        raise AwsError("DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.", 409)
    del aws.table("iam.roles")[name]
    return {}


@answers("iam", "TagRole")
def tag_role(aws: Aws, values: Json) -> Json:
    _role(aws, values)["tags"].update(_tags(values))
    return {}


@answers("iam", "UntagRole")
def untag_role(aws: Aws, values: Json) -> Json:
    tags = _role(aws, values)["tags"]
    for key in values["TagKeys"]:
        tags.pop(key, None)
    return {}


@answers("iam", "ListRoleTags")
def list_role_tags(aws: Aws, values: Json) -> Json:
    return {"Tags": tags_as_list(_role(aws, values)["tags"]), "IsTruncated": False}


@answers("iam", "PutRolePolicy")
def put_role_policy(aws: Aws, values: Json) -> Json:
    _role(aws, values)["inline"][values["PolicyName"]] = _document(values["PolicyDocument"])
    return {}


@answers("iam", "GetRolePolicy")
def get_role_policy(aws: Aws, values: Json) -> Json:
    inline, name = _role(aws, values)["inline"], values["PolicyName"]
    if name not in inline:
        raise AwsError(_GONE, f"The role policy with name {name} cannot be found.", 404)
    return {"RoleName": values["RoleName"], "PolicyName": name, "PolicyDocument": inline[name]}


@answers("iam", "ListRolePolicies")
def list_role_policies(aws: Aws, values: Json) -> Json:
    return {"PolicyNames": sorted(_role(aws, values)["inline"]), "IsTruncated": False}


@answers("iam", "DeleteRolePolicy")
def delete_role_policy(aws: Aws, values: Json) -> Json:
    if _role(aws, values)["inline"].pop(values["PolicyName"], None) is None:
        raise AwsError(_GONE, f"The role policy with name {values['PolicyName']} cannot be found.", 404)
    return {}


@answers("iam", "AttachRolePolicy")
def attach_role_policy(aws: Aws, values: Json) -> Json:
    role, arn = _role(aws, values), values["PolicyArn"]
    if not arn.startswith("arn:aws:iam::aws:policy/"):
        _get(aws, "iam.policies", arn, "policy")
    if arn not in role["attached"]:
        role["attached"].append(arn)
    return {}


@answers("iam", "DetachRolePolicy")
def detach_role_policy(aws: Aws, values: Json) -> Json:
    attached = _role(aws, values)["attached"]
    if values["PolicyArn"] not in attached:
        raise AwsError(_GONE, f"Policy {values['PolicyArn']} was not found.", 404)
    attached.remove(values["PolicyArn"])
    return {}


@answers("iam", "ListAttachedRolePolicies")
def list_attached_role_policies(aws: Aws, values: Json) -> Json:
    attached = [{"PolicyArn": arn, "PolicyName": arn.rsplit("/", 1)[1]} for arn in _role(aws, values)["attached"]]
    return {"AttachedPolicies": attached, "IsTruncated": False}


# -- policies ---------------------------------------------------------------------------------------


def _policy(aws: Aws, values: Json) -> Json:
    arn = values["PolicyArn"]
    if arn.startswith("arn:aws:iam::aws:policy/"):  # AWS's own exist, whatever they are called
        name = arn.rsplit("/", 1)[1]
        empty = urllib.parse.quote('{"Version":"2012-10-17","Statement":[]}')
        version = {"VersionId": "v1", "IsDefaultVersion": True, "Document": empty, "CreateDate": 0.0}
        return {
            "PolicyName": name,
            "Arn": arn,
            "Path": "/",
            "DefaultVersionId": "v1",
            "versions": {"v1": version},
            "tags": {},
        }
    return _get(aws, "iam.policies", arn, "policy")


def _shown_policy(aws: Aws, record: Json) -> Json:
    count = sum(record["Arn"] in role["attached"] for role in aws.table("iam.roles").values())
    return {**_shown(record), "AttachmentCount": count, "IsAttachable": True}


@answers("iam", "CreatePolicy")
def create_policy(aws: Aws, values: Json) -> Json:
    arn = _arn(aws, "policy", values, values["PolicyName"])
    if arn in aws.table("iam.policies"):
        raise AwsError("EntityAlreadyExists", f"A policy called {values['PolicyName']} already exists.", 409)
    record = {
        "PolicyName": values["PolicyName"], "Arn": arn, "Path": values.get("Path", "/"), "CreateDate": aws.now(),
        "UpdateDate": aws.now(), "PolicyId": aws.new_id("ANPA").replace("-", "").upper(), "DefaultVersionId": "v1",
        "Description": values.get("Description", ""), "tags": _tags(values), "versions": {},
    }  # fmt: skip
    record["versions"] = {"v1": _version(aws, "v1", values["PolicyDocument"])}
    aws.table("iam.policies")[arn] = record
    return {"Policy": _shown_policy(aws, record)}


def _version(aws: Aws, name: str, document: str) -> Json:
    return {"VersionId": name, "IsDefaultVersion": True, "Document": _document(document), "CreateDate": aws.now()}


@answers("iam", "CreatePolicyVersion")
def create_policy_version(aws: Aws, values: Json) -> Json:
    record = _policy(aws, values)
    if len(record["versions"]) >= 5:
        raise AwsError("LimitExceeded", "A managed policy can have up to 5 versions.", 409)
    name = f"v{max(int(key[1:]) for key in record['versions']) + 1}"
    version = _version(aws, name, values["PolicyDocument"])
    version["IsDefaultVersion"] = values.get("SetAsDefault", False)
    if version["IsDefaultVersion"]:
        for other in record["versions"].values():
            other["IsDefaultVersion"] = False
        record["DefaultVersionId"] = name
    record["versions"][name] = version
    return {"PolicyVersion": version}


@answers("iam", "DeletePolicyVersion")
def delete_policy_version(aws: Aws, values: Json) -> Json:
    _policy(aws, values)["versions"].pop(values["VersionId"], None)
    return {}


@answers("iam", "GetPolicy")
def get_policy(aws: Aws, values: Json) -> Json:
    return {"Policy": _shown_policy(aws, _policy(aws, values))}


@answers("iam", "GetPolicyVersion")
def get_policy_version(aws: Aws, values: Json) -> Json:
    versions = _policy(aws, values)["versions"]
    if values["VersionId"] not in versions:
        raise AwsError(_GONE, f"Policy {values['PolicyArn']} version {values['VersionId']} does not exist.", 404)
    return {"PolicyVersion": versions[values["VersionId"]]}


@answers("iam", "ListPolicyVersions")
def list_policy_versions(aws: Aws, values: Json) -> Json:
    return {"Versions": list(_policy(aws, values)["versions"].values()), "IsTruncated": False}


@answers("iam", "ListPolicies")
def list_policies(aws: Aws, _values: Json) -> Json:
    return {"Policies": [_shown_policy(aws, record) for record in aws.table("iam.policies").values()]}


@answers("iam", "ListPolicyTags")
def list_policy_tags(aws: Aws, values: Json) -> Json:
    return {"Tags": tags_as_list(_policy(aws, values)["tags"])}


@answers("iam", "TagPolicy")
def tag_policy(aws: Aws, values: Json) -> Json:
    _policy(aws, values)["tags"].update(_tags(values))
    return {}


@answers("iam", "DeletePolicy")
def delete_policy(aws: Aws, values: Json) -> Json:
    record = _policy(aws, values)
    if _shown_policy(aws, record)["AttachmentCount"]:
        raise AwsError("DeleteConflict", "Cannot delete a policy attached to entities.", 409)
    aws.table("iam.policies").pop(values["PolicyArn"], None)
    return {}


# -- instance profiles ------------------------------------------------------------------------------


def _profile(aws: Aws, values: Json) -> Json:
    return _get(aws, "iam.profiles", values["InstanceProfileName"], "instance profile")


def _shown_profile(aws: Aws, record: Json) -> Json:
    roles = aws.table("iam.roles")
    return {**_shown(record), "Roles": [_shown(roles[name]) for name in record["roles"] if name in roles]}


@answers("iam", "CreateInstanceProfile")
def create_instance_profile(aws: Aws, values: Json) -> Json:
    name = values["InstanceProfileName"]
    if name in aws.table("iam.profiles"):
        raise AwsError("EntityAlreadyExists", f"Instance Profile {name} already exists.", 409)
    record = {
        "InstanceProfileName": name, "Path": values.get("Path", "/"), "CreateDate": aws.now(), "roles": [],
        "InstanceProfileId": aws.new_id("AIPA").replace("-", "").upper(), "tags": _tags(values),
        "Arn": _arn(aws, "instance-profile", values, name),
    }  # fmt: skip
    aws.table("iam.profiles")[name] = record
    return {"InstanceProfile": _shown_profile(aws, record)}


@answers("iam", "GetInstanceProfile")
def get_instance_profile(aws: Aws, values: Json) -> Json:
    return {"InstanceProfile": _shown_profile(aws, _profile(aws, values))}


@answers("iam", "ListInstanceProfiles")
def list_instance_profiles(aws: Aws, _values: Json) -> Json:
    return {"InstanceProfiles": [_shown_profile(aws, record) for record in aws.table("iam.profiles").values()]}


@answers("iam", "ListInstanceProfilesForRole")
def list_instance_profiles_for_role(aws: Aws, values: Json) -> Json:
    name = _role(aws, values)["RoleName"]
    profiles = [record for record in aws.table("iam.profiles").values() if name in record["roles"]]
    return {"InstanceProfiles": [_shown_profile(aws, record) for record in profiles], "IsTruncated": False}


@answers("iam", "AddRoleToInstanceProfile")
def add_role_to_instance_profile(aws: Aws, values: Json) -> Json:
    record = _profile(aws, values)
    if record["roles"]:
        raise AwsError("LimitExceeded", "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1", 409)
    record["roles"].append(_role(aws, values)["RoleName"])
    return {}


@answers("iam", "RemoveRoleFromInstanceProfile")
def remove_role_from_instance_profile(aws: Aws, values: Json) -> Json:
    record = _profile(aws, values)
    record["roles"] = [name for name in record["roles"] if name != values["RoleName"]]
    return {}


@answers("iam", "DeleteInstanceProfile")
def delete_instance_profile(aws: Aws, values: Json) -> Json:
    if _profile(aws, values)["roles"]:
        raise AwsError("DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.", 409)
    del aws.table("iam.profiles")[values["InstanceProfileName"]]
    return {}
