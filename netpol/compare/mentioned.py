"""What the policies of some worlds mention: ports, networks, label keys, port names."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from netpol.compare.cuts import Cuts
from netpol.decide import calico
from netpol.decide.models import calico_model, cilium_model
from netpol.model.ranges import IPNetwork
from netpol.model.selector import keys
from netpol.model.values import ANYBODY, ICMP, ICMP6, CalicoPolicy, CalicoRule, CidrGroup, Entity, IcmpType, NetworkSet
from netpol.model.world import Engine, World


def twins_of(worlds: Sequence[World]) -> dict[int, CalicoPolicy]:
    """For policies of later worlds, by id, the first world's policy of the same name and value.

    Most of two sides of a proof is alike; what was found out about one twin need not be found out about the other. The
    two may be one object, so whoever leaves twins out leaves them out of later worlds alone.
    """
    led = {(w.services, w.slices) for w in worlds}
    if len(led) > 1 or not all(_calico_enforces(w) for w in worlds):
        return {}
    first, *rest = [calico_model(w) for w in worlds]
    known = {(p.meta.kind, p.meta.namespace, p.meta.name): p for p in first.policies}
    out: dict[int, CalicoPolicy] = {}
    for model in rest:
        for policy in model.policies:
            twin = known.get((policy.meta.kind, policy.meta.namespace, policy.meta.name))
            if twin is not None and (policy is twin or policy == twin):
                out[id(policy)] = twin
    return out


def _calico_enforces(world: World) -> bool:
    return any(Engine.CALICO in node.engines for node in world.nodes)


def read(
    worlds: Sequence[World], twins: Mapping[int, CalicoPolicy]
) -> tuple[Cuts, set[IPNetwork], frozenset[str], bool]:
    cuts, networks = Cuts(), set[IPNetwork]()
    mentioned: set[str] = set()
    for at, world in enumerate(worlds):
        networks |= set(world.apiserver)
        networks |= {ipaddress.ip_network(a) for a in world.host_addresses}
        networks |= {n for s in world.of(NetworkSet) for n in s.nets}
        networks |= {n for g in world.of(CidrGroup) for n in g.nets}
        _read_accepted(world, cuts, networks, mentioned)
        engines = {e for node in world.nodes for e in node.engines}
        if engines & {Engine.CALICO, Engine.KUBERNETES}:
            _read_calico(world, twins if at else {}, cuts, networks, mentioned)
        if Engine.CILIUM in engines:
            _read_cilium(world, cuts, networks, mentioned)
    accounts = any("serviceaccount" in k or k.startswith(calico.ACCOUNT_PREFIX) for k in mentioned)
    return cuts, networks, frozenset(mentioned), accounts


def _read_accepted(world: World, cuts: Cuts, networks: set[IPNetwork], mentioned: set[str]) -> None:
    for one in world.accepted:
        for side in (one.source, one.destination):
            networks.update(side.nets)
            mentioned.update(keys(side.labels) if side.labels is not None else ())
        if one.protocol is not None:
            cuts.protocols.add(one.protocol)
        cuts.ports.update(one.ports)


def _read_calico(
    world: World, twins: Mapping[int, CalicoPolicy], cuts: Cuts, networks: set[IPNetwork], mentioned: set[str]
) -> None:
    model = calico_model(world)
    for policy in model.policies:
        if id(policy) in twins:
            continue
        mentioned.update(keys(model.subject(policy)))
        for rule in (*policy.ingress, *policy.egress):
            _read_packets(rule, cuts)
            for entity, source in ((rule.source, True), (rule.destination, False)):
                if entity is ANYBODY:
                    continue
                for which in model.selectors(entity, policy.meta.namespace):
                    if which is not None:
                        mentioned.update(keys(which))
                networks.update(entity.nets, entity.not_nets)
                for port in (*entity.ports, *entity.not_ports):
                    cuts.port(port, source=source)
                _read_service(model, entity, policy.meta.namespace, cuts, networks)
    for endpoint in model.all_host_endpoints:
        networks.update(endpoint.expected_ips)


def _read_packets(rule: CalicoRule, cuts: Cuts) -> None:
    for protocol in (rule.protocol, rule.not_protocol):
        if protocol is not None:
            cuts.protocols.add(protocol)
    for icmp in (rule.icmp, rule.not_icmp):
        if icmp is not None and icmp.type is not None and rule.protocol is not None:
            codes = cuts.icmp[rule.protocol].setdefault(icmp.type, set())
            if icmp.code is not None:
                codes.add(icmp.code)


def _read_service(
    model: calico.CalicoModel, entity: Entity, namespace: str, cuts: Cuts, networks: set[IPNetwork]
) -> None:
    if entity.service is None:
        return
    for backend in model.service_backends(entity, namespace):
        networks.add(ipaddress.ip_network(backend.address))
        for _, number in backend.ports.values():
            cuts.ports.add((number, number))


def _read_cilium(world: World, cuts: Cuts, networks: set[IPNetwork], mentioned: set[str]) -> None:
    model = cilium_model(world)
    for entry in model.entries:
        mentioned.update(keys(entry.subject))
        for which in entry.peers.selectors:
            mentioned.update(keys(which))
        for cidr in entry.peers.cidrs:
            networks.update(model.group_nets(cidr), cidr.excepted)
        networks.update(ipaddress.ip_network(a) for a in entry.peers.addresses)
        for port in entry.ports or ():
            if isinstance(port, IcmpType):
                cuts.icmp[ICMP if port.family == 4 else ICMP6].setdefault(port.type, set())
                continue
            if port.protocol is not None:
                cuts.protocols.add(port.protocol)
            if port.port is not None:
                cuts.port(port.port)
