"""AdminNetworkPolicy and BaselineAdminNetworkPolicy (policy.networking.k8s.io/v1alpha1) as values."""

from __future__ import annotations

from netpol.model.ranges import PORT_MAX
from netpol.model.values import AdminPolicy, ClusterPort, ClusterRule, Port
from netpol.read.common import metadata, spec_of
from netpol.read.kubernetes import PORT_PROTOCOLS, cluster_peer, priority_of, subject_of
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
    namespaces, pods = subject_of(spec)
    policy = AdminPolicy(
        meta=meta,
        tier="Admin" if admin else "Baseline",
        priority=priority_of(spec) if admin else 0,
        namespaces=namespaces,
        pods=pods,
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
        peers=reader.each(side, lambda p, _: cluster_peer(p, egress=side == "to")),
        ports=reader.each("ports", _port),
        place=reader.place(),
    )
    reader.done()
    return rule


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
