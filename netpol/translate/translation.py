"""Calico's and Kubernetes' policies in Cilium's words: exact, or refused with the rule, the reason and a flow.

Kubernetes NetworkPolicies stay and both engines enforce them; only what is missing for equality is added. Calico's
order disappears by subtraction: a Deny becomes a Cilium deny over what no earlier rule let through, an Allow is kept
as it is where denies take care of the rest and is cut down where they do not. What is redundant is dropped again,
and the result is proved equal before it is given out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from netpol.compare.probes import with_probes
from netpol.compare.prove import Proof, prove
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
from netpol.translate.drafting import Drafting, is_native
from netpol.translate.refusals import Refusal, blame, hosts

_MOST_REFUSED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """`manifests` is the whole translation when `refused` is empty, and must not be deployed otherwise.

    `expanded`: labels whose present values are written out, so that the translation must be made anew when they
    change. `kept`: the policies that stay as they are. `left_out`: what the Tigera operator made for Calico's own pods,
    which go with Calico: neither said in Cilium's words nor compared. `copies`: NetworkPolicies that stay and to which
    a manifest adds what Cilium does not read in them.
    """

    manifests: tuple[dict[str, Any], ...]
    refused: tuple[Refusal, ...]
    expanded: tuple[str, ...]
    kept: tuple[Policy, ...]
    proof: Proof
    left_out: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        return not self.refused and self.proof.equal

    def policies(self) -> tuple[Policy, ...]:
        """What Cilium enforces afterwards: the manifests read back, and what stays."""
        return (*parse_policies(documents.from_objects(self.manifests, "<translation>")), *self.kept)


def translate(world: World) -> Translation:
    """The Cilium policies that make Cilium decide as Calico does in this world.

    The world's engines do not matter; its Cilium policies are left out. Raises UndecidableError for policies that
    the model does not know.

    >>> translate(load(["calico/", "cluster.yaml"])).manifests    # doctest: +SKIP
    """
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
    for closing in (True, False):
        drafting = Drafting(with_probes(before), kept, closing=closing)
        drafting.run()
        manifests = tuple(drafting.manifests())
        after = before.with_policies((*parse_policies(documents.from_objects(manifests)), *kept)).enforced_by("cilium")
        proof = prove(before, after, most=_MOST_REFUSED)
        if proof.equal or not drafting.closed:
            break
    refused = [*hosts(world), *(blame(e, before, drafting.unsaid) for e in proof.differences)]
    return Translation(
        manifests=manifests,
        refused=tuple(refused),
        expanded=tuple(sorted({key for d in drafting.drafts for key in d.expanded})),
        kept=kept,
        proof=proof,
        left_out=left_out,
        copies=tuple(sorted({str(o.meta) for d in drafting.drafts if is_native(o := drafting.owners[d.owner])})),
    )
