"""The checker sees what must not be: each of these runs is bad on purpose, and no refresh takes part in it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from migration.names import CORDONED_BY_US
from tests.faults.history import Rules
from tests.faults.stage import NODES, Stage

pytestmark = pytest.mark.core
RULES = Rules(node_budget=1, floor=NODES - 1, zone_cap=1)
SHOP = "/api/v1/namespaces/shop/pods"


@pytest.fixture
def scene(cluster: Stage) -> Iterator[Stage]:
    """The cluster at home, without the checks of the `stage` fixture: these tests break it."""
    cluster.settled("home")
    cluster.balance("general")
    cluster.until(lambda: serving(cluster, cluster.instances("general")[0]))
    yield cluster
    for node in cluster.nodes("aws"):
        patch = {"metadata": {"annotations": {CORDONED_BY_US: None}}, "spec": {"unschedulable": None}}
        cluster.kube.patch(f"/api/v1/nodes/{node['metadata']['name']}", patch)
    cluster.settled("home")


def serving(stage: Stage, instance: str) -> bool:
    health = stage.elb.describe_target_health(TargetGroupArn=stage.target_group)["TargetHealthDescriptions"]
    return any(t["Target"]["Id"] == instance and t["TargetHealth"]["State"] == "healthy" for t in health)


def close(stage: Stage, name: str, *, leaving: bool) -> None:
    notes = {CORDONED_BY_US: "by-refresh"} if leaving else {}
    stage.kube.patch(f"/api/v1/nodes/{name}", {"metadata": {"annotations": notes}, "spec": {"unschedulable": True}})


def test_nothing_is_found_where_nothing_happens(scene: Stage):
    since = time.time()
    time.sleep(0.5)
    assert scene.seen(since, RULES) == []


def test_more_pods_down_than_a_budget_allows_are_seen(scene: Stage):
    since = time.time()
    for found in scene.pods("web")[:2]:
        scene.kube.delete(f"{SHOP}/{found['metadata']['name']}")
    wrong = scene.seen(since, RULES)
    assert len(wrong) == 1
    assert "shop/web wants 2 of 3 pods healthy: 1 are left" in wrong[0]


def test_an_instance_that_ends_with_a_pod_on_it_and_in_service_is_seen(scene: Stage):
    """Once over the wire that is watched, once behind its back."""
    name = scene.pods("ledger")[0]["spec"]["nodeName"]
    node = scene.kube.call("GET", f"/api/v1/nodes/{name}")
    instance, since = node["spec"]["providerID"].rsplit("/", 1)[1], time.time()
    scene.ec2.terminate_instances(InstanceIds=[instance])
    scene.until(lambda: instance not in scene.instances("general"))
    wrong = scene.seen(since, RULES)
    assert any("was ended with" in text and "shop/ledger" in text for text in wrong), wrong
    assert any("sends it connections" in text for text in wrong), wrong
    scene.settled("home")


def test_too_many_nodes_on_their_way_and_too_little_room_are_seen(scene: Stage):
    since = time.time()
    names = [node["metadata"]["name"] for node in scene.nodes("aws")]
    for name in names:
        close(scene, name, leaving=True)
    wrong = scene.seen(since, RULES)
    assert any("2 nodes leave at once, the node budget is 1" in text for text in wrong), wrong
    assert any("0 nodes can take pods, the floor is 1" in text for text in wrong), wrong


def test_a_zone_cap_that_is_exceeded_is_seen(scene: Stage):
    since = time.time()
    for node in scene.nodes("aws"):
        close(scene, node["metadata"]["name"], leaving=True)
    rules = Rules(node_budget=9, floor=0, zone_cap=0)
    assert any("leave zone" in text and "its cap is 0" in text for text in scene.seen(since, rules))
