"""What must hold of every journey, whatever the settings: checked over the whole tables, not over examples.

Each function returns sentences about what is broken; none means that the invariant holds.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise

from migration.journeys import Cni, Engine, Journey, NodeKind, Piece, Proxy, Stage, risks

NEEDED_BY: dict[Cni | Engine | Proxy, Piece] = {
    Cni.VPC_CNI: Piece.VPC_CNI,
    Cni.CILIUM: Piece.CILIUM,
    Engine.CALICO: Piece.CALICO,
    Engine.CILIUM: Piece.CILIUM,
    Proxy.KUBE_PROXY: Piece.KUBE_PROXY,
    Proxy.CILIUM: Piece.CILIUM,
}
"""What makes a thing work."""
_POLICIES_OF = {Engine.CALICO: Piece.CALICO_POLICIES, Engine.CILIUM: Piece.CILIUM_POLICIES}
_GROUPS_OF = {
    NodeKind.LEGACY: frozenset({Piece.LEGACY_GROUPS}),
    NodeKind.CILIUM: frozenset({Piece.CANARY_GROUP, Piece.CILIUM_GROUPS}),
}


def violations(journey: Journey) -> tuple[str, ...]:
    """Everything that is broken in a journey."""
    found: list[str] = []
    for stage in journey.stages:
        found += [f"{journey.name}/{stage.id}: {text}" for text in _of_stage(stage)]
    for before, after in pairwise(journey.stages):
        found += [f"{journey.name}/{before.id} -> {after.id}: {text}" for text in _of_step(before, after)]
    return tuple(found)


def _of_stage(stage: Stage) -> Iterator[str]:
    kinds = stage.wiring.keys()
    if kinds != stage.enforcement.keys() or kinds != stage.proxy.keys():
        yield "wiring, enforcement and service routing speak of different kinds of nodes"
        return
    for kind in kinds:
        yield from _of_kind(stage, kind)
    for kind, groups in _GROUPS_OF.items():
        if groups & stage.pieces and kind not in kinds:
            yield f"there are {kind} node groups, and nothing is said of {kind} nodes"
    if stage.workloads not in kinds:
        yield f"workloads live on {stage.workloads} nodes, of which there are none"
    else:
        yield from _unprotected(stage)
    yield from _of_its_rules(stage)


def _of_kind(stage: Stage, kind: NodeKind) -> Iterator[str]:
    if not stage.enforcement[kind]:
        yield f"nothing enforces policy on {kind} nodes"
    things: list[Cni | Engine | Proxy] = [stage.wiring[kind], stage.proxy[kind], *stage.enforcement[kind]]
    for thing in things:
        if NEEDED_BY[thing] not in stage.pieces:
            yield f"{kind} nodes need {thing}, and it is not there"
    for engine in stage.enforcement[kind]:
        if _POLICIES_OF[engine] not in stage.pieces:
            yield f"{engine} enforces on {kind} nodes without its policies"


def _of_its_rules(stage: Stage) -> Iterator[str]:
    kinds = stage.wiring.keys()
    loose = stage.pieces & _LEGACY_AGENTS
    if NodeKind.CILIUM in kinds and loose and not stage.pinned:
        yield f"nothing keeps {_names(loose)} off Cilium nodes"
    if stage.pinned and not stage.legacy_label:
        yield "the legacy network is bound to a label that legacy nodes do not have"
    if not stage.gate:
        yield "no gate"
    if not stage.settle and stage.id not in _NOTHING_TO_SETTLE:
        yield "nothing says that the stage was reached"
    if stage.protected - stage.pieces:
        yield f"protects what is not there: {_names(stage.protected - stage.pieces)}"


_LEGACY_AGENTS = frozenset({Piece.VPC_CNI, Piece.KUBE_PROXY, Piece.CALICO})
"""Pieces that put a pod on every node unless they are bound to some."""
_NOTHING_TO_SETTLE = frozenset({"release"})
"""Stages that change nothing in the cluster."""


def _unprotected(stage: Stage) -> Iterator[str]:
    """What workloads live on is protected."""
    kind = stage.workloads
    needed = {NEEDED_BY[stage.wiring[kind]], NEEDED_BY[stage.proxy[kind]]}
    needed |= {NEEDED_BY[engine] for engine in stage.enforcement[kind]}
    needed |= {_POLICIES_OF[engine] for engine in stage.enforcement[kind]}
    needed |= _GROUPS_OF[kind] & stage.pieces - {Piece.CANARY_GROUP}
    open_ = needed - stage.protected
    if open_:
        yield f"workloads live on {kind} nodes, and these are not protected: {_names(open_)}"


def _of_step(before: Stage, after: Stage) -> Iterator[str]:
    found = risks(before, after)
    both = before.enforcement.keys() & after.enforcement.keys()
    if len(found) > 1:
        yield f"more than one risk at once: {_names(found)}"
    removed = before.pieces - after.pieces
    if removed & before.protected:
        yield f"removes what the stage before protects: {_names(removed & before.protected)}"
    lifted = before.protected - after.protected - removed
    if lifted and after.workloads == before.workloads and not after.gate:
        yield f"lifts the protection of {_names(lifted)} without a gate"
    if removed and after.reversible and before.reversible and removed & _HARD_TO_MAKE_AGAIN:
        yield f"removes {_names(removed & _HARD_TO_MAKE_AGAIN)} and claims a way back"
    # `workloads` may move only while both kinds of nodes are there at both ends of the step.
    if before.workloads != after.workloads and before.wiring.keys() != after.wiring.keys():
        yield "moves workloads and changes which nodes there are in one step"
    for kind in both:
        if before.enforcement[kind] != after.enforcement[kind] and not (
            before.enforcement[kind] & after.enforcement[kind]
        ):
            yield f"for a moment nothing enforces on {kind} nodes"


_HARD_TO_MAKE_AGAIN = frozenset({Piece.LEGACY_GROUPS, Piece.VPC_CNI, Piece.KUBE_PROXY, Piece.CALICO})


def _names(things: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, things)))
