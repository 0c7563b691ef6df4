"""The configuration of an add-on is one value, however its owner wrote it."""

import json

import pytest

from migration.rules import addon_values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (None, {}),
        (" ", {}),
        ("{}", {}),
        ("null", {}),
        ('{"env":\t{"A": "1"}}', {"env": {"A": "1"}}),
        ("# ours\nenv:\n  A: '1'\n", {"env": {"A": "1"}}),
        ("podAnnotations:\n  since: 2024-05-01\n", {"podAnnotations": {"since": "2024-05-01"}}),
        ('{"face": "\\ud83d\\ude00", "path": "a\\/b"}', {"face": "😀", "path": "a/b"}),
        ("port: 8e1\ntime: 20:22\nday: 2001-99-99", {"port": 80, "time": "20:22", "day": "2001-99-99"}),
        ("podLabels: {on: x, 8: z}", {"podLabels": {"true": "x", "8": "z"}}),
    ],
)
def test_what_eks_takes_is_read_and_can_be_written_as_json(text, value):
    assert addon_values.parse(text) == value
    assert json.loads(json.dumps(addon_values.parse(text), allow_nan=False)) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "neither JSON nor YAML"),
        ("- a\n- b", "is list, not a mapping"),
        ("just words", "is str, not a mapping"),
        ("a: .inf", "not a number that JSON can say"),
        ("a: !!binary aGk=", "the tag .* is not read"),
        ("a: !!python/name:os.system x", "neither JSON nor YAML"),
        ("[1, 2]: x", "neither JSON nor YAML"),
        ("env: {A: 1}\nenv: {B: 1}", "field 'env' is given twice"),
        ('{"env": 1, "env": 2}', "given twice"),
        ("[" * 100_000, "nested more than 100 levels"),
        ("a: 2001-99-99\nb: \udcff", "not a character"),
    ],
)
def test_what_cannot_be_read_says_why_in_one_line(text, reason):
    with pytest.raises(ValueError, match=reason) as refused:
        addon_values.parse(text)
    assert "\n" not in str(refused.value)
