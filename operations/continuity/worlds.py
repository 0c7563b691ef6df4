"""The pairs of worlds that a gate compares: policy as it was before the journey, and as a stage has it enforced. Pure.

Both worlds of a pair hold the same policies; what differs is who enforces. Every pod stands on every kind of node that
the pair has, so that an answer holds wherever the scheduler puts it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from migration.journeys import Engine as Enforcer
from migration.journeys import Journey, NodeKind, Stage
from migration.names import CILIUM_CNI, CNI_LABEL
from netpol.decide.copies import without_copies
from netpol.model.accepted import Accepted
from netpol.model.values import Policy
from netpol.model.world import CiliumOptions, Engine, Node, Pod, Recognition, World
from netpol.read import documents
from netpol.read.world import from_readers
from operations.cluster import objects
from operations.continuity.overlay import over

Obj = Mapping[str, Any]
MIXED, ARRIVED = "while both kinds of nodes run", "once every pod runs on a Cilium node"
"""The moments that are compared, in words that end a sentence."""
_NEW = {NodeKind.LEGACY: "a-legacy-node", NodeKind.CILIUM: "a-cilium-node"}
"""Names of nodes that stand for a kind of which there is none yet."""
_UNKNOWN = "without-identity"


@dataclass(frozen=True, kw_only=True)
class Given:
    """What the cluster and the policy files say.

    Attributes:
        objects: of the live cluster, as `operations.cluster.traffic.live_objects` gives them.
        files: policy files that the stage deploys; each stands for the live object of its name.
        enforcer: what enforced policy before the journey; None: nothing did.
        calico_version: (major, minor) of that Calico.
        cilium: what the agents' configuration changes about policy.
        pod_blocks: where pods may be, IPv4 blocks.
        host_addresses: that every node serves itself.
        accepted: differences that somebody accepts today.
        strangers: pods of legacy nodes, "namespace/name", that Cilium takes for mere addresses.
    """

    objects: Sequence[Obj]
    files: Sequence[str] = ()
    enforcer: Enforcer | None = Enforcer.CALICO
    calico_version: tuple[int, int] = (3, 32)
    cilium: CiliumOptions = field(default_factory=CiliumOptions)
    pod_blocks: tuple[ipaddress.IPv4Network, ...] = ()
    host_addresses: tuple[str, ...] = ()
    accepted: tuple[Accepted, ...] = ()
    strangers: Collection[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class Pair:
    """Two worlds to compare, and the moment of the journey that the second one is."""

    moment: str
    before: World
    after: World


def pairs(world: World, given: Given, journey: Journey, stage: Stage, *, recognised: bool) -> tuple[Pair, ...]:
    """What has to be equal before a stage is entered: at that stage, and at every mixture of nodes after it.

    Args:
        world: of `whole(given)`.
        given: the cluster.
        journey: of the stack.
        stage: that is entered.
        recognised: whether Cilium is told who the pods of legacy nodes are.
    """
    rest = journey.stages[journey.index[stage.id] :]
    found = []
    mixed = next((s for s in rest if len(s.wiring) > 1), None)
    if mixed is not None:
        found.append(_pair(MIXED, world, given, mixed, Recognition.BRIDGE if recognised else Recognition.WORLD))
    found.append(_pair(ARRIVED, world, given, journey.last, Recognition.WORLD))
    return tuple(found)


def whole(given: Given) -> tuple[World, tuple[Policy, ...]]:
    """The cluster with all policies that are compared and nobody who enforces them; and policies that are not compared.

    Raises:
        netpol.model.errors.PolicyError: a policy cannot be read; with everything that is wrong.
        ValueError: the objects do not fit together.
    """
    readers = over(documents.load(given.files), given.objects)
    world = from_readers(
        readers,
        whole=True,
        calico_version=given.calico_version,
        cilium=given.cilium,
        pod_cidrs=given.pod_blocks,
        apiserver=apiserver(given.objects),
        host_addresses=tuple(map(ipaddress.ip_address, given.host_addresses)),
    )
    return without_operators(without_copies(replace(world, accepted=given.accepted))[0])


def without_operators(world: World) -> tuple[World, tuple[Policy, ...]]:
    """The world without what the Tigera operator made for Calico's own pods, which goes with Calico; and what it is."""
    theirs = tuple(p for p in world.policies if p.meta.of_operator)
    return world.with_policies(p for p in world.policies if not p.meta.of_operator), theirs


def said_of(theirs: Sequence[object]) -> str:
    """Policies that were left out, in words."""
    return f"{objects.count(len(theirs), 'policy', 'policies')} that the Tigera operator made for Calico's own pods"


def _pair(moment: str, world: World, given: Given, stage: Stage, legacy: Recognition) -> Pair:
    places = _Places(world, stage, legacy, given.strangers)
    pods = tuple(placed for pod in world.pods for placed in places.of(pod))
    after = replace(world, pods=pods, nodes=tuple(places.nodes.values()))
    engines = frozenset({Engine(given.enforcer)}) if given.enforcer else frozenset[Engine]()
    nodes = tuple(replace(n, engines=engines, recognised=Recognition.WORLD) for n in after.nodes)
    return Pair(moment, replace(after, nodes=nodes), after)


class _Places:
    """Where pods can be at a stage: their own nodes, and one node for each kind that theirs is not of."""

    def __init__(self, world: World, stage: Stage, legacy: Recognition, strangers: Collection[str]) -> None:
        self._strangers, self._legacy = strangers, legacy
        self.kinds = tuple(stage.enforcement)
        self.nodes: dict[str, Node] = {}
        self._kind_of: dict[str, NodeKind] = {}
        for node in world.nodes:
            kind = NodeKind.CILIUM if node.labels.get(CNI_LABEL) == CILIUM_CNI else NodeKind.LEGACY
            if kind in self.kinds:
                self._add(node, kind, stage)
        self._standing: dict[NodeKind, str] = {}
        for kind in self.kinds:
            known = sorted(name for name, its in self._kind_of.items() if its is kind)
            if not known:
                self._add(Node(name=_NEW[kind]), kind, stage)
            self._standing[kind] = known[0] if known else _NEW[kind]

    def _add(self, node: Node, kind: NodeKind, stage: Stage) -> None:
        engines = frozenset(Engine(e) for e in stage.enforcement[kind])
        seen = Recognition.CILIUM if kind is NodeKind.CILIUM else self._legacy
        self.nodes[node.name] = replace(node, engines=engines, recognised=seen)
        self._kind_of[node.name] = kind

    def of(self, pod: Pod) -> Iterable[Pod]:
        """The pod wherever it may be. What uses its node's network stays where it is."""
        if pod.host_network and pod.node in self.nodes:
            yield pod
            return
        for kind in self.kinds:
            at_home = self._kind_of.get(pod.node) is kind
            where = pod.node if at_home else self._standing[kind]
            if kind is NodeKind.LEGACY and str(pod) in self._strangers:
                where = self._unknown_at(where)
            yield replace(pod, node=where, name=pod.name if at_home else f"{pod.name}@{where}")

    def _unknown_at(self, where: str) -> str:
        """A node like another, whose pods are mere addresses to Cilium."""
        name = f"{where}-{_UNKNOWN}"
        if name not in self.nodes:
            self.nodes[name] = replace(self.nodes[where], name=name, addresses=(), recognised=Recognition.WORLD)
        return name


def apiserver(found: Iterable[Obj]) -> tuple[Any, ...]:
    """Addresses that Cilium knows as `kube-apiserver`: those behind default/kubernetes (pkg/k8s/watchers)."""
    addresses: set[str] = set()
    for item in found:
        meta = item.get("metadata") or {}
        labels = meta.get("labels") or {}
        of = (item.get("kind"), meta.get("namespace"), labels.get("kubernetes.io/service-name"))
        if of == ("EndpointSlice", "default", "kubernetes"):
            addresses |= {str(a) for e in item.get("endpoints") or [] for a in e.get("addresses") or []}
    return tuple(sorted(map(ipaddress.ip_network, addresses), key=str))
