"""Which CRDs a version of Calico needs, all of them, and how each of them looks.

`calico_crds.json` beside this file is derived from the repositories of Calico and of its operator, at the tag of every
release (`python -m tests.programs.calico_crds`, where it says from what). Calico Enterprise's are left out.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from migration.rules.versions import Minor, minor

SHARED: Final = "policy.networking.k8s.io"
"""Kubernetes' own group: its CRDs belong to whoever brought them, so nobody's schema is the right one."""
_IDLE_WHEN_FALSE: Final = frozenset(
    {"nullable", "exclusiveMinimum", "exclusiveMaximum", "uniqueItems", "x-kubernetes-embedded-resource"}
    | {"x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"}
)
_SCHEMAS: Final = frozenset({"not", "items", "additionalProperties"})
_LISTS_OF_SCHEMAS: Final = frozenset({"allOf", "anyOf", "oneOf"})
_MAPS_OF_SCHEMAS: Final = frozenset({"properties", "patternProperties", "definitions"})


@dataclass(frozen=True)
class Look:
    """How a CRD looks, as far as objects can tell."""

    served: frozenset[str]
    """Its versions that the API server serves."""
    stored: str
    """The one in which objects are stored."""
    digest: str
    """Of kind, scope and the schemas of all its versions; descriptions left out."""


@dataclass(frozen=True)
class Definition:
    """A CRD that a version of Calico needs."""

    name: str
    served: frozenset[str]
    stored: str
    digests: frozenset[str]
    """How releases of exactly this version write it; empty when not known."""


def look(crd: Mapping[str, Any]) -> Look:
    """How a CustomResourceDefinition looks, as a file or as the API server answers: both give the same."""
    spec = crd.get("spec") or {}
    versions = spec.get("versions") or []
    shown = {
        "kind": (spec.get("names") or {}).get("kind"),
        "scope": spec.get("scope"),
        "versions": {
            str(v["name"]): {
                "schema": _plain((v.get("schema") or {}).get("openAPIV3Schema") or {}),
                "subresources": sorted((v.get("subresources") or {}).keys()),
            }
            for v in versions
        },
    }
    text = json.dumps(shown, sort_keys=True, separators=(",", ":"))
    return Look(
        served=frozenset(str(v["name"]) for v in versions if v.get("served")),
        stored=next((str(v["name"]) for v in versions if v.get("storage")), ""),
        digest=hashlib.sha256(text.encode()).hexdigest()[:16],
    )


def _plain(schema: Any) -> Any:
    """A schema without what says nothing: descriptions, and what the API server leaves out when it answers."""
    if not isinstance(schema, Mapping):
        return schema
    kept: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "description" or (key in _IDLE_WHEN_FALSE and not value):
            continue
        if key in _SCHEMAS:
            kept[key] = _plain(value)
        elif key in _LISTS_OF_SCHEMAS:
            kept[key] = [_plain(one) for one in value]
        elif key in _MAPS_OF_SCHEMAS:
            kept[key] = {name: _plain(one) for name, one in value.items()}
        else:
            kept[key] = _number(value)
    return {key: value for key, value in kept.items() if value not in ([], None) and (value != {} or key in _SCHEMAS)}


def _number(value: Any) -> Any:
    """`1.0` is `1` to JSON's numbers and to the API server."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def complete(version: str, *, native: bool) -> Mapping[str, Definition] | None:
    """Every CRD that a version of Calico needs, by full name; None when nobody knows that minor version.

    A patch that came out after this list is judged by the newest that is known of its minor, and without digests.

    Args:
        native: whether Calico keeps its objects as `projectcalico.org/v3` (`operations/cluster/calico.py`).

    Raises:
        ValueError: `version` is none.
    """
    mode = _known()["native" if native else "stored"]
    version = f"v{version.removeprefix('v')}"
    exact = version in releases(native=native)
    if not exact:
        alike = [v for v in releases(native=native) if minor(v) == minor(version)]
        if not alike:
            return None
        version = alike[-1]
    found = {}
    for name, looks in mode.items():
        mine = [one for one in looks if version in one["versions"]]
        if mine:
            judged = exact and not name.endswith(f".{SHARED}")
            found[name] = Definition(
                name,
                frozenset(mine[0]["served"]),
                mine[0]["stored"],
                frozenset(one["digest"] for one in mine) if judged else frozenset(),
            )
    return found


def releases(*, native: bool) -> list[str]:
    """Versions of Calico of which every CRD is known, the oldest first."""
    found = {
        v for looks in _known()["native" if native else "stored"].values() for one in looks for v in one["versions"]
    }
    return sorted(found, key=_order)


def minors() -> list[Minor]:
    """Minor versions of Calico of which the CRDs are known."""
    return sorted({minor(version) for version in releases(native=False)})


def problems(wanted: Definition, found: Look | None) -> Iterable[str]:
    """What is wrong with a CRD of the cluster, in words; None stands for one that is not there."""
    if found is None:
        yield "does not exist"
        return
    for version in sorted(wanted.served - found.served):
        yield f"is not served as {version}"
    if found.stored != wanted.stored:
        yield f"is stored as {found.stored or 'nothing'}, not as {wanted.stored}"
    if wanted.digests and found.digest not in wanted.digests:
        of = written_by(wanted.name, found.digest)
        yield f"its schema is that of {of}" if of else "its schema is that of no release that is known"


def written_by(name: str, digest: str) -> str:
    """Which releases have a CRD with this digest, in words; empty when none has."""
    looks = [one for mode in _known().values() for one in mode.get(name, ()) if one["digest"] == digest]
    versions = sorted({v for one in looks for v in one["versions"]}, key=_order)
    if not versions:
        return ""
    return versions[0] if len(versions) == 1 else f"{versions[0]} to {versions[-1]}"


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.removeprefix("v").split("."))


@cache
def _known() -> dict[str, dict[str, list[dict[str, Any]]]]:
    read: dict[str, dict[str, list[dict[str, Any]]]] = json.loads(Path(__file__).with_suffix(".json").read_text())
    return read
