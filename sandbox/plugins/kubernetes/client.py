"""A small Kubernetes client for the stand-in: kubeconfig, credentials, JSON over HTTPS, discovery.

The official client takes more than a second of CPU to import, in every preview and every update.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from sandbox.plugins.operation import ProviderError

Object = dict[str, Any]
"""A Kubernetes object as JSON."""

APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
TIMEOUT = 30.0
"""Seconds for one request."""


class ApiError(ProviderError):
    """The API server refused a request: HTTP status code, reason, message, and the ``Status`` object's details."""

    def __init__(self, code: int, body: bytes) -> None:
        try:
            status = json.loads(body)
        except ValueError:
            status = {}
        status = status if isinstance(status, dict) else {}
        self.code, self.reason = code, str(status.get("reason") or "")
        self.details: Object = status.get("details") or {}
        super().__init__(status.get("message") or body.decode(errors="replace").strip() or f"HTTP {code}")


class Unreachable(ProviderError):
    """No kubeconfig, no credentials, or nobody answers."""


@dataclass(frozen=True)
class Kind:
    """A kind that the server knows: ``plural`` is its name in paths."""

    plural: str
    namespaced: bool


@dataclass
class Kubeconfig:
    """The chosen context of a kubeconfig: where the server is and who we are."""

    cluster: Object
    user: Object
    namespace: str
    document: Object
    context: str

    @property
    def server(self) -> str:
        return str(self.cluster.get("server") or "")

    @classmethod
    def load(cls, given: Any, context: str | None = None, cluster: str | None = None) -> Kubeconfig:
        """From contents (JSON or YAML, or an object), a path, or nothing (``KUBECONFIG``, ``~/.kube/config``)."""
        document = _document(given)
        name = context or document.get("current-context") or ""
        entry = _named(document, "contexts", name, "context")
        cluster_name = cluster or entry.get("cluster") or ""
        return cls(
            cluster=_named(document, "clusters", cluster_name, "cluster"),
            user=_named(document, "users", entry.get("user") or "", "user"),
            namespace=entry.get("namespace") or "default",
            document=document,
            context=name,
        )


def _document(given: Any) -> Object:
    text = given
    if not text:
        path = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0] or os.path.expanduser("~/.kube/config")
        if not os.path.exists(path):
            raise Unreachable("no kubeconfig is given, and neither KUBECONFIG nor ~/.kube/config names a file")
        text = Path(path).read_text()
    if isinstance(text, str) and "\n" not in text and not text.lstrip().startswith("{"):
        path = os.path.expanduser(text)
        if not os.path.exists(path):
            raise Unreachable(f"the kubeconfig {path!r} is neither a file nor the contents of one")
        text = Path(path).read_text()
    if isinstance(text, str):
        if text.lstrip().startswith("{"):
            text = json.loads(text)
        else:
            import yaml  # noqa: PLC0415 slow, and the program's own kubeconfig is JSON

            text = yaml.safe_load(text)
    if not isinstance(text, dict):
        raise Unreachable("the kubeconfig is no object: give its contents as JSON or YAML, or its path")
    return text


def _named(document: Object, section: str, name: str, key: str) -> Object:
    for entry in document.get(section) or []:
        if entry.get("name") == name:
            return dict(entry.get(key) or {})
    raise Unreachable(f"the kubeconfig has no {key} {name!r} in {section!r}")


@dataclass
class Client:
    """Talks to one cluster. Every thread has a connection of its own, kept open."""

    config: Kubeconfig
    _local: threading.local = field(default_factory=threading.local)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _tls: ssl.SSLContext | None = None
    _token: str | None = None
    _token_expires: float = 0.0
    _kinds: dict[str, dict[str, Kind]] = field(default_factory=dict)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        content: str = "application/json",
    ) -> Object:
        """One call: the JSON of the answer. Raises `ApiError` for a refusal, `Unreachable` when nobody answers."""
        url = f"{path}?{urlencode(query)}" if query else path
        data = None if body is None else json.dumps(body).encode()
        for fresh in (False, True):
            connection, used = self._connection(fresh)
            headers = {"Accept": "application/json", "Content-Type": content, **self._authorization(fresh)}
            try:
                connection.request(method, url, data, headers)
                response = connection.getresponse()
                answer = response.read()
            except (OSError, http.client.HTTPException) as error:
                self._local.connection = None
                if used and not fresh:  # the server closed a connection that was kept open
                    continue
                raise Unreachable(
                    f"configured Kubernetes cluster is unreachable: {self.config.server}: {error}"
                ) from error
            if response.status == http.HTTPStatus.UNAUTHORIZED and not fresh:
                continue
            if response.status >= http.HTTPStatus.BAD_REQUEST:
                raise ApiError(response.status, answer)
            return dict(json.loads(answer)) if answer else {}
        raise AssertionError  # the second turn returns or raises

    def kind(self, api_version: str, kind: str) -> Kind | None:
        """What the server knows of a kind; None when it has no such kind (now)."""
        known = self._kinds.get(api_version, {}).get(kind)
        if known is not None:
            return known
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        try:
            listed = self.request("GET", root)
        except ApiError as error:
            if error.code == http.HTTPStatus.NOT_FOUND:
                return None
            raise
        self._kinds[api_version] = {
            item["kind"]: Kind(item["name"], item["namespaced"])
            for item in listed.get("resources", [])
            if "/" not in item["name"]
        }
        return self._kinds[api_version].get(kind)

    def path(self, api_version: str, kind: str, namespace: str | None, name: str = "") -> str:
        """The path of an object (of the collection without a name). Raises `ApiError` 404 for an unknown kind."""
        known = self.kind(api_version, kind)
        if known is None:
            message = f'no matches for kind "{kind}" in version "{api_version}"'
            raise ApiError(404, json.dumps({"reason": "NotFound", "message": message}).encode())
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        scope = f"/namespaces/{namespace or self.config.namespace}" if known.namespaced else ""
        return f"{root}{scope}/{known.plural}" + (f"/{name}" if name else "")

    def _connection(self, fresh: bool) -> tuple[http.client.HTTPConnection, bool]:
        current: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if current is not None and not fresh:
            return current, True
        url = urlsplit(self.config.server)
        if url.scheme == "http":
            current = http.client.HTTPConnection(url.hostname or "", url.port or 80, timeout=TIMEOUT)
        else:
            current = http.client.HTTPSConnection(
                url.hostname or "", url.port or 443, timeout=TIMEOUT, context=self._context()
            )
        self._local.connection = current
        return current, False

    def _context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls is None:
                self._tls = _tls(self.config)
            return self._tls

    def _authorization(self, fresh: bool) -> dict[str, str]:
        user = self.config.user
        if user.get("token"):
            return {"Authorization": f"Bearer {user['token']}"}
        if user.get("tokenFile"):
            return {"Authorization": f"Bearer {Path(user['tokenFile']).read_text().strip()}"}
        if user.get("exec"):
            with self._lock:
                if fresh or self._token is None or time.time() > self._token_expires:
                    self._token, self._token_expires = _exec_token(user["exec"])
                return {"Authorization": f"Bearer {self._token}"}
        return {}


def _tls(config: Kubeconfig) -> ssl.SSLContext:
    cluster, user = config.cluster, config.user
    authority = cluster.get("certificate-authority-data")
    context = ssl.create_default_context(
        cafile=cluster.get("certificate-authority"),
        cadata=base64.b64decode(authority).decode() if authority else None,
    )
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if user.get("client-certificate-data"):
        # The ssl module reads certificates from files only.
        with tempfile.NamedTemporaryFile() as file:
            file.write(base64.b64decode(user["client-certificate-data"]) + b"\n")
            file.write(base64.b64decode(user["client-key-data"]))
            file.flush()
            context.load_cert_chain(file.name)
    elif user.get("client-certificate"):
        context.load_cert_chain(user["client-certificate"], user.get("client-key"))
    return context


def _exec_token(plugin: Object) -> tuple[str, float]:
    """A bearer token of an exec credential plugin, and the time (seconds since the epoch) until which it serves."""
    argv = [plugin["command"], *(plugin.get("args") or [])]
    version = plugin.get("apiVersion") or "client.authentication.k8s.io/v1beta1"
    info = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
    environment = {**os.environ, "KUBERNETES_EXEC_INFO": json.dumps(info)}
    environment |= {item["name"]: item["value"] for item in plugin.get("env") or []}
    try:
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unreachable(f"the kubeconfig's credential plugin {argv[0]!r} failed: {error}") from error
    if done.returncode:
        raise Unreachable(
            f"the kubeconfig's credential plugin {' '.join(argv)!r} ended with code {done.returncode}: "
            f"{done.stderr.strip()}"
        )
    status = json.loads(done.stdout).get("status") or {}
    until = time.time() + 60
    if status.get("expirationTimestamp"):
        from datetime import datetime  # noqa: PLC0415 slow, and rarely used

        until = datetime.fromisoformat(status["expirationTimestamp"]).timestamp() - 60
    return status["token"], until
