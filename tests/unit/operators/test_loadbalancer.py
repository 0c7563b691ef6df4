"""Nodes are targets of the cluster's own target groups, as long as traffic may enter through them."""

from typing import Any

import pytest

from sandbox.aws.settings import Settings
from sandbox.aws.state import Aws
from sandbox.operators import kube, loadbalancer
from sandbox.operators.loadbalancer import EXCLUDED, LoadBalancerController
from tests.unit.operators.fakes import FakeCluster, node


class Elb:
    """Target groups by name: their tags, and the state of each target."""

    def __init__(self, **tags: str) -> None:
        self.tags = {name: [{"Key": key, "Value": "x"}] for name, key in tags.items()}
        self.targets: dict[str, dict[str, str]] = {name: {} for name in tags}

    def describe_target_groups(self) -> Any:
        return {"TargetGroups": [{"TargetGroupArn": name, "TargetType": "instance"} for name in self.tags]}

    def describe_tags(self, ResourceArns: list[str]) -> Any:  # noqa: N803
        return {"TagDescriptions": [{"ResourceArn": arn, "Tags": self.tags[arn]} for arn in ResourceArns]}

    def describe_target_health(self, TargetGroupArn: str) -> Any:  # noqa: N803
        found = self.targets[TargetGroupArn].items()
        return {"TargetHealthDescriptions": [{"Target": {"Id": i}, "TargetHealth": {"State": s}} for i, s in found]}

    def register_targets(self, TargetGroupArn: str, Targets: list[dict[str, str]]) -> None:  # noqa: N803
        self.targets[TargetGroupArn] |= {t["Id"]: "healthy" for t in Targets}

    def deregister_targets(self, TargetGroupArn: str, Targets: list[dict[str, str]]) -> None:  # noqa: N803
        self.targets[TargetGroupArn] |= {t["Id"]: "draining" for t in Targets}


def ready(name: str, **labels: str) -> kube.Object:
    found = node(name, **labels)
    found["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    return found


@pytest.fixture
def elb() -> Elb:
    return Elb(ours="kubernetes.io/cluster/east", controllers="elbv2.k8s.aws/cluster", foreign="Name")


@pytest.fixture
def cluster() -> FakeCluster:
    found = FakeCluster()
    found.put(kube.NODES, ready("one"))
    found.put(kube.NODES, ready("two"))
    return found


@pytest.fixture
def controller(cluster: FakeCluster, elb: Elb) -> LoadBalancerController:
    return LoadBalancerController(cluster, Aws(None, "eu-west-1", Settings(None)), elb)


def test_ready_nodes_are_registered_in_the_groups_of_the_cluster_only(controller, elb):
    controller.reconcile()
    assert elb.targets == {
        "ours": {"i-one": "healthy", "i-two": "healthy"},
        "controllers": {"i-one": "healthy", "i-two": "healthy"},
        "foreign": {},
    }


@pytest.mark.parametrize("change", ["excluded", "not ready", "deleted"])
def test_a_node_that_may_not_take_traffic_is_deregistered(cluster, controller, elb, change):
    controller.reconcile()
    if change == "deleted":
        cluster.delete(kube.NODES, node("one"))
    else:
        cluster.put(kube.NODES, node("one") if change == "not ready" else ready("one", **{EXCLUDED: ""}))
    controller.reconcile()
    assert elb.targets["ours"] == {"i-one": "draining", "i-two": "healthy"}


def test_a_target_that_drains_is_registered_again_when_its_node_is_back(cluster, controller, elb):
    elb.targets["ours"] = {"i-one": "draining", "i-two": "healthy"}
    controller.reconcile()
    assert elb.targets["ours"]["i-one"] == "healthy"


def test_a_new_target_group_is_found_although_no_node_changed(controller, elb, monkeypatch):
    controller.reconcile()
    elb.tags["late"] = elb.tags["ours"]
    elb.targets["late"] = {}
    controller.reconcile()
    assert elb.targets["late"] == {}
    monkeypatch.setattr(loadbalancer, "_PERIOD", 0.0)
    controller.reconcile()
    assert elb.targets["late"].keys() == {"i-one", "i-two"}
