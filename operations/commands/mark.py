"""`mark`: the mark that says which stack moves this cluster, and how far.

`take`, `enter`, `reach` and `give-up` are called by deploys, behind the gate and in this order; `show` is for people.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from migration.guarding.mark import Mark
from migration.guarding.workloads import RECORDED, DamagedRecord, dump, load, merged, seal
from operations.access.context import Context
from operations.arguments import acts, whole
from operations.cluster.standings import seen
from operations.evidence import EXIT_CODES, Verdict
from operations.guarding.mark import (
    ABOUT,
    MarkRefused,
    deployers,
    edit,
    find,
    give_up,
    keep,
    known,
    let_go,
    record,
    records,
    take,
)


def fill(command: Any) -> None:
    texts = {
        "show": "print the mark",
        "take": "create the mark, or verify that it belongs to this stack",
        "enter": "a deploy has passed its gate and begins",
        "reach": "a deploy has finished",
        "give-up": "the stack is destroyed: take it away",
    }
    for name, act in acts(command, texts, renamed=True).items():
        if name == "take":
            act.add_argument("--form", help="not read: makes the command another one with the form of the mark")
        if name != "show":
            act.add_argument("--id", required=True, help="of the stack, from its state")
        if name in {"enter", "reach"}:
            act.add_argument("--place", required=True)
            act.add_argument("--attempt", required=True, type=whole(0, 10**12 - 1))
            act.add_argument("--guarded", default="", help="pieces that nobody may delete, separated by commas")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0: done; 1: the mark is somebody else's, or is not there to be shown; 2: it cannot be told."""
    context = Context.load(args.stack, cluster=args.cluster)
    mark = _ACTS[args.act](context, args)
    print(json.dumps({"mark": mark.dump() if mark else None}, separators=(",", ":")))
    return EXIT_CODES[Verdict.PASSED] if mark or args.act != "show" else EXIT_CODES[Verdict.FAILED]


def _guarded(args: argparse.Namespace) -> tuple[str, ...]:
    return tuple(piece for piece in args.guarded.split(",") if piece)


def _enter(context: Context, args: argparse.Namespace) -> Mark:
    now = seen(context.kube) if args.place in RECORDED else {}

    def fresh(found: Mark) -> str | None:
        """A new record; None where the one that is there stays."""
        if found.reached != RECORDED.get(args.place) or found.entering == args.place:
            return None  # a deploy that is tried again may have moved something already
        if args.place == "canary" or not found.workloads:
            return dump(now)
        # A deploy that died right here has left a record that the mark does not know: of the same the better counts.
        kept = [record(context.kube, found.workloads), *records(context.kube)]
        try:
            return dump(merged(load(next(filter(None, kept), "{}")), now))
        except DamagedRecord:
            return dump(now)

    def change(found: Mark) -> Mark:
        chosen, text = deployers(context, found.deployers), fresh(found)
        if text is not None:
            keep(context.kube, text)
        return replace(
            found,
            stack=context.stack,
            entering=args.place,
            workloads=found.workloads if text is None else seal(text),
            attempt=args.attempt,
            guarded=_guarded(args),
            deployers=chosen,
        )

    return edit(context, args.id, change)


def _reach(context: Context, args: argparse.Namespace) -> Mark:
    def change(found: Mark) -> Mark:
        if (found.entering or found.reached, found.attempt) != (args.place, args.attempt):
            raise MarkRefused(
                f"{ABOUT} says attempt {found.attempt} at {found.entering or found.reached}: this deploy, attempt "
                f"{args.attempt} at {args.place}, has not entered. Deploy without --target and --exclude"
            )
        return replace(found, reached=args.place, entering="", guarded=_guarded(args))

    done = edit(context, args.id, change)
    let_go(context.kube.again(), done)
    return done


def _give_up(context: Context, args: argparse.Namespace) -> None:
    give_up(context, args.id)


_ACTS: Final[dict[str, Callable[[Context, argparse.Namespace], Mark | None]]] = {
    "show": lambda context, _: known(find(context.kube), context.stack),
    "take": lambda context, args: take(context, args.id),
    "enter": _enter,
    "reach": _reach,
    "give-up": _give_up,
}
