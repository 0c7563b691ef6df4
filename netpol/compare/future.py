"""A proof for pods that do not exist yet: every combination of labels that policies can tell apart.

Labels that no policy mentions change nothing, so the pods to come fall into finitely many kinds: for each namespace,
each combination of a value for every mentioned label (one of the mentioned values, any other value, or none), each
service account that is mentioned (or another), and each set of named ports. When there are more kinds than `limit`,
the question is left undecided and the labels that make it so are named.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace

from netpol.compare.prove import Equality, Proof, prove
from netpol.decide import calico
from netpol.decide.models import calico_model, cilium_model
from netpol.model.selector import Has, In, NotIn, Selector, Text, atoms
from netpol.model.values import CiliumPort, Port
from netpol.model.world import Engine, NamedPort, Namespace, Pod, World

DEFAULT_LIMIT = 3000
_OTHER = "some-other-value"
_INTERNAL = (
    "projectcalico.org/",
    calico.NAMESPACE_PREFIX,
    calico.ACCOUNT_PREFIX,
    "io.cilium.k8s.",
    "io.kubernetes.",
    "reserved:",
)
_NEW_NAMESPACE = "namespace-without-labels"


def prove_future(before: World, after: World, *, limit: int = DEFAULT_LIMIT, most: int = 1) -> Proof:
    """Compare two worlds for every pod that could be created in their namespaces (and in one without labels).

    Both worlds need at least one node; the pods to come are put on each of the kinds of nodes. The answer is
    `undecided`, with the reason among the assumptions, when there are more than `limit` kinds of pods.
    """
    values = _values((before, after))
    accounts = _accounts((before, after))
    ports = _ports((before, after))
    namespaces = {ns.name: ns for ns in (*before.namespaces, *after.namespaces)}
    nodes = [n.name for n in before.nodes if n.name in after.node_by_name]
    if not nodes:
        raise ValueError("a proof about pods to come needs a node that both worlds have")
    kinds = 1
    for choices in values.values():
        kinds *= len(choices)
    kinds *= (len(namespaces) + 1) * (len(accounts) + 1) * len(ports)
    chosen = _one_per_kind(before, after, nodes)
    kinds *= len(chosen)
    if kinds > limit:
        widest = sorted(values, key=lambda k: (-len(values[k]), k))[:8]
        return Proof(
            verdict=Equality.UNDECIDED,
            assumptions=(
                f"{kinds} kinds of pods could be created, more than the {limit} that were to be looked at; what makes "
                f"them so many are the labels {', '.join(f'{k} ({len(values[k])} values)' for k in widest)}",
            ),
        )
    fresh = Namespace(name=_NEW_NAMESPACE)
    addresses = next((p.addresses for p in before.pods if not p.host_network), ())
    pods = [
        Pod(
            namespace=namespace,
            name="-".join(("future", node, str(i))),
            node=node,
            labels={k: v for k, v in zip(values, combination, strict=True) if v is not None},
            service_account=account,
            ports=declared,
            addresses=addresses,
        )
        for node in chosen
        for namespace in (*namespaces, _NEW_NAMESPACE)
        for i, (account, declared, combination) in enumerate(
            itertools.product((*accounts, "default"), ports, list(itertools.product(*values.values())))
        )
    ]
    worlds = [replace(w, pods=tuple(pods), namespaces=(*w.namespaces, fresh)) for w in (before, after)]
    proof = prove(worlds[0], worlds[1], most=most)
    note = "pods to come are taken to get addresses like those of today's pods"
    return replace(proof, assumptions=(*proof.assumptions, note) if addresses else proof.assumptions)


def _one_per_kind(before: World, after: World, nodes: list[str]) -> list[str]:
    kinds: dict[object, str] = {}
    for name in nodes:
        pair = (before.node_by_name[name], after.node_by_name[name])
        kinds.setdefault(tuple((n.engines, n.recognised, n.is_remote_node) for n in pair), name)
    return list(kinds.values())


def _selectors(worlds: Iterable[World]) -> Iterable[Selector]:
    for world in worlds:
        engines = {e for n in world.nodes for e in n.engines}
        if engines & {Engine.CALICO, Engine.KUBERNETES}:
            model = calico_model(world)
            for policy in model.policies:
                yield model.subject(policy)
                for rule in (*policy.ingress, *policy.egress):
                    for entity in (rule.source, rule.destination):
                        yield from (s for s in calico.entity_selectors(entity, policy.meta.namespace) if s is not None)
        if Engine.CILIUM in engines:
            for entry in cilium_model(world).entries:
                yield entry.subject
                yield from entry.peers.selectors


def _values(worlds: tuple[World, ...]) -> dict[str, list[str | None]]:
    """For each pod label that a policy mentions, one value of every kind that can be told apart."""
    found: dict[str, set[str]] = {}
    texts: dict[str, set[str]] = {}
    for selector in _selectors(worlds):
        for atom in atoms(selector):
            if not isinstance(atom, Has | In | NotIn | Text) or atom.key.startswith(_INTERNAL):
                continue
            values = found.setdefault(atom.key, set())
            if isinstance(atom, In | NotIn):
                values |= atom.values
            elif isinstance(atom, Text):
                texts.setdefault(atom.key, set()).add(atom.text)
    for key, parts in texts.items():
        # Values that contain, start or end with any of the texts, alone and together.
        found[key] |= parts | {f"x{p}" for p in parts} | {f"{p}x" for p in parts} | {f"x{p}x" for p in parts}
        found[key] |= {a + b for a in parts for b in parts} | {f"{a}x{b}" for a in parts for b in parts}
    return {key: [None, _OTHER, *sorted(values)] for key, values in sorted(found.items())}


def _accounts(worlds: tuple[World, ...]) -> list[str]:
    keys = (calico.ACCOUNT, calico.ACCOUNT_PREFIX + calico.NAME, "io.cilium.k8s.policy.serviceaccount")
    names = {
        v
        for selector in _selectors(worlds)
        for a in atoms(selector)
        if isinstance(a, In | NotIn) and a.key in keys
        for v in a.values
    }
    return sorted(names - {"default"})


def _ports(worlds: tuple[World, ...]) -> list[tuple[NamedPort, ...]]:
    """No named ports, and for each named port of a policy one pod that declares it (TCP or UDP)."""
    names: set[str] = set()
    for world in worlds:
        for policy in calico_model(world).policies:
            for rule in (*policy.ingress, *policy.egress):
                for entity in (rule.source, rule.destination):
                    names |= {p.name for p in (*entity.ports, *entity.not_ports) if p.name}
        for entry in cilium_model(world).entries:
            for port in entry.ports or ():
                if isinstance(port, CiliumPort) and isinstance(port.port, Port) and port.port.name:
                    names.add(port.port.name)
    return [
        (),
        *((NamedPort(name=name, protocol=protocol, number=9999),) for name in sorted(names) for protocol in (6, 17)),
    ]
