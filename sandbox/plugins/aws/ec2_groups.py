"""Security groups, and single tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.plugins.aws.account import AwsError, tag_list
from sandbox.plugins.aws.ec2_rules import GROUP_GONE, permission, stated
from sandbox.plugins.aws.ec2_template import Ec2Tagged
from sandbox.plugins.aws.resource import AwsResource
from sandbox.plugins.aws.schema import Schema
from sandbox.plugins.operation import Operation, ProviderError, State
from sandbox.plugins.values import Properties

_SIDES = "cidrBlocks ipv6CidrBlocks prefixListIds securityGroups self"


class SecurityGroup(Ec2Tagged):
    """A security group. Its id is `sg-…`. AWS's default egress rule is taken away, as the real provider does."""

    label = "Security Group"
    schema = Schema(
        "aws:ec2/securityGroup:SecurityGroup",
        "description! name!? namePrefix!?^ vpcId!? revokeRulesOnDelete^ ingress?~ egress?~ "
        + " ".join(f"{way}.{side}~" for way in ("ingress", "egress") for side in _SIDES.split() if side != "self"),
        "arn ownerId",
        defaults={"description": "Managed by Pulumi", "revokeRulesOnDelete": False},
        auto_name="name",
    )

    def make(self, op: Operation, inputs: Properties, tags: Mapping[str, str]) -> str:
        """CreateSecurityGroup, then its own rules."""
        region = inputs.get("region")
        id = self.account.call(
            "ec2",
            "create_security_group",
            region,
            GroupName=self.name_for(inputs),
            Description=inputs["description"],
            VpcId=inputs.get("vpcId"),
            TagSpecifications=[{"ResourceType": "security-group", "Tags": tag_list(tags)}] if tags else None,
        )["GroupId"]
        default = self._describe(id, region).get("IpPermissionsEgress")
        if default:
            self.account.call("ec2", "revoke_security_group_egress", region, GroupId=id, IpPermissions=default)
        for way in ("ingress", "egress"):
            self._set_rules(id, region, way, [], inputs.get(way) or [])
        return str(id)

    def look(self, id: str, region: str | None) -> Properties | None:
        """DescribeSecurityGroups."""
        found = self.account.find(GROUP_GONE, lambda: self._describe(id, region))
        if found is None:
            return None
        arn = f"arn:aws:ec2:{region or self.account.region}:{found['OwnerId']}:security-group/{id}"
        return {
            "arn": arn,
            "ownerId": found["OwnerId"],
            "name": found["GroupName"],
            "description": found["Description"],
            "vpcId": found.get("VpcId"),
            "ingress": [stated(item, id) for item in found.get("IpPermissions") or ()],
            "egress": [stated(item, id) for item in found.get("IpPermissionsEgress") or ()],
            "tags": found.get("Tags"),
        }

    def change(self, op: Operation, state: State, news: Properties, changed: set[str]) -> None:
        """Its own rules: what is not wanted any more goes, what is new comes."""
        for way in {"ingress", "egress"} & changed:
            self._set_rules(state.id, state.outputs.get("region"), way, state.outputs.get(way) or [], news[way])

    def remove(self, op: Operation, state: State) -> None:
        """DeleteSecurityGroup; waits while something still uses it (DependencyViolation)."""
        region, last = state.outputs.get("region"), ""
        if state.outputs.get("revokeRulesOnDelete"):
            found = self.account.find(GROUP_GONE, lambda: self._describe(state.id, region)) or {}
            for way, key in (("ingress", "IpPermissions"), ("egress", "IpPermissionsEgress")):
                if found.get(key):
                    revoke, rules = f"revoke_security_group_{way}", found[key]
                    self.account.call("ec2", revoke, region, GroupId=state.id, IpPermissions=rules)

        def gone() -> bool:
            nonlocal last
            try:
                self.account.call("ec2", "delete_security_group", region, GroupId=state.id)
            except AwsError as error:
                if error.code == "DependencyViolation":
                    last = str(error)
                    return False
                if error.code not in GROUP_GONE:
                    raise
            return True

        try:
            self.wait(op, "deletion", gone)
        except ProviderError as error:
            raise ProviderError(f"{error}: {last}" if last else str(error)) from error

    def _describe(self, id: str, region: str | None) -> Any:
        groups = self.account.call("ec2", "describe_security_groups", region, GroupIds=[id])["SecurityGroups"]
        if not groups:
            raise AwsError(f"The security group '{id}' does not exist", "InvalidGroup.NotFound")
        return groups[0]

    def _set_rules(self, id: str, region: str | None, way: str, old: list[Properties], new: list[Properties]) -> None:
        before = [permission(rule, id) for rule in old]
        after = [permission(rule, id) for rule in new]
        for verb, rules in (
            ("revoke", [rule for rule in before if rule not in after]),
            ("authorize", [rule for rule in after if rule not in before]),
        ):
            if rules:
                self.account.call("ec2", f"{verb}_security_group_{way}", region, GroupId=id, IpPermissions=rules)


class Tag(AwsResource):
    """One tag of something in EC2. Its id is `resource,key`."""

    label = "EC2 Tag"
    schema = Schema("aws:ec2/tag:Tag", "key*! resourceId*! value*", tagged=False)

    def called(self, inputs: Properties) -> str:
        """Its id."""
        return f"{inputs['resourceId']},{inputs['key']}"

    def make(self, op: Operation, inputs: Properties, tags: Mapping[str, str]) -> str:
        """CreateTags."""
        self._set(inputs, inputs.get("region"))
        return self.called(inputs)

    def look(self, id: str, region: str | None) -> Properties | None:
        """DescribeTags."""
        resource, _, key = id.partition(",")
        filters = [{"Name": "resource-id", "Values": [resource]}, {"Name": "key", "Values": [key]}]
        for found in self.account.call("ec2", "describe_tags", region, Filters=filters)["Tags"]:
            return {"resourceId": resource, "key": key, "value": found["Value"]}
        return None

    def change(self, op: Operation, state: State, news: Properties, changed: set[str]) -> None:
        """CreateTags replaces the value."""
        self._set(news, state.outputs.get("region"))

    def remove(self, op: Operation, state: State) -> None:
        """DeleteTags."""
        resource, _, key = state.id.partition(",")
        self.account.call("ec2", "delete_tags", state.outputs.get("region"), Resources=[resource], Tags=[{"Key": key}])

    def _set(self, wanted: Properties, region: str | None) -> None:
        tags = [{"Key": wanted["key"], "Value": wanted["value"]}]
        self.account.call("ec2", "create_tags", region, Resources=[wanted["resourceId"]], Tags=tags)
