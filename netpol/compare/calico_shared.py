"""What Calico's rows of several worlds share: most of two sides of a proof is alike and is worked out once."""

from __future__ import annotations

from netpol.compare.calico_steps import Applied, CalicoStep, Plan, Rules
from netpol.compare.sets import LabelIndex, Row, bits
from netpol.compare.universe import Universe
from netpol.decide.models import calico_model


class CalicoShared:
    """Steps, labels and walks over one universe, for all of its worlds.

    Policies and steps are known by identity: the universe's worlds keep their models, and those their policies.
    """

    def __init__(self, universe: Universe) -> None:
        self.universe = universe
        self.steps: dict[tuple[int, str], tuple[CalicoStep, ...]] = {}
        """By policy and direction, for worlds that see as the first one does."""
        self.applied: dict[tuple[int, int, int], Applied] = {}
        """By tier, steps and selected classes, likewise. The value holds the steps, so their id stays theirs."""
        self.walks: dict[Plan, Row] = {}
        self.rules: list[Rules] = []
        """By number."""
        self._labels: dict[int, LabelIndex] = {}
        self._members: dict[int, list[int]] = {}
        self._numbers: dict[Rules, int] = {}

    def members(self, mask: int) -> list[int]:
        """`bits` of a set of classes, kept: most policies select the same pods in both directions and worlds."""
        found = self._members.get(mask)
        if found is None:
            found = self._members[mask] = list(bits(mask))
        return found

    def number(self, rules: Rules) -> int:
        """A number for what the rules match; the same in every world for the same sets in the same order."""
        number = self._numbers.setdefault(rules, len(self.rules))
        if number == len(self.rules):
            self.rules.append(rules)
        return number

    # --- labels
    def labels(self, world: int) -> LabelIndex:
        """The index of Calico's labels; one for all worlds that give their pods the same ones."""
        for other in range(world):
            if other in self._labels and self._same_labels(world, other):
                world = other
                break
        if world not in self._labels:
            model, classes = calico_model(self.universe.worlds[world]), self.universe.classes
            self._labels[world] = LabelIndex((i, model.pod_labels(c.pods[world])) for i, c in enumerate(classes))
        return self._labels[world]

    def are_first(self, labels: LabelIndex) -> bool:
        """Whether this is the index of the universe's first world."""
        return labels is self._labels.get(0)

    def _same_labels(self, one: int, other: int) -> bool:
        first, second = self.universe.worlds[one], self.universe.worlds[other]
        return (
            first.namespaces == second.namespaces
            and first.service_accounts == second.service_accounts
            and all(c.pods[one] is c.pods[other] for c in self.universe.classes)
        )
