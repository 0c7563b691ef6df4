"""Where a bridge cannot work, read off cilium-config. What is not said there is taken as Cilium takes it."""

from collections.abc import Mapping

from bridge.options import Cilium
from bridge.patterns import shown

_OFF = ("", "0", "0s", "0m", "0h", "false")


def reasons(config: Mapping[str, str]) -> list[str]:
    """Every reason why the bridge refuses this configuration, each with the value and the fix; empty: it works.

    Args:
        config: data of the ConfigMap cilium-config.
    """
    found = [text for key, (right, text) in _NEEDED.items() if config.get(key, _DEFAULTS.get(key, "")) not in right]
    for key, text in _SWITCHES.items():
        if config.get(key, _DEFAULTS.get(key, "")) not in _OFF:
            found.append(f"{key} is {shown(config.get(key, _DEFAULTS.get(key, '')))}: {text}")
    if "pods" in config.get("policy-cidr-match-mode", "").replace(",", " ").split():
        found.append(
            "policy-cidr-match-mode has 'pods': agents then put the networks of policies into the identities of their "
            "own pods, which nobody else can know. Leave `pods` out until the migration is over"
        )
    try:
        Cilium.of(config)
    except ValueError as error:
        found.append(
            f"labels, cluster-id or max-connected-clusters cannot be read: {error}. "
            "Write them so that Cilium and the bridge read the same"
        )
    return found


def apart(config: Mapping[str, str], laid_over: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Reasons why some agents give their pods other identities than the rest do.

    A pod of a legacy node has one identity for all agents. Where a CiliumNodeConfig gives those of some nodes another
    configuration in what decides about identities, no identity is right for all.

    Args:
        config: data of the ConfigMap cilium-config.
        laid_over: name of each CiliumNodeConfig -> its `spec.defaults`.
    """
    found = []
    for name, data in sorted(laid_over.items()):
        for key in sorted(_DECIDING & data.keys()):
            usual = config.get(key, _DEFAULTS.get(key, ""))
            if data[key] != usual:
                found.append(
                    f"CiliumNodeConfig {name} sets {key} to {shown(data[key])}, and cilium-config to {shown(usual)}: "
                    "agents of some nodes then make other identities than the rest. Take the key out of it, and "
                    "restart the agents of its nodes"
                )
    return found


def text(config: Mapping[str, str] | None, name: str, laid_over: Mapping[str, Mapping[str, str]] | None = None) -> str:
    """One clear text for people, or nothing where the bridge works.

    Args:
        config: None when there is no such ConfigMap.
        name: of the ConfigMap.
        laid_over: see `apart`.
    """
    if config is None:
        return f"There is no ConfigMap {name}: install Cilium before the bridge. Nothing was written"
    found = [*reasons(config), *apart(config, laid_over or {})]
    if not found:
        return ""
    lines = "\n".join(f"- {reason}" for reason in found)
    return f"The bridge cannot work under this configuration of Cilium ({name}). Nothing was written:\n{lines}"


_DEFAULTS = {
    "identity-allocation-mode": "kvstore",
    "routing-mode": "tunnel",
    "unmanaged-pod-watcher-interval": "15s",
}
"""Of Cilium 1.20, for what its chart always writes."""
_NEEDED = {
    "identity-allocation-mode": (
        ("crd",),
        "identity-allocation-mode is not 'crd': agents then do not look at CiliumEndpoints at all. "
        "Set the chart's `identityAllocationMode: crd`",
    ),
    "routing-mode": (
        ("native",),
        "routing-mode is not 'native': agents would send what is meant for a pod of a legacy node through a tunnel "
        "that ends nowhere. Set the chart's `routingMode: native`",
    ),
    "ces-controller-mode": (
        ("", "default"),
        "ces-controller-mode is not 'default': the operator then reads no CiliumEndpoints. Leave the option away",
    ),
}
_SWITCHES = {
    "disable-endpoint-crd": "nobody then looks at CiliumEndpoints. Set the chart's `disableEndpointCRD: false`",
    "enable-encryption-strict-mode": "what goes to pods of legacy nodes is not encrypted, and would be dropped. "
    "Switch strict mode off until the migration is over",
    "enable-encryption-strict-mode-egress": "what goes to pods of legacy nodes is not encrypted, and would be dropped. "
    "Set the chart's `encryption.strictMode.egress.enabled: false` until the migration is over",
    "enable-encryption-strict-mode-ingress": "what comes from pods of legacy nodes is not encrypted, and would be "
    "dropped. Set the chart's `encryption.strictMode.ingress.enabled: false` until the migration is over",
    "unmanaged-pod-watcher-interval": "the operator restarts DNS pods of legacy nodes that have no endpoint yet. "
    "Set the chart's `operator.unmanagedPodWatcher.restart: false`",
    "label-prefix-file": "a file in the agents says which labels count, and the bridge cannot read it. "
    "Write the prefixes into the chart's `labels`",
}
_OF_THE_OPERATOR = "unmanaged-pod-watcher-interval"
_DECIDING = {
    *("labels", "cluster-name", "cluster-id", "max-connected-clusters", "enable-ipv4", "enable-ipv6"),
    *("policy-cidr-match-mode", *_NEEDED, *_SWITCHES),
} - {_OF_THE_OPERATOR}
"""Keys that decide which identities agents make, or whether they look at what the bridge writes."""
