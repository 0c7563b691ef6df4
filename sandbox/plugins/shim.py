"""What the plugin executables start: a fork of the warm server when there is one, else the plugin itself.

Standard library only, and little of it: this runs for every plugin of every command.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys

SOCKET = "EKS_CILIUM_SANDBOX_PLUGINS"
"""Environment variable: path of the warm server's socket; without it, or without an answer, plugins start cold."""


def main(module: str) -> None:
    """Runs ``module.main()``, here or in the warm server, and ends when it does (or when the engine says so)."""
    path = os.environ.get(SOCKET)
    if not (path and _forward(path, module)):
        gc.disable()  # importing makes a million objects that stay; collecting them costs a fifth of it
        importlib.import_module(module).main()


def _forward(path: str, module: str) -> bool:
    """Has the plugin run by the warm server with our files and surroundings; False when nobody answers."""
    import json  # noqa: PLC0415 only here
    import socket  # noqa: PLC0415

    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(path)
        request = {"module": module, "argv": sys.argv, "cwd": os.getcwd(), "environment": dict(os.environ)}
        socket.send_fds(connection, [b"%10d" % len(text := json.dumps(request).encode())], [0, 1, 2])
        connection.sendall(text)
        if connection.recv(1) != b"y":  # the server runs other code than this
            return False
    except OSError:
        return False

    def leave(*_: object) -> None:
        os._exit(0)  # which closes the connection, and so ends the plugin

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    parent = os.getppid()
    connection.settimeout(0.5)
    while os.getppid() == parent:
        try:
            if not connection.recv(1):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return True
