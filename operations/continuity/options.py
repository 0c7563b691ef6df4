"""What the configuration of Cilium's agents changes about policy, as values of the proof.

Whoever compares policies with a cluster takes them from here: gates, and `policy … --live`.

Sources: chart 1.20, templates/cilium-configmap.yaml; pkg/option and daemon/cmd of Cilium 1.20.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from bridge.labels import LabelFilter
from bridge.patterns import Unreadable
from kube.cluster import Cluster
from kube.transport import Obj
from migration.names import SYSTEM_NAMESPACE
from netpol.model.errors import UndecidableError
from netpol.model.identity import in_identity
from netpol.model.world import CiliumOptions, Enforcement
from operations.cluster import objects

_CONFIG: Final = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps/cilium-config"
_NODE_CONFIGS: Final = ("cilium.io/v2", "cilium.io/v2alpha1")
ABOUT: Final = "configmap kube-system/cilium-config"
FILTER: Final = "labels"
"""Key of which labels make identities, besides Cilium's own list."""
_FOLLOWED: Final = (
    *("enable-policy", "policy-audit-mode", "policy-cidr-match-mode", "allow-localhost", FILTER),
    *("enable-host-firewall", "enable-k8s-cluster-network-policy", "enable-extended-ip-protocols"),
)
_ASSUMED: Final[Mapping[str, str]] = {
    "enable-k8s-networkpolicy": "true",
    "enable-cilium-network-policy": "true",
    "enable-cilium-clusterwide-network-policy": "true",
    "enable-icmp-rules": "true",
    "enable-node-selector-labels": "false",
    "label-prefix-file": "",
}
"""Keys that change what policies mean, and the one value for which proofs hold; it is what agents take by default."""


def of_cluster(kube: Cluster, version: tuple[int, int], values: Mapping[str, Any] | None = None) -> CiliumOptions:
    """What the agents of a cluster are told; where there are none yet, what the values of their chart come to.

    Args:
        kube: the cluster.
        version: (major, minor) of Cilium.
        values: of the chart; None: nobody knows them, and the chart's own are taken.

    Raises:
        UndecidableError: nobody knows what it comes to; with the object, the key and the way out.
        kube.transport.KubeError, TimeoutError: the cluster cannot be read.
    """
    live = kube.get(_CONFIG)
    if live is None:
        return declared(values or {}, version)
    config = live.get("data") or {}
    refuse_laid_over(node_configs(kube), config)
    return options(config, version)


def node_configs(kube: Cluster) -> list[Obj]:
    """Configuration that is laid over cilium-config on some nodes. One object, served in two versions."""
    return next((found for api in _NODE_CONFIGS if (found := kube.custom(api, "ciliumnodeconfigs"))), [])


def options(config: Mapping[str, str], version: tuple[int, int]) -> CiliumOptions:
    """What the data of `cilium-config` says.

    Raises:
        UndecidableError: it says something of which nobody knows what it comes to; with the key and the way out.
    """
    for key, value in _ASSUMED.items():
        if _said(config, key) not in ("", value):
            raise UndecidableError(
                f"{ABOUT}: {key} is {_said(config, key)[:80]!r}, and what policies mean then is not modelled: take it "
                f"out{f', or set it to {value}' if value else ''}"
            )
    matched = _said(config, "policy-cidr-match-mode").replace(",", " ").split()
    return CiliumOptions(
        version=version,
        cidr_match_nodes="nodes" in matched,
        cidr_match_pods="pods" in matched,
        host_firewall=_on(config, "enable-host-firewall"),
        cluster_policies=_on(config, "enable-k8s-cluster-network-policy"),
        # An agent in audit mode logs what it would drop, and lets it through.
        enforcement=Enforcement.NEVER if _on(config, "policy-audit-mode") else _enforcement(config),
        local_host_reaches_pods=_said(config, "allow-localhost") != "policy",
        extended_protocols=_on(config, "enable-extended-ip-protocols"),
        counts=counted(str(config.get(FILTER, ""))),
        cluster=str(config.get("cluster-name") or "default"),
    )


def declared(values: Mapping[str, Any], version: tuple[int, int]) -> CiliumOptions:
    """The same of chart values, for a Cilium that is not there yet. Raises as `options` does."""
    config = {str(k): str(v) for k, v in (values.get("extraConfig") or {}).items()}
    cluster = values.get("cluster")
    if isinstance(cluster, Mapping) and cluster.get("name"):
        config["cluster-name"] = str(cluster["name"])
    config |= {
        key: str(values[name]).lower() if name != "labels" else str(values[name])
        for key, name in (
            ("enable-policy", "policyEnforcementMode"),
            ("policy-audit-mode", "policyAuditMode"),
            (FILTER, "labels"),
            ("enable-node-selector-labels", "nodeSelectorLabels"),
        )
        if values.get(name) is not None
    }
    if values.get("policyCIDRMatchMode"):
        config["policy-cidr-match-mode"] = " ".join(values["policyCIDRMatchMode"])
    for key, name in (
        ("enable-host-firewall", "hostFirewall"),
        ("enable-k8s-cluster-network-policy", "k8sClusterNetworkPolicy"),
        ("enable-k8s-networkpolicy", "k8sNetworkPolicy"),
    ):
        section = values.get(name)
        if isinstance(section, Mapping) and isinstance(section.get("enabled"), bool):
            config[key] = str(section["enabled"]).lower()
    return options(config, version)


def refuse_laid_over(laid_over: Iterable[Mapping[str, Any]], config: Mapping[str, str]) -> None:
    """Refuse CiliumNodeConfigs by which some nodes would treat policies unlike others.

    Raises:
        UndecidableError: one of them says something else than `cilium-config`; with the object and the key.
    """
    for one in laid_over:
        defaults = (one.get("spec") or {}).get("defaults") or {}
        for key in (*_FOLLOWED, *_ASSUMED):
            if key in defaults and str(defaults[key]).strip() != str(config.get(key, "")).strip():
                raise UndecidableError(
                    f"ciliumnodeconfig {objects.key(one)} sets {key} to {str(defaults[key])[:80]!r} on the nodes that "
                    f"it selects, and {ABOUT} does not: what policies mean would depend on the node. Take `{key}` out "
                    "of it and restart the agents of its nodes, or set it for all nodes in cilium-config"
                )


# -- labels of identities ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Counted:
    """Says of a label of a pod, by its key, whether it counts for the pod's identity. Equal for equal prefixes."""

    labels: str

    def __call__(self, key: str) -> bool:
        return _filter(self.labels).counts("k8s", key)


@lru_cache(maxsize=16)
def _filter(labels: str) -> LabelFilter:
    return LabelFilter(labels)


def counted(labels: str) -> Any:
    """Which labels count, for the value of `labels` in cilium-config.

    Raises:
        UndecidableError: a prefix that Cilium does not take, or may read differently than we do.
    """
    if not labels.strip():
        return in_identity
    try:
        _filter(labels)
    except Unreadable as error:
        raise UndecidableError(
            f"{ABOUT}: labels: {error}. Write prefixes that need no such expression, or leave `labels` out"
        ) from None
    return Counted(labels)


# -- words of the configuration ---------------------------------------------------------------------


def _said(config: Mapping[str, str], key: str) -> str:
    return str(config.get(key, "")).strip().lower()


def _on(config: Mapping[str, str], key: str) -> bool:
    return _said(config, key) == "true"


def _enforcement(config: Mapping[str, str]) -> Enforcement:
    said = _said(config, "enable-policy")
    try:
        return Enforcement(said or Enforcement.DEFAULT)
    except ValueError:
        raise UndecidableError(
            f"{ABOUT}: enable-policy is {said[:80]!r}: agents do not start with it. Write default, always or never"
        ) from None
