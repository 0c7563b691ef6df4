"""Where a Deny of everything may become default deny.

Default deny and an allow list say the same then, and still do for whatever nobody thought of, which a deny that stands
under somebody's wide allow has to name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from netpol.model.selector import ALL, Selector, both
from netpol.translate.boxes import FULL, Box, Boxes, never
from netpol.translate.saying import Rule


def closes(boxes: Boxes, denied: Sequence[Box], passed: Iterable[Box], staying: Iterable[Selector]) -> bool:
    """Whether a Deny lets nothing past it, and nothing that stays would let it through again in Cilium.

    Args:
        denied: what the Deny is about.
        passed: what rules of its tier before it pass on.
        staying: subjects of the policies behind it that stay as they are.
    """
    if len(denied) != 1 or not everything(boxes, denied[0]):
        return False
    others = [*(box.subject for box in passed), *staying]
    return not any(may_share(denied[0].subject, other) for other in others)


def everything(boxes: Boxes, box: Box) -> bool:
    """Whether the box holds every peer and packet of the universe's families."""
    universe, others = boxes.universe, box.others
    whole = all(
        others.space[at] == others.pod_space[at] == FULL[family]
        for at, family in enumerate((4, 6))
        if family in universe.families
    )
    return whole and others.pods == ALL and box.cells == universe.all_cells


def may_share(one: Selector, other: Selector) -> bool:
    """Whether some pod could be selected by both; of today's may be none."""
    return not never(both(one, other))


def passing(boxes: Boxes, rules: Iterable[Rule]) -> list[Selector]:
    """Of the rules of a tier: whoever never comes to its end, because some policy passes on all of their traffic."""
    return [
        rule.boxes[0].subject
        for rule in rules
        if rule.action == "Pass"
        and len(rule.boxes) == 1
        and rule.boxes[0].subject == boxes.rows.model.subject(rule.policy)
        and everything(boxes, rule.boxes[0])
    ]
