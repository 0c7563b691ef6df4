"""What the configuration of Cilium's agents says about policy, as values of the proof. Pure.

Sources: chart 1.20, templates/cilium-configmap.yaml; pkg/option and daemon/cmd of Cilium 1.20.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from netpol.model.errors import UndecidableError
from netpol.model.world import CiliumOptions, Enforcement

Counted = Callable[[str], Callable[[str], bool]]
"""From the value of `labels` to what says of a label's key whether it counts for identities."""
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


def options(config: Mapping[str, str], version: tuple[int, int], counted: Counted) -> CiliumOptions:
    """What the data of `cilium-config` says.

    Args:
        config: the data.
        version: (major, minor) of Cilium.
        counted: reads `labels`; it raises as this does.

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


def declared(values: Mapping[str, Any], version: tuple[int, int], counted: Counted) -> CiliumOptions:
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
    return options(config, version, counted)


def refuse_laid_over(laid_over: Iterable[Mapping[str, Any]], config: Mapping[str, str]) -> None:
    """Refuse CiliumNodeConfigs by which some nodes would treat policies unlike others.

    Raises:
        UndecidableError: one of them says something else than `cilium-config`; with the object and the key.
    """
    for one in laid_over:
        defaults = (one.get("spec") or {}).get("defaults") or {}
        meta = one.get("metadata") or {}
        about = f"ciliumnodeconfig {meta.get('namespace')}/{meta.get('name')}"
        for key in (*_FOLLOWED, *_ASSUMED):
            if key in defaults and str(defaults[key]).strip() != str(config.get(key, "")).strip():
                raise UndecidableError(
                    f"{about} sets {key} to {str(defaults[key])[:80]!r} on the nodes that it selects, and {ABOUT} does "
                    f"not: what policies mean would depend on the node. Take `{key}` out of it and restart the agents "
                    "of its nodes, or set it for all nodes in cilium-config"
                )


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
