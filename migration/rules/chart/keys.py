"""Which keys and types the pinned Cilium chart takes; which of them a stack may choose is `rules`.

The chart's own schema lets unknown, misspelt and removed keys through, so a wrong key would silently do nothing.
`keys.json` beside this file is derived from the chart (`python -m operations schema chart --chart DIR`) and
committed; a test on the real chart checks that it is fresh.
"""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

Tree = dict[str, Any]
"""Key -> sub-tree, or a list of JSON type names. `{"*": []}` takes any key; `[]` takes any value."""

FREE_FORM: Final = frozenset(
    {
        "affinity",
        "annotations",
        "config",
        "labels",
        "nodeSelector",
        "podAnnotations",
        "podLabels",
        "podSecurityContext",
        "resources",
        "securityContext",
        "tolerations",
        "topologySpreadConstraints",
    }
)
"""Keys that hold Kubernetes' own structures: their insides are the API server's to judge."""

_PATH = r"(?:\.[A-Za-z][A-Za-z0-9]*)+"
_TEMPLATE_KEY = re.compile(rf"\.Values({_PATH})")
_NAMED_KEY = re.compile(rf'\b(?:hasKey|get) (?:\.Values({_PATH})|\$(\w+)) "(\w+)"')
"""Asked for by name: `hasKey .Values.nodePort "range"`."""
_VARIABLE = re.compile(rf"\$(\w+) :?= \(?(?:(?:coalesce|default) )?\.Values({_PATH})")
"""`$socketLB := (coalesce .Values.socketLB .Values.hostServices)`: the first one is the value's own name."""
_NO_VALUE = frozenset({"AsMap"})
"""Helm's own view of all values."""
_JSON_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "object": (dict,),
    "array": (list, tuple),
    "null": (type(None),),
}


def derive(schema: Mapping[str, Any], templates: Iterable[str]) -> Tree:
    """The tree of a chart.

    Args:
        schema: the chart's `values.schema.json`.
        templates: texts of the templates; a value they read is supported even where no schema declares it.
    """
    tree: Tree = _from_schema(schema)
    for text in templates:
        for path in _template_keys(text):
            _add(tree, path)
    return tree


def _template_keys(text: str) -> Iterator[list[str]]:
    for match in _TEMPLATE_KEY.finditer(text):
        path = match[1].split(".")[1:]
        if path[0] not in _NO_VALUE:
            yield path
    variables = {match[1]: match[2].split(".")[1:] for match in _VARIABLE.finditer(text)}
    for name, path in variables.items():
        for match in re.finditer(rf"\${name}({_PATH})", text):
            yield [*path, *match[1].split(".")[1:]]
    for match in _NAMED_KEY.finditer(text):
        held = match[1].split(".")[1:] if match[1] else variables.get(match[2])
        if held:
            yield [*held, match[3]]


def value_errors(values: Mapping[str, Any]) -> Iterator[tuple[str, object, str]]:
    """What is wrong with chart values: (dotted path, value, reason)."""
    yield from _errors(values, known(), ())


@cache
def known() -> Tree:
    """The committed tree of the pinned chart."""
    tree: Tree = json.loads(Path(__file__).with_suffix(".json").read_text())
    return tree


def _from_schema(node: Mapping[str, Any]) -> Any:
    properties = node.get("properties")
    if properties:
        return {k: _leaf(v) if k in FREE_FORM else _from_schema(v) for k, v in sorted(properties.items())}
    return _leaf(node)


def _leaf(node: Mapping[str, Any]) -> Any:
    kinds = node.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    if not kinds and node.get("properties"):
        kinds = ["object"]
    return {"*": []} if "object" in kinds and set(kinds) <= {"object", "null"} else kinds


def _add(tree: Tree, path: list[str]) -> None:
    here = tree
    for index, part in enumerate(path):
        if "*" in here:
            return
        last = index == len(path) - 1
        child = here.setdefault(part, [] if last else {})
        if not isinstance(child, dict):
            if last or child == []:
                return
            here[part] = child = []
            return
        here = child


_MANY = 200
"""Whoever has more values in one place has not misspelt them one by one."""


def _errors(values: Mapping[str, Any], tree: Tree, path: tuple[str, ...]) -> Iterator[tuple[str, object, str]]:
    for key, value in values.items():
        here = ".".join((*path, key))
        if "*" in tree:
            continue
        if key not in tree:
            near = difflib.get_close_matches(key[:64], tree, n=1) if len(values) <= _MANY else []
            hint = f"; did you mean {near[0]}?" if near else ""
            yield here, value, f"the chart has no such value{hint}"
            continue
        expected = tree[key]
        if isinstance(expected, dict):
            if isinstance(value, Mapping):
                yield from _errors(value, expected, (*path, key))
            elif value is not None or "*" not in expected:  # null would take the chart's own values away
                yield here, value, "must be a mapping"
        elif expected and not _fits(value, expected):
            yield here, value, f"must be {' or '.join(expected)}"


def _fits(value: object, kinds: Iterable[str]) -> bool:
    if isinstance(value, bool):  # a bool is an int in Python, not in JSON
        return "boolean" in kinds
    return any(isinstance(value, _JSON_TYPES[kind]) for kind in kinds)
