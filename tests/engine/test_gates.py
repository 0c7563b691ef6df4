"""Each gate fails when the cluster is broken in a way that it looks for, stops the deploy, and lets it go on afterwards."""

from collections.abc import Iterator

import pytest

from migration.names import GUARD_POLICY
from operations.checks import AGAIN
from operations.cluster import objects
from sandbox import lifecycle
from sandbox.project import Stack
from tests.engine.hands import (
    ADMISSION,
    BUDGETS,
    CALICO,
    MARKS,
    SHOP,
    SYSTEM,
    Hands,
    Json,
    as_deployer,
    assert_goes_on,
    assert_says,
    assert_stopped,
    eventually,
    grow,
    impatient,
    past_the_guard,
    reports,
    settings,
    state,
)
from tests.engine.journey import Journey

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300, func_only=True)]

LEGACY = "cni-plugin=aws"
CLUSTERWIDE = "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies/platform-deny-instance-metadata"


def rolled_out(hands: Hands, daemonset: str) -> bool:
    desired, ready = objects.rolled_out(hands.get(f"{SYSTEM}/daemonsets/{daemonset}"))
    return desired == ready


@pytest.mark.matrix
def test_label_legacy_stops_at_a_node_that_is_not_ready(replace_walk: Journey):
    walked = replace_walk.at("baseline")
    hands = Hands(walked)
    labels = {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    hands.create("/api/v1/nodes", {"metadata": {"name": "dead-kubelet", "labels": labels}})
    assert_stopped(
        walked, "label-legacy", "FAILED  nodes-ready", "node dead-kubelet: is not Ready", "Repair or replace it"
    )
    hands.delete("/api/v1/nodes/dead-kubelet")
    # The DaemonSet controller counts anew only when something about a set changes, and may miss the end of a node.
    for daemonset in (
        "kube-system/daemonsets/aws-node",
        "kube-system/daemonsets/kube-proxy",
        "calico-system/daemonsets/calico-node",
    ):
        hands.patch(
            f"/apis/apps/v1/namespaces/{daemonset}", {"metadata": {"annotations": {"example.com/nudged": "true"}}}
        )
    assert_goes_on(walked, "label-legacy")


@pytest.mark.matrix
def test_pin_legacy_stops_at_a_node_that_lost_its_label(replace_walk: Journey):
    walked = replace_walk.at("label-legacy")
    hands = Hands(walked)
    node = hands.nodes(LEGACY)[0]["metadata"]["name"]
    hands.patch(f"/api/v1/nodes/{node}", {"metadata": {"labels": {"cni-plugin": None}}})
    assert_stopped(
        walked,
        "pin-legacy",
        "FAILED  nodes-labelled",
        f"node {node}: has no label cni-plugin",
        "label --legacy present",
    )
    repaired = walked.operations("label", "--legacy", "present")  # as the text says
    assert repaired.code == 0, repaired
    assert_goes_on(walked, "pin-legacy")


@pytest.mark.matrix
def test_install_cilium_stops_when_kube_proxy_is_no_longer_bound(replace_walk: Journey):
    walked = replace_walk.at("pin-legacy")
    hands = Hands(walked)
    kube_proxy = f"{SYSTEM}/daemonsets/kube-proxy"
    with past_the_guard(hands):
        hands.patch(kube_proxy, {"spec": {"template": {"spec": {"affinity": None}}}})
    eventually(lambda: rolled_out(hands, "kube-proxy"), "the roll-out of kube-proxy")
    assert_stopped(
        walked,
        "install-cilium",
        "FAILED  pins-hold",
        "daemonset kube-system/kube-proxy: its affinity does not ask for cni-plugin=aws in every term",
        AGAIN,
    )
    walked.set(stage="pin-legacy")  # as the text says
    again = walked.up("--skip-preview", "--refresh")
    assert again.code == 0, again
    assert walked.reached() == "pin-legacy"
    walked.set(stage="install-cilium")
    assert_goes_on(walked, "install-cilium")


def test_canary_stops_without_an_operator_and_with_a_policy_that_is_not_the_files(replace_walk: Journey):
    walked = replace_walk.at("install-cilium")
    hands = Hands(walked)
    operator = f"{SYSTEM}/deployments/cilium-operator"
    before = hands.get(operator)["spec"]["replicas"]
    rule = hands.get(CLUSTERWIDE)["spec"]["egressDeny"]
    hands.patch(operator, {"spec": {"replicas": 0}})
    hands.patch(CLUSTERWIDE, {"spec": {"egressDeny": [{"toCIDR": ["169.254.169.253/32"]}]}})
    assert_stopped(
        walked,
        "canary",
        "FAILED  cilium-operator-healthy",
        "deployment kube-system/cilium-operator: is scaled to zero",
        "Scale it up",
        "FAILED  policies-accepted",
        "CiliumClusterwideNetworkPolicy/platform-deny-instance-metadata: differs from",
        "cilium/deny-instance-metadata.yaml:2 at spec.egressDeny",
    )
    hands.patch(operator, {"spec": {"replicas": before}})
    hands.patch(CLUSTERWIDE, {"spec": {"egressDeny": rule}})
    assert_goes_on(walked, "canary")


def test_move_workloads_stops_at_a_budget_that_allows_nothing(replace_walk: Journey):
    walked = replace_walk.at("canary")
    hands = Hands(walked)
    hands.patch(f"{BUDGETS}/web", {"spec": {"maxUnavailable": 0}})
    eventually(lambda: hands.get(f"{BUDGETS}/web")["status"]["disruptionsAllowed"] == 0, "the budget's status")
    assert_stopped(
        walked,
        "move-workloads",
        "FAILED  refresh-unblocked",
        "poddisruptionbudget shop/web: never allows a disruption, and 3 pods under it must move",
        "Allow one pod to be away",
    )
    hands.patch(f"{BUDGETS}/web", {"spec": {"maxUnavailable": 1}})
    assert_goes_on(walked, "move-workloads")


@pytest.mark.matrix
def test_release_stops_while_a_workload_runs_on_a_legacy_node(replace_walk: Journey):
    walked = replace_walk.at("move-workloads")
    hands = Hands(walked)
    grow(walked, hands, "general", 1)
    node = hands.nodes(LEGACY)[0]["metadata"]["name"]
    hands.create(f"{SHOP}/pods", straggler(node))
    eventually(lambda: "shop/straggler" in hands.pods_on(node), "the pod")
    assert_stopped(
        walked,
        "release",
        "FAILED  no-legacy-pods",
        f"pod shop/straggler: still runs on legacy node {node}",
        "refresh run --to cilium",
        "FAILED  aws-node-idle",
    )
    hands.delete(f"{SHOP}/pods/straggler")
    grow(walked, hands, "general", 0)
    assert_goes_on(walked, "release")


def straggler(node: str) -> Json:
    return {
        "metadata": {"name": "straggler"},
        "spec": {"nodeName": node, "containers": [{"name": "it", "image": "example.com/shop/straggler:1"}]},
    }


def test_retire_legacy_stops_when_a_legacy_group_has_grown_again(replace_walk: Journey):
    walked = replace_walk.at("release")
    hands = Hands(walked)
    grow(walked, hands, "general", 1)
    node = hands.nodes(LEGACY)[0]["metadata"]["name"]
    assert_stopped(
        walked,
        "retire-legacy",
        "FAILED  legacy-groups-empty",
        "node group general: wants 1 node",
        f"node {node}: is still a legacy node",
        "refresh run --to cilium",
    )
    with_flag = impatient(walked).up("--skip-preview", "--continue-on-error")
    assert with_flag.code != 0, with_flag
    assert with_flag.operations == 0, with_flag
    grow(walked, hands, "general", 0)
    assert_goes_on(walked, "retire-legacy")


def test_retire_calico_stops_at_a_policy_that_no_file_has(replace_walk: Journey):
    walked = replace_walk.at("retire-legacy")
    theirs = as_deployer(walked)
    policy = {
        "apiVersion": "crd.projectcalico.org/v1",
        "kind": "GlobalNetworkPolicy",
        "metadata": {"name": "default.unfiled", "annotations": {"eks-cilium.io/may-go": "true"}},
        "spec": {"tier": "default", "order": 10, "selector": "all()", "types": ["Ingress"], "ingress": []},
    }
    # Another stack of the same deployers: the freeze cannot tell it from ours.
    theirs.create(f"{CALICO}/globalnetworkpolicies", policy, manager="pulumi-kubernetes-other")
    assert_stopped(
        walked,
        "retire-calico",
        "FAILED  policies-agree",
        "GlobalNetworkPolicy/default.unfiled: is in the cluster, in no file under",
        "Write it into a file, or delete it",
    )
    theirs.delete(f"{CALICO}/globalnetworkpolicies/default.unfiled")
    assert_goes_on(walked, "retire-calico")


def test_what_passed_once_is_asked_again_after_a_deploy_that_failed_half_way(replace_walk: Journey):
    walked = replace_walk.at("pin-legacy")
    hands = Hands(walked)
    walked.world(faults=[{"service": "iam", "operation": "CreateRole", "code": "ServiceFailure", "status": 400}])
    walked.set(stage="install-cilium")
    failed = walked.up()
    assert failed.code != 0, failed
    assert_says(failed, "ServiceFailure")
    assert walked.reached() == "pin-legacy"
    first = reports(walked)["gate"]
    assert (first["stage"], first["verdict"]) == ("install-cilium", "passed")

    walked.world(faults=[])
    node = hands.nodes(LEGACY)[0]["metadata"]["name"]
    hands.patch(f"/api/v1/nodes/{node}", {"metadata": {"labels": {"cni-plugin": None}}})
    assert_stopped(walked, "install-cilium", "FAILED  nodes-labelled", f"node {node}: has no label cni-plugin")
    hands.patch(f"/api/v1/nodes/{node}", {"metadata": {"labels": {"cni-plugin": "aws"}}})
    assert_goes_on(walked, "install-cilium")


@pytest.fixture
def adopter(replace_walk: Journey) -> Iterator[Journey]:
    """A second stack, not deployed yet, that adopts the cluster of the first, which has given it up."""
    owner = replace_walk.at("baseline")
    hands = Hands(owner)
    with past_the_guard(hands):
        hands.delete(MARKS)
    for plural in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
        hands.delete(f"{ADMISSION}/{plural}/{GUARD_POLICY}")
    for node in hands.nodes(LEGACY):
        hands.patch(f"/api/v1/nodes/{node['metadata']['name']}", {"metadata": {"labels": {"cni-plugin": None}}})
    stack = Stack(name="sandbox-tests-adopter", directory=owner.directory, environment=owner.stack.environment)
    path = lifecycle.ROOT / f"Pulumi.{stack.name}.yaml"
    path.unlink(missing_ok=True)
    stack.must("stack", "init", "--no-select")
    values = settings(owner)
    values["cluster"] = {"name": values["cluster"]["name"], "adopt": True}
    stack.configure({key: value for key, value in values.items() if key != "legacy"})
    try:
        yield Journey(stack, "replace")
    finally:
        path.unlink(missing_ok=True)
        (lifecycle.ROOT / f"facts.{stack.name}.yaml").unlink(missing_ok=True)


def test_baseline_stops_at_what_the_survey_refused(adopter: Journey):
    hands = Hands(adopter)
    endpoint = {
        "apiVersion": "crd.projectcalico.org/v1",
        "kind": "HostEndpoint",
        "metadata": {"name": "uplink"},
        "spec": {"node": "somewhere", "interfaceName": "eth0"},
    }
    hands.create(f"{CALICO}/hostendpoints", endpoint)
    surveyed = adopter.operations("survey")
    assert surveyed.code == 1, surveyed
    shown = adopter.preview()
    assert shown.code != 0, shown
    assert_says(shown, "the gate of baseline does not pass", "FAILED  nothing-refused", "uplink")
    halted = impatient(adopter).up()
    assert halted.code != 0, halted
    assert_says(halted, "FAILED  nothing-refused", "uplink")
    assert adopter.reached() is None
    made = {urn.split("::")[-1] for urn in state(adopter)}
    assert not made & {"vpc-cni", "kube-proxy", "installation", "settle"}, made

    hands.delete(f"{CALICO}/hostendpoints/uplink")
    assert adopter.operations("survey", "--force").code == 0
    assert_goes_on(adopter, "baseline")
