"""Whether the object of a pending create exists, and under which id the provider knows it.

One function for each type of resource that this program makes and whose create is refused, or leaves a second object
behind, when it is done twice. Ids are those of pulumi-aws 7 and pulumi-kubernetes 4.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from kube.cluster import Cluster
from kube.transport import KubeError
from operations.access.connection import Aws
from operations.recover.stack_state import Pending

Obj = dict[str, Any]


class UnknownTypeError(Exception):
    """This program cannot tell whether an object of this type exists."""


@dataclass(frozen=True)
class Found:
    """An object that exists."""

    id: str
    shown: str
    """What it is, for people."""


@dataclass(frozen=True)
class Places:
    """Where objects are looked for."""

    aws: Aws
    kube: Cluster


REPEATABLE: Final = frozenset(
    {
        "command:local:Command",
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        "aws:ec2/tag:Tag",
        "pulumi:index:Stash",
    }
)
"""Types whose create may be done twice: it ends in the same state."""


def repeatable(kind: str) -> bool:
    """Whether the create may simply be done again: also patches, and things that exist in the state only."""
    return (
        kind in REPEATABLE or kind.startswith("pulumi:") or (kind.startswith("kubernetes:") and kind.endswith("Patch"))
    )


def find(operation: Pending, places: Places) -> Found | None:
    """The object of a pending create; None when there is none.

    Raises:
        UnknownTypeError: see there.
        botocore.exceptions.ClientError, KubeError: it could not be read.
    """
    finder = _FINDERS.get(operation.type)
    if finder is not None:
        return finder(operation.inputs, places)
    if operation.type == "kubernetes:helm.sh/v3:Release":
        return _release(operation.inputs, places)
    if operation.type.startswith("kubernetes:"):
        return _object(operation, places)
    raise UnknownTypeError(operation.type)


# -- AWS ------------------------------------------------------------------------------------------------


def _described(call: Callable[[], Any]) -> Obj | None:
    """What a describe answers; None when it says that there is no such thing."""
    try:
        found: Obj = call()
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in ("ResourceNotFoundException", "NoSuchEntity", "InvalidLaunchTemplateName.NotFoundException"):
            return None
        raise
    return found


def _cluster(inputs: Obj, places: Places) -> Found | None:
    name = inputs.get("name", "")
    found = _described(lambda: places.aws.client("eks").describe_cluster(name=name))
    return Found(name, f"EKS cluster {name}, {found['cluster']['status']}") if found else None


def _nodegroup(inputs: Obj, places: Places) -> Found | None:
    cluster, name = inputs.get("clusterName", ""), inputs.get("nodeGroupName", "")
    found = _described(lambda: places.aws.client("eks").describe_nodegroup(clusterName=cluster, nodegroupName=name))
    return Found(f"{cluster}:{name}", f"node group {name}, {found['nodegroup']['status']}") if found else None


def _addon(inputs: Obj, places: Places) -> Found | None:
    cluster, name = inputs.get("clusterName", ""), inputs.get("addonName", "")
    found = _described(lambda: places.aws.client("eks").describe_addon(clusterName=cluster, addonName=name))
    return Found(f"{cluster}:{name}", f"add-on {name}, {found['addon']['status']}") if found else None


def _access_entry(inputs: Obj, places: Places) -> Found | None:
    cluster, principal = inputs.get("clusterName", ""), inputs.get("principalArn", "")
    found = _described(
        lambda: places.aws.client("eks").describe_access_entry(clusterName=cluster, principalArn=principal)
    )
    return Found(f"{cluster}:{principal}", f"access entry of {principal}") if found else None


def _access_policy(inputs: Obj, places: Places) -> Found | None:
    cluster, principal, policy = (inputs.get(k, "") for k in ("clusterName", "principalArn", "policyArn"))
    found = _described(
        lambda: places.aws.client("eks").list_associated_access_policies(clusterName=cluster, principalArn=principal)
    )
    held = {p["policyArn"] for p in (found or {}).get("associatedAccessPolicies", [])}
    if policy not in held:
        return None
    return Found(f"{cluster}#{principal}#{policy}", f"access policy {policy} of {principal}")


def _role(inputs: Obj, places: Places) -> Found | None:
    name = inputs.get("name", "")
    found = _described(lambda: places.aws.client("iam").get_role(RoleName=name))
    return Found(name, f"IAM role {name}") if found else None


def _role_policy(inputs: Obj, places: Places) -> Found | None:
    """Done twice, it would leave the first one behind: the provider makes up another name each time, and a policy that
    no state knows goes on granting, and keeps its role from being deleted.
    """
    role, name = inputs.get("role", ""), inputs.get("name", "")
    if not role or not name:
        raise UnknownTypeError("aws:iam/rolePolicy:RolePolicy without a name")
    found = _described(lambda: places.aws.client("iam").get_role_policy(RoleName=role, PolicyName=name))
    return Found(f"{role}:{name}", f"inline policy {name} of role {role}") if found else None


def _instance_profile(inputs: Obj, places: Places) -> Found | None:
    name = inputs.get("name", "")
    found = _described(lambda: places.aws.client("iam").get_instance_profile(InstanceProfileName=name))
    return Found(name, f"instance profile {name}") if found else None


def _oidc_provider(inputs: Obj, places: Places) -> Found | None:
    host = str(inputs.get("url", "")).removeprefix("https://")
    listed = places.aws.client("iam").list_open_id_connect_providers()["OpenIDConnectProviderList"]
    arn = next((p["Arn"] for p in listed if host and p["Arn"].endswith(f":oidc-provider/{host}")), None)
    return Found(arn, f"OIDC provider {arn}") if arn else None


def _launch_template(inputs: Obj, places: Places) -> Found | None:
    name = inputs.get("name", "")
    found = _described(lambda: places.aws.client("ec2").describe_launch_templates(LaunchTemplateNames=[name]))
    templates = (found or {}).get("LaunchTemplates") or []
    if not templates:
        return None
    return Found(templates[0]["LaunchTemplateId"], f"launch template {name}")


def _security_group(inputs: Obj, places: Places) -> Found | None:
    filters = [{"Name": "group-name", "Values": [inputs.get("name", "")]}]
    if inputs.get("vpcId"):
        filters.append({"Name": "vpc-id", "Values": [inputs["vpcId"]]})
    groups = places.aws.client("ec2").describe_security_groups(Filters=filters)["SecurityGroups"]
    return Found(groups[0]["GroupId"], f"security group {groups[0]['GroupName']}") if groups else None


_FINDERS: Final[Mapping[str, Callable[[Obj, Places], Found | None]]] = {
    "aws:eks/cluster:Cluster": _cluster,
    "aws:eks/nodeGroup:NodeGroup": _nodegroup,
    "aws:eks/addon:Addon": _addon,
    "aws:eks/accessEntry:AccessEntry": _access_entry,
    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation": _access_policy,
    "aws:iam/role:Role": _role,
    "aws:iam/rolePolicy:RolePolicy": _role_policy,
    "aws:iam/instanceProfile:InstanceProfile": _instance_profile,
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": _oidc_provider,
    "aws:ec2/launchTemplate:LaunchTemplate": _launch_template,
    "aws:ec2/securityGroup:SecurityGroup": _security_group,
}


# -- Kubernetes -----------------------------------------------------------------------------------------


def _object(operation: Pending, places: Places) -> Found | None:
    inputs = operation.inputs
    version, kind = inputs.get("apiVersion", ""), inputs.get("kind", "")
    meta = inputs.get("metadata") or {}
    name, namespace = meta.get("name", ""), meta.get("namespace", "")
    plural, namespaced = _plural(places.kube, version, kind)
    if not plural or not name:
        return None  # a kind that is not served has no objects
    namespace = (namespace or "default") if namespaced else ""
    where = f"/namespaces/{namespace}" if namespace else ""
    if _get(places.kube, f"{_base(version)}{where}/{plural}/{name}") is None:
        return None
    return Found(f"{namespace}/{name}" if namespace else name, f"{kind} {namespace + '/' if namespace else ''}{name}")


def _base(version: str) -> str:
    return f"/api/{version}" if "/" not in version else f"/apis/{version}"


def _get(kube: Cluster, path: str) -> Obj | None:
    try:
        return kube.request("GET", path)
    except KubeError as error:
        if error.status == 404:
            return None
        raise


def _plural(kube: Cluster, version: str, kind: str) -> tuple[str, bool]:
    """Plural name of a kind and whether its objects live in namespaces; empty when it is not served."""
    served = _get(kube, _base(version)) or {}
    for resource in served.get("resources") or []:
        if resource.get("kind") == kind and "/" not in resource.get("name", ""):
            return str(resource["name"]), bool(resource.get("namespaced"))
    return "", False


# -- Helm -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Release:
    """The newest revision of a Helm release."""

    namespace: str
    name: str
    revision: int
    status: str
    """deployed | failed | pending-install | pending-upgrade | pending-rollback | …"""
    good: int
    """Newest revision that was deployed once; 0 when none was."""

    @property
    def stuck(self) -> bool:
        return self.status.startswith("pending") or self.status == "uninstalling"


def releases(kube: Cluster, namespace: str, name: str) -> Release | None:
    """A release, from the labels of Helm's own records; None when there is none. What the records hold is not read."""
    path = f"/api/v1/namespaces/{namespace}/secrets?labelSelector=owner%3Dhelm%2Cname%3D{name}"
    found = kube.request("GET", path).get("items") or []
    revisions = {}
    for record in found:
        labels = record["metadata"].get("labels") or {}
        revisions[int(labels.get("version", 0))] = str(labels.get("status", "unknown"))
    if not revisions:
        return None
    newest = max(revisions)
    good = [number for number, status in revisions.items() if status in ("deployed", "superseded")]
    return Release(namespace, name, newest, revisions[newest], max(good, default=0))


def _release(inputs: Obj, places: Places) -> Found | None:
    namespace, name = inputs.get("namespace") or "default", inputs.get("name") or ""
    found = releases(places.kube, namespace, name) if name else None
    if found is None or found.stuck:
        return None  # what is half installed is taken back first, then made again
    return Found(f"{namespace}/{name}", f"Helm release {namespace}/{name}, revision {found.revision} {found.status}")
