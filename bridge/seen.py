"""What the bridge has seen of the cluster, as small values made of what the API server sends.

A list of 5,000 pods is 50 MB as it comes and a tenth of that here. Kinds have schemas, so what is there has its shape;
what is not there counts as absent.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from bridge.labels import NamedPort, named_ports
from bridge.names import HEARTBEAT, MARKER, POD_IPS, TOUCHED

Obj = Mapping[str, Any]
Key = tuple[str, str]
"""(namespace, name), of a pod and of its endpoint alike."""


def addresses_of(texts: Iterable[Any]) -> tuple[str, ...]:
    """Those that are addresses, each once, spelled in one way."""
    found: dict[str, None] = {}
    for text in texts:
        try:
            found[str(ipaddress.ip_address(str(text).strip()))] = None
        except ValueError:
            continue
    return tuple(found)


def _metadata(obj: Obj) -> Obj:
    return obj.get("metadata") or {}


def _texts(found: Any) -> dict[str, str]:
    return dict(found) if found else {}


def key_of(obj: Obj) -> Key:
    """Of any object."""
    metadata = _metadata(obj)
    return (str(metadata.get("namespace", "")), str(metadata.get("name", "")))


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod, as far as it decides about an identity."""

    key: Key
    uid: str
    created: str
    node: str
    host_network: bool
    finished: bool
    """Succeeded or failed: its address is free again."""
    leaving: bool
    """Being deleted; its containers may still run."""
    labels: Mapping[str, str]
    service_account: str
    ports: tuple[NamedPort, ...]
    confirmed: tuple[str, ...]
    """Addresses that kubelet says."""
    annotated: tuple[str, ...]
    """Addresses that the VPC CNI says."""
    freed: bool
    """The VPC CNI says that the address is free again."""

    @classmethod
    def of(cls, obj: Obj) -> Self:
        metadata, spec, status = _metadata(obj), obj.get("spec") or {}, obj.get("status") or {}
        said = _texts(metadata.get("annotations")).get(POD_IPS)
        return cls(
            key=key_of(obj),
            uid=str(metadata.get("uid", "")),
            created=str(metadata.get("creationTimestamp") or ""),
            node=str(spec.get("nodeName") or ""),
            host_network=bool(spec.get("hostNetwork")),
            finished=status.get("phase") in ("Succeeded", "Failed"),
            leaving=bool(metadata.get("deletionTimestamp")),
            labels=_texts(metadata.get("labels")),
            service_account=str(spec.get("serviceAccountName") or ""),
            ports=named_ports(
                (str(port.get("name") or ""), int(port.get("containerPort") or 0), str(port.get("protocol") or ""))
                for container in spec.get("containers") or ()
                for port in container.get("ports") or ()
            ),
            confirmed=addresses_of(
                [status.get("podIP"), *(item.get("ip") for item in status.get("podIPs") or ())],
            ),
            annotated=addresses_of((said or "").split(",")),
            freed=said == "",
        )

    def addresses(self, *, annotated: bool) -> tuple[str, ...]:
        """Addresses that it has now.

        Kubelet's word goes before the annotation, which whoever may change the pod may write; the annotation is there
        up to seconds earlier, when no packet has left the pod yet.
        """
        if self.host_network or self.finished or not self.node or (self.leaving and self.freed):
            return ()
        return self.confirmed or (self.annotated if annotated else ())


@dataclass(frozen=True, slots=True)
class Node:
    """A node."""

    name: str
    uid: str
    labels: Mapping[str, str]
    addresses: tuple[str, ...]
    """Its internal ones."""

    @classmethod
    def of(cls, obj: Obj) -> Self:
        found = (obj.get("status") or {}).get("addresses") or ()
        return cls(
            name=key_of(obj)[1],
            uid=str(_metadata(obj).get("uid", "")),
            labels=_texts(_metadata(obj).get("labels")),
            addresses=addresses_of(item.get("address") for item in found if item.get("type") == "InternalIP"),
        )


@dataclass(frozen=True, slots=True)
class CiliumNode:
    """A node that an agent, or Cilium's operator, has taken charge of."""

    name: str
    addresses: tuple[str, ...]

    @classmethod
    def of(cls, obj: Obj) -> Self:
        found = (obj.get("spec") or {}).get("addresses") or ()
        return cls(name=key_of(obj)[1], addresses=addresses_of(item.get("ip") for item in found))


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace."""

    name: str
    labels: Mapping[str, str]

    @classmethod
    def of(cls, obj: Obj) -> Self:
        return cls(name=key_of(obj)[1], labels=_texts(_metadata(obj).get("labels")))


@dataclass(frozen=True, slots=True)
class Identity:
    """A CiliumIdentity."""

    number: int
    """0 when its name is no number."""
    version: str
    labels: frozenset[tuple[str, str]]
    collected: bool
    """Cilium's operator is going to delete it."""

    @classmethod
    def of(cls, obj: Obj) -> Self:
        name = key_of(obj)[1]
        return cls(
            number=int(name) if name.isascii() and name.isdigit() else 0,
            version=str(_metadata(obj).get("resourceVersion", "")),
            labels=frozenset(_texts(obj.get("security-labels")).items()),
            collected=HEARTBEAT in _texts(_metadata(obj).get("annotations")),
        )


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A CiliumEndpoint, whoever wrote it."""

    key: Key
    uid: str
    version: str
    marked: bool
    """It has the bridge's label. An agent that takes one over leaves it there."""
    by_agent: bool
    """An agent wrote its status: it has an id or a state, which the bridge never writes."""
    owner: str
    """uid of the first owner."""
    identity: int
    addresses: tuple[str, ...]
    node: str
    ports: tuple[NamedPort, ...]
    service_account: str
    touched: str

    @classmethod
    def of(cls, obj: Obj) -> Self:
        metadata, status = _metadata(obj), obj.get("status") or {}
        networking = status.get("networking") or {}
        pairs = networking.get("addressing") or ()
        owners = metadata.get("ownerReferences") or [{}]
        return cls(
            key=key_of(obj),
            uid=str(metadata.get("uid", "")),
            version=str(metadata.get("resourceVersion", "")),
            marked=MARKER in _texts(metadata.get("labels")),
            by_agent=bool(status.get("id") or status.get("state") or status.get("external-identifiers")),
            owner=str(owners[0].get("uid", "")),
            identity=int((status.get("identity") or {}).get("id") or 0),
            addresses=addresses_of(pair[family] for pair in pairs for family in ("ipv4", "ipv6") if pair.get(family)),
            node=str(networking.get("node") or ""),
            ports=tuple(
                NamedPort(str(port.get("name")), int(port.get("port") or 0), str(port.get("protocol")))
                for port in status.get("named-ports") or ()
            ),
            service_account=str(status.get("service-account") or ""),
            touched=_texts(metadata.get("annotations")).get(TOUCHED, ""),
        )
