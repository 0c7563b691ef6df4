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
    for group in declared["groups"]:
        del group["initial_size"]
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
