"""Nodes that were told to close, as long as the watch does not show it: a silent watch must not let others begin."""

from dataclasses import dataclass

from operations.refresh.model.actions import Cordon
from operations.refresh.model.terms import SHOWN_LATE
from operations.refresh.model.values import Node
from operations.refresh.model.world import World


@dataclass
class _Told:
    """One node."""

    at: float
    version: str
    """Of the node as it was known then."""
    sure: bool
    """The API server said that it is done; otherwise it may be."""
    closed: int = 0
    """Version of the node when it was closed; 0 when that is not known."""


class Closing:
    """What was closed counts as closed until something newer is known."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._told: dict[str, _Told] = {}

    def told(self, name: str, now: float, *, sure: bool, closed: str = "") -> None:
        """A cordon was asked for.

        Args:
            sure: the API server said that it is done; otherwise it may be.
            closed: version of the node in its answer.
        """
        node = self._world.old.get(name)
        if node is not None:
            self._told[name] = _Told(now, node.version, sure, int(closed) if closed.isdecimal() else 0)

    def look(self, now: float) -> None:
        """Forget what the watch shows by now."""
        self._told = {name: told for name, told in self._told.items() if self._hidden(name, told, now)}

    def _hidden(self, name: str, told: _Told, now: float) -> bool:
        node = self._world.old.get(name)
        if node is None or (node.active and node.version != told.version):
            return False
        if told.closed and node.version.isdecimal():  # versions of one kind grow (Kubernetes 1.35, KEP-5504)
            return int(node.version) < told.closed
        return node.version == told.version or now < told.at + SHOWN_LATE

    def names(self) -> set[str]:
        return set(self._told)

    def again(self) -> list[Cordon]:
        """For nodes of which nobody knows whether they are closed: no other begins in their place."""
        return [cordon(self._world.old[name]) for name, told in self._told.items() if not told.sure]


def cordon(node: Node) -> Cordon:
    """Closes a node, and remembers if somebody else had."""
    return Cordon(node.name, already=node.unschedulable and not node.ours)
