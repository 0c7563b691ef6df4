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
_IDENTIFIER = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-")
_MAX_LABEL = 512


class SelectorError(ValueError):
    """A selector that Calico would not accept; `at` is the offset of the offending text."""

    def __init__(self, text: str, at: int, reason: str) -> None:
        super().__init__(f"{reason} at column {at + 1} of selector {text!r}")
        self.at = at


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


# --- Reading Calico's language --------------------------------------------------------------------


@dataclass(slots=True)
class _Token:
    kind: str
    value: str
    at: int


_PUNCTUATION = {"(": "(", ")": ")", "{": "{", "}": "}", ",": ","}


def _tokens(text: str) -> list[_Token]:
    out: list[_Token] = []
    at = 0
    while True:
        at = _skip(text, at)
        if at == len(text):
            out.append(_Token("end", "", at))
            return out
        at = _token(text, at, out)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t":
        at += 1
    return at


def _token(text: str, at: int, out: list[_Token]) -> int:
    char = text[at]
    if char in _PUNCTUATION:
        out.append(_Token(char, char, at))
        return at + 1
    if char in "\"'":
        end = text.find(char, at + 1)
        if end < 0:
            raise SelectorError(text, at, "unterminated string")
        out.append(_Token("string", text[at + 1 : end], at))
        return end + 1
    for operator in ("==", "!=", "&&", "||"):
        if text.startswith(operator, at):
            out.append(_Token(operator, operator, at))
            return at + 2
    if char == "!":
        out.append(_Token("!", "!", at))
        return at + 1
    if char in "=&|":
        raise SelectorError(text, at, f"expected {char}{char}")
    return _word(text, at, out)


def _word(text: str, at: int, out: list[_Token]) -> int:
    # A keyword is one only behind a label, so that a label may be called `in` or `contains`.
    if out and out[-1].kind == "label":
        for words in (("contains",), ("starts", "with"), ("ends", "with"), ("not", "in"), ("in",)):
            end = at
            for word in words:
                if not text.startswith(word, end):
                    break
                end = _skip(text, end + len(word)) if word != words[-1] else end + len(word)
            else:
                if end == len(text) or text[end] not in _IDENTIFIER:
                    out.append(_Token(" ".join(words), "", at))
                    return end
        raise SelectorError(text, at, f"expected an operator after label {out[-1].value!r}")
    for function in ("has(", "all(", "global("):
        if text.startswith(function, at):
            end = _skip(text, at + len(function))
            name = ""
            if function == "has(":
                name, end = _identifier(text, end)
                end = _skip(text, end)
            if not text.startswith(")", end):
                raise SelectorError(text, end, f"expected ) after {function}")
            out.append(_Token(function, name, at))
            return end + 1
    name, end = _identifier(text, at)
    out.append(_Token("label", name, at))
    return end


def _identifier(text: str, at: int) -> tuple[str, int]:
    end = at
    while end < len(text) and text[end] in _IDENTIFIER:
        end += 1
    if end == at:
        raise SelectorError(text, at, "expected a label name")
    if end - at > _MAX_LABEL:
        raise SelectorError(text, at, f"a label name has at most {_MAX_LABEL} characters")
    return text[at:end], end


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.at = 0

    def next(self, *kinds: str, what: str = "") -> _Token:
        token = self.tokens[self.at]
        if kinds and token.kind not in kinds:
            raise SelectorError(self.text, token.at, f"expected {what or ' or '.join(kinds)}")
        self.at += 1
        return token

    def peek(self) -> str:
        return self.tokens[self.at].kind

    def disjunction(self) -> Selector:
        terms = [self.conjunction()]
        while self.peek() == "||":
            self.next()
            terms.append(self.conjunction())
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def conjunction(self) -> Selector:
        terms = [self.operation()]
        while self.peek() == "&&":
            self.next()
            terms.append(self.operation())
        return terms[0] if len(terms) == 1 else And(tuple(terms))

    def operation(self) -> Selector:
        negated = False
        while self.peek() == "!":
            self.next()
            negated = not negated
        token = self.next("label", "has(", "all(", "global(", "(", what="a label, has(), all(), global() or (")
        result: Selector
        match token.kind:
            case "has(":
                result = Has(token.value)
            case "all(":
                result = ALL
            case "global(":
                result = Global()
            case "(":
                result = self.disjunction()
                self.next(")")
            case _:
                result = self.comparison(token.value)
        return Not(result) if negated else result

    def comparison(self, key: str) -> Selector:
        token = self.next("==", "!=", *TEXT_OPERATORS, "in", "not in", what="an operator after the label")
        if token.kind in ("in", "not in"):
            self.next("{", what="a set in braces")
            values: set[str] = set()
            while self.peek() == "string":
                values.add(self.next().value)
                if self.peek() != ",":
                    break
                self.next()
            self.next("}")
            return (In if token.kind == "in" else NotIn)(key, frozenset(values))
        value = self.next("string", what="a quoted value").value
        if token.kind in TEXT_OPERATORS:
            return Text(key, token.kind, value)
        return (In if token.kind == "==" else NotIn)(key, frozenset((value,)), single=True)


def parse_calico(text: str) -> Selector:
    """Read a Calico selector; blank means `all()`. Raises SelectorError.

    >>> parse_calico("app == 'web' && !has(old)").matches({"app": "web"})
    True
    """
    parser = _Parser(text)
    if parser.peek() == "end":
        return ALL
    result = parser.disjunction()
    parser.next("end", what="the end of the selector")
    return result


def parse_kubernetes(spec: Mapping[str, object]) -> Selector:
    """A Kubernetes label selector (`matchLabels`, `matchExpressions`), already checked for its shape."""
    terms: list[Selector] = []
    labels = spec.get("matchLabels") or {}
    assert isinstance(labels, Mapping)  # noqa: S101
    terms += [equals(key, labels[key]) for key in sorted(labels)]
    expressions = spec.get("matchExpressions") or ()
    assert isinstance(expressions, Iterable)  # noqa: S101
    for expression in expressions:
        assert isinstance(expression, Mapping)  # noqa: S101
        key, values = expression["key"], frozenset(expression.get("values") or ())
        match expression["operator"]:
            case "In":
                terms.append(In(key, values))
            case "NotIn":
                terms.append(NotIn(key, values))
            case "Exists":
                terms.append(Has(key))
            case "DoesNotExist":
                terms.append(Not(Has(key)))
            case other:
                raise ValueError(f"operator {other!r} is not one of In, NotIn, Exists, DoesNotExist")
    return both(*terms)
