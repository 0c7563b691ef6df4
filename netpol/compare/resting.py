"""What a proof may rest on if somebody says so: that no pod speaks other IP protocols than Cilium has rules for.

Without it, "allow this port and deny the rest" has no exact words: the rest holds every IP protocol there is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from netpol.compare.prove import Proof
from netpol.decide.models import calico_model
from netpol.model.values import ICMP, ICMP6, WITH_PORTS, protocol_name
from netpol.model.world import World

NO_OTHERS = "no pod speaks IP protocols other than TCP, UDP, SCTP and ICMP"


def resting(before: World, after: World, prove: Callable[[World, World], Proof]) -> Proof:
    """The proof for every protocol; where that is none and both worlds allow it, one that rests on there being few."""
    if before.other_protocols or after.other_protocols:
        return prove(of_all_protocols(before), of_all_protocols(after))
    proof = prove(of_all_protocols(before), of_all_protocols(after))
    if proof.equal:
        return proof
    narrow = prove(before, after)
    return replace(narrow, rests_on=(NO_OTHERS,), assumptions=(_said(before), *narrow.assumptions))


def of_all_protocols(world: World) -> World:
    """The world in which pods speak whatever they like."""
    return world if world.other_protocols else replace(world, other_protocols=True)


def _said(world: World) -> str:
    rules = (r for p in calico_model(world).policies for r in (*p.ingress, *p.egress))
    named = {r.protocol for r in rules if r.protocol is not None} - {*WITH_PORTS, ICMP, ICMP6}
    if not named:
        return NO_OTHERS
    return f"{NO_OTHERS}, though rules are about {', '.join(protocol_name(p) for p in sorted(named))}"
