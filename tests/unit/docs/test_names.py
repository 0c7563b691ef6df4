"""Files and modules that texts name are there: whoever moves one finds every sentence about it."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ROOMS = ("benchmarks", "bridge", "components", "kube", "migration", "netpol", "operations", "programs", "reading")
FILE = re.compile(r"`([\w./-]+\.(?:py|md|svg))`")
DOTTED = re.compile(rf"`((?:{'|'.join((*ROOMS, 'sandbox', 'tests'))})(?:\.\w+)+)`")
ELSEWHERE = re.compile(r"^pkg/|openapi")
"""Of somebody else."""


@cache
def kept() -> frozenset[str]:
    """Every file and folder of the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    there = {path for path in listed if path and (ROOT / path).exists()}
    return frozenset(there | {str(folder) for path in there for folder in Path(path).parents})


def python() -> list[Path]:
    return sorted(ROOT / path for path in kept() if path.endswith(".py") and path != "tests/unit/docs/test_names.py")


def missing(text: str, beside: Path) -> list[str]:
    """What a text in a file of this folder names, and what is not there."""
    files = [name for name in FILE.findall(text) if not ELSEWHERE.search(name) and not _is_file(name, beside)]
    return files + [name for name in DOTTED.findall(text) if not _is_module(name.split("."))]


def _is_file(name: str, beside: Path) -> bool:
    near = [folder / name for folder in (beside, *beside.parents) if folder.is_relative_to(ROOT)]
    return any(path.exists() for path in near) or ("/" not in name and any(k.endswith(f"/{name}") for k in kept()))


def _is_module(parts: list[str]) -> bool:
    """A module, or something that stands in one."""
    for length in range(len(parts), 0, -1):
        stem = "/".join(parts[:length])
        path = next((ROOT / p for p in (f"{stem}.py", f"{stem}/__init__.py") if p in kept()), None)
        if path is not None:
            source = path.read_text(encoding="utf-8")
            return length == len(parts) or re.search(rf"\b{parts[length]}\b", source) is not None
    return False


def test_files_and_modules_that_sources_name_exist():
    stale = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in python()
        for name in missing(path.read_text(encoding="utf-8"), path.parent)
    }
    assert stale == set()


@pytest.mark.parametrize(
    "text",
    [
        "see `migration/chart_rules.py`",
        "as `operations.access.state` says",
        "as `migration.rules.chart.rules.nothing_of_that_name` says",
        "`nowhere.py` has it",
    ],
)
def test_a_name_of_nothing_is_found(text: str):
    assert missing(text, ROOT / "migration") == [text.split("`")[1]]
    assert missing("`migration/names.py`, `names.py`, `migration.names.MAY_GO`", ROOT / "migration") == []
