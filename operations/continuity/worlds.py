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
from migration.journeys import Journey, Stage
from migration.mixtures import mixtures
from migration.names import CILIUM_CNI, CNI_LABEL
from netpol.decide.copies import without_copies, without_operators
from netpol.model.accepted import Accepted
from netpol.model.values import Policy
from netpol.model.world import CiliumOptions, Engine, Node, Recognition, World
from netpol.read import documents
from netpol.read.world import from_readers
from operations.cluster import objects
from operations.continuity.overlay import over
from prover.places import Moment, Places

Obj = Mapping[str, Any]


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
    legacy = Recognition.BRIDGE if recognised else Recognition.WORLD
    before = frozenset({Engine(given.enforcer)}) if given.enforcer else frozenset[Engine]()
    found = []
    for name, there in mixtures(journey, stage):
        places = Places(Moment.of(name, there.enforcement, legacy=legacy), before, _of_cilium)
        found.append(Pair(name, *places.pair(world, given.strangers)))
    return tuple(found)


def _of_cilium(node: Node) -> bool:
    return node.labels.get(CNI_LABEL) == CILIUM_CNI


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


def said_of(theirs: Sequence[object]) -> str:
    """Policies that were left out, in words."""
    return f"{objects.count(len(theirs), 'policy', 'policies')} that the Tigera operator made for Calico's own pods"


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
