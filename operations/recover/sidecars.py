"""Files beside a state of files that a killed CLI left half-written.

The CLI replaces a state file at once, but not the small `.attrs` file beside it, which holds nothing but its content
type (gocloud.dev's fileblob writes it in place). A CLI that is killed at that moment leaves it empty, and every
command then fails with `failed to load checkpoint: EOF`, although the state itself is whole. Without the file the
state is read as it should be.
"""

from pathlib import Path

import reading
from operations.recover.locks import root_of


def damaged(backend: str, project: str, stack: str) -> list[Path]:
    """The half-written ones of a stack; empty for backends that keep no files.

    Args:
        backend: as for `locks.of_files`.
    """
    root = root_of(backend)
    if root is None:
        return []
    found = (root / ".pulumi" / "stacks" / project).glob(f"{stack}.json*.attrs")
    return sorted(path for path in found if not _whole(path))


def _whole(path: Path) -> bool:
    try:
        reading.json_value(reading.text_of(path))
    except ValueError:
        return False
    return True
