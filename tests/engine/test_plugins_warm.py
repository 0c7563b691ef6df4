"""Plugins that a warm server forks behave as those that start by themselves."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import toolcache
from sandbox.plugins.shim import SOCKET
from tests.engine.project import Project, alive, environment, eventually, interrupt

pytestmark = pytest.mark.engine

PROGRAM = """
    import os, sys
    import pulumi
    from pulumi_command import local

    pulumi.export("preloaded", "boto3" in sys.modules)
    pulumi.export("here", os.getcwd())
    pulumi.export("mine", os.environ.get("MINE"))
    local.Command("slow", create=os.environ["LINE"])
"""


def _both_gone(*pids: int) -> bool:
    return not any(alive(pid) for pid in pids)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    path = tmp_path_factory.mktemp("w") / "s"
    process = subprocess.Popen([sys.executable, "-m", "sandbox.plugins.warm", "--socket", path])
    eventually(path.exists, 60)
    yield process, path
    process.terminate()
    process.wait()


def test_a_fork_has_our_surroundings_ends_with_its_engine_and_is_not_needed(
    server: tuple[subprocess.Popen[bytes], Path], tmp_path: Path
):
    process, path = server
    tools = toolcache.ensure(print)["pulumi"].parent
    project = Project(tmp_path / "p", environment(tmp_path, tools) | {SOCKET: str(path)}, PROGRAM)
    project.up(mine="yes", line="true")
    assert project.outputs() == {"preloaded": True, "here": str(project.directory), "mine": "yes"}

    mark = tmp_path / "pid"
    for end in ("interrupted", "killed"):
        deploy = project.start("up", "--yes", "--skip-preview", line=f"echo $$ > {mark}; echo {end}; sleep 60")
        eventually(lambda: mark.exists() and mark.read_text().strip() != "")
        pid = int(mark.read_text())
        plugin = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        assert os.getpgid(plugin) != os.getpgid(process.pid), "a fork leads a group of its own"
        if end == "interrupted":
            assert "cancelled" in interrupt(deploy)
        else:
            deploy.kill()
            deploy.communicate(timeout=10)
            project.pulumi("cancel", "--yes")
        eventually(functools.partial(_both_gone, pid, plugin), 10)
        mark.unlink()

    process.terminate()
    process.wait(timeout=5)
    assert not path.exists()
    project.up(line="true")
    assert project.outputs()["preloaded"] is False
