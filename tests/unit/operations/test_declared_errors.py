"""Errors that somebody declared are no faults of the program, whichever check meets them."""

from pathlib import Path

import pytest

from migration.facts import InvalidFacts
from migration.guarding.mark import DamagedMark
from migration.manifests import InvalidManifest
from netpol.model.errors import Place, PolicyError, UndecidableError, WorldError
from operations.checks import _answer
from operations.evidence import Answer, Verdict
from operations.exits import UsageError
from reading import Unreadable
from tests.unit.operations.world import World, known_world

DECLARED = (
    WorldError("pods are on nodes that are not given"),
    PolicyError(Place("a.yaml", 3), "spec", "is wrong"),
    UndecidableError("nobody knows"),
    UsageError("facts.yaml does not exist"),
    InvalidFacts([]),
    InvalidManifest("a.yaml: no kind"),
    DamagedMark("the mark is damaged"),
    Unreadable("a.yaml", 3, "is damaged"),
    PermissionError(13, "Permission denied", "policies/accepted.yaml"),
)


def asked(world: World, error: Exception) -> Answer:
    def question(_: object) -> Answer:
        raise error

    return _answer(question, world.context)


@pytest.mark.parametrize("error", DECLARED, ids=lambda e: type(e).__name__)
def test_a_declared_error_is_unknown_with_its_own_words(error: Exception, tmp_path: Path):
    answer = asked(known_world(tmp_path), error)
    assert answer.verdict is Verdict.UNKNOWN
    (finding,) = answer.unknown
    assert "fault of the program" not in str(finding)
    assert str(error.args[-1] if isinstance(error, OSError) else error) in finding.problem


def test_anything_else_is_a_fault_of_the_program_and_says_so(tmp_path: Path):
    for error in (KeyError("x"), OSError("no file"), RecursionError()):
        assert "fault of the program" in str(asked(known_world(tmp_path), error).unknown[0])
