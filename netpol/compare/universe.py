"""What a set of worlds can tell apart: packets in cells, addresses in atoms, pods in classes.

No policy of any of the worlds treats two packets of one cell, two addresses of one atom, or two pods of one class
differently; so whatever holds for one representative of each holds for all. Sets of cells and sets of peers are
Python integers, one bit per cell or peer.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import or_
from typing import TypeGuard

from netpol.compare.cuts import Atoms
from netpol.compare.mentioned import read, twins_of
from netpol.compare.sets import bits
from netpol.decide.models import calico_model
from netpol.model.packets import Packet, Party
from netpol.model.ranges import IPAddress, IPNetwork, span
from netpol.model.values import EGRESS, INGRESS, WITH_PORTS
from netpol.model.world import Node, Pod, World

PortSignature = tuple[tuple[str, int, int, bool], ...]
"""What a pod declares of the port names that some policy mentions: (name, protocol, number, by an init container)."""


@dataclass(slots=True)
class PodClass:
    """Pods that nothing tells apart: one pod per world stands for all of them."""

    pods: tuple[Pod, ...]
    nodes: tuple[Node, ...]
    node_class: int
    addresses: tuple[IPAddress | None, IPAddress | None]
    ports: PortSignature
    count: int = 1


@dataclass(slots=True)
class NodeClass:
    """Nodes that nothing tells apart, per world."""

    nodes: list[tuple[Node, ...]]
    addresses: tuple[IPAddress | None, IPAddress | None]


@dataclass(frozen=True, slots=True)
class Peer:
    """One bit of a peer set. `kind`: pod, remote (node), own (node), local (address on the node), address."""

    kind: str
    index: int
    addresses: tuple[IPAddress | None, IPAddress | None]


class Universe:
    """The joint classes of several worlds with the same pods and nodes (by name).

    What exists in only some of the worlds is left out and named in `left_out`.
    """

    def __init__(self, worlds: Sequence[World], *, taken: Iterable[IPAddress] = ()) -> None:
        """`taken`: further addresses that belong to somebody, who is not in these worlds."""
        if not worlds:
            raise ValueError("a universe needs a world")
        self.worlds = tuple(worlds)
        self._others = tuple(taken)
        self.families = tuple(sorted(frozenset.intersection(*(w.families for w in worlds))))
        self.left_out: list[str] = []
        if any(w.families != worlds[0].families for w in worlds):
            self.left_out.append("flows of an address family that only one of the worlds has")
        self.twins = twins_of(worlds)
        cuts, networks, label_keys, accounts = read(worlds, self.twins)
        self.names = cuts.names
        for world in worlds:
            for pod in world.pods:
                for port in pod.ports:
                    if port.name.lower() in cuts.names:
                        cuts.ports.add((port.number, port.number))
                    if port.name.lower() in cuts.source_names:
                        cuts.source_ports.add((port.number, port.number))
        self.cells = cuts.cells(self.families, others=any(w.other_protocols for w in worlds))
        self.all_cells = (1 << len(self.cells)) - 1
        self.family_cells = {
            f: sum(1 << i for i, c in enumerate(self.cells) if c.packet.family == f) for f in self.families
        }
        self.atoms = {f: Atoms(networks, f) for f in (4, 6)}
        self._cell_cache: dict[Hashable, int] = {}
        self._port_cache: dict[tuple[int, int, bool], int] = {}
        self._port_edges = {source: self._port_index(source=source) for source in (False, True)}
        self.classes: list[PodClass] = []
        self.node_classes: list[NodeClass] = []
        self._node_index: dict[str, int] = {}
        self._classify_nodes()
        self._classify_pods(label_keys, accounts)
        self.peers = list(self._peers())
        self.all_peers = (1 << len(self.peers)) - 1
        self.pod_peers = (1 << len(self.classes)) - 1
        self.kinds = dict.fromkeys(("pod", "remote", "own", "local", "address"), 0)
        for i, peer in enumerate(self.peers):
            self.kinds[peer.kind] |= 1 << i
        self._net_masks = {f: self._masks(f) for f in self.families}
        self.signature_peers = self._by_ports()
        self._reachable: dict[tuple[int, int], int] = {}

    # --- cells
    def cells_where(self, key: Hashable, holds: Callable[[Packet], bool]) -> int:
        """The cells whose packets satisfy `holds`; `key` must determine `holds`."""
        found = self._cell_cache.get(key)
        if found is None:
            found = sum(1 << i for i, cell in enumerate(self.cells) if holds(cell.packet))
            self._cell_cache[key] = found
        return found

    def of_protocol(self, protocol: int) -> int:
        return self.cells_where(("protocol", protocol), lambda packet: packet.protocol == protocol)

    def ports(self, first: int, last: int, *, source: bool = False) -> int:
        """The cells of protocols with ports whose port lies in the range, which some policy of a world must mention."""
        key = (first, last, source)
        found = self._port_cache.get(key)
        if found is None:
            edges, upto = self._port_edges[source]
            found = upto[bisect_left(edges, last + 1)] & ~upto[bisect_left(edges, first)]
            self._port_cache[key] = found
        return found

    def _port_index(self, *, source: bool) -> tuple[list[int], list[int]]:
        """Where port ranges of the cells begin, and for each beginning the cells that lie before it."""
        by_first: dict[int, int] = {}
        for i, cell in enumerate(self.cells):
            if cell.packet.protocol in WITH_PORTS:
                first = (cell.source_ports if source else cell.ports)[0]
                by_first[first] = by_first.get(first, 0) | 1 << i
        edges = sorted(by_first)
        return edges, list(accumulate((by_first[e] for e in edges), or_, initial=0))

    # --- nodes and pods
    def _classify_nodes(self) -> None:
        names = [set(w.node_by_name) for w in self.worlds]
        shared = set.intersection(*names)
        for name in sorted(set.union(*names) - shared):
            self.left_out.append(f"node {name}, which only one of the worlds has")
        index: dict[Hashable, int] = {}
        for name in sorted(shared):
            nodes = tuple(w.node_by_name[name] for w in self.worlds)
            addresses = _pair(nodes[0].addresses)
            key = (
                tuple((n.engines, n.recognised, n.is_remote_node) for n in nodes),
                tuple(self._atom(a, f) for a, f in zip(addresses, (4, 6), strict=True)),
                tuple(w.cilium.host_firewall for w in self.worlds),
                tuple(_host_endpoint(w, n) for w, n in zip(self.worlds, nodes, strict=True)),
            )
            if key not in index:
                index[key] = len(self.node_classes)
                self.node_classes.append(NodeClass(nodes=[], addresses=addresses))
            self.node_classes[index[key]].nodes.append(nodes)
            self._node_index[name] = index[key]

    def _atom(self, address: IPAddress | None, family: int) -> int | None:
        return None if address is None else self.atoms[family].atom(address)

    def _classify_pods(self, label_keys: frozenset[str], accounts: bool) -> None:
        by_name = [w.pod_by_name for w in self.worlds]
        asked = sorted(label_keys)
        index: dict[Hashable, PodClass] = {}
        missing = 0
        for name, pod in by_name[0].items():
            pods = tuple([m.get(name) for m in by_name])
            if not _complete(pods):
                missing += 1
                continue
            if any(p.host_network for p in pods):
                continue
            node_class = self._node_index.get(pod.node, -1)
            seen: list[Hashable] = [_look(pod, asked, accounts)]
            # Worlds usually share their pods; then one look is enough, and the node's class says the rest.
            if any(p is not pod for p in pods):
                for world, p in zip(self.worlds, pods, strict=True):
                    node = world.node_of(p)
                    seen += [_look(p, asked, accounts), node.engines, node.recognised]
            ports: PortSignature = ()
            if pod.ports and self.names:
                found = [(q.name.lower(), q.protocol, q.number, q.calico_only) for q in pod.ports]
                ports = tuple(sorted(f for f in found if f[0] in self.names))
            for addresses in self._addresses(pod):
                key = (*seen, node_class, ports, self._atom(addresses[0], 4), self._atom(addresses[1], 6))
                known = index.get(key)
                if known is None:
                    nodes = tuple(w.node_of(p) for w, p in zip(self.worlds, pods, strict=True))
                    index[key] = known = PodClass(pods, nodes, node_class, addresses, ports, count=0)
                    self.classes.append(known)
                known.count += 1
        missing += sum(1 for m in by_name[1:] for name in m.keys() - by_name[0].keys())
        if missing:
            self.left_out.append(f"{missing} pods that only one of the worlds has")

    def _addresses(self, pod: Pod) -> list[tuple[IPAddress | None, IPAddress | None]]:
        """A pod's addresses; for one without, a representative of every atom that its possible addresses meet."""
        if len(pod.addresses) == 1:
            (only,) = pod.addresses
            return [(only, None) if only.version == 4 else (None, only)]
        if pod.addresses or not self.worlds[0].pod_cidrs:
            return [_pair(pod.addresses)]
        per_family: list[list[IPAddress | None]] = []
        for family in (4, 6):
            found: dict[int, IPAddress] = {}
            for network in self.worlds[0].pod_cidrs:
                if network.version != family or family not in self.families:
                    continue
                first, last = span(network)
                atoms = self.atoms[family]
                at = bisect_right(atoms.edges, first) - 1
                while at < len(atoms.edges) and atoms.edges[at] <= last:
                    number = max(first, atoms.edges[at])
                    found.setdefault(
                        atoms.atom_of_interval[at],
                        ipaddress.IPv4Address(number) if family == 4 else ipaddress.IPv6Address(number),
                    )
                    at += 1
            per_family.append(list(found.values()) or [None])
        return [(four, six) for four in per_family[0] for six in per_family[1]]

    # --- peers
    def _peers(self) -> Iterator[Peer]:
        for i, pods in enumerate(self.classes):
            yield Peer("pod", i, pods.addresses)
        for kind in ("remote", "own"):
            for i, nodes in enumerate(self.node_classes):
                yield Peer(kind, i, nodes.addresses)
        local = sorted(set(self.worlds[0].host_addresses), key=lambda a: (a.version, int(a)))
        for i, address in enumerate(local):
            if address.version in self.families:
                yield Peer("local", i, _pair((address,)))
        for family in self.families:
            taken = {int(a) for a in self._taken(family)} | {int(a) for a in local if a.version == family}
            for atom in range(self.atoms[family].count):
                found = self.atoms[family].outsider(atom, taken)
                if found is not None:
                    yield Peer("address", atom, _pair((found,)))

    def _taken(self, family: int) -> Iterator[IPAddress]:
        # Worlds usually share their pods and nodes; then each is looked at once.
        ends: dict[int, tuple[IPAddress, ...]] = {}
        for world in self.worlds:
            ends |= {id(pod): pod.addresses for pod in world.pods} | {id(n): n.addresses for n in world.nodes}
        for addresses in (*ends.values(), self._others):
            yield from [a for a in addresses if a.version == family]

    def _masks(self, family: int) -> dict[IPNetwork, int]:
        """For each network, the peers whose address of the family is in it."""
        at = 0 if family == 4 else 1
        by_atom: dict[int, int] = {}
        for i, peer in enumerate(self.peers):
            address = peer.addresses[at]
            if address is not None:
                atom = self.atoms[family].atom(address)
                by_atom[atom] = by_atom.get(atom, 0) | 1 << i
        unknown = sum(1 << i for i, p in enumerate(self.peers) if p.addresses == (None, None))
        out = {n: unknown if n.prefixlen == 0 else 0 for n in self.atoms[family].networks}
        for atom, mask in by_atom.items():
            for network_bit in bits(self.atoms[family].atom_signatures[atom]):
                out[self.atoms[family].networks[network_bit]] |= mask
        return out

    def in_networks(self, networks: Iterable[IPNetwork], family: int) -> int:
        """The peers whose address of the family is in one of the networks."""
        out = 0
        known = self._net_masks[family]
        for network in networks:
            if network.version != family:
                continue
            if network not in known:
                # A network made by subtraction: only all of its siblings together cover whole atoms.
                known[network] = self._inside(network)
            out |= known[network]
        return out

    def _inside(self, network: IPNetwork) -> int:
        at = 0 if network.version == 4 else 1
        out = 0
        for i, peer in enumerate(self.peers):
            address = peer.addresses[at]
            if (address is not None and address in network) or (
                network.prefixlen == 0 and peer.addresses == (None, None)
            ):
                out |= 1 << i
        return out

    def _by_ports(self) -> dict[PortSignature, int]:
        out: dict[PortSignature, int] = {(): self.all_peers & ~self.pod_peers}
        for i, pods in enumerate(self.classes):
            out[pods.ports] = out.get(pods.ports, 0) | 1 << i
        return out

    def signatures_for(self, names: frozenset[str]) -> dict[PortSignature, int]:
        """Peers grouped by what they declare of these names alone."""
        if not names:
            return {(): self.all_peers}
        out: dict[PortSignature, int] = {}
        for signature, mask in self.signature_peers.items():
            kept = tuple(s for s in signature if s[0] in names)
            out[kept] = out.get(kept, 0) | mask
        return out

    def reachable(self, subject: int, family: int, direction: str = INGRESS) -> int:
        """The peers that a pod of this class can have flows of the family with at all, in the direction."""
        pods = self.classes[subject]
        key = (pods.node_class, family)
        base = self._reachable.get(key)
        at = 0 if family == 4 else 1
        if base is None:
            base = 0
            for i, peer in enumerate(self.peers):
                if peer.kind == "own" and peer.index != pods.node_class:
                    continue
                if peer.addresses[at] is not None or peer.addresses == (None, None):
                    base |= 1 << i
            self._reachable[key] = base
        if pods.addresses[at] is None and pods.addresses != (None, None):
            outward = direction == EGRESS and family == 6 and any(w.six_egress for w in self.worlds)
            return self.kinds["address"] & base if outward else 0
        lone = pods.node_class
        if lone >= 0 and len(self.node_classes[lone].nodes) == 1:
            # The only node of its class is this pod's own; there is no remote one.
            base &= ~(1 << (len(self.classes) + lone))
        return base

    def party(self, world: int, peer: int, family: int, other: int | None = None) -> Party:
        """A concrete end in one of the worlds; `other` is the pod class at the other end of the flow."""
        what = self.peers[peer]
        address = what.addresses[0 if family == 4 else 1]
        if what.kind == "pod":
            pods = self.classes[what.index]
            return Party(pod=pods.pods[world], node=pods.nodes[world], address=address)
        if what.kind in ("address", "local"):
            return Party(address=address, local=what.kind == "local")
        own = None if other is None else self.classes[other].nodes[world].name
        members = self.node_classes[what.index].nodes
        chosen = next((m for m in members if (m[world].name == own) == (what.kind == "own")), members[0])
        number = next((a for a in chosen[world].addresses if a.version == family), None)
        return Party(node=chosen[world], address=number, local=what.kind == "own")


def _complete(pods: tuple[Pod | None, ...]) -> TypeGuard[tuple[Pod, ...]]:
    return all(pods)


def _look(pod: Pod, keys: list[str], accounts: bool) -> Hashable:
    """What policies can see of a pod, its node and its addresses apart."""
    look = pod.namespace, pod.service_account if accounts else "", *map(pod.labels.get, keys)
    if pod.namespace_labels is None and pod.account_labels is None:
        return look
    return look, *(tuple(sorted((labels or {}).items())) for labels in (pod.namespace_labels, pod.account_labels))


def _pair(addresses: Iterable[IPAddress]) -> tuple[IPAddress | None, IPAddress | None]:
    listed = list(addresses)
    return (
        next((a for a in listed if a.version == 4), None),
        next((a for a in listed if a.version == 6), None),
    )


def _host_endpoint(world: World, node: Node) -> object:
    return tuple(endpoint.meta.name for endpoint in calico_model(world).host_endpoints.get(node.name, ()))
