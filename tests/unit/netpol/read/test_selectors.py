"""Calico's selector language, and the algebra behind it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpol.model.selector import ALL, NOTHING, And, Has, In, Not, NotIn, Or, Selector, Text, both, either, to_dnf
from netpol.read.selector_text import SelectorError, parse_calico

MATCHES = [
    ("", {}, True),
    (" \t", {"a": "b"}, True),
    ("all()", {}, True),
    ("all( )", {}, True),
    ("global()", {}, True),
    ("a == 'b'", {"a": "b"}, True),
    ("a == 'b'", {"a": "c"}, False),
    ("a == 'b'", {}, False),
    ('a=="b"', {"a": "b"}, True),
    ("a != 'b'", {}, True),
    ("a != 'b'", {"a": "b"}, False),
    ("has(a)", {"a": ""}, True),
    ("has( a )", {}, False),
    ("!has(a)", {}, True),
    ("!!has(a)", {"a": "1"}, True),
    ("!!! has(a)", {"a": "1"}, False),
    ("! a == 'b'", {"a": "b"}, False),
    ("! a == 'b'", {}, True),
    ("a in {'b', \"c\"}", {"a": "c"}, True),
    ("a in {'b', 'c',}", {"a": "b"}, True),
    ("a in {}", {"a": "b"}, False),
    ("a not in {'b'}", {}, True),
    ("a notin {'b'}", {"a": "b"}, False),
    ("a not in {}", {"a": "b"}, True),
    ("a contains 'ell'", {"a": "hello"}, True),
    ("a contains 'ell'", {}, False),
    ("a starts with 'he'", {"a": "hello"}, True),
    ("a startswith 'he'", {"a": "ahello"}, False),
    ("a ends with 'lo'", {"a": "hello"}, True),
    ("a endswith 'lo'", {"a": "low"}, False),
    ("a == 'x' && b == 'y' || c == 'z'", {"c": "z"}, True),
    ("a == 'x' && (b == 'y' || c == 'z')", {"c": "z"}, False),
    ("in == 'x'", {"in": "x"}, True),
    ("contains contains 'x'", {"contains": "axb"}, True),
    ("hashi == 'x'", {"hashi": "x"}, True),
    ("projectcalico.org/name == 'kube-system'", {"projectcalico.org/name": "kube-system"}, True),
    ('a == "\'"', {"a": "'"}, True),
    ("!(has(b) || !has(a))", {"a": "1"}, True),
]
BAD = [
    "b == b",
    "b contains b",
    "b starts with b",
    "'b1' == b",
    "b",
    "a b",
    "!",
    'foo == "bar" &',
    'foo == "bar" |',
    "foo != ||",
    'foo in {"", ||',
    'foo in ""',
    '"FOO',
    "'FOO",
    "(",
    '(a == "foo"',
    ")",
    "()",
    "%",
    'a == "b" && %',
    "a ",
    "has(foo) &&",
    "has (foo)",
    "has(foo",
    "all(foo)",
    "a = 'b'",
    "a in {'b' 'c'}",
    "a in {,}",
    "a starts 'b'",
    "a ==\n'b'",
    "a == 'b' c",
    "x" * 513 + " == 'b'",
]
CANONICAL = [
    ("", "all()"),
    (" (all() )", "all()"),
    ("! (has( b)||! has(a ))", "!(has(b) || !has(a))"),
    ('! (a == "b"&&! c != "d")', '!(a == "b" && !c != "d")'),
    ('a == "\'"', 'a == "\'"'),
    ("a == '\"'", "a == '\"'"),
    ("a startswith 'x'", 'a starts with "x"'),
    ("a in {'d', 'a', 'b', 'a'}", 'a in {"a", "b", "d"}'),
    ("k == 'v' && x == 'y'", '(k == "v" && x == "y")'),
]


@pytest.mark.parametrize(("text", "labels", "expected"), MATCHES)
def test_a_selector_matches_what_calico_matches(text, labels, expected):
    assert parse_calico(text).matches(labels) is expected


@pytest.mark.parametrize("text", BAD)
def test_what_calico_refuses_is_refused(text):
    with pytest.raises(SelectorError, match="column"):
        parse_calico(text)


@pytest.mark.parametrize(("text", "canonical"), CANONICAL)
def test_selectors_print_in_the_canonical_form_and_read_back(text, canonical):
    assert str(parse_calico(text)) == canonical
    assert str(parse_calico(canonical)) == canonical


LEAVES = st.one_of(
    st.just(ALL),
    st.builds(Has, st.sampled_from("ab")),
    st.builds(In, st.sampled_from("ab"), st.frozensets(st.sampled_from("xy"), min_size=1)),
    st.builds(NotIn, st.sampled_from("ab"), st.frozensets(st.sampled_from("xy"))),
    st.builds(Text, st.sampled_from("ab"), st.sampled_from(["contains", "starts with"]), st.sampled_from("xy")),
)
SELECTORS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)
VALUES = [None, "x", "y", "xy", "z"]
EVERY = [{k: v for k, v in (("a", a), ("b", b)) if v is not None} for a in VALUES for b in VALUES]


@settings(max_examples=60, deadline=None)
@given(SELECTORS)
def test_the_flat_form_means_the_same(selector: Selector):
    terms = to_dnf(selector)
    for labels in EVERY:
        assert any(all(t.matches(labels) for t in term) for term in terms) is selector.matches(labels)


@settings(max_examples=60, deadline=None)
@given(SELECTORS, SELECTORS)
def test_joining_means_and_and_or(one: Selector, other: Selector):
    for labels in EVERY:
        assert both(one, other).matches(labels) is (one.matches(labels) and other.matches(labels))
        assert either(one, other).matches(labels) is (one.matches(labels) or other.matches(labels))


@settings(max_examples=60, deadline=None)
@given(SELECTORS)
def test_a_printed_selector_means_the_same(selector: Selector):
    again = parse_calico(str(selector))
    for labels in EVERY:
        assert again.matches(labels) is selector.matches(labels)


def test_a_selector_with_too_many_alternatives_says_so():
    wide = And(tuple(Or((Has(f"a{i}"), Has(f"b{i}"))) for i in range(12)))
    with pytest.raises(OverflowError, match="more than 256"):
        to_dnf(wide)
    assert to_dnf(NOTHING) == []
