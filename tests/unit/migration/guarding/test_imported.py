"""Which changes of an imported thing nobody asked for."""

import pytest

from migration.guarding.imported import unasked

ASKED = {"configurationValues": ("affinity",)}
YAML = "env:\n  WARM_IP_TARGET: '5'\n"
PINNED = '{"affinity": {"nodeAffinity": {}}, "env": {"WARM_IP_TARGET": "5"}}'


@pytest.mark.parametrize(
    ("old", "new", "asked", "found"),
    [
        ({"configurationValues": YAML}, {"configurationValues": PINNED}, ASKED, []),
        ({"configurationValues": YAML}, {"configurationValues": PINNED}, {}, ["configurationValues"]),
        ({"configurationValues": "{}"}, {"configurationValues": PINNED}, ASKED, ["configurationValues.env"]),
        ({"configurationValues": "- odd"}, {"configurationValues": PINNED}, ASKED, ["configurationValues"]),
        ({"tags": {"team": "a"}}, {}, ASKED, ["tags"]),
        ({}, {"somethingNew": 1}, ASKED, ["somethingNew"]),
        ({"tags": None, "configurationValues": ""}, {"tags": {}}, {}, []),
        ({"__defaults": []}, {"__defaults": ["a"]}, {}, []),
    ],
)
def test_a_field_that_the_stage_does_not_ask_for_is_found_whatever_it_is(old, new, asked, found):
    assert unasked(old, new, asked) == found
