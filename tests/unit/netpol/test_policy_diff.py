"""`policy diff`: what a pull request changes in verdicts, in words, against a revision of a real repository."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from operations.policy.cli import main
from tests.unit.netpol.worlds import CLUSTER, docs, gnp

Call = Callable[..., tuple[int, dict[str, Any], str]]
CLOSED = gnp("{selector: app == 'db', types: [Ingress]}", "db")
OPEN = gnp(
    "{selector: app == 'db', types: [Ingress], ingress: [{action: Allow, protocol: TCP, "
    "source: {selector: app == 'web'}, destination: {ports: [5432]}}]}",
    "db",
)
IN_CILIUM = """
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: db}
spec: {endpointSelector: {matchLabels: {app: db}}, ingress: [{}]}
"""


def git(root: Path, *words: str) -> None:
    own = ["-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *own, *words], cwd=root, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one policy, and beside it what a cluster has."""
    root = tmp_path / "repository"
    (root / "policies" / "calico").mkdir(parents=True)
    (root / "policies" / "calico" / "db.yaml").write_text(docs(CLOSED))
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "before")
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    return root


@pytest.fixture
def diff(repository: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    def call(*words: str) -> tuple[int, dict[str, Any], str]:
        paths = [str(repository / "policies"), str(repository.parent / "cluster.yaml")]
        code = main(["diff", *paths, "--base", "HEAD", "--whole", *words])
        shown = capsys.readouterr()
        return code, json.loads(shown.out), shown.err

    return call


def test_nothing_changed_is_every_verdict_kept_under_both_engines(diff: Call):
    code, answer, text = diff()
    assert (code, answer["base"]) == (0, "HEAD")
    assert {engine: proof["verdict"] for engine, proof in answer["engines"].items()} == {
        "calico": "equal",
        "cilium": "equal",
    }
    assert "where Calico enforces: every flow keeps its verdict" in text
    assert "where Cilium enforces: every flow keeps its verdict" in text


def test_a_rule_that_is_added_is_told_with_the_flow_that_it_opens_and_both_places(diff: Call, repository: Path):
    (repository / "policies" / "calico" / "db.yaml").write_text(docs(OPEN))
    code, answer, text = diff()
    assert code == 1
    assert answer["engines"]["cilium"]["verdict"] == "equal"
    assert "where Calico enforces, this opens: pod blue/web" in text
    assert "-> pod red/db" in text
    assert "TCP 5432" in text
    assert "  is denied: ingress denied in calico" in text
    assert "(HEAD:policies/calico/db.yaml:" in text
    assert "  becomes allowed: " in text
    assert f"({repository}/policies/calico/db.yaml:" in text
    places = {d["place"] for e in answer["engines"]["calico"]["counterexamples"] for d in e["before"]["decided_by"]}
    assert all(place.startswith("HEAD:policies/calico/db.yaml:") for place in places if place)


def test_a_file_that_goes_and_one_that_comes_are_changes_too(diff: Call, repository: Path):
    (repository / "policies" / "calico" / "db.yaml").unlink()
    (repository / "policies" / "calico" / "rest.yaml").write_text(
        docs(gnp("{selector: app == 'web', types: [Egress]}"))
    )
    (repository / "policies" / "cilium").mkdir()
    (repository / "policies" / "cilium" / "db.yaml").write_text(IN_CILIUM)
    code, answer, text = diff("--most", "20")
    assert code == 1
    assert answer["engines"]["calico"]["verdict"] == "different"
    assert "where Calico enforces, this opens:" in text
    assert "where Calico enforces, this closes: pod blue/web" in text
    _, answer, _ = diff("--engine", "cilium")
    assert list(answer["engines"]) == ["cilium"]


def test_a_directory_that_is_new_and_files_that_git_does_not_know_are_read_as_they_are(diff: Call, repository: Path):
    git(repository, "rm", "--quiet", "-r", "policies")
    git(repository, "commit", "--quiet", "-m", "none yet")
    (repository / "policies" / "calico").mkdir(parents=True)
    (repository / "policies" / "calico" / "db.yaml").write_text(docs(CLOSED))
    code, _, _ = diff()
    assert code == 0, "git knows none of it: it is the same then and now"
    git(repository, "add", ".")
    code, _, text = diff()
    assert code == 1
    assert "this closes" in text


def test_labels_of_pods_are_todays_on_both_sides(diff: Call, repository: Path):
    meta = "metadata: {name: more, namespace: red, labels: {app: web}}"
    pod = f"apiVersion: v1\nkind: Pod\n{meta}\nspec: {{nodeName: n1}}\nstatus: {{podIP: 10.0.7.7}}\n"
    (repository / "policies" / "pod.yaml").write_text(pod)
    code, answer, text = diff()
    assert code == 0, (answer, text)


def test_a_revision_that_is_none_and_a_word_that_is_an_option_are_wrong_use(
    repository: Path, capsys: pytest.CaptureFixture[str]
):
    for base in ("no-such-branch", "--output=x"):
        assert main(["diff", str(repository / "policies"), f"--base={base}"]) == 64
        assert "is not a revision" in capsys.readouterr().err
    assert main(["diff", "--base", "HEAD"]) == 64
    assert main(["diff", str(repository / "nowhere"), "--base", "HEAD"]) == 64
