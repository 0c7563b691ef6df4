"""The prover: proves again after each change in the cluster, while both kinds of nodes run, that no verdict changes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi

import reading
from components.common import token
from components.shipped import Shipped
from migration.before import calico_version, enforcer
from migration.desired import Desired
from migration.facts import Facts
from migration.journeys import JOURNEYS, Piece
from migration.mixtures import mixtures
from migration.names import ACCEPTED, BRIDGE, CILIUM_CNI, CNI_LABEL, PROVER, SYSTEM_NAMESPACE
from migration.rules.versions import minor
from migration.settings import Settings
from netpol.model.world import Engine, Recognition
from prover.options import InvalidOptions, Options
from prover.places import Moment
from prover.ship import manifests


def options(settings: Settings, facts: Facts | None, wanted: Desired, accepted: Sequence[Mapping[str, Any]]) -> Options:
    """What the prover is told."""
    before = enforcer(facts)
    there = mixtures(JOURNEYS[settings.journey], wanted.stage)
    return Options(
        moments=tuple(Moment.of(name, stage.enforcement, legacy=Recognition.BRIDGE) for name, stage in there),
        before=frozenset({Engine(before)}) if before else frozenset(),
        namespace=SYSTEM_NAMESPACE,
        bridge=BRIDGE,
        node_label=CNI_LABEL,
        cilium_nodes=(CILIUM_CNI,),
        calico_version=calico_version(settings, facts),
        cilium_version=minor(settings.cilium.version),
        pod_blocks=tuple(settings.network.vpc_cidrs),
        accepted=tuple(accepted),
    )


def proved(
    settings: Settings,
    facts: Facts | None,
    wanted: Desired,
    *,
    provider: pulumi.ProviderResource,
    after: Sequence[pulumi.Resource],
) -> list[pulumi.Resource]:
    """The prover, where the stage has the bridge: it lives as long. Nodes of Cilium come after it."""
    if Piece.BRIDGE not in wanted.pieces:
        return []
    told = options(settings, facts, wanted, accepted(Path(ACCEPTED)))
    try:
        Options.load(told.dump())
    except InvalidOptions as error:
        raise pulumi.RunError(str(error)) from None
    return Prover(
        told, settings.bridge.image, protect=Piece.BRIDGE in wanted.protected, provider=provider, after=after
    ).resources


def accepted(path: Path) -> tuple[Mapping[str, Any], ...]:
    """The differences that somebody accepts, as the file has them; none without a file.

    Raises:
        pulumi.RunError: it cannot be read.
    """
    try:
        found = reading.value(reading.text_of(path), str(path))
    except FileNotFoundError:
        return ()
    except reading.Unreadable as error:
        raise pulumi.RunError(error.told()) from None
    listed = found.get("accepted") if isinstance(found, dict) else found
    if listed is None:
        return ()
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise pulumi.RunError(f"{path}: `accepted` is not a list of mappings. Correct the file")
    return tuple(listed)


class Prover(Shipped):
    """Rights, program, two replicas, and the ConfigMap in which it publishes.

    Args:
        told: its options.
        image: with Python, by digest.
        protect: whether the engine refuses to delete it.
    """

    def __init__(
        self,
        told: Options,
        image: str,
        *,
        protect: bool,
        provider: pulumi.ProviderResource,
        after: Sequence[pulumi.Resource],
    ) -> None:
        super().__init__(token("policy", "Prover"), PROVER, after=after, provider=provider)
        self.resources: list[pulumi.Resource] = []
        published = manifests.published(told)
        for obj in manifests.objects(told, image=image):
            # What is published there is the prover's: a deploy makes the object and leaves its data alone.
            ignored = {"ignore_changes": ["data"]} if obj == published else {}
            self.resources.append(self.shipped(obj, after=self.resources, protect=protect, **ignored))
        self.register_outputs({})
