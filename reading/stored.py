"""Metadata of Calico's objects: what is written through its own API is kept in one annotation of the stored object."""

import json
from collections.abc import Mapping
from typing import Any, Final

from reading.json_text import json_value
from reading.unreadable import Unreadable

STORED_API: Final = "crd.projectcalico.org/v1"
"""Under which Calico stores what its API server and calicoctl write."""
METADATA: Final = "projectcalico.org/metadata"
"""The annotation: JSON of what of the metadata the stored object does not have itself."""


def metadata_of(api: str, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """An object's metadata as Calico reads it.

    Labels and annotations are those of the object with those of the annotation over them; owners, and the name of a
    policy, are the annotation's alone (projectcalico/calico, libcalico-go/lib/backend/k8s/resources/resources.go,
    ConvertK8sResourceToCalicoResource). Objects of another API, and those without the annotation, are as they stand.

    Raises:
        ValueError: the annotation holds no metadata. Calico does not read such an object either.
    """
    annotations = metadata.get("annotations")
    if api != STORED_API or not isinstance(annotations, Mapping) or METADATA not in annotations:
        return metadata
    try:
        kept = json_value(str(annotations[METADATA]))
    except Unreadable as error:
        raise ValueError(error.reason) from None
    kept = {} if kept is None else kept
    _expect(isinstance(kept, dict), "is not a mapping")
    own = {k: v for k, v in annotations.items() if k != METADATA}
    whole = {**metadata, "annotations": {**own, **_texts(kept, "annotations")}}
    whole["labels"] = {**(metadata.get("labels") or {}), **_texts(kept, "labels")}
    owners = [] if kept.get("ownerReferences") is None else kept["ownerReferences"]
    good = isinstance(owners, list) and all(isinstance(o, dict) for o in owners)
    _expect(good, "has ownerReferences that are not a list of mappings")
    whole["ownerReferences"] = owners
    whole["name"] = kept.get("name") or metadata.get("name")
    _expect(isinstance(whole["name"], str), "has a name that is not text")
    return whole


def without_labels(text: str) -> str:
    """The annotation's text without labels, which would stand over the object's own; empty for one that is not JSON."""
    try:
        kept = json_value(text)
    except Unreadable:
        return "{}"
    return json.dumps({k: v for k, v in kept.items() if k != "labels"}) if isinstance(kept, dict) else "{}"


def _texts(kept: Mapping[str, Any], field: str) -> Mapping[str, str]:
    found = {} if kept.get(field) is None else kept[field]
    good = isinstance(found, dict) and all(isinstance(v, str) for v in found.values())
    _expect(good, f"has {field} that are not a mapping of texts")
    return dict(found)


def _expect(good: bool, what: str) -> None:
    if not good:
        raise ValueError(f"{what}. Write the object again through Calico's API")
