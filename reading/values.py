"""What texts are read into, whoever reads them."""

from dataclasses import dataclass
from typing import Any, Final

MOST_DEPTH: Final = 100
"""Levels of mappings and lists in one another. Objects of Kubernetes have up to thirty."""


class Map(dict[str, Any]):
    """A mapping that knows the line of each of its keys."""

    line = 0

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, int] = {}


class List(list[Any]):
    """A sequence that knows the line of each of its items."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[int] = []


@dataclass(frozen=True)
class Document:
    """One document of a text; `line` is that of its first value, counted from 1."""

    line: int
    value: Any
