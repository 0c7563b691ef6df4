"""The command line: `python -m operations COMMAND … --stack NAME`.

JSON goes to stdout, text for people to stderr. Exit codes: 0 passed, 1 failed, 2 unknown, 64 usage.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from operations.commands import COMMANDS
from operations.exits import ended
from operations.say import say
from reading.failure import USAGE


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def parser(only: str | None = None) -> argparse.ArgumentParser:
    """The command line.

    Args:
        only: the command that is asked for; of the others, just the names and what they do are known then.
    """
    top = _Parser(prog="operations", description="Look at the live cluster, and move it between stages.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        own = commands.add_parser(command.name, help=command.help)
        if only in (None, command.name):
            command.load()(own)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give back its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    asked = next((word for word in given if not word.startswith("-")), "")
    args = parser(asked).parse_args(given)
    try:
        code: int = args.run(args)
    except Exception as error:  # what is not foreseen goes on from there
        end = ended(error)
        say(end.text)
        return end.code
    return code
