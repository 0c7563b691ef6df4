"""Names of what is written: those of the policies, as far as Kubernetes takes them and nobody else has them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any

MOST = 253
"""Characters of an object's name."""
_DIGEST = 8
Taken = Collection[tuple[str, str, str]]
"""Kind, namespace and name of objects that are there already."""


def fitting(name: str, suffix: str = "", most: int = MOST) -> str:
    """The name with the suffix. One that would be too long is cut, and told apart by a digest of all of it."""
    if len(name) + len(suffix) <= most:
        return name + suffix
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST]
    return f"{name[: most - len(suffix) - _DIGEST - 1].rstrip('-.')}-{digest}{suffix}"


def free(name: str, taken: Collection[str]) -> str:
    """The name, or the first of it with a number that nobody has."""
    found, number = name, 2
    while found in taken:
        found, number = fitting(name, f"-{number}"), number + 1
    return found


def distinct(manifests: list[dict[str, Any]], taken: Taken) -> list[dict[str, Any]]:
    """The same objects, each with a name of its own: who has it alone keeps it, the others get a number."""
    held: dict[tuple[str, str], set[str]] = {}
    for kind, namespace, name in (*taken, *map(key_of, manifests)):
        held.setdefault((kind, namespace), set()).add(name)
    theirs, seen = set(taken), set[tuple[str, str, str]]()
    for manifest in manifests:
        kind, namespace, name = key_of(manifest)
        if (kind, namespace, name) in theirs or (kind, namespace, name) in seen:
            names = held[kind, namespace]
            manifest["metadata"]["name"] = name = free(name, names)
            names.add(name)
        seen.add((kind, namespace, name))
    return manifests


def key_of(manifest: dict[str, Any]) -> tuple[str, str, str]:
    """Kind, namespace and name."""
    meta = manifest["metadata"]
    return manifest["kind"], meta.get("namespace", ""), meta["name"]
