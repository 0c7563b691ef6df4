"""Selectors read: Calico's language, and Kubernetes' label selectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from netpol.model.selector import (
    ALL,
    TEXT_OPERATORS,
    And,
    Global,
    Has,
    In,
    Not,
    NotIn,
    Or,
    Selector,
    Text,
    both,
    equals,
)

_IDENTIFIER = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-")


_MAX_LABEL = 512
_MOST_DEPTH = 50
"""Parentheses in one another. What is deeper no person wrote, and what reads it calls itself."""
_SHOWN = 160


class SelectorError(ValueError):
    """A selector that Calico would not accept; `at` is the offset of the offending text."""

    def __init__(self, text: str, at: int, reason: str) -> None:
        begin = max(0, at - _SHOWN // 2)
        part = text[begin : begin + _SHOWN]
        where = f"…{part}…" if len(text) > _SHOWN else text
        super().__init__(f"{reason} at column {at + 1} of selector {where!r}")
        self.at = at


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
        self.at = self.depth = 0

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
                self.depth += 1
                if self.depth > _MOST_DEPTH:
                    raise SelectorError(self.text, token.at, f"more than {_MOST_DEPTH} parentheses in one another")
                result = self.disjunction()
                self.next(")")
                self.depth -= 1
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
