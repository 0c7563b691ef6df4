"""Which environment variables of Felix the Tigera operator can carry over into a FelixConfiguration.

It knows a field by the variable's name without `FELIX_`, and turns its text into what the field holds, or gives up.
`felix_fields.json` beside this file has the names by what they hold, from FelixConfigurationSpec of
github.com/tigera/api at the version that operator v1.42.4 requires. A field of any other type cannot be carried over.
Source: tigera/operator v1.42.4, pkg/controller/migration/convert.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

_DURATION: Final = re.compile(r"[+-]?(?:0|(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+)", re.ASCII)
_PORT_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]{1,128}", re.ASCII)
_BOOLEANS: Final = frozenset({"1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False"})


def whole(text: str, bits: int, *, signed: bool = True) -> int | None:
    """The number that decimal digits write, as Go reads it; None for another text, or one that does not fit."""
    if not re.fullmatch(r"[+-]?[0-9]+" if signed else r"[0-9]+", text, re.ASCII) or len(text) > 40:
        return None
    number = int(text)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return number if low <= number <= high else None


def carried(variable: str, text: str) -> str:
    """Why the operator cannot carry a variable over; empty where it can.

    Args:
        variable: with `FELIX_`.
    """
    name = variable.removeprefix("FELIX_").lower()
    kind = _kinds().get(name)
    if kind is None:
        return "no field of FelixConfiguration is called so, or it holds something else than one text"
    return "" if _READS[kind](text) else f"{text!r} is no {_WORDS[kind]}"


def _ports(text: str) -> bool:
    if text == "none":
        return True
    parts = [one.split(":") for one in text.split(",")]
    return all(len(p) == 2 and whole(p[1], 16, signed=False) is not None for p in parts)


def _range(text: str) -> bool:
    if re.fullmatch(r"[0-9]+", text, re.ASCII):
        return whole(text, 16, signed=False) is not None
    found = re.fullmatch(r"([0-9]+):([0-9]+)", text, re.ASCII)
    if found:
        first, last = (whole(part, 16, signed=False) for part in found.groups())
        return first is not None and last is not None and first <= last
    return _PORT_NAME.fullmatch(text) is not None


def _table(text: str) -> bool:
    parts = text.split("-")
    return len(parts) == 2 and all(whole(part, 64) is not None for part in parts)


_READS: Final[Mapping[str, Callable[[str], bool]]] = {
    "text": lambda _: True,
    "bool": lambda text: text in _BOOLEANS,
    "int": lambda text: whole(text, 64) is not None,
    "uint32": lambda text: whole(text, 32, signed=False) is not None,
    "duration": lambda text: _DURATION.fullmatch(text) is not None,
    "ports": _ports,
    "range": _range,
    "ranges": lambda text: all(_range(part) for part in text.split(",")),
    "table": _table,
}
_WORDS: Final[Mapping[str, str]] = {
    "bool": "boolean",
    "int": "whole number",
    "uint32": "whole number of 32 bits",
    "duration": "duration, such as 90s",
    "ports": "list of protocol:port, nor none",
    "range": "port",
    "ranges": "list of ports",
    "table": "range, such as 65-99",
}


@cache
def _kinds() -> dict[str, str]:
    read: dict[str, str] = json.loads(Path(__file__).with_suffix(".json").read_text())
    return {name: kind for kind, names in read.items() for name in names.split()}
