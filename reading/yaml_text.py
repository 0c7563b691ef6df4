"""YAML and JSON as `kubectl` reads them: the same value as sigs.k8s.io/yaml gives, or an error.

Refused, although one reader or the other takes it: a key that is given twice, tags, directives, what follows `---` on
its line, a merge (`<<`) of a key that stands before it, keys that are no words, numbers that are not exact, and more
nesting or repetition than any object has.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from reading.scalars import Refused, is_integer, plainly, resolve, shown
from reading.unreadable import Unreadable
from reading.values import MOST_DEPTH, Document, List, Map

MOST_VALUES: Final = 20_000_000
"""Values of one text, with what aliases repeat."""
_MOST_SHOWN: Final = 60

_PARSER: Final[Any] = getattr(yaml, "CSafeLoader", None)
"""libyaml, of which the readers of Go are a translation. PyYAML's own parser takes what they refuse (`{c:[]}`)."""
# kubectl cuts a file into documents by its lines, before anybody reads YAML.
_BREAKS: Final = re.compile("\r(?!\n)|[\x85\u2028\u2029\ufeff]")
_CUT: Final = re.compile(r"^---(?![ \t\r\n]|\Z)", re.MULTILINE)
_SLASH: Final = re.compile(r"(?<!\\)(?:\\\\)*\\/")


def documents(text: str, file: str = "<text>", *, lines: bool = False, strictly: bool = False) -> list[Document]:
    """Every document of a text that is not empty.

    Args:
        file: what errors call the text.
        lines: mappings and lists are `Map` and `List`, which know their lines; else plain ones.
        strictly: also refuse a bare word that another reader of YAML takes for something else, such as `yes`, `010`
            or a date: for files that others read too.

    Raises:
        Unreadable: with line, value, reason and fix.
    """
    return list(_Reading(text, file, lines=lines, strictly=strictly).documents())


def value(text: str, file: str = "<text>", *, strictly: bool = False) -> Any:
    """The value of a text with at most one document; None when it has none. Arguments and errors as of `documents`."""
    found = documents(text, file, strictly=strictly)
    if len(found) > 1:
        raise Unreadable(file, found[1].line, "begins a second document. Leave one in the file")
    return found[0].value if found else None


@dataclass(slots=True)
class _Anchored:
    """What an anchor stands for; of two with one name, an alias means the one that began last before it."""

    value: Any = None
    size: int = 0
    """Values in it, 0 until it has ended."""


@dataclass(slots=True)
class _Open:
    """A mapping or list that has begun and not ended."""

    into: Any
    line: int
    before: int
    """Values that were counted before it."""
    anchored: _Anchored | None
    merges: bool = False
    """It is a list behind `<<`."""
    flow: bool = False
    """It stands in brackets or braces."""
    key: str | None = None
    key_line: int = 0
    merged: set[str] = field(default_factory=set)
    """Keys that a merge brought and that no key of its own replaces yet."""
    has_merged: bool = False


class _Reading:
    """One pass over the events of a text. Nothing here calls itself, so that no nesting exhausts the stack."""

    def __init__(self, text: str, file: str, *, lines: bool, strictly: bool) -> None:
        text = text.removeprefix("\ufeff")
        # A block scalar that keeps its last line ends has one at the end of a file, as kubectl reads line by line.
        self.text = text if text.endswith("\n") else text + "\n"
        self.file, self.lines, self.strictly = file, lines, strictly
        self.ends = text.endswith("\n")
        self.slashes = "\\/" in text
        self.stack: list[_Open] = []
        self.anchors: dict[str, _Anchored] = {}
        self.worded: set[int] = set()
        """Mappings, by id, with keys that were no text before they became keys."""
        self.count = self.repeated = 0
        self.root: Any = None

    def error(self, line: int, reason: str) -> Unreadable:
        return Unreadable(self.file, line, reason)

    # -- documents --------------------------------------------------------------------------------

    def documents(self) -> Iterator[Document]:
        self._cuts()
        number, starts = 0, -1
        first: Any = None
        for event in self._events():
            kind = type(event)
            if kind is yaml.DocumentStartEvent:
                number += 1
                self._begins(event, number)
                starts, first = event.start_mark.line if event.explicit else -1, None
            elif kind is yaml.DocumentEndEvent:
                if event.explicit and self.root is None:
                    raise self.error(event.start_mark.line + 1, "`...` ends no document. Remove it")
                if self.root is not None:
                    yield Document(first.start_mark.line + 1, self.root)
            elif kind not in (yaml.StreamStartEvent, yaml.StreamEndEvent):
                if first is None:
                    first = event
                    if event.start_mark.line == starts and event.end_mark.index > event.start_mark.index:
                        raise self.error(starts + 1, "`---` has more on its line. Put that on the next one")
                self._take(event)

    def _cuts(self) -> None:
        try:
            self.text.encode()
        except UnicodeEncodeError as error:
            line = self.text.count("\n", 0, error.start) + 1
            raise self.error(line, f"{self.text[error.start]!r} is not a character. Remove it") from None
        if found := _BREAKS.search(self.text):
            line = self.text.count("\n", 0, found.start()) + 1
            raise self.error(line, f"{found[0]!r} ends a line or is not text to some readers. Remove or escape it")
        if found := _CUT.search(self.text):
            line = self.text.count("\n", 0, found.start()) + 1
            raise self.error(line, "`---` has more on its line. Put that on the next one, or indent it if it is text")

    def _events(self) -> Iterator[Any]:
        if _PARSER is None:
            raise self.error(0, "cannot be read as kubectl reads: this PyYAML has no libyaml. Install a wheel of it")
        try:
            yield from yaml.parse(self.text, Loader=_PARSER)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            problem = ", ".join(str(part) for part in (error.problem, error.context) if part)
            raise self.error(mark.line + 1 if mark else 0, f"is not YAML: {problem}. Correct it") from None
        except yaml.reader.ReaderError as error:
            # libyaml counts bytes.
            line = self.text.encode()[: error.position].count(b"\n") + 1
            raise self.error(line, f"is not YAML: {error.reason}. Remove or escape the character") from None
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            if isinstance(error, Unreadable):
                raise
            raise self.error(0, f"is not YAML: {' '.join(str(error).split())}. Correct it") from None

    def _begins(self, event: Any, number: int) -> None:
        line = event.start_mark.line + 1
        if event.version or event.tags:
            raise self.error(line, "directives (%) are not read by everybody. Remove them")
        if number > 1 and not event.explicit:
            raise self.error(line, "kubectl would not read what follows `...`. Put `---` on a line before it")
        self.stack, self.anchors, self.worded = [], {}, set()
        self.root = None

    # -- values -----------------------------------------------------------------------------------

    def _take(self, event: Any) -> None:
        if isinstance(event, yaml.CollectionEndEvent):
            return self._ends()
        line = event.start_mark.line + 1
        self._counts(line, 1)
        if getattr(event, "tag", None):
            tag = _short(event.tag.replace("tag:yaml.org,2002:", "!!"))
            raise self.error(line, f"the tag {tag} is not read by everybody. Remove it; text goes in quotes")
        if self._wants_key():
            return self._key(event, line)
        if isinstance(event, yaml.ScalarEvent):
            found = self._scalar(event, line)
            self._anchor(event.anchor, found)
            return self._put(found, line)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, line)
        return self._opens(event, line)

    def _scalar(self, event: Any, line: int) -> Any:
        if not event.implicit[0]:
            try:
                event.value.encode()
            except UnicodeEncodeError:
                raise self.error(line, f"{_short(event.value)} has half a character. Write the whole one") from None
            begin, end = event.start_mark.index, event.end_mark.index
            if self.slashes and event.style == '"' and _SLASH.search(self.text, begin, end):
                raise self.error(line, f"{_short(event.value)} has the escape \\/, which is JSON's only. Write / alone")
            if self.strictly and not self.ends and event.style in "|>" and end >= len(self.text) - 1:
                raise self.error(line, "the file ends in this text, without a line end. End its last line")
            return event.value
        if "?" in event.value and self.stack and self.stack[-1].flow:
            raise self.error(line, f"{_short(event.value)} has a ? that ends it for some readers. Put it in quotes")
        try:
            return plainly(event.value) if self.strictly else resolve(event.value)
        except Refused as error:
            raise self.error(line, f"{_short(event.value)} {error}") from None

    def _opens(self, event: Any, line: int) -> None:
        if len(self.stack) == MOST_DEPTH:
            raise self.error(line, f"is nested more than {MOST_DEPTH} levels deep. Make it flatter")
        top = self.stack[-1] if self.stack else None
        mapping = isinstance(event, yaml.MappingStartEvent)
        if top is not None and top.merges and not mapping:
            raise self._no_merge(line)
        into: Any = (Map() if self.lines else {}) if mapping else (List() if self.lines else [])
        if isinstance(into, Map):
            into.line = line
        anchored = _Anchored() if event.anchor else None
        if anchored is not None:
            self.anchors[event.anchor] = anchored
        merges = top is not None and top.key == _MERGE_KEY and not mapping
        self.stack.append(_Open(into, line, self.count - 1, anchored, merges, bool(event.flow_style)))

    def _ends(self) -> None:
        done = self.stack.pop()
        if done.anchored is not None:
            done.anchored.value, done.anchored.size = done.into, self.count - done.before
        self._put(done.into, done.line)

    def _anchor(self, anchor: str | None, found: Any) -> None:
        if anchor:
            self.anchors[anchor] = _Anchored(found, 1)

    def _alias(self, event: Any, line: int) -> None:
        name = event.anchor
        if name not in self.anchors:
            raise self.error(line, f"*{_bare(name)} stands for nothing: there is no &{_bare(name)} before it")
        found, size = self.anchors[name].value, self.anchors[name].size
        if not size:
            raise self.error(line, f"*{_bare(name)} is part of what it stands for. Write the value out")
        top = self.stack[-1] if self.stack else None
        if top is not None and (top.key == _MERGE_KEY or top.merges) and not isinstance(found, dict):
            raise self._no_merge(line)
        self.repeated += size
        self._counts(line, size)
        # The readers of Go stop at such shares too: 99 % of a small text, 10 % of a large one.
        if self.repeated > 100 and self.count > 1000:
            share = 0.9 if self.count <= 400_000 else 0.1
            if self.repeated > share * self.count:
                raise self.error(line, f"*{_bare(name)} repeats too much: {self.repeated} values. Write them out")
        self._put(found, line)

    def _counts(self, line: int, more: int) -> None:
        self.count += more
        if self.count > MOST_VALUES:
            raise self.error(line, f"has more than {MOST_VALUES} values. Split it")

    # -- into what is open ------------------------------------------------------------------------

    def _wants_key(self) -> bool:
        return bool(self.stack) and self.stack[-1].key is None and isinstance(self.stack[-1].into, dict)

    def _key(self, event: Any, line: int) -> None:
        top = self.stack[-1]
        if not isinstance(event, yaml.ScalarEvent):
            raise self.error(line, "a key is a word, this is a value of several. Put the key in quotes")
        if event.value == "<<" and event.implicit[0]:
            if top.has_merged and self.strictly:
                raise self.error(line, "<< is given twice. Give it once, with a list to merge several")
            top.key, top.key_line = _MERGE_KEY, line
            return
        found = self._scalar(event, line)
        self._anchor(event.anchor, found)
        key = found if isinstance(found, str) else shown(found)
        if not isinstance(found, str) and (self.strictly or not (isinstance(found, bool) or is_integer(event.value))):
            raise self.error(line, f"the key {_short(event.value)} is not text. Put it in quotes")
        if key in top.into and (key not in top.merged or not isinstance(found, str)):
            raise self.error(line, f"field {_short(key)} is given twice. Remove one of the two")
        if not isinstance(found, str):
            self.worded.add(id(top.into))
        top.merged.discard(key)
        top.key, top.key_line = key, line
        if isinstance(top.into, Map):
            top.into.lines[key] = line

    def _put(self, found: Any, line: int) -> None:
        if not self.stack:
            self.root = found
            return
        top = self.stack[-1]
        if isinstance(top.into, list):
            if top.merges and not isinstance(found, dict):
                raise self._no_merge(line)
            top.into.append(found)
            if isinstance(top.into, List):
                top.into.lines.append(line)
        elif top.key == _MERGE_KEY:
            self._merge(top, found, line)
            top.key = None
        else:
            top.into[top.key] = found
            top.key = None

    def _merge(self, top: _Open, found: Any, line: int) -> None:
        sources = [found] if isinstance(found, dict) else found
        if not isinstance(sources, list) or not all(isinstance(source, dict) for source in sources):
            raise self._no_merge(line)
        for source in sources:
            if id(source) in self.worded:
                raise self.error(line, "<< takes in keys that are not text. Put those keys in quotes")
        before = frozenset(top.into)
        for source in sources:
            for key, inner in source.items():
                # kubectl lets the merge win here, and other readers the key that is there already.
                if key in before:
                    raise self.error(line, f"<< brings {_short(key)}, which stands before it. Put << first")
                if key not in top.merged:
                    top.into[key] = inner
                    top.merged.add(key)
                    if isinstance(top.into, Map):
                        top.into.lines[key] = line
        top.has_merged = True

    def _no_merge(self, line: int) -> Unreadable:
        return self.error(line, "<< takes a mapping, or a list of them. Name one with an alias")


_MERGE_KEY: Final = "\0<<"
"""No text of YAML has a NUL: it cannot be the key of a file."""


def _short(text: str) -> str:
    shown_text = repr(text)
    return shown_text if len(shown_text) <= _MOST_SHOWN else shown_text[:_MOST_SHOWN] + "…"


def _bare(name: str) -> str:
    return name if len(name) <= _MOST_SHOWN else name[:_MOST_SHOWN] + "…"
