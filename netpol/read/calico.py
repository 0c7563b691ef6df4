"""Calico's objects, `projectcalico.org/v3` and `crd.projectcalico.org/v1`, as values.

The two API groups differ in one thing that decides traffic: without `types`, v3 infers the directions from the rules
that are there (none: ingress), whereas an object written straight to the CRD governs both directions
(felix/calc/policy_sorter.go, ExtractPolicyMetadata).
"""

from __future__ import annotations

from netpol.model.ranges import PORT_MAX, whole
from netpol.model.selector import ALL
from netpol.model.values import (
    ANYBODY,
    DIRECTIONS,
    EGRESS,
    ICMP,
    ICMP6,
    INGRESS,
    PROTOCOLS,
    WITH_PORTS,
    CalicoPolicy,
    CalicoRule,
    Entity,
    HostEndpoint,
    Icmp,
    KubernetesPolicy,
    NetworkSet,
    Port,
    Profile,
    ServiceRef,
    Tier,
)
from netpol.read.common import calico_selector, is_calico_port_name, metadata, spec_of
from netpol.read.kubernetes import kubernetes_policy
from netpol.read.reader import Reader
from reading import brief

V3, V1 = "projectcalico.org/v3", "crd.projectcalico.org/v1"
_BY_NAME = {name.lower(): number for name, number in PROTOCOLS.items()}
_ORDER_LIMIT = 1e300


def network_policy(doc: Reader) -> CalicoPolicy:
    return _policy(doc, namespaced=True)


def global_network_policy(doc: Reader) -> CalicoPolicy:
    return _policy(doc, namespaced=False)


def staged_kubernetes_policy(doc: Reader) -> KubernetesPolicy | None:
    """A staged Kubernetes policy decides nothing; it is read so that its faults are seen."""
    kubernetes_policy(doc, staged=True)
    return None


def _policy(doc: Reader, *, namespaced: bool) -> CalicoPolicy:
    meta = metadata(doc, namespaced=namespaced)
    spec = spec_of(doc)
    staged = meta.kind.startswith("Staged")
    if staged:
        spec.text("stagedAction", "Set", choices=("Set", "Delete", "Learn", "Ignore"))
    ingress, egress = _rules(spec, INGRESS), _rules(spec, EGRESS)
    policy = CalicoPolicy(
        meta=meta,
        tier=spec.text("tier", "default") or "default",
        order=spec.number("order", -_ORDER_LIMIT, _ORDER_LIMIT),
        selector=calico_selector(spec, "selector") or ALL,
        namespace_selector=None if namespaced else calico_selector(spec, "namespaceSelector"),
        service_account_selector=calico_selector(spec, "serviceAccountSelector"),
        directions=_directions(spec, meta.api, ingress, egress),
        ingress=ingress,
        egress=egress,
        staged=staged,
        apply_on_forward=False if namespaced else spec.flag("applyOnForward"),
        pre_dnat=False if namespaced else spec.flag("preDNAT"),
        do_not_track=False if namespaced else spec.flag("doNotTrack"),
    )
    spec.strings("performanceHints")
    spec.done()
    doc.done("status")
    if (policy.pre_dnat or policy.do_not_track) and not policy.apply_on_forward:
        spec.wrong("preDNAT and doNotTrack need applyOnForward: true", "applyOnForward")
    if policy.pre_dnat and policy.egress:
        spec.wrong("a preDNAT policy has no egress rules", "egress")
    return policy


def _directions(
    spec: Reader, api: str, ingress: tuple[CalicoRule, ...], egress: tuple[CalicoRule, ...]
) -> frozenset[str]:
    types = frozenset(t.lower() for t in spec.strings("types", choices=("Ingress", "Egress")))
    if types:
        return types
    if api == V1:
        return frozenset(DIRECTIONS)
    if egress:
        return frozenset(DIRECTIONS) if ingress else frozenset((EGRESS,))
    return frozenset((INGRESS,))


def _rules(spec: Reader, direction: str) -> tuple[CalicoRule, ...]:
    return spec.each(direction, lambda reader, i: _rule(reader, f"{direction}[{i}]"))


def _rule(reader: Reader, where: str) -> CalicoRule:
    rule = CalicoRule(
        action=reader.text("action", choices=("Allow", "Deny", "Log", "Pass")),
        where=where,
        protocol=_protocol(reader, "protocol"),
        not_protocol=_protocol(reader, "notProtocol"),
        icmp=_icmp(reader, "icmp"),
        not_icmp=_icmp(reader, "notICMP"),
        ip_version=reader.integer("ipVersion", 4, 6),
        source=_entity(reader, "source"),
        destination=_entity(reader, "destination"),
        http=reader.has("http"),
        place=reader.place(),
    )
    reader.raw("metadata")
    reader.done()
    if rule.ip_version == 5:
        raise reader.error("must be 4 or 6", "ipVersion")
    for side, entity in (("source", rule.source), ("destination", rule.destination)):
        ported = bool(entity.ports or entity.not_ports)
        if ported and rule.protocol not in WITH_PORTS:
            raise reader.error("ports need protocol TCP, UDP or SCTP", side)
        if entity.service is not None and (ported or entity.nets or entity.not_nets or entity.selector):
            raise reader.error("services cannot be combined with ports, nets or selectors", side)
    if (rule.icmp or rule.not_icmp) and rule.protocol not in (ICMP, ICMP6):
        raise reader.error("icmp and notICMP need protocol ICMP or ICMPv6", "protocol")
    if (rule.ip_version == 4 and rule.protocol == ICMP6) or (rule.ip_version == 6 and rule.protocol == ICMP):
        raise reader.error("this protocol does not belong to that ipVersion", "ipVersion")
    return rule


def _protocol(reader: Reader, key: str) -> int | None:
    value = reader.raw(key)
    if value is None:
        return None
    if isinstance(value, str):
        if value.lower() in _BY_NAME:
            return _BY_NAME[value.lower()]
        value = whole(value, 255) or value
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 255:
        return value
    reader.wrong(f"{brief(value)} is not a number 1-255 or one of {', '.join(PROTOCOLS)}", key)
    return None


def _icmp(reader: Reader, key: str) -> Icmp | None:
    child = reader.child(key)
    if child is None:
        return None
    icmp = Icmp(child.integer("type", 0, 254), child.integer("code", 0, 255))
    child.done()
    if icmp.code is not None and icmp.type is None:
        raise child.error("a code needs a type", "code")
    return icmp if icmp != Icmp() else None


def _entity(reader: Reader, key: str) -> Entity:
    child = reader.child(key)
    if child is None:
        return ANYBODY
    accounts = child.child("serviceAccounts")
    names: tuple[str, ...] = ()
    account_selector = None
    if accounts is not None:
        names, account_selector = accounts.strings("names"), calico_selector(accounts, "selector")
        accounts.done()
    services = child.child("services")
    service = None
    if services is not None:
        service = ServiceRef(name=services.text("name"), namespace=services.text("namespace", ""))
        services.done()
    entity = Entity(
        selector=calico_selector(child, "selector"),
        not_selector=calico_selector(child, "notSelector"),
        namespace_selector=calico_selector(child, "namespaceSelector"),
        service_accounts=names,
        service_account_selector=account_selector,
        nets=child.networks("nets"),
        not_nets=child.networks("notNets"),
        ports=_ports(child, "ports"),
        not_ports=_ports(child, "notPorts"),
        service=service,
    )
    child.done()
    return entity


def _ports(reader: Reader, key: str) -> tuple[Port, ...]:
    return reader.items(key, lambda i, item: _port(reader, key, i, item))


def _port(reader: Reader, key: str, index: int, item: object) -> Port:
    if isinstance(item, int) and not isinstance(item, bool):
        item = str(item)
    if isinstance(item, str):
        first, colon, last = item.partition(":")
        low, high = whole(first, PORT_MAX), whole(last if colon else first, PORT_MAX)
        if low is not None and high is not None and low <= high:
            return Port(low, high)
        if is_calico_port_name(item):
            return Port(name=item)
    raise reader.item_error(
        key, index, f"{brief(item)} is not a port, a range 'a:b' within 0-{PORT_MAX} or a port name"
    )


def tier(doc: Reader) -> Tier:
    meta = metadata(doc, namespaced=False)
    spec = spec_of(doc)
    out = Tier(
        meta=meta,
        order=spec.number("order", -_ORDER_LIMIT, _ORDER_LIMIT),
        default_action=spec.text("defaultAction", "Deny", choices=("Deny", "Pass")),
    )
    spec.done()
    doc.done("status")
    return out


def network_set(doc: Reader) -> NetworkSet:
    meta = metadata(doc, namespaced=doc.text("kind") == "NetworkSet")
    spec = doc.child("spec")
    nets = spec.networks("nets") if spec else ()
    if spec:
        spec.done()
    doc.done("status")
    return NetworkSet(meta=meta, nets=nets)


def profile(doc: Reader) -> Profile:
    meta = metadata(doc, namespaced=False)
    spec = spec_of(doc)
    out = Profile(
        meta=meta,
        labels_to_apply=spec.labels("labelsToApply"),
        ingress=_rules(spec, INGRESS),
        egress=_rules(spec, EGRESS),
    )
    spec.done()
    doc.done("status")
    return out


def host_endpoint(doc: Reader) -> HostEndpoint:
    meta = metadata(doc, namespaced=False)
    spec = spec_of(doc)
    out = HostEndpoint(
        meta=meta,
        node=spec.text("node", ""),
        interface=spec.text("interfaceName", ""),
        expected_ips=spec.networks("expectedIPs"),
        profiles=spec.strings("profiles"),
    )
    spec.raw("ports")
    spec.done()
    doc.done("status")
    return out
