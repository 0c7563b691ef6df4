"""`check`: ask the checks of a stage."""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from migration import journeys
from migration.guarding.mark import Own
from migration.journeys import CheckId, Journey, Stage
from operations.access import own_state
from operations.access.context import Context
from operations.access.place import next_stage
from operations.arguments import DAY, amount, of_stack
from operations.checks import registry
from operations.evidence import EXIT_CODES, Report
from operations.exits import UsageError
from operations.gate import CHECK_SECONDS, ask_all, patience
from operations.say import say


def fill(command: Any) -> None:
    of_stack(command)
    which = command.add_mutually_exclusive_group()
    which.add_argument("--stage", help="a stage of the configured journey; left out: the configured one")
    which.add_argument("--place", help="the stage of the configured journey that declares this place")
    which.add_argument("--next", action="store_true", help="the stage after the deployed one; its gate")
    which.add_argument("--list", action="store_true", help="print every check and end")
    kind = command.add_mutually_exclusive_group()
    for name, text in (
        ("gate", "what must hold to enter the stage (default)"),
        ("settle", "what must hold for the stage to count as reached"),
        ("leave", "what must hold to go back from the stage"),
        ("steady", "what must hold to change what the stage declares, and stay"),
        ("identity", "whose cluster this is, and who moves it"),
    ):
        kind.add_argument(f"--{name}", dest="kind", action="store_const", const=name, help=text)
    command.add_argument("--leaving", metavar="STAGE", help="also ask what must hold to go back from that stage")
    command.add_argument("--own", type=_own, metavar="JSON", help="what the stack's state says; left out: read from it")
    command.add_argument("--check", action="append", metavar="ID", help="ask only this check; may be repeated")
    command.add_argument(
        "--wait", type=amount(0, DAY, "seconds"), default=0.0, metavar="SECONDS", help="ask again until all pass"
    )
    command.set_defaults(run=_check)


def _check(args: argparse.Namespace) -> int:
    checks = registry()
    if args.list:
        for name in sorted(checks):
            print(f"{name:24}{(checks[name].__doc__ or '').strip().splitlines()[0]}")
        return 0
    context = Context.load(args.stack)
    if args.next and args.kind not in (None, "gate"):
        raise UsageError("--next asks the gate of the next stage; leave the other kinds out")
    kind = args.kind or "gate"
    stage = _stage(context, args)
    if stage is None:
        say(f"{context.settings.stage} is the last stage of {context.journey.name}")
        return 0
    names = tuple(_named(args.check)) if args.check else _asked(stage, kind)
    context = replace(context, deploying=args.wait > 0)
    if args.own is not None:
        context = replace(context, own=lambda: args.own)
    if args.leaving:
        names = tuple(dict.fromkeys((*names, *_of(context.journey, args.leaving).leave)))
    start = time.monotonic()
    wait = args.wait if kind == "settle" else patience(args.wait)
    evidence = ask_all(replace(context, stage=stage), names, checks, wait=wait, seconds=CHECK_SECONDS, tell=say)
    report = Report(
        journey=context.journey.name,
        stage=stage.id,
        place=stage.place,
        kind="checks" if args.check else kind,
        seconds=time.monotonic() - start,
        checks=evidence,
        unproved=stage.unproved if kind == "gate" and not args.check else (),
    )
    say(report.text())
    print(report.json(), flush=True)
    return EXIT_CODES[report.verdict]


def _asked(stage: Stage, kind: str) -> tuple[CheckId, ...]:
    if kind == "settle":  # the agents are asked after each deploy, also after one that changed them only
        return tuple(dict.fromkeys((*stage.settle, *journeys.healthy(stage))))
    further = {"steady": journeys.steady, "identity": journeys.identity}
    names: tuple[CheckId, ...] = further[kind](stage) if kind in further else getattr(stage, kind)
    return names


def _own(text: str) -> Own:
    try:
        return own_state.told(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is not what a deploy says about its state: {error}") from None


def _named(given: Sequence[str]) -> Sequence[CheckId]:
    known = {str(name) for name in CheckId}
    wrong = [name for name in given if name not in known]
    if wrong:
        raise UsageError(f"no such check: {', '.join(wrong)}. `check --list` prints them")
    return [CheckId(name) for name in given]


def _stage(context: Context, args: argparse.Namespace) -> Stage | None:
    journey = context.journey
    if args.next:
        return next_stage(context, journey)
    if args.place:
        found = [stage for stage in journey.stages if stage.place == args.place]
        if not found:
            raise UsageError(f"no stage of {journey.name} declares the place {args.place!r}")
        return found[-1]
    return _of(journey, args.stage or context.settings.stage)


def _of(journey: Journey, stage: str) -> Stage:
    if stage not in journey.index:
        raise UsageError(f"{journey.name} has no stage {stage!r}: choose one of {', '.join(journey.index)}")
    return journey[stage]
