import pytest

from sandbox.plugins.kubernetes import rules

MUTABLE = {"ConfigMap": True, "Secret": True}


def thing(kind="ConfigMap", version="v1", **fields: object):
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "n", "namespace": "ns"}, **fields}


def test_a_made_up_name_stays_from_run_to_run():
    first = rules.named({"kind": "ConfigMap"}, {}, "resource")
    again = rules.named({"kind": "ConfigMap"}, first, "resource")
    assert first["metadata"]["name"].startswith("resource-")
    assert again["metadata"]["name"] == first["metadata"]["name"]


def test_a_given_name_is_kept():
    assert rules.named(thing(), {}, "resource") == thing()


def test_a_name_that_was_given_before_is_not_taken_for_a_made_up_one():
    assert rules.named({}, thing(), "resource")["metadata"]["name"] != "n"


@pytest.mark.parametrize(
    ("old", "new", "replaces"),
    [
        (thing(data={"a": "1"}), thing(data={"a": "2"}), ["data.a"]),
        (
            thing("Deployment", "apps/v1", spec={"replicas": 1}),
            thing("Deployment", "apps/v1", spec={"replicas": 2}),
            [],
        ),
        (
            thing("Deployment", "apps/v1", spec={"selector": {"matchLabels": {"a": "b"}}}),
            thing("Deployment", "apps/v1", spec={"selector": {"matchLabels": {"a": "c"}}}),
            ["spec.selector.matchLabels.a"],
        ),
        (thing("Service", spec={"type": "ClusterIP"}), thing("Service", spec={"type": "NodePort"}), ["spec.type"]),
        (thing("Foo", "a.io/v1", spec=1), thing("Foo", "a.io/v2", spec=1), []),
        (thing("Foo", "a.io/v1", spec=1), thing("Foo", "b.io/v1", spec=1), ["apiVersion"]),
    ],
)
def test_only_what_the_kind_forbids_to_change_replaces(old, new, replaces):
    changes, found = rules.changes(old, new, {})
    assert found == replaces
    assert changes


def test_configmaps_change_in_place_when_they_may_and_are_not_immutable():
    assert rules.changes(thing(data={"a": "1"}), thing(data={"a": "2"}), MUTABLE)[1] == []
    old, new = thing(data={"a": "1"}, immutable=True), thing(data={"a": "2"}, immutable=True)
    assert rules.changes(old, new, MUTABLE)[1] == ["data.a"]


def test_the_default_namespace_is_no_change():
    old = {"metadata": {"name": "n"}}
    new = {"metadata": {"name": "n", "namespace": "default"}}
    assert rules.changes(old, new, {}) == ({}, [])


def test_a_refresh_sees_what_changed_in_our_fields_only():
    inputs = {"spec": {"replicas": 1, "paused": False, "cpu": "1000m"}, "metadata": {"labels": {"a": "b", "gone": "x"}}}
    live = {"spec": {"replicas": 3, "strategy": "default", "cpu": "1"}, "metadata": {"labels": {"a": "b"}, "uid": "u"}}
    assert rules.refreshed_inputs(inputs, live) == {
        "spec": {"replicas": 3, "paused": False, "cpu": "1000m"},
        "metadata": {"labels": {"a": "b"}},
    }


def test_an_imported_object_keeps_nothing_that_only_the_server_writes():
    live = thing(status={"x": 1}, data={"a": "1"})
    live["metadata"] |= {"uid": "u", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}
    assert rules.inputs_from_live(live) == thing(data={"a": "1"})


def entry(manager: str, operation: str, *fields: str, **more: object):
    owned: dict[str, object] = {"f:spec": {f"f:{name}": {} for name in fields}}
    return {"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": owned, **more}


def test_an_update_takes_the_fields_of_earlier_client_side_managers_and_of_nobody_else():
    own, people = entry("pulumi-kubernetes-1", "Apply", "a"), entry("kubectl-edit", "Update", "d")
    status = entry("kubectl", "Update", "e", subresource="status")
    found = rules.taken([own, entry("kubectl", "Update", "b"), people, status], "pulumi-kubernetes-1")
    assert found[:2] == [people, status]
    assert found[2]["fieldsV1"] == {"f:spec": {"f:a": {}, "f:b": {}}}
    assert rules.taken([people], "pulumi-kubernetes-1") == [people], "sent all the same, and changes nothing"


@pytest.mark.parametrize(
    ("declared", "live", "kept"),
    [("1000m", "1", True), (".5", "500m", True), ("127.0.0.1", "127.0.0.1", True), ("127.0.0.1", "127.0.0.2", False), (".", "1", False)],
)  # fmt: skip
def test_a_refresh_keeps_a_quantity_that_is_written_otherwise_and_takes_no_address_for_one(declared, live, kept):
    seen = rules.refreshed_inputs({"spec": declared}, {"spec": live})
    assert seen == {"spec": declared if kept else live}
