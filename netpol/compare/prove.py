"""Whether two worlds treat every flow alike; if not, the smallest flow that shows it.

Exact: all pods, nodes and addresses, all packets, both directions. Flows after translation (services, node ports,
load balancers) are flows between such ends, so they are among them: from an address, a remote node or the own node
to a pod, from a pod to a pod, an address or a node.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from netpol.compare.accepting import Accepting
from netpol.compare.rows import Rows, rows_of
from netpol.compare.sets import bits, overlay
from netpol.compare.universe import Universe
from netpol.decide.calico import CalicoModel
from netpol.decide.flow import Path, judge
from netpol.decide.hosts import refuse_forwarding, selected_endpoints
from netpol.decide.models import calico_model, cilium_model
from netpol.model.accepted import Accepted
from netpol.model.packets import Packet
from netpol.model.values import DIRECTIONS, EGRESS, OTHER, TCP, UDP, AdminPolicy, ClusterPolicy
from netpol.model.world import Engine, World

_KINDS = {"pod": 0, "address": 1, "own": 2, "remote": 3, "local": 4}


class Equality(StrEnum):
    EQUAL = "equal"
    DIFFERENT = "different"
    UNDECIDED = "undecided"


class Grade(StrEnum):
    """How far an answer reaches: to every pod that could exist, or to the objects given; or there is none."""

    EXACT = "exact"
    BOUND = "bound"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterexample:
    """One flow on which the worlds differ, with what each said about it."""

    source: str
    destination: str
    packet: Packet
    before: Path
    after: Path

    def __str__(self) -> str:
        lines = [f"{self.source} -> {self.destination}, {self.packet}:"]
        for title, path in (("before", self.before), ("after", self.after)):
            lines.append(f"  {title}: {'allowed' if path.allowed else 'denied'}")
            lines += [f"    {decision}" for decision in path.decided_by] or ["    nothing enforces"]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Excepted:
    """A difference that somebody accepts, with a flow that shows it."""

    accepted: Accepted
    example: Counterexample

    def __str__(self) -> str:
        was = "allowed" if self.example.before.allowed else "denied"
        now = "allowed" if self.example.after.allowed else "denied"
        flow = f"{self.example.source} -> {self.example.destination}, {self.example.packet}"
        return f"{self.accepted}; such as {flow}: {was} before, {now} after"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """`equal` only when every flow of the two worlds was compared, but for what `assumptions` names.

    `grade`: whether that holds for every pod that could exist, or is bound to the objects that were given. `sampled`:
    how many kinds of pods that could exist were looked at where there are too many for all. `beyond`: flows that differ
    for pods that could exist, where none of those given shows a difference. `accepted`: differences that
    somebody accepts and that were not counted. `rests_on`: the assumptions without which
    it would not hold, each of which somebody opted into; they are among `assumptions` as well.
    """

    verdict: Equality
    grade: Grade = Grade.BOUND
    sampled: int = 0
    beyond: tuple[Counterexample, ...] = ()
    counterexample: Counterexample | None = None
    assumptions: tuple[str, ...] = ()
    differences: tuple[Counterexample, ...] = ()
    rests_on: tuple[str, ...] = ()
    accepted: tuple[Excepted, ...] = ()
    classes: int = 0
    peers: int = 0
    cells: int = 0

    @property
    def equal(self) -> bool:
        return self.verdict is Equality.EQUAL

    def __str__(self) -> str:
        text = f"{self._reach} ({self.classes} classes of pods, {self.peers} peers, {self.cells} kinds of packet)"
        if self.counterexample is not None:
            text += f"\n{self.counterexample}"
        if self.beyond:
            text += f"\nfor pods that could exist they differ:\n{self.beyond[0]}"
        text += "".join(f"\naccepted: {a}" for a in self.accepted)
        return text + "".join(f"\nassumed: {a}" for a in self.assumptions)

    @property
    def _reach(self) -> str:
        count = len(self.accepted)
        but = f", but for {count} accepted difference{'' if count == 1 else 's'}" if count else ""
        if self.verdict is Equality.DIFFERENT:
            return str(self.verdict)
        if self.grade is Grade.EXACT:
            return f"{self.verdict} for every pod that could exist{but}"
        given = "equal for what was given" if self.classes else "nothing was given to compare"
        if self.verdict is Equality.EQUAL:
            return f"{given}{but}"
        sampled = f", {self.sampled} kinds of pods to come sampled" if self.sampled else ""
        return f"{self.verdict}: {given}{sampled}, not decided for the rest"


@dataclass(frozen=True, slots=True)
class Difference:
    """A pod class, its peer, and the cells in which the two worlds' final verdicts differ."""

    direction: str
    subject: int
    peer: int
    cells: int


def prove(before: World, after: World, *, most: int = 1) -> Proof:
    """Compare two worlds with the same pods and nodes. `most`: how many different counterexamples to give.

    A flow differs when it is allowed in one world and denied in the other, whichever end and engine decides.
    Raises UndecidableError for policies beyond the model.

    >>> prove(world.enforced_by("calico"), translated.enforced_by("cilium")).verdict    # doctest: +SKIP
    """
    for world in (before, after):
        refuse_forwarding(world)
    universe = Universe((before, after))
    one, other = rows_of(universe)
    return compared(universe, (one, other), assumed(before, after), most)


def compared(universe: Universe, rows: tuple[Rows, Rows], assumptions: tuple[str, ...], most: int) -> Proof:
    """The proof over a universe of two worlds."""
    assumptions = tuple(f"not compared: {what}" for what in universe.left_out) + assumptions
    proof = Proof(
        verdict=Equality.EQUAL,
        assumptions=assumptions,
        classes=len(universe.classes),
        peers=len(universe.peers),
        cells=len(universe.cells),
    )
    found: list[Counterexample] = []
    told: set[tuple[object, ...]] = set()
    accepting = Accepting(universe)
    left = differences(universe, rows, most, accepting)
    excepted = tuple(
        Excepted(accepted=one, example=explain(universe, Difference(*where))) for one, where in accepting.used.items()
    )
    proof = replace(proof, accepted=excepted)
    for difference in sorted(left, key=lambda d: smallness(universe, d)):
        example = explain(universe, difference)
        about = _about(example)
        if about not in told:
            told.add(about)
            found.append(example)
            if len(found) >= most:
                break
    if found:
        return replace(proof, verdict=Equality.DIFFERENT, counterexample=found[0], differences=tuple(found))
    return proof


_ENOUGH = 2000
"""Differences looked at before the smallest is chosen; all are proof enough, one is shown."""


def differences(
    universe: Universe, rows: tuple[Rows, Rows], most: int = 1, accepting: Accepting | None = None
) -> list[Difference]:
    """Pairs whose final verdict differs: at most a few thousand, in a deterministic order.

    `accepting`: takes out what somebody accepts, and notes it.
    """
    out: list[Difference] = []
    seen: set[tuple[int, int]] = set()
    for direction in DIRECTIONS:
        for subject in unlike(universe, rows, direction):
            for difference in subject_differences(universe, rows, subject, direction, accepting):
                pair = (
                    (difference.subject, difference.peer)
                    if direction == EGRESS
                    else (difference.peer, difference.subject)
                )
                if universe.peers[difference.peer].kind == "pod" and pair in seen:
                    continue
                seen.add(pair)
                out.append(difference)
                if len(out) >= max(_ENOUGH, most * 50):
                    return out
    return out


def unlike(universe: Universe, rows: tuple[Rows, Rows], direction: str) -> list[int]:
    """The classes whose rows differ between the worlds, ascending."""
    out: list[int] = []
    for part in overlay(rows[0].alike(direction), rows[1].alike(direction)):
        one = (part & -part).bit_length() - 1
        plan = rows[0].plan(one, direction)
        if plan is not None and plan == rows[1].plan(one, direction):
            continue
        if rows[0].row(one, direction) != rows[1].row(one, direction):
            out += bits(part)
    return sorted(out)


def subject_differences(
    universe: Universe, rows: tuple[Rows, Rows], subject: int, direction: str, accepting: Accepting | None = None
) -> Iterator[Difference]:
    """The differences that this class causes in this direction, the other end's verdict taken into account."""
    by_peer = _by_peer(universe, rows, subject, direction)
    for peer in sorted(by_peer):
        cells = by_peer[peer]
        pod = universe.peers[peer].kind == "pod"
        if pod:
            cells = _final(rows, direction, subject, peer, cells)
        if cells and accepting is not None and universe.worlds[0].accepted:
            before = rows[0].allowed(subject, direction, cells, peer)
            if pod:
                before &= rows[0].allowed(peer, OTHER[direction], cells, subject)
            cells = accepting.left(direction, subject, peer, cells, before)
        if cells:
            yield Difference(direction, subject, peer, cells)


def one_sided(universe: Universe, rows: tuple[Rows, Rows]) -> bool:
    """Whether the worlds differ anywhere about one end of a flow, whatever the other end says."""
    return any(
        _by_peer(universe, rows, subject, direction)
        for direction in DIRECTIONS
        for subject in unlike(universe, rows, direction)
    )


def _by_peer(universe: Universe, rows: tuple[Rows, Rows], subject: int, direction: str) -> dict[int, int]:
    """For each peer about which the worlds differ at the subject's end, the cells in which they do."""
    first, second = rows[0].row(subject, direction), rows[1].row(subject, direction)
    if first == second:
        return {}
    reachable = [(universe.family_cells[f], universe.reachable(subject, f, direction)) for f in universe.families]
    by_peer: dict[int, int] = {}
    for cells, allowed in first:
        for other_cells, other_allowed in second:
            shared, unlike = cells & other_cells, allowed ^ other_allowed
            if not shared or not unlike:
                continue
            for family_cells, possible in reachable:
                if shared & family_cells:
                    for peer in bits(unlike & possible):
                        by_peer[peer] = by_peer.get(peer, 0) | (shared & family_cells)
    return by_peer


def _final(rows: tuple[Rows, Rows], direction: str, subject: int, peer: int, cells: int) -> int:
    """The cells in which source and destination together differ."""
    final = []
    for side in rows:
        mine = side.allowed(subject, direction, cells, peer)
        theirs = side.allowed(peer, OTHER[direction], cells, subject)
        final.append(mine & theirs)
    return final[0] ^ final[1]


def smallness(universe: Universe, difference: Difference) -> tuple[object, ...]:
    """What makes a counterexample easy to read: named ends, few odd protocols, low ports, names in order."""
    packet = universe.cells[_best_cell(universe, difference.cells)].packet
    pod = universe.classes[difference.subject].pods[0]
    peer = universe.peers[difference.peer]
    # A pod with itself stands for a second one like it; any other pair is easier to look up in a cluster.
    itself = peer.kind == "pod" and peer.index == difference.subject and universe.classes[peer.index].count == 1
    other = str(universe.classes[peer.index].pods[0]) if peer.kind == "pod" else str(peer.addresses)
    return (itself, *_ease(packet), _KINDS[peer.kind], str(pod), other, difference.direction)


def _ease(packet: Packet) -> tuple[int, ...]:
    return (
        {TCP: 0, UDP: 1}.get(packet.protocol, 2),
        packet.family,
        packet.protocol,
        packet.port,
        packet.source_port,
        packet.icmp_type,
        packet.icmp_code,
    )


def _best_cell(universe: Universe, cells: int) -> int:
    return min(bits(cells), key=lambda c: _ease(universe.cells[c].packet))


def explain(universe: Universe, difference: Difference, worlds: Sequence[World] = ()) -> Counterexample:
    """The difference as one concrete flow, decided again, one flow at a time, in both worlds (the universe's)."""
    packet = universe.cells[_best_cell(universe, difference.cells)].packet
    paths: list[Path] = []
    for world in (0, 1):
        mine = universe.party(world, difference.subject, packet.family)
        other = universe.party(world, difference.peer, packet.family, difference.subject)
        ends = (mine, other) if difference.direction == EGRESS else (other, mine)
        paths.append(judge((worlds or universe.worlds)[world], ends[0], ends[1], packet))
    if paths[0].allowed == paths[1].allowed:
        raise AssertionError(
            f"the two ways of deciding disagree about {paths[0].source} -> {paths[0].destination} {packet}: "
            "please report this with the policies"
        )
    return Counterexample(
        source=paths[0].source,
        destination=paths[0].destination,
        packet=packet,
        before=paths[0],
        after=paths[1],
    )


def _about(example: Counterexample) -> tuple[object, ...]:
    """Two counterexamples tell the same story when the same rules disagree in the same way."""
    return tuple(
        (path.allowed, tuple((d.direction, d.allowed, d.policy, d.rule) for d in path.decided_by))
        for path in (example.before, example.after)
    )


def _on_hosts(model: CalicoModel) -> Iterator[str]:
    """Policies that act on what host endpoints forward, where nobody gave one that they select."""
    for policy in model.forward_policies:
        if not selected_endpoints(model, policy):
            what = "only on host endpoints" if policy.hosts_only else "also on what host endpoints forward"
            yield f"{policy.meta} acts {what}, and none that it selects is given: none was taken to be there"


def assumed(*worlds: World) -> tuple[str, ...]:
    """What a proof about these worlds takes for granted; each is a fact of the worlds, named once."""
    out: dict[str, None] = {}
    for world in worlds:
        engines = {e for n in world.nodes for e in n.engines}
        if Engine.CILIUM in engines:
            model = cilium_model(world)
            for entry in model.entries:
                if entry.l7:
                    out[
                        f"{entry.policy} {entry.where} looks inside connections ({entry.l7}); only the connection "
                        "itself was compared"
                    ] = None
                if entry.node and world.cilium.host_firewall:
                    out[f"{entry.policy} polices nodes themselves, which was not compared"] = None
        if Engine.CALICO in engines:
            calico = calico_model(world)
            for endpoint in sorted(calico.all_host_endpoints, key=lambda h: (h.node, h.meta.name)):
                out[
                    f"{endpoint.meta} polices node {endpoint.node} itself; flows from and to the node were compared at "
                    "the pod only"
                ] = None
            out |= dict.fromkeys((*world.beyond, *_on_hosts(calico)))
            for other in (*world.of(ClusterPolicy), *world.of(AdminPolicy)):
                if not calico.enforces(other):
                    version = ".".join(map(str, world.calico_version))
                    out[f"{other.meta} is of a kind that Calico {version} does not enforce"] = None
            for policy in calico.policies:
                if any(r.http for r in (*policy.ingress, *policy.egress)):
                    out[f"{policy.meta} has HTTP matches, which Calico without its L7 layer ignores"] = None
    return tuple(out)
