"""What a translation into Cilium's words will most likely refuse, told from the rules before anybody translates."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from netpol.decide import calico
from netpol.lint.finding import Finding
from netpol.model.selector import Selector, keys
from netpol.model.values import (
    EXTENDED_PROTOCOLS,
    ICMP,
    ICMP6,
    WITH_PORTS,
    CalicoPolicy,
    CalicoRule,
    Entity,
    ServiceRef,
    protocol_name,
)
from netpol.model.world import World

_CALICOS = ("projectcalico.org/", calico.NAMESPACE_PREFIX, calico.ACCOUNT_PREFIX)


def forecast(world: World) -> Iterator[Finding]:
    """A finding for each rule that has something for which Cilium has no exact words."""
    for policy in world.of(CalicoPolicy):
        if policy.staged or policy.pre_dnat or policy.do_not_track:
            continue
        if found := _labels(policy.selector, world.cilium.counts):
            yield _finding(policy, None, f"its selector asks for {found}, {_NO_IDENTITY}", _OTHER_LABEL)
        for rule in (*policy.ingress, *policy.egress):
            if rule.action == "Log":
                continue
            for message, fix in (*_packets(rule, world), *_peers(rule, policy.meta.namespace, world)):
                yield _finding(policy, rule, message, fix)


_NO_IDENTITY = "which Cilium's identities do not have"
_OTHER_LABEL = "select by a label that pods keep, such as app, and see that Cilium's label filter lets it through"


def _packets(rule: CalicoRule, world: World) -> Iterator[tuple[str, str]]:
    if rule.source.ports or rule.source.not_ports:
        yield "it asks for source ports, and Cilium's rules know those of the destination only", "drop the source ports"
    for icmp in (rule.icmp, rule.not_icmp):
        if icmp is not None and icmp.code is not None:
            yield "it asks for an ICMP code, and Cilium tells ICMP apart by type alone", "drop the code"
        elif icmp is not None and icmp.type == 0:
            yield "it asks for ICMP type 0, which to Cilium is every type", "ask for no type, or for the request (8)"
    if (protocol := rule.protocol) is not None and protocol not in (*WITH_PORTS, ICMP, ICMP6):
        named = world.cilium.extended_protocols and protocol in EXTENDED_PROTOCOLS.values()
        if not named:
            yield (
                f"it is about {protocol_name(protocol)}, and Cilium has rules for TCP, UDP, SCTP and ICMP",
                "widen it to every protocol, or drop it if no pod speaks that protocol",
            )
    if rule.not_protocol is not None:
        yield (
            "what it matches includes every protocol but one, and Cilium has rules for TCP, UDP, SCTP and ICMP",
            "name the protocols that are meant",
        )


def _known(wanted: ServiceRef, namespace: str, world: World) -> bool:
    """Whether the service can be written out."""
    key = (wanted.namespace or namespace, wanted.name)
    service = world.service_by_name.get(key)
    backends = world.endpoints(*key)
    return bool(service and service.selector) or (backends is not None and all(b.pod is None for b in backends))


def _peers(rule: CalicoRule, namespace: str, world: World) -> Iterator[tuple[str, str]]:
    for side in (rule.source, rule.destination):
        if side.service is not None and not _known(side.service, namespace, world):
            yield (
                "it names a service of which no selector is given, and Cilium's rules are about pods",
                "give the Service, or select its pods and name their ports",
            )
        for selector in _selectors(side):
            if found := _labels(selector, world.cilium.counts):
                yield f"it selects by {found}, {_NO_IDENTITY}", _OTHER_LABEL
        if found := _held(side, world):
            yield (
                f"{found} holds addresses of some pods and not of others, and Cilium's networks find no pods",
                "select those pods by labels, or name a network that holds all pods or none",
            )


def _selectors(side: Entity) -> list[Selector]:
    return [s for s in (side.selector, side.not_selector) if s is not None]


def _labels(selector: Selector, counts: Callable[[str], bool]) -> str:
    found = sorted(k for k in keys(selector) if not k.startswith(_CALICOS) and not counts(k))
    return f"the label {found[0]}" if found else ""


def _held(side: Entity, world: World) -> str:
    """A network of the side that holds the addresses of some pods of a family and not of all."""
    pods = [a for pod in world.pods if not pod.host_network for a in pod.addresses]
    for net in (*side.nets, *side.not_nets):
        inside = [a in net for a in pods if a.version == net.version]
        if any(inside) and not all(inside):
            return str(net)
    return ""


def _finding(policy: CalicoPolicy, rule: CalicoRule | None, message: str, fix: str) -> Finding:
    return Finding(
        code="untranslatable",
        policy=str(policy.meta),
        rule=rule.where if rule is not None else "",
        place=rule.place if rule is not None else policy.meta.place,
        message=f"{message}: `translate` will refuse it where that decides a flow",
        fix=fix,
    )
