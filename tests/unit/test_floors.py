"""The rooms stay ones in which things are found: short floors that say what they are for, short files, and no two that
import each other. Who may import whom besides is in pyproject.toml."""

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = (
    *("bridge", "components", "kube", "migration", "netpol", "operations", "programs", "prover", "reading"),
    "sandbox",
)
MOST_FILES = 18
MOST_LINES = 420
ONE_SCREEN = 60


@pytest.mark.parametrize("room", ROOMS)
def test_no_floor_has_more_than_eighteen_files(room: str):
    floors = Counter(path.parent for path in (ROOT / room).rglob("*.py"))
    assert floors
    assert {str(floor): files for floor, files in floors.items() if files > MOST_FILES} == {}


@pytest.mark.parametrize("room", ROOMS)
def test_no_file_is_longer_than_one_subject_takes(room: str):
    lines = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / room).rglob("*.py")
    }
    assert lines
    assert {path: count for path, count in lines.items() if count > MOST_LINES} == {}


def test_what_a_stage_declares_fits_on_one_screen():
    tree = ast.parse((ROOT / "__main__.py").read_text(encoding="utf-8"))
    (declare,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "declare")
    assert declare.end_lineno is not None
    assert declare.end_lineno - declare.lineno < ONE_SCREEN


def test_no_two_files_import_each_other_by_whichever_way():
    """Inside a function and for types alone, an import is one too: who reads the one file has to read the other."""
    files = {_name(path): path for room in (*ROOMS, "benchmarks", "tests") for path in (ROOT / room).rglob("*.py")}
    imports = {name: set(_imported(name, path, files)) for name, path in files.items()}
    assert sum(map(len, imports.values())) > 1000
    assert "migration.names" in imports["migration.desired"]
    _refuse_circles(imports)


@pytest.mark.parametrize(
    "text", ["import circle.two", "def f():\n    from circle import two", "if TYPE_CHECKING:\n    from .two import T"]
)
def test_a_circle_is_seen_wherever_the_import_stands(text: str, tmp_path: Path):
    files = {"circle": "", "circle.one": text, "circle.two": "from circle.one import T"}
    paths = {name: tmp_path / (name if name != "circle" else "__init__.py") for name in files}
    for name, path in paths.items():
        path.write_text(files[name], encoding="utf-8")
    imports = {name: set(_imported(name, path, paths)) for name, path in paths.items()}
    with pytest.raises(CycleError):
        _refuse_circles(imports)


def _refuse_circles(imports: Mapping[str, set[str]]) -> None:
    TopologicalSorter(imports).prepare()


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(name: str, path: Path, files: Mapping[str, Path]) -> Iterator[str]:
    """The files that a file imports by name. What a folder's own file gives on counts as that file."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (item.name for item in node.names if item.name in files)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            whole = ".".join([*above, *([node.module] if node.module else [])])
            wanted = {f"{whole}.{item.name}" for item in node.names}
            yield from (wanted & files.keys()) - {name}
            if wanted - files.keys() and whole in files and whole != name:
                yield whole


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
