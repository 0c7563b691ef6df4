"""The process of a plugin: a gRPC server that lives as long as the engine that started it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any, NoReturn

GRPC_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


def run_until_orphaned(server: Any, stop: Callable[[], None]) -> NoReturn:
    """Starts a server on 127.0.0.1, prints its port as the engine wants it, and ends with its parent.

    SIGINT and SIGTERM end the process at once: the engine sends them when everything is done and waits for the end.
    """
    parent = os.getppid()

    def leave(*_: object) -> NoReturn:
        stop()
        os._exit(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    while os.getppid() == parent:  # a killed engine tells nobody
        time.sleep(0.5)
    leave()
