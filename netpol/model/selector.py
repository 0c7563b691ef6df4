"""Label selectors of every kind as one small algebra: read, asked of labels, negated, and flattened.

The Calico grammar is that of libcalico-go/lib/selector (v3.32.1): `&&` binds tighter than `||`, any number of
leading `!` negates the whole operation that follows, an absent label satisfies `!=` and `not in` and nothing
else, and an empty selector is `all()`. Kubernetes label selectors map onto the same nodes.
"""

# ruff: noqa: PLR0911, PLR0912 - one branch per kind of value reads best

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

Labels = Mapping[str, str]

TEXT_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda value, text: text in value,
    "starts with": str.startswith,
    "ends with": str.endswith,
}


@dataclass(frozen=True, slots=True)
class Selector:
    """A predicate over labels. Values are immutable, hashable, and print in Calico's canonical form."""

    def matches(self, labels: Labels) -> bool:
        raise NotImplementedError

    def parts(self) -> tuple[Selector, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class All(Selector):
    def matches(self, labels: Labels) -> bool:
        return True

    def __str__(self) -> str:
        return "all()"


@dataclass(frozen=True, slots=True)
class Global(Selector):
    """`global()`: true in itself; in a namespaceSelector it means "what is in no namespace"."""

    def matches(self, labels: Labels) -> bool:
        return True

    def __str__(self) -> str:
        return "global()"


@dataclass(frozen=True, slots=True)
class Has(Selector):
    key: str

    def matches(self, labels: Labels) -> bool:
        return self.key in labels

    def __str__(self) -> str:
        return f"has({self.key})"


@dataclass(frozen=True, slots=True)
class In(Selector):
    """The label is there and is one of `values` (`==` is a set of one)."""

    key: str
    values: frozenset[str]
    single: bool = field(default=False, compare=False)

    def matches(self, labels: Labels) -> bool:
        return labels.get(self.key) in self.values if self.key in labels else False

    def __str__(self) -> str:
        if self.single:
            (value,) = self.values
            return f"{self.key} == {_quote(value)}"
        return f"{self.key} in {_set(self.values)}"


@dataclass(frozen=True, slots=True)
class NotIn(Selector):
    """The label is absent, or is none of `values`."""

    key: str
    values: frozenset[str]
    single: bool = field(default=False, compare=False)

    def matches(self, labels: Labels) -> bool:
        return self.key not in labels or labels[self.key] not in self.values

    def __str__(self) -> str:
        if self.single:
            (value,) = self.values
            return f"{self.key} != {_quote(value)}"
        return f"{self.key} not in {_set(self.values)}"


@dataclass(frozen=True, slots=True)
class Text(Selector):
    """The label is there and contains, starts with or ends with `text`."""

    key: str
    operator: str
    text: str

    def accepts(self, value: str) -> bool:
        return TEXT_OPERATORS[self.operator](value, self.text)

    def matches(self, labels: Labels) -> bool:
        return self.key in labels and self.accepts(labels[self.key])

    def __str__(self) -> str:
        return f"{self.key} {self.operator} {_quote(self.text)}"


@dataclass(frozen=True, slots=True)
class Not(Selector):
    inner: Selector

    def matches(self, labels: Labels) -> bool:
        return not self.inner.matches(labels)

    def parts(self) -> tuple[Selector, ...]:
        return (self.inner,)

    def __str__(self) -> str:
        return f"!{self.inner}"


@dataclass(frozen=True, slots=True)
class And(Selector):
    terms: tuple[Selector, ...]

    def matches(self, labels: Labels) -> bool:
        return all(term.matches(labels) for term in self.terms)

    def parts(self) -> tuple[Selector, ...]:
        return self.terms

    def __str__(self) -> str:
        return "(" + " && ".join(map(str, self.terms)) + ")"


@dataclass(frozen=True, slots=True)
class Or(Selector):
    terms: tuple[Selector, ...]

    def matches(self, labels: Labels) -> bool:
        return any(term.matches(labels) for term in self.terms)

    def parts(self) -> tuple[Selector, ...]:
        return self.terms

    def __str__(self) -> str:
        return "(" + " || ".join(map(str, self.terms)) + ")"


ALL = All()
NOTHING = Not(ALL)


@lru_cache(maxsize=16384)
def equals(key: str, value: str) -> Selector:
    """The label has this value."""
    return In(key, frozenset((value,)), single=True)


def _quote(value: str) -> str:
    return f"'{value}'" if '"' in value else f'"{value}"'


def _set(values: Iterable[str]) -> str:
    return "{" + ", ".join(_quote(v) for v in sorted(values)) + "}"


def both(*terms: Selector | None) -> Selector:
    """Conjunction; `None` and `all()` add nothing."""
    flat: list[Selector] = []
    for term in terms:
        if term is None or term == ALL:
            continue
        flat.extend(term.terms if isinstance(term, And) else (term,))
    unique = tuple(dict.fromkeys(flat))
    if NOTHING in unique:
        return NOTHING
    return ALL if not unique else unique[0] if len(unique) == 1 else And(unique)


def either(*terms: Selector) -> Selector:
    """Disjunction; of nothing it is false."""
    if any(term == ALL for term in terms):
        return ALL
    flat: list[Selector] = []
    for term in terms:
        if term != NOTHING:
            flat.extend(term.terms if isinstance(term, Or) else (term,))
    unique = tuple(dict.fromkeys(flat))
    return NOTHING if not unique else unique[0] if len(unique) == 1 else Or(unique)


def negate(term: Selector) -> Selector:
    return term.inner if isinstance(term, Not) else Not(term)


def rename(selector: Selector, key: Callable[[str], str]) -> Selector:
    """The selector with every label key put through `key`."""
    match selector:
        case Has(k):
            return Has(key(k))
        case In(k, values, single):
            return In(key(k), values, single)
        case NotIn(k, values, single):
            return NotIn(key(k), values, single)
        case Text(k, operator, text):
            return Text(key(k), operator, text)
        case Not(inner):
            return Not(rename(inner, key))
        case And(terms):
            return And(tuple(rename(t, key) for t in terms))
        case Or(terms):
            return Or(tuple(rename(t, key) for t in terms))
    return selector


def replace(selector: Selector, old: Selector, new: Selector) -> Selector:
    """The selector with every occurrence of the node `old` replaced."""
    if selector == old:
        return new
    match selector:
        case Not(inner):
            return Not(replace(inner, old, new))
        case And(terms):
            return And(tuple(replace(t, old, new) for t in terms))
        case Or(terms):
            return Or(tuple(replace(t, old, new) for t in terms))
    return selector


def atoms(selector: Selector) -> frozenset[Selector]:
    """The leaves that look at a label."""
    parts = selector.parts()
    if parts:
        return frozenset().union(*map(atoms, parts))
    return frozenset() if isinstance(selector, All | Global) else frozenset((selector,))


def keys(selector: Selector) -> frozenset[str]:
    """The label keys that the selector looks at."""
    found: set[str] = set()
    todo = [selector]
    while todo:
        one = todo.pop()
        key: str | None = getattr(one, "key", None)
        if key is not None:
            found.add(key)
        else:
            todo += one.parts()
    return frozenset(found)


def to_dnf(selector: Selector, limit: int = 256) -> list[list[Selector]]:
    """The selector as a disjunction of conjunctions of `Has`, `In`, `NotIn`, `Text`, `Not(Has)`, `Not(Text)`.

    Raises OverflowError when it takes more than `limit` conjunctions.
    """
    terms = _dnf(selector, negative=False, limit=limit)
    kept: list[list[Selector]] = []
    for term in terms:
        simple = _simplify(term)
        if simple is not None and simple not in kept:
            kept.append(simple)
    return kept


def _dnf(selector: Selector, *, negative: bool, limit: int) -> list[list[Selector]]:
    match selector:
        case All() | Global():
            return [] if negative else [[]]
        case Not(inner):
            return _dnf(inner, negative=not negative, limit=limit)
        case And(terms) | Or(terms):
            flattened = [_dnf(t, negative=negative, limit=limit) for t in terms]
            if isinstance(selector, Or) != negative:
                joined = [conjunction for part in flattened for conjunction in part]
            else:
                joined = [[]]
                for part in flattened:
                    joined = [left + right for left, right in itertools.product(joined, part)]
                    if len(joined) > limit:
                        raise OverflowError(f"selector {selector} needs more than {limit} conjunctions")
            return joined
        case In(key, values):
            return [[NotIn(key, values) if negative else selector]]
        case NotIn(key, values):
            return [[In(key, values) if negative else selector]]
    return [[Not(selector) if negative else selector]]


def _simplify(literals: list[Selector]) -> list[Selector] | None:
    """One conjunction without repetition; None when it can never hold."""
    wanted: dict[str, frozenset[str]] = {}
    excluded: dict[str, frozenset[str]] = {}
    present: set[str] = set()
    absent: set[str] = set()
    texts: list[Selector] = []
    for literal in literals:
        match literal:
            case In(key, values):
                wanted[key] = wanted[key] & values if key in wanted else values
            case NotIn(key, values):
                excluded[key] = excluded.get(key, frozenset()) | values
            case Has(key):
                present.add(key)
            case Not(Has(key)):
                absent.add(key)
            case _:
                if literal not in texts:
                    texts.append(literal)
    for literal in texts:
        if isinstance(literal, Text):
            present.add(literal.key)
    out: list[Selector] = []
    for key in sorted(wanted.keys() | excluded.keys() | present | absent):
        if key in absent:
            if key in wanted or key in present:
                return None
            out.append(Not(Has(key)))
        elif key in wanted:
            values = wanted[key] - excluded.get(key, frozenset())
            if not values:
                return None
            out.append(In(key, values, single=len(values) == 1))
        else:
            if key in present:
                out.append(Has(key))
            if excluded.get(key):
                out.append(NotIn(key, excluded[key], single=len(excluded[key]) == 1))
    return out + sorted(texts, key=str)
