"""Readiness and metrics over HTTP, on a loopback address only."""

import http.server
import ipaddress
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from bridge.step import Step

_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def exposition(step: Step, *, late: str, writes: bool, counts: Mapping[str, int]) -> str:
    """The metrics in Prometheus' text format.

    Args:
        late: why the bridge is out of step; empty while it is not.
        writes: whether this replica writes.
        counts: writes by kind, and those that failed as "failed".
    """
    lines = []
    for name, help_text, value in (
        (
            "in_step",
            "1 while every pod of a legacy node has its identity, or is late by less than the limit.",
            int(not late),
        ),
        ("lag_seconds", "For how long the oldest thing has been wrong.", round(step.lag, 3)),
        ("behind", "Endpoints that are missing, not right, or should be gone.", step.behind),
        ("pods_without_identity", "Pods of legacy nodes without their own identity.", len(step.without)),
        ("conflicts", "What stays wrong until somebody does something.", len(step.conflicts)),
        ("leader", "1 on the replica that writes.", int(writes)),
    ):
        lines += [f"# HELP eks_cilium_bridge_{name} {help_text}", f"# TYPE eks_cilium_bridge_{name} gauge"]
        lines.append(f"eks_cilium_bridge_{name} {value}")
    lines += [
        "# HELP eks_cilium_bridge_writes_total Requests that changed something, by kind; failed ones as such.",
        "# TYPE eks_cilium_bridge_writes_total counter",
        *(f'eks_cilium_bridge_writes_total{{kind="{kind}"}} {count}' for kind, count in sorted(counts.items())),
    ]
    return "\n".join(lines) + "\n"


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
