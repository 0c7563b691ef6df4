"""`python -m prover`: prove again after each change in a cluster, and publish the verdict there."""

import sys

from kube import started
from kube.transport import KubeError
from prover.names import NAME
from prover.options import InvalidOptions, Options
from prover.process.service import Service


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 ended as told, 1 failed, 64 usage."""
    args = started.arguments("prover", __doc__, ("run",), argv)
    try:
        options = Options.load(args.options.read_text(encoding="utf-8"))
    except (InvalidOptions, OSError, UnicodeDecodeError) as error:
        print(f"{error}", file=sys.stderr)
        return started.USAGE
    try:
        started.until_stopped(Service(started.transport(args, NAME), options, started.name(args)))
    except (KubeError, OSError) as error:
        print(f"{error}", file=sys.stderr)
        return started.FAILED
    return 0


if __name__ == "__main__":
    started.end(main)
