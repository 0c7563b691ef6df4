"""What is wrong with the stack configuration: one problem, and the error that holds all of them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from reading.failure import USAGE, Failure


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the configuration."""

    key: str
    value: object
    reason: str
    fix: str

    def __str__(self) -> str:
        shown = "" if self.value is None else f" = {_short(self.value)}"
        return f"{self.key}{shown}: {self.reason}. {self.fix}"


MOST_SHOWN = 50
"""Problems in one text: whoever has more has one cause for all of them."""


def _short(value: object) -> str:
    try:
        text = json.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= 200 else f"{text[:200]}…"


class InvalidSettings(Failure, ValueError):
    """The configuration cannot be used. `problems` holds every reason, in the order of the keys."""

    exit_code = USAGE

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        noun = "problem" if len(self.problems) == 1 else "problems"
        lines = "\n".join(f"  - {problem}" for problem in self.problems[:MOST_SHOWN])
        if len(self.problems) > MOST_SHOWN:
            lines += f"\n  - and {len(self.problems) - MOST_SHOWN} more"
        super().__init__(f"{len(self.problems)} {noun} in the stack configuration:\n{lines}")
