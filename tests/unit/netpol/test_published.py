"""Directories of published shape, each command on each: no crash, nothing dropped in silence, no wrong success."""

# ruff: noqa: ANN002

from __future__ import annotations

import itertools
import json

import pytest

from netpol import Flow, decide, load
from netpol.model.errors import UndecidableError
from operations.policy import main
from tests.programs.published import DIRECTORIES, Row, against, missed, row, write


def call(capsys, *arguments):
    code = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, json.loads(captured.out.splitlines()[-1]), captured.err


@pytest.mark.parametrize("name", DIRECTORIES)
def test_each_command_answers_and_says_what_it_left_out(tmp_path, capsys, name):
    one = DIRECTORIES[name]
    root = write(tmp_path / "in", one.files)
    engine = [a for a in one.arguments if a in {"--engine", "cilium"}]
    rest = [a for a in one.arguments if a not in engine]
    for command, expected in (
        (["lint", root, *rest], one.lint),
        (["translate", root, *rest], one.translate),
        (["explain", root, *rest, *engine, *one.flow], one.explain),
    ):
        code, answer, text = call(capsys, *command)
        assert code in {0, 1, 2, 64}
        assert expected in {None, code}, text
        assert answer["command"] == f"policy {command[0]}"
        if command[0] == "lint":
            assert [words for words in one.said if words not in text] == []


COMPLETE = [name for name, one in DIRECTORIES.items() if one.translate in {0, 2} and not one.arguments]


@pytest.mark.parametrize("name", COMPLETE)
def test_a_translation_that_is_called_complete_lets_every_flow_through_that_it_should(tmp_path, capsys, name):
    root, out = write(tmp_path / "in", DIRECTORIES[name].files), tmp_path / "out"
    assert call(capsys, "translate", root, "--out", out, "--whole")[0] == 0
    out.mkdir(exist_ok=True)
    assert call(capsys, "prove", root, *against(out), "--whole")[0] == 0
    before = load([root], whole=True)
    kept = [p for p in before.policies if p.meta.api.startswith("networking.k8s.io")]
    after = before.with_policies([*load([out]).policies, *kept])
    worlds = before.enforced_by("calico"), after.enforced_by("cilium")
    ends = [*(str(pod) for pod in before.pods), "203.0.113.7", "10.0.1.2", "198.51.100.1"]
    for source, destination in itertools.permutations(ends, 2):
        for protocol, port in (("TCP", 5432), ("TCP", 8080), ("UDP", 53), ("TCP", 22), ("SCTP", 1)):
            try:
                flow = Flow.of(source, destination, protocol, port)
                one, other = (decide(world, flow).allowed for world in worlds)
            except (ValueError, UndecidableError):  # between two addresses nobody decides
                continue
            assert one is other, flow


def made(name: str, grade: str, verdict: str, **more: float) -> Row:
    """A row as a run would make it."""
    numbers = {"manifests": 0, "skipped": 0, "faults": 0, "seconds": 1.0, "mib": 50, **more}
    return Row(name=name, codes=(0,), grade=grade, verdict=verdict, **numbers)  # type: ignore[arg-type]


def test_the_table_says_what_it_should_keep_to_and_does_not():
    good = [made(f"{i}", "bound" if i % 2 else "exact", "equal") for i in range(15)]
    assert missed(good) == []
    assert missed(good[1:]) == ["fewer than 15 are exact or bound"]
    open_ones = [made("open", "bound", "undecided")] * 3
    assert missed([*good, *open_ones[1:]]) == []
    assert missed([*good, *open_ones]) == ["more than 2 are undecided"]
    assert missed([*good, made("refused", "refused", "different"), made("faulty", "", "", faults=1)]) == []
    assert missed([*good, made("slow", "exact", "equal", seconds=61.0)]) == ["slow: 61.0 s and 50 MiB"]


def test_a_row_of_the_table_is_what_the_commands_say(tmp_path):
    found = row("calico with tiers", tmp_path)
    assert found.holds
    assert (found.grade, found.manifests, found.skipped, found.codes) == ("exact", 4, 2, (1, 0, 0, 0))
    assert str(found).startswith("| calico with tiers | 2 passed over | exact, 4 written | equal | 1 0 0 0 | ")
