"""Access entries and their policies."""

from __future__ import annotations

import uuid

from sandbox.aws.eks.core import cluster
from sandbox.aws.errors import AwsError
from sandbox.aws.registry import answers
from sandbox.aws.state import Aws, Json

__all__ = ["ADMIN_POLICY", "grant_creator", "grant_nodes"]

ADMIN_POLICY = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
_POLICIES = (
    "AmazonEKSClusterAdminPolicy", "AmazonEKSAdminPolicy", "AmazonEKSEditPolicy", "AmazonEKSViewPolicy",
    "AmazonEKSAdminViewPolicy",
)  # fmt: skip
_NODE_TYPES = ("EC2_LINUX", "EC2_WINDOWS", "EC2", "FARGATE_LINUX", "HYBRID_LINUX")


def _entry(aws: Aws, owner: Json, principal: str, kind: str = "STANDARD") -> Json:
    name = principal.rsplit("/", 1)[1]
    account, _, what = principal.split(":", 4)[4].partition(":")
    path = f"access-entry/{owner['name']}/{what.partition('/')[0]}/{account}/{name}/{uuid.uuid4()}"
    entry = {
        "clusterName": owner["name"], "principalArn": principal, "kubernetesGroups": [], "type": kind,
        "accessEntryArn": aws.arn("eks", path), "createdAt": aws.now(), "modifiedAt": aws.now(), "tags": {},
        "username": principal, "policies": [],
    }  # fmt: skip
    if what.startswith("role/"):  # as EKS names sessions unless told otherwise
        entry["username"] = f"{principal.replace(':iam:', ':sts:').partition(':role/')[0]}:assumed-role/{name}"
        entry["username"] += "/{{SessionName}}"
    if kind in _NODE_TYPES:
        entry |= {"username": "system:node:{{EC2PrivateDNSName}}", "kubernetesGroups": ["system:nodes"]}
    owner["access"][principal] = entry
    return entry


def grant_creator(aws: Aws, owner: Json, principal: str) -> None:
    """The cluster's creator is its administrator."""
    if principal not in owner["access"]:
        _associate(aws, _entry(aws, owner, principal), ADMIN_POLICY, {"type": "cluster"})


def grant_nodes(aws: Aws, owner: Json, role: str) -> None:
    """A managed node group's role gets its entry from EKS, unless there is one."""
    if role not in owner["access"]:
        _entry(aws, owner, role, "EC2_LINUX")


def _associate(aws: Aws, entry: Json, policy: str, scope: Json) -> Json:
    association = {"policyArn": policy, "accessScope": scope, "associatedAt": aws.now(), "modifiedAt": aws.now()}
    entry["policies"] = [item for item in entry["policies"] if item["policyArn"] != policy] + [association]
    return association


def _find(aws: Aws, values: Json) -> Json:
    owner = cluster(aws, values["clusterName"])
    entry: Json | None = owner["access"].get(values["principalArn"])
    if entry is None:
        raise AwsError(
            "ResourceNotFoundException",
            f"The specified principalArn could not be found: {values['principalArn']}",
            clusterName=owner["name"],
        )
    return entry


def _api(aws: Aws, values: Json) -> Json:
    owner = cluster(aws, values["clusterName"])
    if owner["accessConfig"]["authenticationMode"] == "CONFIG_MAP":
        raise AwsError(
            "InvalidRequestException",
            "The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP] for this operation.",
            clusterName=owner["name"],
        )
    return owner


@answers("eks", "CreateAccessEntry")
def create_access_entry(aws: Aws, values: Json) -> Json:
    owner, principal = _api(aws, values), values["principalArn"]
    if principal in owner["access"]:
        raise AwsError(
            "ResourceInUseException",
            "The specified access entry resource is already in use on this cluster.",
            clusterName=owner["name"],
        )
    if not principal.startswith("arn:aws:iam::"):
        raise AwsError("InvalidParameterException", "The specified principalArn is invalid: invalid principal.")
    kind = values.get("type", "STANDARD")
    if kind in _NODE_TYPES and values.get("kubernetesGroups"):
        raise AwsError("InvalidParameterException", f"Groups cannot be given to an access entry of type {kind}")
    entry = _entry(aws, owner, principal, kind)
    entry |= {key: values[key] for key in ("username", "kubernetesGroups", "tags") if key in values}
    return {"accessEntry": entry}


@answers("eks", "DescribeAccessEntry")
def describe_access_entry(aws: Aws, values: Json) -> Json:
    return {"accessEntry": _find(aws, values)}


@answers("eks", "ListAccessEntries")
def list_access_entries(aws: Aws, values: Json) -> Json:
    policy = values.get("associatedPolicyArn")
    entries = cluster(aws, values["clusterName"])["access"]
    return {
        "accessEntries": sorted(
            principal
            for principal, entry in entries.items()
            if policy is None or any(item["policyArn"] == policy for item in entry["policies"])
        )
    }


@answers("eks", "UpdateAccessEntry")
def update_access_entry(aws: Aws, values: Json) -> Json:
    entry = _find(aws, values)
    entry |= {key: values[key] for key in ("username", "kubernetesGroups") if key in values}
    entry["modifiedAt"] = aws.now()
    return {"accessEntry": entry}


@answers("eks", "DeleteAccessEntry")
def delete_access_entry(aws: Aws, values: Json) -> Json:
    _find(aws, values)
    del cluster(aws, values["clusterName"])["access"][values["principalArn"]]
    return {}


@answers("eks", "AssociateAccessPolicy")
def associate_access_policy(aws: Aws, values: Json) -> Json:
    entry = _find(aws, values)
    if values["policyArn"].rsplit("/", 1)[1] not in _POLICIES:
        raise AwsError(
            "ResourceNotFoundException", f"The specified policyArn could not be found: {values['policyArn']}"
        )
    association = _associate(aws, entry, values["policyArn"], values["accessScope"])
    return {
        "clusterName": values["clusterName"],
        "principalArn": values["principalArn"],
        "associatedAccessPolicy": association,
    }


@answers("eks", "DisassociateAccessPolicy")
def disassociate_access_policy(aws: Aws, values: Json) -> Json:
    entry = _find(aws, values)
    rest = [item for item in entry["policies"] if item["policyArn"] != values["policyArn"]]
    if len(rest) == len(entry["policies"]):
        raise AwsError("ResourceNotFoundException", f"The policy is not associated: {values['policyArn']}")
    entry["policies"] = rest
    return {}


@answers("eks", "ListAssociatedAccessPolicies")
def list_associated_access_policies(aws: Aws, values: Json) -> Json:
    return {
        "clusterName": values["clusterName"],
        "principalArn": values["principalArn"],
        "associatedAccessPolicies": _find(aws, values)["policies"],
    }


@answers("eks", "ListAccessPolicies")
def list_access_policies(_aws: Aws, _values: Json) -> Json:
    return {"accessPolicies": [{"name": name, "arn": f"{ADMIN_POLICY.rsplit('/', 1)[0]}/{name}"} for name in _POLICIES]}
