"""Leaving out of a translation what nobody needs."""

from __future__ import annotations

from collections.abc import Sequence

from netpol.compare.cilium_rows import CiliumRows, CiliumStep
from netpol.compare.sets import Row, bits
from netpol.model.values import DIRECTIONS
from netpol.translate.emit import Draft

_Plan = list[tuple[int, CiliumStep]]
"""What selects a pod class, each with its draft's number (-1: it stays anyway)."""


def needed(rows: CiliumRows, drafts: Sequence[Draft], steps: Sequence[tuple[int, CiliumStep]]) -> list[Draft]:
    """The drafts without those that change no decision about the given (and probing) pods.

    `steps` says for each draft whom it selects and what it matches. Denies go first, so that an allow is kept
    where either would do. A draft that concerns nobody today is kept: it is for pods to come.
    """
    plans: dict[tuple[int, str], _Plan] = {}
    for direction in DIRECTIONS:
        for subject in range(len(rows.universe.classes)):
            plans[subject, direction] = [(-1, step) for mask, step in rows.steps[direction] if mask >> subject & 1]
    for i, (draft, (selected, step)) in enumerate(zip(drafts, steps, strict=True)):
        for subject in bits(selected):
            plans[subject, draft.direction].append((i, step))
    gone: set[int] = set()
    for i in sorted(range(len(drafts)), key=lambda i: (not drafts[i].deny, bool(drafts[i].rule), -i)):
        draft, (selected, step) = drafts[i], steps[i]
        if not selected or (draft.rule and not any(step.products.values())):
            continue
        if all(_idle(rows, i, subject, draft.direction, plans[subject, draft.direction]) for subject in bits(selected)):
            gone.add(i)
            for subject in bits(selected):
                plans[subject, draft.direction] = [p for p in plans[subject, draft.direction] if p[0] != i]
    return [draft for i, draft in enumerate(drafts) if i not in gone]


def _idle(rows: CiliumRows, number: int, subject: int, direction: str, plan: _Plan) -> bool:
    """Whether the class is decided about alike without the draft."""
    universe = rows.universe
    kept = _row(rows, subject, plan, direction)
    left = _row(rows, subject, [p for p in plan if p[0] != number], direction)
    if kept is left:
        return True
    for part, yes in kept:
        for other, also in left:
            for family in universe.families:
                shared = part & other & universe.family_cells[family]
                if shared and (yes ^ also) & universe.reachable(subject, family, direction):
                    return False
    return True


def _row(rows: CiliumRows, subject: int, plan: _Plan, direction: str) -> Row:
    signature = rows.universe.classes[subject].ports
    ranked = sorted(plan, key=lambda p: (p[1].entry.tier, p[1].entry.priority, p[1].entry.verdict != "deny"))
    return rows.evaluate([(s.entry, s.at(signature)) for _, s in ranked], direction)
