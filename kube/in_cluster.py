"""From inside a cluster, as a service account: with Python's own HTTP and TLS."""

import http.client
import json
import os
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from kube.transport import JSON, KubeError, Response, answer
from kube.transport import Stream as StreamOf

MOUNTED: Final = Path(os.environ.get("SERVICE_ACCOUNT_DIR") or "/var/run/secrets/kubernetes.io/serviceaccount")
"""Where kubelet puts the token, which it writes anew before the old one ends, and the authority of the API server."""
_CONNECT_SECONDS: Final = 5.0
_IDLE_SECONDS: Final = 30.0
"""An API server closes what was idle for longer than a minute, and whoever writes into that gets no answer."""
_CHUNK: Final = 65_536
_BROKEN: Final = (OSError, http.client.HTTPException)


class InCluster:
    """A transport for one service account. Safe in threads: each has a connection of its own.

    Args:
        server: "https://HOST:PORT".
        token: file with the token; read again for each request that is more than a second after the last reading.
        authority: file with the certificate of the API server's authority; read for each new connection.
        agent: how requests name themselves.
    """

    def __init__(self, server: str, *, token: Path, authority: Path, agent: str) -> None:
        parts = urlsplit(server)
        if parts.scheme != "https" or not parts.hostname:
            raise KubeError(0, f"{server!r} is no https address of an API server")
        self._host, self._port = parts.hostname, parts.port or 443
        self._token, self._authority, self._agent = token, authority, agent
        self._mine = threading.local()
        self._read = ("", float("-inf"))

    @classmethod
    def found(cls, agent: str) -> Self:
        """Of the pod that this runs in.

        Raises:
            KubeError: this is no pod with a service account.
        """
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        if not host:
            raise KubeError(
                0, "KUBERNETES_SERVICE_HOST is not set: this runs in no pod. Say --server, --token and --ca"
            )
        shown = f"[{host}]" if ":" in host else host
        return cls(f"https://{shown}:{port}", token=MOUNTED / "token", authority=MOUNTED / "ca.crt", agent=agent)

    def send(
        self, method: str, path: str, *, body: Any = None, content_type: str = "", seconds: float = 10.0
    ) -> Response:
        """One request, once; see `Transport`."""
        deadline = time.monotonic() + seconds
        try:
            connection = self._connection()
            _until(connection, deadline)
            self._ask(connection, method, path, body, content_type)
            found = connection.getresponse()
            data = _whole(connection, found, deadline)
        except _BROKEN as error:
            self._forget()
            return Response(0, {"message": f"{method} {path}: {str(error) or type(error).__name__}"})
        self._mine.used = time.monotonic()
        if found.will_close or found.status == http.HTTPStatus.UNAUTHORIZED:
            self._forget()
        return answer(found.status, found.reason, data, found.getheader("Retry-After"))

    def stream(self, path: str, *, silence: float) -> StreamOf:
        """An answer that goes on, over a connection of its own; see `Streaming`."""
        connection = self._connected()
        try:
            _until(connection, time.monotonic() + silence)
            self._ask(connection, "GET", path)
            return _Stream(connection, connection.getresponse())
        except http.client.HTTPException as error:
            connection.close()
            raise OSError(str(error) or type(error).__name__) from None
        except OSError:
            connection.close()
            raise

    def _ask(
        self, connection: http.client.HTTPSConnection, method: str, path: str, body: Any = None, content_type: str = ""
    ) -> None:
        headers = {
            "Authorization": f"Bearer {self._credential()}",
            "Accept": JSON,
            "User-Agent": self._agent,
        }
        data = None
        if body is not None:
            data = json.dumps(body, separators=(",", ":")).encode()
            headers["Content-Type"] = content_type or JSON
        connection.request(method, path, body=data, headers=headers)

    def _credential(self) -> str:
        token, read = self._read
        if time.monotonic() - read > 1.0:
            token = self._token.read_text(encoding="ascii").strip()
            self._read = (token, time.monotonic())
        return token

    def _connection(self) -> http.client.HTTPSConnection:
        """This thread's."""
        there: http.client.HTTPSConnection | None = getattr(self._mine, "connection", None)
        if there is not None and time.monotonic() - self._mine.used > _IDLE_SECONDS:
            self._forget()
            there = None
        if there is None:
            there = self._mine.connection = self._connected()
            self._mine.used = time.monotonic()
        return there

    def _connected(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=str(self._authority))
        connection = http.client.HTTPSConnection(self._host, self._port, timeout=_CONNECT_SECONDS, context=context)
        connection.connect()
        return connection

    def _forget(self) -> None:
        there: http.client.HTTPSConnection | None = getattr(self._mine, "connection", None)
        if there is not None:
            there.close()
            self._mine.connection = None


class _Stream:
    """A body that comes bit by bit; it is cut when no byte came for as long as the socket waits."""

    def __init__(self, connection: http.client.HTTPSConnection, response: http.client.HTTPResponse) -> None:
        self._connection, self._response = connection, response
        self.status = response.status

    def chunks(self) -> Iterator[bytes]:
        try:
            while chunk := self._response.read1(_CHUNK):
                yield chunk
        except http.client.HTTPException as error:
            raise OSError(str(error) or type(error).__name__) from None
        except (ValueError, AttributeError):  # closed by another thread, in the middle of a read
            raise OSError("the connection was closed") from None

    def close(self) -> None:
        self._response.close()
        self._connection.close()


def _until(connection: http.client.HTTPSConnection, deadline: float) -> None:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("no answer in time")
    if connection.sock is not None:
        connection.sock.settimeout(left)


def _whole(connection: http.client.HTTPSConnection, response: http.client.HTTPResponse, deadline: float) -> bytes:
    parts: list[bytes] = []
    while True:
        _until(connection, deadline)
        part = response.read(_CHUNK)  # `read1` leaves the connection behind unfinished (CPython 3.11)
        if not part:
            return b"".join(parts)
        parts.append(part)
