"""The pairs of worlds that are compared: policy as it was before the journey, and as a moment of it has it enforced.

Both worlds of a pair hold the same policies; what differs is who enforces. Every pod stands on every kind of node that
the moment has, so that an answer holds wherever the scheduler puts it. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from netpol.model.world import Engine, Node, Pod, Recognition, World

K = TypeVar("K", bound=str)
LEGACY, CILIUM = "legacy", "cilium"
"""Kinds of nodes: whose pods the VPC CNI wires, and whose pods Cilium wires."""
_UNKNOWN = "without-identity"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of node at a moment: who enforces there, and what its pods are to Cilium elsewhere."""

    engines: frozenset[Engine]
    recognised: Recognition


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A mixture of nodes that a journey passes through.

    Attributes:
        name: when it is, in words that end a sentence.
        kinds: `legacy` and `cilium`, those of them that there are.
    """

    name: str
    kinds: Mapping[str, Kind]

    @staticmethod
    def of(name: str, enforcement: Mapping[K, Iterable[str]], *, legacy: Recognition) -> Moment:
        """By who enforces on which kind of node; `legacy`: what pods of legacy nodes are to Cilium."""
        return Moment(
            name=name,
            kinds={
                str(kind): Kind(
                    engines=frozenset(Engine(str(e)) for e in engines),
                    recognised=Recognition.CILIUM if kind == CILIUM else legacy,
                )
                for kind, engines in enforcement.items()
            },
        )


@dataclass
class Places:
    """Where pods can be at a moment: their own nodes, and one node for each kind that theirs is not of.

    What it made of a pod is kept as long as the pod is the same value, so that a proof which is kept finds the same
    values again.

    Args:
        before: who enforced everywhere before the journey.
        of_cilium: whether Cilium wires the pods of a node.
    """

    moment: Moment
    before: frozenset[Engine]
    of_cilium: Callable[[Node], bool]
    _nodes: dict[str, Node] = field(default_factory=dict)
    _kind_of: dict[str, str] = field(default_factory=dict)
    _standing: dict[str, str] = field(default_factory=dict)
    _alive: World | None = None
    """The world of last time: its pods are known by their ids."""
    _placed: dict[tuple[str, str], tuple[object, tuple[Pod, ...]]] = field(default_factory=dict)

    def pair(self, world: World, strangers: Collection[str] = frozenset()) -> tuple[World, World]:
        """The world as it was enforced before, and as it is at the moment.

        Args:
            strangers: pods of legacy nodes, "namespace/name", that Cilium takes for mere addresses.
        """
        self._see(world.nodes)
        standing = tuple(self._standing.items())
        before = {} if strangers else self._placed
        placed: dict[tuple[str, str], tuple[object, tuple[Pod, ...]]] = {}
        pods: list[Pod] = []
        for pod in world.pods:
            key = (id(pod), self._kind_of.get(pod.node), standing)
            known = before.get((pod.namespace, pod.name))
            if known is None or known[0] != key:
                known = (key, tuple(self._of(pod, strangers)))
            placed[pod.namespace, pod.name] = known
            pods += known[1]
        self._placed, self._alive = placed, world
        after = replace(world, pods=tuple(pods), nodes=tuple(self._nodes.values()))
        nodes = tuple(replace(n, engines=self.before, recognised=Recognition.WORLD) for n in after.nodes)
        return replace(after, nodes=nodes), after

    def _see(self, nodes: Iterable[Node]) -> None:
        self._nodes, self._kind_of = {}, {}
        for node in nodes:
            kind = CILIUM if self.of_cilium(node) else LEGACY
            if kind in self.moment.kinds:
                self._add(node, kind)
        for kind in self.moment.kinds:
            there = [name for name, its in self._kind_of.items() if its == kind]
            if not there:
                self._add(Node(name=f"a-{kind}-node"), kind)
            # The one of last time where it is still there: all pods of the other kind have it in their names.
            last = self._standing.get(kind, "")
            self._standing[kind] = last if last in there else min(there, default=f"a-{kind}-node")

    def _add(self, node: Node, kind: str) -> None:
        how = self.moment.kinds[kind]
        self._nodes[node.name] = replace(node, engines=how.engines, recognised=how.recognised)
        self._kind_of[node.name] = kind

    def _of(self, pod: Pod, strangers: Collection[str]) -> Iterable[Pod]:
        """The pod wherever it may be. What uses its node's network stays where it is."""
        if pod.host_network and pod.node in self._nodes:
            yield pod
            return
        for kind in self.moment.kinds:
            at_home = self._kind_of.get(pod.node) == kind
            where = pod.node if at_home else self._standing[kind]
            if kind == LEGACY and str(pod) in strangers:
                where = self._unknown_at(where)
            yield replace(pod, node=where, name=pod.name if at_home else f"{pod.name}@{where}")

    def _unknown_at(self, where: str) -> str:
        """A node like another, whose pods are mere addresses to Cilium."""
        name = f"{where}-{_UNKNOWN}"
        if name not in self._nodes:
            self._nodes[name] = replace(self._nodes[where], name=name, addresses=(), recognised=Recognition.WORLD)
        return name
