"""The one error of the room, and how a value is shown in any error."""

from reading.failure import USAGE, Failure

_SHOWN = 80


def brief(value: object) -> str:
    """A value for an error: as Python writes it, and no longer than a line."""
    text = repr(value[:_SHOWN] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN + 2 and not _longer(value) else f"{text[:_SHOWN]}…"


def _longer(value: object) -> bool:
    return isinstance(value, str) and len(value) > _SHOWN


class Unreadable(Failure, ValueError):
    """A text that is not read: `file`, `line` (counted from 1, 0 for the whole file) and `reason`, which ends with
    what to do about it."""

    exit_code = USAGE

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(f"{file}:{line}: {reason}" if line else f"{file}: {reason}")
        self.file, self.line, self.reason = file, line, reason
