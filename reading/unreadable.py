"""The one error of the room."""


class Unreadable(ValueError):
    """A text that is not read: `file`, `line` (counted from 1, 0 for the whole file) and `reason`, which ends with
    what to do about it."""

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(f"{file}:{line}: {reason}" if line else f"{file}: {reason}")
        self.file, self.line, self.reason = file, line, reason
