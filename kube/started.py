"""How a program of ours is started in a cluster: its arguments, its way to the API server, its end."""

import argparse
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NoReturn, Protocol

from kube.in_cluster import InCluster
from kube.transport import KubeError

FAILED: Final = 1
USAGE: Final = 64


class Runs(Protocol):
    """A program that works until it is stopped."""

    def run(self) -> None: ...

    def stop(self) -> None: ...


def arguments(prog: str, about: str | None, commands: Sequence[str], argv: list[str] | None) -> argparse.Namespace:
    """The command line, read; what is logged goes to stderr from here on.

    Args:
        commands: that there are; the first is meant where none is named.
        argv: None: that of this process.
    """
    parser = argparse.ArgumentParser(prog=prog, description=about)
    parser.add_argument("command", nargs="?", choices=commands, default=commands[0])
    parser.add_argument("--options", required=True, type=Path, help="JSON file that the stage writes")
    parser.add_argument("--server", help="https://HOST:PORT of the API server (left out: of this pod's cluster)")
    parser.add_argument("--token", type=Path, help="file with the service account's token")
    parser.add_argument("--ca", type=Path, help="file with the certificate of the API server's authority")
    parser.add_argument("--name", help="name of this replica (left out: of its host, and something random)")
    args = parser.parse_args(argv)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    return args


def transport(args: argparse.Namespace, agent: str) -> InCluster:
    """The way to the API server that the arguments name.

    Args:
        agent: how requests name themselves.

    Raises:
        KubeError: they name none.
    """
    if args.server is None:
        return InCluster.found(agent)
    if args.token is None or args.ca is None:
        raise KubeError(0, "--server goes with --token and --ca")
    return InCluster(args.server, token=args.token, authority=args.ca, agent=agent)


def name(args: argparse.Namespace) -> str:
    """Of this replica, one of its kind."""
    return args.name or f"{socket.gethostname()}_{secrets.token_hex(4)}"


def until_stopped(service: Runs) -> None:
    """Run until somebody asks this process to end. Raises what `run` raises."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    service.run()


def end(main: Callable[[], int]) -> NoReturn:
    """Run `main` and end the process with its code."""
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Watches wait in threads for bytes that may take minutes to come: nothing of theirs is worth waiting for.
    os._exit(code)
