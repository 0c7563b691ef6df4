"""Readiness and metrics over HTTP, on a loopback address only."""

import http.server
import ipaddress
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Server:
    """Answers /readyz, /healthz and /metrics in threads of its own.

    Args:
        listen: "ADDRESS:PORT", a loopback address.
        answers: path -> what answers: text for 200, or (status, text).
    """

    def __init__(self, listen: str, answers: Mapping[str, Callable[[], str | tuple[int, str]]]) -> None:
        host, _, port = listen.rpartition(":")
        host = host.strip("[]")

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = 5

            def do_GET(self) -> None:
                answer = answers.get(self.path.partition("?")[0])
                found = answer() if answer else (404, "not here\n")
                status, text = (200, found) if isinstance(found, str) else found
                data = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", _TYPE)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class _Server(http.server.ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
            daemon_threads = True

        self._server = _Server((host, int(port)), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="answers", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
