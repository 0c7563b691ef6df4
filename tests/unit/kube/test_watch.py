"""A watch lists, follows, and never goes blind without saying so."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from kube.transport import Response
from kube.watch import Changed, Listed, Lister, Trouble, Watcher

GONE = {"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}


def pod(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


class Body:
    """The body of one watch: chunks, then its end, or an error."""

    def __init__(self, *parts: bytes | Exception, status: int = 200) -> None:
        self.status, self.parts, self.closed = status, parts, False

    def chunks(self) -> Iterator[bytes]:
        for part in self.parts:
            if isinstance(part, Exception):
                raise part
            yield part

    def close(self) -> None:
        self.closed = True


def lines(*events: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


class Server:
    """Answers lists and watches in turn; when it has none left, whoever asks waits for the end of the test."""

    def __init__(self, lists: list[Response], bodies: list[Body | Exception]) -> None:
        self.lists, self.bodies = lists, bodies
        self.asked: list[dict[str, str]] = []
        self.idle, self.over = threading.Event(), threading.Event()

    def send(self, method: str, path: str, **_: Any) -> Response:
        self._ask(path, self.lists)
        return self.lists.pop(0) if self.lists else Response(0, {"message": "over"})

    def stream(self, path: str, *, silence: float) -> Body:
        assert silence > 0
        self._ask(path, self.bodies)
        body = self.bodies.pop(0) if self.bodies else Body()
        if isinstance(body, Exception):
            raise body
        return body

    def _ask(self, path: str, left: list[Any]) -> None:
        if not left:
            self.idle.set()
            self.over.wait(20)
            return
        self.asked.append({key: value[0] for key, value in parse_qs(urlsplit(path).query).items()})


Followed = Callable[..., tuple[list[Any], Server]]


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch) -> Followed:
    """Everything that is told until the server has nothing more to say."""
    monkeypatch.setattr("kube.watch.random.uniform", lambda *_: 0.0)

    def follow(lists: list[Response], bodies: list[Body | Exception], kind: Callable[..., Watcher] = Watcher) -> Any:
        server, events = Server(lists, bodies), queue.SimpleQueue[Any]()
        watcher = kind(server, "pods", "/api/v1/pods", lambda item: item["metadata"]["name"], events)
        watcher.start()
        assert server.idle.wait(10)
        told = [events.get_nowait() for _ in range(events.qsize())]
        watcher.halt()
        server.over.set()
        watcher.join(10)
        assert not watcher.is_alive()
        assert events.empty(), "one that was halted is silent"
        return told, server

    return follow


def test_every_page_is_listed_then_changes_follow_from_that_version(followed: Followed):
    first = Response(200, {"items": [pod("a", 1)], "metadata": {"continue": "more"}})
    second = Response(200, {"items": [pod("b", 2)], "metadata": {"resourceVersion": "7"}})
    news = lines({"type": "ADDED", "object": pod("c", 8)}, {"type": "DELETED", "object": pod("a", 9)})
    mark = lines({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "12"}}})
    told, server = followed([first, second], [Body(news[:25], news[25:]), Body(mark), Body()])
    assert told == [Listed("pods", ["a", "b"]), Changed("pods", False, "c"), Changed("pods", True, "a")]
    assert [asked.get("resourceVersion") for asked in server.asked] == [None, None, "7", "9", "12"]
    assert all(asked["allowWatchBookmarks"] == "true" for asked in server.asked[2:])


@pytest.mark.parametrize("broken", [OSError("reset"), TimeoutError("silent")])
def test_a_cut_or_silent_connection_goes_on_where_it_was(followed: Followed, broken: Exception):
    start = Response(200, {"items": [], "metadata": {"resourceVersion": "7"}})
    cut = Body(lines({"type": "MODIFIED", "object": pod("a", 8)}), b'{"type": "ADD', broken)
    told, server = followed([start], [cut, Body()])
    assert told == [Listed("pods", []), Changed("pods", False, "a")]
    assert [asked.get("resourceVersion") for asked in server.asked] == [None, "7", "8"]
    assert cut.closed


@pytest.mark.parametrize("expired", [Body(status=410), Body(lines(GONE))])
def test_a_version_that_is_too_old_is_listed_anew(followed: Followed, expired: Body):
    lists = [Response(200, {"items": [pod(n, 1)], "metadata": {"resourceVersion": n}}) for n in ("1", "2")]
    told, _ = followed(lists, [expired, Body()])
    assert told == [Listed("pods", ["1"]), Listed("pods", ["2"])]


def test_a_kind_that_is_not_served_is_none_of_it_and_is_looked_for_again(followed: Followed):
    absent = Response(404, {"message": "the server could not find the requested resource"})
    there = Response(200, {"items": [pod("a", 1)], "metadata": {"resourceVersion": "7"}})
    told, _ = followed([absent, there], [Body(status=404)], partial(Watcher, absent=0.0))
    assert told == [Listed("pods", []), Listed("pods", ["a"]), Listed("pods", [])]
    told, _ = followed([absent, there], [Body()])
    assert [type(one) for one in told] == [Trouble, Listed, Trouble]


def test_what_cannot_be_read_is_told_and_so_is_its_end(followed: Followed):
    refused = Response(403, {"message": "pods is forbidden"}, reason="Forbidden")
    start = Response(200, {"items": [], "metadata": {"resourceVersion": "7"}})
    told, _ = followed([refused, start], [OSError("no route"), Body(b"busy", status=503), Body()])
    assert told == [
        Trouble("pods", "403 Forbidden: pods is forbidden", denied=True),
        Listed("pods", []),
        Trouble("pods", ""),
        Trouble("pods", "no route"),
        Trouble("pods", "503: b'busy'"),
        Trouble("pods", ""),
    ]


def test_what_is_only_listed_keeps_what_was_read_when_it_cannot_be_read_again(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("kube.watch.LIST_SECONDS", 0.0)
    good = Response(200, {"items": [pod("a", 1)]})
    told, _ = followed([good, Response(0, {"message": "away"}), good], [], Lister)
    assert told == [Listed("pods", ["a"]), Listed("pods", ["a"])]
