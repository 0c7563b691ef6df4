"""What is asked of a refresh, as one value."""

import math
import re
from dataclasses import dataclass
from enum import StrEnum

from migration.journeys import NodeKind
from migration.names import CILIUM_CNI, LEGACY_CNI
from reading import brief
from reading.failure import USAGE, Failure

CNI_OF = {NodeKind.LEGACY: LEGACY_CNI, NodeKind.CILIUM: CILIUM_CNI}
"""Value of the label `cni-plugin` of each kind of node."""


class InvalidRequest(Failure, ValueError):
    """The request cannot be carried out. The text names the value, the reason and the fix."""

    exit_code = USAGE


class Strategy(StrEnum):
    SURGE = "surge"
    """New nodes first; an old node is drained when a new one is ready to take its place."""
    REPLACE = "replace"
    """Each new node after an old one has gone: never more nodes than before."""
    SHRINK = "shrink"
    """No new nodes: the others have room, or something else makes them."""


@dataclass(frozen=True)
class NodeBudget:
    """How many nodes may be on their way out at once: a number, or a share of the old nodes."""

    number: int = 0
    share: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "NodeBudget":
        """`"3"` or `"10%"`.

        Raises:
            InvalidRequest: neither, or nothing.
        """
        match = re.fullmatch(r"([0-9]{1,6})(%?)", text.strip())
        value = int(match[1]) if match else 0
        if not match or value == 0 or (match[2] and value > 100):
            raise InvalidRequest(
                f"a node budget of {brief(text)} moves no node: give a number from 1, or a share from 1% to 100%"
            )
        return cls(share=value / 100) if match[2] else cls(number=value)

    def of(self, nodes: int) -> int:
        """The number for so many old nodes; at least 1."""
        return max(1, self.number or math.floor(self.share * nodes))

    def __str__(self) -> str:
        return str(self.number) if self.number else f"{round(self.share * 100)}%"


@dataclass(frozen=True, kw_only=True)
class RefreshRequest:
    """One refresh. The same value both ways: only source and target change places."""

    source: NodeKind
    target: NodeKind
    strategy: Strategy = Strategy.SURGE
    node_budget: NodeBudget = NodeBudget(share=0.1)
    zone_node_budget: NodeBudget | None = None
    """The same for the nodes of one zone; None: no bound of its own."""
    marked: bool = False
    """Evict also pods whose owners ask, by a mark on them, that they be left alone."""
    deadline: float = 45 * 60
    """Seconds after which it stops cleanly, to be run again."""

    def __post_init__(self) -> None:
        if self.source is self.target:
            raise InvalidRequest(f"source and target are both {self.source}: choose the other kind as target")
        if not 0 < self.deadline < math.inf:  # nor nan
            raise InvalidRequest(f"a deadline of {self.deadline:g} s leaves no time: give at least one minute")

    @classmethod
    def towards(
        cls,
        target: NodeKind,
        *,
        strategy: str = "surge",
        node_budget: str = "10%",
        zone_node_budget: str | None = None,
        marked: bool = False,
        deadline: float = 45 * 60,
    ) -> "RefreshRequest":
        """The request that ends with every workload on nodes of kind `target`.

        Raises:
            InvalidRequest: with the first thing that is wrong.
        """
        known = [str(s) for s in Strategy]
        if strategy not in known:
            raise InvalidRequest(f"there is no strategy {brief(strategy)}: choose one of {', '.join(known)}")
        source = NodeKind.LEGACY if target is NodeKind.CILIUM else NodeKind.CILIUM
        return cls(
            source=source,
            target=target,
            strategy=Strategy(strategy),
            node_budget=NodeBudget.parse(node_budget),
            zone_node_budget=NodeBudget.parse(zone_node_budget) if zone_node_budget else None,
            marked=marked,
            deadline=deadline,
        )
