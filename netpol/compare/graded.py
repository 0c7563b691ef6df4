"""How far an equality reaches: to every pod that could exist, to the objects that were given, or not even to those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from netpol.compare import prove as given
from netpol.compare.future import DEFAULT_LIMIT, prove_future
from netpol.compare.prove import Equality, Grade, Proof
from netpol.compare.resting import resting
from netpol.decide.missing import Missing, missing, named, opened, services, settled
from netpol.model.values import NetworkSet
from netpol.model.world import Rest, World

_LIMIT_OF_WHOLE = 600
"""Kinds of pods to come that are looked at where a whole cluster was compared anyway."""


def prove(before: World, after: World, *, most: int = 1, strict: bool = False, limit: int | None = None) -> Proof:
    """Compare two worlds with the same nodes: for every pod that could exist, else for the pods given.

    `equal` is either exact, or bound to a whole world (or, `strict`, exact only). Of worlds that are not said to be
    whole, `equal` never rests on what was not given: neither on pods nor on anything that policies ask for. It rests on
    pods speaking few protocols only where it does not hold otherwise (`rests_on`). Raises
    UndecidableError for policies beyond the model.

    >>> prove(world.enforced_by("calico"), translated.enforced_by("cilium")).verdict    # doctest: +SKIP
    """
    return resting(before, after, lambda one, other: _prove(one, other, most=most, strict=strict, limit=limit))


def _prove(before: World, after: World, *, most: int, strict: bool, limit: int | None) -> Proof:
    if not before.whole:
        before, after = _alike(before, after)
    unknown = missing(before, after)
    if Rest.OPEN in (before.rest, after.rest):
        before, after = opened(before, unknown), opened(after, unknown)
    proof = given.prove(before, after, most=most)
    if before.rest is Rest.UNKNOWN and not proof.equal and _choosable(unknown):
        first, second = opened(before, unknown), opened(after, unknown)
        if given.prove(first, second).equal:
            why = f"whether they differ depends on what is not given: {named(unknown)}"
            return replace(proof, verdict=Equality.UNDECIDED, assumptions=(why, *proof.assumptions))
    if not proof.equal:
        return replace(proof, grade=Grade.REFUSED)
    if not before.families_stated:
        taken = "IPv4 and IPv6, as policies name both" if before.families == {4, 6} else "IPv4 only"
        proof = replace(proof, assumptions=(*proof.assumptions, f"{taken}: nobody stated the address families"))
    beyond = _beyond(before, after, limit or (_LIMIT_OF_WHOLE if before.whole and not strict else DEFAULT_LIMIT), most)
    return _put_together(before, proof, beyond, strict=strict)


def _alike(before: World, after: World) -> tuple[World, World]:
    """Both worlds with the namespaces that either names."""
    namespaces = tuple({n.name: n for w in (after, before) for n in w.namespaces}.values())
    return replace(before, namespaces=namespaces), replace(after, namespaces=namespaces)


def _put_together(before: World, proof: Proof, beyond: Proof, *, strict: bool) -> Proof:
    """What the objects given and the pods to come say together."""
    notes = tuple(dict.fromkeys((*proof.assumptions, *beyond.assumptions)))
    accepted = {e.accepted: e for e in (*beyond.accepted, *proof.accepted)}
    proof, beyond = (replace(p, accepted=tuple(accepted.values())) for p in (proof, beyond))
    if beyond.equal:
        return replace(proof if proof.classes else beyond, grade=Grade.EXACT, assumptions=notes)
    if proof.classes and before.whole and not strict:
        # Of a whole cluster the objects given are enough; what else there could be is only said.
        return replace(
            proof,
            sampled=beyond.sampled,
            beyond=beyond.differences,
            assumptions=(
                *proof.assumptions,
                "it holds for the objects given; when they change, it has to be proved again",
            ),
        )
    if not proof.classes and beyond.differences:
        return replace(beyond, grade=Grade.REFUSED, assumptions=notes)
    return replace(
        proof, verdict=Equality.UNDECIDED, assumptions=notes, sampled=beyond.sampled, beyond=beyond.differences
    )


def _beyond(before: World, after: World, limit: int, most: int) -> Proof:
    """The proof for every pod that could exist, whatever the things are that were not given."""
    if not any(n.name in after.node_by_name for n in before.nodes):
        return Proof(verdict=Equality.UNDECIDED, assumptions=("no node is in both worlds",))
    if _same(before, after):
        return prove_future(before, after, limit=limit, most=most)
    unknown = list(
        {u.name: u for w in (before, after) for u in services(w) if w.rest is Rest.UNKNOWN or _given(w, u)}.values()
    )
    if before.rest is Rest.UNKNOWN:
        # Any rule by labels can find a network set that nobody gave; labels of pods to come are all looked at anyway.
        kinds = ("Tier", "NetworkSet", "CiliumCIDRGroup")
        bare = replace(before, pods=()), replace(after, pods=())
        holders = {s.meta.namespace for w in bare for s in w.of(NetworkSet)}
        unknown += [
            u for u in missing(*bare, sets="any") if u.kind in kinds or (u.kind == "Namespace" and u.name in holders)
        ]
    first: Proof | None = None
    try:
        for one, other in settled((before, after), unknown):
            proof = prove_future(one, other, limit=limit, most=most)
            if not proof.equal:
                if first is None:
                    return proof
                depends = _depending(before, after, unknown, limit) or unknown
                why = (
                    f"it depends on what is not given, or may change: {named(depends)}. Give it, or say --whole "
                    "(there is nothing else), --assume closed (it matches nothing) or --assume open (what it can)"
                )
                return Proof(verdict=Equality.UNDECIDED, assumptions=(why, *first.assumptions))
            first = first or proof
    except OverflowError as error:
        why = f"{error}: {named(unknown)}. Give it, or say --whole, --assume closed or --assume open"
        return Proof(verdict=Equality.UNDECIDED, assumptions=(why,))
    assert first is not None  # noqa: S101
    return first


def _depending(before: World, after: World, unknown: Sequence[Missing], limit: int) -> list[Missing]:
    """The unknown things that decide it, each on its own."""

    def decides(one: Missing) -> bool:
        return any(not prove_future(*pair, limit=limit).equal for pair in settled((before, after), [one]))

    return [one for one in unknown if decides(one)]


def _given(world: World, service: Missing) -> bool:
    return any(str(s) == service.name for s in world.services) or any(
        f"{s.namespace}/{s.service}" == service.name for s in world.slices
    )


def _same(before: World, after: World) -> bool:
    """Whether the worlds are one: then it does not matter what anything is."""
    return before.policies == after.policies and before.nodes == after.nodes


def _choosable(unknown: Sequence[Missing]) -> bool:
    return any(u.choices for u in unknown)
