"""The preview of pull requests: who gets which rights, what triggers it, and what its scripts make of hostile names and
texts. The scripts are run as they stand in the workflow.
"""

import fnmatch
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
WORKFLOW = ROOT / ".github" / "workflows" / "preview.yaml"
# What no deploy is made of. A new room has to be put here or among the paths of the workflow.
ELSEWHERE = {
    ".ci",
    ".github",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Containerfile",
    "LICENSE",
    "Makefile",
    "README.md",
    "benchmarks",
    "docs",
    "pyproject.toml",
    "requirements-dev.in",
    "requirements-dev.txt",
    "requirements.in",
    "sandbox",
    "tests",
}


@pytest.fixture(scope="module")
def workflow() -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(WORKFLOW.read_text(), yaml.BaseLoader)  # noqa: S506 - makes strings only, so "on" stays a word
    return found


def script(workflow: dict[str, Any], job: str, name: str) -> str:
    (found,) = [step["run"] for step in workflow["jobs"][job]["steps"] if step.get("name") == name]
    return str(found)


def bash(text: str, directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """As GitHub runs a step with `shell: bash`."""
    temporary = directory.parent / "temp"
    temporary.mkdir(exist_ok=True)
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text],
        cwd=directory,
        env={
            "PATH": os.environ["PATH"],
            "RUNNER_TEMP": str(temporary),
            "GITHUB_OUTPUT": str(temporary / "output"),
            "GITHUB_STEP_SUMMARY": str(temporary / "summary"),
            "GITHUB_REPOSITORY": "us/eks-cilium",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


# -- rights -------------------------------------------------------------------------------------------------


def test_no_job_that_runs_code_of_a_pull_request_may_write_and_none_that_writes_has_that_code(workflow):
    assert workflow["permissions"] == {}, "a job has the rights that it names, no others"
    assert set(workflow["on"]) == {"pull_request"}
    for name, job in workflow["jobs"].items():
        rights, uses = job["permissions"], [step.get("uses", "") for step in job["steps"]]
        writes = {right for right, level in rights.items() if level == "write"} - {"id-token"}
        checked_out = any(use.startswith("actions/checkout@") for use in uses)
        assert not (writes and (checked_out or "id-token" in rights)), name
        assert ("id-token" in rights) == ("environment" in job) == ("secrets." in json.dumps(job)), name
    assert workflow["jobs"]["preview"]["environment"] == "preview"


def test_forks_get_no_credentials_and_are_told_why(workflow, tmp_path):
    first = workflow["jobs"]["stacks"]["steps"][0]
    assert first["if"] == "github.event.pull_request.head.repo.full_name != github.repository"
    assert "head.repo.full_name == github.repository" in workflow["jobs"]["preview"]["if"]
    done = bash(first["run"], tmp_path)
    assert done.returncode == 1, "a preview that nobody saw is none that passed"
    assert "comes from a fork" in done.stdout


def test_nothing_that_others_choose_is_pasted_into_a_script_or_a_filter(workflow):
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), step
            assert "--jq" not in step.get("run", ""), step


def test_the_document_says_the_subject_that_the_role_has_to_trust(workflow):
    text = (ROOT / "docs" / "preview.md").read_text()
    environment = workflow["jobs"]["preview"]["environment"]
    assert f'"token.actions.githubusercontent.com:sub": "repo:OWNER/REPOSITORY:environment:{environment}"' in text
    named = set(re.findall(r"(?:vars|secrets)\.([A-Z_]+)", WORKFLOW.read_text()))
    assert {name for name in named if f"`{name}`" not in text} == set()


# -- what triggers it ---------------------------------------------------------------------------------------


def triggers(path: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern.replace("**", "*")) for pattern in patterns)


def shipped() -> list[str]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return done.stdout.rstrip("\0").split("\0")


def test_what_changes_a_deploy_triggers_a_preview_and_nothing_else_does(workflow):
    patterns = workflow["on"]["pull_request"]["paths"]
    wrong = {
        path
        for path in shipped()
        if triggers(path, patterns) == (path.split("/")[0] in ELSEWHERE) and path != ".github/workflows/preview.yaml"
    }
    assert wrong == set()
    for path in ("operations/run", "Pulumi.yaml", "requirements.txt", "policies/network/x.yaml", "facts.prod.yaml"):
        assert triggers(path, patterns), path


class Repository:
    """A pull request against a repository with the example stacks and two deployed ones."""

    def __init__(self, directory: Path, text: str) -> None:
        self.directory, self.text = directory, text
        directory.mkdir()
        self.git("init", "-q", "-b", "main")
        for name in ("prod", "test", "staging", "greenfield"):
            (directory / f"Pulumi.{name}.yaml").write_text("config: {}\n")
        self.commit("operations/checks.py", "README.md")
        self.base = self.git("rev-parse", "HEAD")

    def git(self, *arguments: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        return subprocess.run(
            ["git", *who, *arguments], cwd=self.directory, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, *paths: str) -> None:
        for path in paths:
            (self.directory / path).parent.mkdir(parents=True, exist_ok=True)
            with (self.directory / path).open("a") as file:
                file.write("# changed\n")
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "x")

    def touched(self, stacks: str) -> tuple[list[str] | None, str]:
        done = bash(self.text, self.directory, BASE=self.base, STACKS=stacks)
        output = self.directory.parent / "temp" / "output"
        lines = output.read_text().splitlines() if output.exists() else []
        assert not done.stderr, done.stderr
        assert bool(lines) == (done.returncode == 0)
        return (json.loads(lines[-1].removeprefix("list=")) if lines else None), done.stdout


@pytest.fixture
def repository(workflow, tmp_path) -> Repository:
    return Repository(tmp_path / "repository", script(workflow, "stacks", "Touched stacks"))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (["operations/checks.py"], ["prod", "test"]),
        (["operations/run", "docs/a.md"], ["prod", "test"]),
        (["Pulumi.yaml"], ["prod", "test"]),
        (["policies/network/a.yaml"], ["prod", "test"]),
        (["Pulumi.prod.yaml", "README.md"], ["prod"]),
        (["facts.test.yaml"], ["test"]),
        (["Pulumi.staging.yaml"], []),
        (["tests/unit/test_a.py"], []),
    ],
    ids=str,
)
def test_a_pull_request_previews_the_deployed_stacks_that_it_touches(repository, changed, expected):
    repository.commit(*changed)
    assert repository.touched("prod test")[0] == expected


def test_examples_are_not_previewed_until_somebody_says_that_they_are_deployed(repository):
    repository.commit("operations/checks.py", "Pulumi.staging.yaml")
    found, said = repository.touched("")
    assert found == []
    assert "PREVIEW_STACKS" in said
    assert repository.touched("staging\nprod")[0] == ["staging", "prod"]


@pytest.mark.parametrize("name", ["$(touch hit)", "a;touch hit", '"]|.', "@", "a]", "-->", "a b", "a\nlist=[1]"])
def test_a_name_that_a_pull_request_makes_up_reaches_no_later_job(repository, name):
    repository.commit(f"Pulumi.{name}.yaml", "operations/checks.py")
    assert repository.touched("prod")[0] == ["prod"]
    assert not (repository.directory / "hit").exists()


@pytest.mark.parametrize("stacks", ['prod "]|.body', "$(id)", "../prod", "-prod", "gone", "prod*"])
def test_a_stack_that_cannot_be_is_an_error_that_names_it(repository, stacks):
    repository.commit("operations/checks.py")
    found, said = repository.touched(stacks)
    assert found is None
    assert "::error title=PREVIEW_STACKS::" in said


# -- what is posted -----------------------------------------------------------------------------------------

GH = """#!/usr/bin/env python3
import os, pathlib, sys
with open(os.environ["CALLS"], "a") as calls:
    print(" ".join(sys.argv[1:]), file=calls)
if "--method" in sys.argv:
    body = next(a for a in sys.argv if a.startswith("body=@")).removeprefix("body=@")
    pathlib.Path(os.environ["POSTED"]).write_bytes(pathlib.Path(body).read_bytes())
else:
    print(os.environ["COMMENTS"])
"""


@dataclass
class Post:
    """The step that posts, beside what a preview left, with a `gh` that writes down what it is asked."""

    text: str
    directory: Path
    seen: Path

    def run(self, stack: str = "prod", comments: str = "[]") -> tuple[str, list[str]]:
        calls, posted, programs = (self.directory / name for name in ("calls", "posted", "bin"))
        programs.mkdir(exist_ok=True)
        (programs / "gh").write_text(GH)
        (programs / "gh").chmod(0o755)
        done = bash(
            self.text,
            self.directory,
            PATH=f"{programs}:{os.environ['PATH']}",
            CALLS=str(calls),
            POSTED=str(posted),
            COMMENTS=comments,
            GH_TOKEN="s3cret",  # noqa: S106
            NUMBER="7",
            STACK=stack,
            RUN="https://example.org/run",
        )
        assert done.returncode == 0, done.stderr
        return posted.read_text(), calls.read_text().splitlines()


@pytest.fixture
def post(workflow, tmp_path) -> Post:
    seen = tmp_path / "temp" / "seen"
    seen.mkdir(parents=True)
    (tmp_path / "work").mkdir()
    for name, text in {"gate.code": "0\n", "preview.code": "0\n", "gate.txt": "fine", "preview.txt": "+ x"}.items():
        (seen / name).write_text(text)
    return Post(script(workflow, "post", "Post"), tmp_path / "work", seen)


@pytest.mark.parametrize(
    ("code", "said"),
    [("0\n", "would pass"), ("1\n", "**would not pass**"), ("2\n", "**is unknown**"), ("124", "**is unknown**"),
     ("", "**is unknown**"), ("10", "**is unknown**"), (None, "**is unknown**")],
)  # fmt: skip
def test_the_gate_is_said_to_pass_for_exit_code_0_only(post, code, said):
    if code is None:
        shutil.rmtree(post.seen)
    else:
        (post.seen / "gate.code").write_text(code)
    text, calls = post.run()
    assert f"### `prod`: the gate {said}\n" in text
    assert calls[-1].startswith("api --method POST repos/us/eks-cilium/issues/7/comments")


def test_what_the_code_of_a_pull_request_printed_stays_text(post):
    (post.seen / "gate.txt").write_bytes(b"$(touch hit) `touch hit`\n````\n# free\n~~~\n\x1b[31m\0" + "é".encode()[:1])
    text, _ = post.run()
    assert not (post.directory / "hit").exists()
    assert text.count("```") == 4
    assert "\x1b" not in text
    assert "\0" not in text


def test_a_link_in_what_was_left_is_not_followed(post):
    (post.seen / "gate.txt").unlink()
    (post.seen / "gate.txt").symlink_to("/proc/self/environ")
    assert "s3cret" not in post.run()[0]


def test_a_comment_stays_below_what_github_takes(post):
    for name in ("gate.txt", "preview.txt"):
        (post.seen / name).write_text("ü" * 100_000)
    assert len(post.run()[0].encode()) < 65_536


def test_only_the_workflows_own_comment_is_written_over(post):
    def comment(number: int, login: str, body: str) -> dict[str, Any]:
        return {"id": number, "user": {"login": login}, "body": body}

    marker = "<!-- preview:prod -->"
    theirs = [comment(1, "mallory", marker), comment(2, "github-actions[bot]", "<!-- preview:prod-2 -->")]
    assert "POST" in post.run(comments=json.dumps(theirs))[1][-1]
    pages = f"{json.dumps(theirs)}{json.dumps([comment(3, 'github-actions[bot]', marker + ' old')])}"
    assert post.run(comments=pages)[1][-1].startswith("api --method PATCH repos/us/eks-cilium/issues/comments/3 ")
