"""Files as text: bounded, UTF-8, or one error that says why not."""

from pathlib import Path
from typing import Final

from reading.unreadable import Unreadable

MOST_BYTES: Final = 64 * 2**20
"""Of one file: a hundred thousand pods as `kubectl get` writes them, split over files."""


def text_of(path: Path, most: int = MOST_BYTES) -> str:
    """The text of a file, line ends as they are.

    Args:
        most: bytes that it may have.

    Raises:
        FileNotFoundError: there is none; each caller knows what that means.
        Unreadable: it is no file, may not be read, is too large or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except FileNotFoundError:
        raise
    except IsADirectoryError:
        raise Unreadable(str(path), 0, "is a directory. Name a file in it") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Unreadable(str(path), 0, f"cannot be read: {reason}. Give a file that may be read") from None
    if len(content) > most:
        raise Unreadable(str(path), 0, f"has more than {most} bytes. Split it")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise Unreadable(str(path), line, f"byte 0x{byte:02x} is not UTF-8. Save the file as UTF-8") from None
