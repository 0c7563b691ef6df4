"""`python -m bridge`: run the bridge, or take it out of a cluster."""

import sys

from bridge.names import NAME
from bridge.options import InvalidOptions, Options
from bridge.process.leave import come_back, leave
from bridge.process.service import Refused, Service
from kube import started
from kube.transport import KubeError


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 ended as told, 1 refused or failed, 64 usage."""
    args = started.arguments("bridge", __doc__, ("run", "leave", "come-back"), argv)
    try:
        options = Options.load(args.options.read_text(encoding="utf-8"))
    except (InvalidOptions, OSError, UnicodeDecodeError) as error:
        print(f"{error}", file=sys.stderr)
        return started.USAGE
    try:
        transport = started.transport(args, NAME)
        if args.command == "run":
            started.until_stopped(Service(transport, options, started.name(args)))
            return 0
        if args.command == "come-back":
            come_back(transport, options)
            return 0
        left = leave(transport, options, say=lambda text: print(text, file=sys.stderr))
    except (KubeError, Refused, OSError) as error:
        print(f"{error}", file=sys.stderr)
        return started.FAILED
    print(f"{left.deleted} endpoints deleted")
    for name in left.kept:
        print(f"kept {name}: an agent has taken it over")
    if left.unused:
        print(f"identities that nobody names any more, harmless: {', '.join(left.unused)}")
    return 0


if __name__ == "__main__":
    started.end(main)
