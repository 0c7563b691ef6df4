"""`python -m prover`: prove again after each change in a cluster, and publish the verdict there."""

import argparse
import logging
import os
import secrets
import signal
import socket
import sys
from pathlib import Path
from typing import Final

from kube.in_cluster import InCluster
from kube.transport import KubeError
from prover.names import NAME
from prover.options import InvalidOptions, Options
from prover.process.service import Service

_FAILED: Final = 1
_USAGE: Final = 64


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 ended as told, 1 failed, 64 usage."""
    parser = argparse.ArgumentParser(prog="prover", description=__doc__)
    parser.add_argument("command", nargs="?", choices=("run",), default="run")
    parser.add_argument("--options", required=True, type=Path, help="JSON file that the stage writes")
    parser.add_argument("--server", help="https://HOST:PORT of the API server (left out: of this pod's cluster)")
    parser.add_argument("--token", type=Path, help="file with the service account's token")
    parser.add_argument("--ca", type=Path, help="file with the certificate of the API server's authority")
    parser.add_argument("--name", help="name of this replica (left out: of its host, and something random)")
    args = parser.parse_args(argv)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        options = Options.load(args.options.read_text(encoding="utf-8"))
    except (InvalidOptions, OSError, UnicodeDecodeError) as error:
        print(f"{error}", file=sys.stderr)
        return _USAGE
    try:
        service = Service(_transport(args), options, args.name or f"{socket.gethostname()}_{secrets.token_hex(4)}")
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: service.stop())
        service.run()
    except (KubeError, OSError) as error:
        print(f"{error}", file=sys.stderr)
        return _FAILED
    return 0


def _transport(args: argparse.Namespace) -> InCluster:
    if args.server is None:
        return InCluster.found(NAME)
    if args.token is None or args.ca is None:
        raise KubeError(0, "--server goes with --token and --ca")
    return InCluster(args.server, token=args.token, authority=args.ca, agent=NAME)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Watches wait in threads for bytes that may take minutes to come: nothing of theirs is worth waiting for.
    os._exit(code)
