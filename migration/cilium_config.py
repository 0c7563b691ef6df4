"""What Cilium's agents must read in their configuration for the journey to hold: the live one, whoever wrote it. Pure.

`migration.rules.chart.rules` judges the values before a deploy; this judges `cilium-config`, and CiliumNodeConfigs laid
over it, which anybody with an editor may change afterwards. Source of the keys: the chart's
templates/cilium-configmap.yaml and pkg/option (Cilium 1.20).
"""

from collections.abc import Iterator, Mapping
from typing import Final

from migration.cilium_values import cilium_values
from migration.facts import Facts
from migration.settings import Settings

UNSET: Final = ""
"""Stands for a key that is not there; where it is allowed, the agents' own default does what is needed."""
_ON, _OFF = ("true",), ("false", UNSET)
_FIXED: Final[Mapping[str, tuple[str, ...]]] = {
    # policy
    "enable-policy": ("default", UNSET),
    "policy-audit-mode": _OFF,
    "enable-k8s-networkpolicy": (*_ON, UNSET),
    "enable-cilium-network-policy": (*_ON, UNSET),
    "enable-cilium-clusterwide-network-policy": (*_ON, UNSET),
    "identity-allocation-mode": ("crd", UNSET),
    "disable-endpoint-crd": _OFF,
    # wiring
    "ipam": ("eni",),
    "routing-mode": ("native",),
    "enable-endpoint-routes": _ON,
    "enable-ipv4": (*_ON, UNSET),
    "cni-exclusive": (*_ON, UNSET),
    "cni-chaining-mode": ("none", UNSET),
    "custom-cni-conf": _OFF,
    # services
    "kube-proxy-replacement": _ON,
    # the operator: restarting pods is the refresh's business
    "unmanaged-pod-watcher-interval": ("0", "0s"),
}

Difference = tuple[str, str | None, tuple[str, ...]]
"""Key, its value (None: not there), the values that would do."""


def allowed(settings: Settings, facts: Facts | None) -> dict[str, tuple[str, ...]]:
    """Key -> the values of it with which the journey holds."""
    masquerades = cilium_values(settings, facts).get("enableIPv4Masquerade") is not False
    return {
        **_FIXED,
        "cluster-name": (settings.cilium.cluster_name,),
        "cluster-id": (str(settings.cilium.cluster_id),),
        "enable-ipv4-masquerade": ("true", UNSET) if masquerades else ("false",),
    }


def differences(data: Mapping[str, str], wanted: Mapping[str, tuple[str, ...]], *, whole: bool) -> Iterator[Difference]:
    """What a configuration says otherwise.

    Args:
        data: of `cilium-config`, or `spec.defaults` of a CiliumNodeConfig.
        wanted: from `allowed`.
        whole: whether what is not there is not there; a CiliumNodeConfig leaves it to `cilium-config`.
    """
    for key, values in wanted.items():
        if key not in data and not whole:
            continue
        if str(data.get(key, UNSET)).strip().lower() not in values:
            yield key, data.get(key), tuple(value for value in values if value)
