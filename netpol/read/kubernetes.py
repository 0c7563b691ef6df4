"""Kubernetes NetworkPolicy and ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2, v1beta1) as values."""

from __future__ import annotations

from netpol.model.ranges import PORT_MAX
from netpol.model.selector import ALL, Selector
from netpol.model.values import (
    EGRESS,
    INGRESS,
    SCTP,
    TCP,
    UDP,
    ClusterPeer,
    ClusterPolicy,
    ClusterPort,
    ClusterRule,
    KubernetesPeer,
    KubernetesPolicy,
    KubernetesPort,
    KubernetesRule,
    Port,
)
from netpol.read.common import is_port_name, label_selector, metadata, selector_of, spec_of
from netpol.read.reader import Reader
from reading import brief

PORT_PROTOCOLS = {"TCP": TCP, "UDP": UDP, "SCTP": SCTP}


def kubernetes_policy(doc: Reader, *, staged: bool = False) -> KubernetesPolicy:
    """Without `policyTypes` the API server fills in Ingress, and Egress when there are egress rules; so do we."""
    meta = metadata(doc, namespaced=True)
    spec = spec_of(doc)
    if staged:
        spec.text("stagedAction", "Set")
    pods = label_selector(spec, "podSelector")
    # An empty `podSelector:` is there, and to the API server it is {}.
    if "podSelector" not in spec.value and not staged:
        spec.wrong("is required ({} selects every pod of the namespace)", "podSelector")
    ingress = spec.each("ingress", lambda r, i: _rule(r, f"ingress[{i}]", "from"))
    egress = spec.each("egress", lambda r, i: _rule(r, f"egress[{i}]", "to"))
    types = frozenset(t.lower() for t in spec.strings("policyTypes", choices=("Ingress", "Egress")))
    if not types:
        types = frozenset((INGRESS, EGRESS)) if egress else frozenset((INGRESS,))
    spec.done()
    doc.done("status")
    return KubernetesPolicy(meta=meta, pods=pods or ALL, directions=types, ingress=ingress, egress=egress)


def _rule(reader: Reader, where: str, side: str) -> KubernetesRule:
    rule = KubernetesRule(
        where=where,
        peers=reader.each(side, _peer),
        ports=reader.each("ports", _port),
        place=reader.place(),
    )
    reader.done()
    return rule


def _peer(reader: Reader, _: int) -> KubernetesPeer:
    block = reader.child("ipBlock")
    pods, namespaces = label_selector(reader, "podSelector"), label_selector(reader, "namespaceSelector")
    reader.done()
    if block is None:
        if pods is None and namespaces is None:
            raise reader.error("a peer needs podSelector, namespaceSelector or ipBlock ({} selects all)")
        return KubernetesPeer(pods=pods, namespaces=namespaces)
    if pods is not None or namespaces is not None:
        raise reader.error("cannot be combined with a selector", "ipBlock")
    cidr, excepted = block.network("cidr"), block.networks("except", address_ok=False)
    for i, net in enumerate(excepted):
        if net.version != cidr.version or not net.subnet_of(cidr):  # type: ignore[arg-type]
            raise block.item_error("except", i, f"{net} is not inside {cidr}")
    block.done()
    return KubernetesPeer(block=cidr, excepted=excepted)


def _port(reader: Reader, _: int) -> KubernetesPort:
    protocol = PORT_PROTOCOLS[reader.text("protocol", "TCP", choices=PORT_PROTOCOLS)]
    value, last = reader.raw("port"), reader.integer("endPort", 1, PORT_MAX)
    reader.done()
    if value is None:
        if last is not None:
            raise reader.error("needs port", "endPort")
        return KubernetesPort(protocol=protocol)
    if isinstance(value, str):
        # In quotes it is a name, and to the API server a name has a letter.
        if not is_port_name(value):
            raise reader.error(f"{brief(value)} is neither a number nor a port name, which has a letter", "port")
        if last is not None:
            raise reader.error("cannot be combined with a named port", "endPort")
        return KubernetesPort(protocol=protocol, port=Port(name=value))
    number = reader.integer("port", 1, PORT_MAX)
    if number is None:
        return KubernetesPort(protocol=protocol)
    if last is not None and last < number:
        raise reader.error(f"{last} is below port {number}", "endPort")
    return KubernetesPort(protocol=protocol, port=Port(number, last or number))


# --- ClusterNetworkPolicy -------------------------------------------------------------------------


def cluster_policy(doc: Reader) -> ClusterPolicy:
    meta = metadata(doc, namespaced=False)
    spec = spec_of(doc)
    namespaces, pods = subject_of(spec)
    priority = priority_of(spec)
    policy = ClusterPolicy(
        meta=meta,
        tier=spec.text("tier", choices=("Admin", "Baseline")),
        priority=priority,
        namespaces=namespaces,
        pods=pods,
        ingress=spec.each("ingress", lambda r, i: _cluster_rule(r, f"ingress[{i}]", "from")),
        egress=spec.each("egress", lambda r, i: _cluster_rule(r, f"egress[{i}]", "to")),
    )
    spec.done()
    doc.done("status")
    return policy


def subject_of(spec: Reader) -> tuple[Selector, Selector | None]:
    """Whom a cluster-wide policy is about: pods of the namespaces, all of them where there is no second selector."""
    subject = spec_of(spec, "subject")
    namespaces, pods = label_selector(subject, "namespaces"), subject.child("pods")
    subject.done()
    if (namespaces is None) == (pods is None):
        subject.wrong("exactly one of namespaces and pods is required")
    return namespaced_pods(pods) if pods is not None else (namespaces or ALL, None)


def priority_of(spec: Reader) -> int:
    priority = spec.integer("priority", 0, 1000)
    if priority is None and not spec.has("priority"):
        spec.wrong("is required", "priority")
    return priority or 0


def namespaced_pods(reader: Reader) -> tuple[Selector, Selector]:
    namespaces, pods = label_selector(reader, "namespaceSelector"), label_selector(reader, "podSelector")
    reader.done()
    return namespaces or ALL, pods or ALL


def _cluster_rule(reader: Reader, where: str, side: str) -> ClusterRule:
    peers = reader.children(side)
    if not peers:
        raise reader.error("at least one peer is required", side)
    rule = ClusterRule(
        action=reader.text("action", choices=("Accept", "Deny", "Pass")),
        where=where,
        name=reader.text("name", ""),
        peers=reader.each(side, lambda p, _: cluster_peer(p, egress=side == "to")),
        ports=reader.each("protocols", _cluster_port),
        place=reader.place(),
    )
    reader.done()
    return rule


def cluster_peer(reader: Reader, *, egress: bool) -> ClusterPeer:
    """The other end of a cluster-wide rule; `unknown` where it has no field that anybody knows."""
    found: list[ClusterPeer] = []
    namespaces, pods = label_selector(reader, "namespaces"), reader.child("pods")
    if namespaces is not None:
        found.append(ClusterPeer(namespaces=namespaces))
    if pods is not None:
        within, selector = namespaced_pods(pods)
        found.append(ClusterPeer(namespaces=within, pods=selector))
    if egress:
        nodes = reader.child("nodes")
        if nodes is not None:
            found.append(ClusterPeer(nodes=selector_of(nodes)))
        if reader.has("networks"):
            found.append(ClusterPeer(networks=reader.networks("networks", address_ok=False)))
        if reader.has("domainNames"):
            found.append(ClusterPeer(domains=reader.strings("domainNames")))
    reader.done()
    if len(found) > 1:
        raise reader.error("a peer has exactly one of its fields")
    return found[0] if found else ClusterPeer(unknown=True)


def _cluster_port(reader: Reader, _: int) -> ClusterPort:
    name = reader.text("destinationNamedPort", "")
    out = ClusterPort(port=Port(name=name)) if name else None
    for key, number in PORT_PROTOCOLS.items():
        child = reader.child(key.lower())
        if child is None:
            continue
        if out is not None:
            raise reader.error("exactly one of tcp, udp, sctp and destinationNamedPort is required")
        out = ClusterPort(protocol=number, port=_cluster_port_range(child))
    reader.done()
    if out is None:
        raise reader.error("one of tcp, udp, sctp and destinationNamedPort is required")
    return out


def _cluster_port_range(reader: Reader) -> Port | None:
    port = reader.child("destinationPort")
    reader.done()
    if port is None:
        return None
    number, span = port.integer("number", 1, PORT_MAX), port.child("range")
    port.done()
    if (number is None) == (span is None):
        raise port.error("exactly one of number and range is required")
    if span is None:
        return Port(number or 1, number or 1)
    first, last = span.integer("start", 1, PORT_MAX), span.integer("end", 1, PORT_MAX)
    span.done()
    if first is None or last is None or first > last:
        raise span.error("start and end are required, start first")
    return Port(first, last)
