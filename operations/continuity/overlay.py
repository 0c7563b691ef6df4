"""Files over a live cluster: each object in a file stands for the live one of its name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from netpol.read import documents
from netpol.read.reader import Reader

LIVE = "<live>"
"""Where an object stands that no file has."""


def over(files: Sequence[Reader], objects: Iterable[Mapping[str, Any]]) -> list[Reader]:
    """What a cluster holds once these files are deployed."""
    own = {key_of(reader) for reader in files}
    return [*files, *(r for r in documents.from_objects(objects, LIVE) if key_of(r) not in own)]


def key_of(reader: Reader) -> tuple[str, str, str, str]:
    """Which object it is: group, kind, namespace and name; both of Calico's API groups hold one object."""
    api, kind = reader.kind
    meta = reader.value.get("metadata")
    meta = meta if isinstance(meta, Mapping) else {}
    group = api.partition("/")[0] if "/" in api else ""
    return group.removeprefix("crd."), kind, str(meta.get("namespace") or ""), str(meta.get("name") or "")
