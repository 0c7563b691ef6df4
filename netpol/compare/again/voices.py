"""What the policies of one world say, engine by engine, in one form: whom about, in which order, with whom, what."""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace

from netpol.compare.again.finding import Finder, GrowingIndex
from netpol.decide import calico
from netpol.decide.calico_kubernetes import from_admin, from_cluster, from_kubernetes
from netpol.decide.cilium_entries import Entry, Peers, cluster_entries, kubernetes_entries
from netpol.decide.models import calico_model, cilium_model
from netpol.model.packets import Party
from netpol.model.ranges import IPNetwork
from netpol.model.selector import Selector, keys
from netpol.model.values import (
    DIRECTIONS,
    INGRESS,
    AdminPolicy,
    CalicoPolicy,
    CiliumPolicy,
    CiliumPort,
    CiliumRule,
    ClusterPolicy,
    Entity,
    KubernetesPolicy,
    Meta,
    Policy,
)
from netpol.model.world import Engine, Pod, World

Key = tuple[str, str, str, str]
_RANK = {"deny": 0, "allow": 1, "pass": 2}


def key_of(meta: Meta) -> Key:
    """Under which name a policy is found again after a change."""
    return meta.api.partition("/")[0], meta.kind, meta.namespace, meta.name


@dataclass(frozen=True, slots=True)
class Sought:
    """What a Calico rule asks of one end, ports apart."""

    wanted: Selector | None
    unwanted: Selector | None
    nets: tuple[IPNetwork, ...]
    not_nets: tuple[IPNetwork, ...]
    service: tuple[str, str] | None

    @property
    def needs(self) -> tuple[Selector, ...] | None:
        """Selectors of which one has to match, unless a network set does; None: no pod is out of the question."""
        return None if self.wanted is None else (self.wanted,)

    @property
    def selectors(self) -> tuple[Selector, ...]:
        return tuple(s for s in (self.wanted, self.unwanted) if s is not None)


Test = Sought | Peers


@dataclass(frozen=True, slots=True)
class Rule:
    """Whom a rule finds at the other end (`test`), whom at the pod's own (`own`), and what it says then."""

    test: Test
    own: Sought | None
    says: Hashable
    names: frozenset[str]
    """Of ports that it looks up at either end."""


@dataclass(eq=False, slots=True)
class Said:
    """What one policy says about the pods it selects, in one direction.

    `order`: among what the same engine's policies say. `isolates`: what applies to a pod because a policy of this kind
    does, whatever its rules are. `selected`: the pods, by number.
    """

    policy: Policy
    direction: str
    subject: Selector
    order: tuple[object, ...]
    isolates: Hashable
    rules: tuple[Rule, ...]
    selected: int = 0


class Voice:
    """What one engine hears of one world's policies; grows and shrinks as policies and pods do."""

    def __init__(self, world: World, engine: Engine, index: GrowingIndex) -> None:
        self.engine = engine
        self.index = index
        self.asked: set[str] = set()
        """Labels that some policy asks or asked for."""
        self.services: set[tuple[str, str]] = set()
        """Services that rules name or named."""
        self._said: dict[Key, list[Said]] = {}
        self._subjects: Finder[Said] = Finder()
        self._tests: dict[Test, dict[Said, None]] = {}
        self._finder: Finder[Test] = Finder()
        self.look(world)

    def look(self, world: World) -> None:
        """Take the world of now for what it is; policies are told one by one."""
        self.world = world
        if self.engine is Engine.CILIUM:
            self.cilium = cilium_model(world)
        else:
            self.calico = calico_model(world, kubernetes_only=self.engine is Engine.KUBERNETES)
        self._sets = self.engine is Engine.CALICO and bool(self.calico.sets)

    def __iter__(self) -> Iterator[Said]:
        return (said for some in self._said.values() for said in some)

    # --- policies
    def tell(self, policy: Policy) -> list[Said]:
        """A policy that is there from now on."""
        made = list(self._cilium(policy) if self.engine is Engine.CILIUM else self._calico(policy))
        for said in made:
            said.selected = self.index.find(said.subject)
            self._subjects.add(said, (said.subject,))
            self.asked |= keys(said.subject)
            for rule in said.rules:
                users = self._tests.get(rule.test)
                if users is None:
                    users = self._tests[rule.test] = {}
                    self._finder.add(rule.test, self._needs(rule.test))
                users[said] = None
                for test in (rule.test, rule.own):
                    for selector in () if test is None else test.selectors:
                        self.asked |= keys(selector)
                    if isinstance(test, Sought) and test.service is not None:
                        self.services.add(test.service)
        if made:
            self._said[key_of(policy.meta)] = made
        return made

    def forget(self, policy: Policy) -> list[Said]:
        """A policy that is there no more."""
        gone = self._said.pop(key_of(policy.meta), [])
        for said in gone:
            self._subjects.drop(said, (said.subject,))
            for test in {rule.test for rule in said.rules}:
                users = self._tests[test]
                users.pop(said, None)
                if not users:
                    del self._tests[test]
                    self._finder.drop(test, self._needs(test))
        return gone

    def networks(self, said: Said) -> Iterator[IPNetwork]:
        """The networks that it tells apart."""
        for test in (test for rule in said.rules for test in (rule.test, rule.own)):
            if isinstance(test, Sought):
                yield from (*test.nets, *test.not_nets)
                if test.service is not None and test.service in self.world.service_by_name:
                    backends = self.world.backends(self.world.service_by_name[test.service])
                    yield from (ipaddress.ip_network(b.address) for b in backends)
            elif test is not None:
                for cidr in test.cidrs:
                    yield from (*self.cilium.group_nets(cidr), *cidr.excepted)
                yield from map(ipaddress.ip_network, test.addresses)

    def _needs(self, test: Test) -> tuple[Selector, ...] | None:
        if isinstance(test, Sought):
            return test.needs
        if test.every or test.entities or test.cidrs or test.addresses or test.nodes:
            return None
        return test.selectors

    # --- pods
    @property
    def eyes(self) -> Engine:
        """Whose labels the engine sees."""
        return Engine.CILIUM if self.engine is Engine.CILIUM else Engine.CALICO

    def labels(self, pod: Pod) -> Mapping[str, str]:
        model = self.cilium if self.engine is Engine.CILIUM else self.calico
        return model.pod_labels(pod)

    def admit(self, number: int, pod: Pod) -> None:
        """A pod that is there from now on, and in the index."""
        labels = self.labels(pod)
        for said in self._subjects.candidates(labels):
            if said.subject.matches(labels):
                said.selected |= 1 << number

    def dismiss(self, numbers: int) -> None:
        for said in self:
            if said.selected & numbers:
                said.selected &= ~numbers

    def about(self, ends: list[tuple[Party, int]]) -> dict[Test, int]:
        """The tests that find one of these ends in flows of a family, each with the ends, by position, as a set."""
        out: dict[Test, int] = {}
        for at, (who, family) in enumerate(ends):
            assert who.pod is not None  # noqa: S101
            tests = self._finder.candidates(self.labels(who.pod))
            if self._in_a_set(who, family):
                tests = dict.fromkeys(self._tests)
            for test in tests:
                if self.matches(test, who, family):
                    out[test] = out.get(test, 0) | 1 << at
        return out

    def _in_a_set(self, who: Party, family: int) -> bool:
        return self._sets and any(calico.within(who, s.nets, family) for s, _ in self.calico.sets)

    def users(self, test: Test) -> dict[Said, None]:
        return self._tests[test]

    def matches(self, test: Test, who: Party, family: int) -> bool:
        """Whether a rule with this test finds the end; of rules by service it is taken to."""
        if isinstance(test, Peers):
            return self.cilium.peers_match(test, who, family)
        if test.wanted is not None and not self.calico.matches(test.wanted, who, family):
            return False
        if test.unwanted is not None and self.calico.matches(test.unwanted, who, family):
            return False
        # Whoever has no address known may get one anywhere.
        if who.address is None:
            return True
        if test.nets and not calico.within(who, test.nets, family):
            return False
        return not test.not_nets or calico.outside(who, test.not_nets, family)

    # --- what policies say
    def _calico(self, policy: Policy) -> Iterator[Said]:
        model = self.calico
        heard = self._heard(policy)
        if heard is None:
            return
        for direction in DIRECTIONS:
            if direction not in heard.directions:
                continue
            rules: list[Rule] = []
            for rule in heard.rules(direction):
                if rule.action == "Log":
                    continue
                mine, theirs = rule.destination, rule.source
                if direction != INGRESS:
                    mine, theirs = theirs, mine
                packet = rule.protocol, rule.not_protocol, rule.icmp, rule.not_icmp, rule.ip_version
                says = (rule.action, packet, mine, theirs.ports, theirs.not_ports)
                names = {p.name.lower() for e in (mine, theirs) for p in (*e.ports, *e.not_ports) if p.name}
                own = self._sought(mine, heard.meta.namespace)
                rules.append(
                    Rule(
                        self._sought(theirs, heard.meta.namespace),
                        own if own.selectors or own.nets or own.not_nets or own.service else None,
                        says,
                        frozenset(names),
                    )
                )
            isolates = (self.engine, heard.tier, direction)
            yield Said(policy, direction, model.subject(heard), model.rank(heard), isolates, tuple(rules))

    def _heard(self, policy: Policy) -> CalicoPolicy | None:
        if isinstance(policy, KubernetesPolicy):
            return from_kubernetes(policy)
        if self.engine is Engine.KUBERNETES:
            return None
        if isinstance(policy, CalicoPolicy):
            return None if policy.staged or policy.hosts_only else policy
        if isinstance(policy, ClusterPolicy) and self.calico.enforces(policy):
            return from_cluster(policy)
        if isinstance(policy, AdminPolicy) and self.calico.enforces(policy):
            return from_admin(policy)
        return None

    def _sought(self, entity: Entity, namespace: str) -> Sought:
        wanted, unwanted = self.calico.selectors(entity, namespace)
        service = None if entity.service is None else (entity.service.namespace or namespace, entity.service.name)
        return Sought(wanted, unwanted, entity.nets, entity.not_nets, service)

    def _cilium(self, policy: Policy) -> Iterator[Said]:
        entries: list[Entry] = []
        if isinstance(policy, CiliumPolicy):
            entries = [e for spec in policy.specs for e in self.cilium.own_entries(policy, spec)]
        elif isinstance(policy, KubernetesPolicy):
            entries = kubernetes_entries(policy)
        elif isinstance(policy, ClusterPolicy) and self.world.cilium.cluster_policies:
            entries = cluster_entries(policy)
        for entry in entries:
            if entry.node:
                continue
            names = {
                p.port.name
                for p in entry.ports or ()
                if isinstance(p, CiliumPort) and p.port is not None and p.port.name
            }
            order = entry.tier, entry.priority, _RANK[entry.verdict]
            isolates = (self.engine, entry.direction) if entry.default_deny else None
            rule = Rule(entry.peers, None, (*order, entry.ports, entry.default_deny), frozenset(names))
            yield Said(policy, entry.direction, entry.subject, order, isolates, (rule,))


def emptied(policy: Policy) -> Policy:
    """The policy without what it says: it applies to the same pods, and isolates them as before."""
    match policy:
        case KubernetesPolicy():
            return replace(policy, ingress=(), egress=())
        case CalicoPolicy():
            return replace(policy, ingress=(), egress=())
        case CiliumPolicy():
            return replace(policy, specs=tuple(replace(s, rules=_of_nobody(s.rules)) for s in policy.specs))
    return policy


def _of_nobody(rules: tuple[CiliumRule, ...]) -> tuple[CiliumRule, ...]:
    by_direction = {rule.direction: rule for rule in rules}
    return tuple(CiliumRule(direction=d, deny=False, where=r.where, endpoints=()) for d, r in by_direction.items())
