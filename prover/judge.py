"""The verdict: of the proofs of all moments, of the bridge, and of what cannot be seen. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from kube.lease import beside
from kube.transport import Obj
from netpol.compare.again.proving import Proving
from netpol.compare.prove import Equality, Proof
from netpol.model.errors import PolicyError, UndecidableError
from netpol.model.world import Node
from prover.known import Known, Undecided
from prover.options import Options
from prover.places import Moment, Places
from prover.said import Verdict

STEP: Final = "eks-cilium.io/step"
LEAVING: Final = "eks-cilium.io/leaving"
"""Annotations of the bridge's Lease (`bridge/names.py`): how far it is in step, and since when it leaves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What is to be published, times apart."""

    verdict: Verdict
    why: str = ""
    counterexample: str = ""


class Prover:
    """The proofs of all moments, kept while the cluster changes."""

    def __init__(self, options: Options) -> None:
        self._places = [Places(m, options.before, lambda node: _of_cilium(options, node)) for m in options.moments]
        self._kept: dict[str, Proving] = {}
        self.touched = ""
        """How far the last change reached, for people."""

    def judge(self, known: Known, today: date) -> Judgement:
        """The verdict about the cluster as it is known.

        Where anything cannot be read or decided there is none, and the next change is proved from scratch.
        """
        try:
            world = known.world(today)
            proofs = [(places.moment, self._prove(places, *places.pair(world))) for places in self._places]
        except (Undecided, PolicyError, UndecidableError, ValueError) as error:
            self._kept.clear()
            return Judgement(verdict=Verdict.UNDECIDED, why=str(error))
        self.touched = "; ".join(str(one.touched) for one in self._kept.values())
        return judgement(proofs)

    def prepare(self) -> None:
        """Do now what would make the next change wait."""
        for one in self._kept.values():
            one.prepare()

    def _prove(self, places: Places, before: Any, after: Any) -> Proof:
        name = places.moment.name
        kept = self._kept.get(name)
        if kept is None:
            # The first verdict is wanted soonest, the next change is not there yet.
            kept = self._kept[name] = Proving(before, after, prepared=False)
            return kept.proof
        return kept.change(before, after)


def judgement(proofs: list[tuple[Moment, Proof]]) -> Judgement:
    """One verdict for all moments; a difference counts more than what is not decided."""
    for moment, proof in proofs:
        if proof.verdict is Equality.DIFFERENT:
            return Judgement(
                verdict=Verdict.DIFFERENT,
                why=f"a flow changes its verdict {moment.name}",
                counterexample=str(proof.counterexample or ""),
            )
    for moment, proof in proofs:
        if proof.verdict is not Equality.EQUAL:
            reason = proof.assumptions[0] if proof.assumptions else "no reason is known"
            return Judgement(verdict=Verdict.UNDECIDED, why=f"{moment.name}: {reason}")
    if not proofs:
        return Judgement(verdict=Verdict.UNDECIDED, why="the stage named no mixture of nodes: deploy it again")
    return Judgement(verdict=Verdict.EQUAL)


def _of_cilium(options: Options, node: Node) -> bool:
    return node.labels.get(options.node_label, "") in options.cilium_nodes


@dataclass
class Bridge:
    """Whether the identity bridge is in step, by its Lease as one reader sees it.

    What the holder says counts while it renews; a Lease that nobody renews is a bridge that does not run.

    Args:
        limit: seconds out of step that are no matter.
    """

    limit: float
    trouble: str = "its Lease has not been read"
    _since: float | None = None
    _renewed: tuple[object, float] = field(default=(None, float("-inf")))

    def look(self, lease: Obj | None, at: float) -> None:
        """Take in the Lease; None: there is none.

        Args:
            at: seconds of the reader's steady clock.
        """
        self.trouble, lag = self._trouble(lease, at)
        if not self.trouble:
            self._since = None
        elif self._since is None:
            self._since = at - lag

    def unreadable(self, why: str, at: float) -> None:
        """It cannot be read."""
        self.trouble = f"its Lease cannot be read: {why}"
        self._since = at if self._since is None else self._since

    def out(self, at: float) -> str:
        """Why the bridge counts as out of step; empty while it does not."""
        if self._since is None or at - self._since <= self.limit:
            return ""
        return f"the identity bridge has been out of step for {at - self._since:.0f} s: {self.trouble}"

    def _trouble(self, lease: Obj | None, at: float) -> tuple[str, float]:
        """What is wrong with it, and for how many seconds already, as it says."""
        if lease is None:
            return "it has no Lease: it does not run", 0.0
        spec = lease.get("spec") or {}
        shown = (spec.get("holderIdentity"), spec.get("renewTime"))
        if shown != self._renewed[0]:
            self._renewed = (shown, at)
        annotations = (lease.get("metadata") or {}).get("annotations") or {}
        step = beside(lease, STEP)
        lag = float(step.get("lag") or 0.0)
        faults = (
            ("it leaves this cluster", annotations.get(LEAVING)),
            ("nobody holds its Lease", not spec.get("holderIdentity")),
            ("nobody renews its Lease", at - self._renewed[1] > _RENEWED),
            (f"it cannot read {step.get('blind')}", step.get("blind")),
            ("it has not seen everything yet", not step.get("complete")),
        )
        found = next((text for text, holds in faults if holds), "")
        if found:
            return found, 0.0
        if lag <= self.limit:
            return "", 0.0
        names = ", ".join(map(str, step.get("pods") or ()))
        return f"{step.get('behind')} things are wrong{f'; pods without their identity: {names}' if names else ''}", lag


_RENEWED: Final = 10.0
"""Seconds: longer than the bridge's Lease lasts."""
