"""The edge: YAML in, checked plain values out, every one of them with the file and line where it stands.

`load` reads documents (and unwraps `List`s); `Reader` takes a mapping apart field by field and `done()` refuses
whatever nobody asked for, so that a misspelt field is an error and never silently ignored.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import reading
from netpol.model.errors import Place, PolicyError
from netpol.model.ranges import IPAddress, IPNetwork
from reading import List, Map, Unreadable, brief


def load_text(text: str, file: str = "<text>") -> list[Reader]:
    """Every object in a YAML text, `List`s unwrapped. Raises PolicyError with the line of the fault."""
    try:
        found = reading.documents(text, file, lines=True)
    except Unreadable as error:
        raise _unread(error) from None
    return [reader for document in found for reader in _objects(document.value, file)]


def load(paths: Iterable[str | Path]) -> list[Reader]:
    """Every object in the files; a directory stands for its *.yaml, *.yml and *.json, sorted, recursively."""
    out: list[Reader] = []
    for path in map(Path, paths):
        files = (
            sorted(p for p in path.rglob("*") if p.suffix in (".yaml", ".yml", ".json") and p.is_file())
            if path.is_dir()
            else [path]
        )
        for file in files:
            try:
                text = reading.text_of(file)
            except FileNotFoundError:
                raise PolicyError(Place(str(file)), "", "does not exist. Name a file or directory that does") from None
            except Unreadable as error:
                raise _unread(error) from None
            out.extend(load_text(text, str(file)))
    return out


def _unread(error: Unreadable) -> PolicyError:
    return PolicyError(Place(error.file, error.line), "", error.reason)


def from_objects(objects: Iterable[Mapping[str, Any]], name: str = "<value>") -> list[Reader]:
    """Readers over plain mappings, such as an API server's answers."""
    return [reader for item in objects for reader in _objects(item, name)]


def _objects(document: Any, file: str) -> Iterator[Reader]:
    if not isinstance(document, Mapping):
        raise PolicyError(Place(file, 1), "", f"an object is a mapping, this is {_kind(document)}")
    if str(document.get("kind", "")).endswith("List") and "items" in document:
        items = document["items"] or []
        if not isinstance(items, list):
            raise PolicyError(Place(file, 1), "items", f"must be a list, is {_kind(items)}")
        for item in items:
            yield from _objects(item, file)
    else:
        yield Reader(document, file)


def _kind(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "a string", bool: "a boolean", int: "a number"}
    for kind, name in names.items():
        if isinstance(value, kind):
            return f"{name} ({brief(value)})" if kind in (str, bool, int) else name
    return "nothing" if value is None else brief(value)


class Reader:
    """One mapping, read field by field. Absent and `null` are the same, as in the Kubernetes API."""

    __slots__ = ("_asked", "_key", "_parent", "file", "line", "value")

    def __init__(
        self, value: Mapping[str, Any], file: str, parent: Reader | None = None, key: str = "", line: int = 0
    ) -> None:
        self.value = value
        self.file = file
        self.line = (value.line or line) if isinstance(value, Map) else line
        self._parent = parent
        self._key = key
        self._asked: set[str] = set()

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
        return PolicyError(self.place(key), self.path(key), reason)

    def done(self, *ignored: str) -> None:
        """Refuse every field that was neither read nor named here."""
        if self.value.keys() <= self._asked:
            return
        unknown = [k for k in self.value if k not in self._asked and k not in ignored]
        if unknown:
            known = ", ".join(sorted(self._asked | set(ignored)))
            raise self.error(f"unknown field; known here are: {known}", unknown[0])

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
        if value is None:
            if default is None:
                raise self.error("is required", key)
            return default
        if not isinstance(value, str):
            raise self.error(f"must be a string, is {_kind(value)}", key)
        if choices and value not in choices:
            raise self.error(f"{brief(value)} is not one of {', '.join(choices)}", key)
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(f"must be true or false, is {_kind(value)}", key)
        return value

    def number(self, key: str, low: float, high: float) -> float | None:
        value = self.raw(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(f"must be a number, is {_kind(value)}", key)
        if not low <= value <= high:
            raise self.error(f"{value} is not between {low:g} and {high:g}", key)
        return value

    def integer(self, key: str, low: int, high: int) -> int | None:
        value = self.number(key, low, high)
        if value is None:
            return None
        if value != int(value):
            raise self.error(f"must be a whole number, is {value}", key)
        return int(value)

    def list_of(self, key: str) -> list[Any]:
        self._asked.add(key)
        value = self.value.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.error(f"must be a list, is {_kind(value)}", key)
        return value

    def strings(self, key: str, *, choices: Collection[str] = ()) -> tuple[str, ...]:
        if self.raw(key) is None:
            return ()
        out: list[str] = []
        for i, item in enumerate(self.list_of(key)):
            if not isinstance(item, str):
                raise self.item_error(key, i, f"must be a string, is {_kind(item)}")
            if choices and item not in choices:
                raise self.item_error(key, i, f"{brief(item)} is not one of {', '.join(choices)}")
            out.append(item)
        return tuple(out)

    def item_error(self, key: str, index: int, reason: str) -> PolicyError:
        lines = getattr(self.value.get(key), "lines", ())
        line = lines[index] if index < len(lines) else self._line(key)
        return PolicyError(Place(self.file, line), f"{self.path(key)}[{index}]", reason)

    def labels(self, key: str) -> dict[str, str]:
        value = self.raw(key)
        if value is None:
            return {}
        if not isinstance(value, dict | Mapping):
            raise self.error(f"must be a mapping, is {_kind(value)}", key)
        for name, item in value.items():
            if not isinstance(name, str) or not isinstance(item, str):
                raise PolicyError(
                    Place(self.file, getattr(value, "lines", {}).get(name, self._line(key))),
                    f"{self.path(key)}.{name}",
                    f"must be a string, is {_kind(item)}: put it in quotes",
                )
        return dict(value)

    def child(self, key: str) -> Self | None:
        """The mapping under `key`, or None when it is not there (an empty mapping is there)."""
        self._asked.add(key)
        value = self.value.get(key)
        if value is None:
            return None
        if not isinstance(value, dict | Mapping):
            raise self.error(f"must be a mapping, is {_kind(value)}", key)
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
                raise self.item_error(key, i, f"must be a mapping, is {_kind(item)}")
            line = lines[i] if i < len(lines) else self._line(key)
            out.append(type(self)(value, self.file, self, f"{key}[{i}]", line))
        return out

    def networks(self, key: str, *, address_ok: bool = True) -> tuple[IPNetwork, ...]:
        """CIDRs; host bits are masked away, as every engine here does."""
        if self.raw(key) is None:
            return ()
        out: list[IPNetwork] = []
        for i, item in enumerate(self.strings(key)):
            if "/" not in item and not address_ok:
                raise self.item_error(key, i, f"{item!r} is not a CIDR: it has no prefix length")
            try:
                out.append(_network(item))
            except ValueError as error:
                raise self.item_error(key, i, f"not a CIDR: {error}") from error
        return tuple(out)

    def network(self, key: str) -> IPNetwork:
        item = self.text(key)
        try:
            return _network(item)
        except ValueError as error:
            raise self.error(f"not a CIDR: {error}", key) from error


@lru_cache(maxsize=16384)
def _network(text: str) -> IPNetwork:
    """The same few networks stand in many rules, and taking one apart is slow."""
    return ipaddress.ip_network(text, strict=False)


def address(text: str, reader: Reader, key: str) -> IPAddress:
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise reader.error(f"not an address: {error}", key) from error
