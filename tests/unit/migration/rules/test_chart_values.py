"""Which chart values a stack may choose: nothing that the journey rests on, and everything else."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from migration.cilium_values import EVERYTHING, OPERATOR_TOLERATIONS, Slot, cilium_values
from migration.rules.chart import keys as chart_keys
from migration.rules.chart.free import FREE
from migration.rules.chart.owned import OWNED
from migration.rules.chart.rules import decided
from migration.settings import InvalidSettings, Settings
from tests.unit.migration.examples import owned, raw

ROOT = Path(__file__).parents[4]
DEDICATED = {"key": "dedicated", "operator": "Exists"}
SOMEWHERE = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "kubernetes.io/os", "operator": "Exists"}]}]}


def chosen(values: Any, **over: Any) -> dict[str, Any]:
    return {"cilium": {"groups": [{"name": "workers", "size": 1}], "values": values} | over}


def nested(path: str, value: Any) -> dict[str, Any]:
    for key in reversed(path.split(".")):
        value = {key: value}
    return dict(value)


def refused(values: Any, **over: Any) -> list[str]:
    with pytest.raises(InvalidSettings) as caught:
        Settings.load(raw(**chosen(values, **over)))
    return [str(problem) for problem in caught.value.problems]


def leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(tree, dict) and "*" not in tree:
        for key, below in tree.items():
            yield from leaves(below, (*path, key))
    else:
        yield ".".join(path)


# -- refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("policyEnforcementMode", "never"),
        ("policyEnforcementMode", "Always"),
        ("policyAuditMode", True),
        ("policyAuditMode", "true"),
        ("k8sNetworkPolicy.enabled", False),
        ("policyCIDRMatchMode", ["nodes"]),
        ("policyCIDRMatchMode", "nodes"),
        ("enableNonDefaultDenyPolicies", False),
        ("dnsPolicyUnloadOnShutdown", True),
        ("labels", "!app"),
        ("identityAllocationMode", "kvstore"),
        ("identityManagementMode", "operator"),
        ("disableEndpointCRD", True),
        ("ipam.mode", "cluster-pool"),
        ("eni.enabled", False),
        ("routingMode", "tunnel"),
        ("endpointRoutes.enabled", False),
        ("ipv4.enabled", False),
        ("ipv6.enabled", True),
        ("kubeProxyReplacement", False),
        ("kubeProxyReplacement", "false"),
        ("k8s.serviceProxyName", "other"),
        ("cni.chainingMode", "aws-cni"),
        ("cni.chainingTarget", "aws-cni"),
        ("cni.install", False),
        ("cni.customConf", True),
        ("cni.configMap", "mine"),
        ("cni.readCniConf", "/etc/mine"),
        ("cni.confPath", "/somewhere"),
        ("cleanState", True),
        ("cleanBpfState", True),
        ("agent", False),
        ("sleepAfterInit", True),
        ("operator.enabled", False),
        ("preflight.enabled", True),
        ("nodeinit.enabled", True),
        ("standaloneDnsProxy.enabled", True),
        ("encryption.type", "ztunnel"),
        ("operator.unmanagedPodWatcher.restart", True),
        ("operator.removeNodeTaints", False),
        ("operator.skipCRDCreation", True),
        ("operator.hostNetwork", False),
        ("operator.nodeSelector", {"cni-plugin": "aws"}),
        ("operator.affinity", {"nodeAffinity": {"x": [{"matchExpressions": [{"key": "cni-plugin"}]}]}}),
        ("agentNotReadyTaintKey", "mine"),
        ("affinity", {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": SOMEWHERE}}),
        ("affinity", {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": None}}),
        ("affinity", {"nodeAffinity": None}),
        ("affinity", {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]}}),
        ("affinity", None),
        ("envoy.affinity", {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": SOMEWHERE}}),
        ("nodeSelector", {"pool": "infra"}),
        ("scheduling.mode", "kube-scheduler"),
        ("name", "my-cilium"),
        ("podLabels", {"k8s-app": "mine"}),
        ("k8sServiceHost", "10.0.0.1"),
        ("k8sServiceHostRef.name", "mine"),
        ("kubeConfigPath", "/root/.kube/config"),
        ("image.override", "quay.io/cilium/cilium:v1.17.0"),
        ("operator.image.override", "registry:5000/cilium/operator-aws"),
        ("upgradeCompatibility", "1.15"),
        ("upgradeCompatibility", "old"),
        ("extraConfig", {"enable-policy": "never"}),
        ("extraConfig", {"debug": "true", "hubble": "1"}),
        ("extraArgs", ["--enable-policy=never"]),
        ("extraArgs", ["--debug", "--", "x"]),
        ("operator.extraArgs", ["--ipam=kubernetes"]),
        ("extraEnv", [{"name": "CILIUM_ENABLE_POLICY", "value": "never"}]),
        ("extraEnv", ["CILIUM_ENABLE_POLICY=never"]),
        ("operator.extraEnv", [{"name": "AWS_REGION", "value": "eu-west-9"}]),
        ("operator.extraEnv", [{"name": "KUBERNETES_SERVICE_HOST", "value": "10.0.0.1"}]),
        ("extraVolumeMounts", [{"name": "x", "mountPath": "/tmp/cilium/config-map"}]),  # noqa: S108
        ("extraVolumeMounts", [{"name": "x", "mountPath": "/etc/ssl/../cni/net.d/"}]),
        ("extraHostPathMounts", [{"name": "x", "mountPath": "/"}]),
        ("extraInitContainers", [{"name": "x"}]),
        ("daemon.configSources", "config-map:mine"),
        ("envoy.bootstrapConfigMap", "mine"),
        ("ipMasqAgent.config", {"nonMasqueradeCIDRs": ["0.0.0.0/1", "128.0.0.0/1"]}),
        ("ipMasqAgent.config", {"nonMasqueradeCIDRs": ["10.0.0.1/8"]}),
        ("ipMasqAgent.config", {"masqLinkLocal": True}),
        ("encryption.strictMode.egress.enabled", True),
        ("loadBalancer.mode", "dsr"),
        ("bpf.lbModeAnnotation", True),
        ("bpf.vlanBypass", [0]),
        ("updateStrategy.type", "OnDelete"),
        ("rollOutCiliumPods", False),
        ("cni", None),
        ("ipam", None),
        ("hostServices", {"enabled": True}),
        ("tunnel", "disabled"),
        ("AsMap", {}),
    ],
)
def test_a_value_that_switches_off_what_the_journey_rests_on_is_refused(path: str, value: Any):
    found = refused(nested(path, value))
    assert len(found) == 1
    assert re.match(rf"cilium\.values\.{re.escape(path)}( = .*)?: .+\. .+", found[0]), found


@pytest.mark.parametrize(
    ("path", "value", "instead"),
    [
        ("cluster.id", 7, "Set cilium.clusterId"),
        ("cluster.name", "east", "Set cilium.clusterName"),
        ("operator.replicas", 1, "Set cilium.operatorReplicas"),
        ("enableIPv4Masquerade", False, "Set cilium.egressSource"),
        ("ipMasqAgent.enabled", False, "Set cilium.egressSource"),
        ("ipv4NativeRoutingCIDR", "10.0.0.0/8", "Set network.vpcCidrs"),
        ("eni.awsEnablePrefixDelegation", True, "Set cilium.prefixDelegation"),
        ("eni.nodeSpec.subnetIDs", ["subnet-1"], "Set network.podSubnetIds"),
        ("eni.nodeSpec.securityGroups", ["sg-1"], "Set network.securityGroupIds"),
        ("image.tag", "v1.19.0", "Set cilium.version"),
    ],
)
def test_what_is_a_setting_is_refused_with_its_name(path: str, value: Any, instead: str):
    assert [line for line in refused(nested(path, value)) if line.endswith(instead) or f"{instead} " in line]


def test_every_setting_that_is_named_instead_exists():
    named = {m for rule in OWNED.values() for m in re.findall(r"\b(?:cilium|network)\.\w+(?=\b)(?!\.\w)", rule.instead)}
    model = Settings.model_json_schema(by_alias=True)["$defs"]
    known = {f"{section.lower()}.{key}" for section in ("Cilium", "Network") for key in model[section]["properties"]}
    assert named <= known
    assert "cilium.egressSource" in named


def test_a_key_of_a_new_chart_is_refused_until_somebody_decides_about_it():
    undecided = [path for path in leaves(chart_keys.known()) if decided(path) is None]
    assert undecided == []
    assert decided("enableBypass") is None
    assert not set(OWNED) & FREE


def test_no_row_is_about_a_key_that_the_chart_does_not_have():
    known = set(leaves(chart_keys.known()))
    sections = {path.rsplit(".", depth)[0] for path in known for depth in range(1, path.count(".") + 1)}
    assert {*OWNED, *FREE} - known - sections == set()


# -- accepted ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {"socketLB": {"hostNamespaceOnly": True, "terminatePodConnections": True, "tracing": True}},
        {"policyEnforcementMode": "Default", "kubeProxyReplacement": True, "ipam": {"mode": "eni"}},
        {"cluster": {"id": 0, "name": "default"}, "operator": {"replicas": 2}},
        {"affinity": {"podAntiAffinity": None}},
        {"image": {"repository": "mirror/cilium", "tag": "v1.20.2-mirror.1", "useDigest": False}},
        {"image": {"override": "registry:5000/cilium/cilium:v1.20.2@sha256:0"}},
        {"extraConfig": {"debug": "true", "bpf-ct-global-any-max": "1"}, "extraArgs": ["--pprof-port=1"]},
        {"extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]},
        {"extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ssl/certs"}], "extraVolumes": [{"name": "ca"}]},
        {"operator": {"nodeSelector": {"pool": "infra"}, "topologySpreadConstraints": [{"maxSkew": 1}]}},
        {"eni": {"gcTags": {"a": "b"}, "awsReleaseExcessIPs": True, "instanceTagsFilter": ["a=b"]}},
        {"hubble": {"enabled": True, "relay": {"enabled": True}}, "hostFirewall": {"enabled": True}},
        {"envoy": {"enabled": False}, "l7Proxy": False, "upgradeCompatibility": "1.19"},
        {"preflight": {"tolerations": [DEDICATED]}, "nodeinit": {"image": {"tag": "x"}}},
    ],
    ids=",".join,
)
def test_a_value_that_leaves_the_journey_alone_is_accepted(values: dict[str, Any]):
    assert owned(**chosen(values)).cilium.values == values


def test_every_list_of_tolerations_and_spread_constraints_of_the_chart_is_a_list():
    paths = [p for p in leaves(chart_keys.known()) if p.endswith(("olerations", "topologySpreadConstraints"))]
    assert {"tolerations", "operator.tolerations", "operator.topologySpreadConstraints"} <= set(paths)
    for path in paths:
        owned(**chosen(nested(path, [DEDICATED])))
        assert refused(nested(path, DEDICATED))


def test_strict_encryption_is_for_clusters_without_legacy_nodes():
    values = {"encryption": {"enabled": True, "strictMode": {"egress": {"enabled": True, "cidr": "10.0.0.0/16"}}}}
    assert refused(values)
    Settings.load(raw(journey="greenfield", stage="launch", **chosen(values)))


def remedies() -> list[tuple[str, Any]]:
    """Chart values that texts of the program tell people to set."""
    files = [p for room in ("components", "migration", "netpol", "operations") for p in (ROOT / room).rglob("*.py")]
    files += [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    found = re.findall(r"\bcilium\.values\.([\w.]+\w): (\w+)", "\n".join(p.read_text() for p in files))
    return [(path, yaml.safe_load(value)) for path, value in found]


def test_every_chart_value_that_a_text_of_the_program_names_is_accepted():
    named = remedies()
    assert ("cni.exclusive", False) in named
    assert ("socketLB.hostNamespaceOnly", True) in named
    for path, value in named:
        owned(**chosen(nested(path, value)))


# -- what becomes of them ---------------------------------------------------------------------------


def test_lists_that_something_is_needed_in_are_added_to():
    environment = [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]
    values = {
        "tolerations": [DEDICATED],
        "envoy": {"tolerations": []},
        "operator": {"tolerations": None, "extraEnv": environment},
        "ipMasqAgent": {"config": {"nonMasqueradeCIDRs": ["192.168.0.0/16", "10.0.0.0/16"]}},
    }
    made = cilium_values(owned(**chosen(values)), None)
    assert made["tolerations"] == [EVERYTHING, DEDICATED]
    assert made["envoy"]["tolerations"] == [EVERYTHING]
    assert made["operator"]["tolerations"] == [*OPERATOR_TOLERATIONS]
    assert made["operator"]["extraEnv"] == [{"name": "AWS_REGION", "value": str(Slot.REGION)}, *environment]
    assert made["ipMasqAgent"]["config"]["nonMasqueradeCIDRs"] == ["10.0.0.0/16", "192.168.0.0/16"]


def test_without_such_lists_the_release_is_what_it_was():
    made = cilium_values(owned(), None)
    assert "tolerations" not in {*made, *made["envoy"], *made["operator"]}
