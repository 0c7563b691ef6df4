"""AdminNetworkPolicy and BaselineAdminNetworkPolicy (policy.networking.k8s.io/v1alpha1) as values."""

from __future__ import annotations

from netpol.model.ranges import PORT_MAX
from netpol.model.selector import ALL, Selector
from netpol.model.values import AdminPolicy, ClusterPeer, ClusterPort, ClusterRule, Port
from netpol.read.common import label_selector, metadata, selector_of, spec_of
from netpol.read.kubernetes import PORT_PROTOCOLS, namespaced_pods
from netpol.read.reader import Reader

_ADMIN = "AdminNetworkPolicy"
_BASELINE_NAME = "default"


def admin_policy(doc: Reader) -> AdminPolicy:
    """Of the baseline kind there is one, `default`, without a priority or Pass."""
    meta = metadata(doc, namespaced=False)
    admin = meta.kind == _ADMIN
    if not admin and meta.name != _BASELINE_NAME:
        doc.wrong(f"a {meta.kind} is named {_BASELINE_NAME}", "metadata")
    spec = spec_of(doc)
    subject = spec_of(spec, "subject")
    namespaces, pods = label_selector(subject, "namespaces"), subject.child("pods")
    subject.done()
    if (namespaces is None) == (pods is None):
        subject.wrong("exactly one of namespaces and pods is required")
    selector: Selector | None = None
    if pods is not None:
        namespaces, selector = namespaced_pods(pods)
    priority = spec.integer("priority", 0, 1000) if admin else 0
    if priority is None and not spec.has("priority"):
        spec.wrong("is required", "priority")
    policy = AdminPolicy(
        meta=meta,
        tier="Admin" if admin else "Baseline",
        priority=priority or 0,
        namespaces=namespaces or ALL,
        pods=selector,
        ingress=spec.each("ingress", lambda r, i: _rule(r, f"ingress[{i}]", "from", admin=admin)),
        egress=spec.each("egress", lambda r, i: _rule(r, f"egress[{i}]", "to", admin=admin)),
    )
    spec.done()
    doc.done("status")
    return policy


def _rule(reader: Reader, where: str, side: str, *, admin: bool) -> ClusterRule:
    peers = reader.children(side)
    if not peers:
        raise reader.error("at least one peer is required", side)
    action = reader.text("action", choices=("Allow", "Deny", "Pass") if admin else ("Allow", "Deny"))
    rule = ClusterRule(
        action="Accept" if action == "Allow" else action,
        where=where,
        name=reader.text("name", ""),
        peers=reader.each(side, lambda p, _: _peer(p, egress=side == "to")),
        ports=reader.each("ports", _port),
        place=reader.place(),
    )
    reader.done()
    return rule


def _peer(reader: Reader, *, egress: bool) -> ClusterPeer:
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


def _port(reader: Reader, _: int) -> ClusterPort:
    number, span, name = reader.child("portNumber"), reader.child("portRange"), reader.text("namedPort", "")
    reader.done()
    if (number is not None) + (span is not None) + bool(name) != 1:
        raise reader.error("exactly one of portNumber, portRange and namedPort is required")
    if name:
        return ClusterPort(port=Port(name=name))
    inner = number if number is not None else span
    assert inner is not None  # noqa: S101
    protocol = PORT_PROTOCOLS[inner.text("protocol", "TCP", choices=PORT_PROTOCOLS)]
    keys = ("port", "port") if number is not None else ("start", "end")
    first, last = (inner.integer(key, 1, PORT_MAX) for key in keys)
    inner.done()
    if first is None or last is None or first > last:
        raise inner.error(f"{' and '.join(dict.fromkeys(keys))} required, the lower one first")
    return ClusterPort(protocol=protocol, port=Port(first, last))
