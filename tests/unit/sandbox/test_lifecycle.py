from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from sandbox import __main__ as command_line
from sandbox import control_plane, lifecycle, processes, record, toolcache
from sandbox.lifecycle import SandboxError
from sandbox.record import Run

PORTS = {name: 40000 + number for number, name in enumerate((*control_plane.PORTS, record.DAEMON))}


def _run(directory: Path, **changes: object) -> Run:
    fields = {"directory": directory, "region": "eu-west-1", "ports": PORTS, "real": (), "processes": {}, **changes}
    return Run(**fields)  # type: ignore[arg-type]


def test_run_json_reads_back_as_it_was_written(tmp_path: Path):
    process = processes.Process(name="etcd", pid=7, started="boot:1")
    run = _run(tmp_path, real=("command",), processes={"etcd": process}, lease_seconds=600)
    run.write()
    assert record.read(tmp_path) == run


def test_run_json_says_where_the_sandbox_answers(tmp_path: Path):
    _run(tmp_path).write()
    content = json.loads((tmp_path / "run.json").read_text())
    assert content["aws_endpoint"] == f"http://127.0.0.1:{PORTS['daemon']}"
    assert content["apiserver"] == f"https://127.0.0.1:{PORTS['apiserver']}"
    assert content["kubeconfig"] == str(tmp_path / "kubeconfig")


@pytest.mark.parametrize(
    ("names", "plane_only"),
    [(("etcd", "kube-apiserver"), True), (("etcd", "daemon"), False), (("plugins",), False), ((), False)],
)
def test_a_start_that_failed_half_way_does_not_make_it_a_control_plane_only(
    tmp_path: Path, names: tuple[str, ...], plane_only: bool
):
    """Of a sandbox whose account could not start, the plugin server may be all that is left."""
    left = {name: processes.Process(name=name, pid=7, started="boot:1") for name in names}
    assert _run(tmp_path, processes=left).plane_only() is plane_only


def test_the_environment_keeps_the_users_own_accounts_out(tmp_path: Path):
    _run(tmp_path).write()
    found = lifecycle.environment(tmp_path)
    assert found["AWS_ENDPOINT_URL"] == f"http://127.0.0.1:{PORTS['daemon']}"
    assert found["AWS_CONFIG_FILE"] == found["AWS_SHARED_CREDENTIALS_FILE"] == str(tmp_path / "aws-config")
    assert found["PULUMI_BACKEND_URL"] == f"file://{tmp_path}/pulumi"
    assert found["PATH"].startswith(str(tmp_path / "bin"))


def test_without_a_sandbox_the_environment_is_refused_with_the_way_out(tmp_path: Path):
    with pytest.raises(SandboxError, match="python -m sandbox up"):
        lifecycle.environment(tmp_path)


def test_an_unknown_stand_in_is_refused_before_anything_starts(tmp_path: Path):
    with pytest.raises(SandboxError, match=r"no stand-in is called azure.*command"):
        lifecycle.up(tmp_path, print, real=["azure"])
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(toolcache, "ensure", lambda _report: {})
    monkeypatch.setattr(processes, "ports_taken", lambda ports: {"etcd": ports["etcd"]})
    _run(tmp_path).write()
    with pytest.raises(SandboxError, match=f"taken by another program.*'etcd': {PORTS['etcd']}"):
        lifecycle.up(tmp_path, print)


def test_what_was_started_is_ended_when_a_later_process_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(lifecycle, "_start_daemon", lambda _run: processes.start("daemon", sleep, log=tmp_path / "log"))
    started: list[processes.Process] = []
    monkeypatch.setattr(control_plane.ControlPlane, "prepare", lambda _self: None)

    def fail(_self: object, _started: object) -> None:
        run = record.read(tmp_path)
        assert run
        started.extend(run.processes.values())
        raise processes.ProcessFailed("etcd ended")

    monkeypatch.setattr(control_plane.ControlPlane, "start", fail)
    monkeypatch.setattr(toolcache, "ensure", lambda _report: {"pulumi": Path("p"), "helm": Path("h")})
    with pytest.raises(processes.ProcessFailed, match="etcd ended"):
        lifecycle.up(tmp_path, print)
    assert "daemon" in {process.name for process in started}
    assert not any(process.alive() for process in started)


def test_down_keeps_saves_and_files_that_are_not_its_own(tmp_path: Path):
    _run(tmp_path).write()
    for path in ("saves/one/run.json", "etcd/member", "notes.txt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    lifecycle.down(tmp_path, print)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "saves"]
    lifecycle.down(tmp_path, print, purge=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("name", ["", "../x", ".hidden"])
def test_a_save_cannot_leave_its_directory(tmp_path: Path, name: str):
    _run(tmp_path).write()
    with pytest.raises(SandboxError, match="no name for a save"):
        lifecycle.save(tmp_path, name, print)


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("names", [("etcd", "kube-apiserver"), ("etcd", "daemon")])
def test_a_restore_starts_what_was_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], *, ended: bool
):
    """With or without an account, and with the leases that nodes had; also after `down`."""
    ran = {name: processes.Process(name=name, pid=7, started="boot:1") for name in names}
    saved = _run(tmp_path, processes=ran, lease_seconds=600)
    saved.write()
    save = tmp_path / "saves" / "one"
    save.mkdir(parents=True)
    for entry in lifecycle._STATE:
        (save / entry).write_text("x")
    (save / "run.json").write_text((tmp_path / "run.json").read_text())
    if ended:
        (tmp_path / "run.json").unlink()
    started: list[tuple[Run, bool]] = []

    def start(run: Run, _report: object, *, daemon: bool) -> Run:
        started.append((run, daemon))
        return run

    monkeypatch.setattr(lifecycle, "_start", start)
    lifecycle.restore(tmp_path, "one", print)
    ((run, daemon),) = started
    assert (run.lease_seconds, dict(run.ports), dict(run.processes)) == (600, PORTS, {})
    assert daemon is ("daemon" in names)


def test_an_unknown_save_lists_those_that_exist(tmp_path: Path):
    (tmp_path / "saves" / "canary").mkdir(parents=True)
    with pytest.raises(SandboxError, match=r"no save late .*saves: canary"):
        lifecycle.restore(tmp_path, "late", print)


def test_one_command_at_a_time_works_on_a_sandbox(tmp_path: Path):
    with lifecycle._exclusive(tmp_path), pytest.raises(SandboxError, match="another command"):
        lifecycle.up(tmp_path, print)


def test_wrong_usage_has_its_own_exit_code():
    with pytest.raises(SystemExit) as ended:
        command_line.main(["dance"])
    assert ended.value.code == 64


def test_status_of_nothing_is_a_failure_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert command_line.main(["status", "--dir", str(tmp_path)]) == 1
    assert json.loads(capsys.readouterr().out)["running"] is False


def test_settings_are_json_or_plain_words():
    assert command_line._setting("launch_delay=0.2") == ("launch_delay", 0.2)
    assert command_line._setting("mode=slow") == ("mode", "slow")
