"""Each rule of the watcher fails when it should, and stays quiet when it should."""

import pytest

from sandbox.operators import kube
from sandbox.operators.cni import WIRED_BY
from sandbox.operators.kube import Kind, Object
from sandbox.watch_rules import IDENTITY_GRACE, RESTART_GRACE, START_GRACE, Watcher
from tests.unit.operators.fakes import agent, node, pod

SELECTOR = {"matchLabels": {"app": "web"}}


def calico(on: str, *, ready: bool = True) -> Object:
    return pod(
        f"calico-node-{on}", on, namespace="calico-system", owner=("DaemonSet", "calico-node"), ready=ready, host=True
    )


def web(number: int, on: str = "one", *, ready: bool = True, wired: str = "aws") -> Object:
    return pod(f"web-{number}", on, labels={"app": "web"}, annotations={WIRED_BY: wired}, ready=ready)


def deployment(replicas: int, generation: int = 1) -> Object:
    return {
        "metadata": {"name": "web", "namespace": "apps", "generation": generation},
        "spec": {"replicas": replicas, "template": {"metadata": {"labels": {"app": "web"}}}},
    }


def budget(**spec: object) -> Object:
    return {"metadata": {"name": "web", "namespace": "apps"}, "spec": {"selector": SELECTOR, **spec}}


class Story:
    """Events, one second apart unless told otherwise, and what the watcher made of them."""

    def __init__(self, *without: str) -> None:
        self.watcher = Watcher(without=frozenset(without))
        self.clock = 100.0
        self.found: list[tuple[str, str]] = []

    def see(self, kind: Kind, item: Object, event: str = "MODIFIED", seconds: float = 0.0) -> None:
        self.clock += seconds
        self.watcher.feed(kind, event, item, self.clock)
        self.wait(0)

    def wait(self, seconds: float) -> None:
        self.clock += seconds
        self.found += [(f.rule, f.object) for f in self.watcher.check(self.clock) if f.seconds is None]

    def account(self, instances: dict[str, str], targets: dict[str, dict[str, str]] | None = None) -> None:
        self.watcher.account(instances, targets or {}, self.clock)
        self.wait(0)

    def enforced_node(self) -> None:
        self.see(kube.NODES, node("one"))
        for item in (agent("aws", "one"), calico("one"), web(1)):
            self.see(kube.PODS, item)


@pytest.mark.parametrize("lost", [calico("one", ready=False), agent("aws", "one", ready=False)])
def test_a_workload_whose_enforcer_or_agent_does_not_come_back_is_unenforced(lost):
    story = Story()
    story.enforced_node()
    story.see(kube.PODS, lost)
    story.wait(RESTART_GRACE)
    assert story.found == []
    story.wait(0.1)
    assert story.found == [("unenforced", "one")]


def test_an_enforcer_that_restarts_is_no_violation_for_the_pods_that_it_has_programmed():
    story = Story()
    story.enforced_node()
    story.see(kube.PODS, calico("one"), "DELETED")
    story.see(kube.PODS, calico("one"), seconds=RESTART_GRACE - 1)
    story.wait(RESTART_GRACE + 1)
    assert story.found == []


def test_a_pod_that_starts_while_its_enforcer_is_away_is_unenforced_at_once():
    story = Story()
    story.enforced_node()
    story.see(kube.PODS, calico("one"), "DELETED")
    story.see(kube.PODS, web(7), seconds=1)
    story.wait(START_GRACE)
    assert story.found == []
    story.wait(0.1)
    assert story.found == [("unenforced", "one")]


def test_a_cilium_pod_needs_its_cilium_agent_only():
    story = Story()
    story.enforced_node()
    story.see(kube.PODS, agent("cilium", "two"))
    story.see(kube.PODS, web(2, "two", wired="cilium"))
    story.wait(10)
    assert story.found == []
    story.see(kube.PODS, agent("cilium", "two"), "DELETED")
    story.wait(RESTART_GRACE + 0.1)
    assert story.found == [("unenforced", "two")]


def test_before_anything_was_enforced_nothing_can_be_lost():
    story = Story()
    story.see(kube.PODS, agent("aws", "one"))
    story.see(kube.PODS, web(1))
    story.wait(10)
    assert story.found == []
    assert not story.watcher.armed


def test_a_system_daemon_set_or_host_network_pod_is_no_workload():
    story = Story()
    story.enforced_node()
    story.see(kube.PODS, pod("proxy", "two", namespace="kube-system", owner=("DaemonSet", "x"), ready=True))
    story.see(kube.PODS, pod("host", "two", ready=True, host=True))
    story.wait(10)
    assert story.found == []


def test_both_agents_on_one_node_are_found_and_their_end_too():
    story = Story()
    story.see(kube.PODS, agent("aws", "one"))
    story.see(kube.PODS, agent("cilium", "one"))
    assert story.found == [("two-cnis", "one")]
    story.watcher.feed(kube.PODS, "DELETED", agent("aws", "one"), story.clock)
    (ended,) = story.watcher.check(story.clock + 3)
    assert ended.seconds == 3


def test_a_rule_can_be_left_out():
    story = Story("two-cnis")
    story.see(kube.PODS, agent("aws", "one"))
    story.see(kube.PODS, agent("cilium", "one"))
    assert story.found == []


def healthy_web(story: Story, spec: dict[str, object], replicas: int = 3) -> None:
    story.see(kube.DEPLOYMENTS, deployment(replicas))
    story.see(kube.DISRUPTION_BUDGETS, budget(**spec))
    for number in range(replicas):
        story.see(kube.PODS, web(number))


@pytest.mark.parametrize(
    ("spec", "losses"),
    [
        ({"minAvailable": 2}, 2),
        ({"maxUnavailable": 1}, 2),
        ({"maxUnavailable": "34%"}, 3),
        ({"minAvailable": "50%"}, 2),
    ],
)
def test_a_budget_is_violated_by_one_loss_too_many(spec, losses):
    story = Story()
    healthy_web(story, spec)
    for number in range(losses - 1):
        story.see(kube.PODS, web(number), "DELETED")
    assert story.found == []
    story.see(kube.PODS, web(losses - 1, ready=False))
    assert story.found == [("pdb", "apps/web")]


def test_a_pod_that_is_being_deleted_is_down_for_its_budget():
    story = Story()
    healthy_web(story, {"minAvailable": 3})
    going = web(0)
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    story.see(kube.PODS, going)
    assert story.found == [("pdb", "apps/web")]


def test_losing_every_pod_is_a_violation_although_no_pod_is_left_to_count():
    story = Story()
    healthy_web(story, {"maxUnavailable": 1}, replicas=2)
    for number in range(2):
        story.see(kube.PODS, web(number), "DELETED")
    assert story.found == [("pdb", "apps/web")]


def test_scaling_up_and_down_is_no_disruption():
    story = Story()
    healthy_web(story, {"minAvailable": 2})
    story.see(kube.DEPLOYMENTS, deployment(9, 2))
    story.see(kube.DEPLOYMENTS, deployment(1, 3))
    for number in range(2):
        story.see(kube.PODS, web(number), "DELETED")
    assert story.found == []


def test_a_budget_that_was_never_met_is_not_violated_by_starting_slowly():
    story = Story()
    story.see(kube.DISRUPTION_BUDGETS, budget(minAvailable=2))
    story.see(kube.DEPLOYMENTS, deployment(3))
    story.see(kube.PODS, web(0, ready=False))
    story.see(kube.PODS, web(0))
    assert story.found == []


@pytest.mark.parametrize("after", [{"i-one": "shutting-down"}, {}])
def test_ending_an_instance_under_a_workload_pod_is_a_violation_also_when_its_node_is_gone(after):
    story = Story()
    story.enforced_node()
    story.account({"i-one": "running"})
    story.see(kube.NODES, node("one"), "DELETED")
    story.account(after)
    assert story.found == [("terminated-with-pods", "i-one")]


def test_a_daemon_sets_pod_never_keeps_an_instance_from_ending():
    story = Story()
    story.enforced_node()
    story.see(kube.PODS, web(1), "DELETED")
    story.see(kube.PODS, pod("shipper", "one", namespace="shop", owner=("DaemonSet", "log-shipper"), ready=True))
    story.account({"i-one": "running"})
    story.account({})
    assert story.found == []


def test_ending_a_drained_instance_is_fine():
    story = Story()
    story.enforced_node()
    story.account({"i-one": "running"}, {"web": {"i-one": "healthy"}})
    story.see(kube.PODS, web(1), "DELETED")
    story.account({"i-one": "shutting-down"}, {"web": {}})
    assert story.found == []


@pytest.mark.parametrize("state", ["healthy", "draining"])
def test_ending_an_instance_in_service_is_a_violation(state):
    story = Story()
    story.account({"i-one": "running"})
    story.account({"i-one": "terminated"}, {"web": {"i-one": state}})
    assert story.found == [("terminated-in-service", "i-one")]


def test_a_deleted_policy_is_recorded_for_information():
    story = Story()
    policy = {"metadata": {"name": "deny", "namespace": "apps"}, "spec": {}}
    story.see(kube.NETWORK_POLICIES, policy)
    story.watcher.feed(kube.NETWORK_POLICIES, "DELETED", policy, story.clock)
    (found,) = story.watcher.check(story.clock)
    assert (found.rule, found.severity) == ("policy-deleted", "info")


def endpoint(address: str = "10.0.0.9", number: int = 700) -> Object:
    meta = {"name": "web-1", "namespace": "apps", "uid": "e", "resourceVersion": "1"}
    networking = {"addressing": [{"ipv4": address}], "node": "10.0.0.1"}
    return {"metadata": meta, "status": {"identity": {"id": number}, "networking": networking}}


def identity(number: int = 700, app: str = "web", namespace: str = "apps") -> Object:
    held = {"k8s:app": app, "k8s:io.kubernetes.pod.namespace": namespace}
    return {"metadata": {"name": str(number)}, "security-labels": held}


def known(story: Story) -> None:
    """A pod of a legacy node with an address, and Cilium knows it."""
    story.enforced_node()
    item = web(1)
    item["status"]["podIP"] = "10.0.0.9"
    story.see(kube.PODS, item)
    story.see(kube.CILIUM_IDENTITIES, identity())
    story.see(kube.CILIUM_ENDPOINTS, endpoint())


def test_a_pod_that_cilium_knows_is_no_finding_and_one_that_it_does_not_know_is_none_before_there_is_an_agent():
    story = Story()
    known(story)
    story.see(kube.CILIUM_ENDPOINTS, endpoint(), "DELETED")
    story.wait(IDENTITY_GRACE * 2)
    assert story.found == []
    story.see(kube.CILIUM_ENDPOINTS, endpoint())
    story.see(kube.PODS, agent("cilium", "two"))
    story.wait(IDENTITY_GRACE * 2)
    assert story.found == []


@pytest.mark.parametrize(
    ("kind", "item", "event"),
    [
        (kube.CILIUM_ENDPOINTS, endpoint(), "DELETED"),
        (kube.CILIUM_ENDPOINTS, endpoint("10.0.0.8"), "MODIFIED"),
        (kube.CILIUM_ENDPOINTS, endpoint(number=701), "MODIFIED"),
        (kube.CILIUM_IDENTITIES, identity(), "DELETED"),
        (kube.CILIUM_IDENTITIES, identity(app="db"), "MODIFIED"),
        (kube.CILIUM_IDENTITIES, identity(namespace="other"), "MODIFIED"),
    ],
)
def test_a_pod_of_a_legacy_node_that_cilium_does_not_know_is_found_after_the_grace(
    kind: Kind, item: Object, event: str
):
    story = Story()
    known(story)
    story.see(kube.PODS, agent("cilium", "two"))
    story.see(kind, item, event)
    story.wait(IDENTITY_GRACE)
    assert story.found == []
    story.wait(0.1)
    assert story.found == [("identity-missing", "apps/web-1")]
    story.see(kube.PODS, agent("cilium", "two"), "DELETED")
    assert len(story.found) == 1
