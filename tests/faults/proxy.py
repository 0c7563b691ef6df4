"""Loopback proxies between a refresh and its two worlds, which break what they are told to break, and count.

A `Fault` names requests and what becomes of them: answered by the proxy, cut before or after the server has carried
them out, delayed, or (a watch) silent. Nothing is drawn by lot.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

EVICTION = r"/pods/[^/]+/eviction"
PASSED_ON = (
    "authorization",
    "content-type",
    "accept",
    "x-amz-target",
    "x-amz-date",
    "x-amz-security-token",
    "user-agent",
)


@dataclass(kw_only=True)
class Fault:
    """What becomes of the requests that it names."""

    method: str = ""
    """Empty: every method."""
    path: str = ""
    """Regular expression, searched in the path with its query."""
    action: str = ""
    """AWS only: the operation, such as TerminateInstanceInAutoScalingGroup."""
    skip: int = 0
    """So many of them pass before."""
    times: int | None = 1
    """None: as long as the fault is there."""
    status: int = 0
    """Answer with this status and `body`, without asking the server."""
    body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    cut: str = ""
    """before | after: close the connection before, or after, the server has carried it out."""
    delay: float = 0.0
    """Pass it on so many seconds late."""
    event: dict[str, Any] | None = None
    """A watch: answer 200 with this one event."""
    silent: bool = False
    """A watch: pass nothing on, as long as the fault is there."""
    seen: int = 0
    used: int = 0

    def names(self, method: str, path: str, action: str) -> bool:
        return (
            self.method in ("", method) and bool(re.search(self.path, path)) and self.action in ("", action)
        )  # fmt: skip


@dataclass(frozen=True)
class Request:
    """One that was answered, or cut. `at`: when it came, monotonic seconds."""

    at: float
    method: str
    path: str
    action: str
    status: int


class Proxy:
    """One proxy. `faults` and `requests` may be used from any thread.

    Args:
        upstream: http://… or https://… on the loopback.
        pki: directory with apiserver.crt and apiserver.key to serve TLS with, and ca.crt to check the server by.
        rewrite: changes the body of an answer: (action, body) -> body.
        before: told of each request before it is passed on: (action, body).
    """

    def __init__(
        self,
        upstream: str,
        *,
        pki: Path | None = None,
        rewrite: Callable[[str, bytes], bytes] | None = None,
        before: Callable[[str, bytes], None] | None = None,
    ) -> None:
        self.upstream, self.pki, self.rewrite, self.before = upstream, pki, rewrite, before
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.away = False
        self.allowed: Callable[[str], bool] | None = None
        """AWS: whether a call such as `eks:DescribeCluster` is allowed; None allows every one."""
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        if pki is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pki / "apiserver.crt", pki / "apiserver.key")
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.url = f"{'https' if pki else 'http'}://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, name="proxy", daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.cut_all()

    # -- faults ---------------------------------------------------------------------------------

    @contextmanager
    def broken(self, *faults: Fault) -> Iterator[None]:
        """These faults as long as the block lasts."""
        with self._lock:
            self.faults += faults
        try:
            yield
        finally:
            with self._lock:
                self.faults = [f for f in self.faults if not any(f is g for g in faults)]
            if any(f.silent for f in faults):
                self.cut_all()

    def fault(self, method: str, path: str, action: str) -> Fault | None:
        """The first fault that strikes this request; it is counted."""
        with self._lock:
            for fault in self.faults:
                if not fault.names(method, path, action):
                    continue
                fault.seen += 1
                if fault.seen > fault.skip and (fault.times is None or fault.used < fault.times):
                    fault.used += 1
                    return fault
        return None

    def there(self, fault: Fault) -> bool:
        return any(f is fault for f in self.faults)

    @contextmanager
    def gone(self) -> Iterator[None]:
        """Nobody answers as long as the block lasts, and every connection ends at its beginning."""
        self.away = True
        self.cut_all()
        try:
            yield
        finally:
            self.away = False

    def cut_all(self) -> None:
        """End every connection at once."""
        with self._lock:
            found, self._open = self._open, set()
        for connection in found:
            _reset(connection)

    # -- of the handlers ------------------------------------------------------------------------

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)

    def note(self, at: float, method: str, path: str, action: str, status: int) -> None:
        with self._lock:
            self.requests.append(Request(at, method, path, action, status))

    def connect(self) -> http.client.HTTPConnection:
        host, port = self.upstream.split("//")[1].split(":")
        if self.pki is None:
            return http.client.HTTPConnection(host, int(port), timeout=60)
        context = ssl.create_default_context(cafile=str(self.pki / "ca.crt"))
        return http.client.HTTPSConnection(host, int(port), timeout=120, context=context)


def _reset(connection: socket.socket) -> None:
    """As if the other side's machine had gone: a reset, not an orderly end."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    proxy: Proxy

    def handle_error(self, *_: Any) -> None:
        """Connections that break are what this is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: Any) -> None:
        """Nobody reads it: `Proxy.requests` has them all."""

    def setup(self) -> None:
        super().setup()
        self.server.proxy.opened(self.connection)
        self._upstream: http.client.HTTPConnection | None = None

    def finish(self) -> None:
        if self._upstream is not None:
            self._upstream.close()
        super().finish()

    def _handle(self) -> None:
        proxy, self._came = self.server.proxy, time.monotonic()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        action = _action(self.headers, self.command, self.path, body) if proxy.pki is None else ""
        if proxy.away:
            self._cut()
            return
        if proxy.allowed is not None and not self._allowed(proxy.allowed, action):
            return
        fault = proxy.fault(self.command, self.path, action)
        if fault is not None and fault.delay:
            time.sleep(fault.delay)
        if fault is not None and self._struck(fault, action, body):
            return
        if proxy.before is not None:
            proxy.before(action, body)
        answer = self._ask(body)
        if fault is not None and fault.cut == "after":
            answer.read()
            proxy.note(self._came, self.command, self.path, action, 0)
            self._cut()
            return
        proxy.note(self._came, self.command, self.path, action, answer.status)
        if "watch=" in self.path:
            self._stream(answer)
        else:
            data = answer.read()
            if proxy.rewrite is not None:
                data = proxy.rewrite(action, data)
            kept = {k: v for k, v in answer.getheaders() if k.lower() in ("content-type", "retry-after")}
            self._reply(answer.status, data, kept)

    def _allowed(self, allowed: Callable[[str], bool], action: str) -> bool:
        """Whether IAM lets the call through; otherwise it is answered as AWS would."""
        scope = re.search(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/", self.headers.get("Authorization", ""))
        call = f"{scope[1] if scope else ''}:{action}"
        if allowed(call):
            return True
        text = f"User is not authorized to perform: {call}"
        if call.startswith("eks:"):
            kind, data = "application/json", json.dumps({"message": text}).encode()
            headers = {"x-amzn-errortype": "AccessDeniedException"}
        else:
            kind, headers = "text/xml", {}
            error = f"<Error><Code>AccessDenied</Code><Message>{text}</Message></Error>"
            whole = (
                "<Response><Errors>{}</Errors></Response>"
                if call.startswith("ec2:")
                else "<ErrorResponse>{}</ErrorResponse>"
            )
            data = whole.format(error).encode()
        self.server.proxy.note(self._came, self.command, self.path, action, 403)
        self._reply(403, data, {"Content-Type": kind, **headers})
        return False

    def _struck(self, fault: Fault, action: str, body: bytes) -> bool:
        """Do what the fault says; False when the request goes on to the server all the same."""
        proxy = self.server.proxy
        if fault.cut == "before":
            proxy.note(self._came, self.command, self.path, action, 0)
            self._cut()
        elif fault.silent:
            proxy.note(self._came, self.command, self.path, action, 200)
            self._head(200)
            while proxy.there(fault) and not proxy.away:
                time.sleep(0.05)
            self._cut()
        elif fault.event is not None:
            proxy.note(self._came, self.command, self.path, action, 200)
            self._head(200)
            self._chunk(json.dumps(fault.event).encode() + b"\n")
            self._chunk(b"")
        elif fault.status:
            proxy.note(self._came, self.command, self.path, action, fault.status)
            kind = "application/json" if fault.body or proxy.pki is not None else "text/xml"
            data = json.dumps(fault.body).encode()
            self._reply(fault.status, data, {"Content-Type": kind, **fault.headers})
        else:
            return False
        return True

    def _ask(self, body: bytes) -> http.client.HTTPResponse:
        headers = {k: v for k, v in self.headers.items() if k.lower() in PASSED_ON}
        for attempt in (1, 2):
            if self._upstream is None:
                self._upstream = self.server.proxy.connect()
            try:
                self._upstream.request(self.command, self.path, body or None, headers)
                return self._upstream.getresponse()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self._upstream.close()  # an idle connection that the server has ended meanwhile
                self._upstream = None
                if attempt == 2:
                    raise
        raise AssertionError

    def _stream(self, answer: http.client.HTTPResponse) -> None:
        self._head(answer.status)
        while chunk := answer.read1(1 << 16):
            self._chunk(chunk)
        self._chunk(b"")
        self._upstream = None

    def _head(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _reply(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _cut(self) -> None:
        self.close_connection = True
        _reset(self.connection)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _handle  # noqa: N815


def _action(headers: Any, method: str, path: str, body: bytes) -> str:
    """The operation of an AWS request: in the form's Action, or told by method and path (EKS)."""
    found = re.search(rb"(?:^|&)Action=([A-Za-z]+)", body)
    if found:
        return found[1].decode()
    if re.fullmatch(r"/clusters/[^/]+", path) and method == "GET":
        return "DescribeCluster"
    if re.fullmatch(r"/clusters/[^/]+/node-groups/[^/]+", path) and method == "GET":
        return "DescribeNodegroup"
    if path.endswith("/update-config") and "/node-groups/" in path:
        return "UpdateNodegroupConfig"
    return str(headers.get("X-Amz-Target") or path)
