"""`refresh plan | run | status | pause | undo`."""

import argparse
import json
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from migration.journeys import NodeKind
from operations.access.context import Context
from operations.arguments import amount, of_stack, whole
from operations.evidence import EXIT_CODES, Verdict, simulated
from operations.refresh.cluster import rights
from operations.refresh.cluster.lease import Lease
from operations.refresh.model.pausing import MEND
from operations.refresh.model.request import RefreshRequest, Strategy
from operations.refresh.model.terms import duration
from operations.refresh.plan import gather, planning
from operations.refresh.run.goal import goal_of
from operations.refresh.run.metrics import Metrics
from operations.refresh.run.progress import Progress
from operations.refresh.run.runner import Ended
from operations.refresh.run.session import Session
from operations.refresh.run.status import status
from operations.refresh.run.undo import undo
from operations.refresh.run.whole import whole_run
from operations.say import say

SHOWN: Final = 10
"""Things waited for that are named in the final JSON: it is kept in a stack's state."""


def fill(command: Any) -> None:
    verbs = command.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, text in (
        ("plan", "what a run would do, what would block it, how long it takes at least; reads only"),
        ("run", "empty the nodes of the other kind and remove them; may be run again at any time"),
        ("status", "how far a refresh is; reads only"),
        ("pause", "ask a running refresh to stop cleanly"),
        ("undo", "open the old nodes again and restore the sizes of their groups"),
        ("rights", "print the RBAC rules and the IAM policy that a refresh needs"),
    ):
        parser = verbs.add_parser(verb, help=text)
        of_stack(parser)
        if verb == "rights":
            parser.add_argument("--iam", action="store_true", help="the IAM policy; left out: the RBAC rules")
        if verb in ("pause", "rights"):
            continue
        parser.add_argument("--to", choices=[str(kind) for kind in NodeKind], required=verb in ("plan", "run"))
        if verb in ("plan", "run"):
            parser.add_argument("--strategy", help=f"{', '.join(Strategy)}; left out: as configured")
            parser.add_argument(
                "--budget", help="nodes on their way out at once, as 3 or 10%%; left out: as configured"
            )
            parser.add_argument("--zone-budget", help="the same in each zone; left out: no bound of its own")
            parser.add_argument(
                "--deadline", type=amount(0.01, 720, "minutes"), metavar="MINUTES", help="left out: as configured"
            )
            parser.add_argument("--json", action="store_true", help="JSON lines instead of progress for people")
        if verb == "run":
            parser.add_argument(
                "--metrics", type=whole(0, 65535), metavar="PORT", help="serve Prometheus metrics on the loopback"
            )
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry out one of the commands."""
    verbs: dict[str, Callable[[argparse.Namespace, Context], int]] = {
        "plan": _plan,
        "run": _run,
        "status": _status,
        "pause": _pause,
        "undo": _undo,
        "rights": _rights,
    }
    return verbs[args.verb](args, Context.load(args.stack))


def request_of(args: argparse.Namespace, context: Context) -> RefreshRequest:
    """From the arguments, and from the settings for those that were left out."""
    configured = context.settings.refresh
    return RefreshRequest.towards(
        NodeKind(args.to),
        strategy=args.strategy or configured.strategy,
        node_budget=args.budget or configured.budget,
        zone_node_budget=args.zone_budget,
        marked=configured.evict_marked,
        deadline=(configured.deadline_minutes if args.deadline is None else args.deadline) * 60,
    )


# -- run --------------------------------------------------------------------------------------------


def _run(args: argparse.Namespace, context: Context) -> int:
    request = request_of(args, context)
    deadline = time.monotonic() + request.deadline
    session, progress = Session.open(context), Progress(as_json=args.json)
    metrics = Metrics(args.metrics) if args.metrics is not None else None
    show = progress.show if metrics is None else metrics.beside(progress.show)
    try:
        ended = whole_run(session, request, deadline=deadline, signals=_Signals, say=progress.say, show=show)
    finally:
        if metrics is not None:
            metrics.stop()
    return _report(request, ended)


class _Signals:
    """SIGINT and SIGTERM stop a run cleanly. Only the main thread can be told so."""

    def __init__(self, event: threading.Event) -> None:
        self.event, self.before = event, dict[int, Any]()

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.before[number] = signal.signal(number, lambda *_: self.event.set())

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


def _report(request: RefreshRequest, ended: Ended) -> int:
    verdict = Verdict.FAILED if ended.reason else Verdict.PASSED
    if ended.reason:
        say(f"stopped, {ended.reason}: {ended.done} of {ended.total} nodes done. Run again to go on")
        for awaited in ended.waits[:SHOWN]:
            say(f"  - {awaited.object}: {awaited.reason}")
        if len(ended.waits) > SHOWN:
            say(f"  - and {len(ended.waits) - SHOWN} more")
        if ended.counterexample:
            say(ended.counterexample)
        if "policy is not proved" in ended.reason:
            say(MEND)
    elif ended.seconds:
        say(f"{ended.total} of {ended.total} nodes done in {duration(ended.seconds)}")
    else:
        say(f"nothing to do: every workload node is of kind {request.target}")
    _print(
        {
            "command": "refresh run",
            "to": request.target,
            "verdict": verdict,
            "stopped": ended.reason,
            "counterexample": ended.counterexample,
            "done": ended.done,
            "total": ended.total,
            "waits": [asdict(awaited) for awaited in ended.waits[:SHOWN]],
            "simulated": simulated(),
        }
    )
    return EXIT_CODES[verdict]


def _print(value: Mapping[str, Any]) -> None:
    print(json.dumps(value, separators=(",", ":")), flush=True)


# -- the others -------------------------------------------------------------------------------------


def _plan(args: argparse.Namespace, context: Context) -> int:
    request = request_of(args, context)
    session = Session.open(context)
    lease = Lease(session.kube)
    lease.read()
    with session.watched(request) as live:
        goal = goal_of(session.groups, request, lease.memory, live.world)
        plan = planning.plan(live.world, request, goal, gather.surroundings(context, live.world, request))
    if not args.json:
        say(plan.text())
    _print(plan.json() | {"simulated": simulated()})
    return EXIT_CODES[Verdict.FAILED if plan.stops else Verdict.PASSED]


def _status(args: argparse.Namespace, context: Context) -> int:
    found = status(Session.open(context), _kind(args.to))
    if not found.begun:
        say("no refresh has begun, or the last one was taken back")
    paused = "; paused" if found.paused else ""
    say(f"to {found.target}: {found.done} of {found.total} nodes done; run by {found.holder or 'nobody'}{paused}")
    if found.unproved:
        say(f"  nothing new is begun while policy is not proved: {found.unproved}")
    for name, text in found.groups.items():
        say(f"  group {name}: {text} (min/desired/max)")
    for awaited in found.waits[:SHOWN]:
        say(f"  - {awaited.object}: {awaited.reason}")
    _print(
        {
            "command": "refresh status",
            "to": found.target,
            "done": found.done,
            "total": found.total,
            "holder": found.holder,
            "paused": found.paused,
            "unproved": found.unproved,
            "groups": found.groups,
            "waits": [asdict(awaited) for awaited in found.waits[:SHOWN]],
            "simulated": simulated(),
        }
    )
    return 0


def _kind(text: str | None) -> NodeKind | None:
    return NodeKind(text) if text else None


def _pause(_: argparse.Namespace, context: Context) -> int:
    session = Session.open(context)
    running = Lease(session.kube).set_pause(True)
    say("the refresh stops after what it has begun" if running else "no refresh runs")
    _print({"command": "refresh pause", "running": running, "simulated": simulated()})
    return 0


def _rights(args: argparse.Namespace, context: Context) -> int:
    if args.iam:
        caller = str(context.aws.caller()["Account"])
        print(rights.iam(context.cluster_name, caller, context.aws.region), end="")
    else:
        print(rights.rbac(), end="")
    return 0


def _undo(args: argparse.Namespace, context: Context) -> int:
    undone = undo(Session.open(context), _kind(args.to))
    source, failed = undone.request.source, undone.failed
    for text in failed:
        say(f"  - {text}")
    say(f"{undone.nodes} {source} nodes are open again" if not failed else "not everything could be undone: run again")
    if not failed:
        say(f"to bring back what has moved: refresh run --to {source}")
    _print({"command": "refresh undo", "nodes": undone.nodes, "failed": failed, "simulated": simulated()})
    return EXIT_CODES[Verdict.FAILED if failed else Verdict.PASSED]
