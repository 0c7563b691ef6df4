"""Shared informers: one list+watch per kind of object for the whole daemon.

Objects are plain dicts as the API server sends them. Treat them as read-only: they are shared.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

__all__ = ["Cache", "Informer", "Source", "Stream"]

log = logging.getLogger(__name__)

Json = dict[str, Any]
_WATCH_SECONDS = 240  # the server ends a watch after so long; it is opened again without a gap
_RETRY_SECONDS = 0.5
_NOT_SERVED = 404


class Stream(Protocol):
    """An open watch: JSON events line by line, and a way to end it."""

    def lines(self) -> Any: ...
    def close(self) -> None: ...


class Source(Protocol):
    """What an informer needs of an API server."""

    def list(self, path: str) -> Json: ...
    def watch(self, path: str, revision: str, seconds: int) -> Stream: ...


class Informer:
    """A live copy of all objects below one collection path, such as `/api/v1/pods`.

    A kind that does not exist yet (a CRD registered later) is an empty list until it does; `synced`
    says whether the copy has been complete once since the last break of more than a watch.
    """

    def __init__(self, source: Source, path: str) -> None:
        self.path = path
        self._source = source
        self._objects: dict[tuple[str, str], Json] = {}
        self._lock = threading.Lock()
        self._synced = threading.Event()
        self._answered = threading.Event()
        self._stop = threading.Event()
        self._callbacks: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._run, name=f"informer {path}", daemon=True)

    # -- reading --------------------------------------------------------------------------------

    @property
    def synced(self) -> bool:
        """True once the kind exists and has been listed."""
        return self._synced.is_set()

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until synced; says whether it is."""
        return self._synced.wait(timeout)

    def answered(self, timeout: float) -> bool:
        """Wait until the server has listed the kind once, or said that it serves none; says whether it has."""
        return self._answered.wait(timeout)

    def list(self, namespace: str | None = None, labels: Mapping[str, str] | None = None) -> list[Json]:
        """All objects, or those of one namespace, or those that carry all of `labels`."""
        with self._lock:
            found = list(self._objects.values())
        if namespace is not None:
            found = [item for item in found if item["metadata"].get("namespace") == namespace]
        if labels:
            wanted = labels.items()
            found = [item for item in found if wanted <= (item["metadata"].get("labels") or {}).items()]
        return found

    def get(self, name: str, namespace: str = "") -> Json | None:
        """The object called `name`, None when there is none."""
        with self._lock:
            return self._objects.get((namespace, name))

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback` after every change, from the informer's thread: it must return at once."""
        self._callbacks.append(callback)

    # -- running --------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to list and watch in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """End after the event at hand."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                revision = self._list()
                while revision and not self._stop.is_set():
                    revision = self._watch(revision)
            except Exception as problem:
                if getattr(problem, "status", 0) == _NOT_SERVED:
                    self._answered.set()
                log.debug("informer %s starts over: %s", self.path, problem)
            self._stop.wait(_RETRY_SECONDS)

    def _list(self) -> str:
        answer = self._source.list(self.path)
        objects = {_key(item): item for item in answer.get("items") or []}
        with self._lock:
            self._objects = objects
        self._synced.set()
        self._answered.set()
        self._notify()
        return str(answer["metadata"]["resourceVersion"])

    def _watch(self, revision: str) -> str:
        """Follow changes; returns the revision to go on from, "" when a new list is needed."""
        stream = self._source.watch(self.path, revision, _WATCH_SECONDS)
        try:
            for line in stream.lines():
                event = json.loads(line)
                kind, item = event["type"], event["object"]
                if kind == "ERROR":
                    return ""
                revision = item["metadata"]["resourceVersion"]
                if kind == "BOOKMARK":
                    continue
                with self._lock:
                    if kind == "DELETED":
                        self._objects.pop(_key(item), None)
                    else:
                        self._objects[_key(item)] = item
                self._notify()
                if self._stop.is_set():
                    break
        finally:
            stream.close()
        return revision

    def _notify(self) -> None:
        for callback in self._callbacks:
            callback()


def _key(item: Json) -> tuple[str, str]:
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


class Cache:
    """Informers by collection path, started on first use and shared by all who ask."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._informers: dict[str, Informer] = {}
        self._lock = threading.Lock()

    def informer(self, path: str, on_change: Callable[[], None] | None = None) -> Informer:
        """The informer of `path`; `on_change` is added to those it calls."""
        with self._lock:
            informer = self._informers.get(path)
            fresh = informer is None
            if informer is None:
                informer = self._informers[path] = Informer(self._source, path)
            if on_change is not None:
                informer.on_change(on_change)
        if fresh:
            informer.start()
        return informer

    def stop(self) -> None:
        """Stop them all; does not wait for open watches."""
        with self._lock:
            for informer in self._informers.values():
                informer.stop()
