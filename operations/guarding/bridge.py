"""`python -m operations bridge`: called by deploys, and by hand where one died.

The bridge itself runs in the cluster (`bridge/`); what it is told there is what is asked here.
"""

import argparse
from typing import Any

from bridge.options import Options
from bridge.process.leave import come_back, leave
from migration.names import BRIDGE, SYSTEM_NAMESPACE
from operations.access.context import Context
from operations.arguments import acts
from operations.evidence import EXIT_CODES, UnknownError, Verdict
from operations.say import say


def fill(command: Any) -> None:
    """The arguments."""
    texts = {
        "leave": "the bridge writes no more, and the endpoints that it wrote are deleted",
        "come-back": "the bridge may write again",
    }
    acts(command, texts, renamed=True)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0: done; 2: it cannot be told."""
    context = Context.load(args.stack, cluster=args.cluster)
    transport, options = context.kube.transport, Options(namespace=SYSTEM_NAMESPACE)
    if args.act == "come-back":
        come_back(transport, options)
        return EXIT_CODES[Verdict.PASSED]
    if context.kube.crd("ciliumendpoints.cilium.io") is None:
        say(f"Cilium's endpoints are not served here: there is nothing of {BRIDGE}'s to take away")
        return EXIT_CODES[Verdict.PASSED]
    try:
        left = leave(transport, options, say=say)
    except ValueError as error:  # an object of a form that nobody foresaw
        raise UnknownError(str(error), "Look at the CiliumEndpoints with the label eks-cilium.io/bridge") from None
    say(f"{left.deleted} endpoints deleted")
    for name in left.kept:
        say(f"kept {name}: an agent has taken it over")
    if left.unused:
        say(f"{len(left.unused)} identities that nobody names any more, harmless: Cilium's operator collects them")
    return EXIT_CODES[Verdict.PASSED]
