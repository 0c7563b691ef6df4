"""Calico's tiers, policies and rules made ready for sets."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from netpol.compare.sets import Product
from netpol.compare.universe import PortSignature
from netpol.model.values import CalicoPolicy, CalicoRule

Rules = tuple[tuple[str, tuple[Product, ...]], ...]
"""Rules in order: action, and what they match."""


Plan = tuple[str, tuple[tuple[str, tuple[int, ...]], ...]]
"""The direction, and per tier its default action and its policies' rules by number."""


@dataclass(frozen=True, slots=True)
class CalicoStep:
    """A rule ready for sets: where its subject must be (per family), and what it matches (per port signature)."""

    action: str
    rule: CalicoRule
    policy: CalicoPolicy
    subjects: tuple[tuple[int, int], ...]
    """(cells of a family, pod classes that satisfy the rule's own side in it)."""
    products: Mapping[PortSignature, tuple[Product, ...]]
    names: frozenset[str]

    def at(self, subject: int, signature: PortSignature) -> tuple[Product, ...]:
        """What the rule matches for one pod class."""
        cells = 0
        for family_cells, members in self.subjects:
            if members >> subject & 1:
                cells |= family_cells
        if not cells:
            return ()
        key = tuple(s for s in signature if s[0] in self.names) if self.names else ()
        return tuple((c & cells, p) for c, p in self.products.get(key, ()) if c & cells)


@dataclass(slots=True)
class CalicoTier:
    default_action: str
    policies: list[tuple[CalicoPolicy, int, tuple[CalicoStep, ...]]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Applied:
    """A policy in its place. `sides`: the own sides of its rules where they differ between the pods that it selects.
    `names`: of the ports that its rules look up at the pod.
    """

    tier: int
    steps: tuple[CalicoStep, ...]
    sides: tuple[int, ...]
    names: frozenset[str]
    fixed: int
    """What the rules match for every pod that the policy selects, when that is the same for all of them."""

    def look(self, subject: int, signature: PortSignature) -> Hashable:
        """What tells pods apart that the policy selects: those that look alike have the same rules."""
        named = tuple([s for s in signature if s[0] in self.names]) if self.names and signature else ()
        return tuple([members >> subject & 1 for members in self.sides]), named
