"""Bad input: texts of every kind, and good values with something wrong in them."""

# ruff: noqa: RUF001

from __future__ import annotations

import copy
import itertools
import json
import random
from typing import Any

from hypothesis import strategies as st

from tests.oracles.random_yaml import WORDS, documents

LONG = 3_000
JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 80, 2**31, 2**63, 10**400, 0.5, -0.0, 1e300, float("nan"), float("inf"),
    "", " ", "²", "１２", "\0", "\n", "a\nb", "\ud800", "nan", "inf", "-1", "1e3", "0x10", "9" * 5000, "a" * LONG, "é", "../..", "/",
    "10.0.0.0/33", "10.0.0.0/8", "::/129", "300.0.0.1", "fe80::1%eth0", "a,b=c", "(" * 400, "!" * 400, "app ==", "has(", "{x", "[",
    "2001-99-99", "arn:aws:iam::1:role/x", "arn:" + ":" * 50, "user:", "group:*", "1.", "v", "1.99999999999999999999", "%s{0}{}",
    [], {}, [[]], [{}], {"": {}}, ["a"], [None], {"a": None}, [["a"]], {"a": ["b"]}, {"a": {"b": "c"}}, [1, 2], ["x"] * LONG,
    {f"k{n}": n for n in range(300)},
)  # fmt: skip


def nested(depth: int, kind: str) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value] if kind == "list" else {"a": value}
    return value


def texts() -> st.SearchStrategy[str]:
    """Text: any, of YAML's words, damaged YAML, and what is large in one way."""
    large = (
        "[" * 5000, "{a: " * 5000, "- " * 5000, '{"a":' * 5000, "(" * 400, "(" * 50_000, "!(" * 5000, "a: &a [*a]", "\ufeff", "\xff",
        "a: &a [x]\n" + "".join(f"b{n}: &b{n} [*a, *a, *a, *a, *a, *a, *a, *a, *a]\n".replace("*a", f"*b{n - 1}" if n else "*a") for n in range(30)),
        "has(a) || " * 2000 + "has(a)", "a in {" + "'x'," * 3000 + "}", "x" * 100_000, "\n" * 10_000, "---\n" * 3000, "null", "{}", "[]",
    )  # fmt: skip
    return st.one_of(
        st.text(max_size=40),
        st.sampled_from(WORDS),
        st.sampled_from(large),
        st.sampled_from([value for value in JUNK if isinstance(value, str)]),
        st.integers(0, 2**32).map(lambda seed: next(documents(seed))),
        st.lists(st.sampled_from([*WORDS, "has(a)", "&&", "||", "!", "(", ")", "a == 'b'", "in", "{", "}", "contains", "all()"]), max_size=8).map(" ".join),
    )  # fmt: skip


def contents() -> st.SearchStrategy[bytes]:
    """Bytes of a file."""
    return st.one_of(
        st.binary(max_size=40),
        texts().map(lambda text: text.encode(errors="surrogatepass")),
        texts().map(lambda text: text.encode("utf-16", errors="surrogatepass")),
    )


_DEEPEST = 15
"""Levels in which a good value is damaged: below it is what the damage put there."""


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where the parts of a value are."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if len(path) > _DEEPEST:
        return [path]
    return [path, *itertools.chain.from_iterable(paths(one, (*path, key)) for key, one in inner)]


def damaged(*examples: Any) -> st.SearchStrategy[Any]:
    """One of the examples with up to four of its parts replaced, removed, repeated or added."""

    def spoil(seed: int) -> Any:
        rng = random.Random(seed)  # noqa: S311 - no secret
        value = copy.deepcopy(rng.choice(examples))
        for _ in range(rng.randint(1, 4)):
            *where, last = rng.choice(paths(value)[1:] or [(None,)])
            holder = value
            for part in where:
                holder = holder[part]
            if last is None or (isinstance(holder, list) and last >= len(holder)):
                return rng.choice(JUNK)
            junk = rng.choice((*JUNK, nested(60, "list"), nested(60, "map")))
            match rng.randint(0, 5):
                case 0:
                    del holder[last]
                case 1 if isinstance(holder, dict):
                    holder[rng.choice(("x", "", "namespace", "\n", "²", last * 20))] = junk
                case 2 if isinstance(holder[last], list):
                    holder[last].extend(holder[last] * 3)
                case _:
                    holder[last] = copy.deepcopy(junk)
        return value

    return st.integers(0, 2**48).map(spoil)


def as_json(value: Any) -> str:
    """JSON as it comes from elsewhere, NaN and half characters included."""
    return json.dumps(value)
