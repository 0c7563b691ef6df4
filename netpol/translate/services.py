"""Calico's rules by service, written out: the service's selector and target ports, or its addresses.

Calico follows the EndpointSlices (felix/serviceindex), whose pods the control plane finds by the service's selector; a
rule with that selector and those ports finds the same pods, also those to come. When the service changes, it has to be
made anew.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace

from netpol.decide.calico import NAME
from netpol.model.ranges import IPNetwork
from netpol.model.selector import both, equals
from netpol.model.values import CalicoPolicy, CalicoRule, Entity, Policy, Port, ServiceRef
from netpol.model.world import Service, World

Written = dict[tuple[str, str], set[str]]
"""For a policy and a rule of it, the services that are written out there."""


def without_services(world: World) -> tuple[World, Written]:
    """The world with rules by service written out, as far as they can be, and which they are."""
    written: Written = {}
    made: list[Policy] = []
    for policy in world.policies:
        if isinstance(policy, CalicoPolicy):
            ingress, egress = (
                tuple(found for rule in rules for found in _rules(world, policy, rule, written))
                for rules in (policy.ingress, policy.egress)
            )
            made.append(replace(policy, ingress=ingress, egress=egress))
        else:
            made.append(policy)
    return (world.with_policies(made), written) if written else (world, written)


def reason(world: World, wanted: ServiceRef, namespace: str) -> str:
    """Why a rule by this service cannot be written out."""
    home = wanted.namespace or namespace
    if world.endpoints(home, wanted.name) is None:
        return (
            f"a rule by service {home}/{wanted.name}, which is not given: give the Service, with its EndpointSlices if "
            "it has no selector"
        )
    return (
        f"a rule by service {home}/{wanted.name}: its EndpointSlices lead to pods, and no Service with a selector says "
        "which pods to come it means. Give the Service"
    )


def _rules(world: World, policy: CalicoPolicy, rule: CalicoRule, written: Written) -> Iterator[CalicoRule]:
    found = [rule]
    for side in ("source", "destination"):
        found = [one for known in found for one in _side(world, policy, known, side, written)]
    yield from found


def _side(world: World, policy: CalicoPolicy, rule: CalicoRule, side: str, written: Written) -> Iterator[CalicoRule]:
    entity: Entity = getattr(rule, side)
    found = None if entity.service is None else _endpoints(world, entity.service, policy.meta.namespace)
    if entity.service is None or found is None:
        yield rule
        return
    name = f"Service {entity.service.namespace or policy.meta.namespace}/{entity.service.name}"
    written.setdefault((str(policy.meta), rule.where), set()).add(name)
    if side == "destination":
        for protocol, there in found:
            if rule.protocol in (None, protocol) and rule.not_protocol != protocol:
                yield replace(rule, protocol=protocol, not_protocol=None, destination=there)
        return
    # Of a source the addresses count alone (felix: IP sets without ports).
    nets = tuple(dict.fromkeys(n for _, there in found for n in there.nets))
    for whom in dict.fromkeys(replace(there, ports=(), nets=nets) for _, there in found):
        yield replace(rule, source=replace(whom, ports=entity.ports, not_ports=entity.not_ports))


def _endpoints(world: World, wanted: ServiceRef, namespace: str) -> list[tuple[int, Entity]] | None:
    """The endpoints of a service by protocol, as a side of a rule; None where nobody says what they will be."""
    home = wanted.namespace or namespace
    service = world.service_by_name.get((home, wanted.name))
    if service is not None and service.selector:
        selector = both(*(equals(k, v) for k, v in sorted(service.selector.items())))
        pods = Entity(selector=selector, namespace_selector=equals(NAME, home))
        return [(p, replace(pods, ports=tuple(targets))) for p, targets in sorted(_targets(service).items())]
    backends = world.endpoints(home, wanted.name)
    if backends is None or any(b.pod is not None for b in backends):
        return None
    nets: dict[tuple[int, int], list[IPNetwork]] = {}
    for backend in backends:
        for port in sorted(set(backend.ports.values())):
            nets.setdefault(port, []).append(ipaddress.ip_network(backend.address))
    return [(p, Entity(nets=tuple(found), ports=(Port(n, n),))) for (p, n), found in sorted(nets.items())]


def _targets(service: Service) -> dict[int, list[Port]]:
    """By protocol, the ports of pods to which the service's own lead."""
    out: dict[int, list[Port]] = {}
    for port in service.ports:
        number = port.target if isinstance(port.target, int) else 0
        named = isinstance(port.target, str)
        target = Port(name=str(port.target)) if named else Port(number or port.port, number or port.port)
        known = out.setdefault(port.protocol, [])
        if target not in known:
            known.append(target)
    return out
