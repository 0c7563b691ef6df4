"""Whether the lock files follow from their inputs; with --write, make them so.

The present lock is the starting point, so a check upgrades nothing: it only notices inputs that changed.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_OPTIONS = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-header", "--quiet"]


def compiled(source: Path, lock: Path) -> str:
    """The lock's text as it should be."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / lock.name
        if lock.exists():
            shutil.copy(lock, copy)
        command = [sys.executable, "-m", "uv", "pip", "compile", *_OPTIONS, source.name, "-o", str(copy)]
        subprocess.run(command, check=True, cwd=source.parent, stdout=subprocess.DEVNULL)
        return copy.read_text()


def main() -> int:
    stale = []
    for source in sorted(_ROOT.glob("requirements*.in")):
        lock = source.with_suffix(".txt")
        text = compiled(source, lock)
        if lock.exists() and lock.read_text() == text:
            continue
        stale.append(lock.name)
        if "--write" in sys.argv:
            lock.write_text(text)
    if not stale:
        sys.stdout.write("locks are fresh\n")
        return 0
    if "--write" in sys.argv:
        sys.stdout.write(f"wrote {', '.join(stale)}\n")
        return 0
    sys.stderr.write(f"{', '.join(stale)} does not follow from its .in file: run `make lock` and commit the result\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
