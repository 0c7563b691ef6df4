"""How commands end by an error, and that there is one place which says so."""

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

import programs
from kube.transport import KubeError
from migration.settings import InvalidSettings
from migration.transition import Refused
from netpol.model.errors import Place, PolicyError, UndecidableError
from operations.cli import main
from operations.commands import COMMANDS
from operations.evidence import UnknownError
from operations.exits import UsageError, ended
from reading import Unreadable
from reading.failure import Failure

ROOT = Path(__file__).parents[3]
ROOMS = ("components", "migration", "netpol", "operations", "programs", "reading")
WITHIN = {
    "TooManyError",
    "UnknownTypeError",
    "UnsayableError",
}
"""Errors that never leave the room in which they are raised."""


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (UsageError("no such stage"), 64, "no such stage"),
        (InvalidSettings([]), 64, "0 problems in the stack configuration:\n"),
        (Unreadable("a.yaml", 3, "is damaged"), 64, "a.yaml:3: is damaged"),
        (Refused("a stage is skipped"), 1, "a stage is skipped"),
        (UndecidableError("nobody knows"), 2, "nobody knows"),
        (PolicyError(Place("a.yaml", 1), "spec", "is wrong"), 1, "a.yaml:1: spec: is wrong"),
        (PolicyError(Place("a.yaml", 1), "", "is not YAML", unreadable=True), 64, "a.yaml:1: is not YAML"),
        (UnknownError("the state cannot be read", "Log in"), 2, "the state cannot be read. Log in"),
        (programs.CommandError("helm is not on PATH"), 2, "helm is not on PATH"),
        (KubeError(403, "403 Forbidden: nodes"), 2, "403 Forbidden: nodes"),
        (ClientError({"Error": {"Code": "Denied", "Message": "no"}}, "Describe"), 2, "Denied"),
        (NoCredentialsError(), 2, "Unable to locate credentials"),
        (TimeoutError("no time left"), 2, "no time left"),
        (PermissionError(13, "Permission denied", "facts.yaml"), 64, "facts.yaml: Permission denied. Name a file"),
    ],
)
def test_an_error_has_one_exit_code_wherever_it_is_raised(error: Exception, code: int, text: str):
    found = ended(error)
    assert found.code == code
    assert text in found.text


@pytest.mark.parametrize("error", [KeyError("x"), OSError("no file"), ValueError("x"), RecursionError()])
def test_a_fault_of_the_program_is_not_hidden(error: Exception):
    with pytest.raises(type(error)):
        ended(error)


def classes() -> Iterator[tuple[str, ast.ClassDef]]:
    for path in (p for room in ROOMS for p in sorted((ROOT / room).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield str(path.relative_to(ROOT)), node


def test_every_error_that_may_end_a_command_carries_its_exit_code():
    """Others are of one room: `ValueError`s that say what a text is not, and what is caught where it is raised."""
    plain = {
        (path, node.name)
        for path, node in classes()
        for base in node.bases
        if isinstance(base, ast.Name) and base.id in ("Exception", "RuntimeError") and node.name not in WITHIN
    }
    assert plain == {("reading/failure.py", "Failure")}
    assert {node.name for _, node in classes()} >= WITHIN


def test_no_command_turns_errors_into_exit_codes_itself():
    """Recovery prints its verdict as JSON besides, and so tells one refusal itself."""
    found = set()
    for path in (p for p in sorted((ROOT / "operations").rglob("*.py")) if p.name != "exits.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler) and any(
                isinstance(inner, ast.Return) and "EXIT_CODES" in ast.unparse(inner) for inner in ast.walk(node)
            ):
                found.add(str(path.relative_to(ROOT)))
    assert found == set()


def test_the_list_of_commands_is_whole_and_each_can_be_loaded(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    for command in COMMANDS:
        assert command.name in shown
        assert callable(command.load())
    having = {
        module.name
        for module in pkgutil.walk_packages([str(ROOT / "operations")], "operations.")
        if not module.name.endswith("__main__") and hasattr(importlib.import_module(module.name), "fill")
    }
    assert having == {f"operations.{command.module}" for command in COMMANDS}


def test_errors_know_their_exit_code_before_they_are_raised():
    assert Failure("x").exit_code == 1
    assert UsageError.exit_code == 64
