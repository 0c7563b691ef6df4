"""JSON from elsewhere as plain values: bounded, each key once, nothing that JSON does not have."""

import json
from typing import Any, NoReturn

from reading.scalars import Refused, resolve
from reading.unreadable import Unreadable
from reading.values import MOST_DEPTH


def json_value(text: str, file: str = "<text>") -> Any:
    """The value of a JSON text; numbers as everywhere here: 80.0 is 80.

    Raises:
        Unreadable: it is not JSON, or a key is given twice, or it is nested too deep.
    """
    try:
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_none, parse_float=resolve, parse_int=resolve)
        json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise Unreadable(file, 0, f"is nested more than {MOST_DEPTH} levels deep. Make it flatter") from None
    except UnicodeEncodeError:
        raise Unreadable(file, 0, "has half a character in a text. Write the whole one") from None
    except json.JSONDecodeError as error:
        raise Unreadable(file, error.lineno, f"is not JSON: {error.msg}. Correct it") from None
    except Refused as error:
        raise Unreadable(file, 0, f"a number of it {error}") from None
    except ValueError as error:
        raise Unreadable(file, 0, f"is not JSON: {error}. Correct it") from None
    _shallow(found, file)
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:60]!r} is given twice")
        found[key] = value
    return found


def _none(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number")


def _shallow(found: Any, file: str) -> None:
    level, depth = [found], 0
    while level:
        depth += 1
        if depth > MOST_DEPTH + 1:
            raise Unreadable(file, 0, f"is nested more than {MOST_DEPTH} levels deep. Make it flatter")
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner += value.values()
            elif isinstance(value, list):
                inner += value
        level = inner
