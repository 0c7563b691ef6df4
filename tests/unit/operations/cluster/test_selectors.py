"""Which policies select a pod."""

import pytest

from operations.cluster.selectors import cilium_directions, kubernetes_directions, matches
from tests.unit.operations import world as w

LABELS = {"app": "web", "tier": "front", "io.kubernetes.pod.namespace": "shop"}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({}, True),
        ({"matchLabels": {"k8s:app": "web"}}, True),
        ({"matchLabels": {"any:app": "api"}}, False),
        ({"matchLabels": {"reserved:host": ""}}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["front", "back"]}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["front"]}]}, False),
        ({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["x"]}]}, True),
        ({"matchExpressions": [{"key": "zone", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}, True),
    ],
)
def test_selectors_match_labels(selector, expected):
    assert matches(selector, LABELS) is expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"ingress": [{}]}, {"ingress"}),
        ({"ingress": []}, set()),
        ({"egressDeny": [{"toCIDR": ["1.1.1.1/32"]}]}, {"egress"}),
        ({"egressDeny": [{}], "enableDefaultDeny": {"egress": False, "ingress": False}}, set()),
        ({"ingress": [{}], "egress": [{}], "enableDefaultDeny": {"ingress": False}}, {"egress"}),
    ],
)
def test_a_cilium_rule_isolates_the_directions_it_has_rules_for(rule, expected):
    policy = w.thing("CiliumNetworkPolicy", "p", "shop", spec={"endpointSelector": {}, **rule})
    assert cilium_directions(policy, "shop", LABELS) == expected
    assert cilium_directions(policy, "other", LABELS) == set()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"podSelector": {}}, {"ingress"}),
        ({"podSelector": {}, "egress": [{}]}, {"ingress", "egress"}),
        ({"podSelector": {}, "policyTypes": ["Egress"]}, {"egress"}),
        ({"podSelector": {"matchLabels": {"app": "api"}}}, set()),
    ],
)
def test_a_network_policy_isolates_by_its_types(spec, expected):
    assert kubernetes_directions(w.thing("NetworkPolicy", "p", "shop", spec=spec), w.pod("web", "n")) == expected
