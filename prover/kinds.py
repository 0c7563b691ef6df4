"""What is read in a cluster: the kinds that decide traffic, and what of each object is kept. Pure.

They are those of the continuity gate (`operations/cluster/traffic.py`). Objects are turned into values as they come, so
that a cluster of ten thousand pods is kept in tens of megabytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kube.transport import Obj
from netpol.model.errors import PolicyError
from netpol.model.world import Pod
from netpol.read.documents import from_objects
from netpol.read.served import served_by
from netpol.read.world import Value, value_of

STORED, NATIVE = "crd.projectcalico.org/v1", "projectcalico.org/v3"
"""Where Calico keeps its objects: behind its own API server, and as CRDs of their own (since v3.32)."""
LIVE: Final = "<live>"


@dataclass(frozen=True, slots=True)
class Of:
    """A kind: how its objects are called where they do not say it themselves, and where they are."""

    api: str
    kind: str
    plural: str
    always: bool = False
    """Every cluster serves it; of others there is none where it is not served."""

    @property
    def path(self) -> str:
        return f"/{'api' if '/' not in self.api else 'apis'}/{self.api}/{self.plural}"

    @property
    def name(self) -> str:
        """One of its kind among what is watched."""
        return f"{self.plural}.{self.api}"


CORE: Final = (
    Of("v1", "Pod", "pods", always=True),
    Of("v1", "Namespace", "namespaces", always=True),
    Of("v1", "Node", "nodes", always=True),
    Of("v1", "Service", "services", always=True),
    Of("v1", "ServiceAccount", "serviceaccounts", always=True),
    Of("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", always=True),
    Of("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", always=True),
    Of("policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy", "adminnetworkpolicies"),
    Of("policy.networking.k8s.io/v1alpha1", "BaselineAdminNetworkPolicy", "baselineadminnetworkpolicies"),
    Of("policy.networking.k8s.io/v1beta1", "ClusterNetworkPolicy", "clusternetworkpolicies"),
    Of("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy", "clusternetworkpolicies"),
    Of("cilium.io/v2", "CiliumNetworkPolicy", "ciliumnetworkpolicies"),
    Of("cilium.io/v2", "CiliumClusterwideNetworkPolicy", "ciliumclusterwidenetworkpolicies"),
    Of("cilium.io/v2", "CiliumCIDRGroup", "ciliumcidrgroups"),
)
CLUSTER_POLICIES: Final = (CORE[9].name, CORE[10].name)
"""Versions of one kind, the newest first; whichever is served shows all of them."""
PODS, NODES, SERVICES, SLICES = CORE[0].name, CORE[2].name, CORE[3].name, CORE[5].name
_CALICO: Final = (
    ("Tier", "tiers"),
    ("GlobalNetworkPolicy", "globalnetworkpolicies"),
    ("NetworkPolicy", "networkpolicies"),
    ("GlobalNetworkSet", "globalnetworksets"),
    ("NetworkSet", "networksets"),
    ("HostEndpoint", "hostendpoints"),
)


def of_calico(api: str) -> tuple[Of, ...]:
    """Calico's kinds under one of its API groups."""
    return tuple(Of(api, kind, plural) for kind, plural in _CALICO)


@dataclass(frozen=True, slots=True)
class Read:
    """What is kept of one object.

    Attributes:
        key: namespace and name.
        value: what it is in a world; None where it is nothing there.
        problem: why it cannot be read.
        serves: addresses that it serves on every node.
    """

    key: tuple[str, str]
    value: Value | None = None
    problem: str = ""
    serves: tuple[str, ...] = ()


def read(of: Of, obj: Obj) -> Read:
    """What is kept of an object of a kind. Never raises: what cannot be read is a problem that a verdict names."""
    meta: Mapping[str, Any] = obj.get("metadata") or {}
    key = (str(meta.get("namespace") or ""), str(meta.get("name") or ""))
    try:
        [reader] = from_objects([{"apiVersion": of.api, "kind": of.kind, **obj}], LIVE)
        value = value_of(reader)
        serves = served_by(obj) if of.name == PODS else ()
    except PolicyError as error:
        return Read(key, problem=str(error))
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # of a form that the API server never gives
        return Read(key, problem=f"{of.kind} {'/'.join(filter(None, key))}: {type(error).__name__}: {error}")
    if isinstance(value, Pod) and not value.host_network and not (value.addresses and value.node):
        # Without an address it has no flows, and once it has one this is called again.
        value = None
    return Read(key, value, serves=serves)
