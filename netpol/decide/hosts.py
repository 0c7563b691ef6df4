"""Policy on hosts themselves: what of it there is, and which flows of pods it may touch. It is named, never decided.

At pods a policy with `preDNAT` or `doNotTrack` does nothing, and `applyOnForward` changes nothing
(felix/calc/event_sequencer.go, tierInfoToProtoTierInfo). At a host endpoint each of the three acts on what its node
forwards besides, which is where pods meet it: on which interface a packet passes, files do not say.
"""

from __future__ import annotations

from dataclasses import replace

from netpol.decide.calico import CalicoModel, subject_selector
from netpol.decide.models import calico_model
from netpol.model.errors import UndecidableError
from netpol.model.packets import Party
from netpol.model.values import CalicoPolicy, HostEndpoint, Policy
from netpol.model.world import Engine, Node, World

EVERY_INTERFACE = "*"


def selected_endpoints(model: CalicoModel, policy: CalicoPolicy) -> tuple[HostEndpoint, ...]:
    """The host endpoints that a policy polices."""
    selector = subject_selector(policy)
    return tuple(h for h in model.all_host_endpoints if selector.matches(model.host_labels(h)))


def forwarding(model: CalicoModel) -> tuple[tuple[HostEndpoint, CalicoPolicy], ...]:
    """Host endpoints with each policy that acts there on what their node forwards."""
    return tuple((h, p) for p in model.forward_policies for h in selected_endpoints(model, p))


def without_hosts(world: World) -> tuple[World, list[str]]:
    """The world without policy on hosts, and the names of what is left out; what acts on pods too stays for them."""
    left_out: list[str] = []
    policies: list[Policy] = []
    for policy in world.policies:
        if isinstance(policy, HostEndpoint) or (isinstance(policy, CalicoPolicy) and policy.hosts_only):
            left_out.append(str(policy.meta))
        elif isinstance(policy, CalicoPolicy) and policy.apply_on_forward:
            left_out.append(f"{policy.meta} (applyOnForward)")
            policies.append(replace(policy, apply_on_forward=False))
        else:
            policies.append(policy)
    return (world.with_policies(policies), left_out) if left_out else (world, [])


def refuse_forwarding(world: World) -> None:
    """Raises UndecidableError where some node that Calico polices forwards under policy on hosts."""
    if not any(Engine.CALICO in node.engines for node in world.nodes):
        return
    for endpoint, policy in forwarding(calico_model(world)):
        if any(_concerns(world, endpoint, node) for node in world.nodes):
            raise UndecidableError(_reason(endpoint, policy, "flows of its pods, and through it,"))


def refuse_passing(world: World, source: Party, destination: Party) -> None:
    """Raises UndecidableError where a flow passes a host endpoint on its way from or to a pod."""
    if all(Engine.CALICO not in who.node.engines for who in (source, destination) if who.node is not None):
        return
    inside = source.pod is not None and destination.pod is not None and source.node == destination.node
    for who, other in ((source, destination), (destination, source)):
        if who.pod is None or who.node is None:
            continue
        if other.local and other.node is None:
            refuse_at(world, who.node, "an address that the node serves itself is")
        for endpoint, policy in forwarding(calico_model(world)):
            if _concerns(world, endpoint, who.node) and (not inside or endpoint.interface in ("", EVERY_INTERFACE)):
                raise UndecidableError(_reason(endpoint, policy, f"flows from and to {who.pod} are"))


def refuse_entering(world: World, node: Node) -> None:
    """Raises UndecidableError where what enters by a node's own ports meets policy on hosts."""
    for endpoint, policy in forwarding(calico_model(world)):
        if _concerns(world, endpoint, node):
            raise UndecidableError(_reason(endpoint, policy, f"flows by way of node {node.name} are"))


def refuse_at(world: World, node: Node, what: str) -> None:
    """Raises UndecidableError where a node's own traffic is policed."""
    for endpoint in calico_model(world).all_host_endpoints:
        if _concerns(world, endpoint, node):
            where = node.name or endpoint.node
            raise UndecidableError(
                f"node {where} has a host endpoint ({endpoint.meta}): {what} under policy on hosts, which is not "
                "modelled"
            )


def _concerns(world: World, endpoint: HostEndpoint, node: Node) -> bool:
    """Whether the endpoint is on the node. One on a node that nobody gave may be on any."""
    there = endpoint.node == node.name or endpoint.node not in world.node_by_name
    return there and Engine.CALICO in node.engines


def _reason(endpoint: HostEndpoint, policy: CalicoPolicy, what: str) -> str:
    how = "preDNAT" if policy.pre_dnat else "doNotTrack" if policy.do_not_track else "applyOnForward"
    where = f" ({policy.meta.place})" if policy.meta.place.line else ""
    return (
        f"{policy.meta}{where} has {how} and selects {endpoint.meta} of node {endpoint.node or 'no name'}: {what} "
        "policed there as well, which is not modelled. Leave both out to ask about the pods alone (--without-hosts)"
    )
