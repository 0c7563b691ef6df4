"""Names, defaults and differences of the AWS stand-in's types."""

import importlib.util
import re
from pathlib import Path

import pytest

from sandbox.plugins.aws.provider import TYPES
from sandbox.plugins.aws.schema import Schema
from sandbox.plugins.values import UNKNOWN

# What the SDK accepts and the stand-in refuses.
REFUSED = {
    "Cluster": {
        "controlPlaneScalingConfig",
        "defaultAddonsToRemoves",
        "kubeApiServerConfig",
        "kubeControllerManagerConfig",
        "kubeSchedulerConfig",
        "outpostConfig",
    },
    "LaunchTemplate": {"secondaryInterfaces"},
    "NodeGroup": {"warmPoolConfig"},
    "PodIdentityAssociation": {"policy"},
}

THING = Schema(
    "aws:test/thing:Thing",
    "name!? namePrefix!?^ size* kind!? notes tagsets~ policy$ config config.mode? config.zone! keep^",
    "arn",
    defaults={"notes": "made"},
    auto_name="name",
)


def of_sdk(token: str, kind: str) -> set[str]:
    """Property names of a class in the SDK's source (importing the SDK takes a second)."""
    module, name = token.removeprefix("aws:").rpartition("/")[0], token.rpartition(":")[2]
    spec = importlib.util.find_spec("pulumi_aws")
    assert spec
    assert spec.origin
    file = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    source = (Path(spec.origin).parent / module / f"{file}.py").read_text()
    body = re.split(r"^class ", source.split(f"class {kind.format(name)}:")[1], flags=re.MULTILINE)[0]
    pattern = r"@_builtins\.property\n(?:    @pulumi\.getter\(name=\"(\w+)\"\)\n|    @pulumi\.getter\n)    .*?def (\w+)\(self\)"
    return {wire or plain for wire, plain in re.findall(pattern, body, re.DOTALL)}


@pytest.mark.parametrize("schema", [kind.schema for kind in TYPES], ids=lambda s: s.token)
def test_every_input_of_the_sdk_is_known_or_listed_as_refused(schema):
    name = schema.token.rpartition(":")[2]
    assert of_sdk(schema.token, "{}Args") - set(schema.properties) == REFUSED.get(name, set())
    assert not set(schema.properties) - of_sdk(schema.token, "{}Args")


@pytest.mark.parametrize("schema", [kind.schema for kind in TYPES], ids=lambda s: s.token)
def test_every_output_of_the_sdk_is_given(schema):
    name = schema.token.rpartition(":")[2]
    everything = {*schema.properties, *schema.computed} | REFUSED.get(name, set())
    assert of_sdk(schema.token, "_{}State") == everything


def changes(state: dict, news: dict) -> dict[str, bool]:
    return {change.path: change.replaces for change in THING.diff(state, news)}


def test_an_unset_computed_property_stays_as_it_is():
    assert changes({"kind": "big", "size": 1, "config": {"mode": "a"}}, {"size": 1, "config": {}}) == {}


def test_an_unset_plain_property_is_taken_away():
    assert changes({"notes": "x"}, {}) == {"notes": False}


def test_nothing_and_empty_are_the_same():
    assert changes({"notes": ""}, {"tagsets": []}) == {}


def test_a_changed_force_new_property_replaces_also_deep_inside():
    state = {"kind": "a", "size": 1, "config": {"zone": "x"}}
    assert changes(state, {"kind": "b", "size": 2, "config": {"zone": "y"}}) == {
        "kind": True,
        "size": False,
        "config.zone": True,
    }


def test_a_value_that_a_preview_does_not_know_counts_as_changed():
    assert changes({"kind": "a", "size": 1}, {"kind": UNKNOWN, "size": UNKNOWN}) == {"kind": True, "size": False}


def test_the_order_of_a_set_is_no_change_but_its_members_are():
    assert changes({"tagsets": ["a", "b"]}, {"tagsets": ["b", "a"]}) == {}
    assert changes({"tagsets": ["a", "b"]}, {"tagsets": ["b"]}) == {"tagsets": False}


def test_json_is_compared_as_a_value():
    assert changes({"policy": '{"a":1,"b":[2]}'}, {"policy": '{ "b": [2], "a": 1 }'}) == {}
    assert changes({"policy": '{"a":1}'}, {"policy": '{"a":2}'}) == {"policy": False}


def test_numbers_and_booleans_equal_their_text():
    assert changes({"size": 3, "keep": True}, {"size": "3", "keep": "true"}) == {}


def test_the_automatic_name_is_kept_until_the_user_gives_one():
    first, _ = THING.check("web", {}, {"size": 1})
    assert re.fullmatch(r"web-[0-9a-f]{7}", first["name"])
    again, _ = THING.check("web", first, {"size": 2})
    assert again["name"] == first["name"]
    named, _ = THING.check("web", first, {"size": 2, "name": "mine"})
    assert named["name"] == "mine"
    unnamed, _ = THING.check("web", named, {"size": 2})
    assert unnamed["name"] != "mine"


def test_a_name_prefix_leaves_the_name_to_the_creation():
    inputs, _ = THING.check("web", {}, {"size": 1, "namePrefix": "web-"})
    assert "name" not in inputs


def test_a_resource_with_a_name_of_its_own_is_deleted_before_it_is_replaced():
    named, _ = THING.check("web", {}, {"size": 1, "name": "mine", "kind": "b"})
    assert THING.delete_before_replace({"name": "mine"}, named)
    automatic, _ = THING.check("web", {}, {"size": 1})
    assert not THING.delete_before_replace({"name": automatic["name"]}, automatic)


def test_missing_and_unknown_properties_are_refused_by_name():
    _, failures = THING.check("web", {}, {"colour": "red"})
    assert [name for name, _ in failures] == ["colour", "size"]


def test_a_preview_of_a_creation_promises_inputs_only():
    planned = THING.planned_create({"size": 1, "config": {"zone": "x"}, "__defaults": []})
    assert planned == {
        "size": 1,
        "config": {"zone": "x", "mode": UNKNOWN},
        "arn": UNKNOWN,
        "tagsAll": UNKNOWN,
        "name": UNKNOWN,
        "namePrefix": UNKNOWN,
        "kind": UNKNOWN,
        "region": UNKNOWN,
    }


def test_a_preview_of_an_update_keeps_what_aws_decided():
    state = {"arn": "arn:1", "kind": "big", "size": 1, "notes": "old", "config": {"mode": "m", "zone": "x"}}
    planned = THING.planned_update(state, {"size": 2, "config": {"zone": "x"}})
    assert planned == {"arn": "arn:1", "kind": "big", "size": 2, "config": {"mode": "m", "zone": "x"}}


def test_the_inputs_of_an_import_make_no_difference():
    state = {"name": "n", "size": 1, "kind": "k", "policy": "{}", "config": {"zone": "x"}, "arn": "a", "notes": ""}
    inputs = THING.inputs_of(state)
    assert "arn" not in inputs
    assert THING.diff(state, inputs) == []


def test_a_refresh_keeps_the_shape_of_the_inputs():
    new = {"mode": "set by AWS", "zone": "y"}
    assert THING.restricted("config", {"zone": "x"}, new) == {"zone": "y"}
    assert THING.restricted("notes", {"a": 1}, {"a": 1, "b": 2}) == {"a": 1, "b": 2}
