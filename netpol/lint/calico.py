"""What may be wrong with Calico's and Kubernetes' policies, as Calico decides them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from netpol.compare.calico_rows import CalicoRows
from netpol.compare.calico_shared import CalicoShared
from netpol.compare.calico_steps import CalicoStep
from netpol.compare.probes import with_probes
from netpol.compare.sets import Product, bits
from netpol.compare.universe import Universe
from netpol.decide.calico import BUILT_IN_TIERS
from netpol.decide.hosts import selected_endpoints
from netpol.decide.models import calico_model
from netpol.lint.finding import Finding
from netpol.model.selector import ALL
from netpol.model.values import DIRECTIONS, CalicoPolicy, CalicoRule, HostEndpoint, NetworkSet, Policy, Tier
from netpol.model.world import Namespace, World

_KUBERNETES = "networking.k8s.io"


@dataclass(frozen=True, slots=True)
class _Placed:
    """A rule in the order of evaluation."""

    tier: int
    policy: CalicoPolicy
    selected: int
    step: CalicoStep


class CalicoLint:
    """Findings about one world's policies, in the order of evaluation."""

    def __init__(self, world: World) -> None:
        self.world = world
        # Without pods, those that policies look for show which rules meet; that none is found says nothing then.
        self.known = bool(world.pods)
        self.universe = Universe((world if self.known else with_probes(_named(world)),))
        self.rows = CalicoRows(CalicoShared(self.universe), 0)

    def findings(self) -> Iterator[Finding]:
        yield from self._missing_tiers()
        if self.known:
            yield from self._selectors()
        for direction in DIRECTIONS:
            placed = self._placed(direction)
            traps = list(self._order_traps(direction, placed))
            yield from traps
            if self.known:
                # Who is told that a Deny comes too late is not told to remove it.
                late = {(f.policy, f.rule) for f in traps if f.code == "deny-overridden"}
                yield from (f for f in self._dead(direction, placed) if (f.policy, f.rule) not in late)
            else:
                yield from self._never_asked(direction)
        yield from self._shape()

    def _placed(self, direction: str) -> list[_Placed]:
        return [
            _Placed(i, policy, selected, step)
            for i, tier in enumerate(self.rows.tiers[direction])
            for policy, selected, steps in tier.policies
            for step in steps
        ]

    # --- the order trap
    def _order_traps(self, direction: str, placed: list[_Placed]) -> Iterator[Finding]:
        """Policies that cancel isolation, and denies that come too late."""
        isolated = [
            (policy, selected)
            for tier in self.rows.tiers[direction]
            for policy, selected, _ in tier.policies
            if policy.meta.api.startswith(_KUBERNETES)
        ]
        for at, item in enumerate(placed):
            if item.policy.meta.api.startswith(_KUBERNETES):
                continue
            if item.step.action == "Allow" and self._wide(item):
                victims = [
                    p for p, mask in isolated if mask & item.selected and self._before(p, item.policy, direction)
                ]
                if victims:
                    names = ", ".join(str(p.meta) for p in victims[:3]) + (" and more" if len(victims) > 3 else "")
                    yield self._finding(
                        "cancels-isolation",
                        item,
                        f"it comes behind order 1000 and allows what {names} isolate from: in Calico, isolation is "
                        "only the end of the tier, which this Allow keeps from being reached",
                        "give what must stay denied a Deny, or allow less",
                    )
            if item.step.action == "Deny":
                over = [
                    e
                    for e in placed[:at]
                    if e.step.action == "Allow"
                    and e.tier == item.tier
                    and e.policy is not item.policy
                    and self._overrides(e, item)
                ]
                if over:
                    names = ", ".join(dict.fromkeys(f"{e.policy.meta} {e.step.rule.where}" for e in over[:3]))
                    one = len(over) == 1
                    yield self._finding(
                        "deny-overridden",
                        item,
                        f"{names} come{'s' if one else ''} first and let{'s' if one else ''} through what it denies",
                        "give its policy a lower order than theirs (NetworkPolicy has 1000), or a tier before them",
                    )

    def _never_asked(self, direction: str) -> Iterator[Finding]:
        """Policies behind one of the same tier that decides, or passes on, whatever comes: also without any pods."""
        for tier in self.rows.tiers[direction]:
            first: CalicoPolicy | None = None
            for policy, _, _ in tier.policies:
                if first is not None:
                    rule = next(r for r in first.rules(direction) if _takes_all(r))
                    yield self._about(
                        policy,
                        "never-asked",
                        f"{first.meta} {rule.where} comes first in tier {policy.tier} and takes every packet of every "
                        f"pod ({rule.action}), so its {direction} rules are never asked",
                        "give it a lower order, or a tier of its own before that one",
                    )
                elif _selects_all(policy) and any(_takes_all(r) for r in policy.rules(direction)):
                    first = policy

    def _before(self, first: CalicoPolicy, second: CalicoPolicy, direction: str) -> bool:
        order = [p for tier in self.rows.tiers[direction] for p, _, _ in tier.policies]
        tiers = {id(p): i for i, tier in enumerate(self.rows.tiers[direction]) for p, _, _ in tier.policies}
        positions = {id(p): i for i, p in enumerate(order)}
        return tiers.get(id(first)) == tiers.get(id(second)) and positions[id(first)] < positions[id(second)]

    def _wide(self, item: _Placed) -> bool:
        """An Allow for every packet to more than a few networks: to all of a family's addresses or all pods."""
        for _, peers in self._products(item):
            if peers & self.universe.kinds["address"] and any(
                n.prefixlen == 0 for e in (item.step.rule.source, item.step.rule.destination) for n in e.nets
            ):
                return True
            if peers == self.universe.all_peers:
                return True
        return False

    def _products(self, item: _Placed) -> list[Product]:
        found: dict[Product, None] = {}
        for subject in bits(item.selected):
            for product in item.step.at(subject, self.universe.classes[subject].ports):
                found[product] = None
        return list(found)

    def _overrides(self, allow: _Placed, deny: _Placed) -> bool:
        """Whether an Allow lets through some of what a later Deny is about, and more: inside it, it is an exception."""
        for subject in bits(allow.selected & deny.selected):
            signature = self.universe.classes[subject].ports
            denied = deny.step.at(subject, signature)
            left = list(allow.step.at(subject, signature))
            meet = any(cells & c and peers & p for cells, peers in left for c, p in denied)
            for product in denied:
                left = [part for whole in left for part in _minus(whole, product)]
            if meet and left:
                return True
        return False

    # --- rules that do nothing
    def _dead(self, direction: str, placed: list[_Placed]) -> Iterator[Finding]:
        for at, item in enumerate(placed):
            if not item.selected:  # its policy selects nothing, which is said once
                continue
            if not self._products(item):
                yield self._finding(
                    "reaches-nothing",
                    item,
                    "nothing that was given matches it: no pod, node or address, or no packet",
                    "correct its selectors, nets or ports; remove it only if nothing is ever to match it",
                )
            elif not self._takes(item, placed[:at], direction):
                yield self._finding(
                    "shadowed",
                    item,
                    "rules before it decide everything that it matches",
                    "move it up, or remove it if what comes before is what is meant",
                )

    def _takes(self, item: _Placed, earlier: list[_Placed], direction: str) -> bool:
        """Whether any flow gets as far as this rule."""
        return any(self._arriving(item, subject, earlier, direction) for subject in bits(item.selected))

    def _arriving(self, item: _Placed, subject: int, earlier: list[_Placed], direction: str) -> list[Product]:
        """What of the rule's flows no rule before it decided, for one class of pods.

        What a rule passes on is spared the rest of its tier; what no rule of a tier decides, the tier's end does.
        """
        signature = self.universe.classes[subject].ports
        left = list(item.step.at(subject, signature))
        for number in range(item.tier + 1):
            tier = self.rows.tiers[direction][number]
            passed: list[Product] = []
            for other in earlier:
                if other.tier != number or not other.selected >> subject & 1:
                    continue
                for product in other.step.at(subject, signature):
                    if other.step.action == "Pass":
                        passed += [met for part in left if (met := _meet(part, product)) is not None]
                    left = [rest for part in left for rest in _minus(part, product)]
            if number < item.tier:
                selected = any(mask >> subject & 1 for _, mask, _ in tier.policies)
                left = passed + ([] if selected and tier.default_action != "Pass" else left)
        return left

    # --- selectors
    def _selectors(self) -> Iterator[Finding]:
        model = calico_model(self.world)
        for policy in model.policies:
            if not self.rows.index.find(model.subject(policy)) and not selected_endpoints(model, policy):
                yield self._about(
                    policy,
                    "selects-nothing",
                    "its selector matches no pod that was given",
                    "correct the selector; remove the policy only if no pod is ever to match it",
                )

    # --- what does not carry over
    def _missing_tiers(self) -> Iterator[Finding]:
        known = set(BUILT_IN_TIERS) | {t.meta.name for t in self.world.of(Tier)}
        for policy in self.world.of(CalicoPolicy):
            if policy.tier not in known:
                yield self._about(
                    policy,
                    "no-such-tier",
                    f"tier {policy.tier!r} does not exist, so it is evaluated last and denies at its end",
                    "create the tier, or name one that exists",
                )

    def _shape(self) -> Iterator[Finding]:
        for policy in self.world.of(CalicoPolicy):
            if policy.staged:
                yield self._about(policy, "staged", "a staged policy decides nothing", "enforce or remove it")
            if policy.hosts_only:
                yield self._about(
                    policy,
                    "hosts-only",
                    "preDNAT and doNotTrack policies act on host endpoints only and have no counterpart in Cilium",
                    "replace it by Cilium's host firewall before the migration",
                )
            elif policy.apply_on_forward and (found := selected_endpoints(calico_model(self.world), policy)):
                yield self._about(
                    policy,
                    "host-endpoint",
                    f"it also polices what {', '.join(str(e.meta) for e in found[:3])} forwards, which has no "
                    "counterpart in Cilium",
                    "replace that part by Cilium's host firewall or security groups before the migration",
                )
            for rule in () if policy.hosts_only else (*policy.ingress, *policy.egress):
                if rule.action == "Deny" and any(
                    e.selector or e.namespace_selector for e in (rule.source, rule.destination)
                ):
                    yield Finding(
                        code="deny-by-identity",
                        policy=str(policy.meta),
                        rule=rule.where,
                        place=rule.place,
                        message="once a Cilium node enforces it, it denies pods by their identity; a pod that Cilium "
                        "does not know is an address of the world and passes",
                        fix="keep the bridge healthy until every pod is on a Cilium node",
                    )
        for endpoint in self.world.of(HostEndpoint):
            yield self._about(
                endpoint,
                code="host-endpoint",
                message="policy on hosts has no exact counterpart in Cilium",
                fix="replace it by Cilium's host firewall, or drop it, before the migration",
            )
        used = {s.meta.name for s in self.world.of(NetworkSet) if s.nets}
        for network_set in self.world.of(NetworkSet):
            if network_set.meta.name not in used:
                yield self._about(
                    network_set, code="empty-set", message="the set has no networks", fix="remove it, or fill it"
                )

    def _about(self, policy: Policy, code: str, message: str, fix: str) -> Finding:
        """A finding about an object as a whole."""
        return Finding(code=code, policy=str(policy.meta), rule="", place=policy.meta.place, message=message, fix=fix)

    def _finding(self, code: str, item: _Placed, message: str, fix: str) -> Finding:
        return Finding(
            code=code,
            policy=str(item.policy.meta),
            rule=item.step.rule.where,
            place=item.step.rule.place,
            message=message,
            fix=fix,
        )


def _selects_all(policy: CalicoPolicy) -> bool:
    narrowed = policy.namespace_selector or policy.service_account_selector
    return not policy.meta.namespace and policy.selector == ALL and narrowed is None


def _takes_all(rule: CalicoRule) -> bool:
    """Whether a rule has no condition at all."""
    plain = CalicoRule(action=rule.action, where=rule.where)
    return rule.action != "Log" and rule == plain


def _named(world: World) -> World:
    """The world with the namespaces that its policies are in."""
    known = {n.name for n in world.namespaces}
    named = dict.fromkeys(
        p.meta.namespace for p in world.policies if p.meta.namespace and p.meta.namespace not in known
    )
    more = tuple(Namespace(name=name, labels={"kubernetes.io/metadata.name": name}) for name in named)
    return replace(world, namespaces=(*world.namespaces, *more))


def _meet(product: Product, other: Product) -> Product | None:
    """What two rectangles share."""
    cells, peers = product[0] & other[0], product[1] & other[1]
    return (cells, peers) if cells and peers else None


def _minus(product: Product, other: Product) -> list[Product]:
    """A rectangle without another: what lies in other cells, and what concerns other peers."""
    cells, peers = product
    out = []
    if cells & ~other[0]:
        out.append((cells & ~other[0], peers))
    if cells & other[0] and peers & ~other[1]:
        out.append((cells & other[0], peers & ~other[1]))
    return out
