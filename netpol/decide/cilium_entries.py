"""Policies as the entries of Cilium's engine (pkg/policy/types/policyentry.go), Kubernetes' own among them."""

from __future__ import annotations

from dataclasses import dataclass, field

from netpol.model.errors import Place, UndecidableError
from netpol.model.identity import CLUSTER, NAMESPACE, NAMESPACE_LABELS
from netpol.model.selector import ALL, NOTHING, And, Has, In, Not, NotIn, Selector, both, equals, keys, rename
from netpol.model.values import (
    DIRECTIONS,
    CidrPeer,
    CiliumPort,
    ClusterPeer,
    ClusterPolicy,
    IcmpType,
    KubernetesPeer,
    KubernetesPolicy,
    Meta,
)

ADMIN, NORMAL, BASELINE = 100, 200, 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """Who is on the other side. `every`: anybody. Otherwise one of the lists matches; none of them: nobody."""

    every: bool = False
    selectors: tuple[Selector, ...] = ()
    entities: frozenset[str] = frozenset()
    cidrs: tuple[CidrPeer, ...] = ()
    nodes: tuple[Selector, ...] = ()
    addresses: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One rule as Cilium's engine holds it. `ports` None: every protocol. `peers` None: selects nobody."""

    direction: str
    verdict: str
    subject: Selector
    peers: Peers
    ports: tuple[CiliumPort | IcmpType, ...] | None
    default_deny: bool
    tier: int = NORMAL
    priority: float = 0.0
    node: bool = False
    l7: str = ""
    policy: Meta
    where: str
    place: Place = field(default_factory=Place, compare=False)


_IN_CLUSTER = Has(CLUSTER)
"""What Cilium asks by the cluster's own name; pods of other clusters are not modelled."""


def in_this_cluster(selector: Selector, cluster: str, meta: Meta) -> Selector:
    """A selector of a Cilium policy in which what it asks of the cluster's name is answered.

    Raises:
        UndecidableError: it asks, and nobody said how the cluster is called.
    """
    if CLUSTER not in keys(selector):
        return selector
    return _answered(selector, cluster, meta)


def _answered(selector: Selector, cluster: str, meta: Meta) -> Selector:
    if isinstance(selector, And):
        return both(*(_answered(p, cluster, meta) for p in selector.parts()))
    if not isinstance(selector, In | NotIn) or selector.key != CLUSTER:
        return selector
    if not cluster:
        raise UndecidableError(
            f"{meta} asks for the cluster {' or '.join(sorted(selector.values))}, and nobody said how this one is "
            "called: say --cluster-name"
        )
    if isinstance(selector, In):
        return Has(CLUSTER) if cluster in selector.values else NOTHING
    return Not(Has(CLUSTER)) if cluster in selector.values else ALL


def endpoint_selector(selector: Selector, namespace: str, *, init: bool) -> Selector:
    """fromEndpoints and toEndpoints: the policy's namespace unless the selector names one (getEndpointSelector)."""
    asked = keys(selector)
    if any(key.startswith("reserved:") for key in asked):
        return selector
    # A negative requirement alone would find the world as well; the cluster's name keeps it out.
    here = None if CLUSTER in asked else _IN_CLUSTER
    if NAMESPACE in asked:
        return both(selector, here)
    if not namespace:
        return both(selector, here) if init else both(selector, Has(NAMESPACE), here)
    if any(key.startswith(NAMESPACE_LABELS) for key in asked):
        return both(selector, here)
    return both(_own(namespace), selector, here)


def _namespace_selector(selector: Selector) -> Selector:
    return Has(NAMESPACE) if selector == ALL else rename(selector, lambda key: NAMESPACE_LABELS + key)


def _own(namespace: str) -> Selector:
    return equals(NAMESPACE, namespace)


def kubernetes_entries(policy: KubernetesPolicy) -> list[Entry]:
    """pkg/k8s/network_policy.go, ParseNetworkPolicy. An ipBlock is a CIDR rule and so never finds pods or nodes."""
    return policy.derived.once("cilium", lambda: _kubernetes_entries(policy))


def _kubernetes_entries(policy: KubernetesPolicy) -> list[Entry]:
    namespace = policy.meta.namespace
    subject = both(_own(namespace), policy.pods)
    for selector in (policy.pods, *(p.pods for d in DIRECTIONS for r in policy.rules(d) for p in r.peers)):
        if selector is not None and CLUSTER in keys(selector):
            raise UndecidableError(
                f"{policy.meta} selects pods by {CLUSTER}, which Cilium answers for every pod and no pod has as a "
                "label: leave it out, or say it in a CiliumNetworkPolicy"
            )
    out: list[Entry] = []
    for direction in DIRECTIONS:
        rules = policy.rules(direction)
        for rule in rules:
            ports = tuple(CiliumPort(protocol=p.protocol, port=p.port) for p in rule.ports) or None
            peer_sets = [_kubernetes_peer(p, namespace) for p in rule.peers] or [Peers(every=True)]
            out += [
                Entry(
                    direction=direction,
                    verdict="allow",
                    subject=subject,
                    peers=peers,
                    ports=ports,
                    default_deny=True,
                    policy=policy.meta,
                    where=rule.where,
                    place=rule.place,
                )
                for peers in peer_sets
            ]
        if not rules and direction in policy.directions:
            out.append(
                Entry(
                    direction=direction,
                    verdict="allow",
                    subject=subject,
                    peers=Peers(),
                    ports=None,
                    default_deny=True,
                    policy=policy.meta,
                    where=direction,
                    place=policy.meta.place,
                )
            )
    return out


def _kubernetes_peer(peer: KubernetesPeer, namespace: str) -> Peers:
    if peer.block is not None:
        return Peers(cidrs=(CidrPeer(cidr=peer.block, excepted=peer.excepted),))
    scope = _own(namespace) if peer.namespaces is None else _namespace_selector(peer.namespaces)
    return Peers(selectors=(both(scope, peer.pods, _IN_CLUSTER),))


def cluster_entries(policy: ClusterPolicy) -> list[Entry]:
    """pkg/k8s/cluster_network_policy.go: tiers around the normal one, priority plus a hundredth per rule."""
    subject = _namespace_selector(policy.namespaces)
    if policy.pods is not None:
        subject = both(subject, policy.pods)
    out: list[Entry] = []
    for direction in DIRECTIONS:
        for i, rule in enumerate(policy.rules(direction)):
            for peer in rule.peers:
                verdict = {"Accept": "allow", "Deny": "deny", "Pass": "pass"}[rule.action]
                if peer.nodes is not None or peer.domains:
                    raise UndecidableError(
                        f"{policy.meta} {rule.where}: nodes and domainNames depend on what agents learn at run time"
                    )
                peers = _cluster_peer(peer)
                if peer.unknown:
                    if verdict == "allow":
                        continue
                    verdict, peers = "deny", Peers(every=True)
                ports = tuple(CiliumPort(protocol=p.protocol, port=p.port) for p in rule.ports) or None
                out.append(
                    Entry(
                        direction=direction,
                        verdict=verdict,
                        subject=subject,
                        peers=peers,
                        ports=ports,
                        default_deny=False,
                        tier=ADMIN if policy.tier == "Admin" else BASELINE,
                        priority=policy.priority + i / 100,
                        policy=policy.meta,
                        where=rule.where,
                        place=rule.place,
                    )
                )
    return out


def _cluster_peer(peer: ClusterPeer) -> Peers:
    if peer.networks:
        return Peers(cidrs=tuple(CidrPeer(cidr=n) for n in peer.networks))
    if peer.namespaces is None:
        return Peers()
    # Only pod peers are tied to the cluster; a negative namespace selector alone finds the world as well.
    here = None if peer.pods is None else _IN_CLUSTER
    return Peers(selectors=(both(_namespace_selector(peer.namespaces), peer.pods, here),))
