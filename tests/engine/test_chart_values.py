"""The real chart, rendered: what a stack may choose never changes what the journey rests on."""

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import pytest
import yaml

from migration.cilium_values import cilium_values
from migration.names import CILIUM_CNI, CNI_LABEL
from migration.rules import affinity
from migration.rules.chart import keys as chart_keys
from migration.settings import InvalidSettings
from operations.commands.schema import chart_tree
from sandbox import toolcache
from tests.unit.migration.examples import owned, raw

Objects = dict[tuple[str, str], Any]
"""(kind, name) -> object."""
Render = Callable[[Mapping[str, Any]], Objects]

RESTS_ON = frozenset(
    """
    agent-not-ready-taint-key allow-localhost allow-unsafe-policy-skb-usage auto-create-cilium-node-resource
    auto-direct-node-routes aws-enable-prefix-delegation bpf-lb-mode bpf-root clean-cilium-bpf-state
    clean-cilium-state cluster-id cluster-name cni-chaining-mode cni-chaining-target cni-external-routing
    cni-uninstall custom-cni-conf direct-routing-skip-unreachable disable-endpoint-crd disable-iptables-feeder-rules
    dns-policy-unload-on-shutdown egress-masquerade-interfaces enable-bpf-masquerade enable-datapath-plugins
    enable-encryption-strict-mode-egress enable-encryption-strict-mode-ingress enable-endpoint-routes
    enable-health-check-nodeport enable-ip-masq-agent enable-ipv4 enable-ipv4-masquerade enable-ipv6
    enable-k8s-networkpolicy enable-local-node-route enable-masquerade-to-route-source
    enable-non-default-deny-policies enable-policy enable-source-ip-verification enable-standalone-dns-proxy
    enable-ztunnel eni-first-interface-index eni-security-group-tags eni-security-groups eni-subnet-ids
    eni-subnet-tags eni-use-primary-address identity-allocation-mode identity-management-mode
    install-uplink-routes-for-delegated-ipam ipam ipv4-native-routing-cidr k8s-api-server-urls k8s-kubeconfig-path
    k8s-require-ipv4-pod-cidr k8s-require-ipv6-pod-cidr k8s-service-proxy-name kube-proxy-replacement
    kube-proxy-replacement-healthz-bind-address kvstore kvstore-opt labels node-port-range policy-audit-mode
    policy-cidr-match-mode policy-default-local-cluster proxy-use-original-source-address read-cni-conf
    remove-cilium-node-taints routing-mode set-cilium-node-taints skip-crd-creation subnet-ids-filter
    subnet-tags-filter unmanaged-pod-watcher-interval vlan-bpf-bypass write-cni-conf-when-ready
    """.split()  # noqa: SIM905
)
"""Keys of cilium-config that stay as we set them, or stay away."""
ENVIRONMENT = (
    "AWS_REGION",
    "CILIUM_K8S_NAMESPACE",
    "K8S_NODE_NAME",
    "KUBERNETES_SERVICE_HOST",
    "KUBERNETES_SERVICE_PORT",
)
CHUNK = 40
"""Values tried together: a chart takes half a second to render."""


@pytest.fixture(scope="module")
def render() -> Render:
    chart, helm = toolcache.cilium_chart(), toolcache.ensure(print)["helm"]

    def rendered(values: Mapping[str, Any]) -> Objects:
        argv = [str(helm), "template", "cilium", str(chart), "--namespace", "kube-system", "--kube-version", "1.35.0"]
        done = subprocess.run(
            [*argv, "--values", "-"], input=json.dumps(values), text=True, capture_output=True, check=False
        )
        if done.returncode:
            raise ValueError(done.stderr)
        return {(o["kind"], o["metadata"]["name"]): o for o in yaml.load_all(done.stdout, yaml.CSafeLoader) if o}

    return rendered


@pytest.fixture(scope="module")
def base(render: Render) -> Objects:
    """The release of a stack that chooses nothing."""
    return render(stack({}))


def stack(values: Mapping[str, Any]) -> dict[str, Any]:
    """The release of a stack that chooses these.

    Raises:
        InvalidSettings: it may not.
    """
    network = raw()["network"] | {"securityGroupIds": ["sg-0a"]}
    cilium = {"groups": [{"name": "workers", "size": 1}], "values": values}
    return cilium_values(owned(network=network, cilium=cilium), None)


def broken(objects: Objects, base: Objects) -> Iterator[str]:
    """What the journey rests on and these objects do not do."""
    agents = objects.get(("DaemonSet", "cilium"))
    operator = objects.get(("Deployment", "cilium-operator"))
    if not agents or not operator:
        yield "agents or operator are not there"
        return
    config = objects["ConfigMap", "cilium-config"]["data"]
    before = base["ConfigMap", "cilium-config"]["data"]
    for key in sorted(RESTS_ON):
        if config.get(key) != before.get(key):
            yield f"cilium-config {key}: {before.get(key)!r} -> {config.get(key)!r}"
    for (kind, name), found in objects.items():
        if kind == "DaemonSet" and name != "spire-agent":  # it only gives out certificates
            spec = found["spec"]["template"]["spec"]
            if not affinity.is_pinned(spec.get("affinity"), CNI_LABEL, CILIUM_CNI):
                yield f"{name} is not bound to Cilium nodes"
            if spec.get("nodeSelector") != {"kubernetes.io/os": "linux"}:
                yield f"{name} selects {spec.get('nodeSelector')}"
            if {"operator": "Exists"} not in (spec.get("tolerations") or []):
                yield f"{name} does not tolerate everything"
            if not str(spec.get("priorityClassName", "")).startswith("system-"):
                yield f"{name} makes room for others"
    for found in (agents, operator):
        mine = base[found["kind"], found["metadata"]["name"]]
        here, there = (o["spec"]["template"]["spec"] for o in (found, mine))
        for field in ("serviceAccountName", "hostNetwork", "priorityClassName", "dnsPolicy"):
            if here.get(field) != there.get(field):
                yield f"{found['metadata']['name']} {field}: {there.get(field)} -> {here.get(field)}"
        one, other = here["containers"][0], there["containers"][0]
        for field in ("command", "args"):
            if one.get(field) != other.get(field):
                yield f"{one['name']} {field}: {other.get(field)} -> {one.get(field)}"
        after, mine = ([e for e in c["env"] if e["name"] in ENVIRONMENT] for c in (one, other))
        if after != mine:
            yield f"{one['name']} environment: {mine} -> {after}"
    if operator["spec"]["replicas"] != base["Deployment", "cilium-operator"]["spec"]["replicas"]:
        yield "another number of operators"
    needed = {"node.kubernetes.io/not-ready", "node.cilium.io/agent-not-ready"}
    if not needed <= {t.get("key") for t in operator["spec"]["template"]["spec"]["tolerations"]}:
        yield "the operator waits for nodes that wait for it"


def nested(path: str, value: Any) -> dict[str, Any]:
    for key in reversed(path.split(".")):
        value = {key: value}
    return dict(value)


def laid_over(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        mine = merged.get(key)
        merged[key] = laid_over(mine, value) if isinstance(mine, dict) and isinstance(value, dict) else value
    return merged


def switches(tree: Any, defaults: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every value of the chart with something else in it than what it has by default, as far as types tell."""
    if isinstance(tree, dict) and "*" not in tree:
        for key, below in tree.items():
            yield from switches(below, defaults.get(key) if isinstance(defaults, dict) else None, (*path, key))
    elif isinstance(tree, list):
        here = ".".join(path)
        if "boolean" in tree or not tree:
            yield here, not defaults
        elif "integer" in tree or "number" in tree:
            yield here, defaults + 1 if isinstance(defaults, int | float) else 1
        elif "array" in tree:
            yield here, [{"key": "dedicated", "operator": "Exists"}] if path[-1] == "tolerations" else ["other"]
        else:
            yield here, "other"


def chosen(tree: Any, defaults: Any) -> Iterator[tuple[str, Any]]:
    """Of those the ones that a stack may choose."""
    for path, value in switches(tree, defaults):
        try:
            stack(nested(path, value))
        except InvalidSettings:
            continue
        yield path, value


def chart_defaults() -> Any:
    return yaml.safe_load((toolcache.cilium_chart() / "values.yaml").read_text())


def faults(render: Render, base: Objects, cases: list[tuple[str, Any]]) -> list[str]:
    """What is broken by values that are chosen together; those that the chart itself refuses break nothing."""
    values: dict[str, Any] = {}
    for path, value in cases:
        values = laid_over(values, nested(path, value))
    try:
        found = list(broken(render(stack(values)), base))
    except ValueError:
        found = None
    if len(cases) == 1:
        return [f"{cases[0][0]}: {fault}" for fault in found or []]
    if found == []:
        return []
    half = len(cases) // 2
    return [*faults(render, base, cases[:half]), *faults(render, base, cases[half:])]


# -- tests ------------------------------------------------------------------------------------------


def test_the_committed_keys_are_those_of_the_pinned_chart():
    fresh = chart_tree(toolcache.cilium_chart())
    assert chart_keys.known() == fresh, "run: python -m operations schema chart --chart DIR"


@pytest.mark.parametrize(
    "values",
    [
        {"policyEnforcementMode": "never"},
        {"policyAuditMode": True},
        {"k8sNetworkPolicy": {"enabled": False}},
        {"ipam": {"mode": "cluster-pool"}, "eni": {"enabled": False}},
        {"routingMode": "tunnel"},
        {"kubeProxyReplacement": "false"},
        {"cni": {"chainingMode": "aws-cni"}},
        {"cni": {"customConf": True}},
        {"cluster": {"id": 7, "name": "other"}},
        {"k8sServiceHost": "10.0.0.1"},
        {"agent": False},
        {"sleepAfterInit": True},
        {"operator": {"enabled": False}},
        {"operator": {"unmanagedPodWatcher": {"restart": True}}},
        {"scheduling": {"mode": "kube-scheduler"}},
        {"nodeinit": {"enabled": True}},
        {"affinity": {"nodeAffinity": None}},
        {"tolerations": []},
        {"operator": {"tolerations": []}},
        {"extraConfig": {"enable-policy": "never"}},
        {"extraArgs": ["--enable-policy=never"]},
        {"bpf": {"masquerade": None}},
    ],
    ids=str,
)
def test_what_would_switch_the_journey_off_is_seen_in_what_the_chart_makes_of_it(
    render: Render, base: Objects, values: Any
):
    assert list(broken(render(laid_over(stack({}), values)), base))


def test_no_value_that_a_stack_may_choose_changes_what_the_journey_rests_on(render: Render, base: Objects):
    assert list(broken(base, base)) == []
    cases = list(chosen(chart_keys.known(), chart_defaults()))
    assert len(cases) > 500
    alone = [[case] for case in cases if case[0].endswith(".enabled") and not case[1]]  # or it would hide the rest
    together = [case for case in cases if [case] not in alone]
    chunks = [together[i : i + CHUNK] for i in range(0, len(together), CHUNK)]
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda chunk: faults(render, base, chunk), [*alone, *chunks])
        assert list(chain.from_iterable(found)) == []
