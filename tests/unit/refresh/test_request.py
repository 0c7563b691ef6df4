"""Bad input gets one clear error before anything is touched."""

import pytest

from migration.journeys import NodeKind
from migration.settings import Settings
from operations.refresh.cluster.groups import groups, wanted
from operations.refresh.cluster.lease import Memory, forget
from operations.refresh.model.request import InvalidRequest, NodeBudget, RefreshRequest
from operations.refresh.model.values import Sizes


@pytest.mark.parametrize("text", ["0", "0%", "101%", "-1", "", "ten", "1.5", "%"])
def test_a_budget_that_moves_nothing_or_means_nothing_is_refused(text):
    with pytest.raises(InvalidRequest, match="budget"):
        NodeBudget.parse(text)


@pytest.mark.parametrize(("text", "nodes", "number"), [("3", 100, 3), ("10%", 100, 10), ("10%", 5, 1), ("100%", 7, 7)])
def test_a_budget_is_a_number_or_a_share_but_at_least_one(text, nodes, number):
    assert NodeBudget.parse(text).of(nodes) == number
    assert str(NodeBudget.parse(text)) == text


def test_an_unknown_strategy_is_named_with_the_known_ones():
    with pytest.raises(InvalidRequest, match=r"'yolo'.*surge, replace, shrink"):
        RefreshRequest.towards(NodeKind.CILIUM, strategy="yolo")


def test_the_way_back_is_the_same_request_with_source_and_target_exchanged():
    there, back = (RefreshRequest.towards(kind) for kind in (NodeKind.CILIUM, NodeKind.LEGACY))
    assert (there.source, there.target) == (back.target, back.source)


def test_a_deadline_of_nothing_is_refused():
    with pytest.raises(InvalidRequest, match="deadline"):
        RefreshRequest.towards(NodeKind.CILIUM, deadline=0)


def _settings() -> Settings:
    return Settings.load(
        {
            "journey": "replace",
            "stage": "baseline",
            "cluster": {"name": "one"},
            "network": {
                "vpcId": "vpc-1",
                "subnetIds": ["subnet-1", "subnet-2"],
                "vpcCidrs": ["10.0.0.0/16"],
            },
            "legacy": {"groups": [{"name": "old", "size": 3}]},
            "cilium": {"groups": [{"name": "new", "size": 2, "maxSize": 4}]},
        }
    )


def test_sizes_come_from_the_settings_until_others_are_remembered():
    found = groups(_settings(), None)
    assert wanted(found, NodeKind.CILIUM, Memory()) == {"new": Sizes(0, 2, 4)}
    assert wanted(found, NodeKind.LEGACY, Memory()) == {"old": Sizes(0, 3, 6)}
    memory = Memory(sizes={"old": Sizes(1, 5, 9), "new": Sizes(0, 0, 4)})
    assert wanted(found, NodeKind.LEGACY, memory) == {"old": Sizes(1, 5, 9)}
    assert wanted(found, NodeKind.CILIUM, memory) == {"new": Sizes(0, 2, 4)}


def test_what_is_remembered_survives_being_written_down():
    memory = Memory("cilium", 7, {"old": Sizes(1, 7, 9)}, frozenset({"old"}), ("shop/cart",))
    assert Memory.read(memory.dump()) == memory
    assert forget(memory) == Memory()


@pytest.mark.parametrize("text", [None, "", "no json", "[]", '{"sizes": {"old": [1]}}', '{"total": "x"}'])
def test_a_damaged_memory_counts_as_none(text):
    assert Memory.read(text) == Memory()
