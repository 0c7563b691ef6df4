"""The pack: the rooms that a program needs, in one file that Python runs; the same sources give the same bytes.

Nothing is compressed, because other builds of zlib compress differently; times and rights are fixed, line ends are
those of Unix, and what packs is not in the pack. So a change elsewhere in the repository rolls nothing.
"""

import hashlib
import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 1024 * 1024
"""That a ConfigMap may hold."""
ROOMS: Final = ("bridge", "kube")
_LEFT_OUT: Final = (
    *("bridge/ship/", "prover/ship/"),
    *("netpol/lint/", "netpol/translate/", "reading/writing.py", "reading/yaml_text.py"),
)
"""What packs, and what nothing in a cluster needs: texts of policies are written and read by people's machines."""
_WHEN: Final = (1980, 1, 1, 0, 0, 0)
_RIGHTS: Final = 0o644 << 16
_UNIX: Final = 3
_START: Final = "import runpy\n\nrunpy.run_module({module!r}, run_name='__main__')\n"
ROOT: Final = Path(__file__).resolve().parents[2]


class TooLarge(ValueError):
    """The pack does not fit into a ConfigMap."""


def sources(rooms: Sequence[str] = ROOMS, root: Path = ROOT) -> Iterator[tuple[str, bytes]]:
    """(name in the pack, content) of all sources, in the order of their names."""
    paths = [path for room in rooms for path in _files(root / room)]
    for name in sorted(path.relative_to(root).as_posix() for path in paths):
        if not name.startswith(_LEFT_OUT):
            yield name, (root / name).read_bytes().replace(b"\r\n", b"\n")


def _files(room: Path) -> Iterable[Path]:
    return room.rglob("*.py") if room.is_dir() else [room]


def build(module: str = "bridge", rooms: Sequence[str] = ROOMS, root: Path = ROOT) -> bytes:
    """The pack.

    Args:
        module: what runs when the pack is run.
        rooms: folders of the repository, and single files, that go into it.

    Raises:
        TooLarge: a ConfigMap could not hold it.
    """
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as pack:
        for name, content in (*sources(rooms, root), ("__main__.py", _START.format(module=module).encode())):
            entry = zipfile.ZipInfo(name, _WHEN)
            entry.external_attr, entry.create_system = _RIGHTS, _UNIX
            pack.writestr(entry, content)
    data = whole.getvalue()
    if len(data) > MOST_BYTES:
        raise TooLarge(f"the pack of {', '.join(rooms)} has {len(data)} bytes, and a ConfigMap holds {MOST_BYTES}")
    return data


def digest(pack: bytes) -> str:
    """Short, for an annotation: changes with the pack alone."""
    return hashlib.sha256(pack).hexdigest()[:16]
