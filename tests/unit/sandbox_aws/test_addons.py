"""Managed add-ons as boto3 sees them; what happens in a cluster is tested with a real API server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox.aws.eks.addon_catalog import ADDONS, SCHEMAS
from sandbox.cluster.addons import without
from sandbox.cluster.manifests import manifests

from .conftest import Account

AFFINITY: dict[str, Any] = {"nodeAffinity": {}}


def test_the_schema_of_vpc_cni_has_affinity_and_that_of_kube_proxy_has_not(account: Account):
    eks = account.client("eks")
    for name, known in (("vpc-cni", True), ("kube-proxy", False)):
        version = eks.describe_addon_versions(addonName=name, kubernetesVersion="1.35")["addons"][0]["addonVersions"][0]
        schema = json.loads(
            eks.describe_addon_configuration(addonName=name, addonVersion=version["addonVersion"])[
                "configurationSchema"
            ]
        )
        assert ("affinity" in schema["properties"]) is known
        assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("addon", "values", "named"),
    [
        ("kube-proxy", {"affinity": AFFINITY}, "affinity"),
        ("vpc-cni", {"env": {"WARM_IP_TARGET": 3}}, r"\$\.env\.WARM_IP_TARGET"),
        ("vpc-cni", {"env": {"TYPO": "1"}}, "TYPO"),
        ("coredns", {"replicaCount": 0}, r"\$\.replicaCount"),
    ],
)
def test_configuration_values_outside_the_schema_are_refused_by_key(
    account: Account, addon: str, values: dict[str, object], named: str
):
    account.cluster()
    eks = account.client("eks")
    with pytest.raises(eks.exceptions.InvalidParameterException, match=named):
        eks.create_addon(clusterName="demo", addonName=addon, configurationValues=json.dumps(values))
    assert eks.list_addons(clusterName="demo")["addons"] == []


def test_an_addon_exists_once_and_an_unknown_one_never(account: Account):
    account.cluster()
    eks = account.client("eks")
    eks.create_addon(clusterName="demo", addonName="vpc-cni")
    with pytest.raises(eks.exceptions.ResourceInUseException):
        eks.create_addon(clusterName="demo", addonName="vpc-cni")
    with pytest.raises(eks.exceptions.ResourceInUseException, match="CREATING"):
        eks.update_addon(clusterName="demo", addonName="vpc-cni")
    with pytest.raises(eks.exceptions.InvalidParameterException, match="not supported"):
        eks.create_addon(clusterName="demo", addonName="vpc-nci")
    with pytest.raises(eks.exceptions.ResourceNotFoundException, match="No addon: coredns"):
        eks.describe_addon(clusterName="demo", addonName="coredns")


def test_a_version_that_does_not_go_with_the_cluster_is_refused(account: Account):
    account.cluster()
    eks = account.client("eks")
    with pytest.raises(eks.exceptions.InvalidParameterException, match=r"v1\.33\.8"):
        eks.create_addon(clusterName="demo", addonName="kube-proxy", addonVersion="v1.33.8-eksbuild.4")


def test_conflicts_are_never_preserved_on_creation(account: Account):
    account.cluster()
    eks = account.client("eks")
    with pytest.raises(eks.exceptions.InvalidParameterException, match="PRESERVE"):
        eks.create_addon(clusterName="demo", addonName="vpc-cni", resolveConflicts="PRESERVE")


def test_one_version_is_the_default_and_it_is_not_the_newest(account: Account):
    for addon in account.client("eks").describe_addon_versions(kubernetesVersion="1.35")["addons"]:
        defaults = [entry["compatibilities"][0]["defaultVersion"] for entry in addon["addonVersions"]]
        assert defaults.count(True) == 1
        assert not defaults[0]


def _workload(addon: str, **values: object) -> dict[str, Any]:
    found = manifests(addon, version=ADDONS[addon]["1.35"][0], configuration=values, region="eu-west-1", cluster="demo")
    workload: dict[str, Any] = found[-1]["spec"]["template"]["spec"]
    return workload


def test_the_agents_run_on_linux_outside_fargate_hybrid_and_auto_in_one_term():
    for addon in ("vpc-cni", "kube-proxy"):
        affinity = _workload(addon)["affinity"]
        required = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        (term,) = required["nodeSelectorTerms"]
        rows = {row["key"]: (row["operator"], row["values"]) for row in term["matchExpressions"]}
        assert rows["eks.amazonaws.com/compute-type"] == ("NotIn", ["fargate", "hybrid", "auto"])
        assert rows["kubernetes.io/arch"] == ("In", ["amd64", "arm64"])


def test_a_configuration_is_merged_into_the_daemon_set():
    spec = _workload("vpc-cni", affinity=AFFINITY, env={"ANNOTATE_POD_IP": "true"}, enableNetworkPolicy="true")
    assert spec["affinity"] == AFFINITY
    agent, policy = spec["containers"]
    assert {"name": "ANNOTATE_POD_IP", "value": "true"} in agent["env"]
    assert {"name": "WARM_ENI_TARGET", "value": "1"} in agent["env"]
    assert "--enable-network-policy=true" in policy["args"]


def test_every_addon_with_a_schema_has_versions_and_objects():
    assert set(SCHEMAS) == set(ADDONS)
    assert [_workload(addon)["serviceAccountName"] for addon in ADDONS] == ["aws-node", "kube-proxy", "coredns"]


@pytest.mark.parametrize(
    ("path", "left"),
    [
        (".spec.affinity", {"spec": {"containers": [{"name": "a", "image": "x"}]}}),
        ('.spec.containers[name="a"].image', {"spec": {"affinity": {}, "containers": [{"name": "a"}]}}),
        ('.spec.containers[name="a"]', {"spec": {"affinity": {}, "containers": []}}),
        (".spec.nothing.there", {"spec": {"affinity": {}, "containers": [{"name": "a", "image": "x"}]}}),
    ],
)
def test_the_field_that_a_conflict_names_is_left_out(path: str, left: dict[str, object]):
    item = {"spec": {"affinity": {}, "containers": [{"name": "a", "image": "x"}]}}
    without(item, path)
    assert item == left
