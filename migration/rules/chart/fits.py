"""What may stand in chart values that the journey rests on: a predicate for each kind of value.

A predicate may raise on a value of a form that it does not know; that value does not fit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from posixpath import normpath
from typing import Any, Final

from migration.names import CILIUM_CNI, CNI_LABEL
from migration.rules import affinity

ONLY_CILIUM_NODES: Final = affinity.pin(None, CNI_LABEL, CILIUM_CNI)


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What the settings say besides, as far as it decides about chart values: `settings.cilium`, and the journey."""

    journey: str
    version: str
    cluster_name: str
    cluster_id: int
    prefix_delegation: bool
    operator_replicas: int


Fits = Callable[[Any, Chosen], bool]
"""Whether a value still does what the journey counts on."""


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def one_of(*allowed: Any) -> Fits:
    """One of these. The templates turn everything into text, so "true" is true; 1 is not."""
    texts = {_text(v) for v in allowed}
    return lambda value, _: _text(value) in texts


def _text(value: Any) -> str:
    if value is None or value in ([], {}):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_set(of: Callable[[Chosen], Any]) -> Fits:
    """What the setting says already."""
    return lambda value, chosen: _text(value) == _text(of(chosen))


def never(_value: Any, _chosen: Chosen) -> bool:
    return False


def default_mode(value: Any, _chosen: Chosen) -> bool:
    return str(value).lower() == "default"


def bound(value: Any, _chosen: Chosen) -> bool:
    """Agents still run on every Cilium node and on no other. A preference does not keep them off a node."""
    ours = ONLY_CILIUM_NODES["nodeAffinity"][affinity.REQUIRED]
    others = [value.get(kind) or {} for kind in ("podAffinity", "podAntiAffinity")]
    if value.get("nodeAffinity", {}).get(affinity.REQUIRED, ours) != ours:
        return False
    return not any(other.get(affinity.REQUIRED) for other in others)


def linux(value: Any, _chosen: Chosen) -> bool:
    return dict(value) in ({}, {"kubernetes.io/os": "linux"})


def either_kind(value: Any, _chosen: Chosen) -> bool:
    """Not bound to one kind of nodes: the operator serves both halves of the journey."""
    return not _mentions(value, CNI_LABEL)


def _mentions(value: Any, word: str) -> bool:
    if isinstance(value, Mapping):
        return any(k == word or _mentions(v, word) for k, v in value.items())
    if isinstance(value, list | tuple):
        return any(_mentions(v, word) for v in value)
    return bool(value == word)


def own_release(value: Any, chosen: Chosen) -> bool:
    """A tag of the version that the settings name; a mirror may add to it ("v1.20.2-mirror.1")."""
    release = f"v{chosen.version.removeprefix('v')}"
    return value == release or str(value).startswith((f"{release}-", f"{release}@"))


def own_image(value: Any, chosen: Chosen) -> bool:
    if not value:
        return True
    tag = str(value).partition("@")[0].rpartition("/")[2].partition(":")[2]
    return own_release(tag, chosen)


def foreign_labels(value: Any, _chosen: Chosen) -> bool:
    taken = {"k8s-app", "name", "io.cilium/app", CNI_LABEL}
    return not any(k in taken or k.startswith("app.kubernetes.io/") for k in value or {})


def no_role(value: Any, _chosen: Chosen) -> bool:
    return "eks.amazonaws.com/role-arn" not in (value or {})


def recent(value: Any, _chosen: Chosen) -> bool:
    if value in (None, ""):
        return True
    major, minor = (int(part) for part in str(value).removeprefix("v").split(".")[:2])
    return (major, minor) >= (1, 18)


def harmless_config(value: Any, _chosen: Chosen) -> bool:
    return all(_harmless(key) for key in value or {})


def harmless_arguments(value: Any, _chosen: Chosen) -> bool:
    """Flags alone: the value of a flag must stand in the same item, or it could hide another flag."""
    return all(str(a).startswith("--") and _harmless(str(a)[2:].partition("=")[0]) for a in value or [])


def _harmless(flag: str) -> bool:
    return flag in _HARMLESS or any(flag.startswith(p) for p in _HARMLESS if p.endswith("-"))


def harmless_environment(value: Any, _chosen: Chosen) -> bool:
    return not any(str(e["name"]).upper().startswith(_READ_VARIABLES) for e in value or [])


def harmless_mounts(value: Any, _chosen: Chosen) -> bool:
    """Nothing is put over what agents read or write, and nothing above it."""
    return not any(
        place.startswith(f"{mount}/") or f"{mount}/".startswith(f"{place}/")
        for item in value or []
        for mount in [normpath("/" + str(item["mountPath"]).lstrip("/")).rstrip("/")]
        for place in _PLACES
    )


def more_excluded(value: Any, _chosen: Chosen) -> bool:
    """Blocks besides ours that are reached with the pod's address; none so large that it is the internet."""
    known = {"nonMasqueradeCIDRs", "masqLinkLocal", "masqLinkLocalIPv6"}
    blocks = [IPv4Network(str(block)) for block in value.get("nonMasqueradeCIDRs") or []]
    return set(value) <= known and not value.get("masqLinkLocal") and all(block.prefixlen >= 8 for block in blocks)


def not_strict(value: Any, chosen: Chosen) -> bool:
    return chosen.journey == "greenfield" or _text(value) in ("", "false")


# -- back doors -------------------------------------------------------------------------------------

_READ_VARIABLES: Final = (
    "AWS_ACCESS_KEY", "AWS_CONFIG_FILE", "AWS_CONTAINER_", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_REGION",
    "AWS_ROLE_", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_",
    "CILIUM_", "KUBE", "K8S_", "LD_", "PATH",
)  # fmt: skip
"""Beginnings of variables that decide what agents and operators do. `CILIUM_X` is the flag `--x`, and beats the
configuration (pkg/option/config.go: the prefix of viper's environment)."""

_PLACES: Final = (
    "/bin",
    "/cni-uninstall.sh",
    "/etc/cni",
    "/etc/config",
    "/host",
    "/init-container.sh",
    "/install-plugin.sh",
    "/lib",
    "/opt/cni",
    "/run/cilium",
    "/sys/fs/bpf",
    "/tmp/cilium",  # noqa: S108 - a place in the agent's container
    "/usr/bin",
    "/usr/lib",
    "/usr/local/bin",
    "/var/lib/cilium",
    "/var/run/cilium",
    "/var/run/secrets",
)

_HARMLESS: Final = words(
    """
    agent-liveness-update-interval api-rate-limit bgp- bpf-auth-map-max bpf-conntrack-accounting bpf-ct-global-
    bpf-ct-timeout- bpf-distributed-lru bpf-events- bpf-fragments-map-max bpf-lb-maglev- bpf-lb-map-max
    bpf-lb-affinity-map-max bpf-lb-rev-nat-map-max bpf-lb-service-backend-map-max bpf-lb-service-map-max
    bpf-lb-source-range-map-max bpf-map-dynamic-size-ratio bpf-map-event-buffers bpf-nat-global-max
    bpf-neigh-global-max bpf-node-map-max bpf-policy-map-max bpf-policy-map-pressure-metrics-threshold
    bpf-policy-stats-map-max bpf-sock-rev-map-max cilium-endpoint-gc-interval conntrack-gc-
    controller-group-metrics crd-wait-timeout debug debug-verbose enable-bandwidth-manager enable-bbr
    enable-bgp-control-plane enable-extended-ip-protocols enable-hubble enable-hubble- enable-l2-announcements
    enable-lb-ipam enable-metrics enable-pmtu-discovery enable-sctp endpoint-queue-size endpoint-regen-interval
    eni-gc-interval envoy-access-log- envoy-default-log-level envoy-log gops-port http-idle-timeout
    http-max-grpc-timeout http-request-timeout http-retry-count http-retry-timeout http-stream-idle-timeout hubble-
    identity-gc-interval identity-gc-rate-interval identity-gc-rate-limit identity-heartbeat-timeout
    iptables-lock-timeout k8s-client-burst k8s-client-qps limit-ipam-api-burst limit-ipam-api-qps log-driver log-opt
    log-system-load max-controller-interval metrics metrics-sampling-interval monitor-aggregation
    monitor-aggregation-flags monitor-aggregation-interval monitor-queue-size nat-map-stats- nodes-gc-interval
    operator-k8s-client-burst operator-k8s-client-qps operator-pprof operator-pprof- operator-prometheus-
    policy-queue-size pprof pprof- prometheus-serve-addr proxy-admin-port proxy-cluster-max- proxy-connect-timeout
    proxy-idle-timeout-seconds proxy-initial-fetch-timeout proxy-max- proxy-prometheus-port
    tofqdns-endpoint-max-ip-per-hostname tofqdns-idle-connection-grace-period tofqdns-max-deferred-connection-deletes
    tofqdns-min-ttl trace-payloadlen trace-payloadlen-overlay
    """
)
"""Flags, and beginnings of flags, that only tune sizes, rates, logs, metrics and protocols that are understood
besides. Any other flag goes past what is checked here."""
