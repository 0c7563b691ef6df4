"""What the stack configuration accepts, and what it says when it does not."""

import json
from typing import Any

import pytest

from migration.settings import InvalidSettings, Settings
from tests.unit.migration.examples import owned, raw


def problems(**over: Any) -> list[str]:
    with pytest.raises(InvalidSettings) as caught:
        Settings.load(raw(**over))
    return [str(problem) for problem in caught.value.problems]


def test_a_complete_configuration_loads_and_cannot_change_afterwards():
    settings = owned()
    assert settings.cilium.groups[0].upper_bound == 6
    with pytest.raises(ValueError, match="frozen"):
        settings.stage = "canary"


def test_pulumi_hands_over_text_and_json_and_the_result_is_the_same():
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in raw(soakMinutes="15").items()}
    assert Settings.from_pulumi(texts) == owned(soakMinutes=15)


def test_a_misspelt_key_is_named_with_the_key_it_may_have_meant():
    network = {"vpcId": "vpc-0", "subnetsIds": ["subnet-0a", "subnet-0b"], "vpcCidrs": ["10.0.0.0/16"]}
    found = problems(network=network)
    assert any("network.subnetsIds" in line and "Did you mean subnetIds?" in line for line in found)
    assert any("network.subnetIds: this key is required" in line for line in found)


def test_everything_wrong_is_reported_at_once():
    network = {
        "vpcId": "vpc-0",
        "subnetIds": ["subnet-0a", "10.0.1.0/24"],
        "vpcCidrs": ["10.0.0.0/16", "172.20.128.0/17"],
        "peerCidrs": ["10.0.64.0/18"],
    }
    cilium = {"version": "1.18.3", "groups": [{"name": "general", "size": 3, "maxSize": 1}]}
    found = problems(network=network, cilium=cilium)
    for part in (
        "overlaps network.vpcCidrs 172.20.128.0/17",
        "network.peerCidrs",
        "network.subnetIds.1",
        'cilium.groups.0.name = "general": is already the name of legacy.groups.0',
        "cilium.groups.0.maxSize",
        "Cilium 1.18.3 is tested with Kubernetes 1.30 to 1.33, not with 1.35; use Cilium 1.19 or 1.20",
    ):
        assert any(part in line for line in found), (part, found)


def test_a_version_without_quotes_is_a_number_in_yaml_and_says_so():
    assert problems(cluster={"name": "staging", "version": 1.3}) == [
        "cluster.version = 1.3: Input should be a valid string. Write it in quotes"
    ]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"eni": {"enable": True}},
            "cilium.values.eni.enable = true: the chart has no such value; did you mean enabled?",
        ),
        ({"externalIPs": {"enabled": True}}, "cilium.values.externalIPs"),
        ({"cluster": {"id": "1"}}, "cilium.values.cluster.id"),
        ({"kubeProxyReplacement": 1}, "must be string or boolean"),
    ],
)
def test_chart_values_are_checked_against_the_pinned_chart(values: dict[str, Any], text: str):
    assert text in problems(cilium={"groups": [{"name": "workers", "size": 1}], "values": values})[0]


def test_the_budget_is_a_number_or_a_share_and_never_zero():
    for bad in ("0", "0%", "101%", "-1", "ten"):
        assert "refresh.budget" in problems(refresh={"budget": bad})[0]
    assert owned(refresh={"budget": "25%"}).refresh.budget == "25%"


def test_an_adopted_cluster_has_no_legacy_settings():
    assert "legacy" in problems(cluster={"name": "prod", "adopt": True})[0]


def test_an_unknown_instance_type_asks_for_its_pods():
    found = problems(cilium={"groups": [{"name": "workers", "size": 1, "instanceType": "x9.mega"}]})
    assert found == [
        'cilium.groups.0.instanceType = "x9.mega": is not among the known types, so nothing says how many pods it holds '
        "and which image runs there. Set cilium.groups.0.maxPods and cilium.groups.0.architecture, or read the types "
        "anew with `python -m operations instances --refresh migration/rules/instances.json`"
    ]


def test_pod_cidr_is_refused_where_pods_have_addresses_of_the_vpc():
    network = raw()["network"] | {"podCidr": "192.168.0.0/16"}
    assert "network.podCidr" in problems(network=network)[0]


@pytest.mark.parametrize(
    ("change", "key", "said"),
    [
        ({"cluster": {"name": "c", "admins": ["platform"]}}, "cluster.admins.0", "is not a principal"),
        ({"cluster": {"name": "c", "admins": ["group:ops"]}}, "cluster.admins.0", "is not an IAM role or user"),
        (
            {"cluster": {"name": "c", "admins": ["arn:aws:sts::111122223333:assumed-role/ops/me"]}},
            "cluster.admins.0",
            "is one session of a role",
        ),
        (
            {"cluster": {"name": "c", "admins": [f"arn:aws:iam::111122223333:role/{it}" for it in ("a", "x/a")]}},
            "cluster.admins.1",
            "is the same as cluster.admins.0",
        ),
        ({"cluster": {"name": "c" * 44}}, "cluster.name", "has 44 characters"),
        ({"network": {**raw()["network"], "serviceCidr": "100.64.0.0/16"}}, "network.serviceCidr", "from /12 to /24"),
        ({"network": {**raw()["network"], "serviceCidr": "172.20.0.0/25"}}, "network.serviceCidr", "from /12 to /24"),
        ({"legacy": {"groups": [{"name": "g", "size": 0, "maxSize": 0}]}}, "legacy.groups.0.maxSize", "greater than"),
    ],
)
def test_what_eks_or_its_provider_would_refuse_is_refused_before_anything_is_made(
    change: dict[str, Any], key: str, said: str
):
    with pytest.raises(InvalidSettings) as refused:
        Settings.load(raw(**change))
    assert [said in problem.reason for problem in refused.value.problems if problem.key == key] == [True]


def test_an_adopted_cluster_may_have_whatever_eks_once_took():
    Settings.load(adopted_values(name="c" * 100))


def adopted_values(name: str) -> dict[str, Any]:
    values = raw(cluster={"name": name, "adopt": True})
    del values["legacy"]
    return values
