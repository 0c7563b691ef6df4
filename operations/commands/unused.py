"""`unused`: whether a part of the cluster is needed by nothing, asked by the engine right before it deletes the part.

Between the gate of a removal and the deletion lie minutes, and `pulumi destroy` asks no gate at all. So each part has a
Command that depends on it, is deleted before it, and whose deletion asks this: when it fails, the part stays.
"""

import argparse
import time
from typing import Any, Final

from migration.guarding.mark import DamagedMark
from migration.journeys import CheckId
from operations.access.context import Context
from operations.arguments import of_stack
from operations.checks import registry
from operations.checks.cilium import used
from operations.cluster import objects
from operations.evidence import EXIT_CODES, Evidence, Report, Verdict
from operations.gate import CHECK_SECONDS, ask_all, patience
from operations.guarding import guard, mark
from operations.say import say

ASKS: Final[dict[str, tuple[CheckId, ...]]] = {
    "legacy-network": (
        CheckId.IDENTITY_AGREES,
        CheckId.NO_LEGACY_PODS,
        CheckId.AWS_NODE_IDLE,
        CheckId.LEGACY_GROUPS_EMPTY,
    ),
    "calico": (CheckId.IDENTITY_AGREES, CheckId.CILIUM_READY, CheckId.AWS_NODE_IDLE, CheckId.NO_FOREIGN_ENFORCER),
    "cilium": (CheckId.IDENTITY_AGREES, CheckId.NO_CILIUM_NODES),
    "canary-nodes": (CheckId.IDENTITY_AGREES,),
    "cilium-nodes": (CheckId.IDENTITY_AGREES,),
}
"""Part -> what must hold; the two last ones besides: no workload runs on these nodes."""
_NODES: Final = {"canary-nodes": objects.is_canary, "cilium-nodes": objects.is_cilium}
WAIT_SECONDS: Final = 60.0


def fill(command: Any) -> None:
    command.add_argument("part", choices=sorted(ASKS))
    of_stack(command, renamed=True)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0: nothing needs it, the cluster is gone, or the guard is held open; 1: something does; 2: unknown."""
    context = Context.load(args.stack, cluster=args.cluster)
    if context.aws.cluster(context.cluster_name) is None:
        return _passed(f"the cluster {context.cluster_name} is gone, and {args.part} with it")
    try:
        held = mark.read(context.kube)
    except DamagedMark:
        held = None
    if held is not None and held.open and not guard.overdue(held.open, context.kube.now()):
        return _passed(f"the guard is held open ({held.open.get('reason', 'no reason')}): {args.part} may go")
    start = time.monotonic()
    checks = registry()
    evidence = ask_all(context, ASKS[args.part], checks, wait=patience(WAIT_SECONDS), seconds=CHECK_SECONDS, tell=say)
    if args.part in _NODES and all(e.verdict is Verdict.PASSED for e in evidence):
        evidence = (*evidence, _nodes(context.again(), args.part))
    stage = context.settings.stage
    report = Report(
        journey=context.journey.name,
        stage=stage,
        place=stage,
        kind=f"{args.part} unused, as asked before it is deleted at the stage",
        seconds=time.monotonic() - start,
        checks=evidence,
    )
    say(report.text())
    if report.verdict is not Verdict.PASSED:
        say(
            f"{args.part} was not deleted. If the whole cluster is to go: `python -m operations guard open` first "
            "(docs/recovery.md)"
        )
    print(report.json(), flush=True)
    return EXIT_CODES[report.verdict]


def _nodes(context: Context, part: str) -> Evidence:
    names = {objects.name(n) for n in context.kube.nodes() if _NODES[part](n)}
    findings = tuple(used(names, context.kube.pods()))
    return Evidence(
        check=part,
        verdict=Verdict.FAILED if findings else Verdict.PASSED,
        summary=f"{objects.count(len(names), 'node')} without workloads",
        seconds=0.0,
        findings=findings,
    )


def _passed(text: str) -> int:
    say(text)
    return EXIT_CODES[Verdict.PASSED]
