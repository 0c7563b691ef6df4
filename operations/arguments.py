"""Numbers on the command line: bounded, so that nothing waits for ever or until `nan`."""

import argparse
import math
import re
from collections.abc import Callable

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
