"""The main job: a whole migration by the real engine, seen from outside, and the launch it ends in."""

import re

import pytest

from migration.names import CILIUM_CNI, CNI_LABEL, FREEZE_POLICY
from sandbox import seeds
from tests.engine import witness
from tests.engine.hands import Hands, state
from tests.engine.journey import Journey

pytestmark = pytest.mark.engine

LEGACY = re.compile(r"aws-node|kube-proxy|calico|tigera|vpc-cni", re.IGNORECASE)
MADE_BY_KUBERNETES = re.compile(
    r"^(ClusterRole|ClusterRoleBinding|Role|RoleBinding|ServiceAccount/kube-system)/.*(system:node-proxier|kube-proxy)"
)
"""The API server's own bootstrap roles; nothing runs under them."""


def test_at_the_end_nothing_of_the_legacy_network_is_left(replace_walk: Journey):
    walked = replace_walk.at("retire-calico")
    found = witness.cluster(walked)
    assert "DaemonSet/kube-system/cilium" in found
    # A translation keeps the name of what it stands for.
    left = [key for key in found if LEGACY.search(key) and not key.startswith("Cilium")]
    assert [key for key in left if not MADE_BY_KUBERNETES.search(key)] == []
    assert not witness.addons(walked).keys() & {"vpc-cni", "kube-proxy"}
    assert "general" not in witness.groups(walked)


def test_at_the_end_every_workload_pod_is_on_a_cilium_node(replace_walk: Journey):
    hands = Hands(replace_walk.at("retire-calico"))
    nodes = {n["metadata"]["name"]: n["metadata"]["labels"].get(CNI_LABEL) for n in hands.nodes()}
    pods = hands.items("/api/v1/namespaces/shop/pods")
    assert {nodes[pod["spec"]["nodeName"]] for pod in pods} == {CILIUM_CNI}
    assert set(nodes.values()) == {CILIUM_CNI}


def test_every_role_is_bounded_and_the_endpoint_open_to_the_office_alone(replace_walk: Journey):
    walked = replace_walk.at("canary")
    account = seeds.Account(walked.directory)
    names = [r["outputs"]["name"] for r in state(walked).values() if r["type"] == "aws:iam/role:Role"]
    assert len(names) == 3, names
    for name in names:
        role = account("iam").get_role(RoleName=name)["Role"]
        assert role["PermissionsBoundary"]["PermissionsBoundaryArn"].endswith(":policy/boundary"), name
    (cluster,) = account("eks").list_clusters()["clusters"]
    reached = account("eks").describe_cluster(name=cluster)["cluster"]["resourcesVpcConfig"]
    assert reached["publicAccessCidrs"] == [seeds.OFFICE]


def test_the_next_step_and_its_gate_are_shown_before_it_is_taken(replace_walk: Journey):
    walked = replace_walk.at("pin-legacy")
    walked.set(stage="install-cilium")
    shown = walked.stack.preview("shown")  # fails where the gate would not pass
    steps = {step["urn"].split("::")[-1]: step["op"] for step in shown["steps"] if step["op"] != "same"}
    assert steps["cilium"] == "create"
    assert steps[FREEZE_POLICY] == "create"
    assert set(steps.values()) <= {"create", "update", "replace", "create-replacement", "delete-replaced", "read"}
    assert walked.reached() == "pin-legacy"


def test_the_walk_ends_where_greenfield_begins(replace_walk: Journey):
    walked = replace_walk.at("retire-calico")
    walked.set(journey="greenfield", stage="launch")
    outcome = walked.preview("--expect-no-changes")
    assert outcome.code == 0, outcome
    deployed = walked.up()
    assert deployed.code == 0, deployed
    assert walked.reached() == "launch"
