"""The provider's functions: each takes the account and its arguments, and answers with its outputs."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from typing import Any

from sandbox.plugins.aws.account import Account, camel, chosen, text
from sandbox.plugins.operation import ProviderError
from sandbox.plugins.values import Properties

Function = Callable[[Account, Properties], Properties]

_SUBNET = {
    "availabilityZone": "availability-zone",
    "availabilityZoneId": "availability-zone-id",
    "cidrBlock": "cidr-block",
    "defaultForAz": "default-for-az",
    "id": "subnet-id",
    "state": "state",
    "vpcId": "vpc-id",
}
_VPC = {
    "cidrBlock": "cidr",
    "default": "is-default",
    "dhcpOptionsId": "dhcp-options-id",
    "id": "vpc-id",
    "state": "state",
}
_ZERO_IS_UNSET = (None, False, "")


def get_cluster(account: Account, args: Properties) -> Properties:
    """eks.getCluster."""
    found = account.call("eks", "describe_cluster", args.get("region"), name=args["name"])["cluster"]
    issuer = ((found.get("identity") or {}).get("oidc") or {}).get("issuer")
    logging = (found.get("logging") or {}).get("clusterLogging", ())
    return {
        **chosen(found, "arn", "endpoint", "name", "platformVersion", "roleArn", "status", "version"),
        "id": found["name"],
        "clusterId": found.get("id") or "",
        "accessConfigs": _listed(found.get("accessConfig")),
        "certificateAuthorities": _listed(found.get("certificateAuthority")),
        "computeConfigs": _listed(found.get("computeConfig")),
        "createdAt": text(found.get("createdAt")),
        "deletionProtection": bool(found.get("deletionProtection")),
        "enabledClusterLogTypes": [kind for entry in logging if entry.get("enabled") for kind in entry["types"]],
        "identities": [{"oidcs": [{"issuer": issuer}]}] if issuer else [],
        "kubernetesNetworkConfigs": _listed(found.get("kubernetesNetworkConfig")),
        "outpostConfigs": [],
        "region": args.get("region") or account.region,
        "remoteNetworkConfigs": _listed(found.get("remoteNetworkConfig")),
        "storageConfigs": _listed(found.get("storageConfig")),
        "tags": account.tags_from(found.get("tags"))[1],
        "upgradePolicies": _listed(found.get("upgradePolicy")),
        "vpcConfig": found.get("resourcesVpcConfig") or {},
        "zonalShiftConfigs": _listed(found.get("zonalShiftConfig")),
        "controlPlaneScalingConfigs": [],
        "kubeApiServerConfigs": [],
        "kubeControllerManagerConfigs": [],
        "kubeSchedulerConfigs": [],
    }


def get_addon_version(account: Account, args: Properties) -> Properties:
    """eks.getAddonVersion: the default version for a Kubernetes version, or the most recent one."""
    name, kubernetes = args["addonName"], args["kubernetesVersion"]
    addons = account.all(
        "eks", "describe_addon_versions", "addons", args.get("region"), addonName=name, kubernetesVersion=kubernetes
    )
    versions = [version for addon in addons for version in addon["addonVersions"]]
    if not args.get("mostRecent"):
        versions = [v for v in versions if any(c.get("defaultVersion") for c in v.get("compatibilities") or ())]
    if not versions:
        raise ProviderError(f"reading EKS Add-On version info ({name}, {kubernetes}): couldn't find resource")
    return {
        "id": name,
        "addonName": name,
        "kubernetesVersion": kubernetes,
        "mostRecent": args.get("mostRecent"),
        "region": args.get("region") or account.region,
        "version": versions[0]["addonVersion"],
    }


def get_cluster_auth(account: Account, args: Properties) -> Properties:
    """eks.getClusterAuth: a token as `aws eks get-token` makes it."""
    from botocore.signers import RequestSigner  # noqa: PLC0415 slow to import

    name, region = args["name"], args.get("region") or account.region
    sts = account.client("sts", region)
    service = sts.meta.service_model.service_id
    signer = RequestSigner(service, region, "sts", "v4", sts._request_signer._credentials, sts.meta.events)  # noqa: SLF001
    request = {
        "method": "GET",
        "url": f"{sts.meta.endpoint_url}/?Action=GetCallerIdentity&Version=2011-06-15",
        "body": {},
        "headers": {"x-k8s-aws-id": name},
        "context": {},
    }
    url = signer.generate_presigned_url(request, region_name=region, expires_in=60, operation_name="")
    token = "k8s-aws-v1." + base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")
    return {"id": name, "name": name, "region": region, "token": token}


def get_vpc(account: Account, args: Properties) -> Properties:
    """ec2.getVpc: exactly one."""
    vpc = _one(account, "VPC", args, _VPC)
    id, region = vpc["VpcId"], args.get("region") or account.region
    attributes = {
        name: account.call("ec2", "describe_vpc_attribute", region, VpcId=id, Attribute=name)[key].get("Value", False)
        for name, key in (("enableDnsHostnames", "EnableDnsHostnames"), ("enableDnsSupport", "EnableDnsSupport"))
    }
    tables = account.call(
        "ec2",
        "describe_route_tables",
        region,
        Filters=[{"Name": "vpc-id", "Values": [id]}, {"Name": "association.main", "Values": ["true"]}],
    )["RouteTables"]
    owner = vpc.get("OwnerId") or account.id
    return {
        **attributes,
        **chosen(camel(vpc), "cidrBlock", "dhcpOptionsId", "instanceTenancy", "state"),
        "id": id,
        "arn": f"arn:aws:ec2:{region}:{owner}:vpc/{id}",
        "cidrBlockAssociations": [
            {
                "associationId": item["AssociationId"],
                "cidrBlock": item["CidrBlock"],
                "state": item["CidrBlockState"]["State"],
            }
            for item in vpc.get("CidrBlockAssociationSet") or ()
        ],
        "default": bool(vpc.get("IsDefault")),
        "enableNetworkAddressUsageMetrics": False,
        "ipv6AssociationId": "",
        "ipv6CidrBlock": "",
        "ipv6CidrBlockAssociations": [],
        "mainRouteTableId": tables[0]["RouteTableId"] if tables else "",
        "ownerId": owner,
        "region": region,
        "tags": account.tags_from(vpc.get("Tags"))[1],
    }


def get_subnet(account: Account, args: Properties) -> Properties:
    """ec2.getSubnet: exactly one."""
    subnet = _one(account, "Subnet", args, _SUBNET)
    region = args.get("region") or account.region
    owner = subnet.get("OwnerId") or account.id
    found = camel(subnet)
    return {
        **chosen(found, "availabilityZone", "availabilityZoneId", "cidrBlock", "defaultForAz"),
        **chosen(found, "mapPublicIpOnLaunch", "state", "vpcId"),
        "id": subnet["SubnetId"],
        "arn": f"arn:aws:ec2:{region}:{owner}:subnet/{subnet['SubnetId']}",
        "assignIpv6AddressOnCreation": bool(subnet.get("AssignIpv6AddressOnCreation")),
        "availableIpAddressCount": subnet.get("AvailableIpAddressCount", 0),
        "enableDns64": False,
        "enableLniAtDeviceIndex": 0,
        "enableResourceNameDnsARecordOnLaunch": False,
        "enableResourceNameDnsAaaaRecordOnLaunch": False,
        "ipv6CidrBlock": "",
        "ipv6CidrBlockAssociationId": "",
        "ipv6Native": False,
        "ownerId": owner,
        "privateDnsHostnameTypeOnLaunch": "ip-name",
        "region": region,
        "tags": account.tags_from(subnet.get("Tags"))[1],
    } | dict.fromkeys(("customerOwnedIpv4Pool", "outpostArn"), "")


def get_subnets(account: Account, args: Properties) -> Properties:
    """ec2.getSubnets: ids, as many as there are."""
    found = account.all("ec2", "describe_subnets", "Subnets", args.get("region"), Filters=_filters(args, {}))
    region = args.get("region") or account.region
    return {
        "id": region,
        "ids": [subnet["SubnetId"] for subnet in found],
        "region": region,
        "tags": args.get("tags") or {},
    }


def get_parameter(account: Account, args: Properties) -> Properties:
    """ssm.getParameter."""
    name, region = args["name"], args.get("region") or account.region
    decrypt = args.get("withDecryption", True)
    found = account.call("ssm", "get_parameter", region, Name=name, WithDecryption=decrypt)["Parameter"]
    return {
        "id": name,
        "arn": found.get("ARN") or f"arn:aws:ssm:{region}:{account.id}:parameter{name}",
        "insecureValue": found["Value"] if found["Type"] != "SecureString" else "",
        "name": name,
        "region": region,
        "type": found["Type"],
        "value": found["Value"],
        "version": found["Version"],
        "withDecryption": decrypt,
    }


def get_policy_document(account: Account, args: Properties) -> Properties:
    """iam.getPolicyDocument, without merging other documents."""
    for name in ("overrideJson", "overridePolicyDocuments", "sourceJson", "sourcePolicyDocuments"):
        if args.get(name):
            raise ProviderError(
                f"iam.getPolicyDocument: {name!r} is not supported by this stand-in; write the JSON yourself"
            )
    document: Properties = {"Version": args.get("version") or "2012-10-17"}
    if args.get("policyId"):
        document["Id"] = args["policyId"]
    document["Statement"] = [_statement(item) for item in args.get("statements") or ()]
    pretty, small = json.dumps(document, indent=2), json.dumps(document, separators=(",", ":"))
    return {"id": str(zlib.crc32(pretty.encode())), "json": pretty, "minifiedJson": small, **args}


def get_access_entry(account: Account, args: Properties) -> Properties:
    """eks.getAccessEntry; one that does not exist is an error, as everywhere in the provider."""
    names = chosen(args, "clusterName", "principalArn")
    found = account.call("eks", "describe_access_entry", args.get("region"), **names)["accessEntry"]
    return {
        "id": f"{found['clusterName']}:{found['principalArn']}",
        **chosen(found, "accessEntryArn", "clusterName", "kubernetesGroups", "principalArn", "type"),
        "userName": found.get("username"),
        "createdAt": text(found.get("createdAt")),
        "modifiedAt": text(found.get("modifiedAt")),
        "region": args.get("region") or account.region,
        "tagsAll": account.tags_from(found.get("tags"))[1],
    }


def get_caller_identity(account: Account, args: Properties) -> Properties:
    """getCallerIdentity."""
    who = account.call("sts", "get_caller_identity")
    return {"id": who["Account"], "accountId": who["Account"], "arn": who["Arn"], "userId": who["UserId"]}


def get_partition(account: Account, args: Properties) -> Properties:
    """getPartition: the commercial one only."""
    return {"id": "aws", "partition": "aws", "dnsSuffix": "amazonaws.com", "reverseDnsPrefix": "com.amazonaws"}


def get_region(account: Account, args: Properties) -> Properties:
    """getRegion."""
    region = args.get("region") or args.get("name") or account.region
    endpoint = f"ec2.{region}.amazonaws.com"
    return {"id": region, "name": region, "region": region, "description": region, "endpoint": endpoint}


def get_availability_zones(account: Account, args: Properties) -> Properties:
    """getAvailabilityZones."""
    region = args.get("region") or account.region
    filters = [*_filters(args, {"state": "state"})]
    found = account.call("ec2", "describe_availability_zones", region, Filters=filters)["AvailabilityZones"]
    zones = [
        zone
        for zone in found
        if zone["ZoneName"] not in (args.get("excludeNames") or ())
        and zone.get("ZoneId") not in (args.get("excludeZoneIds") or ())
    ]
    return {
        "id": region,
        "names": [zone["ZoneName"] for zone in zones],
        "zoneIds": [zone.get("ZoneId") or "" for zone in zones],
        "groupNames": sorted({zone.get("GroupName") or region for zone in zones}),
        "region": region,
    }


def _filters(args: Properties, known: dict[str, str]) -> list[Properties]:
    filters = [
        {"Name": name, "Values": [str(args[key]).lower() if isinstance(args[key], bool) else str(args[key])]}
        for key, name in known.items()
        if args.get(key) not in _ZERO_IS_UNSET
    ]
    filters += [{"Name": f"tag:{key}", "Values": [value]} for key, value in (args.get("tags") or {}).items()]
    return filters + [{"Name": item["name"], "Values": item["values"]} for item in args.get("filters") or ()]


def _one(account: Account, what: str, args: Properties, known: dict[str, str]) -> Any:
    operation, key = f"describe_{what.lower()}s", f"{what.capitalize()}s"
    found = account.call("ec2", operation, args.get("region"), Filters=_filters(args, known))[key]
    if len(found) != 1:
        problem = "no matching" if not found else "multiple"
        asked = json.dumps({name: value for name, value in args.items() if value not in _ZERO_IS_UNSET})
        raise ProviderError(f"{problem} EC2 {what} found for {asked}: use criteria that match exactly one")
    return found[0]


def _statement(item: Properties) -> Properties:
    statement: Properties = {"Effect": item.get("effect") or "Allow"}
    if item.get("sid"):
        statement["Sid"] = item["sid"]
    for key in ("actions", "notActions", "resources", "notResources"):
        if item.get(key):
            values = item[key]
            name = (key[:1].upper() + key[1:]).removesuffix("s")
            statement[name] = values[0] if len(values) == 1 else sorted(values, reverse=True)
    for key in ("principals", "notPrincipals"):
        if item.get(key):
            statement[(key[:1].upper() + key[1:]).removesuffix("s")] = _principals(item[key])
    for condition in item.get("conditions") or ():
        values = condition["values"]
        tests = statement.setdefault("Condition", {}).setdefault(condition["test"], {})
        tests[condition["variable"]] = values[0] if len(values) == 1 else values
    return statement


def _principals(items: list[Properties]) -> Any:
    if any(item["type"] == "*" for item in items):
        return "*"
    return {
        item["type"]: item["identifiers"][0] if len(item["identifiers"]) == 1 else item["identifiers"] for item in items
    }


def _listed(value: Any) -> list[Any]:
    return [value] if value else []


FUNCTIONS: dict[str, Function] = {
    "aws:ec2/getSubnet:getSubnet": get_subnet,
    "aws:ec2/getSubnets:getSubnets": get_subnets,
    "aws:ec2/getVpc:getVpc": get_vpc,
    "aws:eks/getAccessEntry:getAccessEntry": get_access_entry,
    "aws:eks/getAddonVersion:getAddonVersion": get_addon_version,
    "aws:eks/getCluster:getCluster": get_cluster,
    "aws:eks/getClusterAuth:getClusterAuth": get_cluster_auth,
    "aws:iam/getPolicyDocument:getPolicyDocument": get_policy_document,
    "aws:index/getAvailabilityZones:getAvailabilityZones": get_availability_zones,
    "aws:index/getCallerIdentity:getCallerIdentity": get_caller_identity,
    "aws:index/getPartition:getPartition": get_partition,
    "aws:index/getRegion:getRegion": get_region,
    "aws:ssm/getParameter:getParameter": get_parameter,
}
