"""A digest of what a stage declares: whether a deploy that stays at its stage changes anything. Pure."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from migration.desired import Desired
from migration.journeys import Engine, Piece
from migration.manifests import Manifest
from migration.settings import Settings

_POLICIES = {Engine.CALICO: Piece.CALICO_POLICIES, Engine.CILIUM: Piece.CILIUM_POLICIES}


def digest(settings: Settings, wanted: Desired, policies: Mapping[str, Sequence[Manifest]]) -> str:
    """SHA-256 over everything that reaches a resource at this stage.

    Left out is what never does: the words of the journey (its last stage and greenfield declare the same), sizes that
    count only when a group is made, how a refresh or a soak goes about it.

    Args:
        policies: by engine, as the files say.
    """
    declared: dict[str, Any] = asdict(wanted)
    del declared["stage"]
    declared["groups"] = [_group(group) for group in declared["groups"]]
    calico = settings.legacy.calico if settings.legacy and Piece.CALICO in wanted.pieces else None
    whole = {
        "desired": declared,
        "deployers": sorted(settings.deployers),
        "cluster": settings.cluster.model_dump(mode="json", exclude={"take_over"}),
        "network": settings.network.model_dump(mode="json"),
        "cilium": settings.cilium.model_dump(mode="json", include={"chart"}) if Piece.CILIUM in wanted.pieces else None,
        "calico": calico.model_dump(mode="json") if calico else None,
        "bridge": settings.bridge.model_dump(mode="json") if Piece.BRIDGE in wanted.pieces else None,
        "policies": {
            engine: [[m.key, m.api_version, m.labels, m.annotations, m.body] for m in policies.get(engine, ())]
            for engine, piece in _POLICIES.items()
            if piece in wanted.pieces
        },
    }
    return hashlib.sha256(json.dumps(_texts(whole), sort_keys=True, default=_plain).encode()).hexdigest()[:32]


_UNSAID: Mapping[str, Any] = {
    "ami_type": "AL2023_x86_64_STANDARD",
    "ami_family": "AL2023",
    "spot": False,
    "tags": {},
    "security_group_ids": (),
    "extra_user_data": None,
    "max_unavailable": "1",
    "minimal_update": False,
    "metadata_hop_limit": 2,
    "metadata_tokens": "required",
}
"""What every group had when nobody could say it: left out, so that the digest of such a group stays what it was."""
_DISK: Mapping[str, Any] = {"device": "/dev/xvda", "type": "gp3", "iops": None, "throughput": None, "kms_key": None}


def _group(declared: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: value for key, value in declared.items() if key not in _UNSAID or value != _UNSAID[key]}
    del found["initial_size"]
    types, disk = found.pop("instance_types"), found.pop("disk")
    named = {"instance_type": types[0]} if len(types) == 1 else {"instance_types": types}
    volume = {key: value for key, value in disk.items() if key in _DISK and value != _DISK[key]}
    return {**found, **named, "disk_gib": disk["gib"]} | ({"disk": volume} if volume else {})


def _texts(value: Any) -> Any:
    """With every key a text: what stands in a file may have others, which cannot be sorted among each other."""
    if isinstance(value, Mapping):
        return {str(key): _texts(inner) for key, inner in value.items()}
    return [_texts(item) for item in value] if isinstance(value, list | tuple) else value


def _plain(value: object) -> Any:
    if isinstance(value, frozenset | set):
        return sorted(map(str, value))
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)
