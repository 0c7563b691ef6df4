"""`freeze`: see the policy freeze in force, and keep what was proved. Deploys call it, nobody else."""

import argparse
import os
from dataclasses import replace
from typing import Any, Final

from migration.guarding.freeze import Record
from operations.access.context import Context
from operations.arguments import acts
from operations.checks.continuity import deployed
from operations.evidence import EXIT_CODES, Finding, UnknownError, Verdict
from operations.guarding.freeze import keep, remedy, wait
from reading.failure import Failure

PREVIOUS: Final = "PULUMI_COMMAND_STDOUT"
"""Environment variable in which Pulumi's command hands over what it printed the time before."""


class Unproved(Failure):
    """What is frozen would change the verdict of a flow. The text names each."""


def fill(command: Any) -> None:
    texts = {
        "wait": "until the API server refuses what the freeze refuses",
        "keep": "prove what is frozen and print its digests; on an adopted cluster write changed files first",
    }
    keeps = acts(command, texts, renamed=False)["keep"]
    keeps.add_argument("--files", metavar="DIGEST", help="not read: makes the command another one with the files")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0: done; 1: not in force, changed past the freeze, or no longer equal; 2: it cannot be told."""
    context = Context.load(args.stack)
    if args.act == "wait":
        wait(context)
    else:
        text = os.environ.get(PREVIOUS, "")
        print(keep(context, Record.load(text) if text else None, proved).dump())
    return EXIT_CODES[Verdict.PASSED]


def proved(context: Context) -> str:
    """What the proof of the cluster as it is says, for the stage that the settings name.

    Raises:
        Unproved: a flow would change its verdict.
        UnknownError: it cannot be told.
    """
    answer = deployed(replace(context, stage=context.journey[context.settings.stage]))
    if answer.verdict is Verdict.FAILED:
        raise Unproved(
            "the frozen policies as they are in the cluster do not keep every verdict, so their digests are not kept:\n"
            f"{_lines(answer.findings)}\n{remedy(context)}"
        )
    if answer.verdict is Verdict.UNKNOWN:
        raise UnknownError(f"the frozen policies cannot be proved:\n{_lines(answer.unknown)}", remedy(context))
    return answer.summary


def _lines(findings: tuple[Finding, ...]) -> str:
    return "\n".join(f"  - {it.object}: {it.problem}" for it in findings)
