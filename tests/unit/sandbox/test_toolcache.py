from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox import toolcache
from sandbox.toolcache import OLDER_PULUMI, PULUMI, TOOLS, ToolMissing


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, an empty PATH, and no tool but kwok."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(toolcache, "TOOLS", {"kwok": replace(TOOLS["kwok"], mends=())})
    monkeypatch.setattr(toolcache, "_HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    (tmp_path / "bin").mkdir()
    toolcache.go.cache_clear()
    yield tmp_path
    toolcache.go.cache_clear()


def _program(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{body}\n")
    path.chmod(0o755)
    return path


def _go(fresh: Path, body: str) -> None:
    """A stand-in for Go: says a new version, and does `body` for anything else, $out being the path to build."""
    _program(
        fresh / "bin" / "go",
        'if [ "$1" = env ]; then echo go1.99.0; exit; fi\n'
        'while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done\nmkdir -p "$(dirname "$out")"\n' + body,
    )


def test_the_linker_is_told_the_pinned_versions():
    assert "-X k8s.io/component-base/version.gitVersion=v1.35.4 " in TOOLS["kube-apiserver"].linker_flags
    assert "version.Version=v3.276.0" in TOOLS["pulumi"].linker_flags
    assert "version.Version=v3.255.0" in OLDER_PULUMI["3.255"].linker_flags
    assert "chartutil.k8sVersionMinor=35" in TOOLS["helm"].linker_flags


def test_tools_of_one_module_are_cached_apart():
    assert len({tool.hash for tool in TOOLS.values()}) == len(TOOLS)


def test_an_older_pulumi_is_built_when_it_is_asked_for(fresh: Path, monkeypatch: pytest.MonkeyPatch):
    _go(fresh, 'cat go.mod > "$out"')
    monkeypatch.setenv(PULUMI, "3.255")
    assert "pkg/v3 v3.255.0" in toolcache.ensure(print)["pulumi"].read_text()
    monkeypatch.setenv(PULUMI, "3.2")
    with pytest.raises(ToolMissing, match=r"SANDBOX_PULUMI=3.2 names no pinned Pulumi CLI: .* or set it to 3.255"):
        toolcache.ensure(print)


def _mended(fresh: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """kwok with one mend, `worse` to `better`, whose upstream source has this text and is read-only."""
    source = fresh / "upstream"
    (source / "pkg").mkdir(parents=True)
    (source / "pkg" / "a.go").write_text(text)
    for path in (source / "pkg" / "a.go", source / "pkg", source):
        path.chmod(path.stat().st_mode & 0o555)
    tool = replace(TOOLS["kwok"], mends=(toolcache.Mend("pkg/a.go", "worse", "better"),))
    monkeypatch.setattr(toolcache, "TOOLS", {"kwok": tool})
    monkeypatch.setattr(toolcache, "_module_dir", lambda *_: source)


def test_what_is_mended_is_built_from_a_copy(fresh: Path, monkeypatch: pytest.MonkeyPatch):
    _mended(fresh, monkeypatch, "a worse line")
    _go(fresh, 'tail -1 go.mod > "$out"; cat mended/pkg/a.go >> "$out"')
    built = toolcache.ensure(print)["kwok"].read_text()
    assert built == "replace sigs.k8s.io/kwok => ./mended\na better line"
    assert (fresh / "upstream" / "pkg" / "a.go").read_text() == "a worse line"
    assert list((fresh / "cache" / "eks-cilium-sandbox").glob(".kwok-*")) == []


def test_a_release_without_the_fault_is_not_mended_blindly(fresh: Path, monkeypatch: pytest.MonkeyPatch):
    _mended(fresh, monkeypatch, "a better line")
    _go(fresh, 'echo binary > "$out"')
    with pytest.raises(ToolMissing, match=r"pkg/a.go has 'worse' 0 times instead of once: .* drop it if not"):
        toolcache.ensure(print)


def test_a_changed_mend_is_built_anew():
    kwok = TOOLS["kwok"]
    assert kwok.mends
    assert replace(kwok, mends=()).hash != kwok.hash


def test_a_missing_tool_is_built_once_and_then_found(fresh: Path):
    _go(fresh, f'echo x >> {fresh}/builds; echo binary > "$out"')
    lines: list[str] = []
    first = toolcache.ensure(lines.append)["kwok"]
    assert first.read_text() == "binary\n"
    assert any("building" in line for line in lines)
    lines.clear()
    assert toolcache.ensure(lines.append)["kwok"] == first
    assert lines == []
    assert (fresh / "builds").read_text() == "x\n"


def test_a_silent_build_says_that_it_goes_on(fresh: Path):
    _go(fresh, 'echo example/package >&2; sleep 0.4; echo binary > "$out"')
    lines: list[str] = []
    toolcache.ensure(lines.append)
    assert any("1 packages compiled" in line for line in lines)


def test_a_failed_build_leaves_nothing_behind_and_says_why(fresh: Path):
    _go(fresh, 'echo half > "$out"; echo "main.go:1: broken here" >&2; exit 1')
    with pytest.raises(ToolMissing, match="broken here"):
        toolcache.ensure(lambda _line: None)
    assert [path.name for path in toolcache.cache().iterdir()] == ["lock"]


def test_a_network_failure_is_tried_once_more(fresh: Path):
    _go(
        fresh,
        f"if [ ! -e {fresh}/tried ]; then touch {fresh}/tried; echo 'x: dial tcp: timeout' >&2; exit 1; fi\n"
        'echo binary > "$out"',
    )
    lines: list[str] = []
    assert toolcache.ensure(lines.append)["kwok"].exists()
    assert any("once more" in line for line in lines)


def test_a_refused_module_names_the_proxy_setting(fresh: Path):
    _go(fresh, "echo 'go: sigs.k8s.io/kwok@v0.7.0: reading https://proxy: 403 Forbidden' >&2; exit 1")
    with pytest.raises(ToolMissing, match=r"403 Forbidden(.|\n)*GOPROXY"):
        toolcache.ensure(lambda _line: None)


def test_without_a_new_enough_go_the_error_says_which_is_needed(fresh: Path, monkeypatch: pytest.MonkeyPatch):
    _program(fresh / "bin" / "go", "echo go1.20.1")
    monkeypatch.setattr(sys, "executable", str(fresh / "bin" / "python"))
    with pytest.raises(ToolMissing, match=r"Go 1\.26\.\d+ or newer is needed .*go1\.20\.1"):
        toolcache.ensure(lambda _line: None)


@pytest.mark.parametrize(("version", "fits"), [("v0.7.3", True), ("v0.8.0", False), ("nonsense", False)])
def test_the_machines_own_tool_is_used_only_in_a_fitting_version(fresh: Path, version: str, fits: bool):
    own = _program(fresh / "bin" / "kwok", f"echo kwok version {version}")
    _go(fresh, 'echo binary > "$out"')
    lines: list[str] = []
    assert (toolcache.ensure(lines.append)["kwok"] == own) == fits
    assert any("machine's own v0.7.3" in line for line in lines) == fits


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Kubernetes v1.35.4", (1, 35, 4)), ("go1.26", (1, 26, 0)), ("v3.19.5+gabc", (3, 19, 5)), ("none", ())],
)
def test_versions_are_read_from_what_programs_print(text: str, expected: tuple[int, ...]):
    assert toolcache.numbers(text) == expected
