"""Worlds from files and objects: pods, namespaces, nodes, services and policies, in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from netpol.model.errors import Place, PolicyError, WorldError
from netpol.model.named import names_six
from netpol.model.ranges import IPAddress
from netpol.model.values import PROTOCOLS, HostEndpoint, Meta, NetworkSet, Policy
from netpol.model.world import (
    Backend,
    Engine,
    NamedPort,
    Namespace,
    Node,
    Pod,
    Recognition,
    Rest,
    Service,
    ServiceAccount,
    ServicePort,
    Slice,
    World,
    shadowed,
)
from netpol.read import documents
from netpol.read.common import object_name, spec_of
from netpol.read.felix import FELIX, felix
from netpol.read.kinds import passed_over
from netpol.read.notes import Notes
from netpol.read.policies import parse, parses
from netpol.read.reader import Reader, address, shown, taken
from netpol.read.within import policies_within

Value = Policy | Pod | Namespace | Node | Service | ServiceAccount | Slice
"""What one object is in a world."""


def load(paths: Iterable[str | Path], **options: Any) -> World:
    """A world from files and directories. Raises PolicyError with file, line and field.

    `whole=True` says that the cluster has nothing else; otherwise answers that depend on what is not given are none,
    unless `assume` says what to take of it: `closed`, it matches nothing, or `open`, it matches what it can.

    >>> load(["policies/", "cluster.yaml"]).enforced_by("calico")    # doctest: +SKIP
    """
    return from_readers(documents.load(paths), **options)


def from_text(text: str, **options: Any) -> World:
    """A world from one YAML text."""
    return from_readers(documents.load_text(text), **options)


def from_objects(objects: Iterable[Mapping[str, Any]], **options: Any) -> World:
    """A world from plain mappings, such as a live cluster's answers."""
    return from_readers(documents.from_objects(objects), **options)


@dataclass(slots=True)
class Parts:
    """What a world is put together of: values of single objects, in any order."""

    policies: list[Policy] = field(default_factory=list)
    pods: list[Pod] = field(default_factory=list)
    namespaces: list[Namespace] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    services: list[Service] = field(default_factory=list)
    service_accounts: list[ServiceAccount] = field(default_factory=list)
    slices: list[Slice] = field(default_factory=list)
    beyond: list[str] = field(default_factory=list)
    """What objects say that is not modelled, in words."""

    def put(self, value: Value) -> None:
        """Take in what `value_of` made of an object."""
        match value:
            case Pod():
                self.pods.append(value)
            case Namespace():
                self.namespaces.append(value)
            case Node():
                self.nodes.append(value)
            case Service():
                self.services.append(value)
            case ServiceAccount():
                self.service_accounts.append(value)
            case Slice():
                self.slices.append(value)
            case _:
                self.policies.append(value)


def value_of(reader: Reader, notes: Notes | None = None) -> Value | None:
    """What one object is in a world; None where it is nothing there, with the reason in the notes.

    Raises PolicyError with every fault of the object.
    """
    if parses(reader):
        return parse(reader)
    if reader.kind in _SLICES:
        return taken(reader, _endpoint_slice)
    if reader.kind in _WORLD_OBJECTS:
        return taken(reader, _WORLD_OBJECTS[reader.kind])
    why = passed_over(reader, policies_within(reader.value))
    if notes is not None:
        notes.skip(reader.place(), shown(f"{reader.kind[1]} ({reader.kind[0]})"), why)
    return None


def from_readers(
    readers: Iterable[Reader],
    *,
    whole: bool = False,
    assume: str | None = None,
    notes: Notes | None = None,
    **options: Any,
) -> World:
    """A world from objects; further arguments as of `from_parts`.

    Raises PolicyError with every fault; or leaves them in `notes`, and then the world is empty.
    """
    if whole and assume:
        raise WorldError("of a whole world there is nothing to assume: say whole or assume, not both")
    options["rest"] = Rest.ABSENT if whole else Rest(assume or Rest.UNKNOWN)
    own = notes or Notes()
    parts = Parts()
    seen = _Seen(own)
    for reader in readers:
        try:
            if (reader.kind[0].partition("/")[0], reader.kind[1]) in FELIX:
                parts.beyond += [told for told in taken(reader, felix) if told not in parts.beyond]
                continue
            value = value_of(reader, own)
            if value is not None and seen.first(reader, value):
                parts.put(value)
        except PolicyError as error:
            own.wrong(error)
    if notes is None:
        own.fail()
    elif own.errors:
        return World()
    return from_parts(parts, **options)


def from_parts(
    parts: Parts,
    *,
    engines: Callable[[Mapping[str, str]], tuple[Iterable[Engine | str], Recognition | str]] | None = None,
    **options: Any,
) -> World:
    """A world from values of objects, each of them once. `engines` maps a node's labels to its engines and how its
    pods are recognised."""
    whole = options.get("rest") is Rest.ABSENT
    nodes, pods = parts.nodes, parts.pods
    if engines is not None:
        chosen = [(node, *engines(node.labels)) for node in nodes]
        nodes = [
            replace(node, engines=frozenset(Engine(e) for e in found), recognised=Recognition(recognised))
            for node, found, recognised in chosen
        ]
    known_nodes = {node.name for node in nodes}
    missing = sorted({pod.node for pod in pods if pod.node} - known_nodes)
    if known_nodes and missing and not whole and engines is None:
        nodes = [*nodes, *(Node(name=name, given=False) for name in missing)]
    elif known_nodes and missing:
        raise WorldError(f"pods are on nodes that are not given: {', '.join(missing[:5])}")
    if "families" not in options:
        options |= _families(pods, parts.policies, six_egress=bool(options.get("six_egress")))
    if not known_nodes:
        pods = [replace(pod, node="") for pod in pods]
    slices = _by_service(parts.slices)
    return World(
        policies=tuple(parts.policies),
        pods=tuple(pods),
        namespaces=tuple(parts.namespaces),
        nodes=tuple(nodes),
        services=tuple(_with_slices(service, slices) for service in parts.services),
        slices=tuple(s for s in parts.slices if s.service),
        service_accounts=tuple(parts.service_accounts),
        beyond=tuple(parts.beyond),
        **options,
    ).with_named()


def _families(pods: Iterable[Pod], policies: Iterable[Policy], *, six_egress: bool) -> dict[str, Any]:
    """The families of the pods' addresses; where there are none, those that policies name."""
    used = {a.version for pod in pods for a in pod.addresses}
    # Who writes rules for IPv6 has it: without it, what they open or close would be lost in silence.
    meant = used or ({4, 6} if any(map(names_six, policies)) else {4})
    return {"families_stated": bool(used), "families": frozenset(meant | ({6} if six_egress else set()))}


_NAMELESS = Meta(name="", api="", kind="")


def _said(policy: Policy) -> tuple[Policy, Mapping[str, str]]:
    """What an object says, whatever it is called; of what selectors find, the labels too."""
    found = isinstance(policy, NetworkSet | HostEndpoint)
    return replace(policy, meta=_NAMELESS), policy.meta.labels if found else {}


class _Seen:
    """What was read already: one object given in two ways counts once, and two of one name are a fault."""

    def __init__(self, notes: Notes) -> None:
        self.notes = notes
        self.policies: dict[tuple[str, str, str, str], Policy] = {}
        self.objects: dict[tuple[str, str, str], tuple[Place, Any]] = {}

    def first(self, reader: Reader, value: Value) -> bool:
        """Whether it counts."""
        if isinstance(value, Slice):
            return True
        if isinstance(value, Pod | Namespace | Node | Service | ServiceAccount):
            return self.first_object(reader, value)
        return self.first_policy(reader, value)

    def first_policy(self, reader: Reader, policy: Policy) -> bool:
        meta = policy.meta
        group = meta.api.split("/")[0].removeprefix("crd.")
        known = self.policies.setdefault((group, meta.kind, meta.namespace, meta.name), policy)
        if known is policy:
            return True
        # Calico shows each object in two API groups, and `kubectl get` of both gives it twice.
        if "projectcalico" in group and known.meta.api != meta.api and _said(known) == _said(policy):
            self.notes.skip(meta.place, f"{meta.kind} ({meta.api})", f"the same is given as {known.meta.api}")
            return False
        raise reader.error(
            f"{meta} is given twice, first at {known.meta.place}. Remove one, or name the files of one cluster only",
            "metadata",
        )

    def first_object(self, reader: Reader, value: Any) -> bool:
        kind = reader.kind[1]
        place, known = self.objects.setdefault(
            (kind, getattr(value, "namespace", ""), value.name), (reader.place(), value)
        )
        if known is value:
            return True
        if known == value:
            self.notes.skip(reader.place(), kind, f"the same is given at {place}")
            return False
        raise reader.error(
            f"{reader.about} is given twice, first at {place}, and not alike. Remove one, or name the files of one "
            "cluster only",
            "metadata",
        )


def _meta(reader: Reader) -> Reader:
    return spec_of(reader, "metadata")


def _home(reader: Reader, meta: Reader) -> str:
    return meta.text("namespace", "") or reader.namespace or "default"


def _addresses(reader: Reader, key: str, values: Iterable[Any]) -> tuple[IPAddress, ...]:
    found = [address(str(v), reader, key) for v in values if v and v != "None"]
    return tuple(dict.fromkeys(a for a in found if a is not None))


def _pod(reader: Reader) -> Pod | None:
    meta, spec, status = _meta(reader), reader.child("spec"), reader.child("status")
    if status is not None and status.text("phase", "") in ("Succeeded", "Failed"):
        return None
    if spec is None:
        raise reader.error("is required", "spec")
    ports: list[NamedPort] = []
    for key in ("containers", "initContainers"):
        for port in (p for container in spec.children(key) for p in container.children("ports")):
            number = port.integer("containerPort", 1, 65535)
            name = port.text("name", "")
            if name and number:
                protocol = PROTOCOLS[port.text("protocol", "TCP", choices=("TCP", "UDP", "SCTP"))]
                ports.append(NamedPort(name=name, protocol=protocol, number=number, calico_only=key != "containers"))
    addresses: tuple[IPAddress, ...] = ()
    if status is not None:
        listed = [item.text("ip", "") for item in status.children("podIPs")]
        addresses = _addresses(status, "podIPs", [*listed, status.text("podIP", "")])
    return Pod(
        namespace=_home(reader, meta),
        name=object_name(meta),
        node=spec.text("nodeName", ""),
        labels=meta.labels("labels"),
        service_account=spec.text("serviceAccountName", "default"),
        addresses=addresses,
        ports=shadowed(ports),
        host_network=spec.flag("hostNetwork"),
    )


def _namespace(reader: Reader) -> Namespace:
    meta = _meta(reader)
    name = object_name(meta)
    return Namespace(name=name, labels={"kubernetes.io/metadata.name": name, **meta.labels("labels")})


def _service_account(reader: Reader) -> ServiceAccount:
    meta = _meta(reader)
    return ServiceAccount(namespace=_home(reader, meta), name=object_name(meta), labels=meta.labels("labels"))


def _node(reader: Reader) -> Node:
    meta, status = _meta(reader), reader.child("status")
    addresses: tuple[IPAddress, ...] = ()
    if status is not None:
        items = status.children("addresses")
        addresses = _addresses(
            status, "addresses", [i.text("address") for i in items if i.text("type") == "InternalIP"]
        )
    return Node(name=object_name(meta), labels=meta.labels("labels"), addresses=addresses)


def _service(reader: Reader) -> Service | None:
    meta, spec, status = _meta(reader), reader.child("spec"), reader.child("status")
    if spec is None or spec.text("type", "ClusterIP") == "ExternalName":
        return None
    ports: list[ServicePort] = []
    for port in spec.children("ports"):
        number = port.integer("port", 1, 65535)
        if number is None:
            if not port.has("port"):
                port.wrong("is required", "port")
            continue
        target = port.raw("targetPort")
        ports.append(
            ServicePort(
                name=port.text("name", ""),
                protocol=PROTOCOLS[port.text("protocol", "TCP", choices=("TCP", "UDP", "SCTP"))],
                port=number,
                target=target if isinstance(target, int | str) else 0,
                node_port=port.integer("nodePort", 0, 65535) or 0,
            )
        )
    balancer = status.child("loadBalancer") if status is not None else None
    ingress = balancer.children("ingress") if balancer is not None else []
    return Service(
        namespace=_home(reader, meta),
        name=object_name(meta),
        labels=meta.labels("labels"),
        selector=spec.labels("selector"),
        cluster_ips=_addresses(spec, "clusterIPs", [*spec.strings("clusterIPs"), spec.text("clusterIP", "")]),
        load_balancer_ips=_addresses(status or spec, "loadBalancer", [i.text("ip", "") for i in ingress]),
        ports=tuple(ports),
        local=spec.text("externalTrafficPolicy", "Cluster") == "Local",
    )


def _endpoint_slice(reader: Reader) -> Slice:
    meta = _meta(reader)
    service = meta.labels("labels").get("kubernetes.io/service-name", "")
    ports: dict[str, tuple[int, int]] = {}
    for port in reader.children("ports"):
        number = port.integer("port", 1, 65535)
        if number:
            protocol = PROTOCOLS[port.text("protocol", "TCP", choices=("TCP", "UDP", "SCTP"))]
            ports[port.text("name", "")] = (protocol, number)
    namespace = _home(reader, meta)
    out: list[Backend] = []
    # Names instead of addresses (addressType FQDN) are nothing that policy can look at.
    named = reader.text("addressType", "IPv4") == "FQDN"
    for endpoint in () if named else reader.children("endpoints"):
        conditions, target = endpoint.child("conditions"), endpoint.child("targetRef")
        ready = conditions is None or conditions.flag("ready", default=True)
        pod = None
        if target is not None and target.text("kind", "") == "Pod":
            pod = (target.text("namespace", namespace), target.text("name"))
        found = _addresses(endpoint, "addresses", endpoint.strings("addresses"))
        out += [Backend(address=address, pod=pod, ports=ports, ready=ready) for address in found]
    return Slice(namespace=namespace, service=service, backends=tuple(out))


def _by_service(slices: Iterable[Slice]) -> dict[tuple[str, str], list[Slice]]:
    out: dict[tuple[str, str], list[Slice]] = {}
    for one in slices:
        out.setdefault((one.namespace, one.service), []).append(one)
    return out


def _with_slices(service: Service, slices: Mapping[tuple[str, str], list[Slice]]) -> Service:
    """The service with its ready endpoints, which are what flows to it are translated to."""
    mine = slices.get((service.namespace, service.name))
    return replace(service, backends=tuple(b for s in mine for b in s.backends if b.ready)) if mine else service


_WORLD_OBJECTS: dict[tuple[str, str], Callable[[Reader], Pod | Namespace | Node | Service | ServiceAccount | None]] = {
    ("v1", "Pod"): _pod,
    ("v1", "Namespace"): _namespace,
    ("v1", "Node"): _node,
    ("v1", "Service"): _service,
    ("v1", "ServiceAccount"): _service_account,
}
_SLICES = (("discovery.k8s.io/v1", "EndpointSlice"), ("discovery.k8s.io/v1beta1", "EndpointSlice"))
