"""Labels of identities, one case for each rule; `tests/engine/test_bridge_labels.py` compares with Cilium itself."""

from __future__ import annotations

import time
from typing import Any

import pytest

from bridge.labels import LabelFilter, NamedPort, identity_labels, named_ports, named_ports_labels
from bridge.patterns import Unreadable, compiled

POD: dict[str, Any] = {
    "namespace": "shop",
    "namespace_labels": {},
    "service_account": "",
    "cluster": "default",
    "ports": (),
    "counted": LabelFilter(),
}


def kept(pod: dict[str, str], **changed: Any) -> dict[str, str]:
    found = identity_labels(pod, **(POD | changed))
    del found["k8s:io.kubernetes.pod.namespace"], found["k8s:io.cilium.k8s.policy.cluster"]
    return found


def test_labels_that_change_from_pod_to_pod_do_not_count():
    noise = ("pod-template-hash", "controller-revision-hash", "statefulset.kubernetes.io/pod-name", "etcd_node")
    assert kept(dict.fromkeys(noise, "x") | {"app": "web"}) == {"k8s:app": "web"}
    assert kept({"app.kubernetes.io/name": "web"}) == {"k8s:app.kubernetes.io/name": "web"}


def test_nobody_gives_a_pod_the_labels_that_cilium_itself_makes():
    forged = {
        "io.cilium.k8s.policy.serviceaccount": "admin",
        "io.cilium.k8s.policy.cluster": "other",
        "io.cilium.k8s.namespace.labels.team": "blue",
        "io.cilium.k8s.named-ports": "web.TCP.1",
    }
    found = identity_labels(forged, **(POD | {"service_account": "own", "namespace_labels": {"team": "red"}}))
    assert found["k8s:io.cilium.k8s.policy.serviceaccount"] == "own"
    assert found["k8s:io.cilium.k8s.policy.cluster"] == "default"
    assert found["k8s:io.cilium.k8s.namespace.labels.team"] == "red"
    assert not any("named-ports" in key for key in found)
    assert "k8s:io.cilium.k8s.policy.serviceaccount" not in identity_labels(forged, **POD)


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        ("", {"app", "team"}),
        ("k8s:app", {"app"}),
        ("!team", {"app"}),
        ("app !app", set()),
        ("any:app", set()),
        (" k8s:te  k8s:app ", {"app", "team"}),
        ("k8s:!te", {"app"}),
    ],
)
def test_labels_in_cilium_config_add_to_ciliums_own_list(labels: str, wanted: set[str]):
    found = kept({"app": "web", "team": "red"}, counted=LabelFilter(labels))
    assert set(found) == {f"k8s:{key}" for key in wanted}


def test_named_ports_are_those_of_the_last_container_that_has_them_and_fill_as_many_labels_as_they_need():
    assert named_ports([("Web", 80, ""), ("dns", 53, "UDP"), ("web", 8080, "TCP")]) == (
        NamedPort("dns", 53, "UDP"),
        NamedPort("web", 8080, "TCP"),
    )
    refused = [
        ("a--b", 1, "TCP"),
        ("1", 1, "TCP"),
        ("a" * 16, 1, "TCP"),
        ("zero", 0, ""),
        ("big", 65_536, ""),
        ("x", 1, "ANY"),
    ]
    assert named_ports(refused) == ()
    many = [NamedPort(f"port-{n}", 8000 + n, "TCP") for n in range(9)]
    found = named_ports_labels(many)
    assert list(found) == ["gen:io.cilium.k8s.named-ports", *(f"gen:io.cilium.k8s.named-ports-{n}" for n in (1, 2))]
    assert "_".join(found.values()) == "_".join(f"{p.name}.TCP.{p.number}" for p in many)
    assert max(map(len, found.values())) <= 63
    assert named_ports_labels([]) == {}


@pytest.mark.parametrize(
    "text",
    [
        *(
            "(?i)app",
            "a**",
            "a*+",
            "a{,2}",
            r"\1",
            r"\z",
            r"\Z",
            r"\pL",
            "[[:alpha:]]",
            "[a&&b]",
            "(a",
            "a)",
            "[a",
            "*",
            "a|*",
        ),
        *(
            "^*",
            "é",
            "[é]",
            "\\",
            "(?P<x>a)",
            "(?=a)",
            "a{1001}",
            "(a*)*",
            "(a|)+",
            "(?:a|aa)+",
            "a*b*c*",
            "((((((((((((((((((((((a",
            "[b-a]",
        ),
    ],
)
def test_an_expression_that_go_may_read_differently_is_refused(text: str):
    with pytest.raises(Unreadable):
        compiled(text)


@pytest.mark.parametrize(
    "text", ["app", r"app\.kubernetes\.io", "^a.*b$", "[a-z]+", "[^]x]", "(a|b)?c{1,3}", "(?:ab)?", r"\w+\-"]
)
def test_an_expression_that_both_read_alike_is_read(text: str):
    assert compiled(text).pattern == text


def test_no_expression_that_is_read_takes_long():
    begun = time.monotonic()
    for text in ("a*a*b", ".*.*x", "a{0,9}a{0,9}a{0,9}a*b"):
        compiled(text).match("a" * 317)
    assert time.monotonic() - begun < 2
