"""Directories of published shape, each command on each: no crash, nothing dropped in silence, no wrong success."""

# ruff: noqa: ANN002

from __future__ import annotations

import itertools
import json

import pytest

from netpol import Flow, decide, load
from netpol.model.errors import UndecidableError
from operations.policy import main
from tests.unit.netpol.published import DIRECTORIES, against, write


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
