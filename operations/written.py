"""A directory of files that a program writes anew, and in which people may have files of their own.

Each file begins with a line that says who wrote it and seals the rest. A file without the line, or whose rest is not
what was sealed, is somebody's own: it is never changed and never removed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import reading

_SEAL_DIGITS: Final = 16
SUFFIXES: Final = (".yaml", ".yml")


@dataclass(frozen=True)
class Outcome:
    """What writing came to."""

    written: tuple[Path, ...]
    removed: tuple[Path, ...]
    """Written earlier, and not needed any more."""


def sealed(text: str, by: str) -> str:
    """A text with the line that makes it a file of `by`.

    Args:
        text: the rest of the file.
        by: who writes it, in one line.
    """
    return f"{_begin(by)}{_digest(text)}]\n{text}"


def is_sealed(path: Path, by: str) -> bool:
    """Whether `by` wrote the file as it stands. A link never counts."""
    head, rest = _split(path)
    return head == f"{_begin(by)}{_digest(rest)}]"


def was_edited(path: Path, by: str) -> bool:
    """Whether `by` wrote the file once and it is not as it was written."""
    head, rest = _split(path)
    return head.startswith(_begin(by)) and head != f"{_begin(by)}{_digest(rest)}]"


def write(texts: Mapping[Path, str], directory: Path, earlier: Collection[Path]) -> Outcome:
    """Write files, and remove those of an earlier run that are not among them.

    Args:
        texts: path -> whole text. Who asks has seen that nobody's own file is there.
        directory: made when it is missing.
        earlier: files that an earlier run wrote.

    Raises:
        OSError: a file cannot be written.
    """
    stale = tuple(sorted(path for path in earlier if path not in texts))
    directory.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    for path in stale:
        path.unlink()
    return Outcome(tuple(texts), stale)


def taken(path: Path) -> bool:
    """Whether something is at a path, a link that leads nowhere among it."""
    return path.exists() or path.is_symlink()


def yaml_files(directory: Path) -> list[Path]:
    """The YAML files of a directory, sorted; none where it is not one."""
    return sorted(p for p in directory.iterdir() if p.suffix in SUFFIXES) if directory.is_dir() else []


def _begin(by: str) -> str:
    return f"# Written by {by}; once it is edited, it is left alone. ["


def _split(path: Path) -> tuple[str, str]:
    if path.is_symlink() or not path.is_file():
        return "", ""
    try:
        head, _, rest = reading.text_of(path).partition("\n")
    except (reading.Unreadable, OSError):
        return "", ""
    return head, rest


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_SEAL_DIGITS]
