"""What keeps nodes from being emptied, judged in one place.

Pure functions from what is seen to `Blocker`. The gate, `refresh plan` and the progress of a refresh read them, and
judge nothing themselves: of one cluster they say the same.
"""

from dataclasses import dataclass
from enum import StrEnum


class Weight(StrEnum):
    """What a blocker means for a refresh."""

    NEVER = "never"
    """It cannot end while this is so, however long it waits."""
    NOT_NOW = "not-now"
    """It cannot go on now; that may pass by itself."""
    NOTE = "note"
    """It ends, but somebody should know before."""


@dataclass(frozen=True)
class Blocker:
    """What keeps a node from being emptied, or what that costs."""

    object: str
    """As kind and name: "pod shop/cart-0"."""
    problem: str
    fix: str
    weight: Weight

    @property
    def stops(self) -> bool:
        """Whether a gate fails on it, and a plan says that a refresh would not end."""
        return self.weight is not Weight.NOTE


def in_order(found: "list[Blocker]") -> tuple[Blocker, ...]:
    """What stops first, then by object."""
    heaviest = list(Weight)
    return tuple(sorted(found, key=lambda blocker: (heaviest.index(blocker.weight), blocker.object)))
