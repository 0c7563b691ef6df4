"""Calico's and Kubernetes' policies in Cilium's words: exact, or refused with the rule, the reason and a flow.

Kubernetes NetworkPolicies stay and both engines enforce them; only what is missing for equality is added. Calico's
order disappears by subtraction: a Deny becomes a Cilium deny over what no earlier rule let through, an Allow is kept
as it is where denies take care of the rest and is cut down where they do not. What is redundant is dropped again,
and the result is proved equal before it is given out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from netpol.compare.graded import prove
from netpol.compare.probes import with_probes
from netpol.compare.prove import Equality, Grade, Proof
from netpol.compare.resting import of_all_protocols
from netpol.compare.sizes import Size, sizes
from netpol.model.values import (
    CidrGroup,
    CiliumPolicy,
    ClusterPolicy,
    HostEndpoint,
    KubernetesPolicy,
    Policy,
)
from netpol.model.world import World
from netpol.read import documents
from netpol.read.policies import policies as parse_policies
from netpol.translate.drafting import Drafting
from netpol.translate.manifests import EXPANDED, SOURCE, assuming, bound
from netpol.translate.refusals import Refusal, blame, hosts, unlike
from netpol.translate.saying import is_native
from netpol.translate.services import without_services

_MOST_REFUSED = 20
_ALL = "what is translated and what stays"


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """`manifests` is the whole translation when `refused` is empty, and must not be deployed otherwise.

    `expanded`: labels whose present values are written out, so that the translation must be made anew when they
    change. `kept`: the policies that stay as they are. `grade`: exact, it holds for every pod that could exist; bound,
    it holds for the objects given and has to be proved again when they change; refused, it is none. `left_out`: what
    the Tigera operator made for Calico's own pods, which go with Calico: neither said in Cilium's words nor compared.
    `copies`: NetworkPolicies that stay and to which a manifest adds what Cilium does not read in them. `written_out`:
    network sets and services of which manifests hold copies: they have to be translated again when these change.
    `sizes`: how much of the target's fixed sizes it takes; more than there is is refused.
    """

    manifests: tuple[dict[str, Any], ...]
    refused: tuple[Refusal, ...]
    expanded: tuple[str, ...]
    kept: tuple[Policy, ...]
    proof: Proof
    left_out: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    written_out: tuple[str, ...] = ()
    sizes: tuple[Size, ...] = ()

    @property
    def grade(self) -> Grade:
        if self.refused or self.proof.verdict is Equality.DIFFERENT:
            return Grade.REFUSED
        return self.proof.grade

    @property
    def complete(self) -> bool:
        """Whether it may be deployed: exact, or bound to a world that is said to be whole."""
        return not self.refused and self.proof.equal

    def policies(self) -> tuple[Policy, ...]:
        """What Cilium enforces afterwards: the manifests read back, and what stays."""
        return (*parse_policies(documents.from_objects(self.manifests, "<translation>")), *self.kept)


def translate(world: World, *, strict: bool = False) -> Translation:
    """The Cilium policies that make Cilium decide as Calico does in this world.

    What Cilium has no words for is refused also where none of the pods given shows the difference. What depends on the
    objects given (labels written out, say) is bound to them, which is complete only for a whole world, and not when
    `strict`.

    The world's engines do not matter. Cilium policies that are given stay, and the proof counts them; what an earlier
    translation wrote is left out. Raises UndecidableError for policies that the model does not know.

    >>> translate(load(["calico/", "cluster.yaml"])).manifests    # doctest: +SKIP
    """
    if not world.other_protocols:
        wide = translate(of_all_protocols(world), strict=strict)
        if wide.complete:
            return wide
    # What acts on hosts is refused by name; without it the pods' own policies still get an answer.
    mine = [p for p in world.policies if not isinstance(p, CiliumPolicy | CidrGroup | HostEndpoint)]
    left_out = tuple(str(p.meta) for p in mine if p.meta.of_operator)
    mine = [p for p in mine if not p.meta.of_operator]
    before = world.with_policies(mine).enforced_by("calico")
    kept = tuple(
        p
        for p in mine
        if isinstance(p, KubernetesPolicy) or (isinstance(p, ClusterPolicy) and world.cilium.cluster_policies)
    )
    said, written = without_services(before)
    beside = tuple(
        p for p in world.policies if isinstance(p, CiliumPolicy | CidrGroup) and SOURCE not in p.meta.annotations
    )
    taken = {(p.meta.kind, p.meta.namespace, p.meta.name) for p in beside}
    best: Translation | None = None
    for closing in (True, False):
        drafting = Drafting(with_probes(said), kept, taken, closing=closing, written=written)
        drafting.run()
        made = _translation(before, (*kept, *beside), drafting, strict=strict)
        if best is None or best.refused or made.complete:
            best = made
        if made.complete or not drafting.closed:
            break
    assert best is not None  # noqa: S101
    large = sizes(before.with_policies(best.policies()).enforced_by("cilium"))
    too_much = [Refusal(policy=_ALL, rule="", reason=str(s), way=s.fix) for s in large if s.over]
    return replace(best, refused=(*hosts(world), *best.refused, *too_much), left_out=left_out, sizes=large)


def _translation(before: World, kept: tuple[Policy, ...], drafting: Drafting, *, strict: bool) -> Translation:
    """What one drafting comes to: its manifests, proved, and what they cannot say."""
    manifests = tuple(drafting.manifests())
    policies = parse_policies(documents.from_objects(manifests))
    after = before.with_policies((*policies, *kept)).enforced_by("cilium")
    proof = prove(before, after, most=_MOST_REFUSED, strict=strict)
    beside = {str(p.meta) for p in kept if isinstance(p, CiliumPolicy)}
    # Pods to come have their labels from elsewhere, so they are looked at in a world of their own.
    refused, beyond = (
        [
            blame(
                e, replace(before), drafting.sayer.unsaid, drafting.sayer.written_out, drafting.written, beside=beside
            )
            for e in examples
        ]
        for examples in (proof.differences, proof.beyond)
    )
    # A policy of which nothing is written is no bound translation of it, but none; unless what stands for another one,
    # with labels written out, is what decides otherwise.
    silent = {str(owner.meta) for owner in drafting.owners} - {
        str(drafting.owners[d.owner].meta) for d in drafting.drafts
    }
    listed = {str(p.meta) for p, m in zip(policies, manifests, strict=True) if EXPANDED in m["metadata"]["annotations"]}
    refused += [
        r
        for e, r in zip(proof.beyond, beyond, strict=True)
        if drafting.sayer.unsaid.get((r.policy, r.rule)) or (r.policy in silent and unlike(e) not in listed)
    ]
    if proof.rests_on and proof.equal:
        manifests = tuple(assuming(m, proof.rests_on) for m in manifests)
    if proof.grade is Grade.BOUND:
        manifests = tuple(bound(m) for m in manifests)
    return Translation(
        manifests=manifests,
        refused=tuple(refused),
        expanded=tuple(sorted({key for d in drafting.drafts for key in d.expanded})),
        kept=kept,
        proof=proof,
        copies=tuple(sorted({str(o.meta) for d in drafting.drafts if is_native(o := drafting.owners[d.owner])})),
        written_out=tuple(sorted({name for d in drafting.drafts for name in d.copied})),
    )
