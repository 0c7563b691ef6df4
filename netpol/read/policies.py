"""From a document to a policy value: which kind of which API group is read by whom."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from netpol.model.errors import PolicyError
from netpol.model.values import Policy
from netpol.read import admin, calico, cilium, documents, kubernetes
from netpol.read.kinds import unknown
from netpol.read.notes import Notes
from netpol.read.reader import Reader, taken
from reading import brief

_CALICO = (calico.V3, calico.V1)
_KINDS: dict[tuple[str, str], Callable[[Reader], Policy | None]] = {
    ("networking.k8s.io/v1", "NetworkPolicy"): kubernetes.kubernetes_policy,
    ("policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy"): admin.admin_policy,
    ("policy.networking.k8s.io/v1alpha1", "BaselineAdminNetworkPolicy"): admin.admin_policy,
    ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy"): kubernetes.cluster_policy,
    ("policy.networking.k8s.io/v1beta1", "ClusterNetworkPolicy"): kubernetes.cluster_policy,
    ("cilium.io/v2", "CiliumNetworkPolicy"): cilium.cilium_policy,
    ("cilium.io/v2", "CiliumClusterwideNetworkPolicy"): cilium.cilium_policy,
    ("cilium.io/v2", "CiliumCIDRGroup"): cilium.cidr_group,
    ("cilium.io/v2alpha1", "CiliumCIDRGroup"): cilium.cidr_group,
}
for _api in _CALICO:
    _KINDS |= {
        (_api, "NetworkPolicy"): calico.network_policy,
        (_api, "GlobalNetworkPolicy"): calico.global_network_policy,
        (_api, "StagedNetworkPolicy"): calico.network_policy,
        (_api, "StagedGlobalNetworkPolicy"): calico.global_network_policy,
        (_api, "StagedKubernetesNetworkPolicy"): calico.staged_kubernetes_policy,
        (_api, "Tier"): calico.tier,
        (_api, "NetworkSet"): calico.network_set,
        (_api, "GlobalNetworkSet"): calico.network_set,
        (_api, "Profile"): calico.profile,
        (_api, "HostEndpoint"): calico.host_endpoint,
    }


def parses(reader: Reader) -> bool:
    """Whether the document is of a kind this module reads."""
    return reader.kind in _KINDS


def parse(reader: Reader) -> Policy | None:
    """The policy in one document (None for a kind that never decides anything). Raises PolicyError."""
    if reader.kind not in _KINDS:
        why = unknown(reader)
        raise reader.error(f"{brief(reader.kind[1])} of {brief(reader.kind[0])} is not a policy kind: {why}", "kind")
    return taken(reader, _KINDS[reader.kind])


def policies(readers: Iterable[Reader]) -> tuple[Policy, ...]:
    """Every policy among the documents; anything else is an error."""
    notes, out = Notes(), []
    for reader in readers:
        try:
            out.append(parse(reader))
        except PolicyError as error:
            notes.wrong(error)
    notes.fail()
    return tuple(p for p in out if p is not None)


def policies_from_text(text: str) -> tuple[Policy, ...]:
    """The policies in one YAML text."""
    return policies(documents.load_text(text))


def policies_from_files(paths: Iterable[str | Path]) -> tuple[Policy, ...]:
    """The policies in files and directories."""
    return policies(documents.load(paths))


def policies_from_objects(objects: Iterable[Mapping[str, Any]]) -> tuple[Policy, ...]:
    """The policies among plain mappings."""
    return policies(documents.from_objects(objects))
