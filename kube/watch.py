"""List, then watch: events of several kinds into one queue, through cut connections, expired versions and silence."""

import json
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from kube.pages import pages
from kube.transport import Obj, Stream, Streaming

PAGE: Final = 1000
WATCH_SECONDS: Final = 290
SILENCE_SECONDS: Final = 90.0
"""The server sends a bookmark about once a minute: no word for longer means that the connection is dead."""
LIST_SECONDS: Final = 60.0
"""Between two lists of what is not watched."""
PAGE_SECONDS: Final = 30.0
"""For one page of a list."""


@dataclass(frozen=True)
class Listed:
    """Everything of a kind, after a list."""

    kind: str
    items: list[Any]


@dataclass(frozen=True)
class Changed:
    kind: str
    gone: bool
    item: Any


@dataclass(frozen=True)
class Trouble:
    """A kind cannot be read at the moment; `text` is empty when it can again."""

    kind: str
    text: str
    denied: bool = False
    """This identity may not read it at all."""


class Watcher(threading.Thread):
    """Keeps one kind up to date.

    Args:
        transport: to ask.
        kind: name of it in events.
        path: collection, for example "/api/v1/pods".
        make: object → value.
        events: where they go.
        absent: seconds after which a kind that is not served is looked for again, and until then there is none of it;
            left out: not to be served is a trouble.
    """

    def __init__(
        self,
        transport: Streaming,
        kind: str,
        path: str,
        make: Callable[[Any], Any],
        events: "queue.SimpleQueue[Any]",
        *,
        absent: float | None = None,
    ) -> None:
        super().__init__(name=f"watch-{kind}", daemon=True)
        self.absent = absent
        self.transport, self.kind, self.path, self.make, self.events = transport, kind, path, make, events
        self._halt = threading.Event()
        self._troubled = False

    def halt(self) -> None:
        self._halt.set()

    def run(self) -> None:
        version, wait = "", 0.5
        while not self._halt.is_set():
            began = time.monotonic()
            try:
                if not version:
                    version = self._list()
                version = self._watch(version)
                self._well()
                wait = 0.5
            except _ExpiredError:
                version = ""
            except _AbsentError:
                version = ""
                self._none()
            except Exception as error:  # whatever it is, a watch that ends unnoticed would leave its reader blind
                if not self._halt.is_set():
                    self._troubled = True
                    self.events.put(Trouble(self.kind, str(error) or type(error).__name__, _denied(error)))
            if time.monotonic() - began < wait:
                self._halt.wait(wait * random.uniform(0.8, 1.2))  # noqa: S311
                wait = min(wait * 2, 15.0)

    def _none(self) -> None:
        """The kind is not served: there is nothing of it."""
        self.events.put(Listed(self.kind, []))
        self._well()
        self._halt.wait(self.absent)

    def _well(self) -> None:
        if self._troubled:
            self._troubled = False
            self.events.put(Trouble(self.kind, ""))

    def _list(self) -> str:
        items: list[Any] = []
        version = ""
        for page in pages(self._page, self.path, limit=PAGE):
            items += [self.make(item) for item in page.get("items") or []]
            version = str((page.get("metadata") or {}).get("resourceVersion", ""))
        self.events.put(Listed(self.kind, items))
        self._well()
        return version

    def _page(self, path: str) -> Obj:
        response = self.transport.send("GET", path, seconds=PAGE_SECONDS)
        if response.status == 410:
            raise _ExpiredError
        self._served(response.status)
        if not response.ok:
            raise _FailedError(response.text, denied=response.status in (401, 403))
        return response.body

    def _served(self, status: int) -> None:
        if status == 404 and self.absent is not None:
            raise _AbsentError

    def _watch(self, version: str) -> str:
        query = {
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        stream = self.transport.stream(f"{self.path}?{urlencode(query)}", silence=SILENCE_SECONDS)
        try:
            if stream.status == 410:
                raise _ExpiredError
            self._served(stream.status)
            if stream.status != 200:
                raise _FailedError(f"{stream.status}: {b''.join(stream.chunks())[:200]!r}")
            self._well()
            for line in _lines(stream):
                if self._halt.is_set():
                    break
                version = self._event(json.loads(line)) or version
        except OSError:
            pass  # cut, or silent for too long: go on from the last version
        finally:
            stream.close()
        return version

    def _event(self, event: dict[str, Any]) -> str:
        kind, obj = event["type"], event["object"]
        if kind == "ERROR":
            if obj.get("code") == 410:
                raise _ExpiredError
            raise _FailedError(str(obj.get("message")))
        if kind != "BOOKMARK":
            self.events.put(Changed(self.kind, kind == "DELETED", self.make(obj)))
        return str(obj["metadata"].get("resourceVersion", ""))


class Lister(Watcher):
    """Lists one kind again and again: its changes are not worth a watch. What cannot be read keeps what is known."""

    def run(self) -> None:
        listed = False
        while not self._halt.is_set():
            try:
                self._list()
                listed = True
            except Exception as error:  # the next one tells; only at the beginning does anybody wait for it
                if not listed and not self._halt.is_set():
                    self._troubled = True
                    self.events.put(Trouble(self.kind, str(error) or type(error).__name__, _denied(error)))
            self._halt.wait(LIST_SECONDS if listed else 1.0)


class _ExpiredError(Exception):
    """The version is too old: list again."""


class _AbsentError(Exception):
    """There is no such kind."""


class _FailedError(Exception):
    """The server answered something else."""

    def __init__(self, text: str, *, denied: bool = False) -> None:
        super().__init__(text)
        self.denied = denied


def _denied(error: Exception) -> bool:
    return isinstance(error, _FailedError) and error.denied


def _lines(stream: Stream) -> Iterator[bytes]:
    rest = b""
    for chunk in stream.chunks():
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line for line in whole if line)
