"""`configurationValues` of an EKS add-on: text that its owner wrote as JSON or as YAML, as one value.

EKS takes both and keeps them letter by letter. Whoever reads, compares or adds to such a text goes through `parse`, so
that what the survey accepts is what every later stage can use.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """YAML whose values are JSON's: a date is text, as it is to EKS."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the class attribute of the parent, one resolver less
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def parse(text: str | None) -> dict[str, Any]:
    """The values in a text; empty for none.

    Raises:
        ValueError: the text is neither JSON nor YAML, is no mapping, or holds what JSON cannot say.
    """
    if not text or not text.strip():
        return {}
    try:
        found = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader; JSON is YAML to it
    except (yaml.YAMLError, ValueError) as error:
        try:
            found = json.loads(text)  # tabs between the tokens are JSON and no YAML
        except ValueError:
            raise ValueError(f"is neither JSON nor YAML: {_one_line(error)}") from None
    if found is None:
        return {}
    if isinstance(found, dict):
        plain: dict[str, Any] = _plain(found)
        return plain
    raise ValueError(f"is {type(found).__name__}, not a mapping of values")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_key(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ValueError(f"holds {value!r}, which JSON cannot say")


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return str(key).lower()
    if isinstance(key, str | int | float):
        return str(key)
    raise ValueError(f"has the key {key!r}, which JSON cannot say")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
