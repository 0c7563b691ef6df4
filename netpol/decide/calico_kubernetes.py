"""Kubernetes' policies as Calico converts them."""

# ruff: noqa: PLR0917 - rules are made by the thousand, and keywords cost

from __future__ import annotations

from dataclasses import replace

from netpol.model.errors import UndecidableError
from netpol.model.selector import both, equals
from netpol.model.values import (
    ANYBODY,
    DIRECTIONS,
    EGRESS,
    INGRESS,
    AdminPolicy,
    CalicoPolicy,
    CalicoRule,
    ClusterPeer,
    ClusterPolicy,
    ClusterPort,
    ClusterRule,
    Entity,
    KubernetesPeer,
    KubernetesPolicy,
    KubernetesPort,
    KubernetesRule,
    Port,
)

ORCHESTRATOR = "projectcalico.org/orchestrator"


KUBERNETES_ORDER = 1000.0


DEFAULT_TIER, ADMIN_TIER, BASELINE_TIER = "default", "kube-admin", "kube-baseline"
OLD_ADMIN_TIER, OLD_BASELINE_TIER = "adminnetworkpolicy", "baselineadminnetworkpolicy"


_IS_POD = equals(ORCHESTRATOR, "k8s")


def from_kubernetes(policy: KubernetesPolicy) -> CalicoPolicy:
    """Tier default, order 1000, allow only (libcalico-go/lib/backend/k8s/conversion, K8sNetworkPolicyToCalico)."""
    return policy.derived.once("calico", lambda: _from_kubernetes(policy))


def _from_kubernetes(policy: KubernetesPolicy) -> CalicoPolicy:
    return CalicoPolicy(
        meta=policy.meta,
        tier=DEFAULT_TIER,
        order=KUBERNETES_ORDER,
        selector=both(_IS_POD, policy.pods),
        directions=policy.directions,
        ingress=tuple(r for rule in policy.ingress for r in _kubernetes_rules(rule, INGRESS)),
        egress=tuple(r for rule in policy.egress for r in _kubernetes_rules(rule, EGRESS)),
    )


def _kubernetes_rules(rule: KubernetesRule, direction: str) -> list[CalicoRule]:
    peers: tuple[KubernetesPeer | None, ...] = rule.peers or (None,)
    return [
        _one_way(direction, "Allow", rule, protocol, _kubernetes_entity(peer, ports, direction), ports)
        for protocol, ports in _grouped(rule.ports)
        for peer in peers
    ]


def _one_way(
    direction: str,
    action: str,
    rule: KubernetesRule | ClusterRule,
    protocol: int | None,
    peer: Entity,
    ports: tuple[Port, ...],
) -> CalicoRule:
    """A rule about a peer; ports are the destination's, so on egress the peer already has them."""
    mine = Entity(ports=ports) if ports and direction == INGRESS else ANYBODY
    source, destination = (peer, mine) if direction == INGRESS else (mine, peer)
    return CalicoRule(
        action=action, where=rule.where, source=source, destination=destination, protocol=protocol, place=rule.place
    )


def _grouped(ports: tuple[KubernetesPort, ...]) -> list[tuple[int | None, tuple[Port, ...]]]:
    """One entry per protocol; no ports at all, or a protocol without a port, means all of them."""
    if not ports:
        return [(None, ())]
    by_protocol: dict[int, list[Port] | None] = {}
    for port in ports:
        current = by_protocol.get(port.protocol, [])
        by_protocol[port.protocol] = None if port.port is None or current is None else [*current, port.port]
    return [(protocol, tuple(by_protocol[protocol] or ())) for protocol in sorted(by_protocol)]


def _kubernetes_entity(peer: KubernetesPeer | None, ports: tuple[Port, ...], direction: str) -> Entity:
    ports = ports if direction == EGRESS else ()
    if peer is None:
        return Entity(ports=ports) if ports else ANYBODY
    if peer.block is not None:
        return Entity(nets=(peer.block,), not_nets=peer.excepted, ports=ports)
    return Entity(selector=both(_IS_POD, peer.pods), namespace_selector=peer.namespaces, ports=ports)


def from_admin(policy: AdminPolicy) -> CalicoPolicy:
    """Tier adminnetworkpolicy or baselineadminnetworkpolicy, both ending in Pass (v3.29 to v3.31).

    Raises UndecidableError for what nobody here saw Calico convert.
    """
    for rule in (*policy.ingress, *policy.egress):
        odd = any(p.unknown or p.nodes is not None or p.domains for p in rule.peers)
        if odd or any(p.port is not None and p.port.name for p in rule.ports):
            raise UndecidableError(
                f"{policy.meta} {rule.where} ({rule.place}): how Calico enforces nodes, domainNames and namedPort of "
                f"this kind is not modelled. Say the rule in networks, pods and port numbers"
            )
    tier = OLD_ADMIN_TIER if policy.tier == "Admin" else OLD_BASELINE_TIER
    return replace(from_cluster(policy), tier=tier)


def from_cluster(policy: ClusterPolicy | AdminPolicy) -> CalicoPolicy:
    """Tier kube-admin or kube-baseline, both ending in Pass (conversion/clusternetworkpolicy.go, v3.32)."""
    rules: dict[str, tuple[CalicoRule, ...]] = {
        d: tuple(r for rule in policy.rules(d) for r in _cluster_rules(rule, d)) for d in DIRECTIONS
    }
    return CalicoPolicy(
        meta=policy.meta,
        tier=ADMIN_TIER if policy.tier == "Admin" else BASELINE_TIER,
        order=float(policy.priority),
        selector=both(_IS_POD, policy.pods),
        namespace_selector=policy.namespaces,
        directions=frozenset(d for d in DIRECTIONS if rules[d]),
        ingress=rules[INGRESS],
        egress=rules[EGRESS],
    )


_CLUSTER_ACTIONS = {"Accept": "Allow", "Deny": "Deny", "Pass": "Pass"}


def _cluster_rules(rule: ClusterRule, direction: str) -> list[CalicoRule]:
    if any(peer.unknown or peer.nodes is not None or peer.domains for peer in rule.peers):
        # What Calico cannot convert fails closed: an Accept vanishes, a Deny or Pass denies everything.
        return [] if rule.action == "Accept" else [CalicoRule(action="Deny", where=rule.where, place=rule.place)]
    return [
        _one_way(
            direction,
            _CLUSTER_ACTIONS[rule.action],
            rule,
            protocol,
            _cluster_entity(peer, ports if direction == EGRESS else ()),
            ports,
        )
        for protocol, ports in _cluster_grouped(rule.ports)
        for peer in rule.peers
    ]


def _cluster_entity(peer: ClusterPeer, ports: tuple[Port, ...]) -> Entity:
    if peer.networks:
        return Entity(nets=peer.networks, ports=ports)
    selector = None if peer.pods is None else both(_IS_POD, peer.pods)
    return Entity(selector=selector, namespace_selector=peer.namespaces, ports=ports)


def _cluster_grouped(ports: tuple[ClusterPort, ...]) -> list[tuple[int | None, tuple[Port, ...]]]:
    if not ports:
        return [(None, ())]
    by_protocol: dict[int | None, list[Port] | None] = {}
    for port in ports:
        current = by_protocol.get(port.protocol, [])
        by_protocol[port.protocol] = None if port.port is None or current is None else [*current, port.port]
    return [(protocol, tuple(by_protocol[protocol] or ())) for protocol in sorted(by_protocol, key=lambda p: p or 0)]
