"""What the Tigera operator makes of an Installation, and how it takes it down."""

import pytest

from sandbox.operators import kube, tigera_render
from sandbox.operators.kube import Object
from sandbox.operators.modules import CALICO_VERSION
from sandbox.operators.tigera import FINALIZERS, TigeraOperator
from tests.unit.operators.fakes import FakeCluster, node, pod

DEFINITION = {"metadata": {"name": "tiers.crd.projectcalico.org"}, "spec": {"group": "crd.projectcalico.org"}}
AFFINITY = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"a": 1}]}}}


def operator_pod(*, ready: bool = True, manage: bool = True) -> Object:
    found = pod("op", "one", namespace="tigera-operator", labels={"k8s-app": "tigera-operator"}, ready=ready, host=True)
    found["spec"]["containers"][0]["args"] = [f"-manage-crds={str(manage).lower()}"]
    return found


def installation(**spec: object) -> Object:
    return {"metadata": {"name": "default"}, "spec": {"kubernetesProvider": "EKS", **spec}}


@pytest.fixture
def cluster() -> FakeCluster:
    found = FakeCluster()
    for name in ("one", "two", "three"):
        found.put(kube.NODES, node(name))
    found.put(kube.PODS, operator_pod())
    return found


@pytest.fixture
def operator(cluster: FakeCluster) -> TigeraOperator:
    return TigeraOperator(cluster, lambda: [DEFINITION])


def settle(operator: TigeraOperator) -> None:
    for _ in range(3):
        operator.reconcile()


def roll_out(cluster: FakeCluster) -> None:
    for kind, name in tigera_render.WORKLOADS:
        item = cluster.get(kind, name, "calico-system")
        replicas = item["spec"].get("replicas", 1)
        item["status"] = {"observedGeneration": 1, "availableReplicas": replicas, "desiredNumberScheduled": 3}
        item["status"]["updatedNumberScheduled"] = 3


def conditions(cluster: FakeCluster) -> dict[str, str]:
    return {c["type"]: c["status"] for c in cluster.get(kube.TIGERA_STATUSES, "calico")["status"]["conditions"]}


def test_nothing_happens_without_a_ready_operator(cluster, operator):
    cluster.put(kube.PODS, operator_pod(ready=False))
    cluster.put(kube.INSTALLATIONS, installation())
    settle(operator)
    assert cluster.list(kube.DEFINITIONS) == []
    assert cluster.list(kube.DAEMON_SETS) == []


def test_definitions_that_are_gone_come_back_while_there_is_an_installation(cluster, operator):
    operator.reconcile()
    assert len(cluster.list(kube.DEFINITIONS)) == 1
    cluster.delete(kube.DEFINITIONS, DEFINITION)
    operator.reconcile()
    assert cluster.list(kube.DEFINITIONS) == []
    cluster.put(kube.INSTALLATIONS, installation())
    operator.reconcile()
    assert len(cluster.list(kube.DEFINITIONS)) == 1


def test_definitions_are_left_alone_when_the_operator_is_told_so(cluster, operator):
    cluster.put(kube.PODS, operator_pod(manage=False))
    cluster.put(kube.INSTALLATIONS, installation())
    settle(operator)
    assert cluster.list(kube.DEFINITIONS) == []


def test_an_installation_for_eks_becomes_calico_for_policy_only(cluster, operator):
    cluster.put(kube.INSTALLATIONS, installation())
    settle(operator)
    stored = cluster.get(kube.INSTALLATIONS, "default")
    assert stored["spec"]["cni"] == {"type": "AmazonVPC", "ipam": {"type": "AmazonVPC"}}
    assert stored["spec"]["calicoNetwork"]["bgp"] == "Disabled"
    assert stored["metadata"]["finalizers"] == list(FINALIZERS)
    found = cluster.get(kube.DAEMON_SETS, "calico-node", "calico-system")["spec"]["template"]["spec"]
    assert found["hostNetwork"]
    (term,) = found["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["values"] == ["fargate"]
    assert cluster.get(kube.DEPLOYMENTS, "calico-typha", "calico-system")["spec"]["replicas"] == 2
    assert cluster.get(kube.DISRUPTION_BUDGETS, "calico-typha", "calico-system")["spec"]["maxUnavailable"] == 1


def test_an_override_of_the_affinity_replaces_calicos_own_and_goes_again(cluster, operator):
    cluster.put(kube.INSTALLATIONS, installation())
    settle(operator)
    override = {"spec": {"template": {"spec": {"affinity": AFFINITY}}}}
    cluster.get(kube.INSTALLATIONS, "default")["spec"]["calicoNodeDaemonSet"] = override
    settle(operator)
    rendered = cluster.get(kube.DAEMON_SETS, "calico-node", "calico-system")["spec"]["template"]["spec"]
    assert rendered["affinity"] == AFFINITY
    del cluster.get(kube.INSTALLATIONS, "default")["spec"]["calicoNodeDaemonSet"]
    settle(operator)
    assert (
        cluster.get(kube.DAEMON_SETS, "calico-node", "calico-system")["spec"]["template"]["spec"]["affinity"]
        != AFFINITY
    )


def test_changes_by_others_are_undone(cluster, operator):
    cluster.put(kube.INSTALLATIONS, installation())
    settle(operator)
    cluster.get(kube.DEPLOYMENTS, "calico-typha", "calico-system")["spec"]["replicas"] = 0
    operator.reconcile()
    assert cluster.get(kube.DEPLOYMENTS, "calico-typha", "calico-system")["spec"]["replicas"] == 2


def test_a_settled_installation_causes_no_further_writes(cluster, operator):
    cluster.put(kube.INSTALLATIONS, installation())
    settle(operator)
    roll_out(cluster)
    settle(operator)
    cluster.writes.clear()
    operator.reconcile()
    assert cluster.writes == []


def test_the_status_says_progressing_then_available(cluster, operator):
    cluster.put(kube.INSTALLATIONS, installation())
    settle(operator)
    assert conditions(cluster) == {"Available": "False", "Progressing": "True", "Degraded": "False"}
    roll_out(cluster)
    operator.reconcile()
    assert conditions(cluster) == {"Available": "True", "Progressing": "False", "Degraded": "False"}


def test_an_invalid_installation_is_degraded_with_the_reason_and_changes_nothing(cluster, operator):
    cluster.put(kube.INSTALLATIONS, installation(cni={"type": "AmazonVPC", "ipam": {"type": "Calico"}}))
    settle(operator)
    status = cluster.get(kube.TIGERA_STATUSES, "calico")
    assert conditions(cluster) == {"Available": "False", "Progressing": "False", "Degraded": "True"}
    assert "spec.cni.ipam.type Calico" in kube.condition(status, "Degraded")["message"]
    assert cluster.list(kube.DAEMON_SETS) == []


def test_a_deleted_installation_waits_for_kube_controllers_and_for_the_finalizers_of_others(cluster, operator):
    cluster.put(kube.INSTALLATIONS, installation())
    settle(operator)
    stored = cluster.get(kube.INSTALLATIONS, "default")
    stored["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    stored["metadata"]["finalizers"].append("operator.tigera.io/apiserver-controller")
    settle(operator)
    assert len(cluster.list(kube.DEPLOYMENTS)) == 2
    stored["metadata"]["finalizers"].pop()
    operator.reconcile()
    assert [kube.name(d) for d in cluster.list(kube.DEPLOYMENTS)] == ["calico-typha"]
    operator.reconcile()
    assert stored["metadata"]["finalizers"] == []


def test_the_status_goes_with_the_installation(cluster, operator):
    stored = cluster.put(kube.INSTALLATIONS, installation())
    settle(operator)
    cluster.delete(kube.INSTALLATIONS, stored)
    operator.reconcile()
    assert cluster.list(kube.TIGERA_STATUSES) == []


@pytest.mark.parametrize(("nodes", "replicas"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (199, 3), (200, 3), (400, 4)])
def test_typha_grows_with_the_cluster(nodes, replicas):
    assert tigera_render.typha_replicas(nodes) == replicas


def test_an_image_set_names_images_by_their_digest_alone(cluster, operator):
    cluster.put(kube.INSTALLATIONS, installation())
    pinned = {"image": "calico/node", "digest": "sha256:ab"}
    cluster.put(kube.IMAGE_SETS, {"metadata": {"name": f"calico-{CALICO_VERSION}"}, "spec": {"images": [pinned]}})
    settle(operator)
    images = {
        name: cluster.get(kind, name, "calico-system")["spec"]["template"]["spec"]["containers"][0]["image"]
        for kind, name in tigera_render.WORKLOADS
    }
    assert images["calico-node"] == "quay.io/calico/node@sha256:ab"
    assert images["calico-typha"] == f"quay.io/calico/typha:{CALICO_VERSION}"
    assert cluster.get(kube.CLUSTER_INFORMATIONS, "default")["spec"]["calicoVersion"] == CALICO_VERSION
