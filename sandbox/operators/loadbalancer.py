"""Instances as targets of load balancers, as the AWS Load Balancer Controller registers them.

Only target groups of type `instance` that carry a cluster's tag are looked at: others are their owner's.
Draining after deregistration is the load balancer's business (deregistration_delay of the target group).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any

import boto3
from botocore.config import Config

from sandbox.aws.state import Aws
from sandbox.operators import kube
from sandbox.operators.kube import Cluster, Object

log = logging.getLogger(__name__)

EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
_PERIOD = 2.0
"""Seconds after which target groups are looked at although no node changed: new ones have no other sign."""


def is_target(node: Object) -> bool:
    """Whether traffic from outside may enter through a node."""
    return bool(kube.instance_of(node)) and kube.ready(node) and EXCLUDED not in kube.labels(node)


def belongs_to_cluster(tags: Iterable[dict[str, str]]) -> bool:
    """Whether a target group is a Kubernetes cluster's, by its tags."""
    keys = {tag["Key"] for tag in tags}
    return "elbv2.k8s.aws/cluster" in keys or any(key.startswith("kubernetes.io/cluster/") for key in keys)


class LoadBalancerController:
    """Keeps the targets of a cluster's target groups equal to its nodes."""

    name = "load-balancer"

    def __init__(self, cluster: Cluster, aws: Aws, client: Any = None) -> None:
        self.cluster = cluster
        self._aws = aws
        self._client = client
        self._seen: frozenset[str] = frozenset()
        self._looked = 0.0

    def reconcile(self) -> None:
        """Register nodes that are targets, deregister instances that no longer are."""
        wanted = frozenset(kube.instance_of(n) for n in self.cluster.list(kube.NODES) if is_target(n))
        if wanted == self._seen and time.monotonic() - self._looked < _PERIOD:
            return
        elb = self._elb()
        groups = elb.describe_target_groups()["TargetGroups"]
        arns = [g["TargetGroupArn"] for g in groups if g.get("TargetType", "instance") == "instance"]
        if arns:
            tags = elb.describe_tags(ResourceArns=arns)["TagDescriptions"]
            for entry in tags:
                if belongs_to_cluster(entry["Tags"]):
                    self._adjust(entry["ResourceArn"], wanted)
        self._seen, self._looked = wanted, time.monotonic()

    def _adjust(self, group: str, wanted: frozenset[str]) -> None:
        health = self._elb().describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        active = {h["Target"]["Id"] for h in health if h["TargetHealth"]["State"] != "draining"}
        if missing := sorted(wanted - active):
            self._elb().register_targets(TargetGroupArn=group, Targets=[{"Id": i} for i in missing])
        if gone := sorted(active - wanted):
            log.info("deregistering %s from %s", ", ".join(gone), group.rsplit(":", 1)[-1])
            self._elb().deregister_targets(TargetGroupArn=group, Targets=[{"Id": i} for i in gone])

    def _elb(self) -> Any:
        if self._client is None:
            self._client = boto3.client(
                "elbv2",
                endpoint_url=self._aws.endpoint,
                region_name=self._aws.region,
                aws_access_key_id="load-balancer-controller",
                aws_secret_access_key="sandbox",  # noqa: S106 - the emulated account knows no secrets
                config=Config(retries={"mode": "standard", "max_attempts": 3}),
            )
        return self._client
