"""A translation as files: one for each policy, and none of an earlier translation beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import reading
from netpol.translate.manifests import SOURCE
from reading.failure import USAGE, Failure


class NotOursError(Failure):
    """A file that this tool did not write is where one of a translation belongs. The text names it."""

    exit_code = USAGE


def write(manifests: Sequence[Mapping[str, Any]], directory: Path) -> tuple[list[Path], list[Path]]:
    """The files written, and those of an earlier translation that were removed; nothing else is touched.

    Raises:
        NotOursError: before anything is written.
        OSError: a file cannot be written.
    """
    texts = {directory / name_of(manifest): reading.dump(manifest) for manifest in manifests}
    known = dict.fromkeys(earlier(directory))
    for path in texts:
        if (path.exists() or path.is_symlink()) and path not in known:
            raise NotOursError(
                f"{path} was not written by a translation, and would be overwritten. Move it, or give --out another "
                "directory"
            )
    stale = [path for path in known if path not in texts]
    directory.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    for path in stale:
        path.unlink()
    return list(texts), stale


def earlier(directory: Path) -> list[Path]:
    """The files in a directory that a translation wrote."""
    if not directory.is_dir():
        return []
    return sorted(p for p in directory.iterdir() if p.suffix in (".yaml", ".yml") and _ours(p))


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
    return f"{scope}.{meta['name']}.yaml"


def _ours(path: Path) -> bool:
    """Whether every object in the file is marked as translated: no link, and nothing that somebody added."""
    if path.is_symlink() or not path.is_file():
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
