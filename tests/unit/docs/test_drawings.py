"""Words in the drawings stay inside their boxes, beside each other, and say what the journey says."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest

from migration.journeys import REPLACE
from tests.unit.docs.pages import ROOT

DRAWINGS = sorted((ROOT / "docs").glob("*.svg"))
PLAIN, BOLD = 0.56, 0.62
"""Em that a letter takes on average, in the widest of the usual fonts (DejaVu Sans)."""
SMALL = 12.0
MARGIN = 4.0


@dataclass(frozen=True)
class Box:
    left: float
    top: float
    right: float
    bottom: float

    def holds(self, x: float, y: float) -> bool:
        return self.left <= x <= self.right and self.top <= y <= self.bottom

    @property
    def area(self) -> float:
        return (self.right - self.left) * (self.bottom - self.top)


@dataclass(frozen=True)
class Words:
    text: str
    left: float
    right: float
    y: float


def parts(path: Path) -> tuple[Box, list[Box], list[Words]]:
    """The whole, the boxes and the words of a drawing."""
    root = ElementTree.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314 - a file of ours
    x, y, width, height = map(float, root.attrib["viewBox"].split())
    found = list(_walked(root, dict[str, str](), 0.0, 0.0))
    return (
        Box(x, y, x + width, y + height),
        [it for it in found if isinstance(it, Box)],
        [it for it in found if isinstance(it, Words)],
    )


def _walked(node: ElementTree.Element, above: dict[str, str], dx: float, dy: float) -> Iterator[Box | Words]:
    own = above | {k: v for k, v in node.attrib.items() if k in {"text-anchor", "font-size", "font-weight", "class"}}
    if moved := re.fullmatch(r"translate\(([-\d.]+),([-\d.]+)\)", node.attrib.get("transform", "")):
        dx, dy = dx + float(moved[1]), dy + float(moved[2])
    kind = node.tag.rpartition("}")[2]
    if kind == "rect":
        x, y = dx + float(node.attrib.get("x", 0)), dy + float(node.attrib.get("y", 0))
        yield Box(x, y, x + float(node.attrib["width"]), y + float(node.attrib["height"]))
    elif kind == "text":
        size = SMALL if own.get("class") == "small" else float(own["font-size"])
        width = len(node.text or "") * size * (BOLD if own.get("font-weight") in {"bold", "600"} else PLAIN)
        x = dx + float(node.attrib["x"])
        left = {"middle": x - width / 2, "end": x - width}.get(own.get("text-anchor", ""), x)
        yield Words(node.text or "", left, left + width, dy + float(node.attrib["y"]))
    for child in node:
        yield from _walked(child, own, dx, dy)


@pytest.mark.parametrize("path", DRAWINGS, ids=lambda path: path.name)
def test_no_words_run_over_their_box_or_the_drawing(path: Path):
    whole, boxes, words = parts(path)
    assert len(words) > 10
    for it in words:
        assert whole.left <= it.left < it.right <= whole.right, f"{it.text!r} runs out of the drawing"
        around = min((b for b in boxes if b.holds(it.left, it.y)), key=lambda box: box.area, default=whole)
        assert it.right <= around.right - (MARGIN if around != whole else 0), f"{it.text!r} runs over its box"


@pytest.mark.parametrize("path", DRAWINGS, ids=lambda path: path.name)
def test_no_words_run_into_others(path: Path):
    _, boxes, words = parts(path)
    for one, other in combinations(words, 2):
        # headings of columns stand over each other, in columns that are as wide as the words
        boxed = any(b.holds(one.left, one.y) for b in boxes if b.area < max(b.area for b in boxes))
        if boxed and abs(one.y - other.y) < SMALL - 1:
            assert one.right <= other.left or other.right <= one.left, f"{one.text!r} runs into {other.text!r}"


def test_the_drawing_of_the_journey_names_every_stage_in_order():
    _, _, words = parts(ROOT / "docs" / "journey.svg")
    headings = "".join(f" {it.text}" for it in words if it.y < 50).replace("- ", "-")
    assert headings.split()[: len(REPLACE.stages)] == list(REPLACE.index)
