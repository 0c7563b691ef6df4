"""The commands that programs find in a sandbox: its tools, its own `aws`, and the stand-in plugins."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from sandbox.record import Run

_PLUGINS = Path(__file__).parent / "plugins" / "bin"
_COMMANDS = Path(__file__).parent / "bin"


def stand_ins() -> dict[str, str]:
    """Short name of each stand-in plugin and its executable: {"kubernetes": "pulumi-resource-kubernetes", …}."""
    return {path.name.rpartition("-")[2]: path.name for path in sorted(_PLUGINS.glob("pulumi-*"))}


def write_bin(run: Run, tools: Mapping[str, Path]) -> None:
    """Fill DIR/bin: links to the tools, and a start script for each stand-in and command that is wanted."""
    target = run.directory / "bin"
    remove(target)
    target.mkdir(parents=True)
    for name in ("pulumi", "helm"):
        (target / name).symlink_to(tools[name])
    left_out = {stand_ins()[name] for name in run.real}
    for script in [*_PLUGINS.glob("pulumi-*"), *_COMMANDS.glob("*")]:
        if script.is_file() and script.name not in left_out:
            # A shebang may not hold a path with blanks, and `env python3` may be another Python.
            words = shlex.join([sys.executable, str(script)])
            (target / script.name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
            (target / script.name).chmod(0o755)
    (run.directory / "pulumi").mkdir(exist_ok=True)
    home = run.directory / "pulumi-home"
    home.mkdir(exist_ok=True)
    remove(home / "plugins")
    machines = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi") / "plugins"
    if run.real and machines.is_dir():
        (home / "plugins").symlink_to(machines)
    (run.directory / "aws-config").write_text("[default]\n")


def remove(path: Path) -> None:
    """Delete a file, a link, or a directory with all that is in it; what is not there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
