"""A server that has everything imported and forks a plugin when the engine wants one.

Importing the provider SDKs takes four to five seconds of CPU, in every command. Here it is done once for a sandbox::

    python -m sandbox.plugins.warm --socket PATH

A fork belongs to the shim that asked for it (see `shim`): it has the shim's files, directory and environment, and ends
when the shim's connection ends. The server ends on SIGTERM, and by itself when the plugins' source has changed.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

# What programs and plugins use; a name that is not installed here is left out.
PACKAGES = (
    "boto3",
    "botocore.session",
    "google.protobuf.struct_pb2",
    "grpc",
    "kubernetes",
    "pulumi",
    "pulumi.runtime.proto",
    "pulumi_aws.autoscaling",
    "pulumi_aws.ec2",
    "pulumi_aws.eks",
    "pulumi_aws.iam",
    "pulumi_aws.lb",
    "pulumi_command.local",
    "pulumi_eks",
    "pulumi_kubernetes.admissionregistration.v1",
    "pulumi_kubernetes.apiextensions",
    "pulumi_kubernetes.apps.v1",
    "pulumi_kubernetes.batch.v1",
    "pulumi_kubernetes.core.v1",
    "pulumi_kubernetes.helm.v3",
    "pulumi_kubernetes.policy.v1",
    "pulumi_kubernetes.rbac.v1",
    "pydantic",
    "yaml",
    "sandbox.plugins.command",
    "sandbox.plugins.kubernetes.helm_release",
    "sandbox.plugins.kubernetes.provider",
    "sandbox.plugins.language_python",
    "sandbox.plugins.aws.provider",
    "sandbox.plugins.eks.provider",
)
SOURCE = Path(__file__).parent


def newest(directory: Path = SOURCE) -> float:
    """When the plugins' source was changed last, in seconds since the epoch."""
    return max(path.stat().st_mtime for path in directory.rglob("*.py"))


def serve(path: Path) -> None:
    """Imports, then listens until SIGTERM, or until the source changes."""
    started = time.time()
    gc.disable()
    for name in PACKAGES:
        with contextlib.suppress(ImportError):
            # The SDKs' modules are lazy: they load when something is looked up in them.
            getattr(importlib.import_module(name), "anything", None)
    gc.freeze()
    if threading.active_count() > 1:
        raise RuntimeError(f"a fork would lose threads that an import has started: {threading.enumerate()}")
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(64)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the forks
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        while True:
            connection, _ = listener.accept()
            with connection:
                if newest() > started:
                    return  # the shim then runs the plugin itself
                with contextlib.suppress(OSError, ValueError):
                    _answer(connection, listener)
    finally:
        path.unlink(missing_ok=True)


def _answer(connection: socket.socket, listener: socket.socket) -> None:
    connection.settimeout(5)
    size, files, _, _ = socket.recv_fds(connection, 10, 3)
    try:
        request = json.loads(_exactly(connection, int(size)))
        if os.fork() == 0:
            listener.close()
            _become(connection, request, files)
    finally:
        for file in files:
            os.close(file)


def _exactly(connection: socket.socket, size: int) -> bytes:
    text = b""
    while len(text) < size:
        part = connection.recv(size - len(text))
        if not part:
            raise ValueError("the connection ended within a request")
        text += part
    return text


def _become(connection: socket.socket, request: dict[str, Any], files: list[int]) -> NoReturn:
    """The rest of a fork's life: it is the plugin now."""
    try:
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        for target, file in enumerate(files):
            os.dup2(file, target)
            os.close(file)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["cwd"])
        sys.argv = request["argv"]
        os.setsid()
        connection.settimeout(None)
        connection.sendall(b"y")
        main: Callable[[], None] = importlib.import_module(request["module"]).main
        threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
        main()
    except SystemExit:
        pass
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _end_with(connection: socket.socket) -> None:
    """Ends this process as the engine would, when the shim is gone."""
    with contextlib.suppress(OSError):
        connection.recv(1)
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--socket", type=Path, required=True, help="path of the socket, below 100 characters")
    serve(parser.parse_args().socket.absolute())


if __name__ == "__main__":
    main()
