"""What a bare word of YAML means: the value that sigs.k8s.io/yaml gives it, or a reason to refuse it.

Source: go.yaml.in/yaml/v2, resolve.go, which sigs.k8s.io/yaml 1.6 reads with (kubectl 1.35).
"""

import math
import re
from typing import Final

Scalar = str | int | float | bool | None

_WORDS: Final[dict[str, Scalar]] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
}
_NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_INTEGER: Final = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]([0-7]+)|0([0-7]+)|(0|[1-9][0-9]*))")
_BASES: Final = (16, 2, 8, 8, 10)
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_BINARY_LIKE: Final = re.compile(r"-?0b[-+][01]+")
_OCTAL_LIKE: Final = re.compile(r"-?0o[-+][0-7]+")
_TIMESTAMP: Final = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?", re.DOTALL)
_DIGITS: Final = 400
"""More make no number that anybody means, and take quadratic time to read."""
_EXACT: Final = 2**53
"""From here on a float is not every integer."""


class Refused(ValueError):
    """A bare word that is not read; the text is reason and fix."""


_QUOTE = "Put it in quotes if it is text"


def resolve(text: str) -> Scalar:
    """The value of a plain (unquoted) scalar.

    >>> resolve("20:22"), resolve("8e1"), resolve("0o17"), resolve("on"), resolve("2001-99-99")
    ('20:22', 80, 15, True, '2001-99-99')

    Raises:
        Refused: it is a number that JSON or a 64-bit integer cannot hold, or one that is not exact.
    """
    if text in _WORDS:
        return _WORDS[text]
    first = text[0]
    if first == ".":
        if "_" in text and _FLOAT.fullmatch(text.replace("_", "")):
            raise Refused(f"is a number to some readers of YAML. {_QUOTE}")
        number = text
    elif first in "+-0123456789":
        number = text.replace("_", "")
    else:
        return text
    if _NOT_FINITE.fullmatch(text):
        raise Refused(f"is not a number that JSON can say. {_QUOTE}")
    if len(number) > _DIGITS and _FLOAT.fullmatch(number):
        raise Refused(f"is a number of {len(number)} characters. {_QUOTE}")
    if first != "." and (found := _INTEGER.fullmatch(number)):
        return _integer(found)
    if first != "." and _BINARY_LIKE.fullmatch(number):
        raise Refused(f"has a sign within a binary number. {_QUOTE}")
    return _float(number) if _FLOAT.fullmatch(number) else text


def _integer(found: re.Match[str]) -> int:
    digits, base = next((d, b) for d, b in zip(found.groups()[1:], _BASES, strict=True) if d is not None)
    if len(digits) > _DIGITS:
        raise Refused(f"is a number of {len(digits)} digits. {_QUOTE}")
    number = int(digits, base) * (-1 if found[1] == "-" else 1)
    if not -(2**63) <= number < 2**63:
        raise Refused(f"does not fit into 64 bits. {_QUOTE}")
    return number


def _float(text: str) -> int | float:
    number = float(text)
    if not math.isfinite(number):
        raise Refused(f"is too large for a number. {_QUOTE}")
    if abs(number) >= _EXACT:
        raise Refused("is not exact as a number. Write all its digits, or put it in quotes if it is text")
    # JSON, in which everything goes to the API server, does not tell 80.0 from 80.
    return int(number) if number.is_integer() else number


def plainly(text: str) -> Scalar:
    """The value of a plain scalar that every reader of YAML takes for the same: 1.1, 1.2, Pulumi.

    Raises:
        Refused: some read it otherwise; besides what `resolve` refuses.
    """
    value = resolve(text)
    if isinstance(value, float):
        return value
    if isinstance(value, str):
        if _TIMESTAMP.fullmatch(text):
            raise Refused("is a date to some readers of YAML. Put it in quotes")
        if _OCTAL_LIKE.fullmatch(text.replace("_", "")):
            raise Refused("is a number to some readers of YAML. Put it in quotes")
        return value
    if text != shown(value) and (value is not None or text not in ("", "~")):
        raise Refused(f"is {shown(value)} to some readers of YAML. Write {shown(value)}, or put it in quotes")
    return value


def is_integer(text: str) -> bool:
    """Whether a plain scalar is written as an integer: 80, not 8e1."""
    return bool(_INTEGER.fullmatch(text.replace("_", "")))


def shown(value: Scalar) -> str:
    """A value as JSON writes it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def is_text(text: str) -> bool:
    """Whether every reader of YAML takes the unquoted text for text."""
    try:
        return isinstance(plainly(text), str)
    except Refused:
        return False
