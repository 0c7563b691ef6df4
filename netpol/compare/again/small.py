"""Two worlds with nothing in them but what flows from and to some pods depend on.

All other pods are divided into parts. Pods of one part look alike to the policies that select the pods in question, and
what the policies that select them say about those is alike; so one of each part stands for all. What is left of a
policy that says nothing about the pods in question is whom it isolates.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace

from netpol.compare.again.pods import Pods
from netpol.compare.again.voices import Said, Test, Voice, emptied
from netpol.compare.sets import bits, refine
from netpol.model.packets import Party
from netpol.model.selector import Has, Selector
from netpol.model.values import AdminPolicy, CalicoPolicy, CiliumPolicy, ClusterPolicy, KubernetesPolicy, Policy
from netpol.model.world import World

SPEAKING = (KubernetesPolicy, CalicoPolicy, CiliumPolicy, ClusterPolicy, AdminPolicy)
"""Kinds of policy that pods are policed by."""
MOST_PARTS = 600


def reduced(
    worlds: tuple[World, World], voices: Sequence[Sequence[Voice]], pods: Pods, touched: Sequence[int]
) -> tuple[World, World] | None:
    """Both worlds, the pods in question first; None where these are no smaller. `touched`: their numbers."""
    mine = sum(1 << n for n in touched)
    about = [[_about(voice, world, pods, touched) for voice in own] for world, own in zip(worlds, voices, strict=True)]
    parts = _parts(voices, about, pods, mine)
    if parts is None:
        return None
    others = sum(part & -part for part in parts)
    kept = tuple(pods.all[n] for n in (*touched, *bits(others)))
    first, second = (
        replace(_with(world, own, found, mine, others), pods=kept)
        for world, own, found in zip(worlds, voices, about, strict=True)
    )
    return first, second


def _about(voice: Voice, world: World, pods: Pods, touched: Sequence[int]) -> dict[Test, int]:
    ends: list[tuple[Party, int]] = []
    for number in touched:
        pod = pods.all[number]
        for family in sorted(world.families):
            address = next((a for a in pod.addresses if a.version == family), None)
            ends.append((Party(pod=pod, node=world.node_of(pod), address=address), family))
    return voice.about(ends)


def _parts(
    voices: Sequence[Sequence[Voice]], about: Sequence[Sequence[dict[Test, int]]], pods: Pods, mine: int
) -> list[int] | None:
    """All pods but those in question, in parts; None where they are too many."""
    rest = pods.alive & ~mine
    # By the number of what is said about them so far, which grows with each policy that says something.
    alike = {number: members & rest for number, members in enumerate(pods.places.values()) if members & rest}
    numbers: dict[Hashable, int] = {number: number for number in range(len(pods.places))}
    cuts: dict[int, None] = {}
    for own, tests in zip(voices, about, strict=True):
        for voice, found in zip(own, tests, strict=True):
            users = {said: None for test in found for said in voice.users(test)}
            names: set[str] = set()
            for said in sorted(users, key=lambda s: (s.direction, s.order)):
                says = (voice.engine, said.direction, said.isolates, _says(said, found))
                also = numbers.setdefault(says, len(numbers))
                alike = _divided(alike, said.selected & rest, also, numbers)
                if len(alike) > MOST_PARTS:
                    return None
                for rule in said.rules:
                    if rule.test in found:
                        names |= rule.names
                        cuts |= _masks(voice, () if rule.own is None else rule.own.selectors)
            for rule in (rule for said in voice if said.selected & mine for rule in said.rules):
                names |= rule.names
                cuts |= _masks(voice, rule.test.selectors)
            cuts |= _isolated(voice)
            for name in names:
                cuts |= dict.fromkeys((pods.ports.find(Has(name)), *pods.ports.values(name).values()))
    parts = list(alike.values())
    for cut in cuts:
        parts = refine(parts, (cut,))
        if len(parts) > MOST_PARTS:
            return None
    return parts


def _isolated(voice: Voice) -> dict[int, None]:
    """Whom policies apply to, by kind of isolation."""
    out: dict[Hashable, int] = {}
    for said in voice:
        if said.isolates is not None:
            out[said.isolates] = out.get(said.isolates, 0) | said.selected
    return dict.fromkeys(out.values())


def _masks(voice: Voice, selectors: Iterable[Selector]) -> dict[int, None]:
    return dict.fromkeys(voice.index.find(s) for s in selectors)


def _divided(alike: dict[int, int], members: int, also: int, numbers: dict[Hashable, int]) -> dict[int, int]:
    """Parts by all that is said about them, with one thing more that is said about these members."""
    if not members:
        return alike
    out: dict[int, int] = {}
    for said, part in alike.items():
        inside, outside = part & members, part & ~members
        if inside:
            out[numbers.setdefault((said, also), len(numbers))] = inside
        if outside:
            out[said] = outside
    return out


def _says(said: Said, found: dict[Test, int]) -> Hashable:
    """What it says about the ends in question: its rules that find one, in order, with the ends."""
    return tuple([(rule.says, rule.own, found[rule.test]) for rule in said.rules if rule.test in found])


def _with(world: World, voices: Sequence[Voice], about: Sequence[dict[Test, int]], mine: int, others: int) -> World:
    """The world with those of its policies alone that concern these pods."""
    whole: dict[int, Policy] = {}
    empty: dict[int, Policy] = {}
    for voice, found in zip(voices, about, strict=True):
        isolated: dict[Hashable, int] = {}
        later: list[Said] = []
        for said in voice:
            if not said.selected & (mine | others):
                continue
            speaks = said.selected & mine or any(rule.test in found for rule in said.rules)
            if speaks or isinstance(said.policy, ClusterPolicy | AdminPolicy):
                whole[id(said.policy)] = said.policy
                if said.isolates is not None:
                    isolated[said.isolates] = isolated.get(said.isolates, 0) | said.selected
            elif said.isolates is not None:
                later.append(said)
        for said in later:
            known = isolated.get(said.isolates, 0)
            if said.selected & others & ~known:
                isolated[said.isolates] = known | said.selected
                empty[id(said.policy)] = said.policy
    silent = [p for p in world.policies if not isinstance(p, SPEAKING)]
    said_less = [emptied(p) for number, p in empty.items() if number not in whole]
    # Services lead where they led, whichever pods are left.
    named = {name for voice in voices for name in voice.services}
    served = tuple(
        replace(s, backends=world.backends(s)) if (s.namespace, s.name) in named else s for s in world.services
    )
    return replace(world, policies=(*silent, *whole.values(), *said_less), services=served)
