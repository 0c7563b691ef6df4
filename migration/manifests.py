"""The policy files under `policies/network`: one value for each document, or an error that names file and line."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

CALICO_API: Final = "crd.projectcalico.org/v1"
CILIUM_API: Final = "cilium.io/v2"
KINDS: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    "calico": {
        CALICO_API: frozenset({"GlobalNetworkPolicy", "NetworkPolicy", "GlobalNetworkSet", "NetworkSet", "Tier"})
    },
    "cilium": {CILIUM_API: frozenset({"CiliumClusterwideNetworkPolicy", "CiliumNetworkPolicy", "CiliumCIDRGroup"})},
}
"""Directory -> API version -> kinds that may stand in it."""


class InvalidManifest(ValueError):
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
        for line, document in _documents(path):
            manifest = _manifest(f"{path}:{line}", document, engine)
            if manifest.key in found:
                raise InvalidManifest(
                    f"{manifest.source}: {manifest.key} is defined twice, first at {found[manifest.key].source}. "
                    "Remove one of the two"
                )
            found[manifest.key] = manifest
    return tuple(found[key] for key in sorted(found))


def _documents(path: Path) -> list[tuple[int, Any]]:
    try:
        nodes = list(yaml.compose_all(path.read_text(), Loader=yaml.SafeLoader))
        values = list(yaml.safe_load_all(path.read_text()))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise InvalidManifest(f"{path}:{line}: is no YAML: {getattr(error, 'problem', error)}") from None
    lines = [node.start_mark.line + 1 if node is not None else 1 for node in nodes]
    return [(line, value) for line, value in zip(lines, values, strict=True) if value is not None]


def _manifest(source: str, document: Any, engine: str) -> Manifest:
    if not isinstance(document, dict):
        raise InvalidManifest(f"{source}: expected a mapping, found {type(document).__name__}")
    api, kind = document.get("apiVersion"), document.get("kind")
    kinds = KINDS[engine].get(str(api))
    if kinds is None or kind not in kinds:
        allowed = ", ".join(f"{api} {kind}" for api, kinds in KINDS[engine].items() for kind in sorted(kinds))
        raise InvalidManifest(f"{source}: {api} {kind} does not belong into {engine}/. Allowed: {allowed}")
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise InvalidManifest(f"{source}: metadata.name is missing. Give the {kind} a name")
    return Manifest(
        source=source,
        api_version=str(api),
        kind=str(kind),
        name=metadata["name"],
        namespace=metadata.get("namespace"),
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        body={k: v for k, v in document.items() if k not in {"apiVersion", "kind", "metadata", "status"}},
    )
