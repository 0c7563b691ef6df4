"""What the bridge is told, and where it refuses."""

from __future__ import annotations

import json

import pytest

from bridge import names, refuses
from bridge.options import Cilium, InvalidOptions, Options
from migration.names import ANNOTATION_PREFIX, CILIUM_CNI, CNI_LABEL, SYSTEM_NAMESPACE
from tests.unit.bridge.cluster import WORKS


def test_options_are_what_was_written():
    options = Options(node_entries=True, cilium_nodes=("a", "b"), listen="[::1]:1", late_seconds=5)
    assert Options.load(options.dump()) == options
    assert Options.load("{}") == Options()


def test_its_names_are_those_of_the_other_rooms():
    assert (names.PREFIX, names.NAMESPACE) == (ANNOTATION_PREFIX, SYSTEM_NAMESPACE)
    assert (Options().node_label, Options().cilium_nodes) == (CNI_LABEL, (CILIUM_CNI,))


BAD = {
    "[]": "are list, no JSON object",
    "{": "are no JSON",
    "[" * 100_000: "are no JSON",
    '{"lateSecond": 3}': "'lateSecond' is not known. Known are ciliumConfig,",
    '{"lateSeconds": true}': "lateSeconds is True. Write a value like 30",
    '{"lateSeconds": 0}': "lateSeconds is 0. Write 1 to 3600 seconds",
    '{"lease": ""}': "lease is empty",
    '{"ciliumNodes": "cilium"}': "ciliumNodes is 'cilium'. Write a list of texts",
    '{"listen": "0.0.0.0:9287"}': "listen is '0.0.0.0:9287', no loopback address",
    '{"listen": "localhost:1"}': "no loopback address with a port",
    '{"listen": "127.0.0.1:99999"}': "no loopback address with a port",
    '{"listen": "127.0.0.1"}': "no loopback address with a port",
}


@pytest.mark.parametrize("text", BAD)
def test_options_that_cannot_be_used_are_one_clear_error(text: str):
    with pytest.raises(InvalidOptions) as caught:
        Options.load(text)
    assert BAD[text] in str(caught.value)


REFUSED = {
    "identity-allocation-mode": ("kvstore", "identity-allocation-mode is not 'crd'"),
    "routing-mode": ("tunnel", "routing-mode is not 'native'"),
    "ces-controller-mode": ("slim", "ces-controller-mode is not 'default'"),
    "disable-endpoint-crd": ("true", "nobody then looks at CiliumEndpoints"),
    "enable-encryption-strict-mode-egress": ("true", "strictMode.egress.enabled: false"),
    "enable-encryption-strict-mode-ingress": ("true", "strictMode.ingress.enabled: false"),
    "enable-encryption-strict-mode": ("true", "strict mode"),
    "unmanaged-pod-watcher-interval": ("15s", "unmanagedPodWatcher.restart: false"),
    "policy-cidr-match-mode": ("nodes pods", "Leave `pods` out"),
    "label-prefix-file": ("/labels.json", "label-prefix-file is '/labels.json'"),
    "labels": ("(?i)app", "cannot be read"),
    "cluster-id": ("one", "cannot be read"),
}


@pytest.mark.parametrize("key", REFUSED)
def test_it_refuses_a_configuration_that_it_cannot_work_under(key: str):
    value, text = REFUSED[key]
    [reason] = refuses.reasons(WORKS | {key: value})
    assert text in reason


def test_it_says_every_reason_at_once_and_takes_what_is_not_said_as_cilium_does():
    text = refuses.text({}, "kube-system/cilium-config")
    assert [line[:26] for line in text.splitlines()[1:]] == [
        "- identity-allocation-mode",
        "- routing-mode is not 'nat",
        "- unmanaged-pod-watcher-in",
    ]
    assert refuses.text(None, "x").startswith("There is no ConfigMap x")


@pytest.mark.parametrize(
    ("key", "value"),
    [("labels", "k8s:app"), ("routing-mode", "tunnel"), ("cluster-name", "other"), ("label-prefix-file", "/x"),
     ("enable-ipv6", "true")],
)  # fmt: skip
def test_it_refuses_where_agents_of_some_nodes_make_other_identities(key: str, value: str):
    usual = {**WORKS, "cluster-name": "prod", "enable-ipv6": "false"}
    text = refuses.text(usual, "x", {"gpu": {key: value, "devices": "eth1"}})
    assert f"CiliumNodeConfig gpu sets {key} to '{value}', and cilium-config to" in text
    assert "Take the key out of it" in text
    assert refuses.text({**usual, key: usual.get(key, "")}, "x", {"gpu": {key: usual.get(key, "")}}) == ""
    assert refuses.text(usual, "x", {"gpu": {"devices": "eth1", "unmanaged-pod-watcher-interval": "15s"}}) == ""


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"enable-cilium-endpoint-slice": "true", "ces-controller-mode": "default"},
        {
            "enable-wireguard": "true",
            "policy-cidr-match-mode": "nodes",
            "enable-encryption-strict-mode-egress": "false",
        },
        {"identity-management-mode": "operator", "unmanaged-pod-watcher-interval": "0s"},
    ],
)
def test_it_works_under_all_that_changes_nothing_for_it(more: dict[str, str]):
    assert refuses.text(WORKS | more, "x") == ""


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({}, (256, 65_535)),
        ({"cluster-id": "1"}, (65_536, 131_071)),
        ({"cluster-id": "255"}, (255 << 16, (256 << 16) - 1)),
        ({"max-connected-clusters": "511"}, (256, 32_767)),
        ({"cluster-id": "2", "max-connected-clusters": "511"}, (65_536, 98_303)),
    ],
)
def test_a_clusters_range_of_identities_is_the_one_of_its_agents(config: dict[str, str], wanted: tuple[int, int]):
    found = Cilium.of(WORKS | config)
    assert (found.first, found.last) == wanted


def test_options_are_written_the_same_way_always():
    assert json.loads(Options().dump())["ciliumNodes"] == ["cilium"]
    assert Options().dump() == Options().dump()
