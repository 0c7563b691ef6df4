"""Figures of a run for Prometheus, on the loopback, as long as the run lasts."""

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from operations.refresh.run.progress import Snapshot

PREFIX: Final = "eks_cilium_refresh"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
GAUGES: Final[Mapping[str, tuple[str, Callable[[Snapshot], float]]]] = {
    "nodes_total": ("Old nodes when the refresh began.", lambda s: s.total),
    "nodes_done": ("Old nodes that are gone.", lambda s: s.done),
    "nodes_leaving": ("Old nodes on their way out.", lambda s: s.active),
    "new_nodes_ready": ("New nodes that can hold workloads.", lambda s: s.new_ready),
    "new_nodes_wanted": ("New nodes at the end.", lambda s: s.new_wanted),
    "evictions": ("Pods that this run moved.", lambda s: s.evicted),
    "seconds": ("Age of this run.", lambda s: round(s.seconds, 1)),
    "waiting": ("Things that are waited for.", lambda s: len(s.waits)),
}
"""Name without prefix → help text, and the figure of a snapshot."""


def exposition(snapshot: Snapshot | None) -> str:
    """The text format of Prometheus; empty before the first snapshot."""
    lines = []
    if snapshot is not None:
        for name, (text, figure) in GAUGES.items():
            lines += [
                f"# HELP {PREFIX}_{name} {text}",
                f"# TYPE {PREFIX}_{name} gauge",
                f"{PREFIX}_{name} {figure(snapshot)}",
            ]
    return "".join(f"{line}\n" for line in lines)


class Metrics:
    """Serves the newest snapshot at http://127.0.0.1:PORT/metrics.

    Args:
        port: 0 takes a free one; see `port`.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, port: int) -> None:
        self.newest: Snapshot | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                data = exposition(outer.newest).encode()
                self.send_response(200)
                self.send_header("Content-Type", CONTENT_TYPE)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Requests are nobody's concern."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    def beside(self, show: Callable[[Snapshot], None]) -> Callable[[Snapshot], None]:
        """What shows a snapshot to people, and keeps it to be served."""

        def both(snapshot: Snapshot) -> None:
            self.newest = snapshot
            show(snapshot)

        return both

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
