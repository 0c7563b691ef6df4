from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sandbox import lifecycle, project, walk
from sandbox.project import Stack
from sandbox.walk import Result


def _result(**changes: Any) -> Result:
    values: dict[str, Any] = {"violations": 0, "unenforced_instants": 0, "greenfield_differences": 0, **changes}
    return Result(journey="replace", start="owned", **values)


def test_the_last_line_is_json_with_the_agreed_names():
    line = json.loads(_result(stages=9, gates_passed=9, unproved={"simulated", "bridge identities"}).line(61.4))
    assert line == {
        "journey": "replace",
        "from": "owned",
        "stages": 9,
        "gates_passed": 9,
        "violations": 0,
        "unenforced_instants": 0,
        "greenfield_differences": 0,
        "unproved": ["bridge identities", "simulated"],
        "seconds": 61,
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"violations": 1},
        {"violations": None},
        {"unenforced_instants": 2},
        {"greenfield_differences": 1},
        {"failed": "the deploy ended with code 255"},
    ],
)
def test_a_walk_is_not_good_when_something_is_wrong_or_unknown(changes: dict[str, Any]):
    assert _result().good
    assert not _result(**changes).good


def _watched(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


SUMMARY = {
    "summary": True,
    "counts": {"unenforced": 1, "pdb": 2},
    "violations": 3,
    "gaps": 0,
    "enforcement_seen": True,
}


def test_violations_are_counted_from_the_watchers_summary_and_named(tmp_path: Path):
    finding = {"at": 1.0, "rule": "pdb", "object": "shop/cart", "detail": "2 of 3", "severity": "violation"}
    file = _watched(tmp_path / "watch.jsonl", finding, {**finding, "seconds": 1.5}, SUMMARY)
    result, said = Result(journey="replace", start="owned"), list[str]()
    walk._count(file, result, said.append)
    assert (result.violations, result.unenforced_instants) == (2, 1)
    assert said == ["VIOLATION pdb: shop/cart: 2 of 3"]


def test_a_watcher_that_ended_early_fails_the_walk(tmp_path: Path):
    result, said = Result(journey="replace", start="owned"), list[str]()
    (tmp_path / "watch.log").write_text("KeyError: 'spec'\n")
    walk._count(_watched(tmp_path / "watch.jsonl", {"rule": "pdb"}), result, said.append)
    assert "watcher ended early" in result.failed
    assert "KeyError: 'spec'" in said[0]
    assert not result.good


@pytest.mark.parametrize(
    ("change", "unproved"),
    [({"gaps": 2}, "watched without a gap"), ({"enforcement_seen": False}, "policy was enforced at some time")],
)
def test_what_the_watcher_could_not_see_is_unproved(tmp_path: Path, change: dict[str, Any], unproved: str):
    result = Result(journey="replace", start="owned")
    walk._count(_watched(tmp_path / "watch.jsonl", {**SUMMARY, **change}), result, lambda _line: None)
    assert result.unproved == {unproved}


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setattr(walk, "ROOT", tmp_path)
    monkeypatch.setattr(project, "ROOT", tmp_path)
    monkeypatch.setattr(project, "_PREVIEW_PAUSE", 0)
    return Stack(name="sandbox-x", directory=tmp_path, environment={"AWS_REGION": "eu-west-1"})


def _answers(monkeypatch: pytest.MonkeyPatch, *answers: tuple[int, str]) -> list[tuple[str, ...]]:
    """Let the CLI give these answers one after the other; returns the calls."""
    calls: list[tuple[str, ...]] = []
    waiting = list(answers)

    def pulumi(_self: Stack, *arguments: str, **_options: object) -> tuple[int, str]:
        calls.append(arguments)
        return waiting.pop(0)

    monkeypatch.setattr(Stack, "pulumi", pulumi)
    return calls


def _refused(text: str) -> tuple[int, str]:
    return 255, json.dumps({"diagnostics": [{"severity": "error", "message": text}]})


def test_a_preview_is_tried_again_while_only_its_gate_is_not_ready(stack: Stack, monkeypatch: pytest.MonkeyPatch):
    gate = "the gate of canary does not pass, so nothing was changed"
    calls = _answers(monkeypatch, _refused(gate), (0, '{"changeSummary": {"same": 3}}'))
    assert stack.preview("p") == {"changeSummary": {"same": 3}}
    assert len(calls) == 2


def test_a_preview_with_another_error_fails_at_once_with_its_text(stack: Stack, monkeypatch: pytest.MonkeyPatch):
    calls = _answers(monkeypatch, _refused("stage 'x' does not exist"))
    with pytest.raises(project.ProjectFailed, match="stage 'x' does not exist"):
        stack.preview("p")
    assert len(calls) == 1


def test_gate_reports_are_read_from_the_commands_in_the_state(stack: Stack, monkeypatch: pytest.MonkeyPatch):
    report = {"stage": "canary", "kind": "gate", "verdict": "passed", "checks": []}
    resources = [
        {"type": "command:local:Command", "outputs": {"stdout": json.dumps(report)}},
        {"type": "command:local:Command", "outputs": {"stdout": "labelled 3 nodes"}},
        {"type": "aws:eks/cluster:Cluster", "outputs": {"stdout": json.dumps(report)}},
    ]
    _answers(monkeypatch, (0, json.dumps({"deployment": {"resources": resources}})))
    assert stack.reports() == [report]


def test_the_settings_of_the_cli_in_a_stack_file_stay(stack: Stack, tmp_path: Path):
    (tmp_path / "Pulumi.sandbox-x.yaml").write_text("encryptionsalt: v1:abc\n")
    stack.configure({"stage": "baseline", "cluster": {"name": "x"}})
    text = (tmp_path / "Pulumi.sandbox-x.yaml").read_text()
    assert "encryptionsalt: v1:abc" in text
    assert "eks-cilium:stage: baseline" in text


def test_the_change_to_greenfield_is_only_previewed(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "Pulumi.sandbox-x.yaml"
    file.write_text("config: {eks-cilium:journey: replace}\n")
    calls = _answers(monkeypatch, (0, ""), (0, ""), (0, '{"changeSummary": {"same": 40, "update": 2, "delete": 1}}'))
    assert walk._greenfield_differences(stack) == 3
    assert [call[0] for call in calls] == ["config", "config", "preview"]
    assert file.read_text() == "config: {eks-cilium:journey: replace}\n"


def test_files_of_other_sandboxes_stacks_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lifecycle, "ROOT", tmp_path)
    directory = tmp_path / "box"
    stacks = directory / "pulumi" / ".pulumi" / "stacks" / "eks-cilium"
    stacks.mkdir(parents=True)
    (stacks / "sandbox-mine.json").write_text("{}")
    for name in ("Pulumi.sandbox-mine.yaml", "facts.sandbox-mine.yaml", "Pulumi.sandbox-theirs.yaml"):
        (tmp_path / name).write_text("")
    (directory / "run.json").write_text(
        json.dumps({"region": "eu-west-1", "ports": {}, "real": [], "processes": {}, "helpers": []})
    )
    lifecycle.down(directory, print)
    assert [path.name for path in sorted(tmp_path.glob("*.yaml"))] == ["Pulumi.sandbox-theirs.yaml"]
