"""An API server in memory, as a transport: the cluster's objects, watches, preconditions, and answers that get lost."""

from __future__ import annotations

import copy
import itertools
import json
import queue
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kube.transport import Obj, Response

KINDS = {
    "pods": "Pod",
    "nodes": "Node",
    "namespaces": "Namespace",
    "ciliumnodes": "CiliumNode",
    "ciliumnodeconfigs": "CiliumNodeConfig",
    "ciliumidentities": "CiliumIdentity",
    "ciliumendpoints": "CiliumEndpoint",
    "configmaps": "ConfigMap",
    "leases": "Lease",
    "events": "Event",
}


class Api:
    """A transport to objects in memory. Safe in threads.

    Args:
        lost: share of the writes whose answer gets lost, half of them carried out.
    """

    def __init__(self, *, lost: float = 0.0, seed: int = 1) -> None:
        self.objects: dict[tuple[str, str, str], Obj] = {}
        self.asked: Counter[tuple[str, str]] = Counter()
        self.before: Callable[[str, str], None] = lambda _method, _path: None
        """Called before each request, outside of all locks."""
        self.lost = lost
        self._random = random.Random(seed)  # noqa: S311
        self._count = itertools.count(1)
        self._lock = threading.RLock()
        self._watches: list[tuple[str, queue.SimpleQueue[bytes | None]]] = []
        self.expired_below = 0
        """Watches from a version before this one are answered 410."""

    # -- for tests ---------------------------------------------------------------------------------------

    def put(self, kind: str, name: str, /, *, namespace: str = "", **rest: Any) -> Obj:
        with self._lock:
            before = self.objects.get((kind, namespace, name))
            metadata = {**rest.pop("metadata", {}), "name": name}
            if namespace:
                metadata["namespace"] = namespace
            metadata.setdefault("uid", before["metadata"]["uid"] if before else f"uid-{next(self._count)}")
            metadata.setdefault("creationTimestamp", f"2026-01-01T00:00:{next(self._count):06d}Z")
            metadata["resourceVersion"] = str(next(self._count))
            self.objects[kind, namespace, name] = {"metadata": metadata, **rest}
            self._tell(kind, "MODIFIED" if before else "ADDED", self.objects[kind, namespace, name])
            return copy.deepcopy(self.objects[kind, namespace, name])

    def drop(self, kind: str, name: str, *, namespace: str = "") -> None:
        with self._lock:
            gone = self.objects.pop((kind, namespace, name))
            gone["metadata"]["resourceVersion"] = str(next(self._count))
            self._tell(kind, "DELETED", gone)

    def all(self, kind: str) -> list[Obj]:
        with self._lock:
            return [copy.deepcopy(found) for (of, _, _), found in self.objects.items() if of == kind]

    def cut(self) -> None:
        """Every watch ends."""
        with self._lock:
            for _, events in self._watches:
                events.put(None)
            self._watches.clear()

    def _tell(self, kind: str, what: str, obj: Obj) -> None:
        line = json.dumps({"type": what, "object": obj}).encode() + b"\n"
        for watched, events in self._watches:
            if watched == kind:
                events.put(line)

    # -- as a transport ----------------------------------------------------------------------------------

    def send(
        self, method: str, path: str, *, body: Any = None, content_type: str = "", seconds: float = 10.0
    ) -> Response:
        self.before(method, path)
        kind, namespace, name = _parts(path)
        lost = method != "GET" and kind.startswith("cilium") and self._random.random() < self.lost
        if lost and self._random.random() < 0.5:
            return Response(0, {"message": "the connection was cut"})
        with self._lock:
            self.asked[method, kind] += 1
            answer = self._answer(method, kind, namespace, name, copy.deepcopy(body))
        return Response(0, {"message": "the connection was cut"}) if lost else answer

    def _answer(self, method: str, kind: str, namespace: str, name: str, body: Any) -> Response:
        if method == "GET" and not name:
            items = [o for o in self.all(kind) if not namespace or o["metadata"].get("namespace") == namespace]
            return Response(200, {"items": items, "metadata": {"resourceVersion": str(next(self._count))}})
        if method == "POST":
            made = body["metadata"].get("name") or f"{body['metadata']['generateName']}{next(self._count)}"
            if (kind, namespace, made) in self.objects:
                return Response(409, {"message": "already exists"})
            return Response(201, self.put(kind, made, namespace=namespace, **body))
        there = self.objects.get((kind, namespace, name))
        if there is None:
            return Response(404, {"message": "not found"})
        if method == "GET":
            return Response(200, copy.deepcopy(there))
        wanted = body.get("preconditions", {}) if method == "DELETE" else body.get("metadata", {})
        for field in ("uid", "resourceVersion"):
            if wanted.get(field, there["metadata"][field]) != there["metadata"][field]:
                return Response(409, {"message": f"{field} is another one"})
        if method == "DELETE":
            self.drop(kind, name, namespace=namespace)
            return Response(200, {"status": "Success"})
        if method == "PATCH":
            body = _merged(copy.deepcopy(there), body)
        return Response(200, self.put(kind, name, namespace=namespace, **body))

    def stream(self, path: str, *, silence: float) -> _Watch:
        self.before("WATCH", path)
        kind, _, _ = _parts(path)
        [version] = parse_qs(urlsplit(path).query)["resourceVersion"]
        events: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        with self._lock:
            if int(version) < self.expired_below:
                return _Watch(410, events)
            for found in self.all(kind):
                if int(found["metadata"]["resourceVersion"]) > int(version):
                    events.put(json.dumps({"type": "ADDED", "object": found}).encode() + b"\n")
            self._watches.append((kind, events))
        return _Watch(200, events)


class _Watch:
    def __init__(self, status: int, events: queue.SimpleQueue[bytes | None]) -> None:
        self.status, self._events = status, events

    def chunks(self) -> Iterator[bytes]:
        while (line := self._events.get()) is not None:
            yield line

    def close(self) -> None:
        self._events.put(None)


def _parts(path: str) -> tuple[str, str, str]:
    words = urlsplit(path).path.strip("/").split("/")
    words = words[2:] if words[0] == "api" else words[3:]
    namespace = ""
    if words[0] == "namespaces" and len(words) > 2:
        namespace, words = words[1], words[2:]
    return words[0], namespace, words[1] if len(words) > 1 else ""


def _merged(there: Any, patch: Any) -> Any:
    if not isinstance(patch, dict) or not isinstance(there, dict):
        return patch
    for key, value in patch.items():
        if value is None:
            there.pop(key, None)
        else:
            there[key] = _merged(there.get(key, {} if isinstance(value, dict) else None), value)
    return there
