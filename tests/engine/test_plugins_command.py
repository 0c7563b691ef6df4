"""The language host and the command stand-in under the real engine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox import toolcache
from tests.engine.project import Project, alive, environment, eventually, interrupt

pytestmark = pytest.mark.engine

PROGRAM = """
    import os
    import pulumi
    from pulumi_command import local

    log = os.environ["LOG"]
    mode = os.environ.get("MODE")
    if mode == "refuse":
        raise pulumi.RunError("stage: 'x' is no stage; choose 'y'")
    if mode == "crash":
        {}["missing"]

    pulumi.export("now", local.run_output(command=f"echo looked").stdout)
    first = local.Command(
        "first",
        create=f"echo created-$V; echo create-$V >> {log}",
        update=f"echo update-after-$PULUMI_COMMAND_STDOUT >> {log}; echo updated",
        delete=f"echo delete-$V >> {log}",
        environment={"V": os.environ.get("V", "1"), "TOKEN": pulumi.Output.secret("hush")},
        triggers=[os.environ.get("TRIGGER", "a")],
    )
    if mode == "fail":
        local.Command("bad", create="echo out; echo why >&2; exit 4", opts=pulumi.ResourceOptions(depends_on=first))
    if mode == "slow":
        local.Command("slow", create=f"sleep 60 & echo $! > {log}.pid; wait")
    if mode == "late":
        local.Command("late", create="sleep 60", opts=pulumi.ResourceOptions(
            custom_timeouts=pulumi.CustomTimeouts(create="1s")))
    pulumi.export("out", first.stdout)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    directory = tmp_path_factory.mktemp("command")
    tools = toolcache.ensure(print)["pulumi"].parent
    return Project(directory / "p", environment(directory, tools) | {"LOG": str(directory / "log")}, PROGRAM)


def log(project: Project) -> list[str]:
    path = Path(project.environment["LOG"])
    lines = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def test_a_command_lives_as_upstream_says(project: Project):
    assert project.steps() == {"test-dev": "create", "first": "create"}
    assert log(project) == [], "a preview must not run it"

    out = project.up()
    assert log(project) == ["create-1"]
    assert "created-1" in out, "its lines are shown while it runs"
    assert project.outputs() == {"now": "looked", "out": "created-1"}
    assert "hush" not in (project.directory.parent / "state").joinpath(".pulumi/stacks/test/dev.json").read_text()

    project.up("--expect-no-changes")
    assert log(project) == []

    project.up(v=2)
    assert log(project) == ["update-after-created-1"]

    assert project.steps(v=2, trigger="b") == {"first": "replace"}
    project.up(v=2, trigger="b")
    assert log(project) == ["create-2", "delete-2"], "a trigger replaces: the new one first"


def test_a_failed_command_shows_its_output_and_leaves_no_state(project: Project):
    out = project.up(fails=True, mode="fail", v=2, trigger="b")
    assert 'exit status 4: running "echo out; echo why >&2; exit 4":' in out
    assert "why" in out
    assert "bad" not in project.resources()
    assert "first" in project.resources()


def test_a_refusal_of_the_program_is_one_line_and_a_crash_has_its_traceback(project: Project):
    out = project.pulumi("preview", fails=True, mode="refuse")
    assert "error: stage: 'x' is no stage; choose 'y'" in out
    assert "Traceback" not in out
    out = project.pulumi("preview", fails=True, mode="crash")
    assert "Program failed with an unhandled exception:" in out
    assert '{}["missing"]' in out
    assert "KeyError: 'missing'" in out
    assert "language_python.py" not in out


def test_an_interrupted_deploy_ends_its_commands_and_a_late_one_is_stopped(project: Project):
    mark = Path(project.environment["LOG"] + ".pid")
    process = project.start("up", "--yes", "--skip-preview", mode="slow", v=2, trigger="b")
    eventually(lambda: mark.exists() and mark.read_text().strip() != "")
    pid = int(mark.read_text())
    out = interrupt(process)
    assert "cancelled" in out
    eventually(lambda: not alive(pid))
    assert "slow" not in project.resources()

    assert "timed out after 1 s" in project.up(fails=True, mode="late", v=2, trigger="b")


def test_no_plugin_and_no_command_outlives_a_killed_engine(project: Project):
    mark = Path(project.environment["LOG"] + ".pid")
    mark.unlink(missing_ok=True)
    process = project.start("up", "--yes", "--skip-preview", mode="slow", v=2, trigger="b")
    eventually(lambda: mark.exists() and mark.read_text().strip() != "")
    pid, plugins = int(mark.read_text()), children(process.pid)
    assert len(plugins) == 2
    process.kill()
    process.communicate(timeout=10)
    eventually(lambda: not any(alive(child) for child in [pid, *plugins]), 5)
    project.pulumi("cancel", "--yes")


def test_destroy_runs_the_delete_command_and_leaves_nothing(project: Project):
    project.pulumi("destroy", "--yes", "--skip-preview")
    assert log(project) == ["delete-2"]
    assert project.resources() == {}


def children(pid: int) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and alive(int(entry)):
            parent = int(Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()[1])
            found += [int(entry)] if parent == pid else []
    return found
