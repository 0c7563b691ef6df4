"""The pages that people read, taken apart."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
PAGES: Final = tuple(
    sorted(path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")) if path.name != "CHANGELOG.md")
)
_FENCE: Final = re.compile(r"^(```|~~~).*?^\1$", re.MULTILINE | re.DOTALL)
_SPAN: Final = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """A row of a table, with the heading of its first column."""

    about: str
    cells: tuple[str, ...]


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def spans(text: str) -> list[str]:
    """What stands between single backticks; a line break there is a space."""
    return [" ".join(span.split()) for span in _SPAN.findall(text)]


def links(page: Path) -> list[str]:
    return _LINK.findall(prose(page))


def anchors(page: Path) -> frozenset[str]:
    """What a link to a heading of the page may end with, as GitHub makes it."""
    return frozenset(
        re.sub(r"[^\w\- ]", "", heading.replace("`", "")).strip().lower().replace(" ", "-")
        for heading in _HEADING.findall(prose(page))
    )


def section(page: Path, heading: str) -> str:
    """The text under a heading, up to the next one of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", prose(page), re.MULTILINE | re.DOTALL)
    assert found, f"{page.name} has no heading {heading!r}"
    return found[1]


def rows(page: Path) -> Iterator[Row]:
    """The rows of all tables of a page."""
    lines = prose(page).splitlines()
    for above, line in pairwise(lines):
        if re.fullmatch(r"\|[-| :]+\|", line):
            about = _cells(above)[0]
            start = lines.index(line, lines.index(above)) + 1
            for row in lines[start:]:
                if not row.startswith("|"):
                    break
                yield Row(about, _cells(row))


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|")))
