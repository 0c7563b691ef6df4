"""Which node groups a refresh empties, which it fills, and up to which sizes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from migration.facts import Facts
from migration.journeys import NodeKind
from migration.settings import Settings
from operations.refresh.cluster.cloud import GroupRef
from operations.refresh.cluster.lease import Memory
from operations.refresh.model.request import InvalidRequest
from operations.refresh.model.values import Sizes


@dataclass(frozen=True)
class Groups:
    """The groups of a cluster by kind of node, with the sizes they should have while workloads live there."""

    legacy: Mapping[GroupRef, Sizes]
    cilium: Mapping[GroupRef, Sizes]

    def of(self, kind: NodeKind) -> Mapping[GroupRef, Sizes]:
        return self.legacy if kind is NodeKind.LEGACY else self.cilium

    @property
    def refs(self) -> Sequence[GroupRef]:
        return (*self.legacy, *self.cilium)


def groups(settings: Settings, facts: Facts | None) -> Groups:
    """From the settings, and for the legacy nodes of an adopted cluster from its facts.

    Raises:
        InvalidRequest: there are no legacy groups to speak of.
    """
    if facts is not None:
        legacy = {
            GroupRef(g.name, "" if g.kind == "managed" else g.scaling_group or ""): Sizes(
                g.min_size, g.desired, g.max_size
            )
            for g in facts.groups
            if g.kind == "managed" or (g.kind == "self-managed" and g.scaling_group)
        }
    else:
        own = settings.legacy.groups if settings.legacy else ()
        legacy = {GroupRef(g.name): Sizes(0, g.size, g.upper_bound) for g in own}
    if not legacy:
        raise InvalidRequest(
            "no legacy node groups are known: an adopted cluster needs its facts (`python -m operations survey`), "
            "an owned one legacy.groups"
        )
    cilium = {GroupRef(g.name): Sizes(0, g.size, g.upper_bound) for g in settings.cilium.groups}
    return Groups(legacy, cilium)


def wanted(groups: Groups, target: NodeKind, memory: Memory) -> dict[str, Sizes]:
    """Sizes at the end: as remembered from before the first refresh, else as configured or surveyed."""
    found = {ref.name: sizes for ref, sizes in groups.of(target).items()}
    if target is NodeKind.LEGACY:
        found |= {name: sizes for name, sizes in memory.sizes.items() if name in found}
    return found
