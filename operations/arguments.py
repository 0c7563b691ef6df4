"""What commands share on the command line: acts about one stack, and numbers with bounds.

Numbers are bounded so that nothing waits for ever or until `nan`.
"""

import argparse
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

DAY = 86_400.0


def amount(least: float, most: float, unit: str) -> Callable[[str], float]:
    """A type for argparse: a number within bounds."""

    def read(text: str) -> float:
        try:
            number = float(text) if text.isascii() else math.nan
        except ValueError:
            number = math.nan
        if not least <= number <= most:  # nan is in no bounds
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number of {unit} from {least:g} to {most:g}")
        return number

    return read


def whole(least: int, most: int) -> Callable[[str], int]:
    """A type for argparse: a whole number within bounds."""

    def read(text: str) -> int:
        number = int(text) if re.fullmatch(r"-?[0-9]{1,15}", text) else None
        if number is None or not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from {least} to {most}")
        return number

    return read


def acts(command: Any, texts: Mapping[str, str], *, renamed: bool) -> dict[str, argparse.ArgumentParser]:
    """Give a command its acts, each about one stack.

    Args:
        command: the parser.
        texts: act -> what it is for.
        renamed: whether the acts take `--cluster` as well, to find the stack after a rename.
    """
    found: dict[str, argparse.ArgumentParser] = {}
    listed = command.add_subparsers(dest="act", required=True, metavar="ACT")
    for name, text in texts.items():
        found[name] = listed.add_parser(name, help=text)
        of_stack(found[name], renamed=renamed)
    return found


def of_stack(parser: Any, *, renamed: bool = False) -> None:
    """Let a command say which stack it is about; `renamed`: by its cluster as well, after a rename."""
    parser.add_argument("--stack", help="left out: PULUMI_STACK, or the only stack here")
    if renamed:
        parser.add_argument("--cluster", metavar="NAME", help="takes another stack that names it, after a rename")
