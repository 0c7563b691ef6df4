"""The Lease as one process sees it, over an API server that loses answers, goes away, or has somebody else in it."""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest

from kube.transport import Response
from operations.refresh.cluster import lease as lease_module
from operations.refresh.cluster.lease import Lease, LeaseError, Memory


class Server:
    """One Lease object, and what goes wrong with the next requests."""

    def __init__(self) -> None:
        self.obj: dict[str, Any] | None = None
        self.version = 0
        self.wrong: list[str] = []
        """`away` before, `cut` after the change, for one request each."""

    def request(self, method: str, _: str, body: Any = None, media: str = "", seconds: float = 30.0) -> Response:
        wrong = self.wrong.pop(0) if self.wrong else ""
        if wrong == "away":
            return Response(0, {"message": "connection refused"})
        answer = self._carry_out(method, copy.deepcopy(body))
        return Response(0, {"message": "connection reset"}) if wrong == "cut" else answer

    def _carry_out(self, method: str, body: Any) -> Response:
        if method == "GET":
            return Response(200, copy.deepcopy(self.obj)) if self.obj else Response(404, {})
        if method == "POST" and self.obj:
            return Response(409, {"message": "already exists"})
        if method == "PUT" and (not self.obj or body["metadata"].get("resourceVersion") != str(self.version)):
            return Response(409, {"message": "the object has been modified"})
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        self.obj = body
        return Response(200, copy.deepcopy(body))

    def hold(self, who: str) -> None:
        assert self.obj is not None
        self.obj["spec"]["holderIdentity"] = who


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(time, "sleep", found.sleep)
    monkeypatch.setattr(Lease, "_keep", lambda _: None)
    return found


def made(server: Server, clock: Clock, holder: str = "me") -> Lease:
    kube: Any = server
    return Lease(kube, holder, clock)


@pytest.mark.parametrize("wrong", [[], ["away"], ["cut"], ["", "away"], ["", "cut"], ["away", "", "cut", "away"]])
def test_it_is_taken_through_answers_that_are_lost(clock: Clock, wrong: list[str]):
    server = Server()
    server.wrong = list(wrong)
    lease = made(server, clock)
    lease.acquire()
    assert lease.held()
    assert server.obj is not None
    assert server.obj["spec"]["holderIdentity"] == "me"


def test_an_api_server_that_stays_away_is_one_clear_error(clock: Clock):
    server = Server()
    server.wrong = ["away"] * 100
    with pytest.raises(LeaseError, match="cannot be read"):
        made(server, clock).acquire()


@pytest.mark.parametrize("wrong", [["away"], ["cut"], ["", "away"], ["", "cut"]])
def test_what_is_remembered_is_written_through_answers_that_are_lost(clock: Clock, wrong: list[str]):
    server = Server()
    lease = made(server, clock)
    lease.acquire()
    server.wrong = list(wrong)
    lease.remember(Memory("cilium", 3))
    server.wrong = []
    lease.read()
    assert lease.memory == Memory("cilium", 3)


def test_it_is_taken_from_a_holder_that_is_silent_and_from_no_other(clock: Clock):
    server = Server()
    made(server, clock, "other").acquire()
    began = clock.now
    lease = made(server, clock)
    lease.acquire()
    assert clock.now - began >= lease_module.SECONDS
    assert lease.held()


def test_a_holder_that_renews_keeps_it(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    server = Server()
    made(server, clock, "other").acquire()

    def renewing(seconds: float) -> None:
        clock.now += seconds
        assert server.obj is not None
        server.obj["spec"]["renewTime"] = str(clock.now)

    monkeypatch.setattr(time, "sleep", renewing)
    with pytest.raises(LeaseError, match="other runs a refresh of this cluster now"):
        made(server, clock).acquire()


def test_nothing_is_remembered_once_somebody_else_has_it(clock: Clock):
    server = Server()
    lease = made(server, clock)
    lease.acquire()
    server.hold("other")
    with pytest.raises(LeaseError, match="other took the refresh over"):
        lease.remember(Memory("cilium", 3))


class Once:
    """An event that lets `_keep` go round so many times."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds

    def wait(self, _: float) -> bool:
        self.rounds -= 1
        return self.rounds < 0


@pytest.mark.parametrize("holder", ["other", ""])
def test_one_that_was_ours_and_was_somebody_elses_meanwhile_is_lost_even_if_it_is_free_again(holder: str):
    server, clock = Server(), Clock()
    lease = made(server, clock)
    lease._put(None, Memory(), paused=False)
    server.hold(holder)
    lease._halt = Once(3)  # type: ignore[assignment]
    lease._keep()
    assert lease.lost
    assert not lease.held()


def test_one_that_cannot_be_renewed_for_a_while_is_neither_held_nor_lost():
    server, clock = Server(), Clock()
    lease = made(server, clock)
    lease._put(None, Memory(), paused=False)
    clock.now += lease_module.SECONDS
    server.wrong = ["away"] * 3
    lease._halt = Once(3)  # type: ignore[assignment]
    lease._keep()
    assert not lease.held()
    assert not lease.lost
    lease._halt = Once(1)  # type: ignore[assignment]
    lease._keep()
    assert lease.held()
