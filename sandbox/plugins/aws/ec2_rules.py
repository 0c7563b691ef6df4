"""Rules of security groups, in the older form (one permission) and the newer one (one source)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, ClassVar

from sandbox.plugins.aws.account import AwsError, chosen, tag_list
from sandbox.plugins.aws.ec2_template import Ec2Tagged
from sandbox.plugins.aws.resource import AwsResource
from sandbox.plugins.aws.schema import Schema
from sandbox.plugins.operation import Operation, ProviderError, State
from sandbox.plugins.values import Properties

GROUP_GONE = ["InvalidGroup.NotFound", "InvalidGroupId.Malformed", "InvalidSecurityGroupID.NotFound"]
_RULE_GONE = ["InvalidSecurityGroupRuleId.NotFound", "InvalidPermission.NotFound", *GROUP_GONE]


class SecurityGroupRule(AwsResource):
    """A rule of the older form: one permission, perhaps of many sources. Its id is a hash of what it says."""

    label = "Security Group Rule"
    schema = Schema(
        "aws:ec2/securityGroupRule:SecurityGroupRule",
        "fromPort*! protocol*! securityGroupId*! toPort*! type*! cidrBlocks! description ipv6CidrBlocks! "
        "prefixListIds! self! sourceSecurityGroupId!?",
        "securityGroupRuleId",
        defaults={"self": False},
        tagged=False,
    )

    def called(self, inputs: Properties) -> str:
        """Its group."""
        return str(inputs["securityGroupId"])

    def make(self, op: Operation, inputs: Properties, tags: Mapping[str, str]) -> str:
        """AuthorizeSecurityGroupIngress or Egress."""
        group, permission = inputs["securityGroupId"], _one_permission(inputs)
        try:
            self.account.call(
                "ec2", _verb("authorize", inputs), inputs.get("region"), GroupId=group, IpPermissions=[permission]
            )
        except AwsError as error:
            if error.code != "InvalidPermission.Duplicate":
                raise
            text = f"[WARN] A duplicate Security Group rule was found on ({group}). {error}"
            raise AwsError(text, error.code) from error
        return f"sgrule-{zlib.crc32(repr((group, inputs['type'], permission)).encode())}"

    def create(self, op: Operation, inputs: Properties) -> tuple[str, Properties]:
        """AWS has no id for it: the state is what was asked for."""
        try:
            return self.make(op, inputs, {}), self._state(inputs)
        except AwsError as error:
            raise ProviderError(f"creating {self.label} ({self.called(inputs)}): {error}") from error

    def read(self, op: Operation, id: str, state: State | None) -> State | None:
        """Looks for a rule that says the same; an import id is `sg_type_protocol_from_to_source[_source…]`."""
        known = state.outputs if state else _parse_rule_id(id)
        found = self.account.find(GROUP_GONE, lambda: self._rules(known))
        if found is None or not found:
            return None
        outputs = self._state(known) | {"description": found[0].get("Description") or ""}
        inputs = state.inputs if state else self.schema.inputs_of(outputs)
        if inputs.get("description"):
            inputs = {**inputs, "description": outputs["description"]}
        return State(id, inputs, outputs)

    def update(self, op: Operation, state: State, news: Properties) -> Properties:
        """Only the description can change."""
        self.account.call(
            "ec2",
            f"update_security_group_rule_descriptions_{news['type']}",
            state.outputs.get("region"),
            GroupId=news["securityGroupId"],
            IpPermissions=[_one_permission(news)],
        )
        return self._state(news)

    def remove(self, op: Operation, state: State) -> None:
        """RevokeSecurityGroupIngress or Egress."""
        known, region = state.outputs, state.outputs.get("region")
        rule = _one_permission({**known, "description": None})
        group = known["securityGroupId"]
        revoke = _verb("revoke", known)
        self.account.find(
            _RULE_GONE, lambda: self.account.call("ec2", revoke, region, GroupId=group, IpPermissions=[rule])
        )

    def _rules(self, known: Properties) -> list[Any]:
        """The parts of the rule as AWS lists them, one for each source; [] unless all are there."""
        filters = [{"Name": "group-id", "Values": [known["securityGroupId"]]}]
        listed = self.account.all(
            "ec2", "describe_security_group_rules", "SecurityGroupRules", known.get("region"), Filters=filters
        )
        wanted = set(_sources(known))
        same = [rule for rule in listed if _matches(rule, known) and _source(rule) in wanted]
        return same if {_source(rule) for rule in same} == wanted else []

    def _state(self, known: Properties) -> Properties:
        outputs = {key: known[key] for key in self.schema.properties if known.get(key) is not None}
        outputs.setdefault("region", self.account.region)
        rules = self._rules(known)
        outputs["securityGroupRuleId"] = rules[0]["SecurityGroupRuleId"] if len(rules) == 1 else ""
        return outputs


class _SingleRule(Ec2Tagged):
    """A rule of the newer form: one source, an id `sgr-…` of its own."""

    way: ClassVar[str]
    label = "VPC Security Group Rule"

    def called(self, inputs: Properties) -> str:
        """Its group."""
        return str(inputs["securityGroupId"])

    def make(self, op: Operation, inputs: Properties, tags: Mapping[str, str]) -> str:
        """AuthorizeSecurityGroupIngress or Egress."""
        answer = self.account.call(
            "ec2",
            f"authorize_security_group_{self.way}",
            inputs.get("region"),
            GroupId=inputs["securityGroupId"],
            IpPermissions=[_one_permission(_as_older(inputs))],
            TagSpecifications=[{"ResourceType": "security-group-rule", "Tags": tag_list(tags)}] if tags else None,
        )
        return str(answer["SecurityGroupRules"][0]["SecurityGroupRuleId"])

    def look(self, id: str, region: str | None) -> Properties | None:
        """DescribeSecurityGroupRules."""
        answer = self.account.find(
            _RULE_GONE,
            lambda: self.account.call("ec2", "describe_security_group_rules", region, SecurityGroupRuleIds=[id]),
        )
        if not answer or not answer["SecurityGroupRules"]:
            return None
        rule = answer["SecurityGroupRules"][0]
        owner = rule.get("GroupOwnerId") or self.account.id
        every = rule["IpProtocol"] == "-1"
        return {
            "arn": f"arn:aws:ec2:{region or self.account.region}:{owner}:security-group-rule/{id}",
            "securityGroupRuleId": id,
            "securityGroupId": rule["GroupId"],
            "ipProtocol": rule["IpProtocol"],
            "fromPort": None if every else rule.get("FromPort"),
            "toPort": None if every else rule.get("ToPort"),
            "cidrIpv4": rule.get("CidrIpv4"),
            "cidrIpv6": rule.get("CidrIpv6"),
            "prefixListId": rule.get("PrefixListId"),
            "referencedSecurityGroupId": (rule.get("ReferencedGroupInfo") or {}).get("GroupId"),
            "description": rule.get("Description"),
            "tags": rule.get("Tags"),
        }

    def change(self, op: Operation, state: State, news: Properties, changed: set[str]) -> None:
        """ModifySecurityGroupRules."""
        given = chosen(news, "cidrIpv4", "cidrIpv6", "description", "ipProtocol", "fromPort", "toPort")
        rule = {key[:1].upper() + key[1:]: value for key, value in given.items()}
        for name, key in (("prefixListId", "PrefixListId"), ("referencedSecurityGroupId", "ReferencedGroupId")):
            if news.get(name):
                rule[key] = news[name]
        self.account.call(
            "ec2",
            "modify_security_group_rules",
            state.outputs.get("region"),
            GroupId=news["securityGroupId"],
            SecurityGroupRules=[{"SecurityGroupRuleId": state.id, "SecurityGroupRule": rule}],
        )

    def remove(self, op: Operation, state: State) -> None:
        """RevokeSecurityGroupIngress or Egress."""
        group, region = state.outputs["securityGroupId"], state.outputs.get("region")
        revoke = f"revoke_security_group_{self.way}"
        self.account.find(
            _RULE_GONE,
            lambda: self.account.call("ec2", revoke, region, GroupId=group, SecurityGroupRuleIds=[state.id]),
        )


_SINGLE = (
    "ipProtocol* securityGroupId*! cidrIpv4 cidrIpv6 description fromPort prefixListId referencedSecurityGroupId toPort"
)


class SecurityGroupIngressRule(_SingleRule):
    """One ingress rule."""

    way = "ingress"
    schema = Schema("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", _SINGLE, "arn securityGroupRuleId")


class SecurityGroupEgressRule(_SingleRule):
    """One egress rule."""

    way = "egress"
    schema = Schema("aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule", _SINGLE, "arn securityGroupRuleId")


def _verb(verb: str, rule: Properties) -> str:
    return f"{verb}_security_group_{rule['type']}"


def _one_permission(rule: Properties) -> Properties:
    """IpPermission of a rule resource."""
    group = rule["securityGroupId"] if rule.get("self") else rule.get("sourceSecurityGroupId")
    return permission({**rule, "self": None, "securityGroups": [group] if group else []}, "")


def permission(rule: Properties, own: str) -> Properties:
    """IpPermission of a rule in the provider's words; `own` is the group that `self` means."""
    note = {"Description": rule["description"]} if rule.get("description") else {}
    protocol = {"all": "-1"}.get(str(rule["protocol"]), str(rule["protocol"]))
    permission: Properties = {"IpProtocol": protocol}
    if protocol != "-1":
        permission |= {"FromPort": rule["fromPort"], "ToPort": rule["toPort"]}
    groups = [*(rule.get("securityGroups") or ()), *([own] if rule.get("self") else [])]
    for key, field, values in (
        ("IpRanges", "CidrIp", rule.get("cidrBlocks")),
        ("Ipv6Ranges", "CidrIpv6", rule.get("ipv6CidrBlocks")),
        ("PrefixListIds", "PrefixListId", rule.get("prefixListIds")),
        ("UserIdGroupPairs", "GroupId", groups),
    ):
        if values:
            permission[key] = [{field: value, **note} for value in values]
    return permission


def stated(permission: Properties, own: str) -> Properties:
    """A rule in the provider's words, of an IpPermission."""
    groups = [pair["GroupId"] for pair in permission.get("UserIdGroupPairs") or ()]
    sources = [
        item
        for key in ("IpRanges", "Ipv6Ranges", "PrefixListIds", "UserIdGroupPairs")
        for item in permission.get(key) or ()
    ]
    return {
        "protocol": permission["IpProtocol"],
        "fromPort": permission.get("FromPort", 0),
        "toPort": permission.get("ToPort", 0),
        "cidrBlocks": [item["CidrIp"] for item in permission.get("IpRanges") or ()],
        "ipv6CidrBlocks": [item["CidrIpv6"] for item in permission.get("Ipv6Ranges") or ()],
        "prefixListIds": [item["PrefixListId"] for item in permission.get("PrefixListIds") or ()],
        "securityGroups": [group for group in groups if group != own],
        "self": own in groups,
        "description": next((item["Description"] for item in sources if item.get("Description")), ""),
    }


def _as_older(inputs: Properties) -> Properties:
    """A rule of the newer form in the words of the older one."""
    return {
        "protocol": inputs["ipProtocol"],
        "fromPort": inputs.get("fromPort"),
        "toPort": inputs.get("toPort"),
        "securityGroupId": inputs["securityGroupId"],
        "description": inputs.get("description"),
        "cidrBlocks": [inputs["cidrIpv4"]] if inputs.get("cidrIpv4") else [],
        "ipv6CidrBlocks": [inputs["cidrIpv6"]] if inputs.get("cidrIpv6") else [],
        "prefixListIds": [inputs["prefixListId"]] if inputs.get("prefixListId") else [],
        "sourceSecurityGroupId": inputs.get("referencedSecurityGroupId"),
    }


def _sources(known: Properties) -> list[str]:
    group = known["securityGroupId"] if known.get("self") else known.get("sourceSecurityGroupId")
    lists = (known.get(key) or () for key in ("cidrBlocks", "ipv6CidrBlocks", "prefixListIds"))
    return [*(str(item) for values in lists for item in values), *([str(group)] if group else [])]


def _source(rule: Properties) -> str:
    plain = rule.get("CidrIpv4") or rule.get("CidrIpv6") or rule.get("PrefixListId")
    return str(plain or (rule.get("ReferencedGroupInfo") or {}).get("GroupId"))


def _matches(rule: Properties, known: Properties) -> bool:
    protocol = {"all": "-1"}.get(str(known["protocol"]), str(known["protocol"]))
    if bool(rule["IsEgress"]) != (known["type"] == "egress") or str(rule["IpProtocol"]) != protocol:
        return False
    return protocol == "-1" or (rule.get("FromPort"), rule.get("ToPort")) == (
        int(known["fromPort"]),
        int(known["toPort"]),
    )


def _parse_rule_id(id: str) -> Properties:
    parts = id.split("_")
    if len(parts) < 6 or not parts[0].startswith("sg-"):
        raise ProviderError(
            f"unexpected format for import id ({id}), expected SG-ID_type_protocol_from_to_source[_source]*"
        )
    group, way, protocol, start, end, *sources = parts
    known: Properties = {"securityGroupId": group, "type": way, "protocol": protocol}
    known |= {"fromPort": int(start), "toPort": int(end), "self": "self" in sources}
    for source in sources:
        if source.startswith("sg-"):
            known["sourceSecurityGroupId"] = source
        elif source != "self":
            key = "prefixListIds" if source.startswith("pl-") else "ipv6CidrBlocks" if ":" in source else "cidrBlocks"
            known.setdefault(key, []).append(source)
    return known
