"""What the freeze covers, and which engine enforces what it covers."""

import pytest

from migration.guarding import freeze
from migration.settings import Settings
from tests.unit.migration.examples import owned


def enabled() -> Settings:
    values = {"k8sClusterNetworkPolicy": {"enabled": True}}
    return owned(cilium={"groups": [{"name": "new", "size": 3}], "values": values})


@pytest.mark.parametrize(
    ("resource", "calico", "switch", "alone"),
    [
        ("adminnetworkpolicies", "v3.30.7", False, True),
        ("adminnetworkpolicies", "v3.28.1", False, False),
        ("baselineadminnetworkpolicies", "v3.32.1", False, False),
        ("clusternetworkpolicies", "v3.31.7", False, False),
        ("clusternetworkpolicies", "v3.32.1", False, True),
        ("clusternetworkpolicies", "v3.32.1", True, False),
        ("adminnetworkpolicies", None, True, True),
        ("clusternetworkpolicies", None, False, True),
        ("clusternetworkpolicies", "by-digest", True, False),
    ],
)
def test_a_policy_that_one_engine_enforces_alone_is_told_by_the_versions_of_both(
    resource: str, calico: str | None, switch: bool, alone: bool
):
    settings = enabled() if switch else owned()
    assert freeze.by_calico_only(resource, calico, settings) is alone


def test_every_refusal_names_its_policy_and_a_changed_policy_has_another_name(monkeypatch: pytest.MonkeyPatch):
    before = freeze.revision()
    texts = [spec["validations"][0]["message"] for spec in freeze.policies().values()]
    assert before in texts[0]
    assert len(set(texts)) == len(texts)
    monkeypatch.setattr(freeze, "STACK_MANAGER", "other")
    assert freeze.revision() != before


def test_policies_and_bindings_have_the_same_names():
    assert freeze.policies().keys() == freeze.bindings().keys()
    assert {spec["policyName"] for spec in freeze.bindings().values()} == freeze.policies().keys()
