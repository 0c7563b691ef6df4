"""Property values: the engine's ``Struct`` messages as plain Python values, and differences between them.

A value that is not known before the deployment is the string `UNKNOWN`, wherever it stands. Secrets come in plain
(the stand-ins do not ask the engine for the secret marks: it puts them back on outputs of the same name itself); an
output that must be secret whatever the inputs were is returned as `Secret`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import struct_pb2

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_UNKNOWNS = frozenset(
    {
        UNKNOWN,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # boolean
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # list
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)
_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 a type mark of the protocol
_OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_RESOURCE = "5cf8f73096256a8f31e491e813e4eb8e"

Properties = dict[str, Any]
"""Properties of a resource, by their names on the wire (camelCase)."""

ADD, DELETE, UPDATE = "ADD", "DELETE", "UPDATE"


@dataclass(frozen=True)
class Secret:
    """An output that is stored encrypted and shown as ``[secret]``."""

    value: Any


def decode(struct: Any) -> Properties:
    """The plain values of a ``Struct``; whole numbers become ``int``."""
    return {key: _decode(value) for key, value in struct.fields.items()}


def _decode(value: Any) -> Any:  # noqa: PLR0911 one return for each kind of value
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return UNKNOWN if value.string_value in _UNKNOWNS else value.string_value
    if kind == "bool_value":
        return value.bool_value
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "list_value":
        return [_decode(item) for item in value.list_value.values]
    if kind == "struct_value":
        fields = value.struct_value.fields
        if _SIGNATURE in fields:
            return _decode_marked(fields)
        return {key: _decode(item) for key, item in fields.items()}
    return None


def _decode_marked(fields: Mapping[str, Any]) -> Any:
    mark = fields[_SIGNATURE].string_value
    if mark == _SECRET:
        return _decode(fields["value"])
    if mark == _OUTPUT:
        return _decode(fields["value"]) if "value" in fields else UNKNOWN
    if mark == _RESOURCE:
        return _decode(fields["id"] if "id" in fields else fields["urn"])
    return {key: _decode(item) for key, item in fields.items()}  # assets and archives stay as they are


def encode(properties: Mapping[str, Any]) -> Any:
    """The ``Struct`` of plain values; properties that are ``None`` are left out, as a provider leaves out nil."""
    struct = struct_pb2.Struct()
    for key, value in properties.items():
        if value is not None:
            _encode(struct.fields[key], value)
    return struct


def _encode(target: Any, value: Any) -> None:
    if value is None:
        target.null_value = struct_pb2.NULL_VALUE
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, str):
        target.string_value = value
    elif isinstance(value, (int, float)):
        target.number_value = value
    elif isinstance(value, Secret):
        target.struct_value.fields[_SIGNATURE].string_value = _SECRET
        _encode(target.struct_value.fields["value"], value.value)
    elif isinstance(value, Mapping):
        target.struct_value.SetInParent()
        for key, item in value.items():
            _encode(target.struct_value.fields[str(key)], item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        target.list_value.SetInParent()
        for item in value:
            _encode(target.list_value.values.add(), item)
    else:
        raise TypeError(f"{value!r} of type {type(value).__name__} is no property value: convert it first")


def has_unknown(value: Any) -> bool:
    """Whether `UNKNOWN` stands anywhere in the value, also inside a longer string."""
    if isinstance(value, str):
        return UNKNOWN in value
    if isinstance(value, Mapping):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(has_unknown(item) for item in value)
    return False


def differences(old: Any, new: Any, path: str = "") -> dict[str, str]:
    """Paths of leaves that differ, each with ADD, DELETE or UPDATE; paths as Pulumi writes them (``a.b[0]["c/d"]``)."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        found: dict[str, str] = {}
        for key in [*old, *(key for key in new if key not in old)]:
            here = join(path, key)
            if key not in new or (new[key] is None and old.get(key) is not None):
                found[here] = DELETE
            elif key not in old or (old[key] is None and new[key] is not None):
                found[here] = ADD
            else:
                found.update(differences(old[key], new[key], here))
        return found
    if isinstance(old, list) and isinstance(new, list):
        found = {}
        for index in range(max(len(old), len(new))):
            here = f"{path}[{index}]"
            if index >= len(new):
                found[here] = DELETE
            elif index >= len(old):
                found[here] = ADD
            else:
                found.update(differences(old[index], new[index], here))
        return found
    return {} if (old == new and type(old) is type(new)) or _same_number(old, new) else {path: UPDATE}


def _same_number(old: Any, new: Any) -> bool:
    numbers = (int, float)
    return isinstance(old, numbers) and isinstance(new, numbers) and type(old) is not bool and old == new


def join(path: str, key: str) -> str:
    """The path one key further down."""
    if re.fullmatch(r"[A-Za-z_$][\w$]*", key):
        return f"{path}.{key}" if path else key
    quoted = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'{path}["{quoted}"]'


_SEGMENT = re.compile(r'\["((?:[^"\\]|\\.)*)"\]|\[(\d+|\*)\]|([^.\[\]]+)')


def segments(path: str) -> list[str]:
    """The keys and indices of a path, as strings; ``*`` stands for any."""
    return [
        quoted.replace('\\"', '"').replace("\\\\", "\\") if quoted else index or plain
        for quoted, index, plain in _SEGMENT.findall(path)
    ]


def covers(pattern: str, path: str) -> bool:
    """Whether ``path`` is at or below ``pattern``, or above it (a whole object came or went)."""
    return all(a in ("*", b) for a, b in zip(segments(pattern), segments(path), strict=False))


def covered(patterns: Iterable[str], path: str) -> bool:
    """Whether any of the patterns covers the path."""
    return any(covers(pattern, path) for pattern in patterns)
