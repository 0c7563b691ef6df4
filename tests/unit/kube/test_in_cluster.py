"""A service account's way to an API server, against a small HTTPS server: tokens, authorities, silence, broken pipes."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kube.in_cluster import InCluster
from kube.transport import KubeError


class Server:
    """Answers what `replies` says, in turn, and remembers what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[tuple[str, str, str, bytes]] = []
        self.replies: list[Any] = []
        self.connections = 0
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                server.connections += 1
                super().setup()

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                token = self.headers["Authorization"]
                server.asked.append((self.command, self.path, token, body))
                reply = server.replies.pop(0) if server.replies else b"{}"
                if callable(reply):
                    reply(self)
                    return
                status, data = reply if isinstance(reply, tuple) else (200, reply)
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return self._any
                raise AttributeError(name)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority(folder))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        (folder / "token").write_text("first\n")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def client(self, ca: str = "ca.crt") -> InCluster:
        return InCluster(self.url, token=self.folder / "token", authority=self.folder / ca, agent="test")


def authority(folder: Path, name: str = "ca") -> tuple[str, str]:
    """(certificate, key) of a server that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(folder / f"{name}.crt"), str(folder / f"{name}.key")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path)
    yield found
    found.close()


def test_requests_go_over_one_connection_as_json_with_the_token_of_the_moment(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    now = [100.0]
    monkeypatch.setattr("kube.in_cluster.time.monotonic", lambda: now[0])
    client = server.client()
    server.replies = [b'{"kind": "Pod"}', (409, b'{"message": "taken"}'), b"x" * 3_000_000, b""]
    assert client.send("GET", "/api/v1/pods?limit=1").value() == {"kind": "Pod"}
    assert client.send("POST", "/x", body={"a": [1]}).text == "409 Conflict: taken"
    assert client.send("GET", "/big").status == 0  # no JSON: what answers is not an API server
    (server.folder / "token").write_text("second")
    now[0] += 2
    assert client.send("DELETE", "/x").ok
    assert [(m, p, t) for m, p, t, _ in server.asked] == [
        ("GET", "/api/v1/pods?limit=1", "Bearer first"),
        ("POST", "/x", "Bearer first"),
        ("GET", "/big", "Bearer first"),
        ("DELETE", "/x", "Bearer second"),
    ]
    assert server.asked[1][3] == b'{"a":[1]}'
    assert server.connections == 1
    now[0] += 60  # so long idle, a server may have closed it
    assert client.send("GET", "/y").ok
    assert server.connections == 2


def test_another_authority_is_no_answer(server: Server):
    authority(server.folder, "other")
    found = server.client("other.crt").send("POST", "/x", body={})
    assert (found.ok, found.status) == (False, 0)
    assert "certificate verify failed" in found.text
    assert server.asked == []


def test_whatever_breaks_is_an_answer_without_a_status_and_the_next_request_works(server: Server):
    client = server.client()
    server.replies = [
        lambda handler: handler.connection.shutdown(socket.SHUT_RDWR),
        lambda handler: (
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
            handler.connection.shutdown(socket.SHUT_RDWR),
        ),
        lambda handler: handler.wfile.write(b"who are you?\r\n\r\n"),
        lambda _handler: time.sleep(1),
    ]
    while len(server.replies) > 1:
        assert client.send("GET", "/x", seconds=5).status == 0
    begun = time.monotonic()
    assert "timed out" in client.send("GET", "/x", seconds=0.3).text
    assert time.monotonic() - begun < 0.9
    assert client.send("GET", "/x").ok


def test_a_server_that_is_not_there_and_a_token_that_is_not_there_are_answers_too(server: Server):
    (server.folder / "token").unlink()
    assert "No such file" in server.client().send("GET", "/x").text
    (server.folder / "token").write_text("t")
    client = InCluster(
        "https://127.0.0.1:1", token=server.folder / "token", authority=server.folder / "ca.crt", agent="t"
    )
    assert client.send("GET", "/x").status == 0
    with pytest.raises(OSError, match="refused"):
        client.stream("/x", silence=1)


def test_a_watch_comes_bit_by_bit_and_silence_cuts_it(server: Server):
    quiet = threading.Event()

    def watch(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        handler.wfile.write(b"6\r\nsecond\r\n")
        quiet.wait(10)

    server.replies = [watch]
    stream = server.client().stream("/watch", silence=0.5)
    got = b""
    chunks = stream.chunks()
    while got != b"firstsecond":
        got += next(chunks)
    assert stream.status == 200
    with pytest.raises(OSError, match="timed out"):
        next(chunks)
    quiet.set()
    stream.close()


def test_outside_of_a_pod_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(KubeError, match=r"this runs in no pod\. Say --server, --token and --ca"):
        InCluster.found("test")
    with pytest.raises(KubeError, match="no https address"):
        InCluster("http://x", token=Path("t"), authority=Path("c"), agent="test")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    assert InCluster.found("test")._host == "fd00::1"
