"""What a round of decisions comes to: what to begin, what is waited for, and when to decide again."""

from dataclasses import dataclass

from operations.refresh.engine.way_out import Stand
from operations.refresh.model.actions import Action
from operations.refresh.model.terms import Awaited
from operations.refresh.model.values import Node


@dataclass(frozen=True)
class Waits:
    """What a refresh waits for, as a round found it. Whoever shows it reads this, and asks nothing anew."""

    stands: tuple[Stand, ...]
    """Nodes on their way out; those that began first come first."""
    held: tuple[Node, ...]
    """Old nodes that are not begun for now, by name."""
    unready: tuple[Awaited, ...]
    """Workloads that must be ready again before a further node begins."""


@dataclass(frozen=True)
class Decision:
    """One round."""

    actions: tuple[Action, ...]
    """To be begun now, and settled with `Engine.settle` each."""
    waits: Waits
    wake_at: float
    """When to decide again though nothing happens, seconds of the clock of the decisions."""
