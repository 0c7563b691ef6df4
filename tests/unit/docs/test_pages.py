"""What the pages quote is the program's own text, the commands they show exist, and their links lead somewhere."""

import ast
import io
import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from migration import names
from migration.journeys import REPLACE, CheckId
from operations.cli import parser
from tests.unit.docs.pages import PAGES, ROOT, Row, anchors, links, prose, rows, spans

QUOTING = {"you see", "it says", "the gate says", "the lock", "`pulumi up` says"}
"""Headings of columns in which a page quotes what the program says."""
FOREIGN = {
    "the stack is currently locked": "the Pulumi CLI",
    "failed to load checkpoint: EOF": "the Pulumi CLI",
    "no params found": "the API server, of an admission policy",
    "no params found for policy binding": "the API server, of an admission policy",
    "parameterNotFoundAction": "the API server, of an admission policy",
    "Failed to delete": "Helm",
    "DELETE_FAILED": "EKS",
}
HOLE = "…"


def told() -> Iterator[str]:
    """Every text of the program, with a hole for each value; docstrings are no text of it."""
    for folder in ("bridge", "components", "migration", "operations", "prover"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield from _texts(path)
    yield from _texts(ROOT / "__main__.py")


def _texts(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(map(_part, node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare:
            text = node.value
        else:
            continue
        # What an admission policy says is put together in CEL: 'a' + b + 'c'.
        yield re.sub(r"' \+ [^']* \+ '", HOLE, text)


def _part(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    value = part.value if isinstance(part, ast.FormattedValue) else part
    constant = getattr(names, value.id, None) if isinstance(value, ast.Name) else None
    return constant if isinstance(constant, str) else HOLE


def as_pattern(quoted: str) -> re.Pattern[str]:
    """Of a quotation: `…` stands for anything, a number for a number or a value."""
    parts = re.split(rf"({HOLE}|\d+)", quoted)
    return re.compile(
        "".join(".*?" if p == HOLE else rf"(\d+|{HOLE})" if p.isdigit() else re.escape(p) for p in parts), re.DOTALL
    )


def quotations() -> list[tuple[str, str]]:
    found: list[tuple[Path, Row]] = [(page, row) for page in PAGES for row in rows(page) if row.about in QUOTING]
    return sorted({(page.name, span) for page, row in found for span in spans(row.cells[0])})


def test_what_the_pages_quote_is_what_the_program_says():
    texts = list(dict.fromkeys(told()))
    found = quotations()
    assert len(found) > 20
    assert len([page for page, _ in found if page == "README.md"]) > 5
    known = {*FOREIGN, *map(str, CheckId), *(text for text in vars(names).values() if isinstance(text, str))}
    lost = [q for q in found if q[1] not in known and not any(as_pattern(q[1]).search(text) for text in texts)]
    assert lost == []


def test_a_quotation_that_the_program_does_not_say_is_noticed():
    texts = list(told())
    assert any(as_pattern("41 of 120 nodes done. Run again to go on").search(text) for text in texts)
    assert not any(as_pattern("41 of 120 nodes done, run again").search(text) for text in texts)


def test_the_stages_of_the_pages_are_those_of_the_journey():
    for name in ("README.md", "docs/recovery.md"):
        page = ROOT / name
        found = {spans(row.cells[0])[0]: row.cells[-1] for row in rows(page) if row.about == "stage"}
        assert list(found) == list(REPLACE.index), name
        for stage in REPLACE.stages:
            back = r"\W$" if stage is REPLACE.first else r"yes\b" if stage.reversible else r"no\b"
            assert re.match(back, found[stage.id]), f"{name}: {stage.id}"


def commands() -> list[tuple[str, str]]:
    """Every `python -m operations …` of the pages."""
    found = set()
    for page in PAGES:
        for line in page.read_text(encoding="utf-8").replace("\n  ", " ").splitlines():
            for command in re.findall(r"python -m operations ([^`#|>]+)", line):
                found.add((page.name, command.strip()))
    return sorted(found)


@pytest.mark.parametrize(("page", "command"), commands())
def test_a_command_that_a_page_shows_exists_with_its_options(page: str, command: str):
    given = shlex.split(command.replace("…", " "))
    verbs = []
    for word in given:
        if not re.fullmatch(r"[a-z][a-z-]*", word):
            break
        verbs.append(word)
    if not verbs:
        return  # "python -m operations …", of all of them
    text = io.StringIO()
    with redirect_stdout(text), redirect_stderr(text), pytest.raises(SystemExit) as ended:
        parser(verbs[0]).parse_args([*verbs, "--help"])
    assert ended.value.code == 0, f"{page}: {text.getvalue()}"
    options = {word.split("=")[0] for word in given if word.startswith("--")}
    assert {option for option in options if not re.search(rf"{option}\b(?!-)", text.getvalue())} == set(), page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path):
    for link in links(page):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_thing_is_not_is_said_with_not(page: Path):
    text = re.sub(r"`[^`]*`", "", prose(page))
    odd = re.findall(r"(?<!there )\b(?:is|are|was) no (?!longer|more|less|smaller|faster)\w+", text, re.IGNORECASE)
    assert odd == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_row_of_a_table_stands_alone(page: Path):
    """A blank line in a table ends it: what follows is shown as text with bars."""
    found = page.read_text(encoding="utf-8").splitlines()
    tables = [i for i, line in enumerate(found) if line.startswith("|") and not found[i - 1].startswith("|")]
    assert [found[i] for i in tables if not re.fullmatch(r"\|[-| :]+\|", found[i + 1])] == []
