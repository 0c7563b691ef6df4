"""What the checker of the fault tests calls a violation, on histories made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.history import Ended, Event, Rules, pod, violations

RULES = Rules(node_budget=1, floor=1, zone_cap=1)


class History:
    """Events in order, one a second."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.ended: list[Ended] = []

    def add(self, kind: str, value: dict[str, Any], *, gone: bool = False) -> None:
        number = len(self.events) + 1
        self.events.append(Event(at=float(number), version=number, kind=kind, gone=gone, value=value))

    def pod(self, name: str, *, healthy: bool = True, deleting: bool = False, gone: bool = False, **more: Any) -> None:
        value = {
            "uid": name, "name": f"shop/{name}", "namespace": "shop", "labels": {"app": "web"}, "node": "n1",
            "healthy": healthy and not deleting, "deleting": deleting, "stays": False,
        }  # fmt: skip
        self.add("pods", value | more, gone=gone)

    def budget(self, **limits: Any) -> None:
        base = {"uid": "b", "name": "shop/web", "namespace": "shop", "labels": {"app": "web"}}
        self.add("budgets", base | {"least": None, "most_missing": None, "expected": 3, "desired": 2} | limits)

    def node(
        self, name: str, *, leaving: bool = False, is_open: bool = True, zone: str = "a", gone: bool = False
    ) -> None:
        value = {
            "uid": name, "name": name, "zone": zone, "instance": f"i-{name}", "leaving": leaving,
            "open": is_open and not leaving,
        }  # fmt: skip
        self.add("nodes", value, gone=gone)

    def found(self, rules: Rules = RULES) -> list[str]:
        return violations(self.events, self.ended, rules)


@pytest.fixture
def three() -> History:
    """Three healthy pods under a budget that lets one be missing."""
    history = History()
    history.node("n1")
    history.node("n2", zone="b")
    for name in ("p1", "p2", "p3"):
        history.pod(name)
    history.budget(most_missing=1)
    return history


def test_one_pod_may_be_missing(three: History):
    three.pod("p1", deleting=True)
    three.pod("p1", deleting=True, gone=True)
    assert three.found() == []


@pytest.mark.parametrize("limits", [{"most_missing": 1}, {"least": 2}, {"most_missing": "34%"}])
def test_a_second_pod_that_goes_is_a_violation_however_the_budget_is_worded(three: History, limits: dict[str, Any]):
    three.budget(**limits)
    three.pod("p1", deleting=True)
    three.pod("p2", deleting=True)
    assert len(three.found()) == 1
    assert "shop/p2 went although shop/web wants 2 of 3 pods healthy: 1 are left" in three.found()[0]


def test_a_pod_that_is_gone_without_a_word_counts_too(three: History):
    three.pod("p1", gone=True)
    three.pod("p2", gone=True)
    assert len(three.found()) == 1


def test_a_pod_that_was_not_well_takes_nothing_from_its_budget(three: History):
    three.pod("p1", healthy=False)
    three.add("nodes", three.events[0].value)
    three.add("nodes", three.events[0].value)
    three.pod("p1", healthy=False, deleting=True)
    assert three.found() == []


def test_after_one_has_failed_by_itself_none_may_be_taken(three: History):
    three.pod("p1", healthy=False)
    for _ in range(3):  # the disruption controller has had its time
        three.add("nodes", three.events[0].value)
    three.pod("p2", deleting=True)
    assert len(three.found()) == 1


def test_events_of_different_watches_are_put_in_the_order_of_the_cluster(three: History):
    """The budget was lowered before the pod went, although its event came later."""
    three.budget(most_missing=0)
    three.pod("p1", deleting=True)
    late, early = three.events[-2:]
    three.events[-2:] = [early, late]
    assert len(three.found()) == 1


def test_two_nodes_on_their_way_exceed_the_budget_and_leave_too_little_room(three: History):
    three.node("n1", leaving=True)
    assert three.found() == []
    three.node("n2", leaving=True, zone="b")
    found = three.found()
    assert any("the node budget is 1" in text for text in found)
    assert any("0 nodes can take pods, the floor is 1" in text for text in found)


def test_a_zone_has_a_cap_of_its_own(three: History):
    three.node("n3")
    three.node("n1", leaving=True)
    three.node("n3", leaving=True)
    rules = Rules(node_budget=5, floor=0, zone_cap=1)
    assert [text for text in three.found(rules) if "zone a" in text]


def _as_api(node: str, *, kind: str = "ReplicaSet", app: str = "web") -> dict[str, Any]:
    owner = {"kind": kind, "controller": True}
    return {
        "metadata": {"uid": "x", "namespace": "shop", "name": "x", "labels": {"app": app}, "ownerReferences": [owner]},
        "spec": {"nodeName": node},
        "status": {"phase": "Running"},
    }


@pytest.mark.parametrize(
    ("pod", "rules", "wrong"),
    [
        (_as_api("n1"), RULES, True),
        (_as_api("n1", kind="DaemonSet"), RULES, False),
        (_as_api("n1", app="extra"), Rules(node_budget=1, floor=1, exempt=frozenset({"extra"})), False),
        (_as_api("n1"), Rules(node_budget=1, floor=1, others=frozenset({"n1"})), False),
    ],
)
def test_an_instance_that_ends_with_a_workload_pod_on_it(
    three: History, pod: dict[str, Any], rules: Rules, wrong: bool
):
    three.ended.append(Ended(at=9.0, instance="i-n1", asked=True, pods=(pod,)))
    assert bool(three.found(rules)) is wrong


def test_an_end_that_nobody_saw_being_asked_for_is_judged_by_the_watch(three: History):
    three.ended.append(Ended(at=6.5, instance="i-n1", asked=False))
    assert len(three.found()) == 1
    for name in ("p1", "p2", "p3"):
        three.pod(name, healthy=False, gone=True)
    three.ended[:] = [Ended(at=20.0, instance="i-n1", asked=False)]
    assert not [text for text in three.found() if "was ended" in text]


def test_an_instance_that_ends_in_service_is_a_violation(three: History):
    three.ended.append(Ended(at=9.0, instance="i-n1", asked=True, serving=("front",)))
    assert "sends it connections" in three.found()[0]


def test_what_came_before_only_makes_the_state(three: History):
    three.pod("p1", deleting=True)
    three.pod("p2", deleting=True)
    assert violations(three.events, [], RULES, since=9.0) == []


@pytest.mark.parametrize(
    ("finalizers", "stays"), [(["example.com/held"], False), ([], True)], ids=["kept by a finalizer", "kept by nothing"]
)
def test_a_pod_that_has_stopped_counts_on_its_node_while_a_finalizer_keeps_it(finalizers: list[str], stays: bool):
    meta = {"uid": "p", "namespace": "shop", "name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    obj = {"metadata": meta | {"finalizers": finalizers}, "spec": {"nodeName": "n1"}, "status": {"phase": "Succeeded"}}
    assert pod(obj)["stays"] is stays
