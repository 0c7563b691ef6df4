"""The room stays one in which things are found: short floors, short files. Who imports whom is in pyproject.toml."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import netpol

ROOM = Path(netpol.__file__).parent
FILES = sorted(ROOM.rglob("*.py"))


def test_no_floor_has_more_than_eighteen_files():
    assert len(FILES) > 40
    assert {floor.name: n for floor, n in Counter(file.parent for file in FILES).items() if n > 18} == {}


def test_no_file_has_more_than_420_lines():
    assert {file.name: n for file in FILES if (n := len(file.read_text(encoding="utf-8").splitlines())) > 420} == {}


def test_nothing_stands_beside_the_floors():
    assert [file.name for file in ROOM.glob("*.py")] == ["__init__.py"]


def test_a_floor_says_what_it_is_for_and_hides_nothing():
    for floor in {file.parent for file in FILES} - {ROOM}:
        assert re.fullmatch(r'""".+"""\n', (floor / "__init__.py").read_text(encoding="utf-8")), floor


def test_nobody_writes_past_a_frozen_value():
    past = re.compile(r"__dict__|object\.__setattr__|\bvars\(")
    assert [file.name for file in FILES if past.search(file.read_text(encoding="utf-8"))] == []
