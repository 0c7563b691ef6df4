"""The base of every error that a command ends with, and the exit codes.

It stands here because every room may import `reading`, and what cannot be read is most of what goes wrong.
"""

from typing import Final

FAILED: Final = 1
UNKNOWN: Final = 2
USAGE: Final = 64


class Failure(Exception):
    """What was asked for cannot be done. The text says what, why, and what to do; it is all that people see of it."""

    exit_code: int = FAILED
    """What a command ends with."""

    def told(self) -> str:
        """For people."""
        return str(self)
