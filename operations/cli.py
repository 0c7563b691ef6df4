"""The command line: `python -m operations COMMAND … --stack NAME`.

JSON goes to stdout, text for people to stderr. Exit codes: 0 passed, 1 failed, 2 unknown, 64 usage.
"""

import argparse
import importlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NoReturn

from botocore.exceptions import BotoCoreError, ClientError

from kube.transport import KubeError
from migration import journeys
from migration.facts import InvalidFacts
from migration.journeys import JOURNEYS, CheckId, Journey, Stage
from migration.mark import Own
from migration.settings import InvalidSettings
from operations import state
from operations.arguments import DAY, amount
from operations.checks import registry
from operations.connection import WrongClusterError
from operations.context import Context, UsageError
from operations.evidence import EXIT_CODES, USAGE_ERROR, Report, Verdict
from operations.gate import CHECK_SECONDS, ask_all, patience
from operations.place import next_stage

FURTHER: Final = (
    *("label", "schema", "survey", "refresh", "recover", "policy", "mark", "unused", "guard", "freeze", "workloads"),
)
"""Commands whose modules bring `add_parser(subparsers)`."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE_ERROR, f"{self.prog}: {message}\n")


def say(text: str) -> None:
    """A line for people."""
    print(text, file=sys.stderr, flush=True)


def parser(only: str | None = None) -> argparse.ArgumentParser:
    """The command line.

    Args:
        only: the command that is asked for. The modules of the others are not read then: a deploy runs this program
            seven times and more, and reading them all is most of what such a run takes.
    """
    top = _Parser(prog="operations", description="Look at the live cluster, and move it between stages.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    check = commands.add_parser("check", help="ask the checks of a stage; reads only")
    _stack(check)
    which = check.add_mutually_exclusive_group()
    which.add_argument("--stage", help="a stage of the configured journey; left out: the configured one")
    which.add_argument("--place", help="the stage of the configured journey that declares this place")
    which.add_argument("--next", action="store_true", help="the stage after the deployed one; its gate")
    which.add_argument("--list", action="store_true", help="print every check and end")
    kind = check.add_mutually_exclusive_group()
    for name, text in (
        ("gate", "what must hold to enter the stage (default)"),
        ("settle", "what must hold for the stage to count as reached"),
        ("leave", "what must hold to go back from the stage"),
        ("steady", "what must hold to change what the stage declares, and stay"),
        ("identity", "whose cluster this is, and who moves it"),
    ):
        kind.add_argument(f"--{name}", dest="kind", action="store_const", const=name, help=text)
    check.add_argument("--leaving", metavar="STAGE", help="also ask what must hold to go back from that stage")
    check.add_argument("--own", type=_own, metavar="JSON", help="what the stack's state says; left out: read from it")
    check.add_argument("--check", action="append", metavar="ID", help="ask only this check; may be repeated")
    check.add_argument(
        "--wait", type=amount(0, DAY, "seconds"), default=0.0, metavar="SECONDS", help="ask again until all pass"
    )
    check.set_defaults(run=_check)

    journey = commands.add_parser("journey", help="print the stages of a journey")
    journey.add_argument("journey", choices=sorted(JOURNEYS))
    journey.add_argument("--json", action="store_true", help="only the ids, as a JSON list")
    journey.set_defaults(run=_journey)

    for name in FURTHER if only not in {"check", "journey", *FURTHER} else {only} & set(FURTHER):
        importlib.import_module(f"operations.{name}").add_parser(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give back its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    args = parser(given[0] if given else None).parse_args(given)
    try:
        code: int = args.run(args)
    except (UsageError, InvalidSettings, InvalidFacts) as error:
        say(str(error))
        return USAGE_ERROR
    except (WrongClusterError, KubeError, ClientError, BotoCoreError, TimeoutError) as error:
        say(str(error))
        return EXIT_CODES[Verdict.UNKNOWN]
    except OSError as error:
        if error.filename is None:
            raise
        say(f"{error.filename}: {error.strerror}. Name a file that may be read and written")
        return USAGE_ERROR
    return code


def _stack(command: argparse.ArgumentParser) -> None:
    command.add_argument("--stack", help="left out: PULUMI_STACK, or the only stack here")


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
        return state.told(text)
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


def _journey(args: argparse.Namespace) -> int:
    journey = JOURNEYS[args.journey]
    if args.json:
        print(json.dumps([stage.id for stage in journey.stages]))
    else:
        print(journey_text(journey))
    return 0


def journey_text(journey: Journey) -> str:
    """The stages for people: title, gate, way back."""
    lines = [f"{journey.name}: {journey.title}"]
    for number, stage in enumerate(journey.stages, 1):
        back = "yes" if stage.reversible and number > 1 else "-" if number == 1 else "none"
        lines += [
            f"\n{number}. {stage.id}: {stage.title}",
            f"   gate      {', '.join(stage.gate) or '-'}",
            f"   settle    {', '.join(stage.settle) or '-'}",
            f"   way back  {back}",
        ]
        if stage.unproved:
            lines.append(f"   unproved  {', '.join(stage.unproved)}")
    return "\n".join(lines)
