"""A node without the label that joins in the middle of a journey: no CNI, no harm, and a name."""

import base64
import json
import time
from typing import Any

import pytest

from migration.journeys import REPLACE, CheckId
from sandbox import seeds
from tests.engine.hands import Hands, assert_says, eventually, settings
from tests.engine.journey import Journey

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300, func_only=True)]

AGENTS = ("aws-node-", "kube-proxy-", "calico-node-", "cilium-")
STRANGER = "batch-asg"


def join(walked: Journey, hands: Hands, group: str) -> str:
    """Somebody's own Auto Scaling group, as nodes of `group` but for the label; the name of its node."""
    eks, iam = walked.aws("eks"), walked.aws("iam")
    values = settings(walked)
    cluster, subnets = values["cluster"]["name"], values["network"]["subnetIds"]
    role = eks.describe_nodegroup(clusterName=cluster, nodegroupName=group)["nodegroup"]["nodeRole"]
    iam.create_instance_profile(InstanceProfileName=STRANGER)
    iam.add_role_to_instance_profile(InstanceProfileName=STRANGER, RoleName=role.rsplit("/", 1)[-1])
    config = {"apiVersion": "node.eks.aws/v1alpha1", "kind": "NodeConfig", "spec": {"cluster": {"name": cluster}}}
    walked.aws("ec2").create_launch_template(
        LaunchTemplateName=STRANGER,
        LaunchTemplateData={
            "InstanceType": "m5.large",
            "IamInstanceProfile": {"Name": STRANGER},
            "UserData": base64.b64encode(json.dumps(config).encode()).decode(),
        },
    )
    before = {n["metadata"]["name"] for n in hands.nodes()}
    walked.aws("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName=STRANGER,
        LaunchTemplate={"LaunchTemplateName": STRANGER, "Version": "$Latest"},
        MinSize=0,
        MaxSize=1,
        DesiredCapacity=1,
        VPCZoneIdentifier=",".join(subnets),
        Tags=[{"Key": f"kubernetes.io/cluster/{cluster}", "Value": "owned", "PropagateAtLaunch": True}],
    )
    joined: set[str] = set()

    def there() -> bool:
        joined.update(n["metadata"]["name"] for n in hands.nodes() if n["metadata"]["name"] not in before)
        return bool(joined)

    eventually(there, "the node")
    return joined.pop()


def agents_on(hands: Hands, node: str) -> list[str]:
    names = [pod.split("/")[1] for pod in hands.pods_on(node)]
    return sorted(name for name in names if name.startswith(AGENTS))


@pytest.mark.parametrize(
    "stage",
    [pytest.param("baseline", marks=pytest.mark.matrix), pytest.param("label-legacy", marks=pytest.mark.matrix)],
)
def test_before_anything_is_bound_it_is_a_node_like_any_other_and_named(replace_walk: Journey, stage: str):
    walked = replace_walk.at(stage)
    hands = Hands(walked)
    node = join(walked, hands, "general")
    eventually(lambda: hands.is_ready(node), "the node's readiness")
    assert [name.rsplit("-", 1)[0] for name in agents_on(hands, node)] == ["aws-node", "calico-node", "kube-proxy"]
    asked = walked.operations("check", "--check", "nodes-labelled")
    assert asked.code == 1, asked
    assert_says(asked, f"node {node}: has no label cni-plugin")
    if stage == "baseline":  # the journey takes it in
        done = walked.set(stage="label-legacy").up()
    else:  # as the text says
        done = walked.operations("label", "--legacy", "present")
    assert done.code == 0, done
    assert {n["metadata"]["name"] for n in hands.nodes("cni-plugin=aws")} >= {node}


LEGACY_NODE = ("general", "label --legacy present")
CILIUM_NODE = ("workers", "Replace it by a node of a Cilium group")


def besides(stage: str, kind: tuple[str, str]) -> Any:
    """A stage that `make matrix` tries."""
    return pytest.param(stage, *kind, marks=pytest.mark.matrix)


@pytest.mark.parametrize(
    ("stage", "group", "fix"),
    [
        ("pin-legacy", *LEGACY_NODE),
        besides("install-cilium", LEGACY_NODE),
        ("canary", *LEGACY_NODE),
        besides("move-workloads", LEGACY_NODE),
        besides("release", LEGACY_NODE),
        ("retire-legacy", *CILIUM_NODE),
        besides("retire-calico", CILIUM_NODE),
    ],
)
def test_once_agents_are_bound_it_gets_no_cni_breaks_nothing_and_is_named(
    replace_walk: Journey, stage: str, group: str, fix: str
):
    walked = replace_walk.at(stage)
    hands = Hands(walked)
    node = join(walked, hands, group)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:  # as long as a labelled node takes to be Ready, and some more
        assert not hands.is_ready(node)
        assert agents_on(hands, node) == []
        time.sleep(0.5)
    eventually(lambda: not seeds.unready(walked.directory) or only_waits_on(hands, node), "workloads", 30)

    asked = walked.operations("check", "--check", CheckId.NODES_LABELLED)
    assert asked.code == 1, asked
    assert_says(asked, f"node {node}: has no label cni-plugin", fix)
    if stage == REPLACE.stages[-1].id:
        return
    following = REPLACE.stages[REPLACE.index[stage] + 1]
    assert CheckId.NODES_LABELLED in following.gate
    gate = walked.operations("check", "--next")
    assert gate.code == 1, gate
    assert_says(gate, f"gate of {following.id}: failed", f"node {node}: has no label cni-plugin")


def only_waits_on(hands: Hands, node: str) -> bool:
    """Whether every workload pod that is not ready is a DaemonSet's, on this node."""
    waiting = [
        pod
        for pod in hands.items("/api/v1/namespaces/shop/pods")
        if not any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions") or [])
    ]
    return all(
        pod["spec"].get("nodeName") == node and pod["metadata"]["ownerReferences"][0]["kind"] == "DaemonSet"
        for pod in waiting
    )
