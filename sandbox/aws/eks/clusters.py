"""EKS clusters. There is one slot: the control plane of the sandbox."""

from __future__ import annotations

import hashlib

from sandbox.aws.catalog import KUBERNETES_VERSIONS
from sandbox.aws.ec2.core import set_tags
from sandbox.aws.ec2.interfaces import delete_interface, make_interface
from sandbox.aws.ec2.network import subnet
from sandbox.aws.ec2.security import allow, delete_security_group, make_group
from sandbox.aws.eks.access import grant_creator
from sandbox.aws.eks.core import active_cluster, cluster, new_update
from sandbox.aws.errors import AwsError
from sandbox.aws.identity import role_of
from sandbox.aws.registry import CALLER, answers, on_tick
from sandbox.aws.state import Aws, Json

__all__: list[str] = []

_LOG_TYPES = ("api", "audit", "authenticator", "controllerManager", "scheduler")


def _shown(aws: Aws, record: Json) -> Json:
    shown = dict(record)
    if record["status"] not in ("CREATING", "FAILED"):
        server, authority = aws.kubernetes()
        shown |= {"endpoint": server, "certificateAuthority": {"data": authority}}
    return shown


def _logging(wanted: Json) -> Json:
    enabled = {
        kind for entry in wanted.get("clusterLogging", []) if entry.get("enabled") for kind in entry.get("types", [])
    }
    entries = [{"types": sorted(enabled), "enabled": True}] if enabled else []
    rest = [kind for kind in _LOG_TYPES if kind not in enabled]
    return {"clusterLogging": [*entries, *([{"types": rest, "enabled": False}] if rest else [])]}


@answers("eks", "CreateCluster")
def create_cluster(aws: Aws, values: Json) -> Json:
    name, clusters = values["name"], aws.table("eks.clusters")
    if name in clusters:
        raise AwsError("ResourceInUseException", f"Cluster already exists with name: {name}", clusterName=name)
    if clusters:
        raise AwsError(
            "ResourceLimitExceededException",
            f"the sandbox has one control plane, taken by cluster {next(iter(clusters))}: delete that one first",
            clusterName=name,
        )
    version = values.get("version", KUBERNETES_VERSIONS[-1])
    if version not in KUBERNETES_VERSIONS:
        raise AwsError("InvalidParameterException", f"unsupported Kubernetes version {version}", clusterName=name)
    network = values["resourcesVpcConfig"]
    places = [subnet(aws, place) for place in network.get("subnetIds", [])]
    if len({place["AvailabilityZone"] for place in places}) < 2:
        raise AwsError(
            "InvalidParameterException",
            "Subnets specified must be in at least two different AZs",
            clusterName=name,
        )
    vpc, identifier = places[0]["VpcId"], hashlib.sha256(name.encode()).hexdigest()[:32].upper()
    owned = {f"kubernetes.io/cluster/{name}": "owned", "aws:eks:cluster-name": name}
    group = make_group(
        aws, vpc, f"eks-cluster-sg-{name}-{identifier[:8].lower()}",
        "EKS created security group applied to ENI that is attached to EKS Control Plane master nodes, as well as "
        "any managed workloads.",
        {"Name": f"eks-cluster-sg-{name}", **owned},
    )["GroupId"]  # fmt: skip
    allow(aws, group, [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}], egress=False)
    interfaces = []
    for place in places[:2]:
        interface = make_interface(
            aws,
            place["SubnetId"],
            [group, *network.get("securityGroupIds", [])],
            f"Amazon EKS {name}",
            kind="interface",
        )
        interface |= {"RequesterManaged": True, "Status": "in-use"}
        set_tags(aws, interface["NetworkInterfaceId"], owned)
        interfaces.append(interface["NetworkInterfaceId"])
    access = values.get("accessConfig", {})
    record: Json = {
        "name": name, "arn": aws.arn("eks", f"cluster/{name}"), "createdAt": aws.now(), "version": version,
        "roleArn": values["roleArn"], "status": "CREATING", "platformVersion": "eks.4", "tags": values.get("tags", {}),
        "resourcesVpcConfig": {
            "subnetIds": network["subnetIds"], "securityGroupIds": network.get("securityGroupIds", []),
            "clusterSecurityGroupId": group, "vpcId": vpc,
            "endpointPublicAccess": network.get("endpointPublicAccess", True),
            "endpointPrivateAccess": network.get("endpointPrivateAccess", False),
            "publicAccessCidrs": network.get("publicAccessCidrs", ["0.0.0.0/0"]),
        },
        "kubernetesNetworkConfig": {
            "serviceIpv4Cidr": values.get("kubernetesNetworkConfig", {}).get("serviceIpv4Cidr", "172.20.0.0/16"),
            "ipFamily": "ipv4", "elasticLoadBalancing": {"enabled": False},
        },
        "logging": _logging(values.get("logging", {})), "health": {"issues": []},
        "identity": {"oidc": {"issuer": f"https://oidc.eks.{aws.region}.amazonaws.com/id/{identifier}"}},
        "accessConfig": {
            "authenticationMode": access.get("authenticationMode", "CONFIG_MAP"),
            "bootstrapClusterCreatorAdminPermissions": access.get("bootstrapClusterCreatorAdminPermissions", True),
        },
        "upgradePolicy": {"supportType": values.get("upgradePolicy", {}).get("supportType", "EXTENDED")},
        "deletionProtection": values.get("deletionProtection", False),
        "access": {}, "bootstrap_addons": values.get("bootstrapSelfManagedAddons", True),
        "ready_at": aws.now() + aws.settings.seconds("cluster_create_delay"), "own_interfaces": interfaces,
        "own_creator": role_of(values[CALLER]),
    }  # fmt: skip
    if record["accessConfig"]["bootstrapClusterCreatorAdminPermissions"]:
        grant_creator(aws, record, record["own_creator"])
    clusters[name] = record
    return {"cluster": _shown(aws, record)}


@answers("eks", "DescribeCluster")
def describe_cluster(aws: Aws, values: Json) -> Json:
    return {"cluster": _shown(aws, cluster(aws, values["name"]))}


@answers("eks", "ListClusters")
def list_clusters(aws: Aws, _values: Json) -> Json:
    return {"clusters": sorted(aws.table("eks.clusters"))}


@answers("eks", "DescribeClusterVersions")
def describe_cluster_versions(_aws: Aws, values: Json) -> Json:
    versions = values.get("clusterVersions") or KUBERNETES_VERSIONS
    return {
        "clusterVersions": [
            {
                "clusterVersion": version, "clusterType": "eks", "defaultPlatformVersion": "eks.4",
                "defaultVersion": version == KUBERNETES_VERSIONS[-1], "status": "standard-support",
                "versionStatus": "STANDARD_SUPPORT", "kubernetesPatchVersion": f"{version}.4",
            }
            for version in versions
        ]
    }  # fmt: skip


@answers("eks", "UpdateClusterConfig")
def update_cluster_config(aws: Aws, values: Json) -> Json:
    record = active_cluster(aws, values["name"])
    kind, params = "EndpointAccessUpdate", {}
    if "resourcesVpcConfig" in values:
        changes = {
            key: value for key, value in values["resourcesVpcConfig"].items() if key in record["resourcesVpcConfig"]
        }
        record["resourcesVpcConfig"] |= changes
        params = changes
    if "logging" in values:
        record["logging"], kind = _logging(values["logging"]), "LoggingUpdate"
    if "accessConfig" in values:
        modes = ("CONFIG_MAP", "API_AND_CONFIG_MAP", "API")
        old, new = record["accessConfig"]["authenticationMode"], values["accessConfig"]["authenticationMode"]
        if modes.index(new) < modes.index(old):
            raise AwsError("InvalidParameterException", f"The authentication mode cannot go back from {old} to {new}")
        record["accessConfig"]["authenticationMode"], kind = new, "AccessConfigUpdate"
        params = {"AuthenticationMode": new}
        grant = record["accessConfig"]["bootstrapClusterCreatorAdminPermissions"]
        if old == "CONFIG_MAP" and grant:
            grant_creator(aws, record, record["own_creator"])
    for key, name in (("upgradePolicy", "UpgradePolicyUpdate"), ("deletionProtection", "DeletionProtectionUpdate")):
        if key in values:
            record[key], kind = values[key], name
    record["status"] = "UPDATING"
    return {"update": new_update(aws, kind, record["name"], params, due=aws.settings.seconds("update_delay"))}


@answers("eks", "UpdateClusterVersion")
def update_cluster_version(aws: Aws, values: Json) -> Json:
    record, version = active_cluster(aws, values["name"]), values["version"]
    allowed = KUBERNETES_VERSIONS.index(record["version"]) + 1
    if version not in KUBERNETES_VERSIONS[allowed : allowed + 1]:
        raise AwsError(
            "InvalidParameterException",
            f"Unsupported Kubernetes minor version update from {record['version']} to {version}",
            clusterName=record["name"],
        )
    record |= {"version": version, "status": "UPDATING"}
    due = aws.settings.seconds("update_delay")
    return {"update": new_update(aws, "VersionUpdate", record["name"], {"Version": version}, due=due)}


@answers("eks", "DeleteCluster")
def delete_cluster(aws: Aws, values: Json) -> Json:
    record, name = cluster(aws, values["name"]), values["name"]
    if record["deletionProtection"]:
        raise AwsError(
            "InvalidRequestException", "Cluster deletion protection is enabled: turn it off first", clusterName=name
        )
    groups = [group for group in aws.table("eks.nodegroups").values() if group["clusterName"] == name]
    if groups:
        raise AwsError(
            "ResourceInUseException",
            "Cluster has nodegroups attached",
            clusterName=name,
            nodegroupName=groups[0]["nodegroupName"],
        )
    if record["status"] != "DELETING":
        record |= {"status": "DELETING", "gone_at": aws.now() + aws.settings.seconds("cluster_delete_delay")}
    return {"cluster": _shown(aws, record)}


@on_tick
def move_clusters(aws: Aws, now: float) -> None:
    """CREATING → ACTIVE; DELETING → gone, with what EKS itself made."""
    clusters = aws.table("eks.clusters")
    for name, record in list(clusters.items()):
        if record["status"] == "CREATING" and now >= record["ready_at"]:
            record["status"] = "ACTIVE"
            aws.touch()
        elif record["status"] == "DELETING" and now >= record["gone_at"]:
            for interface in record["own_interfaces"]:
                if interface in aws.table("ec2.interfaces"):
                    delete_interface(aws, interface)
            _delete_group(aws, record["resourcesVpcConfig"]["clusterSecurityGroupId"])
            for table in ("eks.addons", "eks.fargate_profiles", "eks.pod_identities"):
                for key in [key for key, item in aws.table(table).items() if item["clusterName"] == name]:
                    del aws.table(table)[key]
            del clusters[name]
            aws.touch()


def _delete_group(aws: Aws, name: str) -> None:
    """The cluster's security group goes with it, unless a leftover interface still uses it."""
    try:
        delete_security_group(aws, {"GroupId": name})
    except AwsError:
        return


def _none(operation: str, key: str) -> None:
    @answers("eks", operation)
    def empty(aws: Aws, values: Json) -> Json:
        cluster(aws, values["clusterName"])
        return {key: []}


for _operation, _key in (
    ("ListIdentityProviderConfigs", "identityProviderConfigs"),
    ("ListInsights", "insights"),
):
    _none(_operation, _key)
