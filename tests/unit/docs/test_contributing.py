"""What CONTRIBUTING lists for each kind of change is there, and is all that there is."""

import ast
import re
from pathlib import Path

import pytest

from migration.journeys import JOURNEYS, REPLACE, CheckId, Piece
from operations.checks import SUBJECTS
from tests.unit.docs.pages import PAGES, ROOT, prose, section, spans

PAGE = ROOT / "CONTRIBUTING.md"
LISTS = ("Adding a check", "Adding a stage", "Adding a journey", "Adding a resource")


def named(heading: str) -> frozenset[str]:
    """Files and folders that a list names."""
    return frozenset(span for span in spans(section(PAGE, heading)) if "/" in span or (ROOT / span).is_file())


def under(path: Path, listed: frozenset[str]) -> bool:
    shown = str(path.relative_to(ROOT))
    return any(shown == one or (one.endswith("/") and shown.startswith(one)) for one in listed)


def sources(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return [*found, ROOT / "__main__.py"]


def texts(path: Path) -> frozenset[str]:
    """The strings in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str))


def using(kind: str, member: str, *folders: str) -> list[Path]:
    """Files that name a member of an enumeration."""
    word = re.compile(rf"\b({kind}|_{kind[0]})\.{member}\b")
    return [path for path in sources(*folders) if word.search(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("heading", LISTS)
def test_a_list_names_files_that_are_there(heading: str):
    assert len(named(heading)) > 4
    paths = {span for span in named(heading) if " " not in span}
    assert {path for path in paths if not (ROOT / path).exists()} == set()


def test_a_list_names_what_is_in_these_files():
    found = re.findall(r"`(\w+)`\s+in\s+`([\w/.]+\.py)`", prose(PAGE))
    assert len(found) > 10
    for name, path in found:
        source = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"^(class |def )?{name}\b", source, re.MULTILINE), f"{path} has no {name}"


@pytest.mark.parametrize("check", list(CheckId))
def test_a_check_is_made_where_the_list_says(check: CheckId):
    decorated = f"@check(CheckId.{check.name})"
    (path,) = [p for p in sources("operations", "tests") if decorated in p.read_text(encoding="utf-8")]
    assert path.stem in SUBJECTS
    assert under(path, named("Adding a check"))
    home = (ROOT / "tests/unit/operations/test_checks.py").read_text(encoding="utf-8")
    assert re.search(rf"^    CheckId\.{check.name}: .*,$", home, re.MULTILINE), "it is not in HOME"


def test_a_file_that_names_every_stage_is_in_the_list():
    files = [*sources("components", "migration", "operations", "sandbox", "tests"), *PAGES]
    found = []
    for path in files:
        text = path.read_text(encoding="utf-8")
        if all(re.search(rf"\b{stage}\b", text) for stage in REPLACE.index):
            found.append(path)
    assert len(found) > 6
    assert [str(path.relative_to(ROOT)) for path in found if not under(path, named("Adding a stage"))] == []


def test_a_file_of_the_program_that_knows_a_stage_by_its_name_is_in_the_list():
    stages = {stage for stage in REPLACE.index if "-" in stage}
    found = [p for p in sources("components", "migration", "operations", "sandbox") if texts(p) & stages]
    assert len(found) > 1
    assert [str(p.relative_to(ROOT)) for p in found if not under(p, named("Adding a stage"))] == []


def test_a_file_of_the_program_that_knows_a_journey_by_its_name_is_in_the_list():
    name = JOURNEYS["greenfield"].name
    found = [p for p in sources("components", "migration", "operations", "sandbox") if name in texts(p)]
    assert len(found) > 3
    assert [str(p.relative_to(ROOT)) for p in found if not under(p, named("Adding a journey"))] == []


@pytest.mark.parametrize("piece", [Piece.PROBES, Piece.FREEZE, Piece.CANARY_GROUP, Piece.LEGACY_GROUPS])
def test_a_file_that_makes_a_piece_is_in_the_list(piece: Piece):
    found = using("Piece", piece.name, "components", "migration")
    assert len(found) > 2
    assert [str(p.relative_to(ROOT)) for p in found if not under(p, named("Adding a resource"))] == []
