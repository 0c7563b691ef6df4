"""What a live cluster tells its Cilium agents counts on the command line as it does in the gates."""

from __future__ import annotations

import json
from typing import Any

import pytest

from operations.policy import main
from tests.unit.netpol.test_live import KINDS, PAGES, server  # noqa: F401 - a fixture

CONFIG = "/api/v1/namespaces/kube-system/configmaps/cilium-config"
KINDS |= {
    "ciliumnetworkpolicies": "CiliumNetworkPolicy",
    "ciliumclusterwidenetworkpolicies": "CiliumClusterwideNetworkPolicy",
    "ciliumnodeconfigs": "CiliumNodeConfig",
    "endpointslices": "EndpointSlice",
}
Flow = tuple[str, str]


def rules(where: str, spec: dict[str, Any]) -> dict[str, Any]:
    """One policy of Cilium for the pods `app: WHERE`, as the API server lists it."""
    return {"metadata": {"name": "own"}, "spec": {"endpointSelector": {"matchLabels": {"app": where}}, **spec}}


@pytest.fixture
def agents(server, monkeypatch):  # noqa: F811
    """A cluster of which Cilium's policies and configuration can be said."""
    group = "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies"
    for path in [path for path in PAGES if "projectcalico" in path or "networking" in path]:
        monkeypatch.delitem(PAGES, path)
    node = {"metadata": {"name": "n1"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.9.1"}]}}
    other = {"metadata": {"name": "n2"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.9.2"}]}}
    monkeypatch.setitem(PAGES, "/api/v1/nodes", [node, other])

    def told(policy: dict[str, Any] | None, config: dict[str, str] | None, *laid_over: dict[str, Any]) -> str:
        monkeypatch.setitem(PAGES, group, [policy] if policy else [])
        if config is None:
            monkeypatch.delitem(PAGES, CONFIG, raising=False)
        else:
            monkeypatch.setitem(PAGES, CONFIG, {"kind": "ConfigMap", "apiVersion": "v1", "data": config})
        monkeypatch.setitem(PAGES, "/apis/cilium.io/v2/ciliumnodeconfigs", list(laid_over))
        return str(server.address)

    return told


def explained(address: str, flow: Flow, *more: str) -> int:
    source, destination = flow
    ends = ["--from", source, "--to", destination, "--port", "80"]
    return main(["explain", "--live", "--server", address, "--engine", "cilium", *ends, *more])


INTO_DB = {"ingress": [{"fromEndpoints": [{"matchLabels": {"app": "web"}}]}]}
OUT_BY_CIDR = {"egress": [{"toCIDR": ["10.0.0.0/8"]}]}
CASES = [
    # configuration, Cilium's policy, a flow, whether it is allowed as agents are by default, and as they are told
    ({"enable-policy": "never"}, rules("db", INTO_DB), ("red/cache", "red/db"), False, True),
    ({"policy-audit-mode": "true"}, rules("db", INTO_DB), ("red/cache", "red/db"), False, True),
    ({"enable-policy": "always"}, None, ("red/web", "8.8.8.8"), True, False),
    ({"policy-cidr-match-mode": "nodes"}, rules("web", OUT_BY_CIDR), ("red/web", "node:n2"), False, True),
    ({"policy-cidr-match-mode": "nodes pods"}, rules("web", OUT_BY_CIDR), ("red/web", "red/db"), False, True),
    ({"labels": "k8s:!app"}, rules("db", INTO_DB), ("red/cache", "red/db"), False, True),
    ({"allow-localhost": "policy"}, rules("db", INTO_DB), ("node:n1", "red/db"), True, False),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case[0]))
def test_an_option_of_the_agents_changes_what_explain_says(agents, case):
    config, policy, flow, before, then = case
    assert explained(agents(policy, None), flow) == (0 if before else 1)
    assert explained(agents(policy, {}), flow) == (0 if before else 1)
    assert explained(agents(policy, config), flow) == (0 if then else 1)


def test_cluster_policies_count_where_the_agents_enforce_them(agents, monkeypatch):
    spec = {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}}
    denied = {"egress": [{"action": "Deny", "to": [{"networks": ["8.8.8.0/24"]}]}]}
    policy = {"metadata": {"name": "k"}, "spec": spec | denied}
    monkeypatch.setitem(PAGES, "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies", [policy])
    flow = ("red/web", "8.8.8.8")
    assert explained(agents(None, {}), flow) == 0
    assert explained(agents(None, {"enable-k8s-cluster-network-policy": "true"}), flow) == 1


def test_a_host_firewall_is_not_guessed_about(agents):
    policy = {"metadata": {"name": "hosts"}, "spec": {"nodeSelector": {}, "ingress": [{"fromEntities": ["cluster"]}]}}
    flow = ("red/web", "node:n2")
    assert explained(agents(policy, {}), flow) == 0
    assert explained(agents(policy, {"enable-host-firewall": "true"}), flow) == 2


def test_protocols_that_the_agents_know_by_name_can_be_translated(agents, monkeypatch, capsys):
    def translated(config: dict[str, str]) -> int:
        address = agents(None, config)
        spec = {"selector": "app == 'web'", "types": ["Egress"], "egress": [{"action": "Allow", "protocol": 47}]}
        stored = {"metadata": {"name": "default.gre"}, "spec": spec}
        monkeypatch.setitem(PAGES, "/apis/crd.projectcalico.org/v1/globalnetworkpolicies", [stored])
        return main(["translate", "--live", "--server", address, "--calico-version", "3.32"])

    assert translated({}) == 1
    assert translated({"enable-extended-ip-protocols": "true"}) == 0
    capsys.readouterr()


def test_the_addresses_of_the_api_server_are_those_behind_its_service(agents, monkeypatch):
    policy = rules("web", {"egress": [{"toEntities": ["kube-apiserver"]}]})
    ends = {"endpoints": [{"addresses": ["10.7.0.4"]}], "addressType": "IPv4"}
    meta = {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}}
    address = agents(policy, {})
    assert explained(address, ("red/web", "10.7.0.4")) == 1
    monkeypatch.setitem(PAGES, "/apis/discovery.k8s.io/v1/endpointslices", [{"metadata": meta, **ends}])
    assert explained(address, ("red/web", "10.7.0.4")) == 0


def test_the_name_of_the_cluster_is_asked_for_where_policies_name_it(agents, capsys):
    named = {"matchLabels": {"app": "cache", "io.cilium.k8s.policy.cluster": "prod"}}
    policy = rules("db", {"ingress": [{"fromEndpoints": [named]}]})
    flow = ("red/cache", "red/db")
    assert explained(agents(policy, {"cluster-name": "prod"}), flow) == 0
    assert explained(agents(policy, {"cluster-name": "other"}), flow) == 1
    assert explained(agents(policy, {"cluster-name": "other"}), flow, "--cluster-name", "prod") == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("config", "laid_over", "text"),
    [
        ({"enable-policy": "sometimes"}, {}, "Write default, always or never"),
        ({"enable-k8s-networkpolicy": "false"}, {}, "set it to true"),
        ({"labels": "k8s:(?i)app"}, {}, "leave `labels` out"),
        ({}, {"enable-policy": "never"}, "ciliumnodeconfig kube-system/odd sets enable-policy"),
    ],
)
def test_what_nobody_can_follow_is_undecided_with_the_key_and_a_way_out(agents, capsys, config, laid_over, text):
    odd = {"metadata": {"name": "odd", "namespace": "kube-system"}, "spec": {"defaults": laid_over}}
    assert explained(agents(None, config, odd), ("red/web", "red/db")) == 2
    told = capsys.readouterr()
    assert text in told.err
    assert text in json.loads(told.out)["error"]
