"""The bridge ended, or robbed of an answer, at each of its writes in turn: it ends in step, and has harmed nobody."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from bridge.names import NAME
from sandbox import lifecycle
from tests.engine.bridge_cluster import ENDPOINTS, IDENTITIES, Api, Bridges, control_plane, eventually
from tests.faults.proxy import Fault, Proxy

pytestmark = [pytest.mark.engine, pytest.mark.matrix, pytest.mark.timeout(1800, func_only=True)]

MOST = 40
"""Writes of one round, more than it ever takes."""
AGENTS = ("own-0", "own-1")


class Cutting(Proxy):
    """Passes everything on but one write, and may end who sent it.

    Args:
        at: number of the write, from 1.
        cut: before | after the API server has carried it out.
        victim: process that is killed at that moment; None: it goes on without its answer.
    """

    def __init__(self, api: Api, server: str, at: int, cut: str) -> None:
        self.at, self.cut, self.victim = at, cut, None
        self.writes = 0
        self.struck = False
        super().__init__(server, pki=api.directory / "pki")

    victim: subprocess.Popen[bytes] | None

    def fault(self, method: str, path: str, action: str) -> Fault | None:
        if method == "GET" or not any(kind in path for kind in (ENDPOINTS, IDENTITIES)):
            return None
        with self._lock:
            self.writes += 1
            return Fault(cut=self.cut) if self.writes == self.at else None

    def note(self, at: float, method: str, path: str, action: str, status: int) -> None:
        if status == 0 and method != "GET":
            self.struck = True
            if self.victim is not None:
                self.victim.send_signal(signal.SIGKILL)
        super().note(at, method, path, action, status)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    directory = tmp_path_factory.mktemp("sandbox")
    try:
        found = control_plane(directory)
        found.namespace("shop", team="red")
        found.namespace("bank", team="blue")
        for n, name in enumerate(AGENTS):
            found.pod(name, f"10.0.64.{n + 8}", node="new")
            found.adopt(name, f"10.0.64.{n + 8}", 300 + n)
        yield found
    finally:
        lifecycle.down(directory, print, purge=True)


@pytest.fixture
def bridges(api: Api, tmp_path: Path) -> Iterator[Bridges]:
    found = Bridges(api, tmp_path)
    try:
        yield found
    finally:
        found.end()


def let_go(api: Api) -> None:
    """The Lease of a bridge that was killed runs out: nothing is waited for here."""
    with contextlib.suppress(client.exceptions.NotFoundException):
        api.leases.delete_namespaced_lease(NAME, "kube-system")


def in_step(api: Api) -> None:
    eventually(lambda: not api.wrong(), 120, api.wrong)


def run_out(api: Api, proxy: Cutting) -> None:
    """Wait until the write was struck, or until there is nothing left to write."""
    eventually(lambda: proxy.struck or not api.wrong(), 120, api.wrong)
    deadline = time.monotonic() + 3  # what is right already may still be touched
    while not proxy.struck and time.monotonic() < deadline:
        time.sleep(0.1)


def changes(api: Api, round_: int) -> None:
    """What leads to a write of each kind: identities and endpoints to make, replace, delete and touch."""
    team = f"team-{round_}"
    api.core.patch_namespace("bank", {"metadata": {"labels": {"team": team}}})
    for pod in ("stays", "goes", "again"):
        with contextlib.suppress(client.exceptions.NotFoundException):
            if round_ and pod != "stays":
                api.delete(pod)
    if not round_:
        api.pod("stays", "10.0.80.1")
        api.pod("relabelled", "10.0.80.2", namespace="bank")
    api.core.patch_namespaced_pod("relabelled", "bank", {"metadata": {"labels": {"app": f"app-{round_}"}}})
    # The name comes back with another uid, and its address under another name.
    api.pod("goes", f"10.0.81.{round_ % 200 + 1}", labels={"app": f"new-{round_}"})
    api.pod("again", f"10.0.81.{(round_ - 1) % 200 + 1}" if round_ else "10.0.82.1")


def agents(api: Api) -> list[dict[str, Any] | None]:
    return [api.endpoint(name) for name in AGENTS]


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "lost"])
@pytest.mark.parametrize("cut", ["before", "after"])
def test_struck_at_any_of_its_writes_it_ends_in_step(api: Api, bridges: Bridges, killed: bool, cut: str):
    before, base = agents(api), 0 if api.endpoint("stays") is None else 1 + len(api.all(IDENTITIES))
    for n in range(1, MOST):
        identities = {i["metadata"]["name"] for i in api.all(IDENTITIES)}
        changes(api, base + n if base or n > 1 else 0)
        let_go(api)
        proxy = Cutting(api, bridges.server, n, cut)
        try:
            process = bridges.start(f"life-{n}", server=proxy.url)
            proxy.victim = process if killed else None
            run_out(api, proxy)
            if proxy.struck and killed:
                process.wait(20)
                let_go(api)
                bridges.start(f"after-{n}")
            in_step(api)
        finally:
            proxy.stop()
            bridges.end()
        assert agents(api) == before, f"write {n}: an agent's endpoint was touched"
        gone = identities - {i["metadata"]["name"] for i in api.all(IDENTITIES)}
        assert not gone, f"write {n}: identities {gone} were deleted"
        if not proxy.struck:
            assert n > 5, "a round has too few writes to say anything"
            return
    raise AssertionError(f"a round takes more than {MOST} writes")


def test_of_two_replicas_one_takes_over_at_whatever_write_the_other_is_killed(api: Api, bridges: Bridges):
    before = agents(api)
    for n in (1, 2, 4):
        identities = {i["metadata"]["name"] for i in api.all(IDENTITIES)}
        let_go(api)
        proxy = Cutting(api, bridges.server, n, "after")
        try:
            proxy.victim = bridges.start(f"first-{n}", server=proxy.url)
            held_by(bridges, f"first-{n}", 90)
            bridges.start(f"second-{n}")
            changes(api, 100 + n)
            run_out(api, proxy)
            assert proxy.struck
            in_step(api)
            held_by(bridges, f"second-{n}", 60)
        finally:
            proxy.stop()
            bridges.end()
        assert agents(api) == before
        assert identities <= {i["metadata"]["name"] for i in api.all(IDENTITIES)}


def held_by(bridges: Bridges, name: str, seconds: float) -> None:
    """Wait until a replica holds the Lease."""

    def holds() -> bool:
        try:
            return bridges.holder() == name
        except client.exceptions.NotFoundException:
            return False

    eventually(holds, seconds)
