"""One reading of YAML: kubectl's value or an error. The long comparison is `python -m tests.oracles.yaml_campaign`."""

import json
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import reading
from migration import manifests
from migration.manifests import InvalidManifest
from netpol.model.errors import PolicyError
from netpol.read import documents as proving
from netpol.read.policies import policies_from_files
from reading import Unreadable
from reading.values import MOST_DEPTH

KUBECTL = {
    "20:22": "20:22",
    "190:20:30": "190:20:30",
    "8e1": 80,
    "8e-1": 0.8,
    "1e+3": 1000,
    ".5e1": 5,
    "010": 8,
    "08": 8,
    "0o17": 15,
    "0x1F": 31,
    "-0b11": -3,
    "1_000": 1000,
    "80.0": 80,
    "yes": True,
    "On": True,
    "n": False,
    "oFF": "oFF",
    "~": None,
    "nil": "nil",
    "2001-01-01": "2001-01-01",
    "2001-99-99": "2001-99-99",
    "=": "=",
    "inf": "inf",
    "²": "²",
    "0x": "0x",
    "1e": "1e",
    "9223372036854775807": 2**63 - 1,
}
"""What sigs.k8s.io/yaml makes of a bare word (tests/oracles/kubectl_yaml)."""


@pytest.mark.parametrize("word", KUBECTL)
def test_a_bare_word_is_what_it_is_to_kubectl(word):
    found = reading.value(f"a: {word}\n")["a"]
    assert (type(found), found) == (type(KUBECTL[word]), KUBECTL[word])


REFUSED = {
    "a: 1\na: 2\n": ":2: field 'a' is given twice. Remove one",
    "{a: 1, 'a': 1}": ":1: field 'a' is given twice",
    "1: x\n'1': y\n": ":2: field '1' is given twice",
    "a: 18446744073709551616": "does not fit into 64 bits. Put it in quotes",
    "a: 1e400": "is too large for a number",
    "a: 123456789012345678.5": "is not exact as a number",
    "a: " + "9" * 5000: "is a number of 5000",
    "a: .inf": "not a number that JSON can say",
    "a: .NaN": "not a number that JSON can say",
    "a: !!str 1": "the tag '!!str' is not read by everybody",
    "a: !x 1": "the tag '!x'",
    "%YAML 1.2\n---\na: 1": "directives (%)",
    "--- {a: 1}\n": "`---` has more on its line",
    "a: 1\n---#b\nb: 2": "`---` has more on its line",
    "a: 1\n...\nb: 2": "is not YAML",
    "a: *b": "there is no &b before it",
    "a: &a [*a]": "part of what it stands for",
    "a: &a {x: 1}\nb: {x: 2, <<: *a}": "<< brings 'x', which stands before it",
    "a: &a {x: 1}\nb: &b {x: 2}\nc: {<<: *a, <<: *b}": "<< brings 'x', which stands before it",
    "a: &a {b: &b [*a]}": "part of what it stands for",
    "{x": "is not YAML",
    "a: 'b": "is not YAML",
    "a:\n\t- b": "is not YAML",
    "[a]: b": "a key is a word",
    "8e1: b": "the key '8e1' is not text",
    "~: b": "the key '~' is not text",
    "a: &a [1]\nb: {<<: *a}": "<< takes a mapping",
    "[" * 100_000: "nested more than 100 levels",
    "a: {" * 100_000: "nested more than 100 levels",
    "- " * 100_000: "nested more than 100 levels",
    "a: 1\rb: 2": "ends a line or is not text to some readers",
    "a: b\u2028": "ends a line or is not text to some readers",
    "a: \x07": ":1: is not YAML: control characters are not allowed",
    "é: 😀\nb:\n- \x1b[31m": ":3: is not YAML: control characters are not allowed",
    "a: \udc80": "is not a character",
    'a: "\\ud800"': "is not YAML",
    'a: "b\\/c"': "JSON's only",
    "[a?b]": "has a ?",
}


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_what_readers_differ_on_is_refused_with_its_line(text):
    with pytest.raises(Unreadable) as refused:
        reading.documents(text, "FILE")
    assert REFUSED[text] in str(refused.value)
    assert str(refused.value).startswith("FILE:")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


ELSEWHERE = (
    "yes",
    "on",
    "n",
    "True",
    "0o17",
    "010",
    "1_000",
    "+1",
    "8e1",
    "80.0",
    "2001-01-01",
    "Null",
    "0o-7",
    ".5_0",
)


@pytest.mark.parametrize("word", ELSEWHERE)
def test_a_file_that_others_read_too_has_no_word_that_they_read_otherwise(word):
    with pytest.raises(Unreadable, match="quotes"):
        reading.value(f"a: {word}", strictly=True)
    assert reading.value(f"a: '{word}'", strictly=True) == {"a": word}


def test_merges_and_aliases_mean_what_they_mean_to_kubectl():
    text = "a: &a {x: 1, w: 1}\nb: &b {w: 2, z: 2}\nc:\n  <<: [*a, *b]\n  z: 3\nd: *a\n"
    assert reading.value(text)["c"] == {"x": 1, "w": 1, "z": 3}
    assert reading.value(text)["d"] == {"x": 1, "w": 1}


def test_a_merge_behind_other_keys_is_read_where_every_reader_means_the_same():
    text = "a: &a {x: 1}\nb: &b {v: 1}\nc: {z: 1, <<: *a, w: 2}\nd: {z: 1, <<: [*a, *b], x: 3}\n"
    assert reading.value(text, strictly=True)["c"] == {"z": 1, "x": 1, "w": 2}
    assert reading.value(text, strictly=True)["d"] == {"z": 1, "x": 3, "v": 1}
    twice = "a: &a {x: 1}\nb: &b {v: 1}\nc:\n  <<: *a\n  z: 1\n  <<: *b\n"
    assert reading.value(twice)["c"] == {"x": 1, "z": 1, "v": 1}
    with pytest.raises(Unreadable, match=":6: << is given twice"):
        reading.value(twice, strictly=True)


def test_an_alias_means_the_anchor_of_its_name_that_began_last_before_it():
    assert reading.value("a: &a 1\nb: *a\nc: &a {x: 2}\nd: *a\n") == {"a": 1, "b": 1, "c": {"x": 2}, "d": {"x": 2}}
    assert reading.value("a: &a {b: &a 1, c: *a}\nd: *a\n") == {"a": {"b": 1, "c": 1}, "d": 1}


def test_documents_are_cut_where_kubectl_cuts_them_and_know_their_line():
    found = reading.documents("# head\n---\na: 1\n--- # next\n---\n\nb: 2\n...\n---\n", lines=True)
    assert [(d.line, d.value) for d in found] == [(3, {"a": 1}), (7, {"b": 2})]
    assert found[1].value.lines == {"b": 7}


def test_a_bomb_of_aliases_is_refused_at_once():
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert len("\n".join(levels)) < 700
    began = time.monotonic()
    with pytest.raises(Unreadable, match="repeats too much"):
        reading.value("\n".join(levels))
    assert time.monotonic() - began < 1


GROWING = {
    "items": lambda n: "- {a: 1, b: x}\n" * n,
    "keys": lambda n: "".join(f"k{i}: {{}}\n" for i in range(n)),
    "aliases": lambda n: "a: &a x\nb:\n" + "- *a\n" * n,
    "merges": lambda n: "a: &a {x: 1}\nb:\n" + "- {<<: *a, z: 1}\n" * n,
    "a merge of many": lambda n: "a: &a {x: 1}\nb: {<<: [" + "*a," * n + "]}\n",
    "flow": lambda n: "[" + "[x]," * n + "]",
    "text": lambda n: "a: |\n" + "  line\n" * n,
    "quoted": lambda n: '"' + "x\n\n" * n + '"',
    "comments": lambda n: "# c\n" * n + "a: 1\n",
    "documents": lambda n: "a: 1\n---\n" * n,
    "slashes": lambda n: '"' + "\\\\" * n + '"',
}


@pytest.mark.growth
@pytest.mark.parametrize("kind", GROWING)
def test_four_times_the_text_takes_about_four_times_as_long(kind):
    def seconds(size: int) -> float:
        text = GROWING[kind](size)
        times = []
        for _ in range(2):
            began = time.process_time()
            reading.documents(text)
            times.append(time.process_time() - began)
        return min(times)

    small, large = seconds(10_000), seconds(40_000)
    assert large < max(8 * small, 0.2)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(-1e9, 1e9).map(lambda x: x if x % 1 else int(x)) | st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from([*KUBECTL, *ELSEWHERE, "a ...", "- x", "a: b", "#", "\ufeff", "\x85"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(ELSEWHERE), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(PLAIN)
def test_what_is_written_is_read_back_by_us_and_by_other_readers(value):
    text = reading.dump({"value": value})
    assert reading.value(text, strictly=True) == {"value": value}
    assert yaml.safe_load(text) == {"value": value}


@given(PLAIN)
def test_json_is_read_as_yaml_is(value):
    text = json.dumps([value])
    try:
        as_yaml = reading.value(text)
    except Unreadable:
        return
    assert reading.json_value(text) == as_yaml == [value]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1, "a": 2}', "'a' is given twice"),
        ("[NaN]", "NaN is not a number"),
        ("[1e999]", "too large"),
        ("[" * 200 + "]" * 200, "nested more than 100"),
        ("[" * 1_000_000, "nested more than 100"),
        ("", "is not JSON"),
        ('["\\ud800"]', "half a character"),
        ("[" + "9" * 5000 + "]", "5000"),
    ],
)
def test_json_that_says_two_things_or_too_much_is_refused(text, reason):
    with pytest.raises(Unreadable, match=reason):
        reading.json_value(text)


# -- who deploys and who proves -------------------------------------------------------------------

POLICY = """apiVersion: crd.projectcalico.org/v1
kind: GlobalNetworkPolicy
metadata: {name: web}
spec:
  selector: app == 'web'
  ingress:
  - action: Allow
    protocol: TCP
    destination: {ports: [PORT]}
"""


@pytest.mark.parametrize("port", ["20:22", "8e1", "0x50", "080", "80.0", "1_0", "yes", "2001-01-01", "22", "'20:22'"])
def test_what_is_deployed_is_what_is_proved(tmp_path: Path, port):
    text = POLICY.replace("PORT", port)
    (tmp_path / "calico").mkdir()
    (tmp_path / "calico" / "web.yaml").write_text(text)
    (deployed,) = manifests.load(tmp_path, "calico")
    (proved,) = proving.load([tmp_path / "calico"])
    assert deployed.body["spec"] == proved.value["spec"]
    assert deployed.body["spec"]["ingress"][0]["destination"]["ports"] == reading.value(f"[{port}]")


BAD = [
    b"a: 1\na: 2\n",
    b"kind: [a]\napiVersion: crd.projectcalico.org/v1\nmetadata: {name: a}\n",
    b"kind: Tier\napiVersion: {}\nmetadata: {name: a}\n",
    b"kind: Tier\napiVersion: crd.projectcalico.org/v1\nmetadata: {name: [a]}\n",
    b"kind: Tier\napiVersion: crd.projectcalico.org/v1\nmetadata: {name: a, labels: [b]}\n",
    b"kind: Tier\napiVersion: crd.projectcalico.org/v1\nmetadata: {name: a, namespace: {}}\n",
    b"\xff\xfe",
    b"a: \x00",
    b"[" * 100_000,
]


@pytest.mark.parametrize("content", BAD, ids=range(len(BAD)))
def test_neither_takes_a_file_that_says_nothing_or_two_things(tmp_path: Path, content):
    (tmp_path / "calico").mkdir()
    path = tmp_path / "calico" / "web.yaml"
    path.write_bytes(content)
    with pytest.raises(InvalidManifest, match=r"web\.yaml"):
        manifests.load(tmp_path, "calico")
    with pytest.raises(PolicyError, match=r"web\.yaml"):
        policies_from_files([path])


def test_a_directory_a_large_file_and_a_missing_one_are_named(tmp_path: Path):
    (tmp_path / "calico" / "web.yaml").mkdir(parents=True)
    with pytest.raises(InvalidManifest, match="is a directory"):
        manifests.load(tmp_path, "calico")
    large = tmp_path / "large"
    large.write_bytes(b"x" * 11)
    with pytest.raises(Unreadable, match="more than 10 bytes"):
        reading.text_of(large, 10)
    with pytest.raises(PolicyError, match="does not exist"):
        proving.load([tmp_path / "none"])


def test_depth_below_the_bound_is_read():
    depth = MOST_DEPTH - 1
    assert reading.value("[" * depth + "]" * depth)


def test_without_libyaml_nothing_is_read_in_another_way(monkeypatch):
    monkeypatch.setattr("reading.yaml_text._PARSER", None)
    with pytest.raises(Unreadable, match="has no libyaml"):
        reading.value("a: 1")
