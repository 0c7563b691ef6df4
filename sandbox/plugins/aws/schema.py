"""What a resource type of the AWS provider accepts, and how two versions of it differ.

A type is described by one line of words, one for each property:
`name` followed by marks. A dotted word describes a nested property (list indices are left out).

    *  required                       !  a change replaces the resource
    ?  computed when unset: stays     ~  a set: order does not matter
    ^  not read back from AWS         $  JSON text: compared as a value

The rules are those of the Terraform bridge: new inputs are compared with the old *state* (not with
the old inputs), a property that is unset equals an empty one, and an unset computed one never differs.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sandbox.plugins.values import ADD, DELETE, UNKNOWN, UPDATE, Properties, has_unknown, join

_WORD = re.compile(r"^([A-Za-z0-9.]+)([*!?~^$]*)$")


@dataclass(frozen=True)
class Change:
    """One property that differs: its path, whether it was added, updated or deleted, and what it forces."""

    path: str
    kind: str
    replaces: bool


@dataclass(frozen=True)
class Schema:
    """One resource type. `auto_name` is the property that gets NAME-1234567 when unset."""

    token: str
    inputs: str
    outputs: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    auto_name: str | None = None
    tagged: bool = True
    regional: bool = True

    @cached_property
    def marks(self) -> dict[str, str]:
        """Marks of each path, nested ones included."""
        words = self.inputs.split()
        if self.tagged:
            words.append("tags")
        if self.regional:
            words.append("region!?")
        marks = {}
        for word in words:
            match = _WORD.match(word)
            if not match:
                raise ValueError(f"{self.token}: {word!r} is not a property with marks")
            marks[match[1]] = match[2]
        return marks

    @cached_property
    def properties(self) -> tuple[str, ...]:
        """Names of the top-level inputs."""
        return tuple(path for path in self.marks if "." not in path)

    @cached_property
    def computed(self) -> tuple[str, ...]:
        """Names of the outputs that are not inputs."""
        return (*self.outputs.split(), *(["tagsAll"] if self.tagged else []))

    def having(self, mark: str) -> tuple[str, ...]:
        """Top-level inputs with this mark."""
        return tuple(name for name in self.properties if mark in self.marks[name])

    # -- check ---------------------------------------------------------------------------------

    def check(self, name: str, olds: Properties, news: Properties) -> tuple[Properties, list[tuple[str, str]]]:
        """The inputs with defaults and an automatic name; failures as (property, reason).

        `name` is the resource's logical name, `olds` its old inputs (empty when it is new).
        """
        given = {key: value for key, value in news.items() if not key.startswith("__") and value is not None}
        failures = [
            (
                key,
                f"{self.token} has no input {key!r} in this stand-in; it knows: {' '.join(self.properties)}",
            )
            for key in given
            if key not in self.properties
        ]
        failures += [
            (
                key,
                f'Missing required argument. The argument "{key}" is required, but no definition was found.',
            )
            for key in self.having("*")
            if key not in given
        ]
        checked = {key: _json_text(value) if "$" in self.marks.get(key, "") else value for key, value in given.items()}
        defaulted: list[str] = []
        for key, value in self.defaults.items():
            if key not in checked:
                checked[key] = value
                defaulted.append(key)
        auto = self.auto_name
        if auto and auto not in checked and f"{auto}Prefix" not in checked:
            reuse = auto in olds.get("__defaults", ()) and auto in olds
            checked[auto] = olds[auto] if reuse else f"{name}-{secrets.token_hex(4)[:7]}"
            defaulted.append(auto)
        checked["__defaults"] = sorted(defaulted)
        return checked, failures

    # -- diff ----------------------------------------------------------------------------------

    def diff(self, state: Properties, news: Properties) -> list[Change]:
        """How `news` differ from `state` (tags are the provider's to compare)."""
        changes: list[Change] = []
        for name in self.properties:
            if name != "tags":
                changes += self._compare(name, name, state.get(name), news.get(name), "!" in self.marks[name])
        return changes

    def delete_before_replace(self, state: Properties, news: Properties) -> bool:
        """Whether the old resource must go first: its name is chosen by the user and stays the same."""
        auto = self.auto_name
        return bool(
            auto and auto not in news.get("__defaults", ()) and news.get(auto) and news[auto] == state.get(auto)
        )

    def _compare(self, path: str, pattern: str, old: Any, new: Any, force: bool) -> Iterator[Change]:
        marks = self.marks.get(pattern, "")
        force = force or "!" in marks
        if new is None or (_empty(new) and _empty(old)):
            if "?" not in marks and not _empty(old):
                yield Change(path, DELETE, force)
        elif new == UNKNOWN or (isinstance(new, str) and has_unknown(new)):
            yield Change(path, UPDATE, force)
        elif isinstance(new, dict) and isinstance(old, dict):
            for key in sorted({*old, *new}):
                yield from self._compare(join(path, key), f"{pattern}.{key}", old.get(key), new.get(key), force)
        elif isinstance(new, list) and isinstance(old, list):
            yield from self._compare_lists(path, pattern, old, new, force)
        elif "$" in marks:
            if _json_value(old) != _json_value(new):
                yield Change(path, UPDATE, force)
        elif _scalar(old) != _scalar(new):
            yield Change(path, ADD if _empty(old) else UPDATE, force)

    def _compare_lists(self, path: str, pattern: str, old: list[Any], new: list[Any], force: bool) -> Iterator[Change]:
        if "~" in self.marks.get(pattern, ""):
            left = list(old)
            for item in new:
                same = next((o for o in left if not [*self._compare(path, pattern, o, item, force)]), None)
                if same is None:
                    yield Change(path, UPDATE, force)
                    return
                left.remove(same)
            if left:
                yield Change(path, UPDATE, force)
        elif len(old) != len(new):
            yield Change(path, UPDATE, force)
        else:
            for index, (before, after) in enumerate(zip(old, new, strict=True)):
                yield from self._compare(f"{path}[{index}]", pattern, before, after, force)

    # -- outputs -------------------------------------------------------------------------------

    def planned_create(self, news: Properties) -> Properties:
        """Outputs that a preview of a creation can promise: inputs, and unknowns for what AWS decides."""
        planned = {key: self._with_unknowns(key, value) for key, value in news.items() if not key.startswith("__")}
        return planned | {key: UNKNOWN for key in (*self.computed, *self.having("?")) if key not in planned}

    def planned_update(self, state: Properties, news: Properties) -> Properties:
        """Outputs that a preview of an update can promise: unset computed properties stay as they are."""
        keep = {key: state[key] for key in (*self.computed, *self.having("?")) if key in state}
        planned = {key: _nested_kept(state.get(key), value) for key, value in news.items() if not key.startswith("__")}
        return keep | planned

    def inputs_of(self, state: Properties) -> Properties:
        """The inputs that declare a resource exactly as `state` says."""
        return {key: state[key] for key in self.properties if not _empty(state.get(key))} | {"__defaults": []}

    def restricted(self, pattern: str, old: Any, new: Any) -> Any:
        """`new` with only those members of nested objects that the inputs `old` had (maps keep all)."""
        nested = any(path.startswith(f"{pattern}.") for path in self.marks)
        if nested and isinstance(old, dict) and isinstance(new, dict):
            return {
                key: self.restricted(f"{pattern}.{key}", value, new[key]) for key, value in old.items() if key in new
            }
        return new

    def _with_unknowns(self, pattern: str, value: Any) -> Any:
        if isinstance(value, list):
            return [self._with_unknowns(pattern, item) for item in value]
        if not isinstance(value, dict):
            return value
        filled = {key: self._with_unknowns(f"{pattern}.{key}", item) for key, item in value.items()}
        for path, marks in self.marks.items():
            parent, _, leaf = path.rpartition(".")
            if parent == pattern and "?" in marks:
                filled.setdefault(leaf, UNKNOWN)
        return filled


def _nested_kept(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {key: _nested_kept(old.get(key), value) for key, value in new.items()}
    return new


def _empty(value: Any) -> bool:
    return value is None or value in ("", False, 0) or (isinstance(value, dict | list) and not value)


def _scalar(value: Any) -> Any:
    """Text of a scalar: Terraform converts between "1", 1 and true as the schema's type asks."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _json_text(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict) and not has_unknown(value) else value


def _json_value(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value
