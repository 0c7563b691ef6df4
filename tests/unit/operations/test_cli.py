"""The command line: exit codes, what goes where."""

import json
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from migration.journeys import JOURNEYS, REPLACE, CheckId, Journey
from operations import cli
from operations.access import place
from operations.commands import check, schema
from operations.evidence import Evidence, Finding, Verdict
from tests.unit.operations.access.test_context import no_environment, write

__all__ = ["no_environment"]


@pytest.fixture
def answers(tmp_path: Path, monkeypatch):
    """Verdicts by check; what is not listed passes. Also the directory and stack."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    given: dict[CheckId, Verdict] = {}

    def ask(name):
        def answer(_):
            verdict = given.get(name, Verdict.PASSED)
            findings = () if verdict is Verdict.PASSED else (Finding("node a", "is wrong", "Mend it"),)
            return Evidence(check=name, verdict=verdict, summary="seen", seconds=0.0, findings=findings)

        return answer

    monkeypatch.setattr(check, "registry", lambda: {name: ask(name) for name in CheckId})
    monkeypatch.setattr(place, "deployed", lambda _: None)
    return given


@pytest.mark.parametrize(("verdict", "code"), [("passed", 0), ("failed", 1), ("unknown", 2)])
def test_the_exit_code_is_the_verdict(answers, capsys, verdict, code):
    answers[CheckId.POLICIES_AGREE] = Verdict(verdict)
    assert cli.main(["check", "--place", "launch", "--gate"]) == code
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert (report["stage"], report["kind"], report["verdict"]) == ("launch", "gate", verdict)
    assert report["checks"][0]["check"] == "identity-agrees"
    assert ("Mend it" in err) == (code != 0)


def test_single_checks_are_asked_by_name(answers, capsys):
    assert cli.main(["check", "--check", "nodes-ready", "--check", "cni-known"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [c["check"] for c in report["checks"]] == ["nodes-ready", "cni-known"]


def test_settle_asks_other_questions_than_the_gate(answers, capsys):
    assert cli.main(["check", "--stage", "launch", "--settle"]) == 0
    asked = [c["check"] for c in json.loads(capsys.readouterr().out)["checks"]]
    assert asked == ["aws-made", "cilium-ready", "cilium-configured"]


def test_leaving_a_stage_asks_its_own_questions_too(answers, capsys, tmp_path: Path):
    groups = {"groups": [{"name": "old", "size": 2}]}
    write(
        tmp_path, {"eks-cilium:journey": "replace", "eks-cilium:stage": "install-cilium", "eks-cilium:legacy": groups}
    )
    assert cli.main(["check", "--gate", "--leaving", "canary"]) == 0
    asked = [c["check"] for c in json.loads(capsys.readouterr().out)["checks"]]
    assert "canary-unused" in asked
    assert "legacy-healthy" in asked


def test_the_gate_says_what_it_cannot_prove_yet(answers, capsys, monkeypatch, tmp_path: Path):
    journey = replace(REPLACE, stages=tuple(replace(s, unproved=("what nobody asks yet",)) for s in REPLACE.stages))
    monkeypatch.setitem(cast("dict[str, Journey]", JOURNEYS), "replace", journey)
    groups = {"groups": [{"name": "old", "size": 2}]}
    write(tmp_path, {"eks-cilium:journey": "replace", "eks-cilium:stage": "canary", "eks-cilium:legacy": groups})
    assert cli.main(["check"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["unproved"]
    assert "UNPROVED" in err


def test_next_is_the_stage_after_the_deployed_one(answers, capsys, monkeypatch):
    monkeypatch.setattr(place, "deployed", lambda _: "launch")
    assert cli.main(["check", "--next"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "launch is the last stage of greenfield" in err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["check", "--stage", "nowhere"], "greenfield has no stage 'nowhere': choose one of launch"),
        (["check", "--place", "nowhere"], "no stage of greenfield declares the place 'nowhere'"),
        (["check", "--check", "nonsense"], "no such check: nonsense"),
        (["check", "--stack", "other"], "Pulumi.other.yaml does not exist"),
        (["check", "--next", "--settle"], "--next asks the gate"),
    ],
)
def test_what_cannot_be_understood_ends_with_64(answers, capsys, arguments, expected):
    assert cli.main(arguments) == 64
    out, err = capsys.readouterr()
    assert out == ""
    assert expected in err


def test_an_unknown_option_ends_with_64(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["check", "--nonsense"])
    assert ended.value.code == 64


def test_wrong_settings_end_with_64_and_every_problem(answers, capsys, tmp_path: Path):
    write(tmp_path, {"eks-cilium:soakMinuts": "1"})
    assert cli.main(["check"]) == 64
    assert "Did you mean soakMinutes?" in capsys.readouterr().err


def test_a_journey_is_printed_with_gates_and_ways_back(capsys):
    assert cli.main(["journey", "replace"]) == 0
    text = capsys.readouterr().out
    assert "9. retire-calico" in text
    assert "way back  none" in text
    assert cli.main(["journey", "replace", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0] == "baseline"


def test_the_schema_describes_the_stack_file():
    found = schema.settings_schema()
    config = found["properties"]["config"]
    assert config["properties"]["eks-cilium:soakMinutes"]["type"] == "integer"
    assert "eks-cilium:journey" in config["required"]
    assert "Network" in found["$defs"]


def test_the_keys_of_a_chart_come_from_its_schema_and_templates(tmp_path: Path, capsys):
    (tmp_path / "templates").mkdir()
    (tmp_path / "values.schema.json").write_text('{"properties": {"debug": {"type": "boolean"}}}')
    (tmp_path / "templates/a.yaml").write_text("{{ .Values.hidden.switch }}")
    out = tmp_path / "keys.json"
    assert cli.main(["schema", "chart", "--chart", str(tmp_path), "--out", str(out)]) == 0
    assert json.loads(out.read_text()) == {"debug": ["boolean"], "hidden": {"switch": []}}
    assert cli.main(["schema", "chart", "--chart", str(tmp_path / "none")]) == 64


def test_labels_are_reported_as_json(answers, capsys, tmp_path: Path, monkeypatch):
    from operations import label  # noqa: PLC0415

    monkeypatch.setattr(label, "present", lambda _: label.Done(nodes=["a"], left_alone=["node b: cni-plugin=x"]))
    assert cli.main(["label", "--legacy", "present"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {
        "legacy": "present",
        "nodes": ["a"],
        "groups": [],
        "left_alone": ["node b: cni-plugin=x"],
    }
    assert "left alone: node b: cni-plugin=x" in err
