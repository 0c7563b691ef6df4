"""The journeys as tables: which stages there are, what each one changes, and what must hold before it.

A row is written as its difference from the row before. Everything that shows a stage to people, checks it or builds
it reads these rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final


class NodeKind(StrEnum):
    """Who wires the pods of a node."""

    LEGACY = "legacy"
    CILIUM = "cilium"


class Cni(StrEnum):
    VPC_CNI = "vpc-cni"
    CILIUM = "cilium"


class Engine(StrEnum):
    """What enforces network policy on a node."""

    CALICO = "calico"
    CILIUM = "cilium"


class Proxy(StrEnum):
    """What routes Services on a node."""

    KUBE_PROXY = "kube-proxy"
    CILIUM = "cilium"


class Piece(StrEnum):
    """A part of the cluster that a stack may own."""

    CLUSTER = "cluster"
    LEGACY_GROUPS = "legacy-groups"
    VPC_CNI = "vpc-cni"
    KUBE_PROXY = "kube-proxy"
    COREDNS = "coredns"
    CALICO = "calico"
    CALICO_POLICIES = "calico-policies"
    CILIUM = "cilium"
    CILIUM_POLICIES = "cilium-policies"
    BRIDGE = "bridge"
    FREEZE = "policy-freeze"
    GUARD = "guard"
    CANARY_GROUP = "canary-group"
    CILIUM_GROUPS = "cilium-groups"
    PROBES = "probes"


class Risk(StrEnum):
    """What can break when a stage is entered. Neighbouring stages differ in one of these at most."""

    WIRING = "wiring"
    ENFORCEMENT = "enforcement"
    SERVICE_ROUTING = "service-routing"
    NODE_REMOVAL = "node-removal"
    API_REMOVAL = "api-removal"


class CheckId(StrEnum):
    """A read-only question to the live cluster. Each is one function in `operations/checks/`."""

    IDENTITY_AGREES = "identity-agrees"
    MARK_AGREES = "mark-agrees"
    GUARD_HOLDS = "guard-holds"
    AWS_MADE = "aws-made"
    AWS_WELL = "aws-well"
    NOTHING_REFUSED = "nothing-refused"
    FACTS_HOLD = "facts-hold"
    SETTINGS_AGREE = "settings-agree"
    NODES_READY = "nodes-ready"
    CNI_KNOWN = "cni-known"
    NODES_LABELLED = "nodes-labelled"
    GROUPS_LABELLED = "groups-labelled"
    ADDON_TAKES_AFFINITY = "addon-takes-affinity"
    PINS_HOLD = "pins-hold"
    LEGACY_HEALTHY = "legacy-healthy"
    CALICO_COMPLETE = "calico-complete"
    CALICO_SEES_PODS = "calico-sees-pods"
    CALICO_CONVERTIBLE = "calico-convertible"
    NEXT_KUBERNETES = "next-kubernetes"
    CILIUM_OPERATOR_HEALTHY = "cilium-operator-healthy"
    CILIUM_CONFIGURED = "cilium-configured"
    CRDS_ESTABLISHED = "crds-established"
    POLICIES_ACCEPTED = "policies-accepted"
    ADDRESSES_SUFFICE = "addresses-suffice"
    WEBHOOKS_ANSWER = "webhooks-answer"
    SPREAD_UNHARMED = "spread-unharmed"
    CANARY_READY = "canary-ready"
    POLICIES_REALISED = "policies-realised"
    ENDPOINTS_COMPLETE = "endpoints-complete"
    PROBES_PASS = "probes-pass"  # noqa: S105 - the name of a check, not a password
    NODES_ALIKE = "nodes-alike"
    REFRESH_UNBLOCKED = "refresh-unblocked"
    NO_LEGACY_PODS = "no-legacy-pods"
    AWS_NODE_IDLE = "aws-node-idle"
    SOAKED = "soaked"
    WORKLOADS_NO_WORSE = "workloads-no-worse"
    LEGACY_GROUPS_EMPTY = "legacy-groups-empty"
    NO_CILIUM_NODES = "no-cilium-nodes"
    CANARY_UNUSED = "canary-unused"
    POLICIES_AGREE = "policies-agree"
    CALICO_UNCHANGED = "calico-unchanged"
    NO_FOREIGN_ENFORCER = "no-foreign-enforcer"
    CILIUM_READY = "cilium-ready"
    CONTINUITY = "continuity"
    BRIDGE_IN_STEP = "bridge-in-step"
    PROOF_CURRENT = "proof-current"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A named point on a journey."""

    id: str
    title: str
    """What entering this stage changes, for people."""
    pieces: frozenset[Piece]
    """What exists at this stage."""
    wiring: Mapping[NodeKind, Cni]
    """For each kind of node that may exist: what wires its pods."""
    enforcement: Mapping[NodeKind, frozenset[Engine]]
    proxy: Mapping[NodeKind, Proxy]
    workloads: NodeKind
    """Where workloads live once the stage is reached."""
    legacy_label: bool = False
    """Whether every legacy node carries the label."""
    pinned: bool = False
    """Whether aws-node, kube-proxy and calico-node are bound to labelled nodes."""
    protected: frozenset[Piece] = frozenset()
    """Pieces that the engine refuses to delete at this stage."""
    gate: tuple[CheckId, ...] = ()
    """What must hold before the stage's changes are made."""
    settle: tuple[CheckId, ...] = ()
    """What must hold before the stage counts as reached."""
    leave: tuple[CheckId, ...] = ()
    """What must hold, besides the other stage's gate, to go back from here."""
    reversible: bool = True
    """Whether the stage before may be entered again from here."""
    place: str = ""
    """Name of the state that the stage declares; two stages of the same place declare the same cluster."""
    unproved: tuple[str, ...] = ()
    """What the gate should also ask but cannot yet."""

    def __post_init__(self) -> None:
        if not self.place:
            object.__setattr__(self, "place", self.id)

    def then(self, stage: str, title: str, **changes: Any) -> "Stage":
        """The next row: like this one but for `changes`. Checks, reversibility and place are never inherited."""
        own: dict[str, Any] = {
            "gate": (),
            "settle": (),
            "leave": (),
            "reversible": True,
            "place": stage,
            "unproved": (),
        }
        return replace(self, id=stage, title=title, **(own | changes))


@dataclass(frozen=True)
class Journey:
    """An ordered list of stages."""

    name: str
    title: str
    stages: tuple[Stage, ...]
    index: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", {stage.id: i for i, stage in enumerate(self.stages)})

    def __getitem__(self, stage: str) -> Stage:
        return self.stages[self.index[stage]]

    @property
    def first(self) -> Stage:
        return self.stages[0]

    @property
    def last(self) -> Stage:
        return self.stages[-1]


_P, _C = Piece, CheckId
_LEGACY_PIECES: Final = frozenset({_P.LEGACY_GROUPS, _P.VPC_CNI, _P.KUBE_PROXY})
_CALICO_PIECES: Final = frozenset({_P.CALICO, _P.CALICO_POLICIES})
_CILIUM_PIECES: Final = frozenset({_P.CILIUM, _P.CILIUM_POLICIES})
_ITS_OWN: Final = (_C.IDENTITY_AGREES, _C.MARK_AGREES)
_ALWAYS: Final = (*_ITS_OWN, _C.GUARD_HOLDS, _C.SETTINGS_AGREE, _C.FACTS_HOLD, _C.NOTHING_REFUSED)
_LABELLED: Final = (*_ALWAYS, _C.NODES_LABELLED)
_PINNED: Final = (*_LABELLED, _C.PINS_HOLD)
_PROVED: Final = (_C.BRIDGE_IN_STEP, _C.CONTINUITY, _C.PROOF_CURRENT)
_EMPTIED: Final = (*_PINNED, _C.AWS_WELL, _C.NO_LEGACY_PODS, _C.AWS_NODE_IDLE, _C.SOAKED)

_LEGACY_WORLD: Final[dict[str, Any]] = {
    "wiring": {NodeKind.LEGACY: Cni.VPC_CNI},
    "enforcement": {NodeKind.LEGACY: frozenset({Engine.CALICO})},
    "proxy": {NodeKind.LEGACY: Proxy.KUBE_PROXY},
}
_CILIUM_WORLD: Final[dict[str, Any]] = {
    "wiring": {NodeKind.CILIUM: Cni.CILIUM},
    "enforcement": {NodeKind.CILIUM: frozenset({Engine.CILIUM})},
    "proxy": {NodeKind.CILIUM: Proxy.CILIUM},
}
_BOTH_WORLDS: Final[dict[str, Any]] = {key: {**_LEGACY_WORLD[key], **_CILIUM_WORLD[key]} for key in _LEGACY_WORLD}

_baseline = Stage(
    id="baseline",
    title="the cluster as it is",
    pieces=frozenset({_P.CLUSTER, _P.COREDNS, _P.GUARD}) | _LEGACY_PIECES | _CALICO_PIECES,
    workloads=NodeKind.LEGACY,
    protected=frozenset({_P.CLUSTER}) | _LEGACY_PIECES | _CALICO_PIECES,
    gate=_ALWAYS,
    settle=(_C.AWS_MADE, _C.LEGACY_HEALTHY, _C.CALICO_COMPLETE, _C.CALICO_SEES_PODS),
    **_LEGACY_WORLD,
)
_label = _baseline.then(
    "label-legacy",
    "every node and node group says that the VPC CNI wires it",
    legacy_label=True,
    gate=(*_ALWAYS, _C.NODES_READY, _C.CNI_KNOWN, _C.CALICO_COMPLETE, _C.CALICO_SEES_PODS),
    settle=(_C.AWS_MADE, _C.NODES_LABELLED),
)
_pin = _label.then(
    "pin-legacy",
    "aws-node, kube-proxy and calico-node are bound to labelled nodes",
    pinned=True,
    gate=(*_LABELLED, _C.GROUPS_LABELLED, _C.ADDON_TAKES_AFFINITY, _C.LEGACY_HEALTHY),
    settle=(_C.AWS_MADE, _C.PINS_HOLD, _C.LEGACY_HEALTHY),
)
_install = _pin.then(
    "install-cilium",
    "Cilium and its policies are there, and no node uses them yet",
    pieces=_pin.pieces | _CILIUM_PIECES | {_P.FREEZE, _P.BRIDGE},
    gate=(*_PINNED, _C.LEGACY_HEALTHY, _C.CALICO_SEES_PODS, _C.CONTINUITY),
    settle=(_C.AWS_MADE, _C.CILIUM_OPERATOR_HEALTHY, _C.POLICIES_ACCEPTED, _C.BRIDGE_IN_STEP, _C.PROOF_CURRENT),
    leave=(_C.NO_CILIUM_NODES,),
)
_canary = _install.then(
    "canary",
    "one tainted Cilium node in each zone",
    pieces=_install.pieces | {_P.CANARY_GROUP, _P.CILIUM_GROUPS, _P.PROBES},
    protected=_install.protected | _CILIUM_PIECES | {_P.FREEZE, _P.GUARD, _P.BRIDGE},
    gate=(
        *_PINNED,
        *_PROVED,
        _C.LEGACY_HEALTHY,
        _C.CILIUM_OPERATOR_HEALTHY,
        _C.CILIUM_CONFIGURED,
        _C.POLICIES_ACCEPTED,
        _C.CALICO_UNCHANGED,
        _C.ADDRESSES_SUFFICE,
        _C.WEBHOOKS_ANSWER,
        _C.SPREAD_UNHARMED,
    ),
    settle=(_C.AWS_MADE, _C.CANARY_READY),
    leave=(_C.CANARY_UNUSED,),
    **_BOTH_WORLDS,
)
_move = _canary.then(
    "move-workloads",
    "Cilium nodes grow, legacy nodes are refreshed away",
    workloads=NodeKind.CILIUM,
    protected=_canary.protected | {_P.CILIUM_GROUPS},
    gate=(
        *_PINNED,
        *_PROVED,
        _C.LEGACY_HEALTHY,
        _C.CANARY_READY,
        _C.CILIUM_CONFIGURED,
        _C.POLICIES_REALISED,
        _C.CALICO_UNCHANGED,
        _C.ENDPOINTS_COMPLETE,
        _C.PROBES_PASS,
        _C.NODES_ALIKE,
        _C.ADDRESSES_SUFFICE,
        _C.REFRESH_UNBLOCKED,
    ),
    settle=(_C.AWS_MADE, _C.NO_LEGACY_PODS, _C.ENDPOINTS_COMPLETE),
)
_release = _move.then(
    "release",
    "nothing changes but the protection of what is no longer used",
    protected=_move.protected - _LEGACY_PIECES - {_P.BRIDGE},
    gate=(*_EMPTIED, _C.CILIUM_CONFIGURED),
)
_retire_legacy = _release.then(
    "retire-legacy",
    "legacy node groups, vpc-cni and kube-proxy are gone",
    pieces=_release.pieces - _LEGACY_PIECES - {_P.CANARY_GROUP, _P.PROBES, _P.BRIDGE},
    protected=_release.protected - _CALICO_PIECES - {_P.FREEZE},
    gate=(
        *_EMPTIED,
        _C.CILIUM_CONFIGURED,
        _C.CALICO_UNCHANGED,
        _C.LEGACY_GROUPS_EMPTY,
        _C.CANARY_UNUSED,
        _C.ENDPOINTS_COMPLETE,
        _C.WORKLOADS_NO_WORSE,
    ),
    settle=(_C.AWS_MADE, _C.CILIUM_READY),
    reversible=False,
    **_CILIUM_WORLD,
)
_LAUNCHED: Final = frozenset({_P.CLUSTER, _P.COREDNS, _P.GUARD, _P.CILIUM_GROUPS}) | _CILIUM_PIECES
_retire_calico = _retire_legacy.then(
    "retire-calico",
    "Calico, its policies and the policy freeze are gone",
    pieces=_LAUNCHED,
    protected=_LAUNCHED - {_P.COREDNS},
    legacy_label=False,
    pinned=False,
    place="launch",
    gate=(
        *_ITS_OWN,
        _C.GUARD_HOLDS,
        _C.SETTINGS_AGREE,
        _C.NOTHING_REFUSED,
        _C.AWS_WELL,
        _C.NODES_LABELLED,
        _C.CILIUM_READY,
        _C.CILIUM_CONFIGURED,
        _C.CONTINUITY,
        _C.WORKLOADS_NO_WORSE,
        _C.POLICIES_AGREE,
        _C.CALICO_UNCHANGED,
        _C.NO_FOREIGN_ENFORCER,
    ),
    settle=(_C.AWS_MADE, _C.CILIUM_READY),
    reversible=False,
)
_launch = replace(
    _retire_calico,
    id="launch",
    title="a cluster on Cilium from its first node",
    gate=(
        *_ITS_OWN,
        _C.GUARD_HOLDS,
        _C.SETTINGS_AGREE,
        _C.POLICIES_AGREE,
        _C.CALICO_UNCHANGED,
        _C.NO_FOREIGN_ENFORCER,
    ),
)

REPLACE: Final = Journey(
    "replace",
    "VPC CNI to Cilium in ENI mode, by new nodes",
    (_baseline, _label, _pin, _install, _canary, _move, _release, _retire_legacy, _retire_calico),
)
GREENFIELD: Final = Journey("greenfield", "a new cluster on Cilium", (_launch,))
JOURNEYS: Final[Mapping[str, Journey]] = {journey.name: journey for journey in (REPLACE, GREENFIELD)}


def identity(stage: Stage) -> tuple[CheckId, ...]:
    """What is asked of every deploy, also of one that changes nothing: whose cluster this is."""
    return tuple(check for check in stage.gate if check in _ITS_OWN)


def healthy(stage: Stage) -> tuple[CheckId, ...]:
    """What must hold of the agents while a stack is at a stage: before and after each change of what it declares."""
    found = [_C.LEGACY_HEALTHY] if stage.workloads is NodeKind.LEGACY else []
    if NodeKind.CILIUM in stage.wiring:
        found.append(_C.CILIUM_READY)
    elif Piece.CILIUM in stage.pieces:
        found.append(_C.CILIUM_OPERATOR_HEALTHY)
    if Piece.CILIUM in stage.pieces:
        found.append(_C.CILIUM_CONFIGURED)
    return tuple(found)


def steady(stage: Stage) -> tuple[CheckId, ...]:
    """The gate of a deploy that stays at its stage and changes what is declared there."""
    proved = (_C.CONTINUITY,) if Piece.BRIDGE in stage.pieces else ()
    return tuple(dict.fromkeys((*(check for check in stage.gate if check in _ALWAYS), *healthy(stage), *proved)))


def risks(before: Stage, after: Stage) -> frozenset[Risk]:
    """What changes between two stages for nodes that exist at both, or for nodes that go."""
    found = set()
    kept = before.wiring.keys() & after.wiring.keys()
    for risk, name in (
        (Risk.WIRING, "wiring"),
        (Risk.ENFORCEMENT, "enforcement"),
        (Risk.SERVICE_ROUTING, "proxy"),
    ):
        if any(getattr(before, name).get(kind) != getattr(after, name).get(kind) for kind in kept):
            found.add(risk)
    if before.workloads != after.workloads or before.wiring.keys() - after.wiring.keys():
        found.add(Risk.NODE_REMOVAL)
    if before.pieces & _CALICO_PIECES - after.pieces:
        found.add(Risk.API_REMOVAL)
    return frozenset(found)
