import json

import pytest

from sandbox.plugins.kubernetes.awaiting import Failed, judge, look_up


def waits(kind, version, live, annotations=None, find=lambda *_: None):
    wanted = {"apiVersion": version, "kind": kind, "metadata": {"annotations": annotations or {}}}
    return judge(wanted, find)({"metadata": {"generation": 2, "name": "n"}, **live})


def test_kinds_without_a_judge_are_ready_at_once():
    assert waits("ConfigMap", "v1", {}) is None


def test_a_deployment_is_ready_when_all_its_pods_are_new_and_available():
    done = {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    assert waits("Deployment", "apps/v1", {"spec": {"replicas": 2}, "status": done}) is None
    old_left = {**done, "replicas": 3}
    assert "1 old ones" in waits("Deployment", "apps/v1", {"spec": {"replicas": 2}, "status": old_left})
    stale = {**done, "observedGeneration": 1}
    assert "generation 2" in waits("Deployment", "apps/v1", {"spec": {"replicas": 2}, "status": stale})


def test_a_deployment_past_its_progress_deadline_has_failed():
    conditions = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "no"}]
    with pytest.raises(Failed, match="ProgressDeadlineExceeded"):
        waits("Deployment", "apps/v1", {"spec": {}, "status": {"conditions": conditions}})


def test_a_daemon_set_without_nodes_is_ready_and_one_with_pods_to_delete_says_so():
    assert waits("DaemonSet", "apps/v1", {"spec": {}, "status": {"observedGeneration": 2}}) is None
    status = {"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 1, "numberReady": 3}
    text = waits("DaemonSet", "apps/v1", {"spec": {"updateStrategy": {"type": "OnDelete"}}, "status": status})
    assert "1 of 3" in text
    assert "delete the old pods" in text


def test_a_service_waits_for_a_ready_pod_behind_it():
    spec = {"spec": {"selector": {"a": "b"}, "clusterIP": "10.0.0.1"}}
    assert waits("Service", "v1", spec) == "it selects no ready pod"
    endpoints = {"subsets": [{"addresses": [{"ip": "10.0.0.2"}]}]}
    assert waits("Service", "v1", spec, find=lambda *_: endpoints) is None
    assert waits("Service", "v1", {"spec": {"clusterIP": "10.0.0.1"}}) is None


def test_a_definition_waits_to_be_established():
    kind = ("CustomResourceDefinition", "apiextensions.k8s.io/v1")
    assert waits(*kind, {}) is not None
    assert waits(*kind, {"status": {"conditions": [{"type": "Established", "status": "True"}]}}) is None


@pytest.mark.parametrize(
    ("text", "ready"),
    [
        ("condition=Ready", True),
        ("condition=Ready=False", False),
        ("condition=Other", False),
        ("jsonpath={.status.phase}=Running", True),
        ("jsonpath={.status.phase}=Done", False),
        ("jsonpath={.status.count}=3", True),
        ("jsonpath={.status.phase}", True),
        ("jsonpath={.status.missing}", False),
        (json.dumps(["condition=Ready", "jsonpath={.status.phase}=Done"]), False),
    ],
)
def test_wait_for_overrides_the_kind(text, ready):
    live = {"status": {"conditions": [{"type": "Ready", "status": "True"}], "phase": "Running", "count": 3}}
    waiting = waits("Anything", "a.io/v1", live, {"pulumi.com/waitFor": text})
    assert (waiting is None) is ready


def test_a_json_path_finds_list_items_by_a_key():
    live = {"status": {"conditions": [{"type": "A", "status": "1"}, {"type": "B", "status": "2"}]}}
    assert look_up(live, '.status.conditions[?(@.type=="B")].status') == "2"
    assert look_up(live, ".status.conditions[0].type") == "A"


def test_a_path_that_the_stand_in_cannot_read_is_refused():
    with pytest.raises(Failed, match="beyond what this stand-in reads"):
        look_up({"a": [1]}, ".a[1:2]")
