"""Which inputs of somebody else's thing a change touches besides those that a stage asks for. Pure."""

from collections.abc import Collection, Mapping
from typing import Any

from migration.rules import addon_values

_EMPTY: tuple[Any, ...] = (None, "", {}, [], ())


def unasked(old: Mapping[str, Any], new: Mapping[str, Any], asked: Mapping[str, Collection[str]]) -> list[str]:
    """Names of the inputs that differ and may not, with the key where a part of one may.

    Args:
        old: inputs as the state or the import has them.
        new: inputs as they are declared.
        asked: input -> keys within it that may change. Its value is an object, or text that holds one.
    """
    found = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if name.startswith("__") or before == after or (before in _EMPTY and after in _EMPTY):
            continue
        if name not in asked:
            found.append(name)
            continue
        was, will = _object(before), _object(after)
        if was is None or will is None:
            found.append(name)
            continue
        keys = sorted(key for key in was.keys() | will.keys() if was.get(key) != will.get(key))
        found += [f"{name}.{key}" for key in keys if key not in asked[name]]
    return found


def _object(value: Any) -> Mapping[str, Any] | None:
    if value is None or isinstance(value, Mapping):
        return value or {}
    try:
        return addon_values.parse(str(value))
    except ValueError:
        return None
