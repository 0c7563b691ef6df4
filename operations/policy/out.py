"""A translation as files: one for each policy, and none of an earlier translation beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import reading
from netpol.translate.manifests import SOURCE
from netpol.translate.naming import fitting
from operations import written
from reading.failure import USAGE, Failure

BY: Final = "`python -m operations policy translate`"
_LONGEST = 255
"""Bytes of a file's name, on most file systems."""


class NotOursError(Failure):
    """A file that this tool did not write is where one of a translation belongs. The text names it."""

    exit_code = USAGE


def write(manifests: Sequence[Mapping[str, Any]], directory: Path) -> tuple[list[Path], list[Path]]:
    """The files written, and those of an earlier translation that were removed; nothing else is touched.

    Raises:
        NotOursError: before anything is written.
        OSError: a file cannot be written.
    """
    texts = {directory / name_of(manifest): written.sealed(reading.dump(manifest), BY) for manifest in manifests}
    known = earlier(directory)
    for path in texts:
        if written.taken(path) and path not in known:
            edited = written.was_edited(path, BY)
            why = "was edited since a translation wrote it" if edited else "was not written by a translation"
            raise NotOursError(
                f"{path} {why}, and would be overwritten. Move it, or give --out another directory"
                + (", or delete it to have it written anew" if edited else "")
            )
    done = written.write(texts, directory, known)
    return list(done.written), list(done.removed)


def earlier(directory: Path) -> list[Path]:
    """The files in a directory that a translation wrote, and nobody edited since."""
    return [path for path in written.yaml_files(directory) if _ours(path)]


def edited(directory: Path) -> list[Path]:
    """The files in a directory that a translation wrote and somebody edited since: they are deployed as they are."""
    return [path for path in written.yaml_files(directory) if written.was_edited(path, BY)]


def name_of(manifest: Mapping[str, Any]) -> str:
    """`NAMESPACE.NAME.yaml`, or `cluster.NAME.yaml`, or `group.NAME.yaml` for a CIDR group.

    A namespace that is called so gets an underscore: `cluster_.NAME.yaml`.
    """
    meta = manifest["metadata"]
    scope = meta.get("namespace")
    if scope is None:
        scope = "group" if manifest["kind"] == "CiliumCIDRGroup" else "cluster"
    elif scope in ("cluster", "group"):
        scope += "_"
    return fitting(f"{scope}.{meta['name']}", ".yaml", _LONGEST)


def _ours(path: Path) -> bool:
    """Whether every object in the file is marked as translated: no link, and nothing that somebody added.

    Versions before this one sealed nothing: their files have no line of ours at all.
    """
    if path.is_symlink() or not path.is_file() or written.was_edited(path, BY):
        return False
    try:
        found = [document.value for document in reading.documents(reading.text_of(path), str(path))]
    except (reading.Unreadable, OSError):
        return False
    return bool(found) and all(_translated(value) for value in found)


def _translated(value: Any) -> bool:
    meta = value.get("metadata") if isinstance(value, Mapping) else None
    annotations = meta.get("annotations") if isinstance(meta, Mapping) else None
    return isinstance(annotations, Mapping) and SOURCE in annotations
