from __future__ import annotations

import os
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox import processes


def _sleeper(tmp_path: Path, code: str = "import time; time.sleep(60)") -> processes.Process:
    return processes.start("sleeper", [sys.executable, "-c", code], log=tmp_path / "log")


def test_a_started_process_is_alive_until_it_is_stopped(tmp_path: Path):
    process = _sleeper(tmp_path)
    assert process.alive()
    assert processes.stop([process]) == []
    assert not process.alive()


def test_a_process_that_ignores_sigterm_is_killed_and_named(tmp_path: Path):
    process = _sleeper(
        tmp_path,
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)",
    )
    while "deaf" not in processes.tail(tmp_path / "log"):
        assert process.alive()
    assert processes.stop([process], grace_seconds=0.2) == ["sleeper"]
    assert not process.alive()


def test_a_later_process_with_the_same_pid_is_never_signalled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    process = _sleeper(tmp_path)
    try:
        signals: list[signal.Signals] = []
        monkeypatch.setattr(os, "kill", lambda _pid, number: signals.append(number))
        stranger = replace(process, started="another boot:1")
        assert not stranger.alive()
        assert processes.stop([stranger]) == []
        assert signals == []
    finally:
        monkeypatch.undo()
        processes.stop([process])


def test_a_program_that_does_not_exist_is_a_clear_error(tmp_path: Path):
    with pytest.raises(processes.ProcessFailed, match="ghost cannot be started"):
        processes.start("ghost", [tmp_path / "none"], log=tmp_path / "log")


def test_a_zombie_counts_as_gone(tmp_path: Path):
    process = _sleeper(tmp_path, "pass")
    assert processes.wait_gone([process], 10)


def test_free_ports_are_different_and_free():
    ports = processes.free_ports(["a", "b", "c"])
    assert len(set(ports.values())) == 3
    assert all(processes.port_is_free(port) for port in ports.values())


def test_a_port_with_a_listener_is_not_free():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert not processes.port_is_free(listener.getsockname()[1])
