"""Continuity on the real engine: its gates stop with the flow that would change, and go on once it is mended."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.hands import Hands, assert_says, eventually, policy_files, untouched
from tests.engine.journey import Journey

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600, func_only=True)]

BRIDGE = "/apis/apps/v1/namespaces/kube-system/deployments/eks-cilium-bridge"
ENDPOINTS = "/apis/cilium.io/v2/namespaces/shop/ciliumendpoints"


def take_away(hands: Hands) -> None:
    """No bridge runs any more, and nothing of what it wrote for the shop is left."""
    hands.patch(BRIDGE, {"spec": {"replicas": 0}})
    eventually(lambda: not hands.get(BRIDGE).get("status", {}).get("readyReplicas"), "the bridge is away")
    for item in hands.items(ENDPOINTS):
        if "eks-cilium.io/bridge" in item["metadata"].get("labels", {}):
            hands.delete(f"{ENDPOINTS}/{item['metadata']['name']}")


def cilium_nodes(hands: Hands) -> list[str]:
    return [n["metadata"]["name"] for n in hands.nodes() if n["metadata"]["labels"].get("cni-plugin") == "cilium"]


@pytest.mark.matrix
def test_with_the_bridge_left_out_the_journey_stops_before_any_cilium_node_exists_and_goes_on_with_it(
    replace_walk: Journey,
):
    walked = replace_walk.at("pin-legacy")
    walked.set(stage="install-cilium")
    with untouched(walked):
        walked.set(bridge={"enabled": False})
        stopped = walked.preview()
        assert stopped.code != 0, stopped
        assert_says(stopped, "the gate of install-cilium does not pass", "FAILED  continuity")
        assert_says(stopped, "would be denied while both kinds of nodes run", "pod shop/")
    assert cilium_nodes(Hands(walked)) == []
    again = walked.preview()
    assert again.code == 0, again


def test_a_bridge_that_goes_at_canary_stops_move_workloads_with_the_flow_and_comes_back_by_a_deploy(
    replace_walk: Journey,
):
    walked = replace_walk.at("canary")
    hands = Hands(walked)
    take_away(hands)
    walked.set(stage="move-workloads")
    with untouched(walked):
        stopped = walked.preview()
        assert stopped.code != 0, stopped
        assert_says(stopped, "the gate of move-workloads does not pass", "FAILED  bridge-in-step", "FAILED  continuity")
        assert_says(stopped, "while both kinds of nodes run", "without-identity")
    again = walked.set(stage="canary").up("--skip-preview", "--refresh")
    assert again.code == 0, again
    asked = walked.operations("check", "--next", "--check", "bridge-in-step", "--check", "continuity", "--wait", "60")
    assert asked.code == 0, asked


def test_canary_stops_before_any_cilium_node_where_cilium_does_not_know_legacy_pods(replace_walk: Journey):
    walked = replace_walk.at("install-cilium")
    hands = Hands(walked)
    assert len(hands.items(ENDPOINTS)) > 5
    take_away(hands)
    walked.set(stage="canary")
    with untouched(walked):
        stopped = walked.preview()
        assert stopped.code != 0, stopped
        assert_says(stopped, "FAILED  bridge-in-step", "has no CiliumEndpoint", "0 of 0 replicas available")
        assert_says(stopped, "FAILED  continuity", "while both kinds of nodes run", "pod shop/")
    assert cilium_nodes(hands) == []
    again = walked.set(stage="install-cilium").up("--skip-preview", "--refresh")
    assert again.code == 0, again
    eventually(lambda: len(hands.items(ENDPOINTS)) > 5, "the bridge has written them anew")
    asked = walked.operations("check", "--next", "--wait", "60")
    assert asked.code == 0, asked


def test_a_policy_of_one_engine_alone_stops_the_deploy_that_stays(replace_walk: Journey, tmp_path: Path):
    walked = replace_walk.at("install-cilium")
    files = policy_files(walked, tmp_path)
    (files / "cilium" / "alone.yaml").write_text(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: alone, namespace: shop}\n"
        "spec: {endpointSelector: {matchLabels: {app: cart}}, ingressDeny: [{fromEntities: [cluster]}]}\n"
    )
    walked.set(policies=str(files))
    with untouched(walked):
        stopped = walked.up()
        assert stopped.code != 0, stopped
        assert_says(stopped, "FAILED  continuity", "is allowed today", "would be denied", "alone.yaml")
    (files / "cilium" / "alone.yaml").unlink()
    again = walked.preview("--expect-no-changes")
    assert again.code == 0, again
