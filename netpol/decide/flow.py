"""The verdict of one flow, with the rules that decided it. Plain reading of the semantics, one flow at a
time.

`prove` answers the same question for all flows at once, with other means; tests hold the two against each
other.
"""

# ruff: noqa: PLR0917

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from netpol.decide.hosts import refuse_at, refuse_entering, refuse_passing
from netpol.decide.missing import Missing, missing, named, opened, settled
from netpol.decide.models import calico_model, cilium_model
from netpol.model.errors import Place, UndecidableError
from netpol.model.packets import AddressEnd, Flow, NodeEnd, Packet, Party, PodEnd, ServiceEnd, party, related
from netpol.model.values import EGRESS, INGRESS, CalicoPolicy, NetworkSet
from netpol.model.world import Backend, Engine, Rest, Service, World

_ORDER = (Engine.CALICO, Engine.CILIUM, Engine.KUBERNETES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What one engine on one node said about one direction."""

    direction: str
    engine: Engine
    node: str
    allowed: bool
    policy: str = ""
    rule: str = ""
    place: Place | None = None
    reason: str = ""

    def __str__(self) -> str:
        by = f" by {self.policy}{' ' + self.rule if self.rule else ''}" if self.policy else ""
        at = f" ({self.place})" if self.place is not None and self.policy else ""
        verb = "allowed" if self.allowed else "denied"
        where = f" on {self.node}" if self.node else ""
        return f"{self.direction} {verb} in {self.engine}{where}{by}{at}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """One way a flow can take after translation, and what was said about it. `ends`: source and destination."""

    source: str
    destination: str
    packet: Packet
    allowed: bool
    decided_by: tuple[Decision, ...]
    ends: tuple[Party, Party] = field(repr=False, compare=False)

    def side(self, direction: str) -> tuple[Decision, ...]:
        """What was said at one end."""
        return tuple(d for d in self.decided_by if d.direction == direction)

    def because(self) -> str:
        """What made the verdict, in one line: each end that was of this mind, with its rule and its place."""
        decisive = [d for d in self.decided_by if d.allowed == self.allowed] or self.decided_by
        return "; ".join(map(str, decisive)) or "nothing enforces"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowVerdict:
    """`allowed` when every way the flow can take is; `decided_by` speaks for the first way that has this verdict."""

    allowed: bool
    decided_by: tuple[Decision, ...]
    paths: tuple[Path, ...]

    def __str__(self) -> str:
        lines: list[str] = []
        for path in self.paths:
            lines.append(
                f"{'ALLOWED' if path.allowed else 'DENIED'}  {path.source} -> {path.destination}  {path.packet}"
            )
            lines += [f"    {decision}" for decision in path.decided_by]
        return "\n".join(lines)


def decide(world: World, flow: Flow) -> FlowVerdict:
    """Whether the flow is allowed, and by what.

    The source's egress and the destination's ingress must both allow it, each according to every engine on its node.
    A flow to a service is decided on the ways it can take after translation. A reply shares the verdict of the
    connection it answers. Raises ValueError for ends that the world lacks, UndecidableError where the model does not
    reach.

    >>> decide(world, Flow.of("shop/web", "shop/db", "TCP", 5432)).allowed    # doctest: +SKIP
    """
    if flow.reply:
        flow = replace(flow, source=flow.destination, destination=flow.source, reply=False)
    if world.rest not in (Rest.UNKNOWN, Rest.OPEN):
        return _decide(world, flow)
    unknown = _bearing(world, flow)
    if world.rest is Rest.OPEN:
        return _decide(opened(world, unknown), flow)
    return _whatever(world, flow, unknown)


def _whatever(world: World, flow: Flow, unknown: Sequence[Missing]) -> FlowVerdict:
    """The verdict that holds whatever the unknown things are."""
    first: FlowVerdict | None = None
    try:
        for (one,) in settled((world,), unknown):
            verdict = _decide(one, flow)
            if first is None:
                first = verdict
            elif verdict.allowed is not first.allowed:
                raise UndecidableError(
                    _depends(flow, [u for u in unknown if _matters(world, flow, u, first)] or unknown)
                )
    except OverflowError:
        raise UndecidableError(_depends(flow, unknown)) from None
    assert first is not None  # noqa: S101
    return first


def _matters(world: World, flow: Flow, one: Missing, closed: FlowVerdict) -> bool:
    return any(
        _decide(settled_world, flow).allowed is not closed.allowed for (settled_world,) in settled((world,), [one])
    )


def _depends(flow: Flow, unknown: Sequence[Missing]) -> str:
    return (
        f"{flow}: the answer depends on what is not given: {named(unknown)}. Give it, or say --whole "
        "(there is nothing else), --assume closed (it matches nothing) or --assume open (it matches what it can)"
    )


def _bearing(world: World, flow: Flow) -> list[Missing]:
    """What is missing and can bear on this flow: of namespaces and accounts those of its ends."""
    namespaces: set[str] = {s.meta.namespace for s in world.of(NetworkSet)}
    accounts: set[str] = set()
    bare = False
    for which in (flow.source, flow.destination):
        if isinstance(which, ServiceEnd):
            pods = [p for p in world.pods if p.namespace == which.namespace]
        else:
            owner = party(world, which, flow.family or 4).pod
            pods = [] if owner is None else [owner]
            bare = bare or owner is None
        namespaces |= {p.namespace for p in pods}
        accounts |= {f"{p.namespace}/{p.service_account}" for p in pods}
    bears: dict[str, Callable[[str], bool]] = {
        "Namespace": lambda name: name in namespaces,
        "ServiceAccount": lambda name: name in accounts,
    }
    # Where no pod is known, also a rule that finds pods by what they lack can find a network set.
    found = missing(world, sets="open" if bare else "seen")
    return [u for u in found if (u.kind not in bears or bears[u.kind](u.name))]


def _decide(world: World, flow: Flow) -> FlowVerdict:
    paths = [path for family in _families(world, flow) for path in _paths(world, flow, family)]
    if not paths:
        raise ValueError(f"{flow}: its two ends share no address family, or the service has no backend")
    allowed = all(path.allowed for path in paths)
    spoken = next(path for path in paths if path.allowed == allowed)
    return FlowVerdict(allowed=allowed, decided_by=spoken.decided_by, paths=tuple(paths))


def _families(world: World, flow: Flow) -> list[int]:
    if flow.family is not None:
        return [flow.family]
    for which in (flow.source, flow.destination):
        if isinstance(which, AddressEnd):
            return [which.address.version]
    shared = []
    for family in sorted(world.families):
        ends = [e for e in (flow.source, flow.destination) if not isinstance(e, ServiceEnd)]
        addressed = [party(world, e, family) for e in ends]
        known = [_has_addresses(world, p) for p in addressed]
        if all(p.address is not None or not k for p, k in zip(addressed, known, strict=True)):
            shared.append(family)
    # One verdict for one connection: IPv4 where both families would do, unless only IPv6 is shared.
    return shared[:1]


def _has_addresses(world: World, who: Party) -> bool:
    if who.pod is not None:
        return bool(who.pod.addresses)
    return bool(who.node.addresses) if who.node is not None else True


def _paths(world: World, flow: Flow, family: int) -> list[Path]:
    if not isinstance(flow.destination, ServiceEnd):
        source, destination = party(world, flow.source, family), party(world, flow.destination, family)
        return [judge(world, source, destination, flow.packet(family))]
    service = world.service_by_name.get((flow.destination.namespace, flow.destination.name))
    if service is None:
        raise ValueError(f"no service {flow.destination.namespace}/{flow.destination.name} in this world")
    names = [
        p.name
        for p in service.ports
        if p.protocol == flow.protocol and flow.port in (p.node_port if flow.destination.via else p.port, 0)
    ]
    if not names:
        raise ValueError(f"service {service} has no such port: {flow.packet(family)}")
    out: list[Path] = []
    for name in names:
        for backend in world.backends(service):
            if backend.address.version != family or name not in backend.ports:
                continue
            out += _to_backend(world, flow, service, backend, name, family)
    return out


def _to_backend(world: World, flow: Flow, service: Service, backend: Backend, port: str, family: int) -> list[Path]:
    """After translation the packet goes to the backend's own address and port.

    By way of a node: with traffic policy Local only that node's backends are reached, and the source stays. With
    Cluster, backends of the same node still see the source (it is rewritten behind the policy), backends elsewhere
    see the node that passed the packet on.
    """
    assert isinstance(flow.destination, ServiceEnd)  # noqa: S101
    protocol, number = backend.ports[port]
    packet = replace(flow.packet(family), protocol=protocol, port=number)
    target = (
        party(world, PodEnd(*backend.pod), family)
        if backend.pod in world.pod_by_name and backend.pod is not None
        else Party(address=backend.address)
    )
    source = party(world, flow.source, family)
    via = flow.destination.via
    if via:
        if via not in world.node_by_name:
            raise ValueError(f"no node {via} in this world")
        refuse_entering(world, world.node_by_name[via])
        same_node = target.node is not None and target.node.name == via
        if service.local and not same_node:
            return []
        if not service.local and not same_node:
            arrived = judge(world, party(world, NodeEnd(via), family), target, packet)
            refuse_passing(world, source, target)
            left = _enforce(world, EGRESS, source, target, packet)
            decisions = (*left, *arrived.decided_by)
            return [
                replace(
                    arrived,
                    allowed=all(d.allowed for d in decisions),
                    decided_by=decisions,
                    source=str(source),
                )
            ]
    return [judge(world, source, target, packet)]


def judge(world: World, source: Party, destination: Party, packet: Packet) -> Path:
    """Both directions of one concrete flow between two known ends."""
    source, destination = related(world, source, destination), related(world, destination, source)
    refuse_passing(world, source, destination)
    decisions = (
        *_enforce(world, EGRESS, source, destination, packet),
        *_enforce(world, INGRESS, destination, source, packet),
    )
    return Path(
        source=str(source),
        destination=str(destination),
        packet=packet,
        allowed=all(d.allowed for d in decisions),
        decided_by=decisions,
        ends=(source, destination),
    )


def _enforce(world: World, direction: str, subject: Party, peer: Party, packet: Packet) -> tuple[Decision, ...]:
    if subject.pod is None:
        _refuse_host_policy(world, subject)
        return ()
    assert subject.node is not None  # noqa: S101
    speakers: dict[Engine, Callable[[], Decision]] = {
        Engine.CALICO: lambda: _calico(world, Engine.CALICO, direction, subject, peer, packet),
        Engine.CILIUM: lambda: _cilium(world, direction, subject, peer, packet),
        Engine.KUBERNETES: lambda: _calico(world, Engine.KUBERNETES, direction, subject, peer, packet),
    }
    return tuple(speakers[e]() for e in _ORDER if e in subject.node.engines)


def _refuse_host_policy(world: World, who: Party) -> None:
    """Policy on hosts themselves is not modelled; where there is some, nothing is said rather than guessed."""
    if who.node is None:
        return
    refuse_at(world, who.node, "what it sends and receives itself is")
    if (
        Engine.CILIUM in who.node.engines
        and world.cilium.host_firewall
        and any(e.node for e in cilium_model(world).entries)
    ):
        raise UndecidableError(f"node {who.node.name} has a host firewall: policy on hosts is not modelled")


def _calico(world: World, engine: Engine, direction: str, subject: Party, peer: Party, packet: Packet) -> Decision:
    model = calico_model(world, kubernetes_only=engine is Engine.KUBERNETES)
    ruling = model.decide(direction, subject, peer, packet)
    policy: CalicoPolicy | None = ruling.policy
    rule = ruling.rule
    return Decision(
        direction=direction,
        engine=engine,
        node=subject.node.name if subject.node else "",
        allowed=ruling.allowed,
        policy=str(policy.meta) if policy else "",
        rule=rule.where if rule else "",
        place=rule.place if rule else policy.meta.place if policy else None,
        reason=ruling.reason,
    )


def _cilium(world: World, direction: str, subject: Party, peer: Party, packet: Packet) -> Decision:
    ruling = cilium_model(world).decide(direction, subject, peer, packet)
    entry = ruling.entry
    return Decision(
        direction=direction,
        engine=Engine.CILIUM,
        node=subject.node.name if subject.node else "",
        allowed=ruling.allowed,
        policy=str(entry.policy) if entry else "",
        rule=entry.where if entry else "",
        place=entry.place if entry else None,
        reason=ruling.reason + ("" if subject.pod is None else _gap(world, peer)),
    )


def _gap(world: World, peer: Party) -> str:
    """Say so when Cilium does not know that the other end is a pod: it explains most surprises on the way."""
    if peer.pod is not None and not cilium_model(world).recognised(peer):
        return f" (to Cilium, pod {peer.pod} has no identity and is an address of the world)"
    return ""
