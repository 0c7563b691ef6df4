"""Cilium's objects as values: CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy, CiliumCIDRGroup.

What Cilium's sanitizer refuses (pkg/policy/api/rule_validation.go, v1.20) is refused here, before it can be
applied and be dropped by the agents.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from netpol.model.identity import NAMESPACE
from netpol.model.ranges import PORT_MAX, whole
from netpol.model.selector import Selector, keys, rename
from netpol.model.values import (
    DIRECTIONS,
    EGRESS,
    EXTENDED_PROTOCOLS,
    INGRESS,
    SCTP,
    TCP,
    UDP,
    CidrGroup,
    CidrPeer,
    CiliumPolicy,
    CiliumPort,
    CiliumRule,
    CiliumService,
    CiliumSpec,
    IcmpType,
    Port,
)
from netpol.read.common import is_port_name, metadata, selector_of
from netpol.read.reader import Reader
from reading import brief

ENTITIES = (
    "all",
    "world",
    "world-ipv4",
    "world-ipv6",
    "cluster",
    "cluster-mesh",
    "host",
    "init",
    "ingress",
    "unmanaged",
    "remote-node",
    "health",
    "none",
    "kube-apiserver",
)
MAX_ITEMS = 40
"""Most ports in one toPorts item, and most fields in one icmps item."""

_PORTED = {"TCP": TCP, "UDP": UDP, "SCTP": SCTP}
_ICMP_NAMES = {
    4: {
        "EchoReply": 0,
        "DestinationUnreachable": 3,
        "Redirect": 5,
        "Echo": 8,
        "EchoRequest": 8,
        "RouterAdvertisement": 9,
        "RouterSelection": 10,
        "TimeExceeded": 11,
        "ParameterProblem": 12,
        "Timestamp": 13,
        "TimestampReply": 14,
        "Photuris": 40,
        "ExtendedEchoRequest": 42,
        "ExtendedEcho Reply": 43,
    },
    6: {
        "DestinationUnreachable": 1,
        "PacketTooBig": 2,
        "TimeExceeded": 3,
        "ParameterProblem": 4,
        "EchoRequest": 128,
        "EchoReply": 129,
        "MulticastListenerQuery": 130,
        "MulticastListenerReport": 131,
        "MulticastListenerDone": 132,
        "RouterSolicitation": 133,
        "RouterAdvertisement": 134,
        "NeighborSolicitation": 135,
        "NeighborAdvertisement": 136,
        "RedirectMessage": 137,
    },
}


def cilium_policy(doc: Reader) -> CiliumPolicy:
    clusterwide = doc.text("kind") == "CiliumClusterwideNetworkPolicy"
    meta = metadata(doc, namespaced=not clusterwide)
    readers = [("spec", doc.child("spec"))]
    readers += [(f"specs[{i}]", reader) for i, reader in enumerate(doc.children("specs"))]
    specs = tuple(_spec(r, where, clusterwide=clusterwide) for where, r in readers if r is not None)
    doc.done("status")
    if not specs:
        raise doc.error("spec or specs is required")
    return CiliumPolicy(meta=meta, specs=specs)


def _spec(reader: Reader, where: str, *, clusterwide: bool) -> CiliumSpec:
    endpoints, nodes = _selector(reader, "endpointSelector"), _selector(reader, "nodeSelector", nodes=True)
    if (endpoints is None) == (nodes is None):
        raise reader.error("exactly one of endpointSelector and nodeSelector is required")
    if nodes is not None and not clusterwide:
        raise reader.error("only a CiliumClusterwideNetworkPolicy selects nodes", "nodeSelector")
    if endpoints is not None and not clusterwide and NAMESPACE in keys(endpoints):
        raise reader.error("a CiliumNetworkPolicy applies in its own namespace only", "endpointSelector")
    rules: list[CiliumRule] = []
    for direction in DIRECTIONS:
        for key, deny in ((direction, False), (f"{direction}Deny", True)):
            rules += reader.each(key, partial(_rule, where=f"{where}.{key}", direction=direction, deny=deny))
    switches = reader.child("enableDefaultDeny")
    default_deny: dict[str, bool | None] = dict.fromkeys(DIRECTIONS)
    if switches is not None:
        for direction in DIRECTIONS:
            if switches.has(direction):
                default_deny[direction] = switches.flag(direction)
        switches.done()
    description = reader.text("description", "")
    reader.raw("labels")
    reader.raw("log")
    reader.done()
    if not rules:
        raise reader.error("at least one of ingress, ingressDeny, egress and egressDeny must have a rule")
    return CiliumSpec(
        where=where,
        endpoints=endpoints,
        nodes=nodes,
        rules=tuple(rules),
        default_deny=default_deny,
        description=description,
    )


def _selector(parent: Reader, key: str, *, nodes: bool = False) -> Selector | None:
    reader = parent.child(key)
    if reader is None:
        return None
    return rename(selector_of(reader), _unprefix(parent, key, nodes=nodes))


def _unprefix(reader: Reader, key: str, *, nodes: bool = False) -> Callable[[str], str]:
    """Label sources: `k8s:` and `any:` are dropped (pods have no other user labels), `reserved:` is kept."""

    def bare(label: str) -> str:
        source, colon, rest = label.partition(":")
        if not colon:
            return label
        if source in ("k8s", "any") or (nodes and source == "node"):
            return rest
        if source == "reserved":
            return label
        reader.wrong(f"label source {brief(source)} of {brief(label)} is not known here", key)
        return label

    return bare


def _selectors(reader: Reader, key: str, *, nodes: bool = False) -> tuple[Selector, ...] | None:
    if not reader.has(key):
        return None
    return tuple(rename(selector_of(item), _unprefix(reader, key, nodes=nodes)) for item in reader.children(key))


def _rule(reader: Reader, index: int, *, where: str, direction: str, deny: bool) -> CiliumRule:
    side = "from" if direction == INGRESS else "to"
    names: dict[str, bool] = {
        f"{side}Endpoints": False,
        f"{side}Nodes": False,
        f"{side}Entities": False,
        f"{side}CIDR": False,
        f"{side}CIDRSet": False,
        f"{side}Groups": False,
        **({"toServices": False, "toFQDNs": False} if direction == EGRESS else {}),
    }
    for name in names:
        names[name] = bool(reader.list_of(name))
    given = [name for name, is_given in names.items() if is_given]
    if len(given) > 1:
        raise reader.error(f"{' and '.join(given)} cannot share a rule: split it", given[1])
    if names.get("toFQDNs") and deny:
        raise reader.error("is not allowed in a deny rule", "toFQDNs")
    if reader.list_of("fromRequires") or reader.list_of("toRequires"):
        raise reader.error("fromRequires and toRequires are gone since Cilium 1.17")
    ports, l7 = _ports(reader, direction, deny=deny)
    icmps = _icmps(reader)
    if reader.list_of("icmps") and reader.list_of("toPorts"):
        raise reader.error("icmps and toPorts cannot share a rule: split it", "icmps")
    if not deny and reader.has("authentication"):
        l7 = l7 or "authentication"
    rule = CiliumRule(
        direction=direction,
        deny=deny,
        where=f"{where}[{index}]",
        endpoints=_selectors(reader, f"{side}Endpoints"),
        nodes=_selectors(reader, f"{side}Nodes", nodes=True),
        entities=reader.strings(f"{side}Entities", choices=ENTITIES) if reader.has(f"{side}Entities") else None,
        cidrs=_cidrs(reader, side),
        services=_services(reader) if direction == EGRESS else None,
        domains=tuple(map(str, reader.list_of("toFQDNs"))) if direction == EGRESS else (),
        groups=names[f"{side}Groups"],
        ports=ports,
        icmps=icmps,
        l7=l7,
        place=reader.place(),
    )
    reader.done()
    return rule


def _cidrs(reader: Reader, side: str) -> tuple[CidrPeer, ...] | None:
    plain, sets = f"{side}CIDR", f"{side}CIDRSet"
    if not reader.has(plain) and not reader.has(sets):
        return None
    peers = [CidrPeer(cidr=net) for net in reader.networks(plain)]
    for item in reader.children(sets):
        kinds = [k for k in ("cidr", "cidrGroupRef", "cidrGroupSelector") if item.has(k)]
        if len(kinds) != 1:
            raise item.error("exactly one of cidr, cidrGroupRef and cidrGroupSelector is required")
        excepted = item.networks("except", address_ok=False)
        if kinds[0] == "cidr":
            cidr = item.network("cidr")
            if "/" not in item.text("cidr"):
                raise item.error(f"{brief(item.text('cidr'))} has no prefix length", "cidr")
            for i, net in enumerate(excepted):
                if net.version != cidr.version or not net.subnet_of(cidr):  # type: ignore[arg-type]
                    raise item.item_error("except", i, f"{net} is not inside {cidr}")
            peers.append(CidrPeer(cidr=cidr, excepted=excepted))
        elif excepted:
            raise item.error("except works with cidr only", "except")
        elif kinds[0] == "cidrGroupRef":
            peers.append(CidrPeer(group=item.text("cidrGroupRef")))
        else:
            child = item.child("cidrGroupSelector")
            assert child is not None  # noqa: S101
            peers.append(CidrPeer(group_selector=selector_of(child)))
        item.done()
    return tuple(peers)


def _services(reader: Reader) -> tuple[CiliumService, ...] | None:
    if not reader.has("toServices"):
        return None
    out: list[CiliumService] = []
    for item in reader.children("toServices"):
        named, selected = item.child("k8sService"), item.child("k8sServiceSelector")
        item.done()
        if named is not None:
            out.append(CiliumService(name=named.text("serviceName"), namespace=named.text("namespace", "")))
            named.done()
        elif selected is not None:
            inner = selected.child("selector")
            if inner is None:
                raise selected.error("is required", "selector")
            out.append(CiliumService(selector=selector_of(inner), namespace=selected.text("namespace", "")))
            selected.done()
        else:
            raise item.error("one of k8sService and k8sServiceSelector is required")
    return tuple(out)


def _ports(reader: Reader, direction: str, *, deny: bool) -> tuple[tuple[CiliumPort, ...] | None, str]:
    items = reader.children("toPorts")
    if not items:
        return None, ""
    out: list[CiliumPort] = []
    l7 = ""
    for item in items:
        count = len(item.list_of("ports"))
        if count > MAX_ITEMS:
            item.wrong(f"at most {MAX_ITEMS} ports, these are {count}", "ports")
        out.extend(item.each("ports", _port))
        for key in ("rules", "terminatingTLS", "originatingTLS", "serverNames", "listener"):
            if item.has(key):
                if deny:
                    raise item.error("is not allowed in a deny rule", key)
                l7 = l7 or key
        rules = item.child("rules")
        if rules is not None and rules.has("dns") and direction == INGRESS:
            raise item.error("DNS rules are not allowed on ingress", "rules")
        item.done()
    return tuple(out), l7


def _port(reader: Reader, _: int) -> CiliumPort:
    name = reader.text("protocol", "ANY").upper() or "ANY"
    if name != "ANY" and name not in _PORTED and name not in EXTENDED_PROTOCOLS:
        raise reader.error(f"{brief(name)} is not one of ANY, {', '.join((*_PORTED, *EXTENDED_PROTOCOLS))}", "protocol")
    protocol = None if name == "ANY" else _PORTED.get(name) or EXTENDED_PROTOCOLS[name]
    text, last = reader.text("port", ""), reader.integer("endPort", 0, PORT_MAX) or 0
    reader.done()
    if name in EXTENDED_PROTOCOLS:
        if text not in ("", "0"):
            raise reader.error("this protocol has no ports", "port")
        return CiliumPort(protocol=protocol)
    if is_port_name(text):
        return CiliumPort(protocol=protocol, port=Port(name=text.lower()))
    number = whole(text, PORT_MAX)
    if number is None:
        raise reader.error(f"{brief(text)} is not a port number 0-{PORT_MAX} or a name", "port")
    if number == 0:
        return CiliumPort(protocol=protocol)
    # An endPort at or below the port is no range to Cilium (pkg/policy/l4.go, keysForRange).
    return CiliumPort(protocol=protocol, port=Port(number, max(last, number)))


def _icmps(reader: Reader) -> tuple[IcmpType, ...] | None:
    items = reader.children("icmps")
    if not items:
        return None
    out: list[IcmpType] = []
    for item in items:
        fields = item.children("fields")
        item.done()
        if len(fields) > MAX_ITEMS:
            raise item.error(f"at most {MAX_ITEMS} fields, these are {len(fields)}", "fields")
        for one in fields:
            family = 6 if one.text("family", "IPv4", choices=("IPv4", "IPv6")) == "IPv6" else 4
            value = one.raw("type")
            one.done()
            if isinstance(value, str):
                value = _ICMP_NAMES[family].get(value, whole(value, 255))
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 255:
                raise one.error(f"{brief(one.value.get('type'))} is not an ICMP type of IPv{family}", "type")
            out.append(IcmpType(family, value))
    return tuple(out)


def cidr_group(doc: Reader) -> CidrGroup:
    meta = metadata(doc, namespaced=False)
    spec = doc.child("spec")
    if spec is None:
        raise doc.error("is required", "spec")
    nets = spec.networks("externalCIDRs")
    spec.done()
    doc.done("status")
    return CidrGroup(meta=meta, nets=nets)
