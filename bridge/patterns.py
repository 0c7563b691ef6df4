"""Regular expressions as Go's `regexp` and Python's `re` both read them; what they might read differently is refused.

Cilium filters labels with expressions of Go. Go never backtracks, Python does: what could take Python long is refused
with the rest.
"""

import re
from typing import Final

_QUANTIFIER: Final = re.compile(r"[*+?]|\{\d+(?:,\d*)?\}")
_CLASSES: Final = "dDwWsS"
_CHARACTERS: Final = "tnfrva"
_POSITIONS: Final = "bBA"
_MOST_REPEATS: Final = 1000
_LONGEST_SHOWN: Final = 120
_MOST_ENDLESS: Final = 2
"""Each of them multiplies the time by the length of the text, of which a label's key has 317 letters at most."""


class Unreadable(ValueError):
    """An expression that is not certain to mean the same to Cilium and to us; the text says why."""


def compiled(text: str) -> re.Pattern[str]:
    """The expression.

    Raises:
        Unreadable: Go would not take it either, or might read it differently.
    """
    _Reader(text).read()
    try:
        return re.compile(text, re.ASCII)
    except (re.error, OverflowError) as error:
        raise Unreadable(f"{shown(text)} is no regular expression: {shown(str(error))}") from None


def shown(value: object) -> str:
    """A value for people, not longer than a line."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


class _Reader:
    """Walks over an expression and stops at the first thing that both languages do not share."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._endless = 0

    def read(self) -> None:
        self._alternatives(depth=0)
        if self._at < len(self._text):
            raise self._no("a parenthesis closes nothing")

    def _no(self, why: str) -> Unreadable:
        return Unreadable(f"{shown(self._text)}, position {self._at}: {why}")

    def _alternatives(self, *, depth: int) -> None:
        """Reads to the end of a group."""
        while self._at < len(self._text):
            begun = self._at
            here = self._text[self._at]
            if here == ")":
                if depth:
                    return
                raise self._no("a parenthesis closes nothing")
            self._times(begun, repeatable=self._piece(here, depth))

    def _piece(self, here: str, depth: int) -> bool:
        """Reads one piece; says whether it may be repeated: a position may not."""
        if not here.isascii():
            raise self._no("only ASCII letters occur in the keys of labels")
        if here == "(":
            return self._group(depth)
        if here == "[":
            return self._class()
        if here == "\\":
            return self._escape()
        if _QUANTIFIER.match(self._text, self._at):
            raise self._no("nothing to repeat")
        if self._text.startswith("{,", self._at):
            raise self._no("`{,` is a number of times in Python and text in Go")
        self._at += 1
        return here not in "^$|"

    def _times(self, begun: int, *, repeatable: bool) -> None:
        found = _QUANTIFIER.match(self._text, self._at)
        if not found:
            return
        if not repeatable:
            raise self._no("a position cannot be repeated")
        if any(int(n) > _MOST_REPEATS for n in re.findall(r"\d+", found[0])):
            raise self._no(f"Go repeats {_MOST_REPEATS} times at most")
        piece = self._text[begun : self._at]
        if found[0] != "?" and piece.startswith("("):
            raise self._no("a group is repeated, which may take very long; only `?` may follow one")
        if found[0] in "*+" or found[0].endswith(",}"):
            self._endless += 1
            if self._endless > _MOST_ENDLESS:
                raise self._no(f"more than {_MOST_ENDLESS} times there is no limit to a repetition")
        self._at = found.end()
        if self._text.startswith("?", self._at):
            self._at += 1
        if _QUANTIFIER.match(self._text, self._at):
            raise self._no("a repetition of a repetition")

    def _group(self, depth: int) -> bool:
        if depth > 20:
            raise self._no("nested too deeply")
        begun = self._at
        self._at += 1
        if self._text.startswith("?", self._at):
            if not self._text.startswith("?:", self._at):
                raise self._no("of the groups that begin with `(?`, only `(?:` is read")
            self._at += 2
        self._alternatives(depth=depth + 1)
        if not self._text.startswith(")", self._at):
            self._at = begun
            raise self._no("a parenthesis is not closed")
        self._at += 1
        return True

    def _escape(self) -> bool:
        letter = self._text[self._at + 1 : self._at + 2]
        if not letter or not letter.isascii():
            raise self._no("a backslash before nothing")
        if letter.isalnum() and letter not in _CLASSES + _CHARACTERS + _POSITIONS:
            raise self._no(f"`\\{letter}` is not the same in Go and Python")
        self._at += 2
        return letter not in _POSITIONS

    def _class(self) -> bool:
        begun = self._at
        self._at += 1
        if self._text.startswith("^", self._at):
            self._at += 1
        first = True
        while first or not self._text.startswith("]", self._at):
            here = self._text[self._at : self._at + 1]
            if not here:
                self._at = begun
                raise self._no("a class is not closed")
            if not here.isascii():
                raise self._no("only ASCII letters occur in the keys of labels")
            if here == "[" or self._text[self._at : self._at + 2] in {"&&", "~~", "||", "--"}:
                raise self._no("a class within a class")
            if here == "\\":
                letter = self._text[self._at + 1 : self._at + 2]
                if letter.isalnum() and letter not in _CLASSES + _CHARACTERS:
                    raise self._no(f"`\\{letter}` in a class is not the same in Go and Python")
                self._at += 1
            self._at += 1
            first = False
        self._at += 1
        return True
