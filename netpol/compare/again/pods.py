"""The pods of a pair of worlds by number, and what policies can see of each."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Mapping

from netpol.compare.again.finding import GrowingIndex
from netpol.compare.cuts import Atoms
from netpol.compare.sets import bits
from netpol.decide.models import calico_model
from netpol.model.ranges import IPAddress, IPNetwork
from netpol.model.world import Engine, Pod, World

Name = tuple[str, str]


class Pods:
    """Pods with networks of their own, by number. A number is never given twice."""

    def __init__(self, worlds: tuple[World, World], networks: Iterable[IPNetwork]) -> None:
        self.worlds = worlds
        self.networks = set(networks)
        self.alive = 0
        self.all: list[Pod] = []
        self.number: dict[Name, int] = {}
        self.indexes = {engine: GrowingIndex() for engine in (Engine.CALICO, Engine.CILIUM)}
        self.labels: dict[Engine, list[Mapping[str, str]]] = {engine: [] for engine in self.indexes}
        self.ports = GrowingIndex()
        self.in_namespace: dict[str, set[int]] = {}
        self._cut()

    def index(self, engine: Engine) -> GrowingIndex:
        """Of the labels that the engine sees."""
        return self.indexes[Engine.CILIUM if engine is Engine.CILIUM else Engine.CALICO]

    # --- coming and going
    def admit(self, pod: Pod, labels: Mapping[Engine, Mapping[str, str]]) -> int:
        """A pod that is there from now on; its number."""
        number = len(self.all)
        self.all.append(pod)
        self.number[pod.namespace, pod.name] = number
        self.alive |= 1 << number
        for engine, index in self.indexes.items():
            self.labels[engine].append(labels.get(engine, {}))
            if engine in labels:
                index.add(number, labels[engine])
        self.ports.add(number, _named(pod))
        self.in_namespace.setdefault(pod.namespace, set()).add(number)
        self._place(number)
        return number

    def dismiss(self, names: Iterable[Name]) -> int:
        """Pods that are there no more, as a set."""
        gone = 0
        for name in names:
            number = self.number.pop(name)
            gone |= 1 << number
            self.in_namespace[name[0]].discard(number)
        self.alive &= ~gone
        for index in (*self.indexes.values(), self.ports):
            index.drop(gone)
        return gone

    # --- where they are
    def learn(self, networks: Iterable[IPNetwork]) -> None:
        """Networks that policies tell apart from now on."""
        fresh = set(networks) - self.networks
        if fresh:
            self.networks |= fresh
            self._cut()

    def _cut(self) -> None:
        self.atoms = {family: Atoms(self.networks, family) for family in (4, 6)}
        self._nodes: dict[str, Hashable] = {}
        self.places: dict[Hashable, int] = {}
        """Pods by node and address, as far as anything tells these apart."""
        for number in bits(self.alive):
            self._place(number)

    def _place(self, number: int) -> None:
        place = self.place(self.all[number])
        self.places[place] = self.places.get(place, 0) | 1 << number

    def place(self, pod: Pod) -> Hashable:
        if pod.node not in self._nodes:
            self._nodes[pod.node] = self._node(pod)
        return self._nodes[pod.node], self._atoms(pod.addresses)

    def move(self, worlds: tuple[World, World]) -> None:
        """Take these worlds for those of now; which pods there are is told one by one."""
        if any(was.nodes is not there.nodes for was, there in zip(self.worlds, worlds, strict=True)):
            self._nodes.clear()
        self.worlds = worlds

    def within(self, addresses: Iterable[IPAddress]) -> Hashable:
        """Where addresses are, as far as rules can tell."""
        return self._atoms(addresses)

    def _atoms(self, addresses: Iterable[IPAddress]) -> Hashable:
        return tuple([(a.version, self.atoms[a.version].atom(a)) for a in addresses])

    def _node(self, pod: Pod) -> Hashable:
        out: list[Hashable] = []
        for world in self.worlds:
            node = world.node_of(pod)
            guards = tuple(e.meta.name for e in calico_model(world).host_endpoints.get(node.name, ()))
            out.append((node.engines, node.recognised, node.is_remote_node, self._atoms(node.addresses), guards))
        return tuple(out)

    # --- what tells them apart
    def look(self, number: int, asked: Mapping[Engine, list[str]]) -> Hashable:
        """All that policies which ask for these labels can see of a pod."""
        pod = self.all[number]
        seen = tuple(tuple(map(self.labels[engine][number].get, keys)) for engine, keys in asked.items())
        return pod.namespace, pod.service_account, pod.ports, self.place(pod), seen

    def free_beside(self, address: IPAddress, owners: Iterable[Pod]) -> bool:
        """Whether another address, which no policy tells from this one, belongs to nobody: then it stands for both."""
        atoms = self.atoms[address.version]
        at = bisect_right(atoms.edges, int(address)) - 1
        first, last = atoms.edges[at], atoms.ends[at] - 1
        owned = {address}.union(*(pod.addresses for pod in owners))
        for world in self.worlds:
            owned = owned.union(world.host_addresses, *(node.addresses for node in world.nodes))
        inside = sum(1 for a in owned if a.version == address.version and first <= int(a) <= last)
        return last - first + 1 > inside


def _named(pod: Pod) -> dict[str, str]:
    """Named ports as labels: what numbers the name stands for."""
    out: dict[str, list[str]] = {}
    for port in pod.ports:
        out.setdefault(port.name.lower(), []).append(f"{port.protocol}:{port.number}")
    return {name: " ".join(sorted(numbers)) for name, numbers in out.items()}
