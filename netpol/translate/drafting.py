"""Rules in Calico's order made into drafts that Cilium, which has no order, decides alike."""

# ruff: noqa: PLR0917

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netpol.compare.calico_rows import CalicoRows
from netpol.compare.calico_shared import CalicoShared
from netpol.compare.calico_steps import CalicoTier
from netpol.compare.cilium_rows import CiliumRows, CiliumStep
from netpol.compare.sets import Product, bits
from netpol.compare.universe import Universe
from netpol.decide.models import calico_model, cilium_model
from netpol.model.selector import Selector, both, either, negate
from netpol.model.values import (
    DIRECTIONS,
    INGRESS,
    CalicoPolicy,
    CalicoRule,
    CiliumPolicy,
    Policy,
)
from netpol.model.world import World
from netpol.read import documents
from netpol.read.policies import policies as parse_policies
from netpol.translate.boxes import EVERYBODY, Box, Boxes, UnsayableError, never
from netpol.translate.closing import closes, may_share, passing
from netpol.translate.coverage import Coverage
from netpol.translate.emit import Draft, Writer
from netpol.translate.groups import Groups
from netpol.translate.manifests import SOURCE, manifest_of
from netpol.translate.naming import Taken, distinct, key_of
from netpol.translate.prune import needed
from netpol.translate.saying import Rule, Sayer, is_native
from netpol.translate.services import Written

_MOST_PIECES = 200


class Drafting:
    """One translation in the making: rules in order, drafts, and what could not be said."""

    def __init__(
        self, before: World, kept: tuple[Policy, ...], taken: Taken, *, closing: bool, written: Written
    ) -> None:
        """`closing`: whether a Deny of everything may become default deny, and later allows be cut down for it.

        `taken`: objects that are there already. `written`: the services that rules have written out.
        """
        self.taken = taken
        self.groups = Groups(calico_model(before), before.families, taken)
        after = before.with_policies((*kept, *self.groups.values)).enforced_by("cilium")
        self.universe = Universe((before, after))
        self.target = CalicoRows(CalicoShared(self.universe), 0)
        self.cilium = CiliumRows(self.universe, 1)
        self.boxes = Boxes(self.universe, self.target)
        self.coverage = Coverage(self.boxes)
        self.writer = Writer(self.boxes, self.groups)
        self.owners: list[CalicoPolicy] = []
        self.sayer = Sayer(self.writer)
        self.closing = closing
        self.written = written
        self.closed: list[CalicoPolicy] = []
        """Policies whose Deny of everything became default deny."""
        self._kept = {(p.meta.kind, p.meta.namespace, p.meta.name) for p in kept}
        self._entries: dict[int, tuple[int, CiliumStep]] = {}

    @property
    def drafts(self) -> list[Draft]:
        return self.sayer.drafts

    def run(self) -> None:
        for direction in DIRECTIONS:
            self._direction(direction)
        unique: dict[tuple[int, str, bool], Draft] = {}
        for draft in self.sayer.drafts:
            unique.setdefault((draft.owner, draft.key, draft.default_deny), draft)
        self.sayer.drafts = [draft for draft in unique.values() if not self._said_anyway(draft)]
        self.sayer.drafts = needed(self.cilium, self.sayer.drafts, [self._step(draft) for draft in self.sayer.drafts])

    def _said_anyway(self, draft: Draft) -> bool:
        """Whether a NetworkPolicy that stays says the same in Cilium too: whatever pods there will be, a copy of it
        would only outlive its next change.

        Both engines read its pods, its ports and the world's addresses alike; not that a block may hold pods and nodes.
        """
        owner = self.owners[draft.owner]
        if draft.deny or not is_native(owner):
            return False
        selected, step = self._step(draft)
        if selected and any(step.products.values()):
            return False
        peers = {key: value for key, value in draft.rule.items() if key not in ("toPorts", "icmps")}
        outside = all(key.endswith("CIDRSet") or value == ["world"] for key, value in peers.items())
        blocks = any(
            entity.nets
            for rule in owner.rules(draft.direction)
            if rule.where in draft.origin.split(", ")
            for entity in (rule.source, rule.destination)
        )
        return outside or not blocks

    # --- rules in order
    def _rules(self, direction: str) -> list[Rule]:
        out: list[Rule] = []
        for number, tier in enumerate(self.target.tiers[direction]):
            for policy, _, steps in tier.policies:
                owner = self._owner(policy)
                for step in steps:
                    item = Rule(number, owner, step.rule, policy, step.action)
                    try:
                        item.boxes = self.boxes.of_rule(step.rule, policy, direction)
                    except UnsayableError as error:
                        item.unsaid.append(str(error))
                        self.sayer.cannot(item, str(error))
                    for box in item.boxes:
                        item.subjects |= self.boxes.subjects(box)
                    item.wheres = [step.rule.where]
                    theirs = step.rule.source if direction == INGRESS else step.rule.destination
                    item.sets, parts = self.groups.found_by(theirs, policy.meta.namespace)
                    item.copied = {str(s.meta) for s in parts}
                    item.copied |= self.written.get((str(policy.meta), step.rule.where), set())
                    if not (out and self._joined(out[-1], item)):
                        out.append(item)
        return out

    def _joined(self, last: Rule, item: Rule) -> bool:
        """Whether the rule only goes on with what the one before it says, for another address family."""
        if last.policy is not item.policy or last.action != item.action or last.unsaid or item.unsaid:
            return False
        if len(last.boxes) != 1 or len(item.boxes) != 1:
            return False
        box = self.boxes.of_both_families(last.boxes[0], item.boxes[0])
        if box is None:
            return False
        last.boxes, last.subjects = [box], last.subjects | item.subjects
        last.wheres += item.wheres
        last.sets = tuple(dict.fromkeys((*last.sets, *item.sets)))
        last.copied |= item.copied
        return True

    def _owner(self, policy: CalicoPolicy) -> int:
        for i, known in enumerate(self.owners):
            if known is policy:
                return i
        self.owners.append(policy)
        return len(self.owners) - 1

    def _direction(self, direction: str) -> None:
        tiers = self.target.tiers[direction]
        rules = self._rules(direction)
        for number, tier in enumerate(tiers):
            if tier.default_action != "Pass":
                self._isolation(tier, direction, passing(self.boxes, [r for r in rules if r.tier == number]))
        for at, item in enumerate(rules):
            if item.action == "Deny" and self.closing and self._closes(item, rules[:at], direction):
                self._close(item, direction)
            elif item.action == "Deny":
                self._deny(item, rules[:at], tiers, direction)
        for item in self._ends(tiers, direction):
            self._deny(item, [r for r in rules if r.tier <= item.tier], tiers, direction)
        self.sayer.finish(direction)
        for item in rules:
            item.denied = item.action == "Deny" and not item.closed and self.sayer.unsaid_of(item) == item.known
        denied = self._products(direction, deny=True)
        for at, item in enumerate(rules):
            if item.action == "Allow":
                self._allow(item, item.tier, rules[:at], rules, tiers, direction, denied)
        for at, item in enumerate(rules):
            if item.action == "Pass":
                # Behind the last tier the namespace's profile allows whatever was passed that far.
                later = [r for r in rules if r.tier > item.tier]
                self._allow(item, len(tiers), [*rules[:at], *later], rules, tiers, direction, denied)
        self.sayer.finish(direction)

    def _isolation(self, tier: CalicoTier, direction: str, passed: list[Selector]) -> None:
        """The end of a tier that denies: whoever a policy of it selects is in default deny, unless it passes them."""
        for policy, _, _ in tier.policies:
            if is_native(policy):
                continue
            self.writer.expanded = set()
            subject = self.target.model.subject(policy)
            if passed:
                subject = both(subject, negate(either(*passed)))
                if never(subject):
                    continue
            try:
                terms = self.writer.literals(subject)
            except UnsayableError as error:
                self.sayer.unsaid.setdefault((str(policy.meta), ""), []).append(str(error))
                continue
            self.sayer.write_out(policy, [""])
            self.sayer.drafts += [self._closed(self._owner(policy), direction, term, direction) for term in terms]

    def _closes(self, item: Rule, earlier: list[Rule], direction: str) -> bool:
        """Whether the Deny may become default deny. What stays counts also where it selects nobody today."""
        passed = [b for e in earlier if e.action == "Pass" and e.tier == item.tier for b in e.boxes or item.boxes]
        policies = [p for tier in self.target.model.tiers for p in tier.applied(direction)]
        staying = [
            self.target.model.subject(p)
            for p in policies[policies.index(item.policy) + 1 :]
            if (p.meta.kind, p.meta.namespace, p.meta.name) in self._kept and p.rules(direction)
        ]
        return not item.unsaid and closes(self.boxes, item.boxes, passed, staying)

    def _close(self, item: Rule, direction: str) -> None:
        """Default deny for whoever the Deny is about."""
        self.writer.expanded = set()
        try:
            terms = self.writer.literals(item.boxes[0].subject)
        except UnsayableError as error:
            self.sayer.cannot(item, str(error))
            return
        self.sayer.write_out(item.policy, item.wheres)
        self.closed.append(item.policy)
        item.closed = True
        self.sayer.drafts += [self._closed(item.owner, direction, term, ", ".join(item.wheres)) for term in terms]

    def _closed(self, owner: int, direction: str, subject: tuple[Selector, ...], origin: str) -> Draft:
        return Draft(
            owner=owner,
            direction=direction,
            deny=False,
            default_deny=True,
            subject=subject,
            rule={},
            origin=origin,
            expanded=frozenset(self.writer.expanded),
        )

    def _ends(self, tiers: list[CalicoTier], direction: str) -> Iterator[Rule]:
        """Ends of tiers as rules that deny, where a NetworkPolicy of a later tier stays: to Cilium its allows count,
        though in Calico nothing comes as far as that.
        """
        for number, tier in enumerate(tiers):
            staying = 0
            for later in tiers[number + 1 :]:
                for policy, selected, _ in later.policies:
                    if is_native(policy):
                        staying |= selected
            if tier.default_action == "Pass" or not staying:
                continue
            for policy, selected, _ in tier.policies:
                if selected & staying:
                    rule = CalicoRule(action="Deny", where="")
                    box = Box(self.target.model.subject(policy), EVERYBODY, self.universe.all_cells)
                    yield Rule(number, self._owner(policy), rule, policy, "Deny", boxes=[box], subjects=selected)

    # --- denies
    def _deny(self, item: Rule, earlier: list[Rule], tiers: list[CalicoTier], direction: str) -> None:
        item.known = self.sayer.unsaid_of(item)
        pieces = list(item.boxes)
        for other in earlier:
            if other.action == "Deny" or (other.action == "Pass" and other.tier != item.tier):
                continue
            if other.subjects & item.subjects:
                pieces = self._without(item, pieces, other)
        for piece in pieces:
            if self.coverage.meets(piece, direction, allowed=True):
                self.sayer.cannot(item, "its order among rules that let the same traffic through")
                continue
            self.sayer.say(item, piece, direction, tiers, deny=True)

    def _without(self, item: Rule, pieces: list[Box], other: Rule) -> list[Box]:
        """The pieces minus another rule; a piece that cannot be divided is left out and noted."""
        if other.unsaid:
            return pieces
        for box in other.boxes:
            left: list[Box] = []
            for piece in pieces:
                try:
                    left += self.boxes.subtract(piece, box)
                except UnsayableError as error:
                    self.sayer.cannot(item, str(error))
            if left != pieces:
                item.copied |= other.copied | {str(s.meta) for s in other.sets}
            pieces = left
            if len(pieces) > _MOST_PIECES:
                self.sayer.cannot(item, f"it takes more than {_MOST_PIECES} rules to say without an order")
                return []
        return pieces

    # --- allows
    def _allow(
        self,
        item: Rule,
        tier: int,
        earlier: list[Rule],
        rules: list[Rule],
        tiers: list[CalicoTier],
        direction: str,
        denied: dict[int, list[Product]],
    ) -> None:
        open_ = [box for whole in item.boxes if not self.boxes.void(box := _outside(whole, earlier))]
        for box in open_:
            if not self.coverage.exceeds(box, direction, denied) and tier < len(tiers):
                self.sayer.say(item, box, direction, tiers, deny=False)
                continue
            pieces = self._reaching(item, [box], tier, rules, tiers, direction)
            relevant = [
                other
                for other in earlier
                if other is not item
                and not other.closed
                and other.subjects & item.subjects
                and (other.action == "Deny" or (other.action == "Pass" and other.tier == tier))
            ]
            # What Cilium denies by itself need not be cut out, unless that turns out not to be enough.
            for other in relevant:
                if not other.denied:
                    pieces = self._without(item, pieces, other)
            for piece in pieces:
                parts = [piece]
                if self.coverage.exceeds(piece, direction, denied):
                    for other in relevant:
                        if other.denied:
                            parts = self._without(item, parts, other)
                for part in parts:
                    if self.coverage.exceeds(part, direction, denied):
                        self.sayer.cannot(
                            item, "what it lets through depends on rules before it that Cilium cannot order"
                        )
                    else:
                        said = replace(item, tier=min(tier, len(tiers)))
                        # What no policy selects any more is open anyway, but for whom default deny is on.
                        spare = tier >= len(tiers) and not self.boxes.subjects(part) & self._isolated(direction)
                        self.sayer.say(said, part, direction, tiers, deny=False, spare=spare)

    def _reaching(
        self,
        item: Rule,
        pieces: list[Box],
        tier: int,
        rules: list[Rule],
        tiers: list[CalicoTier],
        direction: str,
    ) -> list[Box]:
        """What of the pieces gets past the tiers before `tier`: unselected subjects, and what their rules pass."""
        del direction
        for number in range(tier):
            if tiers[number].default_action == "Pass":
                continue
            left: list[Box] = []
            for piece in pieces:
                covered = self.boxes.subjects(piece)
                selected = [p for p, mask, _ in tiers[number].policies if mask & covered]
                if not selected:
                    left.append(piece)
                    continue
                scope: Selector = either(*(self.target.model.subject(p) for p in selected))
                outside = replace(piece, subject=both(piece.subject, negate(scope)))
                if not self.boxes.void(outside):
                    left.append(outside)
                for other in rules:
                    if other.tier == number and other.action == "Pass" and other.subjects & covered:
                        try:
                            met = [self.boxes.intersect(piece, box) for box in other.boxes]
                        except UnsayableError as error:
                            self.sayer.cannot(item, str(error))
                            continue
                        left += [box for box in met if not self.boxes.void(box)]
            pieces = left
        return pieces

    def _isolated(self, direction: str) -> int:
        """The classes for which default deny is on in Cilium: by drafts, and by NetworkPolicies that stay."""
        found = 0
        for draft in self.sayer.drafts:
            if draft.default_deny and draft.direction == direction:
                found |= self._step(draft)[0]
        for tier in self.target.tiers[direction]:
            for policy, selected, _ in tier.policies:
                if is_native(policy):
                    found |= selected
        return found

    # --- drafts as Cilium's engine would hold them
    def _step(self, draft: Draft) -> tuple[int, CiliumStep]:
        """The draft as Cilium's engine would hold it: whom it selects, and what it matches."""
        key = id(draft)
        if key not in self._entries:
            manifest = manifest_of(self.owners[draft.owner], [draft])
            (policy,) = parse_policies(documents.from_objects([manifest]))
            model = cilium_model(self.universe.worlds[1])
            assert isinstance(policy, CiliumPolicy)  # noqa: S101
            (entry,) = model.own_entries(policy, policy.specs[0])
            self._entries[key] = (self.cilium.subjects.find(entry.subject), self.cilium.step(entry))
        return self._entries[key]

    def _products(self, direction: str, *, deny: bool) -> dict[int, list[Product]]:
        out: dict[int, list[Product]] = {}
        for draft in self.sayer.drafts:
            if draft.direction == direction and draft.deny == deny:
                selected, step = self._step(draft)
                for subject in bits(selected):
                    out.setdefault(subject, []).extend(step.at(self.universe.classes[subject].ports))
        return out

    # --- writing
    def manifests(self) -> list[dict[str, Any]]:
        said = [(owner, [d for d in self.sayer.drafts if d.owner == i]) for i, owner in enumerate(self.owners)]
        out = [manifest_of(owner, drafts) for owner, drafts in said if drafts]
        out += self.groups.manifests({name for draft in self.drafts for name in draft.groups}, SOURCE)
        out = copy.deepcopy(out)
        return distinct(sorted(out, key=key_of), self.taken)


def _outside(box: Box, earlier: list[Rule]) -> Box:
    """The box without the subjects that an earlier Deny of everything closed."""
    for other in earlier:
        if other.closed and may_share(box.subject, other.boxes[0].subject):
            box = replace(box, subject=both(box.subject, negate(other.boxes[0].subject)))
    return box
