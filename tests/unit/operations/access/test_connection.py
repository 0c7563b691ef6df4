"""The one transport of the commands, over a server that refuses, cuts and is not what it should be."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from botocore.exceptions import NoCredentialsError
from kubernetes import client

from kube.transport import KubeError
from operations.access.connection import Api


class Odd(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        match self.path:
            case "/busy":
                self._answer(429, b'{"message": "later"}', ("Retry-After", "2"))
            case "/login":
                self._answer(200, b"<html>")
            case "/cut":
                self._answer(200, b"half", ("Content-Length", "9"))
            case _:
                self._answer(200, b'{"kind": "Pod"}')

    def _answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for header in headers:
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def api() -> Iterator[Api]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    settings = client.Configuration()
    settings.host, settings.retries = f"http://127.0.0.1:{server.server_port}", 1
    yield Api(client.ApiClient(settings))
    server.shutdown()
    server.server_close()


def test_a_request_never_raises_and_tells_what_came(api: Api):
    assert api.send("GET", "/pod").value() == {"kind": "Pod"}
    assert api.send("GET", "/busy").retry_after == 2.0
    assert "not an API server: 200 OK" in api.send("GET", "/login").text
    cut = api.send("GET", "/cut", seconds=2)
    assert (cut.status, "does not answer" in cut.text) == (0, True)


def test_text_and_streams_say_what_is_wrong(api: Api):
    assert api.text("/login", seconds=2) == "<html>"
    with pytest.raises(KubeError, match="429 Too Many Requests: later"):
        api.text("/busy", seconds=2)
    with pytest.raises(KubeError, match="does not answer") as caught:
        api.text("/cut", seconds=2)
    assert caught.value.status == 0
    stream = api.stream("/cut", silence=2)
    assert stream.status == 200
    with pytest.raises(OSError, match="does not answer"):
        list(stream.chunks())
    stream.close()


def test_credentials_that_have_run_out_are_named(api: Api, monkeypatch: pytest.MonkeyPatch):
    def none(_: object) -> None:
        raise NoCredentialsError

    api.api.configuration.refresh_api_key_hook = none
    api.api.configuration.api_key["BearerToken"] = ""
    assert api.send("GET", "/pod").text == "no token for the API server: Unable to locate credentials"
    with pytest.raises(OSError, match="no token"):
        api.stream("/pod", silence=1)


def test_more_requests_at_once_are_of_the_same_cluster(api: Api):
    wide = api.wide(33)
    assert wide.api.configuration.host == api.api.configuration.host
    assert wide.api.rest_client.pool_manager.connection_pool_kw["maxsize"] == 33
