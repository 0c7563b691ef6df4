"""Worlds from files and objects: pods, namespaces, nodes, services and policies, in any order."""

# ruff: noqa: PLR0912

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from netpol.model.errors import Place, WorldError
from netpol.model.ranges import IPAddress
from netpol.model.values import PROTOCOLS
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
    World,
)
from netpol.read import documents
from netpol.read.documents import Reader
from netpol.read.policies import parse, parses
from reading import brief


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


def from_readers(
    readers: Iterable[Reader],
    *,
    engines: Callable[[Mapping[str, str]], tuple[Iterable[Engine | str], Recognition | str]] | None = None,
    whole: bool = False,
    assume: str | None = None,
    **options: Any,
) -> World:
    """A world from objects. `engines` maps a node's labels to its engines and how its pods are recognised."""
    if whole and assume:
        raise WorldError("of a whole world there is nothing to assume: say whole or assume, not both")
    options["rest"] = Rest.ABSENT if whole else Rest(assume or Rest.UNKNOWN)
    parts: dict[str, list[Any]] = {
        name: [] for name in ("policies", "pods", "namespaces", "nodes", "services", "service_accounts")
    }
    slices: list[tuple[str, str, tuple[Backend, ...]]] = []
    seen: dict[tuple[str, str, str, str], Place] = {}
    for reader in readers:
        kind = reader.text("kind")
        if parses(reader):
            policy = parse(reader)
            if policy is None:
                continue
            group = policy.meta.api.split("/")[0].removeprefix("crd.")
            key = (group, kind, policy.meta.namespace, policy.meta.name)
            if key in seen:
                raise reader.error(f"{policy.meta} is given twice, first at {seen[key]}", "metadata")
            seen[key] = policy.meta.place
            parts["policies"].append(policy)
        elif kind == "EndpointSlice":
            slices.append(_endpoint_slice(reader))
        elif kind in _WORLD_OBJECTS:
            part, read = _WORLD_OBJECTS[kind]
            value = read(reader)
            if value is not None:
                parts[part].append(value)
        else:
            known = ", ".join(sorted(_WORLD_OBJECTS))
            raise reader.error(f"{brief(kind)} is neither a policy kind nor one of {known}, EndpointSlice", "kind")
    parts["services"] = [_with_slices(service, slices) for service in parts["services"]]
    if engines is not None:
        nodes = []
        for node in parts["nodes"]:
            chosen, recognised = engines(node.labels)
            nodes.append(
                replace(
                    node,
                    engines=frozenset(Engine(e) for e in chosen),
                    recognised=Recognition(recognised),
                )
            )
        parts["nodes"] = nodes
    known_nodes = {node.name for node in parts["nodes"]}
    missing = sorted({pod.node for pod in parts["pods"] if pod.node} - known_nodes)
    if known_nodes and missing and not whole and engines is None:
        parts["nodes"] += [Node(name=name, given=False) for name in missing]
    elif known_nodes and missing:
        raise WorldError(f"pods are on nodes that are not given: {', '.join(missing[:5])}")
    if "families" not in options:
        used = {a.version for pod in parts["pods"] for a in pod.addresses}
        options["families_stated"] = bool(used)
        options["families"] = frozenset((used or {4}) | ({6} if options.get("six_egress") else set()))
    if not known_nodes:
        parts["pods"] = [replace(pod, node="") for pod in parts["pods"]]
    everything: dict[str, Any] = {name: tuple(values) for name, values in parts.items()}
    return World(**everything, **options).with_named()


def _meta(reader: Reader) -> Reader:
    meta = reader.child("metadata")
    if meta is None:
        raise reader.error("is required", "metadata")
    return meta


def _addresses(reader: Reader, values: Iterable[Any]) -> tuple[IPAddress, ...]:
    found = [documents.address(str(v), reader, "") for v in values if v and v != "None"]
    return tuple(dict.fromkeys(found))


def _pod(reader: Reader) -> Pod | None:
    meta, spec, status = _meta(reader), reader.child("spec"), reader.child("status")
    if status is not None and status.text("phase", "") in ("Succeeded", "Failed"):
        return None
    if spec is None:
        raise reader.error("is required", "spec")
    ports: list[NamedPort] = []
    for container in spec.children("containers"):
        for port in container.children("ports"):
            number = port.integer("containerPort", 1, 65535)
            name = port.text("name", "")
            if name and number:
                protocol = PROTOCOLS[port.text("protocol", "TCP", choices=("TCP", "UDP", "SCTP"))]
                ports.append(NamedPort(name=name, protocol=protocol, number=number))
    addresses: tuple[IPAddress, ...] = ()
    if status is not None:
        listed = [item.text("ip", "") for item in status.children("podIPs")]
        addresses = _addresses(status, [*listed, status.text("podIP", "")])
    return Pod(
        namespace=meta.text("namespace", "default"),
        name=meta.text("name"),
        node=spec.text("nodeName", ""),
        labels=meta.labels("labels"),
        service_account=spec.text("serviceAccountName", "default"),
        addresses=addresses,
        ports=tuple(ports),
        host_network=spec.flag("hostNetwork"),
    )


def _namespace(reader: Reader) -> Namespace:
    meta = _meta(reader)
    name = meta.text("name")
    return Namespace(name=name, labels={"kubernetes.io/metadata.name": name, **meta.labels("labels")})


def _service_account(reader: Reader) -> ServiceAccount:
    meta = _meta(reader)
    return ServiceAccount(
        namespace=meta.text("namespace", "default"), name=meta.text("name"), labels=meta.labels("labels")
    )


def _node(reader: Reader) -> Node:
    meta, status = _meta(reader), reader.child("status")
    addresses: tuple[IPAddress, ...] = ()
    if status is not None:
        items = status.children("addresses")
        addresses = _addresses(status, [i.text("address") for i in items if i.text("type") == "InternalIP"])
    return Node(name=meta.text("name"), labels=meta.labels("labels"), addresses=addresses)


def _service(reader: Reader) -> Service | None:
    meta, spec, status = _meta(reader), reader.child("spec"), reader.child("status")
    if spec is None or spec.text("type", "ClusterIP") == "ExternalName":
        return None
    ports: list[ServicePort] = []
    for port in spec.children("ports"):
        number = port.integer("port", 1, 65535)
        if number is None:
            raise port.error("is required", "port")
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
        namespace=meta.text("namespace", "default"),
        name=meta.text("name"),
        labels=meta.labels("labels"),
        selector=spec.labels("selector"),
        cluster_ips=_addresses(spec, [*spec.strings("clusterIPs"), spec.text("clusterIP", "")]),
        load_balancer_ips=_addresses(spec, [i.text("ip", "") for i in ingress]),
        ports=tuple(ports),
        local=spec.text("externalTrafficPolicy", "Cluster") == "Local",
    )


def _endpoint_slice(reader: Reader) -> tuple[str, str, tuple[Backend, ...]]:
    meta = _meta(reader)
    service = meta.labels("labels").get("kubernetes.io/service-name", "")
    ports: dict[str, tuple[int, int]] = {}
    for port in reader.children("ports"):
        number = port.integer("port", 1, 65535)
        if number:
            protocol = PROTOCOLS[port.text("protocol", "TCP", choices=("TCP", "UDP", "SCTP"))]
            ports[port.text("name", "")] = (protocol, number)
    namespace = meta.text("namespace", "default")
    out: list[Backend] = []
    for endpoint in reader.children("endpoints"):
        conditions, target = endpoint.child("conditions"), endpoint.child("targetRef")
        if conditions is not None and not conditions.flag("ready", default=True):
            continue
        pod = None
        if target is not None and target.text("kind", "") == "Pod":
            pod = (target.text("namespace", namespace), target.text("name"))
        found = _addresses(endpoint, endpoint.strings("addresses"))
        out += [Backend(address=address, pod=pod, ports=ports) for address in found]
    return namespace, service, tuple(out)


def _with_slices(service: Service, slices: list[tuple[str, str, tuple[Backend, ...]]]) -> Service:
    mine = [backends for ns, name, backends in slices if (ns, name) == (service.namespace, service.name)]
    return replace(service, backends=tuple(b for part in mine for b in part)) if mine else service


_WORLD_OBJECTS: dict[str, tuple[str, Callable[[Reader], Any]]] = {
    "Pod": ("pods", _pod),
    "Namespace": ("namespaces", _namespace),
    "Node": ("nodes", _node),
    "Service": ("services", _service),
    "ServiceAccount": ("service_accounts", _service_account),
}
