"""`configurationValues` of an EKS add-on: text that its owner wrote as JSON or as YAML, as one value.

EKS takes both and keeps them letter by letter. Whoever reads, compares or adds to such a text goes through `parse`, so
that what the survey accepts is what every later stage can use.
"""

from typing import Any

import reading
from reading import Unreadable


def parse(text: str | None) -> dict[str, Any]:
    """The values in a text; empty for none.

    Raises:
        ValueError: the text is neither JSON nor YAML, is not a mapping, or holds what JSON cannot say.
    """
    if not text or not text.strip():
        return {}
    try:
        found = reading.value(text, "it")
    except Unreadable as error:
        try:
            found = reading.json_value(text, "it")  # escapes and tabs that are JSON and no YAML
        except Unreadable:
            raise ValueError(f"is neither JSON nor YAML: line {max(error.line, 1)}: {error.reason}") from None
    if found is None:
        return {}
    if isinstance(found, dict):
        return found
    raise ValueError(f"is {type(found).__name__}, not a mapping of values")
