"""The edge: YAML in, checked plain values out, every one of them with the file and line where it stands.

`Reader` takes a mapping apart field by field and `done()` refuses whatever nobody asked for, so that a misspelt field
is an error and never silently ignored. A fault in one field is noted and reading goes on, so that `taken` raises all
that is wrong with an object at once.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self, TypeVar

from netpol.model.errors import Place, PolicyError
from netpol.model.ranges import IPAddress, IPNetwork
from reading import List, Map, brief

T = TypeVar("T")
_MOST_UNKNOWN = 5
"""Of one mapping: more are no misspelling."""
_ANYWHERE = ipaddress.ip_network("0.0.0.0/0")


@dataclass(slots=True)
class Whole:
    """What the readers of one object share."""

    value: Mapping[str, Any]
    namespace: str = ""
    """Where it is when it does not say so."""
    problems: list[PolicyError] = field(default_factory=list)

    def __str__(self) -> str:
        kind, meta = self.value.get("kind"), self.value.get("metadata")
        if not isinstance(kind, str):
            return ""
        named = meta if isinstance(meta, Mapping) else {}
        parts = [part for part in (named.get("namespace"), named.get("name")) if isinstance(part, str) and part]
        return f"{shown(kind)} {shown('/'.join(parts))}".strip()


def shown(text: str) -> str:
    """A word of a file as a terminal may show it."""
    return text if text.isprintable() and len(text) <= 80 else brief(text)


def taken(reader: Reader, read: Callable[[Reader], T]) -> T:
    """What `read` makes of an object. Raises PolicyError with all that is wrong with it."""
    try:
        value = read(reader)
    except PolicyError as error:
        reader.caught(error)
        reader.fail()
        raise
    reader.fail()
    return value


def kind_of(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "a string", bool: "a boolean", int: "a number"}
    for kind, name in names.items():
        if isinstance(value, kind):
            return f"{name} ({brief(value)})" if kind in (str, bool, int) else name
    return "nothing" if value is None else brief(value)


class Reader:
    """One mapping, read field by field. Absent and `null` are the same, as in the Kubernetes API."""

    __slots__ = ("_asked", "_key", "_object", "_parent", "file", "line", "value")

    def __init__(  # noqa: PLR0917 - made by the hundred thousand, and keywords cost
        self,
        value: Mapping[str, Any],
        file: str,
        parent: Reader | None = None,
        key: str = "",
        line: int = 0,
        whole: Whole | None = None,
    ) -> None:
        self.value = value
        self.file = file
        self.line = (value.line or line) if isinstance(value, Map) else line
        self._parent = parent
        self._key = key
        self._asked: set[str] = set()
        self._object: Whole = whole or (parent._object if parent is not None else Whole(value))  # noqa: SLF001

    @property
    def field(self) -> str:
        """Where the mapping stands in its object; put together only when somebody complains."""
        return self._parent.path(self._key) if self._parent is not None else ""

    # --- places and complaints
    def place(self, key: str | None = None) -> Place:
        return Place(self.file, self.line if key is None else self._line(key))

    def _line(self, key: str) -> int:
        return self.value.lines.get(key, self.line) if isinstance(self.value, Map) else self.line

    def path(self, key: str | int | None = None) -> str:
        if key is None:
            return self.field
        if isinstance(key, int):
            return f"{self.field}[{key}]"
        return f"{self.field}.{key}" if self.field else key

    def error(self, reason: str, key: str | None = None) -> PolicyError:
        return PolicyError(self.place(key), self.path(key), reason, about=self.about, within=self.field)

    @property
    def kind(self) -> tuple[str, str]:
        """The object's apiVersion and kind, empty where they are missing or no text."""
        api, kind = self.value.get("apiVersion"), self.value.get("kind")
        return api if isinstance(api, str) else "", kind if isinstance(kind, str) else ""

    @property
    def about(self) -> str:
        """Kind and name of the object that this is a part of."""
        return str(self._object)

    @property
    def namespace(self) -> str:
        """The namespace of objects that do not say theirs; empty when none was given."""
        return self._object.namespace

    @property
    def damaged(self) -> bool:
        """Whether something was found to be wrong with the object."""
        return bool(self._object.problems)

    def wrong(self, reason: str, key: str | None = None) -> None:
        """Note a fault and go on; `taken` raises it with the others."""
        self._object.problems.append(self.error(reason, key))

    def caught(self, error: PolicyError) -> None:
        """Note an error that ended the reading of a part, unless it may follow from a fault within that part."""
        known = self._object.problems
        if error.within is not None and any(
            p.field.startswith((f"{error.within}.", f"{error.within}[") if error.within else "") for p in known
        ):
            return
        known.append(error)

    def fail(self) -> None:
        """Raise what was noted, if anything."""
        if self.damaged:
            once = {(p.field, p.reason): p for p in self._object.problems}.values()
            raise PolicyError.of(sorted(once, key=lambda p: p.place.line))

    def done(self, *ignored: str) -> None:
        """Refuse every field that was neither read nor named here."""
        if self.value.keys() <= self._asked:
            return
        unknown = [k for k in self.value if k not in self._asked and k not in ignored]
        if unknown:
            known = ", ".join(sorted(self._asked | set(ignored)))
            for key in unknown[:_MOST_UNKNOWN]:
                self.wrong(f"unknown field; known here are: {known}", key)

    # --- values
    def raw(self, key: str) -> Any:
        self._asked.add(key)
        return self.value.get(key)

    def has(self, key: str) -> bool:
        """Whether the field is there, even empty (an empty list and no list mean different things)."""
        self._asked.add(key)
        return self.value.get(key) is not None

    def text(self, key: str, default: str | None = None, *, choices: Collection[str] = ()) -> str:
        self._asked.add(key)
        value = self.value.get(key)
        if value is None and default is not None:
            return default
        if isinstance(value, str) and (not choices or value in choices):
            return value
        if value is None:
            self.wrong("is required", key)
        elif not isinstance(value, str):
            self.wrong(f"must be a string, is {kind_of(value)}", key)
        else:
            self.wrong(f"{brief(value)} is not one of {', '.join(choices)}", key)
        return default if default is not None else next(iter(choices), "")

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.wrong(f"must be true or false, is {kind_of(value)}", key)
            return default
        return value

    def number(self, key: str, low: float, high: float) -> float | None:
        value = self.raw(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.wrong(f"must be a number, is {kind_of(value)}", key)
            return None
        if not low <= value <= high:
            self.wrong(f"{value} is not between {low:g} and {high:g}", key)
            return None
        return value

    def integer(self, key: str, low: int, high: int) -> int | None:
        value = self.number(key, low, high)
        if value is None:
            return None
        if value != int(value):
            self.wrong(f"must be a whole number, is {value}", key)
            return None
        return int(value)

    def list_of(self, key: str) -> list[Any]:
        self._asked.add(key)
        value = self.value.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            if not any(p.field == self.path(key) for p in self._object.problems):
                self.wrong(f"must be a list, is {kind_of(value)}", key)
            return []
        return value

    def items(self, key: str, read: Callable[[int, Any], T]) -> tuple[T, ...]:
        """What `read` makes of each item of a list and its index; items that are wrong are noted and left out."""
        out: list[T] = []
        for i, item in enumerate(self.list_of(key)):
            try:
                out.append(read(i, item))
            except PolicyError as error:
                self.caught(error)
        return tuple(out)

    def each(self, key: str, read: Callable[[Self, int], T]) -> tuple[T, ...]:
        """What `read` makes of each mapping of a list and its index; those that are wrong are noted and left out."""
        out: list[T] = []
        for i, child in enumerate(self.children(key)):
            try:
                out.append(read(child, i))
            except PolicyError as error:
                self.caught(error)
        return tuple(out)

    def strings(self, key: str, *, choices: Collection[str] = ()) -> tuple[str, ...]:
        if self.raw(key) is None:
            return ()
        out: list[str] = []
        for i, item in enumerate(self.list_of(key)):
            if not isinstance(item, str):
                self.caught(self.item_error(key, i, f"must be a string, is {kind_of(item)}"))
            elif choices and item not in choices:
                self.caught(self.item_error(key, i, f"{brief(item)} is not one of {', '.join(choices)}"))
            else:
                out.append(item)
        return tuple(out)

    def item_error(self, key: str, index: int, reason: str) -> PolicyError:
        lines = getattr(self.value.get(key), "lines", ())
        line = lines[index] if index < len(lines) else self._line(key)
        return PolicyError(Place(self.file, line), f"{self.path(key)}[{index}]", reason, about=self.about)

    def labels(self, key: str) -> dict[str, str]:
        value = self.raw(key)
        if value is None:
            return {}
        if not isinstance(value, dict | Mapping):
            self.wrong(f"must be a mapping, is {kind_of(value)}", key)
            return {}
        out: dict[str, str] = {}
        for name, item in value.items():
            if isinstance(name, str) and isinstance(item, str):
                out[name] = item
                continue
            place = Place(self.file, getattr(value, "lines", {}).get(name, self._line(key)))
            reason = f"must be a string, is {kind_of(item)}: put it in quotes"
            self.caught(PolicyError(place, f"{self.path(key)}.{name}", reason, about=self.about))
        return out

    def child(self, key: str) -> Self | None:
        """The mapping under `key`, or None when it is not there (an empty mapping is there)."""
        self._asked.add(key)
        value = self.value.get(key)
        if value is None:
            return None
        if not isinstance(value, dict | Mapping):
            self.wrong(f"must be a mapping, is {kind_of(value)}", key)
            value = {}
        return type(self)(value, self.file, self, key, self._line(key))

    def children(self, key: str) -> list[Self]:
        items = self.list_of(key)
        if not items:
            return []
        out: list[Self] = []
        lines = items.lines if isinstance(items, List) else ()
        for i, item in enumerate(items):
            value = {} if item is None else item
            if not isinstance(value, dict | Mapping):
                self.caught(self.item_error(key, i, f"must be a mapping, is {kind_of(item)}"))
                continue
            line = lines[i] if i < len(lines) else self._line(key)
            out.append(type(self)(value, self.file, self, f"{key}[{i}]", line))
        return out

    def networks(self, key: str, *, address_ok: bool = True) -> tuple[IPNetwork, ...]:
        """CIDRs; host bits are masked away, as every engine here does."""
        if self.raw(key) is None:
            return ()

        def read(i: int, item: Any) -> IPNetwork:
            if not isinstance(item, str):
                raise self.item_error(key, i, f"must be a string, is {kind_of(item)}")
            if "/" not in item and not address_ok:
                raise self.item_error(key, i, f"{brief(item)} is not a CIDR: it has no prefix length")
            try:
                return _network(item)
            except ValueError as error:
                raise self.item_error(key, i, f"not a CIDR: {error}") from None

        return self.items(key, read)

    def network(self, key: str) -> IPNetwork:
        item = self.text(key)
        try:
            return _network(item)
        except ValueError as error:
            if item:
                self.wrong(f"not a CIDR: {error}", key)
            return _ANYWHERE


@lru_cache(maxsize=16384)
def _network(text: str) -> IPNetwork:
    """The same few networks stand in many rules, and taking one apart is slow."""
    return ipaddress.ip_network(text, strict=False)


def address(text: str, reader: Reader, key: str) -> IPAddress | None:
    """An address, or None where it is noted that it is none."""
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        reader.wrong(f"not an address: {error}", key)
        return None
