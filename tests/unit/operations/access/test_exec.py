"""Commands in containers and what pods serve, over TLS that only the cluster's own authority signed, as on EKS."""

import base64
import hashlib
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from kubernetes import client

from kube.transport import KubeError
from operations.access.connection import Api
from sandbox import pki

STDOUT, ERROR = 1, 3
SAID = b'[{"id": 1}]'


class _Kubelet(BaseHTTPRequestHandler):
    """Answers an exec with one frame on standard output and the status of success."""

    asked: list[tuple[str, str]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("authorization", "")))
        if self.path.endswith("/metrics"):
            self.send_response(200 if "cilium-1:" in self.path else 503)
            self.end_headers()
            self.wfile.write(b"cilium_up 1\n")
            self.close_connection = True
            return
        salted = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        accepted = hashlib.sha1(salted.encode(), usedforsecurity=False)
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(accepted.digest()).decode())
        self.send_header("Sec-WebSocket-Protocol", "v4.channel.k8s.io")
        self.end_headers()
        for channel, data in ((STDOUT, SAID), (ERROR, b'{"status": "Success"}')):
            self.wfile.write(bytes([0x82, len(data) + 1, channel]) + data)
        self.wfile.write(bytes([0x88, 2, 0x03, 0xE8]))
        self.wfile.flush()
        self.rfile.read(6)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    pki.create(tmp_path / "pki", apiserver="https://127.0.0.1:1", service_address="10.96.0.1")
    found = ThreadingHTTPServer(("127.0.0.1", 0), _Kubelet)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pki" / "apiserver.crt", tmp_path / "pki" / "apiserver.key")
    found.socket = context.wrap_socket(found.socket, server_side=True)
    _Kubelet.asked = []
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{found.server_port}"
    finally:
        found.shutdown()
        found.server_close()
        thread.join()


def api(server: str, authority: str) -> Api:
    settings = client.Configuration()
    settings.host, settings.ca_cert_data = server, authority
    settings.api_key = {"BearerToken": "t0ken"}
    settings.api_key_prefix = {"BearerToken": "Bearer"}
    return Api(client.ApiClient(settings))


def test_a_command_runs_where_only_the_clusters_own_authority_is_trusted(server: str, tmp_path: Path):
    trusting = api(server, (tmp_path / "pki" / "ca.crt").read_text())
    asked = ("kube-system", "cilium-1", "cilium-agent", ("cilium-dbg", "status"))
    assert trusting.execute(*asked, seconds=5) == SAID.decode()
    ((path, sent),) = _Kubelet.asked
    assert path.startswith("/api/v1/namespaces/kube-system/pods/cilium-1/exec?")
    assert sent == "Bearer t0ken"
    assert trusting.api.configuration.ca_cert_data, "the settings of other requests stay as they are"


def test_what_a_pod_serves_is_read_through_the_api_server(server: str, tmp_path: Path):
    trusting = api(server, (tmp_path / "pki" / "ca.crt").read_text())
    path = "/api/v1/namespaces/kube-system/pods/cilium-{}:9962/proxy/metrics"
    assert trusting.text(path.format(1), seconds=5) == "cilium_up 1\n"
    assert _Kubelet.asked == [(path.format(1), "Bearer t0ken")]
    with pytest.raises(KubeError, match="503"):
        trusting.text(path.format(2), seconds=5)


def test_a_server_of_another_authority_is_not_believed(server: str, tmp_path: Path):
    pki.create(tmp_path / "other", apiserver="https://127.0.0.1:1", service_address="10.96.0.1")
    mistaken = api(server, (tmp_path / "other" / "ca.crt").read_text())
    with pytest.raises(KubeError, match="cannot run cilium-dbg in kube-system/cilium-1"):
        mistaken.execute("kube-system", "cilium-1", "cilium-agent", ("cilium-dbg",), seconds=5)
    assert _Kubelet.asked == []
