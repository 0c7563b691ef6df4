"""Calico's and Kubernetes' policies in Cilium's words: exact, or refused with the rule, the reason and a flow.

Kubernetes NetworkPolicies stay and both engines enforce them; only what is missing for equality is added. Calico's
order disappears by subtraction: a Deny becomes a Cilium deny over what no earlier rule let through, an Allow is kept
as it is where denies take care of the rest and is cut down where they do not. What is redundant is dropped again,
and the result is proved equal before it is given out.
"""

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
from netpol.compare.prove import Proof, prove
from netpol.compare.sets import Product, Row, bits
from netpol.compare.universe import Universe
from netpol.decide.models import cilium_model
from netpol.model.selector import Selector, both, either, negate
from netpol.model.values import (
    DIRECTIONS,
    INGRESS,
    CalicoPolicy,
    CalicoRule,
    CidrGroup,
    CiliumPolicy,
    ClusterPolicy,
    KubernetesPolicy,
    Policy,
)
from netpol.model.world import World
from netpol.read import documents
from netpol.read.policies import policies as parse_policies
from netpol.translate.boxes import EVERYBODY, Box, Boxes, UnsayableError
from netpol.translate.emit import Draft, Writer
from netpol.translate.manifests import distinct, manifest_of
from netpol.translate.probes import with_probes
from netpol.translate.prune import needed
from netpol.translate.refusals import Refusal, blame, hosts

_MOST_REFUSED = 20
_MOST_PIECES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """`manifests` is the whole translation when `refused` is empty, and must not be deployed otherwise.

    `expanded`: labels whose present values are written out, so that the translation must be made anew when they
    change. `kept`: the policies that stay as they are.
    """

    manifests: tuple[dict[str, Any], ...]
    refused: tuple[Refusal, ...]
    expanded: tuple[str, ...]
    kept: tuple[Policy, ...]
    proof: Proof

    @property
    def complete(self) -> bool:
        return not self.refused and self.proof.equal

    def policies(self) -> tuple[Policy, ...]:
        """What Cilium enforces afterwards: the manifests read back, and what stays."""
        return (*parse_policies(documents.from_objects(self.manifests, "<translation>")), *self.kept)


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


def translate(world: World) -> Translation:
    """The Cilium policies that make Cilium decide as Calico does in this world.

    The world's engines do not matter; its Cilium policies are left out. Raises UndecidableError for policies that
    the model does not know.

    >>> translate(load(["calico/", "cluster.yaml"])).manifests    # doctest: +SKIP
    """
    mine = [p for p in world.policies if not isinstance(p, CiliumPolicy | CidrGroup)]
    before = world.with_policies(mine).enforced_by("calico")
    kept = tuple(
        p
        for p in mine
        if isinstance(p, KubernetesPolicy) or (isinstance(p, ClusterPolicy) and world.cilium.cluster_policies)
    )
    work = _Work(with_probes(before), kept)
    work.run()
    manifests = tuple(work.manifests())
    after = before.with_policies((*parse_policies(documents.from_objects(manifests)), *kept)).enforced_by("cilium")
    proof = prove(before, after, most=_MOST_REFUSED)
    refused = [*hosts(before), *(blame(e, before, work.unsaid) for e in proof.differences)]
    return Translation(
        manifests=manifests,
        refused=tuple(refused),
        expanded=tuple(sorted({key for d in work.drafts for key in d.expanded})),
        kept=kept,
        proof=proof,
    )


class _Work:
    """One translation in the making: rules in order, drafts, and what could not be said."""

    def __init__(self, before: World, kept: tuple[Policy, ...]) -> None:
        after = before.with_policies(kept).enforced_by("cilium")
        self.universe = Universe((before, after))
        self.target = CalicoRows(CalicoShared(self.universe), 0)
        self.cilium = CiliumRows(self.universe, 1)
        self.boxes = Boxes(self.universe, self.target)
        self.writer = Writer(self.boxes)
        self.owners: list[CalicoPolicy] = []
        self.drafts: list[Draft] = []
        self.unsaid: dict[tuple[str, str], list[str]] = {}
        self._entries: dict[int, tuple[int, CiliumStep]] = {}

    def run(self) -> None:
        for direction in DIRECTIONS:
            self._direction(direction)
        unique: dict[tuple[int, str, bool], Draft] = {}
        for draft in self.drafts:
            unique.setdefault((draft.owner, draft.key, draft.default_deny), draft)
        self.drafts = list(unique.values())
        self.drafts = needed(self.cilium, self.drafts, [self._step(draft) for draft in self.drafts])

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

    def _direction(self, direction: str) -> None:
        tiers = self.target.tiers[direction]
        rules = self._rules(direction)
        for number, tier in enumerate(tiers):
            if tier.default_action != "Pass":
                self._isolation(number, tier, direction)
        for at, item in enumerate(rules):
            if item.action == "Deny":
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
            if policy.meta.api.startswith("networking.k8s.io"):
                continue
            try:
                terms = self.writer.literals(self.target.model.subject(policy))
            except UnsayableError as error:
                self.unsaid.setdefault((str(policy.meta), ""), []).append(str(error))
                continue
            for term in terms:
                self.drafts.append(
                    Draft(
                        owner=self._owner(policy),
                        direction=direction,
                        deny=False,
                        default_deny=True,
                        subject=term,
                        rule={},
                        origin=direction,
                        expanded=frozenset(self.writer.expanded),
                    )
                )

    def _ends(self, tiers: list[CalicoTier], direction: str) -> Iterator[_Rule]:
        """Ends of tiers as rules that deny, where a NetworkPolicy of a later tier stays: to Cilium its allows count,
        though in Calico nothing comes as far as that.
        """
        for number, tier in enumerate(tiers):
            staying = 0
            for later in tiers[number + 1 :]:
                for policy, selected, _ in later.policies:
                    if policy.meta.api.startswith("networking.k8s.io"):
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
            if self._meets(piece, direction, allowed=True):
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
        native = item.policy.meta.api.startswith("networking.k8s.io")
        drafts, unsaid = self.writer.drafts(
            piece,
            owner=item.owner,
            direction=direction,
            deny=deny,
            default_deny=denies and not deny and not native,
            origin=item.rule.where or direction,
        )
        self.drafts += drafts
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
        for box in item.boxes:
            if not self._excess(box, direction, denied) and tier < len(tiers):
                self._emit(item, box, direction, tiers, deny=False)
                continue
            pieces = self._reaching(item, [box], tier, rules, tiers, direction)
            relevant = [
                other
                for other in earlier
                if other is not item
                and other.subjects & item.subjects
                and (other.action == "Deny" or (other.action == "Pass" and other.tier == tier))
            ]
            # What Cilium denies by itself need not be cut out, unless that turns out not to be enough.
            for other in relevant:
                if not other.denied:
                    pieces = self._without(item, pieces, other)
            for piece in pieces:
                parts = [piece]
                if self._excess(piece, direction, denied):
                    for other in relevant:
                        if other.denied:
                            parts = self._without(item, parts, other)
                for part in parts:
                    if self._excess(part, direction, denied):
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

    # --- what boxes and drafts cover
    def _meets(self, box: Box, direction: str, *, allowed: bool) -> bool:
        """Whether Calico allows (or denies) any flow of the box."""
        seen: set[tuple[object, ...]] = set()
        for subject in bits(self.boxes.subjects(box)):
            row = self.target.row(subject, direction)
            pods = self.universe.classes[subject]
            key = (id(row), pods.node_class, pods.ports, pods.addresses[0] is None, pods.addresses[1] is None)
            if key in seen:
                continue
            seen.add(key)
            products = self.boxes.products(box, direction, subject)
            if self._cuts(subject, row, products, direction, allowed=allowed):
                return True
        return False

    def _cuts(self, subject: int, row: Row, products: list[Product], direction: str, *, allowed: bool) -> bool:
        for cells, peers in products:
            for part, yes in row:
                for family in self.universe.families:
                    if cells & part & self.universe.family_cells[family]:
                        reachable = self._policed(subject, family, direction)
                        if peers & reachable & (yes if allowed else ~yes):
                            return True
        return False

    def _policed(self, subject: int, family: int, direction: str) -> int:
        """The peers that a deny speaks about: on ingress not the pod's own node, which no engine keeps out."""
        out = self.universe.reachable(subject, family, direction)
        own = self.universe.kinds["own"] | self.universe.kinds["local"]
        return out & ~own if direction == INGRESS else out

    def _excess(self, box: Box, direction: str, denied: dict[int, list[Product]]) -> bool:
        """Whether the box lets through what Calico denies and no draft denies."""
        for subject in bits(self.boxes.subjects(box)):
            products = self.boxes.products(box, direction, subject)
            row = self.target.row(subject, direction)
            for cells, peers in products:
                for part, yes in row:
                    both_cells = cells & part
                    for family in self.universe.families:
                        shared = both_cells & self.universe.family_cells[family]
                        if not shared:
                            continue
                        over = peers & ~yes & self.universe.reachable(subject, family, direction)
                        if over and not self._covered(shared, over, denied.get(subject, [])):
                            return True
        return False

    def _covered(self, cells: int, peers: int, denied: list[Product]) -> bool:
        for cell in bits(cells):
            left = peers
            for denied_cells, denied_peers in denied:
                if denied_cells >> cell & 1:
                    left &= ~denied_peers
            if left:
                return False
        return True

    def _step(self, draft: Draft) -> tuple[int, CiliumStep]:
        """The draft as Cilium's engine would hold it: whom it selects, and what it matches."""
        key = id(draft)
        if key not in self._entries:
            manifest = manifest_of(self.owners[draft.owner], [draft])
            (policy,) = parse_policies(documents.from_objects([manifest]))
            model = cilium_model(self.universe.worlds[1])
            assert isinstance(policy, CiliumPolicy)  # noqa: S101
            (entry,) = model._cilium(policy, policy.specs[0])  # noqa: SLF001 - one room
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
