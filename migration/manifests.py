"""The policy files under `policies/network`: one value for each document, or an error that names file and line."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import reading
from reading import Document, Unreadable
from reading.failure import Failure

CALICO_API: Final = "crd.projectcalico.org/v1"
CILIUM_API: Final = "cilium.io/v2"
KINDS: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    "calico": {
        CALICO_API: frozenset({"GlobalNetworkPolicy", "NetworkPolicy", "GlobalNetworkSet", "NetworkSet", "Tier"})
    },
    "cilium": {CILIUM_API: frozenset({"CiliumClusterwideNetworkPolicy", "CiliumNetworkPolicy", "CiliumCIDRGroup"})},
}
"""Directory -> API version -> kinds that may stand in it."""


class InvalidManifest(Failure, ValueError):
    """A policy file cannot be used; the text names file, line, reason and fix."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One Kubernetes object from a file."""

    source: str
    """`FILE:LINE`."""
    api_version: str
    kind: str
    name: str
    namespace: str | None
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    body: Mapping[str, Any]
    """Everything but apiVersion, kind, metadata and status: usually `spec`."""

    @property
    def key(self) -> str:
        """Unique within a directory, stable when files are moved or reordered."""
        place = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind}/{place}{self.name}"


def load(directory: Path, engine: str) -> tuple[Manifest, ...]:
    """Every object in `directory/engine/*.yaml`, sorted by key; none when the directory does not exist.

    Raises:
        InvalidManifest: for the first file that cannot be used.
    """
    found: dict[str, Manifest] = {}
    folder = directory / engine
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        for document in _documents(path):
            manifest = _manifest(f"{path}:{document.line}", document.value, engine)
            if manifest.key in found:
                raise InvalidManifest(
                    f"{manifest.source}: {manifest.key} is defined twice, first at {found[manifest.key].source}. "
                    "Remove one of the two"
                )
            found[manifest.key] = manifest
    return tuple(found[key] for key in sorted(found))


def _documents(path: Path) -> Iterable[Document]:
    try:
        return reading.documents(reading.text_of(path), str(path))
    except (Unreadable, FileNotFoundError) as error:
        raise InvalidManifest(str(error)) from None


def _manifest(source: str, document: Any, engine: str) -> Manifest:
    if not isinstance(document, dict):
        raise InvalidManifest(f"{source}: expected a mapping, found {type(document).__name__}. Write one object here")
    api, kind = document.get("apiVersion"), document.get("kind")
    if not isinstance(api, str) or not isinstance(kind, str) or kind not in KINDS[engine].get(api, ()):
        allowed = ", ".join(f"{api} {kind}" for api, kinds in KINDS[engine].items() for kind in sorted(kinds))
        raise InvalidManifest(f"{source}: {api} {kind} does not belong into {engine}/. Allowed: {allowed}")
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(name, str) or not name:
        raise InvalidManifest(f"{source}: metadata.name is missing. Give the {kind} a name")
    namespace = metadata.get("namespace")
    if namespace is not None and not isinstance(namespace, str):
        raise InvalidManifest(f"{source}: metadata.namespace is {namespace!r}, no text. Put it in quotes")
    return Manifest(
        source=source,
        api_version=api,
        kind=kind,
        name=name,
        namespace=namespace,
        labels=_texts(source, metadata, "labels"),
        annotations=_texts(source, metadata, "annotations"),
        body={k: v for k, v in document.items() if k not in {"apiVersion", "kind", "metadata", "status"}},
    )


def _texts(source: str, metadata: Mapping[str, Any], field: str) -> Mapping[str, str]:
    found = metadata.get(field) or {}
    if not isinstance(found, dict):
        raise InvalidManifest(f"{source}: metadata.{field} is {found!r}, no mapping. Write keys with values")
    for key, value in found.items():
        if not isinstance(value, str):
            raise InvalidManifest(f"{source}: metadata.{field}.{key} is {value!r}, no text. Put it in quotes")
    return found
