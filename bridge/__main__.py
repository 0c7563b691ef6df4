"""`python -m bridge`: run the bridge, or take it out of a cluster."""

import argparse
import logging
import os
import secrets
import signal
import socket
import sys
from pathlib import Path
from typing import Final

from bridge.names import NAME
from bridge.options import InvalidOptions, Options
from bridge.process.leave import come_back, leave
from bridge.process.service import Refused, Service
from kube.in_cluster import InCluster
from kube.transport import KubeError

_FAILED: Final = 1
_USAGE: Final = 64


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 ended as told, 1 refused or failed, 64 usage."""
    parser = argparse.ArgumentParser(prog="bridge", description=__doc__)
    parser.add_argument("command", nargs="?", choices=("run", "leave", "come-back"), default="run")
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
        transport = _transport(args)
        if args.command == "run":
            return _run(transport, options, args.name or f"{socket.gethostname()}_{secrets.token_hex(4)}")
        if args.command == "come-back":
            come_back(transport, options)
            return 0
        left = leave(transport, options, say=lambda text: print(text, file=sys.stderr))
    except (KubeError, Refused, OSError) as error:
        print(f"{error}", file=sys.stderr)
        return _FAILED
    print(f"{left.deleted} endpoints deleted")
    for name in left.kept:
        print(f"kept {name}: an agent has taken it over")
    if left.unused:
        print(f"identities that nobody names any more, harmless: {', '.join(left.unused)}")
    return 0


def _transport(args: argparse.Namespace) -> InCluster:
    if args.server is None:
        return InCluster.found(NAME)
    if args.token is None or args.ca is None:
        raise KubeError(0, "--server goes with --token and --ca")
    return InCluster(args.server, token=args.token, authority=args.ca, agent=NAME)


def _run(transport: InCluster, options: Options, name: str) -> int:
    service = Service(transport, options, name)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    service.run()
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Watches wait in threads for bytes that may take minutes to come: nothing of theirs is worth waiting for.
    os._exit(code)
