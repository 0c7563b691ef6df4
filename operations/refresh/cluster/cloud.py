"""The AWS side of a refresh: managed node groups through EKS, instances through Auto Scaling, load balancers.

Everything it may ask is listed in `CALLS`; the IAM policy is made from that list.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from operations.access.connection import Aws
from operations.refresh.model.actions import Outcome, Resize
from operations.refresh.model.values import CloudView, Group, Instance, Sizes, Target
from reading.failure import USAGE, Failure

CALLS: Final = (
    ("eks", "DescribeNodegroup", "read"),
    ("eks", "UpdateNodegroupConfig", "write"),
    ("autoscaling", "DescribeAutoScalingGroups", "read"),
    ("autoscaling", "DescribeAutoScalingInstances", "read"),
    ("autoscaling", "DescribeScalingActivities", "read"),
    ("autoscaling", "TerminateInstanceInAutoScalingGroup", "write"),
    ("autoscaling", "UpdateAutoScalingGroup", "write"),
    ("autoscaling", "SuspendProcesses", "write"),
    ("autoscaling", "ResumeProcesses", "write"),
    ("ec2", "DescribeInstances", "read"),
    ("elasticloadbalancing", "DescribeTargetGroups", "read"),
    ("elasticloadbalancing", "DescribeTargetGroupAttributes", "read"),
    ("elasticloadbalancing", "DescribeTargetHealth", "read"),
    ("elasticloadbalancing", "DeregisterTargets", "write"),
)
"""Service, action, kind. Not `ec2:TerminateInstances`: only instances of a node group can end."""

DEFAULT_DELAY: Final = 300.0
"""Deregistration delay of a target group that says nothing, seconds (Elastic Load Balancing's default)."""
_AT_ONCE: Final = 100
_DENIED: Final = ("AccessDenied", "UnauthorizedOperation")


@dataclass(frozen=True)
class GroupRef:
    """A node group by name."""

    name: str
    scaling_group: str = ""
    """Name of the Auto Scaling group of a self-managed group; empty: EKS manages it."""

    @property
    def managed(self) -> bool:
        return not self.scaling_group


class UnknownGroupError(Failure):
    """A node group that is named does not exist."""

    exit_code = USAGE


class Cloud:
    """Node groups of one cluster.

    Args:
        aws: clients; nothing it remembers is used.
        cluster: EKS name.
        groups: every group that is looked at.
        vpc: target groups of other VPCs are left out.
    """

    def __init__(self, aws: Aws, cluster: str, groups: Sequence[GroupRef], vpc: str) -> None:
        self.cluster, self.refs, self.vpc = cluster, {ref.name: ref for ref in groups}, vpc
        self._eks, self._scaling = aws.client("eks"), aws.client("autoscaling")
        self._ec2, self._elb = aws.client("ec2"), aws.client("elbv2")
        self._delays: dict[str, float] = {}
        # boto3 repeats what got no answer. Here that would shrink the group twice: `terminate` looks first instead
        self._scaling.meta.events.register_first(
            "needs-retry.auto-scaling.TerminateInstanceInAutoScalingGroup", lambda **_: False
        )

    # -- looking ---------------------------------------------------------------------------------

    def look(self, asked: Collection[str]) -> CloudView:
        """Groups, their instances, and where the instances `asked` for are registered.

        Raises:
            UnknownGroupError: a group does not exist.
            botocore.exceptions.ClientError, BotoCoreError: AWS refused or did not answer.
        """
        found = {ref.name: self._group(ref) for ref in self.refs.values()}
        instances: dict[str, Instance] = {}
        named = {sg: name for name, group in found.items() for sg in group.scaling_groups}
        for group in self._described(list(named)):
            mine = found[named[group["AutoScalingGroupName"]]]
            self._add(mine, group, instances)
            if len(group.get("Instances") or []) < group["DesiredCapacity"]:
                mine.issues += self._failed_launch(group["AutoScalingGroupName"])
        unknown = [instance for instance in asked if instance not in instances]
        return CloudView(
            groups=found,
            instances=instances,
            targets=self._targets(asked) if asked else {},
            asked=frozenset(asked),
            gone=frozenset(unknown) - self._existing(unknown),
        )

    def _group(self, ref: GroupRef) -> Group:
        if not ref.managed:
            return Group(ref.name, False, Sizes(0, 0, 0), (ref.scaling_group,))
        try:
            found = self._eks.describe_nodegroup(clusterName=self.cluster, nodegroupName=ref.name)["nodegroup"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                raise UnknownGroupError(f"cluster {self.cluster} has no node group {ref.name}") from None
            raise
        sizes = found["scalingConfig"]
        names = tuple(g["name"] for g in (found.get("resources") or {}).get("autoScalingGroups") or [])
        issues = (found.get("health") or {}).get("issues") or []
        return Group(
            ref.name,
            True,
            Sizes(sizes["minSize"], sizes["desiredSize"], sizes["maxSize"]),
            names,
            changing=found["status"] in ("UPDATING", "CREATING"),
            rebalancing=False,
            issues=tuple(f"{issue.get('code')}: {issue.get('message')}" for issue in issues),
        )

    def _described(self, names: list[str]) -> Iterator[dict[str, Any]]:
        for some in _chunks(names):
            pager = self._scaling.get_paginator("describe_auto_scaling_groups")
            for page in pager.paginate(AutoScalingGroupNames=some):
                yield from page["AutoScalingGroups"]

    @staticmethod
    def _add(group: Group, scaling: dict[str, Any], instances: dict[str, Instance]) -> None:
        suspended = {p["ProcessName"] for p in scaling.get("SuspendedProcesses") or []}
        group.rebalancing = group.rebalancing or "AZRebalance" not in suspended
        found = scaling["MinSize"], scaling["DesiredCapacity"], scaling["MaxSize"]
        desired = max(found[1], group.sizes.desired)
        group.sizes = Sizes(group.sizes.minimum, desired, group.sizes.maximum) if group.managed else Sizes(*found)
        for item in scaling.get("Instances") or []:
            instances[item["InstanceId"]] = Instance(
                item["InstanceId"],
                group.name,
                scaling["AutoScalingGroupName"],
                item["AvailabilityZone"],
                _state(item["LifecycleState"]),
            )

    def _failed_launch(self, name: str) -> tuple[str, ...]:
        """Why a group does not grow, when the last thing that it tried has failed; EKS tells it much later."""
        found = self._scaling.describe_scaling_activities(AutoScalingGroupName=name, MaxRecords=1)["Activities"]
        return tuple(str(a.get("StatusMessage")) for a in found[:1] if a.get("StatusCode") == "Failed")

    def _existing(self, ids: Sequence[str]) -> frozenset[str]:
        """Those that EC2 knows and that are not over; asked by filter, because an unknown id is no error then."""
        alive: set[str] = set()
        for some in _chunks(ids):
            pager = self._ec2.get_paginator("describe_instances")
            for page in pager.paginate(Filters=[{"Name": "instance-id", "Values": some}]):
                for reservation in page["Reservations"]:
                    alive |= {i["InstanceId"] for i in reservation["Instances"] if i["State"]["Name"] != "terminated"}
        return frozenset(alive)

    def _targets(self, asked: Collection[str]) -> dict[str, tuple[Target, ...]]:
        found: dict[str, list[Target]] = {}
        for page in self._elb.get_paginator("describe_target_groups").paginate():
            for group in page["TargetGroups"]:
                # pods registered by address leave with the pod; only instances are of interest
                if group.get("TargetType") != "instance" or group.get("VpcId") != self.vpc:
                    continue
                arn = group["TargetGroupArn"]
                for item in self._elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]:
                    instance, state = item["Target"]["Id"], item["TargetHealth"]["State"]
                    if instance in asked and state != "unused":
                        found.setdefault(instance, []).append(Target(arn, state != "draining", self._delay(arn)))
        return {instance: tuple(targets) for instance, targets in found.items()}

    def _delay(self, arn: str) -> float:
        if arn not in self._delays:
            attributes = self._elb.describe_target_group_attributes(TargetGroupArn=arn)["Attributes"]
            values = {a["Key"]: a["Value"] for a in attributes}
            self._delays[arn] = float(values.get("deregistration_delay.timeout_seconds", DEFAULT_DELAY))
        return self._delays[arn]

    # -- actions ---------------------------------------------------------------------------------

    def resize(self, action: Resize) -> Outcome:
        ref = self.refs[action.group]
        managed, own = ("minSize", "desiredSize", "maxSize"), ("MinSize", "DesiredCapacity", "MaxSize")
        values = (action.minimum, action.desired, action.maximum)
        wish = {k: v for k, v in zip(managed if ref.managed else own, values, strict=True) if v is not None}
        if ref.managed:
            return _tried(
                lambda: self._eks.update_nodegroup_config(
                    clusterName=self.cluster, nodegroupName=ref.name, scalingConfig=wish
                )
            )
        return _tried(lambda: self._scaling.update_auto_scaling_group(AutoScalingGroupName=ref.scaling_group, **wish))

    def rebalance(self, group: Group, *, allowed: bool) -> Outcome:
        call = self._scaling.resume_processes if allowed else self._scaling.suspend_processes
        for name in group.scaling_groups:
            outcome = _tried(partial(call, AutoScalingGroupName=name, ScalingProcesses=["AZRebalance"]))
            if not outcome.ok:
                return outcome
        return Outcome(True)

    def terminate(self, instance: str) -> Outcome:
        """End an instance and shrink its group by one, unless it is ending already: a second decrement would make
        Auto Scaling end another node."""

        def call() -> None:
            found = self._scaling.describe_auto_scaling_instances(InstanceIds=[instance])["AutoScalingInstances"]
            if found and _state(found[0]["LifecycleState"]) != "ending":
                self._scaling.terminate_instance_in_auto_scaling_group(
                    InstanceId=instance, ShouldDecrementDesiredCapacity=True
                )

        return _tried(call)

    def deregister(self, instance: str, target_group: str) -> Outcome:
        return _tried(lambda: self._elb.deregister_targets(TargetGroupArn=target_group, Targets=[{"Id": instance}]))


def _state(lifecycle: str) -> str:
    """Life-cycle state of Auto Scaling, with its `:Wait` and `:Proceed`, in the words of `Instance`."""
    for prefix, state in (("Pending", "pending"), ("InService", "in-service"), ("Terminat", "ending")):
        if lifecycle.startswith(prefix):
            return state
    return "other"


def _tried(call: Any) -> Outcome:
    try:
        call()
    except (ClientError, BotoCoreError) as error:
        return refused(error)
    return Outcome(True)


def refused(error: Exception) -> Outcome:
    """What an error of boto3 means."""
    if not isinstance(error, ClientError):
        return Outcome(False, str(error))
    found = error.response["Error"]
    text, code = f"{found.get('Code')}: {found.get('Message')}", str(found.get("Code"))
    return Outcome(False, text, denied=code.startswith(_DENIED))


def _chunks(items: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(items), _AT_ONCE):
        yield list(items[start : start + _AT_ONCE])
