"""A proof for pods that do not exist yet, in namespaces and under service accounts that need not exist either.

Labels that no policy mentions change nothing, so the pods to come fall into finitely many kinds (see `kinds`). What a
pod's own policies say of it and what others say of it are told apart: when both worlds agree, at one end and in one
direction, about every kind of subject with every kind of peer, they agree about every flow. Only where they differ at
one end, and the other end may hide it, kinds have to be combined. When there are more kinds than `limit`, a sample is
looked at, and the question is left undecided unless the sample answers it.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from netpol.compare.cuts import Atoms, Cuts
from netpol.compare.kinds import (
    NAME_OF_ACCOUNT,
    NAME_OF_NAMESPACE,
    OF_ACCOUNT,
    OF_NAMESPACE,
    Kind,
    TooManyError,
    inside,
    kinds,
    normal,
    starts,
)
from netpol.compare.mentioned import read, twins_of
from netpol.compare.prove import Equality, Proof, assumed, compared, one_sided
from netpol.compare.rows import rows_of
from netpol.compare.universe import Universe
from netpol.decide.hosts import refuse_forwarding
from netpol.decide.models import calico_model, cilium_model
from netpol.model.named import GIVEN_BY_KUBERNETES
from netpol.model.ranges import IPAddress, IPNetwork
from netpol.model.selector import Has, In, NotIn, Selector, Text, atoms
from netpol.model.values import DIRECTIONS, INGRESS, WITH_PORTS, CiliumPort, Port
from netpol.model.world import Engine, NamedPort, Namespace, Node, Pod, World
from netpol.read.common import is_port_name

DEFAULT_LIMIT = 3000
_MOST_SAMPLED = 400
_MOST_NAMES = 3
_MOST_PORTS = 32
_MOST_NODES = 40
_NEW_NAMESPACE = "namespace-to-come"
_UNMENTIONED_PORT = 9999
PRIVATE = tuple(
    ipaddress.ip_network(n)
    for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "2000::/3")
)
"""Where pods and nodes may be when nobody says where they are: private and shared addresses; of IPv6, also public ones,
since pods of an EKS cluster have these."""


@dataclass(frozen=True, slots=True)
class Future:
    """Both worlds with the pods to come in place of today's. `whole`: they are all kinds there are, not a sample."""

    worlds: tuple[World, World]
    whole: bool
    notes: tuple[str, ...]

    @property
    def count(self) -> int:
        return len(self.worlds[0].pods)


def prove_future(before: World, after: World, *, limit: int = DEFAULT_LIMIT, most: int = 1) -> Proof:
    """Compare two worlds for every pod that could be created, in namespaces and accounts that exist or could.

    Namespaces that are given keep their labels. Both worlds need at least one node; the pods to come are put on each of
    the kinds of nodes. The answer is `undecided`, with the reason among the assumptions, when there are more than
    `limit` kinds of pods and a sample of them shows no difference.
    """
    pair = (before, after)
    for world in pair:
        refuse_forwarding(world)
    nodes = [n.name for n in before.nodes if n.name in after.node_by_name]
    if not nodes:
        raise ValueError("a proof about pods to come needs a node that both worlds have")
    names = sorted({name for world in pair for name in _names_of_cluster(world)})
    if names:
        because = (
            f"before 1.20, Cilium looks up the port names of egress rules ({', '.join(names)}) among all pods of the "
            "cluster: with a number of its own, a pod to come takes the name from all, which is not decided"
        )
        return Proof(verdict=Equality.UNDECIDED, assumptions=(because, *assumed(*pair)))
    try:
        future = _future(pair, nodes, [_kinds(pair, asked, limit) for asked in _asked(pair)], limit)
    except TooManyError:
        return _undecided(pair, _sampled(pair, nodes), limit, most)
    proof, hidden = _compared(pair, future, most)
    if proof.equal and hidden():
        # Each end on its own does not answer it: kinds of pods as whole ends do.
        try:
            future = _future(pair, nodes, [_kinds(pair, [s for part in _asked(pair) for s in part], limit)], limit)
        except TooManyError:
            return _undecided(pair, _sampled(pair, nodes), limit, most)
        proof, _ = _compared(pair, future, most)
    if proof.equal and not future.whole:
        return _undecided(pair, future, limit, most)
    return replace(proof, assumptions=(*proof.assumptions, *future.notes))


def _names_of_cluster(world: World) -> list[str]:
    if not any(Engine.CILIUM in n.engines for n in world.nodes):
        return []
    model = cilium_model(world)
    return model.names_of_cluster if model.entries else []


def _compared(pair: tuple[World, World], future: Future, most: int) -> tuple[Proof, Callable[[], bool]]:
    """The proof over the pods to come, and whether the worlds differ about one end alone, which the other may hide."""
    universe = Universe(future.worlds)
    one, other = rows_of(universe)
    return compared(universe, (one, other), assumed(*pair), most), lambda: one_sided(universe, (one, other))


def _undecided(pair: tuple[World, World], future: Future, limit: int, most: int) -> Proof:
    proof, _ = _compared(pair, future, most)
    if not proof.equal:
        return replace(proof, assumptions=(*proof.assumptions, *future.notes))
    values = _values(pair)
    widest = sorted(values, key=lambda k: (-values[k], k))[:8]
    because = (
        f"more than {limit} kinds of pods could be created; {future.count} were looked at and show no difference, the "
        "rest is not decided"
    )
    if widest:
        because += f". What makes them so many are the labels {', '.join(f'{k} ({values[k]} values)' for k in widest)}"
    return replace(
        proof,
        verdict=Equality.UNDECIDED,
        assumptions=(because, *proof.assumptions, *future.notes),
        sampled=future.count,
    )


# --- what is asked
def _asked(worlds: Sequence[World]) -> list[list[Selector]]:  # noqa: PLR0912 - one loop for each thing that asks
    """What policies ask of pods: in each direction, of those they apply to and of those at the other end."""
    out: dict[tuple[str, str], dict[Selector, None]] = {(d, r): {} for d in DIRECTIONS for r in ("subject", "peer")}
    twins = twins_of(worlds)
    for at, world in enumerate(worlds):
        engines = {e for n in world.nodes for e in n.engines}
        if engines & {Engine.CALICO, Engine.KUBERNETES}:
            model = calico_model(world)
            for policy in model.policies:
                if at and id(policy) in twins:
                    continue
                for direction in DIRECTIONS:
                    if direction in policy.directions:
                        out[direction, "subject"][model.subject(policy)] = None
                    for rule in policy.rules(direction):
                        roles = ("peer", "subject") if direction == INGRESS else ("subject", "peer")
                        for role, entity in zip(roles, (rule.source, rule.destination), strict=True):
                            for one in model.selectors(entity, policy.meta.namespace):
                                if one is not None:
                                    out[direction, role][one] = None
        if Engine.CILIUM in engines:
            for entry in cilium_model(world).entries:
                if not entry.node:
                    out[entry.direction, "subject"][entry.subject] = None
                    out[entry.direction, "peer"] |= dict.fromkeys(entry.peers.selectors)
    once: dict[Selector, Selector] = {s: normal(s) for s in dict.fromkeys(s for found in out.values() for s in found)}
    excepted = _excepted(worlds)
    return [list(dict.fromkeys((*(once[s] for s in found), *excepted))) for found in out.values()]


def _excepted(worlds: Iterable[World]) -> list[Selector]:
    """The pods about which differences are accepted."""
    sides = (side for w in worlds for a in w.accepted for side in (a.source, a.destination))
    return [normal(side.selector) for side in sides if side.of_pods]


def _kinds(worlds: Sequence[World], asked: Sequence[Selector], limit: int) -> list[Kind]:
    return kinds(asked, starts(_namespaces(worlds), asked), limit)


def _namespaces(worlds: Iterable[World]) -> list[Namespace]:
    return list({n.name: n for w in worlds for n in w.namespaces if n.given}.values())


def sample(worlds: Sequence[World], most: int = _MOST_SAMPLED) -> list[Kind]:
    """Kinds that show most of what there is: a bare one, one for each selector, one for each two that meet."""
    out: list[Kind] = []
    asked = _asked(worlds)
    pools = [starts(_namespaces(worlds), part) for part in asked]
    for pool in pools:
        out += pool[-1:]
    for size in (1, 2):
        for part, pool in zip(asked, pools, strict=True):
            for chosen in itertools.combinations(part, size):
                for kind in (*pool[-1:], *pool[:-1]):
                    found: Kind | None = kind
                    for selector in chosen:
                        found = inside(found, selector) if found is not None else None
                    if found is not None:
                        out.append(found)
                        break
                if len(out) >= most:
                    return out
    return out


def _sampled(pair: tuple[World, World], nodes: Sequence[str]) -> Future:
    future = _future(pair, nodes, [sample(pair)], None)
    return replace(future, whole=False)


# --- pods of these kinds
def _future(
    pair: tuple[World, World], nodes: Sequence[str], parts: Sequence[Sequence[Kind]], limit: int | None
) -> Future:
    chosen = _one_per_kind(*pair, nodes)
    cuts, networks, _, _ = read(pair, twins_of(pair))
    ports, all_ports = _ports(pair, cuts)
    addresses, cidrs, notes = _addresses(pair[0], networks)
    notes += _of_init_containers(pair, {name for declared in ports for name in (p.name for p in declared)})
    within = sum(1 for n in networks if any(n.version == c.version and n.overlaps(c) for c in cidrs))
    found = list({_frozen(kind): kind for part in parts for kind in part}.values())
    count = len(found) * len(chosen) * len(ports) * max(len(addresses), 1) * (1 + within)
    if limit is not None and count > limit:
        raise TooManyError
    pods: list[Pod] = []
    whole = all_ports
    for kind in found:
        made = pod_of(kind)
        if made is None:
            whole = False
            continue
        pods += [
            replace(made, name=f"future-{len(pods) + i}", node=node, ports=declared, addresses=own)
            for i, (node, declared, own) in enumerate(itertools.product(chosen, ports, addresses or [()]))
        ]
    worlds = [
        replace(w, pods=tuple(pods), namespaces=tuple(_namespaces(pair)), pod_cidrs=w.pod_cidrs or cidrs) for w in pair
    ]
    if not pair[0].whole:
        made_nodes = _nodes(networks, pair[0].families)
        whole = whole and len(made_nodes) <= _MOST_NODES
        worlds = [_with_nodes(w, chosen[0], made_nodes[:_MOST_NODES]) for w in worlds]
    return Future((worlds[0], worlds[1]), whole, notes)


def _of_init_containers(pair: tuple[World, World], names: Iterable[str]) -> tuple[str, ...]:
    """What is assumed where one world counts the port names of init containers, and the other does not."""
    by_cilium = {Engine.CILIUM in n.engines for w in pair for n in w.nodes if n.engines}
    if len(by_cilium) < 2 or not names:
        return ()
    listed = ", ".join(sorted(names))
    return (
        f"pods to come declare port names ({listed}) in containers, not in init containers, where Cilium sees none, "
        "and once in a pod, as of two numbers Cilium takes the last",
    )


def _frozen(kind: Kind) -> frozenset[object]:
    return frozenset(kind.items())


def pod_of(kind: Kind) -> Pod | None:
    """A pod of the kind; None where no labels were found for it."""
    labels: dict[str, str] = {}
    of_namespace: dict[str, str] = {}
    of_account: dict[str, str] = {}
    namespace, account = _NEW_NAMESPACE, "default"
    for key, label in kind.items():
        if not label.there:
            continue
        value = label.example()
        if key == NAME_OF_NAMESPACE:
            if label.only is None and not label.texts:
                continue
            namespace = value or ""
        elif key == NAME_OF_ACCOUNT:
            if label.only is None and not label.texts and "default" not in label.never:
                continue
            account = value or ""
        if value is None:
            return None
        if key.startswith(OF_NAMESPACE):
            of_namespace[key.removeprefix(OF_NAMESPACE)] = value
        elif key.startswith(OF_ACCOUNT):
            of_account[key.removeprefix(OF_ACCOUNT)] = value
        elif key not in (NAME_OF_NAMESPACE, NAME_OF_ACCOUNT):
            labels[key] = value
    return Pod(
        namespace=namespace,
        name="future",
        labels=labels,
        service_account=account,
        namespace_labels={GIVEN_BY_KUBERNETES: namespace, **of_namespace},
        account_labels=of_account,
    )


def _one_per_kind(before: World, after: World, nodes: Sequence[str]) -> list[str]:
    found: dict[object, str] = {}
    for name in nodes:
        pair = (before.node_by_name[name], after.node_by_name[name])
        found.setdefault(tuple((n.engines, n.recognised, n.is_remote_node) for n in pair), name)
    return list(found.values())


def _addresses(
    world: World, networks: Iterable[IPNetwork]
) -> tuple[list[tuple[IPAddress, ...]], tuple[IPNetwork, ...], tuple[str, ...]]:
    """The addresses that pods to come may get, or else the networks, and what is assumed of them."""
    if world.pod_cidrs:
        return [], world.pod_cidrs, ()
    today: dict[object, tuple[IPAddress, ...]] = {}
    asked = list(networks)
    atoms = {family: Atoms(asked, family) for family in (4, 6)}
    for pod in world.pods:
        if not pod.host_network and pod.addresses:
            where = tuple([(a.version, atoms[a.version].atom(a)) for a in pod.addresses])
            today.setdefault(where, pod.addresses)
    if world.whole:
        notes = ("pods to come are taken to get addresses like those of today's pods",) if today else ()
        return list(today.values()), (), notes
    families = {a.version for own in today.values() for a in own} or world.families
    private = [n for n in PRIVATE if n.version in families]
    odd = [a for own in today.values() for a in own if not any(a.version == n.version and a in n for n in private)]
    cidrs = (*private, *(ipaddress.ip_network(a) for a in odd))
    return [], cidrs, (f"pods and nodes are taken to have addresses in {', '.join(map(str, private))}",)


def _nodes(networks: Iterable[IPNetwork], families: Iterable[int]) -> list[IPAddress]:
    """Addresses that nodes may have and that rules tell apart."""
    out: dict[IPAddress, None] = {}
    for network in sorted(networks, key=str):
        if network.version in families and network.prefixlen:
            for address in (network[0], network[-1]):
                if any(address.version == n.version and address in n for n in PRIVATE):
                    out[address] = None
    for text in ("10.254.253.252", "2a00::fdfc"):
        address = ipaddress.ip_address(text)
        if address.version in families:
            out[address] = None
    return list(out)


def _with_nodes(world: World, like: str, addresses: Sequence[IPAddress]) -> World:
    known = world.node_by_name[like]
    made = tuple(
        Node(
            name=f"future-node-{i}",
            engines=known.engines,
            recognised=known.recognised,
            host_recognised=known.host_recognised,
            addresses=(address,),
        )
        for i, address in enumerate(addresses)
    )
    return replace(world, nodes=(*world.nodes, *made))


def _values(worlds: Sequence[World]) -> dict[str, int]:
    """For each label that a policy mentions, how many values of it are told apart."""
    found: dict[str, set[str]] = {}
    for part in _asked(worlds):
        for selector in part:
            for atom in atoms(selector):
                if isinstance(atom, Has | In | NotIn | Text):
                    values = found.setdefault(atom.key, set())
                    values |= atom.values if isinstance(atom, In | NotIn) else set()
    return {key: len(values) + 2 for key, values in sorted(found.items()) if not key.startswith("@")}


def _port_names(worlds: Iterable[World]) -> Iterator[str]:
    """The names that policies ask for and pods can declare."""
    for world in worlds:
        for policy in calico_model(world).policies:
            for rule in (*policy.ingress, *policy.egress):
                for entity in (rule.source, rule.destination):
                    yield from (p.name for p in (*entity.ports, *entity.not_ports) if is_port_name(p.name))
        for entry in cilium_model(world).entries:
            for port in entry.ports or ():
                if isinstance(port, CiliumPort) and isinstance(port.port, Port) and is_port_name(port.port.name):
                    yield port.port.name


def _ports(pair: tuple[World, World], cuts: Cuts) -> tuple[list[tuple[NamedPort, ...]], bool]:
    """What pods may declare of the named ports: none, or some names for one number; and whether these are all."""
    names = sorted(set(_port_names(pair)))
    if not names:
        return [()], True
    numbers = {_UNMENTIONED_PORT}
    numbers |= {n for first, last in cuts.ports for n in (first, last + 1) if 0 < n <= 65535}
    some = [c for size in range(1, len(names) + 1) for c in itertools.combinations(names, size)]
    whole = len(names) <= _MOST_NAMES and len(some) * len(numbers) <= _MOST_PORTS
    if not whole:
        some, numbers = [(n,) for n in names], {_UNMENTIONED_PORT}
    return [
        (),
        *(
            tuple(NamedPort(name=name, protocol=protocol, number=number) for name in chosen for protocol in WITH_PORTS)
            for chosen in some
            for number in sorted(numbers)
        ),
    ], whole
