import pytest
from google.protobuf import struct_pb2

from sandbox.plugins.values import (
    UNKNOWN,
    Secret,
    covers,
    decode,
    differences,
    encode,
    has_unknown,
    segments,
)

SIGNATURE = "4dabf18193072939515e22adb298388d"


def struct(values):
    out = struct_pb2.Struct()
    out.update(values)
    return out


def test_plain_values_survive_the_way_there_and_back():
    values = {"a": 1, "b": 1.5, "c": [True, "x", {"d": None}], "e": {}, "f": []}
    assert decode(encode(values)) == values
    assert isinstance(decode(encode(values))["a"], int)


def test_a_property_that_is_none_is_left_out():
    assert decode(encode({"a": None, "b": 1})) == {"b": 1}


def test_every_kind_of_unknown_becomes_the_same_mark():
    assert decode(struct({"a": "dd056dcd-154b-4c76-9bd3-c8f88648b5ff"})) == {"a": UNKNOWN}
    assert decode(struct({"a": {SIGNATURE: "d0e6a833031e9bbcd3f4e8bde6ca49a4"}})) == {"a": UNKNOWN}


@pytest.mark.parametrize(
    ("mark", "content", "plain"),
    [
        ("1b47061264138c4ac30d75fd1eb44270", {"value": {"k": "v"}}, {"k": "v"}),
        ("d0e6a833031e9bbcd3f4e8bde6ca49a4", {"value": 3, "secret": True}, 3),
        ("5cf8f73096256a8f31e491e813e4eb8e", {"urn": "u", "id": "i"}, "i"),
        ("5cf8f73096256a8f31e491e813e4eb8e", {"urn": "u"}, "u"),
    ],
)
def test_marked_values_come_in_plain(mark, content, plain):
    assert decode(struct({"a": [{SIGNATURE: mark, **content}]})) == {"a": [plain]}


def test_a_secret_output_goes_out_with_its_mark():
    fields = encode({"a": Secret("s")}).fields["a"].struct_value.fields
    assert fields[SIGNATURE].string_value == "1b47061264138c4ac30d75fd1eb44270"
    assert decode(encode({"a": Secret("s")})) == {"a": "s"}


def test_something_that_is_no_property_value_is_refused_by_name():
    with pytest.raises(TypeError, match="object"):
        encode({"a": object()})


def test_unknowns_are_found_at_any_depth_and_inside_text():
    assert has_unknown({"a": [{"b": f"x-{UNKNOWN}"}]})
    assert not has_unknown({"a": [{"b": "x", "c": None}]})


def test_differences_name_leaves_with_what_happened_to_them():
    old = {"a": {"b": 1, "gone": 2}, "l": [1, 2], "same": {"x": [1.0]}}
    new = {"a": {"b": 2, "c/d": 1}, "l": [1, 3, 4], "same": {"x": [1]}}
    assert differences(old, new) == {
        "a.b": "UPDATE",
        "a.gone": "DELETE",
        'a["c/d"]': "ADD",
        "l[1]": "UPDATE",
        "l[2]": "ADD",
    }


def test_true_and_one_differ():
    assert differences({"a": True}, {"a": 1}) == {"a": "UPDATE"}


def test_paths_with_odd_keys_are_taken_apart_again():
    (path,) = differences({"m": {}}, {"m": {'a.b"c': 1}})
    assert segments(path) == ["m", 'a.b"c']


def test_a_pattern_covers_what_is_below_and_above_it():
    assert covers("spec.containers[*].image", "spec.containers[0].image")
    assert covers("spec.selector", 'spec.selector.matchLabels["a/b"]')
    assert covers("spec.selector", "spec")
    assert not covers("spec.selector", "spec.replicas")
