"""The rooms stay ones in which things are found: short floors that say what they are for. Who imports whom is in
pyproject.toml."""

from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("components", "kube", "migration", "netpol", "operations", "programs", "reading")


@pytest.mark.parametrize("room", ROOMS)
def test_no_floor_has_more_than_eighteen_files(room: str):
    floors = Counter(path.parent for path in (ROOT / room).rglob("*.py"))
    assert floors
    assert {str(floor): files for floor, files in floors.items() if files > 18} == {}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_and_its_floors_say_what_they_are_for(room: str):
    folders = {path.parent for path in (ROOT / room).rglob("*.py")}
    silent = [
        folder for folder in folders if not (folder / "__init__.py").read_text(encoding="utf-8").startswith('"""')
    ]
    assert silent == []


def test_tests_stand_on_the_floor_of_what_they_test():
    """A floor that has tests of its own has them in a folder of its name."""
    for room in ("migration", "operations"):
        own = ROOT / "tests" / "unit" / room
        floors = {path.name for path in own.iterdir() if path.is_dir() and not path.name.startswith("__")}
        assert floors <= {path.name for path in (ROOT / room).iterdir() if path.is_dir()}
