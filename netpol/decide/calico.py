"""Calico's decision (v3.32, iptables and nftables data planes; the tie-break of older versions on request).

A flow's direction is decided at one endpoint: tiers by order, in each the policies that select the endpoint by
order, their rules from the top; Allow and Deny end it, Pass goes to the next tier, Log goes on. A tier of which at
least one policy applied ends in its default action. After the last tier a pod's profile allows.

Sources: felix/calc/policy_sorter.go, felix/rules/{policy,endpoints}.go, felix/calc/rule_scanner.go,
libcalico-go/lib/backend/syncersv1/updateprocessors, libcalico-go/lib/backend/k8s/conversion.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from netpol.decide.calico_kubernetes import (
    ADMIN_TIER,
    BASELINE_TIER,
    DEFAULT_TIER,
    OLD_ADMIN_TIER,
    OLD_BASELINE_TIER,
    ORCHESTRATOR,
    from_admin,
    from_cluster,
    from_kubernetes,
)
from netpol.model.packets import Packet, Party
from netpol.model.ranges import IPNetwork
from netpol.model.selector import ALL, And, Global, Has, In, Not, Selector, equals, rename, replace
from netpol.model.values import (
    INGRESS,
    SCTP,
    TCP,
    UDP,
    AdminPolicy,
    CalicoPolicy,
    CalicoRule,
    ClusterPolicy,
    Entity,
    HostEndpoint,
    Icmp,
    KubernetesPolicy,
    NetworkSet,
    Port,
    Profile,
    Tier,
)
from netpol.model.world import Backend, Pod, World

NAMESPACE = "projectcalico.org/namespace"
ACCOUNT = "projectcalico.org/serviceaccount"
NAMESPACE_PREFIX = "pcns."
ACCOUNT_PREFIX = "pcsa."
NAME = "projectcalico.org/name"

BUILT_IN_TIERS = {
    DEFAULT_TIER: (1e6, "Deny"),
    **dict.fromkeys((ADMIN_TIER, OLD_ADMIN_TIER), (1e3, "Pass")),
    **dict.fromkeys((BASELINE_TIER, OLD_BASELINE_TIER), (1e7, "Pass")),
}
_TIE_BREAK_BY_NAME = (3, 32)
_CLUSTER_POLICIES, _ADMIN_POLICIES, _BASELINE_POLICIES = (3, 32), (3, 29), (3, 30)
_ACCOUNT_LABEL_LIMIT = 63

_IN_NAMESPACE = Has(NAMESPACE)


@dataclass(frozen=True, slots=True)
class CalicoRuling:
    """Calico's answer for one direction at one endpoint."""

    allowed: bool
    policy: CalicoPolicy | None
    rule: CalicoRule | None
    reason: str


@dataclass(frozen=True)
class EvaluatedTier:
    """A tier with its policies in the order of evaluation."""

    name: str
    default_action: str
    policies: tuple[CalicoPolicy, ...]

    def applied(self, direction: str) -> tuple[CalicoPolicy, ...]:
        return tuple(p for p in self.policies if direction in p.directions)


class CalicoModel:
    """The world as Calico sees it. `kubernetes_only`: an engine that enforces NetworkPolicy and nothing else."""

    def __init__(self, world: World, *, kubernetes_only: bool = False) -> None:
        self.world = world
        self.kubernetes_only = kubernetes_only
        self._namespace_labels: dict[str, Mapping[str, str]] = {}
        self.sets = [] if kubernetes_only else [(s, self._set_labels(s)) for s in world.of(NetworkSet)]
        self.all_host_endpoints: list[HostEndpoint] = [] if kubernetes_only else world.of(HostEndpoint)
        self.host_endpoints: dict[str, list[HostEndpoint]] = {}
        """By node; a node has one for each interface that is policed."""
        for endpoint in self.all_host_endpoints:
            self.host_endpoints.setdefault(endpoint.node, []).append(endpoint)
        self._pod_labels: dict[tuple[str, str], dict[str, str]] = {}
        self._subjects: dict[int, Selector] = {}
        self._entities: dict[tuple[int, str], tuple[Selector | None, Selector | None]] = {}

    # --- order
    @cached_property
    def policies(self) -> tuple[CalicoPolicy, ...]:
        """Every policy that may decide at a pod, Kubernetes' as Calico converts them; not the staged ones."""
        out: list[CalicoPolicy] = [from_kubernetes(p) for p in self.world.of(KubernetesPolicy)]
        if not self.kubernetes_only:
            out += [p for p in self.world.of(CalicoPolicy) if not p.staged and not p.hosts_only]
            out += [from_cluster(p) for p in self.world.of(ClusterPolicy) if self.enforces(p)]
            out += [from_admin(p) for p in self.world.of(AdminPolicy) if self.enforces(p)]
        return tuple(out)

    def enforces(self, policy: ClusterPolicy | AdminPolicy) -> bool:
        """Whether this version of Calico knows the kind at all (release notes of v3.29, v3.30, v3.32)."""
        version = self.world.calico_version
        if isinstance(policy, ClusterPolicy):
            return version >= _CLUSTER_POLICIES
        return (_ADMIN_POLICIES if policy.tier == "Admin" else _BASELINE_POLICIES) <= version < _CLUSTER_POLICIES

    @cached_property
    def forward_policies(self) -> tuple[CalicoPolicy, ...]:
        """Policies that act on what host endpoints forward."""
        mine = [] if self.kubernetes_only else self.world.of(CalicoPolicy)
        return tuple(p for p in mine if not p.staged and (p.apply_on_forward or p.hosts_only))

    @cached_property
    def _known_tiers(self) -> dict[str, tuple[float, str]]:
        tiers: list[Tier] = [] if self.kubernetes_only else self.world.of(Tier)
        return BUILT_IN_TIERS | {
            t.meta.name: (math.inf if t.order is None else t.order, t.default_action) for t in tiers
        }

    @cached_property
    def tiers(self) -> tuple[EvaluatedTier, ...]:
        """Tiers in order, each with its policies in order. A tier that does not exist comes last and denies."""
        known = self._known_tiers
        by_tier: dict[str, list[CalicoPolicy]] = {}
        for policy in self.policies:
            by_tier.setdefault(policy.tier, []).append(policy)
        ranked = sorted(by_tier, key=self._tier_rank)
        actions = {name: known.get(name, (0, "Deny"))[1] for name in ranked}
        return tuple(EvaluatedTier(n, actions[n], tuple(sorted(by_tier[n], key=self._rank))) for n in ranked)

    def _tier_rank(self, name: str) -> tuple[bool, float, str]:
        known = self._known_tiers
        return name not in known, known.get(name, (math.inf, ""))[0], name

    def rank(self, policy: CalicoPolicy) -> tuple[object, ...]:
        """The policy's place among all, to sort by."""
        return *self._tier_rank(policy.tier), *self._rank(policy)

    def _rank(self, policy: CalicoPolicy) -> tuple[float, str]:
        meta = policy.meta
        order = math.inf if policy.order is None else policy.order
        if self.world.calico_version >= _TIE_BREAK_BY_NAME:
            kind = "Kubernetes" + meta.kind if "k8s.io" in meta.api else meta.kind
            return order, f"{meta.name}/{meta.namespace}/{kind}"
        name = meta.stored or meta.name
        if meta.api.startswith("networking.k8s.io"):
            name = f"knp.default.{name}"
        elif meta.api.startswith("projectcalico.org") and not name.startswith(f"{policy.tier}."):
            name = f"{policy.tier}.{name}"
        return order, f"{meta.namespace}/{name}" if meta.namespace else name

    # --- labels
    def pod_labels(self, pod: Pod) -> Mapping[str, str]:
        """A pod's labels with those it inherits from its namespace and service account."""
        key = (pod.namespace, pod.name)
        if key not in self._pod_labels:
            labels = dict(self.namespace_labels(pod.namespace))
            if pod.namespace_labels is not None:
                labels = _prefixed(pod.namespace, pod.namespace_labels)
            account = self.world.account_labels.get((pod.namespace, pod.service_account), {})
            if pod.account_labels is not None:
                account = pod.account_labels
            labels |= {ACCOUNT_PREFIX + k: v for k, v in account.items()}
            labels[ACCOUNT_PREFIX + NAME] = pod.service_account
            labels |= pod.labels
            labels[NAMESPACE], labels[ORCHESTRATOR] = pod.namespace, "k8s"
            if pod.service_account and len(pod.service_account) < _ACCOUNT_LABEL_LIMIT:
                labels[ACCOUNT] = pod.service_account
            self._pod_labels[key] = labels
        return self._pod_labels[key]

    def namespace_labels(self, namespace: str) -> Mapping[str, str]:
        found = self._namespace_labels.get(namespace)
        if found is None:
            found = _prefixed(namespace, self.world.namespace_labels.get(namespace, {}))
            self._namespace_labels[namespace] = found
        return found

    def host_labels(self, endpoint: HostEndpoint) -> Mapping[str, str]:
        """A host endpoint's labels with those that its profiles apply."""
        out: dict[str, str] = {}
        for profile in self.world.of(Profile):
            if profile.meta.name in endpoint.profiles:
                out |= profile.labels_to_apply
        return out | dict(endpoint.meta.labels)

    def _set_labels(self, network_set: NetworkSet) -> Mapping[str, str]:
        labels = dict(network_set.meta.labels)
        if network_set.meta.namespace:
            labels |= self.namespace_labels(network_set.meta.namespace)
            labels[NAMESPACE] = network_set.meta.namespace
        return labels

    # --- who
    def subject(self, policy: CalicoPolicy) -> Selector:
        """What a policy selects, over `pod_labels`."""
        key = id(policy)
        if key not in self._subjects:
            self._subjects[key] = subject_selector(policy)
        return self._subjects[key]

    def selectors(self, entity: Entity, namespace: str) -> tuple[Selector | None, Selector | None]:
        """`entity_selectors`, made once for each entity of this model's policies (which keep it alive)."""
        key = (id(entity), namespace)
        found = self._entities.get(key)
        if found is None:
            found = self._entities[key] = entity_selectors(entity, namespace)
        return found

    def matches(self, selector: Selector, who: Party, family: int) -> bool:
        """Whether a selector finds this end: the pod itself, a host endpoint, or a network set with its address."""
        if who.pod is not None and selector.matches(self.pod_labels(who.pod)):
            return True
        if who.node is not None and who.pod is None:
            for endpoint in self.host_endpoints.get(who.node.name, ()):
                if selector.matches(self.host_labels(endpoint)) and within(who, endpoint.expected_ips, family):
                    return True
        return any(selector.matches(labels) and within(who, s.nets, family) for s, labels in self.sets)

    # --- the decision
    def decide(self, direction: str, subject: Party, peer: Party, packet: Packet) -> CalicoRuling:
        """The ruling at `subject`, which must be a pod."""
        assert subject.pod is not None  # noqa: S101
        if direction == INGRESS and peer.local:
            return CalicoRuling(True, None, None, "a node always reaches its own pods")
        labels = self.pod_labels(subject.pod)
        source, destination = (peer, subject) if direction == INGRESS else (subject, peer)
        for tier in self.tiers:
            applied = [p for p in tier.applied(direction) if self.subject(p).matches(labels)]
            if not applied:
                continue
            hit = self._first(applied, direction, source, destination, packet)
            if hit is not None and hit[1].action != "Pass":
                policy, rule = hit
                return CalicoRuling(rule.action == "Allow", policy, rule, f"{rule.action} in tier {tier.name}")
            if hit is None and tier.default_action != "Pass":
                return CalicoRuling(
                    False,
                    applied[-1],
                    None,
                    f"no rule of tier {tier.name} matched, and the tier ends in Deny",
                )
        return CalicoRuling(True, None, None, "no policy decided, and the namespace's profile allows")

    def _first(
        self,
        applied: Iterable[CalicoPolicy],
        direction: str,
        source: Party,
        destination: Party,
        packet: Packet,
    ) -> tuple[CalicoPolicy, CalicoRule] | None:
        for policy in applied:
            for rule in policy.rules(direction):
                if rule.action != "Log" and self.rule_matches(rule, policy, source, destination, packet):
                    return policy, rule
        return None

    def rule_matches(
        self, rule: CalicoRule, policy: CalicoPolicy, source: Party, destination: Party, packet: Packet
    ) -> bool:
        namespace = policy.meta.namespace
        return (
            packet_matches(rule, packet)
            and self._entity(rule.source, namespace, source, packet, packet.source_port)
            and self._entity(rule.destination, namespace, destination, packet, packet.port)
            and self._service(rule.source, namespace, source, packet, with_port=False)
            and self._service(rule.destination, namespace, destination, packet, with_port=True)
        )

    def _entity(self, entity: Entity, namespace: str, who: Party, packet: Packet, port: int) -> bool:
        wanted, unwanted = entity_selectors(entity, namespace)
        if wanted is not None and not self.matches(wanted, who, packet.family):
            return False
        if unwanted is not None and self.matches(unwanted, who, packet.family):
            return False
        if entity.nets and not within(who, entity.nets, packet.family):
            return False
        if entity.not_nets and not outside(who, entity.not_nets, packet.family):
            return False
        if entity.ports and not _port_in(entity.ports, who, packet, port):
            return False
        return not (entity.not_ports and _port_in(entity.not_ports, who, packet, port))

    def _service(self, entity: Entity, namespace: str, who: Party, packet: Packet, *, with_port: bool) -> bool:
        if entity.service is None:
            return True
        if who.address is None:
            return False
        for backend in self.service_backends(entity, namespace):
            if backend.address == who.address and (
                not with_port or (packet.protocol, packet.port) in backend.ports.values()
            ):
                return True
        return False

    def service_backends(self, entity: Entity, namespace: str) -> tuple[Backend, ...]:
        """EndpointSlices decide, whatever they say of readiness, and without a Service too (felix/serviceindex)."""
        assert entity.service is not None  # noqa: S101
        return self.world.endpoints(entity.service.namespace or namespace, entity.service.name) or ()


def _prefixed(namespace: str, labels: Mapping[str, str]) -> dict[str, str]:
    return {NAMESPACE_PREFIX + NAME: namespace} | {NAMESPACE_PREFIX + k: v for k, v in labels.items()}


# --- Matching -------------------------------------------------------------------------------------


def packet_matches(rule: CalicoRule, packet: Packet) -> bool:
    """Family, protocol and ICMP; ports belong to the ends."""
    if rule.ip_version is not None and rule.ip_version != packet.family:
        return False
    if rule.protocol is not None and rule.protocol != packet.protocol:
        return False
    if rule.not_protocol is not None and rule.not_protocol == packet.protocol:
        return False
    if rule.icmp is not None and not _icmp_in(rule.icmp, packet):
        return False
    return not (rule.not_icmp is not None and _icmp_in(rule.not_icmp, packet))


def _icmp_in(icmp: Icmp, packet: Packet) -> bool:
    return (icmp.type is None or icmp.type == packet.icmp_type) and (icmp.code is None or icmp.code == packet.icmp_code)


def within(who: Party, nets: Iterable[IPNetwork], family: int) -> bool:
    """Whether the end's address of the family is in one of the networks.

    An end whose addresses nobody knows is in 0.0.0.0/0 and ::/0, and in nothing narrower.
    """
    if who.address is None:
        return any(net.prefixlen == 0 and net.version == family for net in nets)
    return any(who.address.version == net.version and who.address in net for net in nets)


def outside(who: Party, nets: tuple[IPNetwork, ...], family: int) -> bool:
    """`notNets`: outside all of them. A rule whose notNets are all of the other family is not rendered at all."""
    return any(net.version == family for net in nets) and not within(who, nets, family)


def _port_in(ports: Iterable[Port], who: Party, packet: Packet, port: int) -> bool:
    for wanted in ports:
        if not wanted.name:
            if wanted.first <= port <= wanted.last and packet.protocol in (TCP, UDP, SCTP):
                return True
        elif who.pod is not None and any(
            p.name == wanted.name and p.protocol == packet.protocol and p.number == port for p in who.pod.ports
        ):
            return True
    return False


def subject_selector(policy: CalicoPolicy) -> Selector:
    """What a policy applies to, over a pod's full labels (updateprocessors/*policyprocessor.go)."""
    selector = policy.selector
    if policy.meta.namespace:
        own = equals(NAMESPACE, policy.meta.namespace)
        selector = own if selector == ALL else And((selector, own))
    for part, prefix, every in (
        (policy.namespace_selector, NAMESPACE_PREFIX, None if policy.meta.namespace else NAMESPACE),
        (policy.service_account_selector, ACCOUNT_PREFIX, None if policy.meta.namespace else ACCOUNT),
    ):
        if part is None:
            continue
        prefixed = rename(part, lambda key, prefix=prefix: prefix + key)  # type: ignore[misc]
        selector = prefixed if policy.meta.namespace and selector == ALL else And((selector, prefixed))
        if every is not None:
            # Upstream replaces the text "all()" in the whole expression, the policy's own selector included.
            selector = replace(selector, ALL, Has(every))
    return selector


def entity_selectors(entity: Entity, namespace: str) -> tuple[Selector | None, Selector | None]:
    """The positive and the negative selector of a rule's side (updateprocessors/rules.go, rule_scanner.go).

    None: nothing is asked. With a positive one, the negative one is folded into it, as Felix does.
    """
    scope: Selector | None = None
    if entity.namespace_selector is not None:
        scope = rename(entity.namespace_selector, lambda key: NAMESPACE_PREFIX + key)
        scope = replace(replace(scope, ALL, _IN_NAMESPACE), Global(), Not(_IN_NAMESPACE))
    elif namespace:
        scope = equals(NAMESPACE, namespace)
    parts: list[Selector] = []
    if entity.service_account_selector is not None:
        parts.append(rename(entity.service_account_selector, lambda key: ACCOUNT_PREFIX + key))
    if entity.service_accounts:
        parts.append(In(ACCOUNT, frozenset(entity.service_accounts)))
    if entity.selector is not None:
        parts.append(entity.selector)
    positive: Selector | None = And(tuple(parts)) if len(parts) > 1 else parts[0] if parts else None
    if scope is not None and (
        positive is not None or entity.not_selector is not None or entity.namespace_selector is not None
    ):
        positive = scope if positive is None else And((scope, positive))
    if positive is not None and entity.not_selector is not None:
        return And((positive, Not(entity.not_selector))), None
    return positive, entity.not_selector
