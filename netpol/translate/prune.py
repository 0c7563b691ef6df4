"""Leaving out of a translation what nobody needs."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from netpol.compare.cilium_rows import CiliumRows, CiliumStep, allowed_by
from netpol.compare.sets import Product, bits, refine
from netpol.model.values import DIRECTIONS
from netpol.translate.emit import Draft


@dataclass(frozen=True, slots=True)
class _Said:
    """An entry as one group of pods has it. `number`: of its draft; below zero it stays anyway."""

    number: int
    step: CiliumStep
    products: tuple[Product, ...]


@dataclass(slots=True)
class _Group:
    """Pod classes that the same entries select and match alike, with these entries in order of precedence."""

    subject: int
    direction: str
    plan: list[_Said]


def needed(rows: CiliumRows, drafts: Sequence[Draft], steps: Sequence[tuple[int, CiliumStep]]) -> list[Draft]:
    """The drafts without those that change no decision about the given (and probing) pods.

    `steps` says for each draft whom it selects and what it matches. Denies go first, so that an allow is kept
    where either would do. A draft that concerns nobody today is kept: it is for pods to come.
    """
    of_draft: dict[int, list[_Group]] = {}
    for direction in DIRECTIONS:
        mine = [(i, *steps[i]) for i, draft in enumerate(drafts) if draft.direction == direction]
        for group in _groups(rows, direction, mine):
            for said in group.plan:
                of_draft.setdefault(said.number, []).append(group)
    gone: set[int] = set()
    for i in sorted(range(len(drafts)), key=lambda i: (not drafts[i].deny, bool(drafts[i].rule), -i)):
        draft, (selected, step) = drafts[i], steps[i]
        if not selected or (draft.rule and not any(step.products.values())):
            continue
        groups = of_draft.get(i, ())
        if all(_idle(rows, i, group) for group in groups):
            gone.add(i)
            for group in groups:
                group.plan = [said for said in group.plan if said.number != i]
    return [draft for i, draft in enumerate(drafts) if i not in gone]


def _groups(rows: CiliumRows, direction: str, drafts: Iterable[tuple[int, int, CiliumStep]]) -> list[_Group]:
    """The pod classes in groups, in each of which a draft is idle for all or for none."""
    universe = rows.universe
    staying = [(-1 - n, selected, step) for n, (selected, step) in enumerate(rows.steps[direction])]
    listed = [*staying, *drafts]
    # Cluster-wide policies have tiers and priorities of their own; drafts and what stays of one rank keep their order.
    listed.sort(key=lambda e: (e[2].entry.tier, e[2].entry.priority, e[2].entry.verdict != "deny"))
    plans: list[list[int]] = [[] for _ in universe.classes]
    for at, (_, selected, _) in enumerate(listed):
        for subject in bits(selected):
            plans[subject].append(at)
    names = frozenset[str]().union(*(step.names for _, _, step in listed))
    groups: dict[Hashable, _Group] = {}
    for subject, plan in enumerate(plans):
        pods = universe.classes[subject]
        signature = tuple(s for s in pods.ports if s[0] in names)
        reach = pods.node_class, pods.addresses[0] is None, pods.addresses[1] is None
        key = (tuple(plan), signature, reach)
        if key not in groups:
            said = [_Said(listed[at][0], listed[at][2], listed[at][2].at(pods.ports)) for at in plan]
            groups[key] = _Group(subject, direction, said)
    return list(groups.values())


def _idle(rows: CiliumRows, number: int, group: _Group) -> bool:
    """Whether the group is decided about alike without the draft."""
    universe = rows.universe
    kept = group.plan
    left = [said for said in kept if said.number != number]
    stays, remains = (rows.otherwise(group.direction, [s.step.entry for s in p]) for p in (kept, left))
    if stays == remains:
        # Without it nothing changes but what it matches.
        scope = [product for said in kept if said.number == number for product in said.products]
    else:
        scope = [(universe.all_cells, universe.all_peers)]
    cuts = dict.fromkeys(cells for said in kept for cells, _ in said.products)
    with_it, without = ([(said.step.entry, said.products) for said in plan] for plan in (kept, left))
    for cells, peers in scope:
        for family in universe.families:
            reached = peers & universe.reachable(group.subject, family, group.direction)
            within = cells & universe.family_cells[family]
            if not reached or not within:
                continue
            for part in refine([within], [c for c in cuts if c & within]):
                if allowed_by(with_it, part, reached, stays) != allowed_by(without, part, reached, remains):
                    return False
    return True
