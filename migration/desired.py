"""`desired(settings, facts, stage)`: the cluster a stage declares, as frozen values for components to build.

Values that only a running cluster knows (its endpoint, a role's ARN) appear as `Slot`s; components fill them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from migration.cilium_values import cilium_values
from migration.facts import DaemonSetFacts, Facts, InvalidFacts
from migration.journeys import JOURNEYS, CheckId, NodeKind, Piece, Stage
from migration.names import (
    AWS_NODE,
    CNI_LABEL,
    KUBE_PROXY,
    LEGACY_CNI,
)
from migration.node_groups import PIECE_OF, Group, node_groups
from migration.rules import addon_values, affinity
from migration.rules.affinity import Affinity
from migration.settings import Addon, Settings


@dataclass(frozen=True, kw_only=True)
class SystemDaemonSet:
    """aws-node or kube-proxy."""

    name: str
    addon: str | None
    """Name of the managed add-on; None for a self-managed DaemonSet."""
    version: str | None = None
    configuration: str | None = None
    """`configurationValues`, JSON. None leaves what is there: only before the first change of ours."""
    service_account_role_arn: str | None = None
    patched: bool = False
    """Whether `affinity` is applied to the DaemonSet itself, because no add-on configuration can carry it."""
    affinity: Affinity | None = None
    configured: bool = False
    """Imported only: whether the stage says what the affinity in the add-on's configuration is."""
    imported: bool = False
    """The add-on is the owner's: taken into the state as it is, given back by forgetting it."""
    keep: bool = False
    """Leaving the program forgets the thing and leaves it in the cluster."""
    protect: bool = False


@dataclass(frozen=True, kw_only=True)
class CalicoDesired:
    """Calico by the Tigera operator."""

    owned: bool
    version: str | None
    affinity: Affinity | None
    """Override for calico-node; None means Calico's own."""
    namespace: str | None = None
    """Adopted, installed by manifest: the DaemonSet's namespace; its affinity is patched there."""
    protect: bool = False
    protect_policies: bool = False
    policies: bool = False
    """Whether the files under `policies/network/calico` are deployed."""
    may_go: bool = False
    """Policies carry the mark with which the freeze lets them be deleted: the next stage does."""


@dataclass(frozen=True, kw_only=True)
class CiliumDesired:
    version: str
    values: Mapping[str, Any]
    """Chart values; `Slot` members stand for what only the cluster knows."""
    protect: bool
    protect_policies: bool


@dataclass(frozen=True, kw_only=True)
class Desired:
    """Everything a stage declares. Equal values declare the same cluster."""

    place: str
    pieces: frozenset[Piece]
    protected: frozenset[Piece]
    groups: tuple[Group, ...]
    vpc_cni: SystemDaemonSet | None
    kube_proxy: SystemDaemonSet | None
    coredns: Addon | None
    calico: CalicoDesired | None
    cilium: CiliumDesired | None
    legacy_label: Literal["present", "absent"] | None
    """What the label command sees to; None where no legacy node can exist."""
    refresh_to: NodeKind | None
    """Where the refresh moves workloads to; None where only one kind of node can exist."""
    stage: Stage = field(compare=False)
    """The row this was made from; not part of what is declared."""

    @property
    def enforcement(self) -> Mapping[NodeKind, frozenset[str]]:
        return {kind: frozenset(map(str, engines)) for kind, engines in self.stage.enforcement.items()}

    @property
    def gate(self) -> tuple[CheckId, ...]:
        return self.stage.gate

    @property
    def settle(self) -> tuple[CheckId, ...]:
        return self.stage.settle

    @property
    def names(self) -> frozenset[str]:
        """A name for each thing that can be deleted by leaving the program: `piece`, or `piece/name` for groups."""
        singles = {str(piece) for piece in self.pieces - _GROUPED}
        return frozenset(singles | {f"{PIECE_OF[group.role]}/{group.name}" for group in self.groups})

    @property
    def protected_names(self) -> frozenset[str]:
        return frozenset(name for name in self.names if name.split("/")[0] in set(map(str, self.protected)))


_GROUPED: Final = frozenset(PIECE_OF.values())
_OWNERS: Final = frozenset(
    {
        Piece.CLUSTER,
        Piece.LEGACY_GROUPS,
        Piece.VPC_CNI,
        Piece.KUBE_PROXY,
        Piece.COREDNS,
        Piece.CALICO,
        Piece.CALICO_POLICIES,
    }
)
"""Pieces that belong to somebody else on an adopted cluster."""
_TOUCHED: Final = frozenset({Piece.VPC_CNI, Piece.KUBE_PROXY, Piece.CALICO})
"""Of those, the ones whose pods we bind to legacy nodes."""


def desired(settings: Settings, facts: Facts | None, stage_id: str) -> Desired:
    """The cluster as it should be at a stage.

    Args:
        settings: of the stack; `settings.journey` says which table `stage_id` is looked up in.
        facts: of an adopted cluster; None for one that the stack owns.
        stage_id: need not be the stage in the settings.

    Raises:
        KeyError: the journey has no such stage.
    """
    stage = JOURNEYS[settings.journey][stage_id]
    adopted = settings.cluster.adopt
    pieces = stage.pieces - (_OWNERS - _TOUCHED) if adopted else stage.pieces
    pieces -= set() if settings.bridge.enabled else {Piece.BRIDGE}
    protected = (stage.protected - _OWNERS if adopted else stage.protected) & pieces
    both = len(stage.wiring) > 1
    legacy = NodeKind.LEGACY in stage.wiring
    return Desired(
        place=stage.place,
        pieces=pieces,
        protected=protected,
        groups=node_groups(settings, pieces, protected, start_empty=settings.journey != "greenfield"),
        vpc_cni=_vpc_cni(settings, facts, stage, protected) if Piece.VPC_CNI in pieces else None,
        kube_proxy=_kube_proxy(settings, facts, stage, protected) if Piece.KUBE_PROXY in pieces else None,
        coredns=settings.coredns if Piece.COREDNS in pieces else None,
        calico=_calico(settings, facts, stage, protected) if Piece.CALICO in pieces else None,
        cilium=CiliumDesired(
            version=settings.cilium.version,
            values=cilium_values(settings, facts),
            protect=Piece.CILIUM in protected,
            protect_policies=Piece.CILIUM_POLICIES in protected,
        )
        if Piece.CILIUM in pieces
        else None,
        legacy_label=("present" if stage.legacy_label else "absent") if legacy else None,
        refresh_to=stage.workloads if both else None,
        stage=stage,
    )


def _pinned(original: Affinity | None, stage: Stage) -> Affinity | None:
    return affinity.pin(original, CNI_LABEL, LEGACY_CNI) if stage.pinned else original


def _vpc_cni(settings: Settings, facts: Facts | None, stage: Stage, protected: frozenset[Piece]) -> SystemDaemonSet:
    if facts is None:
        addon = settings.legacy.vpc_cni if settings.legacy else Addon()
        return SystemDaemonSet(
            name=AWS_NODE,
            addon="vpc-cni",
            version=addon.version,
            configuration=_configuration(addon.configuration, affinity.on_linux_ec2(), stage),
            protect=Piece.VPC_CNI in protected,
        )
    found = facts.vpc_cni
    if found.kind != "addon":
        return _self_managed(AWS_NODE, found, stage)
    literal = found.configuration
    try:
        values = addon_values.parse(literal)
    except ValueError as error:  # the survey writes down what it refuses, and says so in its decisions
        raise InvalidFacts(
            f"vpcCni.configuration of the facts {error}. Correct it with `aws eks update-addon`, then survey again"
        ) from None
    configuration = _configuration(values, found.affinity, stage)
    untouched = not stage.pinned and (literal or stage is JOURNEYS[settings.journey].first)
    return _adopted_addon(
        settings,
        stage,
        Piece.VPC_CNI,
        AWS_NODE,
        found,
        configuration=literal if untouched else configuration,
        configured=stage is not JOURNEYS[settings.journey].first,
    )


def _kube_proxy(settings: Settings, facts: Facts | None, stage: Stage, protected: frozenset[Piece]) -> SystemDaemonSet:
    if facts is None:
        addon = settings.legacy.kube_proxy if settings.legacy else Addon()
        return SystemDaemonSet(
            name=KUBE_PROXY,
            addon="kube-proxy",
            version=addon.version,
            configuration=json.dumps(dict(addon.configuration), sort_keys=True),
            patched=True,
            affinity=_pinned(affinity.on_linux_ec2(), stage),
            protect=Piece.KUBE_PROXY in protected,
        )
    found = facts.kube_proxy
    if found.kind != "addon":
        return _self_managed(KUBE_PROXY, found, stage)
    return _adopted_addon(
        settings,
        stage,
        Piece.KUBE_PROXY,
        KUBE_PROXY,
        found,
        configuration=found.configuration,
        patched=True,
        affinity=_pinned(found.affinity, stage),
    )


def _configuration(base: Mapping[str, Any], original: Affinity | None, stage: Stage) -> str:
    """Add-on configuration with the pin inside its affinity; always explicit, because leaving it out keeps the last."""
    values = dict(base)
    if stage.pinned:
        values["affinity"] = _pinned(values.get("affinity") or original, stage)
    return json.dumps(values, sort_keys=True)


def _adopted_addon(
    settings: Settings, stage: Stage, piece: Piece, name: str, found: DaemonSetFacts, **more: Any
) -> SystemDaemonSet:
    # Even one that may be taken over is kept until the stage at which an owned one loses its protection: destroying
    # the stack before would take the only CNI of somebody else's cluster.
    return SystemDaemonSet(
        name=name,
        addon=str(piece),
        version=found.addon_version,
        service_account_role_arn=found.service_account_role_arn,
        imported=True,
        keep=not settings.cluster.take_over or piece in stage.protected,
        **more,
    )


def _self_managed(name: str, found: DaemonSetFacts, stage: Stage) -> SystemDaemonSet:
    return SystemDaemonSet(
        name=name, addon=None, patched=True, affinity=_pinned(found.affinity, stage), imported=True, keep=True
    )


_OFF_FARGATE: Final[Affinity] = {
    "nodeAffinity": {
        affinity.REQUIRED: {
            "nodeSelectorTerms": [
                {
                    "matchExpressions": [
                        {"key": "eks.amazonaws.com/compute-type", "operator": "NotIn", "values": ["fargate"]}
                    ]
                }
            ]
        }
    }
}
"""Affinity that the Tigera operator gives calico-node on EKS itself; an override replaces it, so it is repeated."""


def _calico(settings: Settings, facts: Facts | None, stage: Stage, protected: frozenset[Piece]) -> CalicoDesired | None:
    if facts is None:
        return CalicoDesired(
            owned=True,
            version=settings.legacy.calico.version if settings.legacy else None,
            affinity=_pinned(_OFF_FARGATE, stage) if stage.pinned else None,
            protect=Piece.CALICO in protected,
            protect_policies=Piece.CALICO_POLICIES in protected,
            policies=Piece.CALICO_POLICIES in stage.pieces,
            may_go=Piece.FREEZE in stage.pieces and Piece.CALICO_POLICIES not in protected,
        )
    found = facts.calico
    if found.kind == "absent":
        return None
    by_manifest = found.kind == "manifest"
    original = found.affinity if by_manifest else found.affinity or (_OFF_FARGATE if stage.pinned else None)
    return CalicoDesired(
        owned=False,
        version=found.version,
        affinity=_pinned(original, stage),
        namespace=found.namespace if by_manifest else None,
    )
