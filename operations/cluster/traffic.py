"""What policy is decided in, read from a live cluster. Lists only, never writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kube.cluster import Cluster
from kube.transport import KubeError, Obj
from migration.rules.versions import minor
from netpol.model.errors import UndecidableError
from netpol.read.served import served_by
from operations.cluster import calico

_CORE = ("pods", "namespaces", "nodes", "services", "serviceaccounts")
_GROUPS = (
    ("discovery.k8s.io", "v1", ("endpointslices",)),
    ("networking.k8s.io", "v1", ("networkpolicies",)),
    ("policy.networking.k8s.io", "v1alpha1", ("adminnetworkpolicies", "baselineadminnetworkpolicies")),
    (
        "cilium.io",
        "v2",
        ("ciliumnetworkpolicies", "ciliumclusterwidenetworkpolicies", "ciliumcidrgroups"),
    ),
)
_CALICO = (
    *("tiers", "globalnetworkpolicies", "networkpolicies", "globalnetworksets", "networksets", "hostendpoints"),
    "felixconfigurations",
)
_CLUSTER_POLICIES = ("v1beta1", "v1alpha2")
"""Versions of ClusterNetworkPolicy, the newest first; whichever is served shows all of them."""
_ABSENT = 404


def live_objects(kube: Cluster) -> list[Obj]:
    """Every object that decides traffic in a cluster. A kind of policy that the cluster lacks is no object.

    Raises:
        kube.transport.KubeError, TimeoutError: the cluster cannot be read.
        UnknownError: Calico runs, and where its policies are cannot be told.
        operations.access.connection.WrongClusterError: it is not the one that is meant.
    """
    found = [item for plural in _CORE for item in _list(kube, f"/api/v1/{plural}", always=True)]
    for group, version, plurals in _GROUPS:
        for plural in plurals:
            found += _list(kube, f"/apis/{group}/{version}/{plural}", always=False)
    for version in _CLUSTER_POLICIES:
        more = list(_list(kube, f"/apis/policy.networking.k8s.io/{version}/clusternetworkpolicies", always=False))
        found += more
        if more:
            break
    api = calico.api(kube)
    for plural in _CALICO:
        found += _list(kube, f"/apis/{api}/{plural}", always=False)
    return found


def live_version(kube: Cluster) -> tuple[int, int] | None:
    """Version of the Calico that runs; None when none does.

    Raises:
        UndecidableError: one runs and nothing tells its version.
        Besides, as `live_objects`.
    """
    runs = calico.running(kube)
    if not runs:
        return None
    told = calico.version(kube, runs[0])
    if told is None:
        raise UndecidableError(
            "nothing tells the version of the Calico that runs, which decides what it enforces. Say it with "
            "--calico-version"
        )
    return minor(told)


def host_addresses(found: Iterable[Obj]) -> tuple[str, ...]:
    """Addresses that every node serves itself, by the pods that serve them (`netpol.read.served`)."""
    return tuple(dict.fromkeys(address for item in found if item["kind"] == "Pod" for address in served_by(item)))


def _list(kube: Cluster, path: str, *, always: bool) -> Iterator[Obj]:
    """The objects of a list, each with its kind. A check that reads the same list in the same round reads it here."""
    what = f"the cluster cannot be read: GET {path}"
    try:
        found = kube.listed(path)
    except KubeError as error:
        raise KubeError(error.status, f"{what}: {error}") from error
    if found is None:
        if always:
            raise KubeError(_ABSENT, f"{what}: it is not served")
        return
    if not found.kind.endswith("List"):
        raise KubeError(0, f"{what}: what answers is not a list, but {found.kind or 'something else'}")
    for item in found.items:
        yield {"apiVersion": found.version, "kind": found.kind.removesuffix("List"), **item}
