"""Pieces of rules said in Cilium's words: each by itself, or several together, or not at all.

What holds for IPv4 alone, or for some of the pods' addresses, Cilium cannot say; the piece of another rule may hold the
rest, and their union is exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from netpol.compare.calico_steps import CalicoTier
from netpol.model.values import CalicoPolicy, CalicoRule, NetworkSet
from netpol.translate.boxes import Box, UnsayableError
from netpol.translate.emit import PODS, Draft, Part, Writer


@dataclass
class Rule:
    """A rule in its place in the order, with its boxes (or why there are none)."""

    tier: int
    owner: int
    rule: CalicoRule
    policy: CalicoPolicy
    action: str
    boxes: list[Box] = field(default_factory=list)
    unsaid: list[str] = field(default_factory=list)
    subjects: int = 0
    wheres: list[str] = field(default_factory=list)
    """The rules that it stands for: of IPv4 and IPv6 apart, there are several."""
    sets: tuple[NetworkSet, ...] = ()
    """Network sets that its other side finds."""
    copied: set[str] = field(default_factory=set)
    """Objects of which its pieces hold a copy."""
    known: int = 0
    """How much could not be said of it before its denies were written."""
    denied: bool = False
    """Whether Cilium denies say all that this Deny decides; then later rules need not be cut down for it."""
    closed: bool = False
    """Whether default deny says this Deny; then later allows are cut down for whomever it could select."""


@dataclass
class _Open:
    """A part of a piece that cannot be said by itself; other pieces may say the rest of it."""

    item: Rule
    piece: Box
    deny: bool
    part: Part
    like: Draft


def is_native(policy: CalicoPolicy) -> bool:
    """Whether it is a NetworkPolicy of Kubernetes, which stays."""
    return policy.meta.api.startswith("networking.k8s.io")


class Sayer:
    """Collects the drafts of one translation, and what could not be said."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.drafts: list[Draft] = []
        self.unsaid: dict[tuple[str, str], list[str]] = {}
        self.written_out: dict[tuple[str, str], frozenset[str]] = {}
        self._pieces: list[tuple[Box, bool]] = []
        self._open: list[_Open] = []

    def cannot(self, item: Rule, reason: str) -> None:
        for where in item.wheres or [item.rule.where]:
            self.unsaid.setdefault((str(item.policy.meta), where), []).append(reason)

    def write_out(self, policy: CalicoPolicy, wheres: Iterable[str]) -> None:
        """Note the labels that were written out over their present values."""
        for where in wheres if self.writer.expanded else ():
            key = (str(policy.meta), where)
            self.written_out[key] = self.written_out.get(key, frozenset()) | self.writer.expanded

    def say(
        self, item: Rule, piece: Box, direction: str, tiers: list[CalicoTier], *, deny: bool, spare: bool = False
    ) -> None:
        """Draft the piece, or keep what of it cannot be said by itself until `finish`.

        `spare`: it is no loss for the pods given when it cannot be said; the proof says whether it is one for others.
        """
        denies = item.tier < len(tiers) and tiers[item.tier].default_action != "Pass"
        # A staying NetworkPolicy isolates by itself; what is added for it must not do more.
        native = is_native(item.policy)
        like = Draft(
            owner=item.owner,
            direction=direction,
            deny=deny,
            default_deny=denies and not deny and not native,
            subject=(),
            rule={},
            origin=", ".join(w for w in item.wheres if w) or item.rule.where or direction,
            copied=frozenset(item.copied),
        )
        self.writer.expanded = set()
        self._pieces.append((piece, deny))
        try:
            for part in self.writer.parts(piece, direction, deny=deny, sets=item.sets):
                if part.unsaid:
                    self._open.append(_Open(item, piece, deny, part, like))
                else:
                    self.drafts += self.writer.drafts(part, piece.subject, like)
            self.writer.literals(piece.subject)
        except UnsayableError as error:
            self._pieces.pop()
            self._open = [one for one in self._open if one.piece is not piece]
            if not spare:
                self.cannot(item, str(error))
        self.write_out(item.policy, item.wheres or [item.rule.where])

    def finish(self, direction: str) -> None:
        """Say together what pieces could not say each by itself; what is left over cannot be said."""
        groups: dict[tuple[object, ...], list[_Open]] = {}
        for one in self._open:
            pods = one.piece.others.pods if one.part.kind == PODS else None
            groups.setdefault((one.deny, one.part.kind, one.piece.subject, one.piece.names, pods), []).append(one)
        for members in groups.values():
            first = members[0]
            kind, mine = first.part.kind, first.piece
            alike = [
                box
                for box, denies in self._pieces
                if (denies, box.subject, box.names) == (first.deny, mine.subject, mine.names)
                and (kind != PODS or box.others.pods == mine.others.pods)
            ]
            self.writer.expanded = set()
            together = self.writer.joint(kind, alike, direction)
            if not together.unsaid:
                origins = dict.fromkeys(m.like.origin for m in members if m.item.owner == first.item.owner)
                copied = frozenset(name for m in members for name in m.like.copied)
                like = replace(first.like, origin=", ".join(origins), copied=copied)
                self.drafts += self.writer.drafts(together, mine.subject, like)
                for one in members:
                    self.write_out(one.item.policy, one.item.wheres or [one.item.rule.where])
                continue
            for one in members:
                self.drafts += self.writer.drafts(one.part, one.piece.subject, one.like)
                for reason in one.part.unsaid:
                    self.cannot(one.item, reason)
        self._pieces, self._open = [], []

    def unsaid_of(self, item: Rule) -> int:
        return len(self.unsaid.get((str(item.policy.meta), item.rule.where), ()))
