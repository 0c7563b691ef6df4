"""An image of people's own: the pack of a deploy and nothing else, and one line where nothing can build it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.ship import image, zipapp
from migration.names import BRIDGE_IMAGE

ROOT = zipapp.ROOT
BUILDER = """#!/bin/sh
printf '%s\\n' "$@" > "{seen}/words"
for last; do :; done
cp -r "$last" "{seen}/context"
{then}
"""


def build(tools: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command on a machine that has these tools and no others."""
    line = [sys.executable, "-m", "bridge.ship.image", *words]
    return subprocess.run(
        line, cwd=ROOT, env={**os.environ, "PATH": str(tools)}, capture_output=True, text=True, check=False
    )


def builder(tools: Path, name: str, then: str = "exit 0") -> Path:
    """A builder that keeps what it is given."""
    seen = tools / "seen"
    seen.mkdir(parents=True, exist_ok=True)
    path = tools / name
    path.write_text(BUILDER.format(seen=seen, then=then))
    path.chmod(0o755)
    for tool in ("cp", "sh"):
        found = shutil.which(tool)
        assert found
        (tools / tool).symlink_to(found)
    return seen


@pytest.mark.parametrize("name", ["podman", "docker"])
def test_what_is_built_from_is_the_pack_of_a_deploy_and_nothing_else(tmp_path: Path, name: str):
    seen = builder(tmp_path, name)
    done = build(tmp_path, "--tag", "here/bridge:1")
    assert done.returncode == 0, done.stderr
    assert "eks-cilium:bridge: {image: here/bridge:1@sha256:" in done.stdout
    files = {path.name: path.read_bytes() for path in (seen / "context").iterdir()}
    assert files == {"Containerfile": (ROOT / "Containerfile").read_bytes(), "bridge.pyz": zipapp.build()}
    assert (seen / "words").read_text().splitlines()[3:5] == ["--tag", "here/bridge:1"]


def test_the_image_has_the_python_of_a_deploy_runs_without_privileges_and_copies_the_pack_alone():
    text = (ROOT / "Containerfile").read_text()
    said = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    assert dict(said[:2]) == {"ARG": f"PYTHON={BRIDGE_IMAGE}", "FROM": "${PYTHON}"}
    assert [words for word, words in said if word in ("COPY", "ADD", "RUN")] == [
        "bridge.pyz /opt/eks-cilium/bridge.pyz"
    ]
    [user] = [words for word, words in said if word == "USER"]
    assert re.fullmatch(r"[1-9][0-9]+:[1-9][0-9]+", user)


def test_its_pack_runs_by_itself(tmp_path: Path):
    image.context(tmp_path)
    done = subprocess.run(
        [sys.executable, "-I", "-B", str(tmp_path / "bridge.pyz"), "--help"],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "come-back" in done.stdout) == (0, True)


def test_a_machine_that_can_build_nothing_says_so_in_one_line(tmp_path: Path):
    done = build(tmp_path, "--tag", "here/bridge:1")
    assert done.returncode == 1
    assert done.stderr == (
        "neither podman nor docker is on this machine: install one, or run this where there is one\n"
    )


def test_a_builder_without_its_daemon_is_told_with_its_own_last_line(tmp_path: Path):
    builder(tmp_path, "docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    done = build(tmp_path, "--tag", "here/bridge:1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == "docker built no image: Cannot connect to the Docker daemon"
