"""Rules in Calico's order made into drafts that Cilium, which has no order, decides alike."""

# ruff: noqa: PLR0917

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from netpol.compare.calico_rows import CalicoRows
from netpol.compare.calico_shared import CalicoShared
from netpol.compare.calico_steps import CalicoTier
from netpol.compare.cilium_rows import CiliumRows, CiliumStep
from netpol.compare.sets import Product, bits
from netpol.compare.universe import Universe
from netpol.decide.models import cilium_model
from netpol.model.selector import Selector, both, either, negate
from netpol.model.values import (
    DIRECTIONS,
    CalicoPolicy,
    CalicoRule,
    CiliumPolicy,
    Policy,
)
from netpol.model.world import World
from netpol.read import documents
from netpol.read.policies import policies as parse_policies
from netpol.translate.boxes import EVERYBODY, Box, Boxes, UnsayableError
from netpol.translate.closing import closes, may_share
from netpol.translate.coverage import Coverage
from netpol.translate.emit import Draft, Writer
from netpol.translate.manifests import distinct, manifest_of
from netpol.translate.prune import needed

_MOST_PIECES = 200


@dataclass
class _Rule:
    """A rule in its place in the order, with its boxes (or why there are none)."""

    tier: int
    owner: int
    rule: CalicoRule
    policy: CalicoPolicy
    action: str
    boxes: list[Box] = field(default_factory=list)
    unsaid: list[str] = field(default_factory=list)
    subjects: int = 0
    denied: bool = False
    """Whether Cilium denies say all that this Deny decides; then later rules need not be cut down for it."""
    closed: bool = False
    """Whether default deny says this Deny; then later allows are cut down for whomever it could select."""


def is_native(policy: CalicoPolicy) -> bool:
    """Whether it is a NetworkPolicy of Kubernetes, which stays."""
    return policy.meta.api.startswith("networking.k8s.io")


class Drafting:
    """One translation in the making: rules in order, drafts, and what could not be said."""

    def __init__(self, before: World, kept: tuple[Policy, ...], *, closing: bool = True) -> None:
        """`closing`: whether a Deny of everything may become default deny, and later allows be cut down for it."""
        after = before.with_policies(kept).enforced_by("cilium")
        self.universe = Universe((before, after))
        self.target = CalicoRows(CalicoShared(self.universe), 0)
        self.cilium = CiliumRows(self.universe, 1)
        self.boxes = Boxes(self.universe, self.target)
        self.coverage = Coverage(self.boxes)
        self.writer = Writer(self.boxes)
        self.owners: list[CalicoPolicy] = []
        self.drafts: list[Draft] = []
        self.unsaid: dict[tuple[str, str], list[str]] = {}
        self.written_out: dict[tuple[str, str], frozenset[str]] = {}
        self.closing = closing
        self.closed: list[CalicoPolicy] = []
        """Policies whose Deny of everything became default deny."""
        self._kept = {(p.meta.kind, p.meta.namespace, p.meta.name) for p in kept}
        self._entries: dict[int, tuple[int, CiliumStep]] = {}

    def run(self) -> None:
        for direction in DIRECTIONS:
            self._direction(direction)
        unique: dict[tuple[int, str, bool], Draft] = {}
        for draft in self.drafts:
            unique.setdefault((draft.owner, draft.key, draft.default_deny), draft)
        self.drafts = [draft for draft in unique.values() if not self._said_anyway(draft)]
        self.drafts = needed(self.cilium, self.drafts, [self._step(draft) for draft in self.drafts])

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
            if rule.where == draft.origin
            for entity in (rule.source, rule.destination)
        )
        return outside or not blocks

    # --- rules in order
    def _rules(self, direction: str) -> list[_Rule]:
        out: list[_Rule] = []
        for number, tier in enumerate(self.target.tiers[direction]):
            for policy, _, steps in tier.policies:
                owner = self._owner(policy)
                for step in steps:
                    item = _Rule(number, owner, step.rule, policy, step.action)
                    try:
                        item.boxes = self.boxes.of_rule(step.rule, policy, direction)
                    except UnsayableError as error:
                        item.unsaid.append(str(error))
                        self._cannot(item, str(error))
                    for box in item.boxes:
                        item.subjects |= self.boxes.subjects(box)
                    out.append(item)
        return out

    def _owner(self, policy: CalicoPolicy) -> int:
        for i, known in enumerate(self.owners):
            if known is policy:
                return i
        self.owners.append(policy)
        return len(self.owners) - 1

    def _cannot(self, item: _Rule, reason: str) -> None:
        self.unsaid.setdefault((str(item.policy.meta), item.rule.where), []).append(reason)

    def _write_out(self, policy: CalicoPolicy, where: str) -> None:
        """Note the labels that were written out over their present values."""
        if self.writer.expanded:
            key = (str(policy.meta), where)
            self.written_out[key] = self.written_out.get(key, frozenset()) | self.writer.expanded

    def _direction(self, direction: str) -> None:
        tiers = self.target.tiers[direction]
        rules = self._rules(direction)
        for number, tier in enumerate(tiers):
            if tier.default_action != "Pass":
                self._isolation(number, tier, direction)
        for at, item in enumerate(rules):
            if item.action == "Deny" and self.closing and self._closes(item, rules[:at], direction):
                self._close(item, direction)
            elif item.action == "Deny":
                self._deny(item, rules[:at], tiers, direction)
        for item in self._ends(tiers, direction):
            self._deny(item, [r for r in rules if r.tier <= item.tier], tiers, direction)
        denied = self._products(direction, deny=True)
        for at, item in enumerate(rules):
            if item.action == "Allow":
                self._allow(item, item.tier, rules[:at], rules, tiers, direction, denied)
        for at, item in enumerate(rules):
            if item.action == "Pass":
                # Behind the last tier the namespace's profile allows whatever was passed that far.
                later = [r for r in rules if r.tier > item.tier]
                self._allow(item, len(tiers), [*rules[:at], *later], rules, tiers, direction, denied)

    def _isolation(self, number: int, tier: CalicoTier, direction: str) -> None:
        """The end of a tier that denies: whoever a policy of it selects is in default deny."""
        del number
        for policy, _, _ in tier.policies:
            if is_native(policy):
                continue
            self.writer.expanded = set()
            try:
                terms = self.writer.literals(self.target.model.subject(policy))
            except UnsayableError as error:
                self.unsaid.setdefault((str(policy.meta), ""), []).append(str(error))
                continue
            self._write_out(policy, "")
            self.drafts += [self._closed(self._owner(policy), direction, term, direction) for term in terms]

    def _closes(self, item: _Rule, earlier: list[_Rule], direction: str) -> bool:
        """Whether the Deny may become default deny. What stays counts also where it selects nobody today."""
        passed = [b for e in earlier if e.action == "Pass" and e.tier == item.tier for b in e.boxes or item.boxes]
        policies = [p for tier in self.target.model.tiers for p in tier.applied(direction)]
        staying = [
            self.target.model.subject(p)
            for p in policies[policies.index(item.policy) + 1 :]
            if (p.meta.kind, p.meta.namespace, p.meta.name) in self._kept and p.rules(direction)
        ]
        return not item.unsaid and closes(self.boxes, item.boxes, passed, staying)

    def _close(self, item: _Rule, direction: str) -> None:
        """Default deny for whoever the Deny is about."""
        self.writer.expanded = set()
        try:
            terms = self.writer.literals(item.boxes[0].subject)
        except UnsayableError as error:
            self._cannot(item, str(error))
            return
        self._write_out(item.policy, item.rule.where)
        self.closed.append(item.policy)
        item.closed = True
        self.drafts += [self._closed(item.owner, direction, term, item.rule.where) for term in terms]

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

    def _ends(self, tiers: list[CalicoTier], direction: str) -> Iterator[_Rule]:
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
                    yield _Rule(number, self._owner(policy), rule, policy, "Deny", boxes=[box], subjects=selected)

    # --- denies
    def _deny(self, item: _Rule, earlier: list[_Rule], tiers: list[CalicoTier], direction: str) -> None:
        known = len(self.unsaid.get((str(item.policy.meta), item.rule.where), ()))
        pieces = list(item.boxes)
        for other in earlier:
            if other.action == "Deny" or (other.action == "Pass" and other.tier != item.tier):
                continue
            if other.subjects & item.subjects:
                pieces = self._without(item, pieces, other)
        for piece in pieces:
            if self.coverage.meets(piece, direction, allowed=True):
                self._cannot(item, "its order among rules that let the same traffic through")
                continue
            self._emit(item, piece, direction, tiers, deny=True)
        item.denied = len(self.unsaid.get((str(item.policy.meta), item.rule.where), ())) == known

    def _without(self, item: _Rule, pieces: list[Box], other: _Rule) -> list[Box]:
        """The pieces minus another rule; a piece that cannot be divided is left out and noted."""
        if other.unsaid:
            return pieces
        for box in other.boxes:
            left: list[Box] = []
            for piece in pieces:
                try:
                    left += self.boxes.subtract(piece, box)
                except UnsayableError as error:
                    self._cannot(item, str(error))
            pieces = left
            if len(pieces) > _MOST_PIECES:
                self._cannot(item, f"it takes more than {_MOST_PIECES} rules to say without an order")
                return []
        return pieces

    def _emit(self, item: _Rule, piece: Box, direction: str, tiers: list[CalicoTier], *, deny: bool) -> None:
        denies = item.tier < len(tiers) and tiers[item.tier].default_action != "Pass"
        # A staying NetworkPolicy isolates by itself; what is added for it must not do more.
        native = is_native(item.policy)
        drafts, unsaid = self.writer.drafts(
            piece,
            owner=item.owner,
            direction=direction,
            deny=deny,
            default_deny=denies and not deny and not native,
            origin=item.rule.where or direction,
        )
        self.drafts += drafts
        self._write_out(item.policy, item.rule.where)
        for reason in unsaid:
            self._cannot(item, reason)

    # --- allows
    def _allow(
        self,
        item: _Rule,
        tier: int,
        earlier: list[_Rule],
        rules: list[_Rule],
        tiers: list[CalicoTier],
        direction: str,
        denied: dict[int, list[Product]],
    ) -> None:
        open_ = [box for whole in item.boxes if not self.boxes.void(box := _outside(whole, earlier))]
        for box in open_:
            if not self.coverage.exceeds(box, direction, denied) and tier < len(tiers):
                self._emit(item, box, direction, tiers, deny=False)
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
                        self._cannot(item, "what it lets through depends on rules before it that Cilium cannot order")
                    else:
                        self._emit(replace(item, tier=min(tier, len(tiers))), part, direction, tiers, deny=False)

    def _reaching(
        self,
        item: _Rule,
        pieces: list[Box],
        tier: int,
        rules: list[_Rule],
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
                            self._cannot(item, str(error))
                            continue
                        left += [box for box in met if not self.boxes.void(box)]
            pieces = left
        return pieces

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
        for draft in self.drafts:
            if draft.direction == direction and draft.deny == deny:
                selected, step = self._step(draft)
                for subject in bits(selected):
                    out.setdefault(subject, []).extend(step.at(self.universe.classes[subject].ports))
        return out

    # --- writing
    def manifests(self) -> list[dict[str, Any]]:
        out = []
        for i, owner in enumerate(self.owners):
            drafts = [d for d in self.drafts if d.owner == i]
            if drafts:
                out.append(manifest_of(owner, drafts))
        out = copy.deepcopy(out)
        out.sort(key=lambda m: (m["kind"], m["metadata"].get("namespace", ""), m["metadata"]["name"]))
        return distinct(out)


def _outside(box: Box, earlier: list[_Rule]) -> Box:
    """The box without the subjects that an earlier Deny of everything closed."""
    for other in earlier:
        if other.closed and may_share(box.subject, other.boxes[0].subject):
            box = replace(box, subject=both(box.subject, negate(other.boxes[0].subject)))
    return box
