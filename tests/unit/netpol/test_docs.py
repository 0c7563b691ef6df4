"""What docs/policy.md shows is what happens."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import netpol

PAGE = Path(__file__).parents[3] / "docs" / "policy.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_examples_of_the_page_hold(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    for language, block in BLOCK.findall(text):
        if language == "yaml":
            file = tmp_path / block.splitlines()[0].removeprefix("# ")
            file.parent.mkdir(exist_ok=True)
            file.write_text(block)
    examples = "\n".join(block for language, block in BLOCK.findall(text) if language == "python")
    found = doctest.DocTestParser().get_doctest(examples, {}, PAGE.name, str(PAGE), 0)
    told: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL).run(found, out=told.append)
    assert result.attempted > 10
    assert result.failed == 0, "".join(told)


def test_the_page_shows_every_public_function():
    text = "".join(block for language, block in BLOCK.findall(PAGE.read_text(encoding="utf-8")) if language == "python")
    functions = [name for name in netpol.__all__ if callable(getattr(netpol, name)) and name.islower()]
    assert len(functions) > 10
    assert [name for name in functions if f"{name}(" not in text] == []
