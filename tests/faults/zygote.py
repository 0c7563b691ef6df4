"""Runs commands of `python -m operations` as forks of one process that has imported everything: a second saved each.

Standard input: one JSON object a line, `{argv, cwd, environment, out, err, steps, kill, tune, pace}`. Standard output:
`{pid}` when a command has begun, `{pid, code}` when it has ended; a negative code is the signal that ended it. `tune`
replaces constants ("module:NAME" -> value), `pace` times of the engine, so that minutes of waiting become seconds.

`steps` is a file that gets a line for each boundary between two steps of the refresh: "KIND NUMBER before|after". At
the boundary that `kill` names, the process ends itself with SIGKILL. The boundaries are those of the engine: every
action that it begins goes through `runner.carry_out`, every word that it remembers through `Lease._put`.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import boto3

from operations import cli
from operations.refresh.cluster.lease import Lease
from operations.refresh.model.actions import Look
from operations.refresh.run import runner, whole

READS = (Look,)
"""A kill while the engine only reads is a kill after the change before."""


class Boundaries:
    """Notes each boundary, and ends the process at one of them."""

    def __init__(self, steps: str, kill: str) -> None:
        self.kill, self.counted, self.lock = kill, Counter[str](), threading.Lock()
        self.file = os.open(steps, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def around(self, kind: str, step: Callable[[], Any]) -> Any:
        with self.lock:
            self.counted[kind] += 1
            name = f"{kind} {self.counted[kind]}"
        self._at(f"{name} before")
        try:
            return step()
        finally:
            self._at(f"{name} after")

    def _at(self, boundary: str) -> None:
        os.write(self.file, f"{boundary}\n".encode())
        if boundary == self.kill:
            os.kill(os.getpid(), signal.SIGKILL)


def _watch_steps(boundaries: Boundaries) -> None:
    carry_out, put = runner.carry_out, Lease._put

    def carried_out(action: Any, *rest: Any) -> Any:
        if isinstance(action, READS):
            return carry_out(action, *rest)
        return boundaries.around(type(action).__name__, lambda: carry_out(action, *rest))

    def written(lease: Any, obj: Any, memory: Any, **more: Any) -> Any:
        if threading.current_thread().name == "lease":
            return put(lease, obj, memory, **more)  # renewals come with time, not with steps
        return boundaries.around("Lease", lambda: put(lease, obj, memory, **more))

    runner.carry_out = carried_out  # type: ignore[assignment]
    Lease._put = written  # type: ignore[method-assign, assignment]


def _child(given: dict[str, Any]) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for target, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(given[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), target)
    os.chdir(given["cwd"])
    os.environ.clear()
    os.environ.update(given["environment"])
    for place, value in given["tune"].items():
        module, name = place.split(":")
        setattr(importlib.import_module(module), name, value)
    usual = whole.pace
    whole.pace = lambda: replace(usual(), **given["pace"])
    if given.get("steps"):
        _watch_steps(Boundaries(given["steps"], given.get("kill") or ""))
    code = 70
    try:
        code = cli.main(given["argv"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _warm() -> None:
    """What every command needs: botocore's models are read once, here."""
    for service in ("eks", "ec2", "autoscaling", "elbv2", "sts"):
        boto3.client(service, region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")  # noqa: S106


def _say(**value: Any) -> None:
    os.write(1, (json.dumps(value) + "\n").encode())


def _await(pid: int) -> None:
    _, status = os.waitpid(pid, 0)
    _say(pid=pid, code=os.waitstatus_to_exitcode(status))


def main() -> None:
    _warm()
    _say(pid=0)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _child(json.loads(line))
        _say(pid=pid)
        threading.Thread(target=_await, args=(pid,), daemon=True).start()


if __name__ == "__main__":
    main()
