"""How much of the target's fixed sizes policies take: entries of an endpoint's policy map, and identities.

An endpoint's map has an entry for each identity and each piece of ports that a rule names, of both directions
(pkg/policy/mapstate.go); a range of ports is as many pieces as it has aligned powers of two. Every network that any
rule names is an identity, and `world` holds all of these.
"""

from __future__ import annotations

from dataclasses import dataclass

from netpol.compare.sets import LabelIndex
from netpol.decide.cilium import CiliumModel
from netpol.decide.cilium_entries import Entry
from netpol.decide.models import cilium_model
from netpol.model.ranges import IPNetwork
from netpol.model.selector import keys
from netpol.model.values import DIRECTIONS, WITH_PORTS, CidrPeer, CiliumPort, IcmpType
from netpol.model.world import Pod, World

MOST_ENTRIES = 16_384
"""Of one endpoint's policy map, unless the chart's `bpf.policyMapMax` says otherwise."""
MOST_IDENTITIES = 65_535
"""Sets of labels in one cluster (pkg/identity, 16 bits)."""
_RESERVED = ("wildcard", "world", "world-ipv4", "world-ipv6", "host", "remote-node", "kube-apiserver")
_NEAR = 0.8
_Piece = tuple[int, int | str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """One size: how much is taken, of what there is, by whom; `fix` says how to take less."""

    what: str
    count: int
    most: int
    where: str = ""
    fix: str = ""

    @property
    def over(self) -> bool:
        return self.count > self.most

    @property
    def near(self) -> bool:
        return self.count > self.most * _NEAR

    def __str__(self) -> str:
        return f"{self.count} of {self.most} {self.what}{f' ({self.where})' if self.where else ''}"


def sizes(world: World) -> tuple[Size, Size]:
    """The largest policy map and the number of identities of a world that Cilium enforces."""
    return _Counting(world).entries(), _identities(world)


def _identities(world: World) -> Size:
    model = cilium_model(world)
    values: dict[str, set[str]] = {}
    seen = set()
    for pod in world.pods:
        if not pod.host_network:
            labels = model.pod_labels(pod)
            seen.add(frozenset(labels.items()))
            for key, value in labels.items():
                values.setdefault(key, set()).add(value)
    asked = {k for e in model.entries for s in (e.subject, *e.peers.selectors) for k in keys(s)}
    widest = sorted((k for k in values.keys() - asked if len(values[k]) > 1), key=lambda k: (-len(values[k]), k))[:3]
    fix = "give Cilium a label filter (the chart's `labels`)"
    if widest:
        fix += (
            f" that leaves out {', '.join(f'{k} ({len(values[k])} values)' for k in widest)}, which no policy asks for"
        )
    return Size(what="identities", count=len(seen), most=MOST_IDENTITIES, fix=fix)


class _Counting:
    """Identities as bits: one for each set of labels, each network, and each reserved one."""

    def __init__(self, world: World) -> None:
        self.model: CiliumModel = cilium_model(world)
        by_labels: dict[frozenset[tuple[str, str]], Pod] = {}
        for pod in world.pods:
            if not pod.host_network:
                by_labels.setdefault(frozenset(self.model.pod_labels(pod).items()), pod)
        self.pods = list(by_labels.values())
        self.labels = [self.model.pod_labels(pod) for pod in self.pods]
        self.index = LabelIndex(enumerate(self.labels))
        self.all_pods = (1 << len(self.pods)) - 1
        nets: dict[IPNetwork, None] = {}
        for entry in self.model.entries:
            for peer in entry.peers.cidrs:
                nets |= dict.fromkeys((*self.model.group_nets(peer), *peer.excepted))
        self.nets = [n for n in nets if n.version in world.families]
        self.all_nets = ((1 << len(self.nets)) - 1) << len(self.pods)
        self.reserved = {name: 1 << (len(self.pods) + len(self.nets) + i) for i, name in enumerate(_RESERVED)}
        self._cidrs: dict[CidrPeer, int] = {}
        self._peers: dict[int, int] = {}

    def entries(self) -> Size:
        """The endpoint with the largest map."""
        selected: dict[int, list[Entry]] = {}
        for direction in DIRECTIONS:
            for entry in self.model.for_pods[direction]:
                found = self.index.find(entry.subject)
                while found:
                    at = (found & -found).bit_length() - 1
                    selected.setdefault(at, []).append(entry)
                    found &= found - 1
        counted: dict[tuple[int, ...], tuple[int, str]] = {}
        most, whose, largest = 0, "", ""
        for at, entries in selected.items():
            key = tuple(map(id, entries))
            if key not in counted:
                counted[key] = self._count(entries)
            if counted[key][0] > most:
                (most, largest), whose = counted[key], str(self.pods[at])
        fix = (
            "name fewer networks, wider ranges of ports that begin and end at powers of two, or fewer pods by label"
            f"{f' (most come from {largest})' if largest else ''}; or raise the chart's bpf.policyMapMax"
        )
        return Size(what="entries of a policy map", count=most, most=MOST_ENTRIES, where=whose, fix=fix)

    def _count(self, entries: list[Entry]) -> tuple[int, str]:
        """Distinct entries of one endpoint's map, and the policy that asks for most of them."""
        held: dict[tuple[str, _Piece], int] = {}
        by_policy: dict[str, int] = {}
        for entry in entries:
            peers = self._mask(entry)
            for piece in _pieces(entry):
                key = (entry.direction, piece)
                held[key] = held.get(key, 0) | peers
                by_policy[str(entry.policy)] = by_policy.get(str(entry.policy), 0) + peers.bit_count()
        largest = max(by_policy, key=lambda p: (by_policy[p], p), default="")
        return sum(mask.bit_count() for mask in held.values()), largest

    def _mask(self, entry: Entry) -> int:
        if id(entry) not in self._peers:
            peers = entry.peers
            out = self.reserved["wildcard"] if peers.every or "all" in peers.entities else 0
            if not out:
                for selector in peers.selectors:
                    out |= self.index.find(selector)
                for name in peers.entities:
                    out |= self._entity(name)
                for peer in peers.cidrs:
                    out |= self._cidr(peer)
            self._peers[id(entry)] = out
        return self._peers[id(entry)]

    def _entity(self, name: str) -> int:
        if name.startswith("world"):
            return self.reserved[name] | self.all_nets
        if name.startswith("cluster"):
            nodes = (self.reserved[n] for n in ("host", "remote-node", "kube-apiserver"))
            return self.all_pods | sum(nodes)
        return self.reserved.get(name, 0)

    def _cidr(self, peer: CidrPeer) -> int:
        if peer not in self._cidrs:
            wanted = self.model.group_nets(peer)
            out = 0
            for i, net in enumerate(self.nets):
                inside = any(_within(net, w) for w in wanted)
                if inside and not any(_within(net, e) for e in peer.excepted):
                    out |= 1 << (len(self.pods) + i)
            self._cidrs[peer] = out
        return self._cidrs[peer]


def _within(net: IPNetwork, other: IPNetwork) -> bool:
    return net.version == other.version and net.subnet_of(other)  # type: ignore[arg-type]


def _pieces(entry: Entry) -> list[_Piece]:
    """Protocol, port and bits of the port's prefix of each key."""
    if entry.ports is None:
        return [(0, 0, 0)]
    out: list[_Piece] = []
    for port in entry.ports:
        if isinstance(port, IcmpType):
            out.append((-port.family, port.type, 16))
            continue
        for protocol in WITH_PORTS if port.protocol is None else (port.protocol,):
            out += [(protocol, *span) for span in _spans(port)]
    return list(dict.fromkeys(out))


def _spans(port: CiliumPort) -> list[tuple[int | str, int]]:
    """A range of ports as aligned powers of two: the first port and the bits of its prefix."""
    if port.port is None or port.port.name:
        return [(0 if port.port is None else port.port.name, 16)]
    out: list[tuple[int | str, int]] = []
    first, last = port.port.first, port.port.last
    while first <= last:
        size = first & -first or 1 << 16
        while size > last - first + 1:
            size >>= 1
        out.append((first, 17 - size.bit_length()))
        first += size
    return out
