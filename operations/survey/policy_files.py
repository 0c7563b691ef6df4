"""What Calico enforces on a cluster of somebody else, as files: so that it can be reviewed before anything moves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import reading
from kube.transport import Obj
from migration import manifests
from migration.guarding.freeze import APPLIED, RESOURCES
from migration.names import MAY_GO
from migration.settings import Settings
from operations import written
from operations.cluster import agreement, objects
from operations.cluster.calico import STORED
from operations.survey.gathered import Gathered

BY: Final = "`python -m operations survey`, from the cluster"
_LEFT_OUT: Final = frozenset({reading.METADATA, APPLIED, MAY_GO})
"""Annotations that keep other things' books."""
_DEFAULT: Final = Settings.model_fields["policies"].default


@dataclass(frozen=True)
class Filed:
    """What became of the files."""

    directory: Path
    written: tuple[Path, ...] = ()
    removed: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    """What people's own files say otherwise, a line each."""


def directory(policies: str, stack: str) -> Path:
    """The directory of a stack's policy files: what its settings name, else one of its own.

    Two clusters that are not made from these files do not have the same policies.
    """
    return Path(f"{policies}.{stack}" if policies == _DEFAULT else policies)


def write(gathered: Gathered, root: Path) -> Filed:
    """One file for each of Calico's policies, sets and tiers, under `root/calico`.

    The same cluster gives the same files. An object that a file of people's has is not written a second time.

    Args:
        gathered: of a cluster whose Calico keeps its objects under `STORED`.
        root: directory of the stack's policy files.

    Raises:
        migration.manifests.InvalidManifest: a file of people's cannot be used; nothing is written.
        OSError: a file cannot be written.
    """
    folder = root / "calico"
    earlier = [path for path in written.yaml_files(folder) if written.is_sealed(path, BY)]
    theirs = {m.key: m for m in manifests.load(root, "calico") if Path(m.source.rpartition(":")[0]) not in earlier}
    live = {agreement.key_of(kind, obj): (kind, obj) for kind, obj in _objects(gathered)}
    texts = {
        folder / _file(kind, obj): written.sealed(reading.dump(as_file(kind, obj)), BY)
        for key, (kind, obj) in live.items()
        if key not in theirs
    }
    notes = [
        f"{path} is somebody's own and does not hold {path.stem}: it is left alone, and that object has no file"
        for path in texts
        if written.taken(path) and path not in earlier
    ]
    texts = {path: text for path, text in texts.items() if path in earlier or not written.taken(path)}
    done = written.write(texts, folder, earlier)
    return Filed(root, done.written, done.removed, (*notes, *_unlike(theirs, live)))


def as_file(kind: str, obj: Obj) -> dict[str, Any]:
    """An object as Calico reads it, without what the API server, Calico and kubectl keep in it."""
    meta = objects.as_calico_reads(obj)["metadata"]
    kept: dict[str, Any] = {"name": meta["name"]}
    if objects.namespace(obj):
        kept["namespace"] = objects.namespace(obj)
    for field in ("labels", "annotations"):
        found = {k: v for k, v in sorted((meta.get(field) or {}).items()) if k not in _LEFT_OUT}
        if found:
            kept[field] = found
    rest = {k: v for k, v in obj.items() if k not in {"apiVersion", "kind", "metadata", "status"}}
    return {"apiVersion": STORED, "kind": kind, "metadata": kept, **rest}


def _objects(gathered: Gathered) -> Iterator[tuple[str, Obj]]:
    """Kind and object of everything that is people's, in one order: tiers, sets, policies, each by its name."""
    for kind in sorted(RESOURCES, key=lambda kind: (kind != "Tier", kind.endswith("Policy"), kind)):
        found = (obj for obj in gathered.objects_of(RESOURCES[kind]) if not agreement.made_by_calico(kind, obj))
        yield from ((kind, obj) for obj in sorted(found, key=objects.key))


def _file(kind: str, obj: Obj) -> str:
    """`KIND.NAME.yaml`, or `KIND.NAMESPACE.NAME.yaml`. A namespace has no dots, so no two objects share one."""
    return ".".join(part for part in (kind.lower(), objects.namespace(obj), objects.name(obj), "yaml") if part)


def _unlike(theirs: Mapping[str, manifests.Manifest], live: Mapping[str, tuple[str, Obj]]) -> Iterator[str]:
    for key, manifest in theirs.items():
        about = f"{manifest.source}: {key}"
        if key not in live:
            yield f"{about} is not in the cluster, and a deploy writes only what changed since the last one"
        elif unlike := agreement.differences(manifest, live[key][1], {}):
            yield f"{about} is another in the cluster: {objects.some(unlike)}"
