"""Policies inside objects that are read by somebody else: templates, bundles, rules that make them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from netpol.read.kinds import decides
from netpol.read.reader import shown

_MOST_NAMED = 3
_MOST_LOOKED_AT = 100_000


def policies_within(value: Any) -> str:
    """Which objects that decide traffic stand somewhere inside a value, and where; empty: none."""
    found = list(_found(value))
    if not found:
        return ""
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return ", ".join(found[:_MOST_NAMED]) + more


def _found(value: Any) -> Iterator[str]:
    todo: list[tuple[Any, str]] = [(value, "")]
    seen: set[int] = set()
    while todo and len(seen) < _MOST_LOOKED_AT:
        one, where = todo.pop()
        if not isinstance(one, Mapping | list) or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, list):
            todo += [(item, f"{where}[{i}]") for i, item in enumerate(one)]
            continue
        api, kind = one.get("apiVersion"), one.get("kind")
        if where and isinstance(api, str) and isinstance(kind, str) and decides(api, kind):
            yield f"{kind} at {shown(where)}"
            continue
        todo += [(item, f"{where}.{key}" if where else str(key)) for key, item in one.items()]
