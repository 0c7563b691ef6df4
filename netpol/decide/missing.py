"""What policies ask for and nobody gave: said once for each kind, and an answer that depends on it is none.

Each unknown thing has a few ways to be (`choices`), of which the first is "it matches nothing" and the last "it
matches what it can"; together they are all that policies can tell apart. A world settled in every combination of them
answers for whatever the cluster really has.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from netpol.decide import calico
from netpol.decide.models import calico_model, cilium_model
from netpol.model.identity import NAMESPACE_LABELS
from netpol.model.named import GIVEN_BY_KUBERNETES
from netpol.model.selector import In, NotIn, Selector, Text, atoms
from netpol.model.values import (
    CalicoPolicy,
    CalicoRule,
    CidrGroup,
    CiliumPolicy,
    CiliumRule,
    CiliumSpec,
    Entity,
    Meta,
    Policy,
    Tier,
)
from netpol.model.world import Namespace, Rest, ServiceAccount, World

MOST = 64
"""Most combinations of what is unknown that are looked at; more are not decided."""

_OTHER = "some-other-value"
_MOST_LABELLINGS = 256
_EVERYWHERE = tuple(ipaddress.ip_network(n) for n in ("0.0.0.0/0", "::/0"))
_TAKEN = {
    "Namespace": "they are taken to have the label that Kubernetes gives; their others are unknown",
    "ServiceAccount": "their labels are unknown",
    "Service": "what they lead to is unknown",
    "Tier": "their order and default action are unknown",
    "NetworkSet": "rules ask for labels that nothing given has; if network sets have them, they are missing",
    "CiliumCIDRGroup": "their networks are unknown",
    "Node": "their addresses are unknown",
}
Change = Callable[[World], World]


def _as_it_is(world: World) -> World:
    return world


@dataclass(frozen=True, slots=True)
class Missing:
    """One thing that policies ask for and nobody gave, with the ways in which it could be."""

    kind: str
    name: str
    choices: tuple[Change, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def named(unknown: Sequence[Missing]) -> str:
    """The first few of them, for a sentence."""
    return ", ".join(map(str, unknown[:5])) + (" and more" if len(unknown) > 5 else "")


def summary(found: Iterable[Missing], rest: Rest) -> tuple[str, ...]:
    """One line for each kind of what is missing."""
    by_kind: dict[str, list[str]] = {}
    for one in found:
        by_kind.setdefault(one.kind, []).append(one.name)
    taken = {Rest.CLOSED: "taken to match nothing", Rest.OPEN: "taken to match what they can"}.get(rest)
    return tuple(
        f"not given: {len(names)} {kind}{'' if len(names) == 1 else 's'} ({', '.join(names[:5])}"
        f"{' and more' if len(names) > 5 else ''}); {taken or _TAKEN[kind]}"
        for kind, names in by_kind.items()
    )


def missing(*worlds: World, sets: str = "seen") -> tuple[Missing, ...]:
    """What the worlds' policies ask for and nobody gave. Nothing is missing in a whole world.

    `sets`: `seen` names the rule selectors that nothing given matches, which may be meant for network sets; `open` also
    those that match what has no labels; `any` names every rule selector, as a set that was not given may have any.
    """
    if all(w.whole for w in worlds):
        return ()
    out: dict[tuple[str, str], Missing] = {}
    for world in worlds:
        for one in (*_namespaces(worlds, world), *_accounts(worlds, world), *_services(world), *_tiers(world)):
            out.setdefault((one.kind, one.name), one)
        for one in (*_sets(world, sets), *_groups(world), *_nodes(world)):
            out.setdefault((one.kind, one.name), one)
    return tuple(out.values())


def settled(worlds: Sequence[World], unknown: Sequence[Missing]) -> Iterator[tuple[World, ...]]:
    """The worlds with every combination of ways that the unknown things could be; all of them closed comes first.

    Raises OverflowError when there are more than `MOST` combinations.
    """
    choosable = [u.choices for u in unknown if u.choices]
    count = 1
    for choices in choosable:
        count *= len(choices)
        if count > MOST:
            raise OverflowError(f"more than {MOST} ways in which what is not given could be")
    for changes in itertools.product(*choosable):
        yield tuple(_changed(world, changes) for world in worlds)


def closed(world: World) -> World:
    """The world in which what is missing matches nothing."""
    return replace(world, rest=Rest.CLOSED)


def opened(world: World, unknown: Iterable[Missing]) -> World:
    """The world in which what is missing matches what it can."""
    return _changed(replace(world, rest=Rest.OPEN), [u.choices[-1] for u in unknown if u.choices])


def _changed(world: World, changes: Iterable[Change]) -> World:
    if world.rest is Rest.UNKNOWN:
        world = replace(world, rest=Rest.CLOSED)
    for change in changes:
        world = change(world)
    return world


# --- labels of namespaces and accounts
def _asked(worlds: Iterable[World], prefixes: tuple[str, ...], own: tuple[str, ...]) -> dict[str, list[str | None]]:
    """For each label under one of the prefixes that policies ask for, a value of every kind that they tell apart."""
    out: dict[str, set[str]] = {}
    for world in worlds:
        for selector in selectors(world):
            for atom in atoms(selector):
                full: str = getattr(atom, "key", "")
                prefix = next((p for p in prefixes if full.startswith(p)), None)
                key = full.removeprefix(prefix or "")
                if prefix is None or key in own:
                    continue
                values = out.setdefault(key, set())
                if isinstance(atom, In | NotIn):
                    values |= atom.values
                elif isinstance(atom, Text):
                    values |= {atom.text, f"x{atom.text}", f"{atom.text}x"}
    return {key: [None, _OTHER, *sorted(values, reverse=True)] for key, values in sorted(out.items())}


def _labellings(asked: Mapping[str, Sequence[str | None]]) -> list[dict[str, str]]:
    """Every way in which something could be labelled: no label first, and one with most of what is asked for last."""
    count = 1
    for values in asked.values():
        count *= len(values)
    if count > _MOST_LABELLINGS:
        return [{}] * (_MOST_LABELLINGS + 1)
    return [
        {k: v for k, v in zip(asked, combination, strict=True) if v is not None}
        for combination in itertools.product(*asked.values())
    ]


def _namespaces(worlds: Sequence[World], world: World) -> Iterator[Missing]:
    absent = [n.name for n in world.namespaces if not n.given]
    if not absent:
        return
    asked = _asked(worlds, (calico.NAMESPACE_PREFIX, NAMESPACE_LABELS), (calico.NAME, GIVEN_BY_KUBERNETES))
    if not asked:
        return
    ways = _labellings(asked)
    for name in absent:
        yield Missing("Namespace", name, tuple(_with_namespace(name, labels) for labels in ways))


def _with_namespace(name: str, labels: Mapping[str, str]) -> Change:
    value = Namespace(name=name, labels={GIVEN_BY_KUBERNETES: name, **labels})
    return lambda world: replace(world, namespaces=(*(n for n in world.namespaces if n.name != name), value))


def _accounts(worlds: Sequence[World], world: World) -> Iterator[Missing]:
    asked = _asked(worlds, (calico.ACCOUNT_PREFIX,), (calico.NAME,))
    if not asked:
        return
    ways = _labellings(asked)
    used = {(p.namespace, p.service_account) for p in world.pods if p.service_account and p.account_labels is None}
    for namespace, name in sorted(used - world.account_labels.keys()):
        yield Missing(
            "ServiceAccount", f"{namespace}/{name}", tuple(_with_account(namespace, name, labels) for labels in ways)
        )


def _with_account(namespace: str, name: str, labels: Mapping[str, str]) -> Change:
    value = ServiceAccount(namespace=namespace, name=name, labels=labels)
    return lambda world: replace(world, service_accounts=(*world.service_accounts, value))


# --- services
def services(world: World) -> Iterator[Missing]:
    """Every service that policies ask for, given or not: to pods that do not exist yet, it leads nobody knows where."""
    return _services(world, given=True)


def _services(world: World, *, given: bool = False) -> Iterator[Missing]:
    for namespace, name in dict.fromkeys(_service_names(world)):
        if not given and world.endpoints(namespace, name) is not None:
            continue
        yield Missing(
            "Service",
            f"{namespace}/{name}" if name else "by labels",
            (_as_it_is, _with_service(namespace, name)),
        )


def _service_names(world: World) -> Iterator[tuple[str, str]]:
    for policy in _calico_policies(world):
        for rule in (*policy.ingress, *policy.egress):
            for side in (rule.source, rule.destination):
                if side.service is not None:
                    yield side.service.namespace or policy.meta.namespace, side.service.name
    for policy in world.of(CiliumPolicy):
        for spec in policy.specs:
            for rule in spec.rules:
                yield from _named_by(rule, policy)


def _named_by(rule: CiliumRule, policy: CiliumPolicy) -> list[tuple[str, str]]:
    """Namespaces and names of a rule's services; of one that is found by labels, any that nobody gave may be meant."""
    return [(s.namespace or policy.meta.namespace, s.name) if s.name else ("", "") for s in rule.services or ()]


def _with_service(namespace: str, name: str) -> Change:
    """The service leads everywhere: for one flow, that is all that its rules can come to ask."""

    def side(entity: Entity, policy: CalicoPolicy) -> Entity | None:
        wanted = entity.service
        if wanted is None or (wanted.namespace or policy.meta.namespace, wanted.name) != (namespace, name):
            return entity
        return replace(entity, service=None)

    def cilium(rule: CiliumRule, policy: CiliumPolicy) -> CiliumRule:
        if (namespace, name) not in _named_by(rule, policy):
            return rule
        return replace(rule, services=None, entities=("all",))

    return lambda world: _with_rules(world, side, cilium)


# --- network sets
def _sets(world: World, which: str) -> Iterator[Missing]:
    model = calico_model(world)
    labels = [model.pod_labels(p) for p in world.pods]
    labels += [known for _, known in model.sets]
    labels += [model.host_labels(e) for e in model.all_host_endpoints]
    for selector in dict.fromkeys(_peer_selectors(world)):
        wide = which == "any" or (which == "open" and selector.matches({}))
        if wide or not any(selector.matches(known) for known in labels):
            yield Missing("NetworkSet", _readable(selector), (_as_it_is, _with_set(selector)))


def _readable(selector: Selector) -> str:
    text = str(selector).replace(calico.NAMESPACE_PREFIX, "namespace's ")
    return text.replace(calico.ACCOUNT_PREFIX, "service account's ")


def _peer_selectors(world: World) -> Iterator[Selector]:
    for policy in _calico_policies(world):
        for rule in (*policy.ingress, *policy.egress):
            for side in (rule.source, rule.destination):
                wanted, unwanted = calico.entity_selectors(side, policy.meta.namespace)
                yield from (s for s in (wanted, unwanted) if s is not None)


def _with_set(selector: Selector) -> Change:
    """A set that the selector finds holds every address."""

    def side(entity: Entity, policy: CalicoPolicy) -> Entity | None:
        wanted, unwanted = calico.entity_selectors(entity, policy.meta.namespace)
        if selector not in (wanted, unwanted):
            return entity
        if wanted is None:
            return None
        return replace(
            entity,
            selector=None,
            not_selector=None,
            namespace_selector=None,
            service_accounts=(),
            service_account_selector=None,
        )

    return lambda world: _with_rules(world, side, lambda rule, _: rule)


# --- tiers, groups, nodes
def _tiers(world: World) -> Iterator[Missing]:
    known = {t.meta.name: t.order for t in world.of(Tier)}
    orders = sorted({1e3, 1e6, 1e7, *(o for o in known.values() if o is not None)})
    places = [orders[0] - 1, *((a + b) / 2 for a, b in itertools.pairwise(orders)), orders[-1] + 1]
    for name in dict.fromkeys(p.tier for p in _calico_policies(world)):
        if name not in known and name not in calico.BUILT_IN_TIERS:
            yield Missing(
                "Tier", name, (_as_it_is, *(_adding(_tier(name, o, a)) for o in places for a in ("Deny", "Pass")))
            )


def _tier(name: str, order: float, action: str) -> Tier:
    return Tier(meta=Meta(kind="Tier", name=name), order=order, default_action=action)


def _groups(world: World) -> Iterator[Missing]:
    model = cilium_model(world)
    known = {g.meta.name for g in model.groups}
    peers = [c for p in world.of(CiliumPolicy) for s in p.specs for r in s.rules for c in r.cidrs or ()]
    for name in dict.fromkeys(c.group for c in peers if c.group and c.group not in known):
        value = CidrGroup(meta=Meta(kind="CiliumCIDRGroup", name=name), nets=_EVERYWHERE)
        yield Missing("CiliumCIDRGroup", name, (_as_it_is, _adding(value)))


def _adding(value: Policy) -> Change:
    return lambda world: replace(world, policies=(*world.policies, value))


def _nodes(world: World) -> Iterator[Missing]:
    yield from (Missing("Node", n.name) for n in world.nodes if not n.given)


# --- rules
def _calico_policies(world: World) -> list[CalicoPolicy]:
    return [p for p in world.of(CalicoPolicy) if not p.staged and not p.hosts_only]


def selectors(world: World) -> Iterator[Selector]:
    """Every selector over labels of pods, as the engines ask it."""
    model = calico_model(world)
    for policy in model.policies:
        yield model.subject(policy)
        for rule in (*policy.ingress, *policy.egress):
            for side in (rule.source, rule.destination):
                yield from (s for s in calico.entity_selectors(side, policy.meta.namespace) if s is not None)
    for entry in cilium_model(world).entries:
        yield entry.subject
        yield from entry.peers.selectors


def _with_rules(
    world: World,
    side: Callable[[Entity, CalicoPolicy], Entity | None],
    cilium: Callable[[CiliumRule, CiliumPolicy], CiliumRule],
) -> World:
    """The world with both sides of Calico's rules put through `side` (None: the rule matches nothing), and Cilium's."""

    def rules(found: tuple[CalicoRule, ...], policy: CalicoPolicy) -> tuple[CalicoRule, ...]:
        out: list[CalicoRule] = []
        for rule in found:
            source, destination = side(rule.source, policy), side(rule.destination, policy)
            if source is rule.source and destination is rule.destination:
                out.append(rule)
            elif source is not None and destination is not None:
                out.append(replace(rule, source=source, destination=destination))
        return tuple(out)

    def spec(found: CiliumSpec, policy: CiliumPolicy) -> CiliumSpec:
        return replace(found, rules=tuple(cilium(r, policy) for r in found.rules))

    made: list[Policy] = []
    for policy in world.policies:
        if isinstance(policy, CalicoPolicy):
            ingress, egress = rules(policy.ingress, policy), rules(policy.egress, policy)
            made.append(replace(policy, ingress=ingress, egress=egress))
        elif isinstance(policy, CiliumPolicy):
            made.append(replace(policy, specs=tuple(spec(s, policy) for s in policy.specs)))
        else:
            made.append(policy)
    return replace(world, policies=tuple(made))
