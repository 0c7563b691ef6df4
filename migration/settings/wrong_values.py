"""What is wrong with single values of the configuration, told with what else is wrong.

A value that is wrong in itself hides what the others contradict. Something harmless is put in its place, and what that
may have made up is left out.
"""

import copy
import difflib
import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from migration.settings.problem import MOST_SHOWN, Problem

Whole = TypeVar("Whole", bound=BaseModel)
"""Model of a whole configuration."""

_STAND_INS: Mapping[str, object] = {
    "journey": "replace",
    "stage": "baseline",
    "size": 1,
    "vpcId": "vpc-0",
    "subnetIds": ["subnet-0", "subnet-1"],
    "vpcCidrs": ["198.18.0.0/16"],
    "cluster": {"name": "stand-in"},
    "network": {"vpcId": "vpc-0", "subnetIds": ["subnet-0", "subnet-1"], "vpcCidrs": ["198.18.0.0/16"]},
    "legacy": {"groups": [{"name": "stand-in-legacy", "size": 1}]},
    "cilium": {"groups": [{"name": "stand-in-cilium", "size": 1}]},
}
"""Values of required keys that contradict nothing."""


def every(
    model: type[Whole],
    values: Mapping[str, object],
    error: ValidationError,
    contradictions: Callable[[Whole], Iterable[Problem]],
) -> list[Problem]:
    """What is wrong with single values, and what else is wrong with the ones that are right.

    Args:
        model: of the whole configuration.
        values: that the model refused.
        error: with which it refused them.
        contradictions: what is wrong with a configuration whose single values are right.
    """
    found = _single(error)
    problems = [_problem(model, item) for item in found]
    blamed = [tuple(map(str, item["loc"])) for item in found]
    rest = copy.deepcopy(dict(values))
    for number, item in enumerate(found[:MOST_SHOWN]):
        _stand_in(rest, item["loc"], missing=item["type"] == "missing", number=number)
    try:
        settings = model.model_validate(rest)
    except ValidationError:
        return problems
    hanging = [pattern for other in blamed for key, pattern in _HANGING if _meet(other, tuple(key.split(".")))]
    for problem in contradictions(settings):
        path = tuple(problem.key.split("."))
        if not any(_meet(path, other) for other in blamed) and not any(p.match(problem.key) for p in hanging):
            problems.append(problem)
    return problems


def _meet(one: tuple[str, ...], two: tuple[str, ...]) -> bool:
    """Whether one key is the other, or holds it."""
    length = min(len(one), len(two))
    return one[:length] == two[:length]


_HANGING = tuple(
    (key, re.compile(pattern))
    for key, pattern in (
        ("journey", r"legacy$|legacy\.calico\.version|network\.podCidr|cilium\.values"),
        ("cluster.adopt", r"legacy$|cluster\.(takeOver|name)$|cilium\.(version|values)|legacy\.calico\.version"),
        ("cluster.version", r"cilium\.version|legacy\.calico\.version"),
        ("network", r"cilium\.values"),
        ("network.vpcCidrs", r"network\.peerCidrs$"),
        ("network.serviceCidr", r"network\.peerCidrs$"),
        (
            "cilium",
            r"cilium\.(values|groups\.[0-9]+\.(instanceTypes?|architecture)|canary\.instanceType|prefixDelegation)|legacy\.calico\.version",
        ),
        ("legacy", r"legacy\.groups\.[0-9]+\.(instanceTypes?|architecture)|cilium\.version"),
    )
)
"""Key → problems that a stand-in for it may make up."""


def _single(error: ValidationError) -> list[Any]:
    """The errors without "too short" for a list that lacks only its wrong entries."""
    found: list[Any] = error.errors()
    around = {item["loc"][:length] for item in found for length in range(1, len(item["loc"]))}
    return [item for item in found if item["type"] != "too_short" or item["loc"] not in around]


def _stand_in(values: Any, location: Sequence[int | str], *, missing: bool, number: int) -> None:
    """Put something harmless in the place of a wrong value; where that is no field of its own, of the one around it."""
    here: Any = values
    holder: Any = None
    at: int | str = ""
    for part in location:
        if not _has(here, part) and not (missing and isinstance(here, dict)):
            break
        inner = here[part] if _has(here, part) else None
        if isinstance(here, dict) or isinstance(inner, dict):
            holder, at = here, part
        here = inner
    if holder is None:
        return
    group = {"name": f"stand-in-{number}", "size": 1}
    harmless = group if isinstance(at, int) else {**_STAND_INS, "name": group["name"], "groups": [group]}.get(at)
    if harmless is not None:
        holder[at] = harmless
    elif isinstance(holder, dict):
        holder.pop(at, None)


def _has(here: object, part: int | str) -> bool:
    if isinstance(here, dict):
        return part in here
    return isinstance(here, list) and isinstance(part, int) and part < len(here)


_FIXES = {
    "missing": "Add it",
    "extra_forbidden": "Remove it, or correct its spelling",
    "string_type": "Write it in quotes",
    "too_short": "Give more entries",
}


def _problem(model: type[BaseModel], error: Any) -> Problem:
    location = [str(part) for part in error["loc"]]
    kind, reason = error["type"], error["msg"].removeprefix("Value error, ")
    value = None if kind == "missing" else error["input"]
    fix = _FIXES.get(kind, "Change the value")
    if kind == "missing":
        reason = "this key is required"
    elif kind == "extra_forbidden":
        reason = "there is no such key"
        near = difflib.get_close_matches(location[-1][:64], _keys(model, tuple(location[:-1])), n=1)
        fix = f"Did you mean {near[0]}?" if near else fix
    elif kind == "literal_error":
        reason = f"must be one of {error['ctx']['expected']}"
    return Problem(".".join(location), value, reason, fix)


@functools.cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema(by_alias=True)


@functools.lru_cache(maxsize=256)
def _keys(model: type[BaseModel], path: tuple[str, ...]) -> list[str]:
    """The keys that may stand at a path of the model."""
    schema = _schema(model)
    here = schema
    for part in path:
        here = here.get("items", {}) if part.isdigit() else here.get("properties", {}).get(part, {})
        options = here.get("anyOf", [here])
        here = next((o for o in options if o.get("type") != "null"), {})
        if "$ref" in here:
            here = schema["$defs"][here["$ref"].rsplit("/", 1)[1]]
    return list(here.get("properties", {}))
