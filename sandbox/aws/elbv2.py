"""Load balancers as far as draining a node is concerned: target groups and the health of targets.

A target is `initial`, then `healthy` after `target_initial_delay`; deregistered it is `draining` for the
group's deregistration delay (300 s by default, as on AWS: set the attribute), then it is gone. An
instance that ended is `unused`. Listeners and rules are only remembered.
"""

from __future__ import annotations

from typing import Any

from sandbox.aws.ec2.network import subnet
from sandbox.aws.errors import AwsError
from sandbox.aws.registry import answers, on_tick
from sandbox.aws.state import Aws, Json, tags_as_list

__all__: list[str] = []

_ATTRIBUTES = {
    "deregistration_delay.timeout_seconds": "300",
    "deregistration_delay.connection_termination.enabled": "false",
    "stickiness.enabled": "false",
    "preserve_client_ip.enabled": "true",
    "proxy_protocol_v2.enabled": "false",
}


def _id(aws: Aws, kind: str) -> str:
    return aws.new_id(kind).rsplit("-", 1)[1][-16:]


def _group(aws: Aws, arn: str) -> Json:
    return aws.find("elbv2.groups", arn, "TargetGroupNotFound", "Target group")


def _balancer(aws: Aws, arn: str) -> Json:
    return aws.find("elbv2.balancers", arn, "LoadBalancerNotFound", "Load balancer")


def _key(target: Json, group: Json) -> str:
    return f"{target['Id']}:{target.get('Port', group.get('Port', 0))}"


@answers("elbv2", "CreateTargetGroup")
def create_target_group(aws: Aws, values: Json) -> Json:
    name, groups = values["Name"], aws.table("elbv2.groups")
    if any(group["TargetGroupName"] == name for group in groups.values()):
        raise AwsError(
            "DuplicateTargetGroupName", f"A target group with the name '{name}' exists, but with different settings"
        )
    arn = aws.arn("elasticloadbalancing", f"targetgroup/{name}/{_id(aws, 'tg')}")
    protocol = values.get("Protocol", "HTTP")
    groups[arn] = {
        "TargetGroupArn": arn, "TargetGroupName": name, "Protocol": protocol, "Port": values.get("Port", 80),
        "VpcId": values.get("VpcId"), "TargetType": values.get("TargetType", "instance"), "IpAddressType": "ipv4",
        "HealthCheckProtocol": values.get("HealthCheckProtocol", protocol), "HealthCheckEnabled": True,
        "HealthCheckPort": values.get("HealthCheckPort", "traffic-port"),
        "HealthCheckPath": values.get("HealthCheckPath", "/"), "HealthCheckIntervalSeconds": 30,
        "HealthCheckTimeoutSeconds": 5, "HealthyThresholdCount": 5, "UnhealthyThresholdCount": 2,
        "attributes": dict(_ATTRIBUTES), "targets": {}, "tags": {t["Key"]: t["Value"] for t in values.get("Tags", [])},
    }  # fmt: skip
    return {"TargetGroups": [_shown(aws, groups[arn])]}


def _shown(aws: Aws, group: Json) -> Json:
    arns = [
        listener["LoadBalancerArn"]
        for listener in aws.table("elbv2.listeners").values()
        if any(action.get("TargetGroupArn") == group["TargetGroupArn"] for action in listener["DefaultActions"])
    ]
    return {**group, "LoadBalancerArns": sorted(set(arns))}


@answers("elbv2", "DescribeTargetGroups")
def describe_target_groups(aws: Aws, values: Json) -> Json:
    groups = aws.table("elbv2.groups")
    found = (
        [_group(aws, arn) for arn in values["TargetGroupArns"]]
        if "TargetGroupArns" in values
        else list(groups.values())
    )
    if "Names" in values:
        found = [group for group in found if group["TargetGroupName"] in values["Names"]]
        if len(found) < len(values["Names"]):
            raise AwsError("TargetGroupNotFound", "One or more target groups not found")
    shown = [_shown(aws, group) for group in found]
    if "LoadBalancerArn" in values:
        shown = [group for group in shown if values["LoadBalancerArn"] in group["LoadBalancerArns"]]
    return {"TargetGroups": shown}


@answers("elbv2", "ModifyTargetGroup")
def modify_target_group(aws: Aws, values: Json) -> Json:
    group = _group(aws, values["TargetGroupArn"])
    group |= {key: value for key, value in values.items() if key.startswith("Health")}
    return {"TargetGroups": [_shown(aws, group)]}


@answers("elbv2", "DeleteTargetGroup")
def delete_target_group(aws: Aws, values: Json) -> Json:
    group = aws.table("elbv2.groups").get(values["TargetGroupArn"])
    if group is not None and _shown(aws, group)["LoadBalancerArns"]:
        raise AwsError(
            "ResourceInUse", f"Target group '{values['TargetGroupArn']}' is currently in use by a listener or a rule"
        )
    aws.table("elbv2.groups").pop(values["TargetGroupArn"], None)
    return {}


def _attributes(record: Json) -> Json:
    return {"Attributes": [{"Key": key, "Value": value} for key, value in sorted(record["attributes"].items())]}


@answers("elbv2", "DescribeTargetGroupAttributes")
def describe_target_group_attributes(aws: Aws, values: Json) -> Json:
    return _attributes(_group(aws, values["TargetGroupArn"]))


@answers("elbv2", "ModifyTargetGroupAttributes")
def modify_target_group_attributes(aws: Aws, values: Json) -> Json:
    group = _group(aws, values["TargetGroupArn"])
    group["attributes"] |= {entry["Key"]: entry["Value"] for entry in values["Attributes"]}
    return _attributes(group)


@answers("elbv2", "RegisterTargets")
def register_targets(aws: Aws, values: Json) -> Json:
    group = _group(aws, values["TargetGroupArn"])
    for target in values["Targets"]:
        if group["TargetType"] == "instance":
            state = aws.table("ec2.instances").get(target["Id"], {}).get("State", {}).get("Name", "missing")
            if state not in ("pending", "running"):
                raise AwsError("InvalidTarget", f"The following targets are not in a running state: '{target['Id']}'")
        entry = {"Id": target["Id"], "Port": target.get("Port", group["Port"])}
        group["targets"][_key(target, group)] = {**entry, "since": aws.now(), "leaves_at": None}
    return {}


@answers("elbv2", "DeregisterTargets")
def deregister_targets(aws: Aws, values: Json) -> Json:
    group = _group(aws, values["TargetGroupArn"])
    delay = float(group["attributes"]["deregistration_delay.timeout_seconds"])
    for target in values["Targets"]:
        for entry in group["targets"].values():
            if (
                entry["Id"] == target["Id"]
                and entry["Port"] == target.get("Port", entry["Port"])
                and entry["leaves_at"] is None
            ):
                entry["leaves_at"] = aws.now() + delay
    return {}


@on_tick
def move_targets(aws: Aws, now: float) -> None:
    """Draining targets leave; members of Auto Scaling groups that are attached come and go by themselves."""
    groups = aws.table("elbv2.groups")
    for group in groups.values():
        for key in [
            key
            for key, entry in group["targets"].items()
            if entry["leaves_at"] is not None and now >= entry["leaves_at"]
        ]:
            del group["targets"][key]
            aws.touch()
    for scaling in aws.table("autoscaling.groups").values():
        for arn in scaling["TargetGroupARNs"]:
            if arn in groups:
                _attend(aws, groups[arn], scaling)


def _attend(aws: Aws, group: Json, scaling: Json) -> None:
    registered = {entry["Id"] for entry in group["targets"].values()}
    for name, member in scaling["members"].items():
        if member["LifecycleState"] == "InService" and name not in registered:
            register_targets(aws, {"TargetGroupArn": group["TargetGroupArn"], "Targets": [{"Id": name}]})
            aws.touch()
        elif member["LifecycleState"] == "Terminating" and name in registered:
            deregister_targets(aws, {"TargetGroupArn": group["TargetGroupArn"], "Targets": [{"Id": name}]})


def _health(aws: Aws, group: Json, entry: Json) -> Json:
    if group["TargetType"] == "instance":
        state = aws.table("ec2.instances").get(entry["Id"], {}).get("State", {}).get("Name", "terminated")
        if state not in ("pending", "running") and entry["leaves_at"] is None:
            return {
                "State": "unused",
                "Reason": "Target.InvalidState",
                "Description": f"Target is in the {state} state",
            }
    if entry["leaves_at"] is not None:
        description = "Target deregistration is in progress"
        return {"State": "draining", "Reason": "Target.DeregistrationInProgress", "Description": description}
    unhealthy = aws.settings.get("unhealthy_targets", [])
    if entry["Id"] in unhealthy:
        return {"State": "unhealthy", "Reason": "Target.FailedHealthChecks", "Description": "Health checks failed"}
    if aws.now() < entry["since"] + aws.settings.seconds("target_initial_delay"):
        return {
            "State": "initial",
            "Reason": "Elb.RegistrationInProgress",
            "Description": "Target registration is in progress",
        }
    return {"State": "healthy"}


@answers("elbv2", "DescribeTargetHealth")
def describe_target_health(aws: Aws, values: Json) -> Json:
    group = _group(aws, values["TargetGroupArn"])
    entries = list(group["targets"].values())
    if "Targets" in values:
        wanted = [target["Id"] for target in values["Targets"]]
        entries = [entry for entry in entries if entry["Id"] in wanted]
        missing = [name for name in wanted if name not in {entry["Id"] for entry in entries}]
        absent = {"State": "unused", "Reason": "Target.NotRegistered", "Description": "Target is not registered"}
    else:
        missing, absent = [], {}
    shown: list[Json] = [
        {
            "Target": {"Id": entry["Id"], "Port": entry["Port"]},
            "HealthCheckPort": str(entry["Port"]),
            "TargetHealth": _health(aws, group, entry),
        }
        for entry in entries
    ]
    return {"TargetHealthDescriptions": shown + [{"Target": {"Id": name}, "TargetHealth": absent} for name in missing]}


# -- load balancers and listeners -------------------------------------------------------------------


@answers("elbv2", "CreateLoadBalancer")
def create_load_balancer(aws: Aws, values: Json) -> Json:
    name, kind = values["Name"], values.get("Type", "application")
    places = values.get("Subnets") or [mapping["SubnetId"] for mapping in values.get("SubnetMappings", [])]
    records: list[Any] = [subnet(aws, place) for place in places]
    if not records:
        raise AwsError("ValidationError", "A load balancer needs subnets")
    short = {"application": "app", "network": "net"}.get(kind, "gwy")
    arn = aws.arn("elasticloadbalancing", f"loadbalancer/{short}/{name}/{_id(aws, 'lb')}")
    record = {
        "LoadBalancerArn": arn, "LoadBalancerName": name, "Type": kind,
        "Scheme": values.get("Scheme", "internet-facing"),
        "DNSName": f"{name}-0.elb.{aws.region}.amazonaws.com", "CanonicalHostedZoneId": "Z0SANDBOX",
        "CreatedTime": aws.now(), "VpcId": records[0]["VpcId"], "State": {"Code": "active"}, "IpAddressType": "ipv4",
        "AvailabilityZones": [{"ZoneName": r["AvailabilityZone"], "SubnetId": r["SubnetId"]} for r in records],
        "SecurityGroups": values.get("SecurityGroups", []), "attributes": {"deletion_protection.enabled": "false"},
        "tags": {tag["Key"]: tag["Value"] for tag in values.get("Tags", [])},
    }  # fmt: skip
    aws.table("elbv2.balancers")[arn] = record
    return {"LoadBalancers": [record]}


@answers("elbv2", "DescribeLoadBalancers")
def describe_load_balancers(aws: Aws, values: Json) -> Json:
    if "LoadBalancerArns" in values:
        return {"LoadBalancers": [_balancer(aws, arn) for arn in values["LoadBalancerArns"]]}
    found = [
        r
        for r in aws.table("elbv2.balancers").values()
        if r["LoadBalancerName"] in values.get("Names", [r["LoadBalancerName"]])
    ]
    if len(found) < len(values.get("Names", [])):
        raise AwsError("LoadBalancerNotFound", f"Load balancers '{values['Names']}' not found")
    return {"LoadBalancers": found}


@answers("elbv2", "DescribeLoadBalancerAttributes")
def describe_load_balancer_attributes(aws: Aws, values: Json) -> Json:
    return _attributes(_balancer(aws, values["LoadBalancerArn"]))


@answers("elbv2", "ModifyLoadBalancerAttributes")
def modify_load_balancer_attributes(aws: Aws, values: Json) -> Json:
    record = _balancer(aws, values["LoadBalancerArn"])
    record["attributes"] |= {entry["Key"]: entry["Value"] for entry in values["Attributes"]}
    return _attributes(record)


@answers("elbv2", "DeleteLoadBalancer")
def delete_load_balancer(aws: Aws, values: Json) -> Json:
    arn = values["LoadBalancerArn"]
    aws.table("elbv2.balancers").pop(arn, None)
    listeners = aws.table("elbv2.listeners")
    for key in [key for key, listener in listeners.items() if listener["LoadBalancerArn"] == arn]:
        del listeners[key]
    return {}


@answers("elbv2", "CreateListener")
def create_listener(aws: Aws, values: Json) -> Json:
    balancer = _balancer(aws, values["LoadBalancerArn"])
    arn = balancer["LoadBalancerArn"].replace(":loadbalancer/", ":listener/") + f"/{_id(aws, 'ls')}"
    keys = ("LoadBalancerArn", "Port", "Protocol", "DefaultActions", "SslPolicy", "Certificates")
    record = {"ListenerArn": arn, **{key: values[key] for key in keys if key in values}}
    aws.table("elbv2.listeners")[arn] = record
    return {"Listeners": [record]}


@answers("elbv2", "DescribeListeners")
def describe_listeners(aws: Aws, values: Json) -> Json:
    found = list(aws.table("elbv2.listeners").values())
    if "LoadBalancerArn" in values:
        found = [listener for listener in found if listener["LoadBalancerArn"] == values["LoadBalancerArn"]]
    if "ListenerArns" in values:
        found = [listener for listener in found if listener["ListenerArn"] in values["ListenerArns"]]
    return {"Listeners": found}


@answers("elbv2", "DescribeRules")
def describe_rules(_aws: Aws, _values: Json) -> Json:
    return {"Rules": []}


@answers("elbv2", "DeleteListener")
def delete_listener(aws: Aws, values: Json) -> Json:
    aws.table("elbv2.listeners").pop(values["ListenerArn"], None)
    return {}


def _tagged(aws: Aws, arn: str) -> dict[str, str]:
    for table in ("elbv2.groups", "elbv2.balancers"):
        if arn in aws.table(table):
            tags: dict[str, str] = aws.table(table)[arn]["tags"]
            return tags
    raise AwsError("TargetGroupNotFound", f"One or more resources not found: {arn}")


@answers("elbv2", "DescribeTags")
def describe_tags(aws: Aws, values: Json) -> Json:
    return {
        "TagDescriptions": [
            {"ResourceArn": arn, "Tags": tags_as_list(_tagged(aws, arn))} for arn in values["ResourceArns"]
        ]
    }


@answers("elbv2", "AddTags")
def add_tags(aws: Aws, values: Json) -> Json:
    for arn in values["ResourceArns"]:
        _tagged(aws, arn).update({tag["Key"]: tag["Value"] for tag in values["Tags"]})
    return {}


@answers("elbv2", "RemoveTags")
def remove_tags(aws: Aws, values: Json) -> Json:
    for arn in values["ResourceArns"]:
        for key in values["TagKeys"]:
            _tagged(aws, arn).pop(key, None)
    return {}
