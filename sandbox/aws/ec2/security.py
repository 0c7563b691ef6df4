"""Security groups. Rules are stored one source each, as EC2 numbers them, and shown grouped."""

from __future__ import annotations

from typing import Any

from sandbox.aws.ec2.core import describe, select, set_tags, specified_tags, with_tags
from sandbox.aws.errors import AwsError
from sandbox.aws.registry import answers
from sandbox.aws.state import ACCOUNT, Aws, Json

__all__ = ["allow", "make_group"]

# list in IpPermissions -> (its key, key of the rule)
_SOURCES = {
    "IpRanges": ("CidrIp", "CidrIpv4"),
    "Ipv6Ranges": ("CidrIpv6", "CidrIpv6"),
    "PrefixListIds": ("PrefixListId", "PrefixListId"),
    "UserIdGroupPairs": ("GroupId", "ReferencedGroup"),
}


def _group(aws: Aws, name: str) -> Json:
    return aws.find("ec2.groups", name, "InvalidGroup.NotFound", "The security group")


def make_group(aws: Aws, vpc: str, name: str, description: str, tags: dict[str, str]) -> Json:
    """A group that lets everything out and nothing in, as EC2 makes it."""
    if any(other["VpcId"] == vpc and other["GroupName"] == name for other in aws.table("ec2.groups").values()):
        raise AwsError("InvalidGroup.Duplicate", f"The security group '{name}' already exists for VPC '{vpc}'")
    identifier = aws.new_id("sg")
    record = {
        "GroupId": identifier, "GroupName": name, "Description": description, "VpcId": vpc, "OwnerId": ACCOUNT,
        "SecurityGroupArn": aws.arn("ec2", f"security-group/{identifier}"), "rules": [],
    }  # fmt: skip
    aws.table("ec2.groups")[identifier] = record
    set_tags(aws, identifier, tags)
    everything = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    allow(aws, identifier, [everything], egress=True)
    return record


def _rules(permissions: list[Json], *, egress: bool) -> list[Json]:
    found = []
    for permission in permissions:
        protocol = str(permission.get("IpProtocol", "-1"))
        ports = (-1, -1) if protocol == "-1" else (permission.get("FromPort", -1), permission.get("ToPort", -1))
        for source, (key, target) in _SOURCES.items():
            for entry in permission.get(source, []):
                value: Any = {"GroupId": entry[key], "UserId": ACCOUNT} if source == "UserIdGroupPairs" else entry[key]
                rule = {
                    "IsEgress": egress,
                    "IpProtocol": protocol,
                    "FromPort": ports[0],
                    "ToPort": ports[1],
                    target: value,
                }
                found.append(rule | ({"Description": entry["Description"]} if entry.get("Description") else {}))
    return found


_IDENTITY = ("IsEgress", "IpProtocol", "FromPort", "ToPort", "CidrIpv4", "CidrIpv6", "PrefixListId", "ReferencedGroup")


def _same(one: Json, other: Json) -> bool:
    return all(one.get(key) == other.get(key) for key in _IDENTITY)


def allow(aws: Aws, name: str, permissions: list[Json], *, egress: bool) -> list[Json]:
    """Add rules; InvalidPermission.Duplicate for one that is there."""
    group, added = _group(aws, name), _rules(permissions, egress=egress)
    for rule in added:
        if any(_same(rule, old) for old in group["rules"]):
            raise AwsError("InvalidPermission.Duplicate", f"the specified rule already exists in {name}: {rule}")
        rule |= {"SecurityGroupRuleId": aws.new_id("sgr"), "GroupId": name, "GroupOwnerId": ACCOUNT}
        group["rules"].append(rule)
    return added


def _shown(group: Json) -> Json:
    shown = {**group, "IpPermissions": [], "IpPermissionsEgress": []}
    for rule in group["rules"]:
        entries = shown["IpPermissionsEgress" if rule["IsEgress"] else "IpPermissions"]
        key = {"IpProtocol": rule["IpProtocol"]}
        if rule["IpProtocol"] != "-1":
            key |= {"FromPort": rule["FromPort"], "ToPort": rule["ToPort"]}
        entry = next(
            (e for e in entries if all(e.get(k) == key.get(k) for k in ("IpProtocol", "FromPort", "ToPort"))), None
        )
        if entry is None:
            entry = {**key, **{source: [] for source in _SOURCES}}
            entries.append(entry)
        for source, (name, target) in _SOURCES.items():
            if target in rule:
                value = rule[target] if source == "UserIdGroupPairs" else {name: rule[target]}
                entry[source].append({**value, **{k: rule[k] for k in ("Description",) if k in rule}})
    return shown


@answers("ec2", "CreateSecurityGroup")
def create_security_group(aws: Aws, values: Json) -> Json:
    vpc = values.get("VpcId")
    if vpc is None:
        raise AwsError("MissingParameter", "The request must contain the parameter VpcId: there is no default VPC")
    aws.find("ec2.vpcs", vpc, "InvalidVpcID.NotFound", "The vpc ID")
    tags = specified_tags(values, "security-group")
    group = make_group(aws, vpc, values["GroupName"], values["Description"], tags)
    return with_tags(aws, group["GroupId"], {key: group[key] for key in ("GroupId", "SecurityGroupArn")})


@answers("ec2", "DescribeSecurityGroups")
def describe_security_groups(aws: Aws, values: Json) -> Json:
    return describe(
        aws,
        values,
        "ec2.groups",
        operation="DescribeSecurityGroups",
        key="SecurityGroups",
        ids="GroupIds",
        missing="InvalidGroup.NotFound",
        view=_shown,
    )


@answers("ec2", "DescribeSecurityGroupRules")
def describe_security_group_rules(aws: Aws, values: Json) -> Json:
    rules = [
        with_tags(aws, rule["SecurityGroupRuleId"], {**rule, "ReferencedGroupInfo": rule.get("ReferencedGroup")})
        for group in aws.table("ec2.groups").values()
        for rule in group["rules"]
        if rule["SecurityGroupRuleId"] in values.get("SecurityGroupRuleIds", [rule["SecurityGroupRuleId"]])
    ]
    wanted = set(values.get("SecurityGroupRuleIds", []))
    if missing := wanted - {rule["SecurityGroupRuleId"] for rule in rules}:
        raise AwsError(
            "InvalidSecurityGroupRuleId.NotFound", f"The security group rule ID '{min(missing)}' does not exist"
        )
    key = "SecurityGroupRules"
    return {key: select("DescribeSecurityGroupRules", key, rules, values.get("Filters", []))}


def _permissions(values: Json) -> list[Json]:
    if "IpPermissions" in values:
        found: list[Json] = values["IpPermissions"]
        return found
    single = {key: values[key] for key in ("IpProtocol", "FromPort", "ToPort") if key in values}
    return [single | ({"IpRanges": [{"CidrIp": values["CidrIp"]}]} if "CidrIp" in values else {})]


@answers("ec2", "AuthorizeSecurityGroupIngress")
def authorize_ingress(aws: Aws, values: Json) -> Json:
    return _authorize(aws, values, egress=False)


@answers("ec2", "AuthorizeSecurityGroupEgress")
def authorize_egress(aws: Aws, values: Json) -> Json:
    return _authorize(aws, values, egress=True)


def _authorize(aws: Aws, values: Json, *, egress: bool) -> Json:
    added = allow(aws, values["GroupId"], _permissions(values), egress=egress)
    for rule in added:
        set_tags(aws, rule["SecurityGroupRuleId"], specified_tags(values, "security-group-rule"))
    shown = [
        with_tags(aws, rule["SecurityGroupRuleId"], {**rule, "ReferencedGroupInfo": rule.get("ReferencedGroup")})
        for rule in added
    ]
    return {"Return": True, "SecurityGroupRules": shown}


@answers("ec2", "RevokeSecurityGroupIngress")
def revoke_ingress(aws: Aws, values: Json) -> Json:
    return _revoke(aws, values, egress=False)


@answers("ec2", "RevokeSecurityGroupEgress")
def revoke_egress(aws: Aws, values: Json) -> Json:
    return _revoke(aws, values, egress=True)


def _revoke(aws: Aws, values: Json, *, egress: bool) -> Json:
    group = _group(aws, values["GroupId"])
    if "SecurityGroupRuleIds" in values:
        wanted = set(values["SecurityGroupRuleIds"])
        gone = [rule for rule in group["rules"] if rule["SecurityGroupRuleId"] in wanted]
        complete = len(gone) == len(wanted)
    else:
        asked = _rules(_permissions(values), egress=egress)
        gone = [rule for rule in group["rules"] if any(_same(rule, other) for other in asked)]
        complete = len(gone) >= len(asked)
    if not complete:
        raise AwsError("InvalidPermission.NotFound", f"The specified rule does not exist in {values['GroupId']}")
    group["rules"] = [rule for rule in group["rules"] if rule not in gone]
    return {"Return": True}


@answers("ec2", "ModifySecurityGroupRules")
def modify_security_group_rules(aws: Aws, values: Json) -> Json:
    rules = {rule["SecurityGroupRuleId"]: rule for rule in _group(aws, values["GroupId"])["rules"]}
    for update in values["SecurityGroupRules"]:
        rule, wanted = rules.get(update["SecurityGroupRuleId"]), dict(update["SecurityGroupRule"])
        if rule is None:
            raise AwsError("InvalidSecurityGroupRuleId.NotFound", f"no rule {update['SecurityGroupRuleId']}")
        if "ReferencedGroupId" in wanted:
            wanted["ReferencedGroup"] = {"GroupId": wanted.pop("ReferencedGroupId"), "UserId": ACCOUNT}
        for key in ("CidrIpv4", "CidrIpv6", "PrefixListId", "ReferencedGroup", "Description"):
            rule.pop(key, None)
        rule.update(wanted)
    return {"Return": True}


@answers("ec2", "DeleteSecurityGroup")
def delete_security_group(aws: Aws, values: Json) -> Json:
    name = values["GroupId"]
    group = _group(aws, name)
    if group["GroupName"] == "default":
        raise AwsError("CannotDelete", f"the specified group: '{name}' name: 'default' cannot be deleted by a user")
    users = [
        interface["NetworkInterfaceId"]
        for interface in aws.table("ec2.interfaces").values()
        if any(entry["GroupId"] == name for entry in interface["Groups"])
    ]
    users += [
        other["GroupId"]
        for other in aws.table("ec2.groups").values()
        if other["GroupId"] != name
        and any(rule.get("ReferencedGroup", {}).get("GroupId") == name for rule in other["rules"])
    ]
    if users:
        raise AwsError("DependencyViolation", f"resource {name} has a dependent object ({', '.join(users[:3])})")
    del aws.table("ec2.groups")[name]
    return {"Return": True, "GroupId": name}
