"""What Cilium's operator and agents do, and when they do nothing."""

import pytest

from sandbox.operators import agents, cilium_policy, kube
from sandbox.operators.cilium import SCHEMA_LABEL, TAINT, CiliumOperator, seconds
from sandbox.operators.cilium_agent import CiliumAgents
from sandbox.operators.cni import POD_IP, WIRED_BY
from sandbox.operators.kube import Object
from tests.unit.operators.fakes import FakeCluster, FakeNetwork, agent, cilium_config, node, pod

PLURALS = ("ciliumnodes", "ciliumendpoints", "ciliumidentities")
DEFINITIONS = [{"metadata": {"name": f"{p}.cilium.io"}, "spec": {"names": {"plural": p}}} for p in PLURALS]
NOW = 1_800_000_000.0


class World:
    """One node with an agent, and an operator that may be Ready."""

    def __init__(self, *, operator: bool = True, **config: str) -> None:
        self.cluster = FakeCluster()
        self.network = FakeNetwork()
        self.network.launch("i-one")
        self.time = NOW
        self.cluster.put(kube.NODES, node("one"))
        self.cluster.put(kube.NAMESPACES, {"metadata": {"name": "apps", "labels": {"team": "blue"}}})
        self.cluster.put(kube.CONFIG_MAPS, cilium_config(**config))
        self.cluster.put(kube.PODS, agent("cilium", "one"))
        app = {"io.cilium/app": "operator"}
        self.cluster.put(kube.PODS, pod("op", "one", namespace="kube-system", labels=app, ready=operator, host=True))
        self.operator = CiliumOperator(
            self.cluster, self.network, lambda: DEFINITIONS, lambda: "1.33.12", lambda: self.time
        )
        self.agents = CiliumAgents(self.cluster, self.network)

    def settle(self) -> None:
        for _ in range(3):
            self.operator.reconcile()
            self.agents.reconcile()

    def workload(self, name: str, **labels: str) -> Object:
        marks = {WIRED_BY: "cilium", POD_IP: f"10.0.0.{100 + len(self.cluster.list(kube.PODS))}"}
        return self.cluster.put(kube.PODS, pod(name, "one", labels=labels, annotations=marks, ready=True))

    def endpoint(self, name: str) -> Object:
        status: Object = self.cluster.get(kube.CILIUM_ENDPOINTS, name, "apps")["status"]
        return status


def policy(name: str = "p", namespace: str = "apps", **rule: object) -> Object:
    meta = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"metadata": meta, "spec": {"endpointSelector": {"matchLabels": {"app": "web"}}, **rule}}


def test_nothing_happens_while_no_operator_is_ready():
    world = World(operator=False)
    world.settle()
    assert world.cluster.list(kube.DEFINITIONS) == []
    assert world.cluster.list(kube.CILIUM_NODES) == []
    assert world.network.made == []
    assert kube.annotations(world.cluster.get(kube.PODS, "cilium-one", "kube-system"))["sandbox/ready"] == "false"


def test_the_operator_registers_definitions_with_its_label():
    world = World()
    world.operator.reconcile()
    assert {kube.labels(d)[SCHEMA_LABEL] for d in world.cluster.list(kube.DEFINITIONS)} == {"1.33.12"}


def test_a_node_gets_eight_addresses_ahead_and_two_for_the_agent_itself():
    world = World(eni_tags='{"team": "net"}')
    world.settle()
    found = world.cluster.get(kube.CILIUM_NODES, "one")
    # The instance has room for three addresses on each of three interfaces.
    assert found["spec"]["ipam"]["pools"]["requested"][0]["needed"] == {"ipv4-addrs": 10}
    assert len(agents.pool(found)) == 9
    assert agents.router(found) in agents.pool(found)
    assert found["status"]["eni"]["enis"].keys() == {"eni-i-one", "eni-i-one-1", "eni-i-one-2"}
    wanted = {"io.cilium/cilium-managed": "true", "io.cilium/cluster-name": "east", "team": "net"}
    assert world.network.made == [wanted, wanted]


@pytest.mark.parametrize("spec", [{"eni_subnet_ids": "subnet-b"}, {"eni_subnet_tags": "for=b"}])
def test_subnets_of_another_zone_or_none_at_all_give_no_interface(spec):
    world = World(**spec, eni_first_interface_index="1")
    world.settle()
    assert world.network.made == []
    assert agents.pool(world.cluster.get(kube.CILIUM_NODES, "one")) == []


def test_the_taint_is_set_while_the_agent_is_scheduled_and_lifted_when_it_is_ready():
    world = World()
    world.cluster.put(kube.PODS, agent("cilium", "one", ready=False))
    world.operator.reconcile()
    assert world.cluster.get(kube.NODES, "one")["spec"]["taints"] == [{"key": TAINT, "effect": "NoSchedule"}]
    world.cluster.put(kube.PODS, agent("cilium", "one"))
    world.operator.reconcile()
    found = world.cluster.get(kube.NODES, "one")
    assert not found["spec"].get("taints")
    assert kube.condition(found, "NetworkUnavailable")["reason"] == "CiliumIsUp"


def test_a_taint_is_not_set_when_the_chart_says_so():
    world = World(set_cilium_node_taints="false")
    world.cluster.put(kube.PODS, agent("cilium", "one", ready=False))
    world.operator.reconcile()
    assert not world.cluster.get(kube.NODES, "one")["spec"].get("taints")


def test_a_pod_gets_an_endpoint_with_its_identity_and_loses_it_with_its_life():
    world = World()
    world.settle()
    web = world.workload("web-1", app="web", **{"pod-template-hash": "x"})
    world.workload("web-2", app="web")
    world.settle()
    (identity,) = world.cluster.list(kube.CILIUM_IDENTITIES)
    assert identity["security-labels"] == {
        "k8s:app": "web",
        "k8s:io.cilium.k8s.namespace.labels.team": "blue",
        "k8s:io.cilium.k8s.policy.cluster": "east",
        "k8s:io.cilium.k8s.policy.serviceaccount": "default",
        "k8s:io.kubernetes.pod.namespace": "apps",
    }
    assert world.endpoint("web-1")["identity"]["id"] == int(kube.name(identity))
    assert world.endpoint("web-1")["networking"]["node"] == "10.0.0.1"
    world.cluster.delete(kube.PODS, web)
    world.settle()
    assert [kube.name(e) for e in world.cluster.list(kube.CILIUM_ENDPOINTS)] == ["web-2"]


def test_endpoints_that_others_write_for_nodes_without_an_agent_are_left_alone():
    world = World()
    ref = {"apiVersion": "v1", "kind": "Pod", "name": "old", "uid": "uid-of-a-legacy-pod"}
    body = {
        "metadata": {"name": "old", "namespace": "apps", "ownerReferences": [ref]},
        "status": {"networking": {"node": "10.0.9.9", "addressing": []}},
    }
    world.cluster.put(kube.CILIUM_ENDPOINTS, body)
    world.agents.reconcile()
    assert len(world.cluster.list(kube.CILIUM_ENDPOINTS)) == 1


def test_a_settled_cluster_causes_no_further_writes():
    world = World()
    world.settle()
    world.workload("web-1", app="web")
    world.settle()
    world.cluster.writes.clear()
    world.settle()
    assert world.cluster.writes == []


@pytest.mark.parametrize(
    ("kind", "body", "enforcing"),
    [
        (kube.CILIUM_POLICIES, policy(ingress=[{}]), (True, False)),
        (kube.CILIUM_POLICIES, policy(egressDeny=[{}]), (False, True)),
        (kube.CILIUM_POLICIES, policy(ingress=[{}], enableDefaultDeny={"ingress": False}), (False, False)),
        (kube.CILIUM_POLICIES, policy(namespace="other", ingress=[{}]), (False, False)),
        (kube.CILIUM_CLUSTER_POLICIES, policy(namespace="", egress=[{}]), (False, True)),
        (kube.CILIUM_POLICIES, policy(ingress=[{"fromEndpoints": [{}], "fromEntities": ["all"]}]), (False, False)),
        (kube.NETWORK_POLICIES, {"metadata": {"name": "n", "namespace": "apps"}, "spec": {"podSelector": {}}}, (True, False)),
        (
            kube.NETWORK_POLICIES,
            {"metadata": {"name": "n", "namespace": "apps"}, "spec": {"podSelector": {}, "policyTypes": ["Egress"]}},
            (False, True),
        ),
    ],
)  # fmt: skip
def test_an_endpoint_enforces_in_the_directions_of_the_policies_that_select_it(kind, body, enforcing):
    world = World()
    world.workload("web-1", app="web")
    world.cluster.put(kind, body)
    world.settle()
    seen = world.endpoint("web-1")["policy"]
    assert (seen["ingress"]["enforcing"], seen["egress"]["enforcing"]) == enforcing


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ({"matchLabels": {"k8s:app": "web"}}, True),
        ({"matchLabels": {"any:app": "web"}}, True),
        ({"matchLabels": {"reserved:host": ""}}, False),
        ({"matchLabels": {"k8s:io.kubernetes.pod.namespace": "apps"}}, True),
        ({"matchExpressions": [{"key": "io.cilium.k8s.namespace.labels.team", "operator": "In", "values": ["blue"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
    ],
)  # fmt: skip
def test_selectors_may_name_the_source_of_a_label(selector, matches):
    labels = cilium_policy.security_labels(
        pod("web", labels={"app": "web"}), {"metadata": {"name": "apps", "labels": {"team": "blue"}}}, "east"
    )
    rule = {"metadata": {"name": "p"}, "spec": {"endpointSelector": selector, "ingress": [{}]}}
    assert cilium_policy.enforced(labels, "default", [rule], []) == (matches, False)


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({}, "at least one of"),
        ({"ingress": [{"toPorts": [{"ports": [{"protocol": "TCP"}]}]}]}, "Port must be specified"),
        ({"ingress": [{"toPorts": [{"ports": [{"port": "70000"}]}]}]}, "70000"),
        ({"egress": [{"toPorts": [{"ports": [{"port": "1"}] * 41}]}]}, "too many ports"),
        ({"egress": [{"icmps": [{}], "toPorts": [{"ports": [{"port": "1"}]}]}]}, "icmps"),
        ({"egress": [{"toCIDR": ["1.1.1.1/32"], "toEntities": ["all"]}]}, "combining"),
        ({"ingress": [{}], "nodeSelector": {}}, "both"),
        ({"ingress": [{"fromCIDR": ["1.1.1.1/32"], "fromCIDRSet": []}]}, ""),
    ],
)
def test_a_policy_that_cilium_would_not_load_is_refused_with_the_reason(rule, reason):
    refused = cilium_policy.refusal(policy(**rule))
    assert reason in refused
    assert bool(reason) == bool(refused)


def test_the_verdict_on_a_policy_is_a_condition_and_follows_its_changes():
    world = World()
    world.cluster.put(kube.CILIUM_POLICIES, policy(ingress=[{}]))
    world.operator.reconcile()
    stored = world.cluster.get(kube.CILIUM_POLICIES, "p", "apps")
    assert kube.condition(stored, "Valid")["status"] == "True"
    stored["spec"]["ingress"] = []
    world.operator.reconcile()
    assert kube.condition(world.cluster.get(kube.CILIUM_POLICIES, "p", "apps"), "Valid")["status"] == "False"


def test_nodes_endpoints_and_identities_that_nothing_needs_are_collected():
    world = World()
    world.time = NOW + 1_000
    world.cluster.put(kube.CILIUM_NODES, {"metadata": {"name": "gone"}, "spec": {}})
    kept = {"metadata": {"name": "kept", "annotations": {"cilium.io/do-not-gc": "true"}}, "spec": {}}
    world.cluster.put(kube.CILIUM_NODES, kept)
    for name, owner in (("orphan", "Pod"), ("of-a-node", "Node")):
        meta = {"name": name, "namespace": "apps", "ownerReferences": [{"kind": owner, "uid": "x"}]}
        world.cluster.put(kube.CILIUM_ENDPOINTS, {"metadata": meta, "status": {}})
    world.cluster.put(kube.CILIUM_IDENTITIES, {"metadata": {"name": "300"}, "security-labels": {}})
    world.operator.reconcile()
    assert {kube.name(n) for n in world.cluster.list(kube.CILIUM_NODES)} == {"kept"}
    assert {kube.name(e) for e in world.cluster.list(kube.CILIUM_ENDPOINTS)} == {"of-a-node"}
    assert len(world.cluster.list(kube.CILIUM_IDENTITIES)) == 1
    world.time += 3_600
    world.operator.reconcile()
    assert world.cluster.list(kube.CILIUM_IDENTITIES) == []


@pytest.mark.parametrize(("interval", "left"), [("15", 1), ("0", 2)])
def test_unmanaged_dns_pods_are_restarted_one_at_a_time_unless_switched_off(interval, left):
    world = World(unmanaged_pod_watcher_interval=interval)
    for number in range(2):
        world.cluster.put(kube.PODS, pod(f"dns-{number}", "two", labels={"k8s-app": "kube-dns"}, ready=True))
    world.operator.reconcile()
    world.operator.reconcile()
    assert sum(kube.name(p).startswith("dns") for p in world.cluster.list(kube.PODS)) == left


@pytest.mark.parametrize(("text", "value"), [("15m0s", 900), ("5m", 300), ("500ms", 0.5), ("1h30m", 5400), ("", 0)])
def test_durations_are_those_of_go(text, value):
    assert seconds(text) == value
