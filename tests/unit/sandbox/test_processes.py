from __future__ import annotations

import os
import signal
import socket
import sys
import threading
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


def test_a_port_whose_holder_is_still_ending_is_waited_for():
    holder = socket.create_server(("127.0.0.1", 0))
    port = holder.getsockname()[1]
    timer = threading.Timer(0.2, holder.close)
    timer.start()
    try:
        assert processes.ports_taken({"a": port}) == {}
    finally:
        timer.join()


def test_a_port_that_stays_in_use_is_named():
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        assert processes.ports_taken({"a": port}, within_seconds=0.1) == {"a": port}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="ps tells nothing of single threads")
def test_a_process_whose_first_thread_has_ended_lives_on_in_the_others(tmp_path: Path):
    code = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
print("waiting", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""
    process = _sleeper(tmp_path, code)
    try:
        stat = Path(f"/proc/{process.pid}/stat")
        while ") Z " not in stat.read_text():
            assert process.alive()
        assert process.alive()
    finally:
        processes.kill([process])
    assert not process.alive()
