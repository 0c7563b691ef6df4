"""A proof that is kept while the worlds change: after each change only flows that it touches are compared again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from netpol.compare.again.changes import Pair, by_key, changed, now, otherwise, renewed, unalike
from netpol.compare.again.pods import Name, Pods
from netpol.compare.again.small import reduced
from netpol.compare.again.voices import Said, Voice
from netpol.compare.mentioned import read, twins_of
from netpol.compare.prove import (
    Counterexample,
    Difference,
    Equality,
    Proof,
    assumed,
    explain,
    prove,
    smallness,
    subject_differences,
    unlike,
)
from netpol.compare.rows import Rows, rows_of
from netpol.compare.sets import bits
from netpol.compare.universe import Universe
from netpol.decide.flow import Path, judge
from netpol.decide.hosts import refuse_forwarding
from netpol.model.values import DIRECTIONS
from netpol.model.world import Engine, World

_MOST_TOUCHED = 0.05
"""Share of the pods above which a proof from scratch is no slower."""
_FEW = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """How far a change reached: `pods` of `of` had their flows compared again. `anew`: why it was all of them."""

    pods: int
    of: int
    anew: str = ""

    @property
    def share(self) -> float:
        return self.pods / self.of if self.of else 0.0

    def __str__(self) -> str:
        return f"touched: {self.pods} of {self.of} pods ({self.share:.1%})" + (f", {self.anew}" if self.anew else "")


class Proving:
    """Two worlds that change, and the proof about them as they are now.

    Made for a watch: each event is put into the worlds (frozen values, of which most parts stay the same objects), and
    `change` compares what it touches. Verdict and assumptions are those of `prove` over the same worlds; a
    counterexample is one of those that there are. `classes`, `peers` and `cells` say what was looked at. Pods, nodes
    that look like others, labels of namespaces and accounts, and policies are followed; when anything else changes, all
    is proved from scratch. A pod or node of a kind that was compared before needs nothing.

    >>> proving = Proving(before, after)                              # doctest: +SKIP
    >>> proving.change(before, replace(after, pods=fewer)).equal      # doctest: +SKIP
    True
    >>> print(proving.touched)                                        # doctest: +SKIP
    touched: 1 of 4400 pods (0.0%)
    """

    def __init__(self, before: World, after: World, *, prepared: bool = True) -> None:
        """Raises UndecidableError for policies beyond the model. Not `prepared`: whoever asks first waits longer."""
        self.worlds: Pair = (before, after)
        self.proof: Proof
        self.touched: Touched
        self._suspects: set[Name] | None = None
        """Flows from or to no suspect are known to be equal; None: nothing is known."""
        self._anew("the first proof")
        self._pods: Pods | None = None
        """What was heard of the worlds; None where that is to be done before it is needed."""
        if prepared:
            self.prepare()

    def prepare(self) -> None:
        """Hear now what the next change needs to have been heard."""
        if self._pods is None and not unalike(*self.worlds):
            self._pods = self._listen(self.worlds)

    def change(self, before: World, after: World) -> Proof:
        """The proof about the worlds as they are from now on.

        Raises UndecidableError as `prove` does; the next change is then proved from scratch.
        """
        old, self.worlds = self.worlds, (before, after)
        # Where anything fails from here on, nothing is known any more.
        pods, self._pods = self._pods, None
        suspects, self._suspects = self._suspects, None
        for world in self.worlds:
            refuse_forwarding(world)
        why = unalike(*old) or unalike(*self.worlds) or otherwise(old, self.worlds)
        if not why:
            why = self._again(old, pods or self._listen(old), suspects)
        if why:
            self._anew(why)
        return self.proof

    # --- from scratch
    def _anew(self, why: str) -> None:
        count = sum(1 for pod in self.worlds[0].pods if not pod.host_network)
        self.touched = Touched(pods=count, of=count, anew=f"all proved: {why}")
        self.proof = prove(*self.worlds)
        self._suspects = set() if self.proof.equal else None

    def _listen(self, worlds: Pair) -> Pods:
        """Hear all policies about all pods."""
        _, networks, _, _ = read(worlds, twins_of(worlds))
        pods = Pods(worlds, networks)
        self._policies = [by_key(world) for world in worlds]
        self._voices: list[list[Voice]] = []
        for world in worlds:
            engines = sorted({e for n in world.nodes for e in n.engines})
            self._voices.append([Voice(world, engine, pods.index(engine)) for engine in engines])
        for pod in worlds[0].pods:
            if not pod.host_network:
                pods.admit(pod, {voice.eyes: voice.labels(pod) for voice in self._all()})
        for own, known in zip(self._voices, self._policies, strict=True):
            for voice in own:
                for policy in known.values():
                    voice.tell(policy)
        return pods

    def _all(self) -> Iterator[Voice]:
        return (voice for own in self._voices for voice in own)

    # --- what a change touches
    def _again(self, old: Pair, pods: Pods, suspects: set[Name] | None) -> str:
        """Prove again what the change touches. A reason to prove everything, or none."""
        if len(pods.all) > 2 * len(pods.number) + 1000:
            # Numbers of pods that have gone make every set longer.
            pods = self._listen(old)
        why = renewed(old, self.worlds, pods)
        if why:
            return why
        pods.move(self.worlds)
        for world, own in zip(self.worlds, self._voices, strict=True):
            for voice in own:
                voice.look(world)
        touched = self._moved(old, pods, every=bool(suspects)) | self._said_otherwise(pods)
        self._pods = pods
        why = self._served(old) or self._freed(old, pods)
        if why:
            return why
        names = {(p.namespace, p.name) for p in (pods.all[n] for n in bits(touched & pods.alive))}
        self.touched = Touched(pods=len(names), of=len(pods.number))
        if self.proof.counterexample is not None:
            still = self._still(self.proof.counterexample)
            if still is not None:
                self.proof = self._different(still, self.proof)
                self._suspects = None if suspects is None else suspects | names
                return ""
        if suspects is None:
            return "the difference that was known is no more, and others may be left"
        return self._compare(names | {name for name in suspects if name in pods.number}, pods)

    def _compare(self, names: set[Name], pods: Pods) -> str:
        """Prove the flows from and to these pods."""
        asked = self._asked()
        ends = list({pods.look(n, asked): n for n in sorted(pods.number[name] for name in names)}.values())
        if len(ends) > max(_FEW, _MOST_TOUCHED * len(pods.number)):
            return "the change touches many pods"
        proof = Proof(verdict=Equality.EQUAL, assumptions=assumed(*self.worlds))
        if ends:
            small = reduced(self.worlds, self._voices, pods, ends)
            if small is None:
                return "too much tells the other pods apart"
            universe = Universe(small, taken=[a for pod in self.worlds[0].pods for a in pod.addresses])
            one, other = rows_of(universe)
            chosen = {(pods.all[n].namespace, pods.all[n].name) for n in ends}
            # The pods in question come first, so they speak for their classes.
            mine = {i for i, c in enumerate(universe.classes) if (c.pods[0].namespace, c.pods[0].name) in chosen}
            proof = replace(proof, classes=len(universe.classes), peers=len(universe.peers), cells=len(universe.cells))
            found = list(_differences(universe, (one, other), mine))
            if found:
                first = min(found, key=lambda d: smallness(universe, d))
                self._suspects = names
                self.proof = self._different(explain(universe, first, self.worlds), proof)
                return ""
        self.proof, self._suspects = proof, set()
        return ""

    def _different(self, example: Counterexample, proof: Proof) -> Proof:
        return replace(
            proof,
            verdict=Equality.DIFFERENT,
            counterexample=example,
            differences=(example,),
            assumptions=assumed(*self.worlds),
        )

    def _still(self, example: Counterexample) -> Counterexample | None:
        """The counterexample in the worlds of now, if it is one still."""
        paths: list[Path] = []
        for world, path in zip(self.worlds, (example.before, example.after), strict=True):
            source, destination = (now(world, end, example.packet.family) for end in path.ends)
            if source is None or destination is None:
                return None
            paths.append(judge(world, source, destination, example.packet))
        if paths[0].allowed == paths[1].allowed:
            return None
        return replace(
            example,
            source=paths[0].source,
            destination=paths[0].destination,
            before=paths[0],
            after=paths[1],
        )

    # --- pods
    def _moved(self, old: Pair, pods: Pods, *, every: bool) -> int:
        """Take in the pods that came, went or look otherwise; those of which the flows have to be compared."""
        was, there = old[0].pod_by_name, self.worlds[0].pod_by_name
        gone = {name for name in pods.number if name not in there or there[name].host_network}
        fresh = {
            name
            for name, pod in there.items()
            if not pod.host_network and (name not in pods.number or (was[name] is not pod and was[name] != pod))
        }
        spaces = changed(old[0].namespace_labels, self.worlds[0].namespace_labels)
        accounts = changed(old[0].account_labels, self.worlds[0].account_labels)
        for space in {*spaces, *(namespace for namespace, _ in accounts)}:
            for pod in (pods.all[n] for n in pods.in_namespace.get(space, ())):
                if space in spaces or (space, pod.service_account) in accounts:
                    fresh.add((pod.namespace, pod.name))
        fresh -= gone
        asked = self._asked()
        known = {s: {pods.look(n, asked) for n in pods.in_namespace.get(s, ())} for s in {s for s, _ in fresh}}
        leaving = pods.dismiss(name for name in {*gone, *fresh} if name in pods.number)
        for voice in self._all() if leaving else ():
            voice.dismiss(leaving)
        touched = 0
        for name in sorted(fresh):
            pod = there[name]
            number = pods.admit(pod, {voice.eyes: voice.labels(pod) for voice in self._all()})
            for voice in self._all():
                voice.admit(number, pod)
            # Where one that looked alike was there, its flows were compared for both.
            if every or pods.look(number, asked) not in known[name[0]]:
                touched |= 1 << number
        return touched

    def _asked(self) -> dict[Engine, list[str]]:
        """The labels that policies ask for."""
        asked: dict[Engine, set[str]] = {}
        for voice in self._all():
            asked.setdefault(voice.eyes, set()).update(voice.asked)
        return {engine: sorted(keys) for engine, keys in asked.items()}

    def _freed(self, old: Pair, pods: Pods) -> str:
        """An address that was a pod's is one of nobody now; as such it may be the only one of its kind."""
        was, there = old[0].pod_by_name, self.worlds[0].pod_by_name
        left = [
            address
            for name, pod in was.items()
            if there.get(name) is not pod
            for address in pod.addresses
            if name not in there or address not in there[name].addresses
        ]
        for address in left:
            if not pods.free_beside(address, (*was.values(), *there.values())):
                return f"address {address} is free now, and rules tell it from every other free one"
        return ""

    # --- policies
    def _said_otherwise(self, pods: Pods) -> int:
        """Take in the policies that changed; the pods that they select or selected."""
        touched = 0
        for at, (world, own) in enumerate(zip(self.worlds, self._voices, strict=True)):
            was, there = self._policies[at], by_key(world)
            self._policies[at] = there
            for key in changed(was, there):
                for voice in own:
                    said: list[Said] = []
                    if key in was:
                        said += voice.forget(was[key])
                    if key in there:
                        said += voice.tell(there[key])
                    for one in said:
                        touched |= one.selected
                    pods.learn(network for one in said for network in voice.networks(one))
        return touched

    def _served(self, old: Pair) -> str:
        """Rules by service speak of the pods behind it."""
        if old[0].pods == self.worlds[0].pods:
            return ""
        for before, after, own in zip(old, self.worlds, self._voices, strict=True):
            for name in {name for voice in own for name in voice.services}:
                first, second = before.service_by_name.get(name), after.service_by_name.get(name)
                if first is not None and second is not None and before.backends(first) != after.backends(second):
                    return f"service {'/'.join(name)} leads elsewhere"
        return ""


def _differences(universe: Universe, rows: tuple[Rows, Rows], mine: set[int]) -> Iterator[Difference]:
    """The differences in flows from and to these classes of pods."""
    for direction in DIRECTIONS:
        for subject in unlike(universe, rows, direction):
            for difference in subject_differences(universe, rows, subject, direction):
                if subject in mine or difference.peer in mine:
                    yield difference
