"""What a controller of the sandbox sees: the Kubernetes API, the emulated account, the settings."""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import urllib3
from kubernetes.client import ApiClient, Configuration
from kubernetes.config import new_client_from_config

from sandbox.aws.settings import Settings
from sandbox.aws.state import Aws
from sandbox.cache import Cache, Informer

__all__ = ["READY", "Controller", "KubeError", "World", "connect"]

Json = dict[str, Any]
READY = "sandbox/ready"
"""Annotation of a pod: whether its containers are ready, see `sandbox/stages/README.md`."""
_MEDIA = {
    "POST": "application/json",
    "PUT": "application/json",
    "DELETE": "application/json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}


class Controller(Protocol):
    """One reconciler. `reconcile` is called when something it watches changed, and every 0.25 s."""

    name: str

    def reconcile(self) -> None:
        """Bring the cluster one step nearer to what it should be. Exceptions are logged, never fatal."""


class KubeError(Exception):
    """A refusal of the API server: HTTP `status`, `reason` and the whole `body` (a Status object)."""

    def __init__(self, method: str, path: str, status: int, body: Json) -> None:
        super().__init__(f"{method} {path}: {status} {body.get('reason', '')}: {body.get('message', '')}")
        self.status = status
        self.reason = str(body.get("reason", ""))
        self.body = body


class World:
    """The world of one sandbox, shared by all controllers.

    `for_controller` gives a controller its own view: whatever informer it asks for then wakes it. Who wants
    to be woken by every change of the account too says `world.aws.subscribe(world.wakeup)`.
    """

    def __init__(self, directory: Path, kube: ApiClient, aws: Aws, cache: Cache | None = None) -> None:
        self._as: dict[str, str] = {}
        self.dir = directory
        self.kube = kube
        self.aws = aws
        self.settings: Settings = aws.settings
        self.cache = cache or Cache(_KubeSource(self))
        self.wakeup = threading.Event()

    def for_controller(self, wakeup: threading.Event) -> World:
        """The same world, with `wakeup` set when an object changes that is looked at through it."""
        view = World(self.dir, self.kube, self.aws, self.cache)
        view.wakeup = wakeup
        return view

    def acting_as(self, user: str) -> World:
        """The same world, with every request made as `user`: admission sees that name and nobody else's.

        Service accounts get the rights of an administrator: what the sandbox plays may take more requests than the
        real thing makes. Other users have what is bound to them.
        """
        view = World(self.dir, self.kube, self.aws, self.cache)
        view.wakeup = self.wakeup
        view._as = {"Impersonate-User": user}
        if user.startswith("system:serviceaccount:"):
            view._as["Impersonate-Group"] = "system:masters"
        return view

    # -- reading --------------------------------------------------------------------------------

    def informer(self, path: str) -> Informer:
        """A live copy of the objects below a collection path, e.g. `/apis/apps/v1/daemonsets`."""
        return self.cache.informer(path, self.wakeup.set)

    def get(self, path: str) -> Json | None:
        """One object, fresh from the API server; None when it does not exist."""
        try:
            return self.call("GET", path)
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    # -- writing --------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Json:
        """A request with a JSON body; the answer as a dict. KubeError on any refusal."""
        return self._request(method, path, body, _MEDIA.get(method, "application/json"), query)

    def patch(self, path: str, body: Any, *, kind: str = "merge", **query: Any) -> Json:
        """A patch of `kind` merge, strategic or json; use `path + "/status"` for the status."""
        return self._request("PATCH", path, body, _MEDIA[kind], query)

    def apply(self, path: str, body: Json, *, manager: str, force: bool = True) -> Json:
        """Server-side apply as `manager`; KubeError 409 on conflicts unless `force`."""
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        return self._request("PATCH", path, body, _MEDIA["apply"], query)

    def delete(self, path: str, *, grace: int | None = None, propagation: str = "Background") -> bool:
        """Delete an object; False when it was gone already."""
        options: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        try:
            self.call("DELETE", path, options)
        except KubeError as error:
            if error.status == 404:
                return False
            raise
        return True

    def _request(self, method: str, path: str, body: Any, media: str, query: Mapping[str, Any]) -> Json:
        response = self.open(method, path, body, media, query)
        if response.status >= 400:
            raise KubeError(method, path, response.status, _refusal(response.data))
        answer: Json = json.loads(response.data or b"{}")
        return answer

    def open(
        self, method: str, path: str, body: Any, media: str, query: Mapping[str, Any], *, stream: bool = False
    ) -> urllib3.BaseHTTPResponse:
        """The bare HTTP exchange; for anything that `call`, `patch` and `apply` do not cover."""
        configuration: Configuration = self.kube.configuration
        url = configuration.host + path + (f"?{urllib.parse.urlencode(query)}" if query else "")
        pool: urllib3.PoolManager = self.kube.rest_client.pool_manager
        return pool.request(
            method,
            url,
            body=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": media, "Accept": "application/json", **self._as},
            preload_content=not stream,
            timeout=urllib3.Timeout(connect=5, read=300 if stream else 30),
            retries=False,
        )


def _refusal(data: bytes) -> Json:
    """Why, as the server says it. Below a group that is not served at all it says so in plain text."""
    try:
        found = json.loads(data or b"{}")
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"message": data[:200].decode(errors="replace").strip()}


class _KubeStream:
    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response

    def lines(self) -> Iterator[bytes]:
        pending = b""
        while chunk := self._response.read1():
            *whole, pending = (pending + chunk).split(b"\n")
            yield from (line for line in whole if line)

    def close(self) -> None:
        self._response.close()


class _KubeSource:
    """The API server as informers need it; every watch has a connection of its own."""

    def __init__(self, world: World) -> None:
        self._world = world

    def list(self, path: str) -> Json:
        return self._world.call("GET", path)

    def watch(self, path: str, revision: str, seconds: int) -> _KubeStream:
        query = {
            "watch": "true",
            "resourceVersion": revision,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": seconds,
        }
        response = self._world.open("GET", path, None, "application/json", query, stream=True)
        if response.status >= 400:
            body = json.loads(response.read() or b"{}")
            response.close()
            raise KubeError("WATCH", path, response.status, body)
        return _KubeStream(response)


def connect(kubeconfig: Path) -> ApiClient:
    """An API client with enough connections for every informer and controller of the daemon."""
    configuration = Configuration()
    configuration.connection_pool_maxsize = 64
    return new_client_from_config(config_file=str(kubeconfig), client_configuration=configuration)
