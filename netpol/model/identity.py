"""The labels of a Cilium identity: what Cilium adds to a pod's own, and which count (pkg/labelsfilter/filter.go)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

NAMESPACE = "io.kubernetes.pod.namespace"
NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels."
CLUSTER = "io.cilium.k8s.policy.cluster"
SERVICE_ACCOUNT = "io.cilium.k8s.policy.serviceaccount"

_INCLUDED = (
    r"reserved:.*",
    r"io\.kubernetes\.pod\.namespace",
    r"io\.cilium\.k8s\.namespace\.labels",
    r"app\.kubernetes\.io",
    r"io\.cilium\.k8s\.policy\.cluster",
    r"io\.cilium\.k8s\.policy\.serviceaccount",
)


_IGNORED = (
    r"io\.kubernetes",
    r"kubernetes\.io",
    r"statefulset\.kubernetes\.io/pod-name",
    r"apps\.kubernetes\.io/pod-index",
    r"batch\.kubernetes\.io/job-completion-index",
    r"batch\.kubernetes\.io/controller-uid",
    r".*beta\.kubernetes\.io",
    r"k8s\.io",
    r"pod-template-generation",
    r"pod-template-hash",
    r"controller-revision-hash",
    r"controller-uid",
    r"annotation.*",
    r"etcd_node",
    r"topology\.kubernetes\.io",
)


_INCLUDE_PATTERNS = [re.compile(p) for p in _INCLUDED]


_IGNORE_PATTERNS = [re.compile(p) for p in _IGNORED]


@lru_cache(maxsize=65536)
def in_identity(key: str) -> bool:
    """Whether a label counts for identity under Cilium's default filter (the longest match decides)."""
    included = max((m.end() for p in _INCLUDE_PATTERNS if (m := p.match(key))), default=0)
    ignored = min((m.end() for p in _IGNORE_PATTERNS if (m := p.match(key))), default=0)
    return ignored == 0 or included > ignored


_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_DOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_DOMAIN = 253


def is_key(key: str) -> bool:
    """Whether Kubernetes takes this for the key of a label (apimachinery, IsQualifiedName)."""
    prefix, slash, name = key.rpartition("/")
    fits = not slash or (len(prefix) <= _LONGEST_DOMAIN and _DOMAIN.fullmatch(prefix) is not None)
    return fits and _NAME.fullmatch(name) is not None


def is_value(value: str) -> bool:
    """Whether Kubernetes takes this for the value of a label (apimachinery, IsValidLabelValue)."""
    return not value or _NAME.fullmatch(value) is not None


def identity_labels(
    labels: Mapping[str, str],
    namespace: str,
    of_namespace: Mapping[str, str],
    account: str,
    cluster: str,
    *,
    counts: Callable[[str], bool] = in_identity,
) -> dict[str, str]:
    """Labels of the identity of a pod, of the source `k8s` (pkg/k8s/utils SanitizePodLabels, then the label filter).

    Args:
        labels: the pod's own.
        namespace: its name.
        of_namespace: the namespace's labels.
        account: name of the pod's service account; empty: none is named.
        cluster: name of the cluster in cilium-config.
        counts: whether a label, by its key, passes the filter.
    """
    found = {k: v for k, v in labels.items() if not k.startswith("io.cilium.k8s")}
    found |= {NAMESPACE_LABELS + k: v for k, v in of_namespace.items()}
    found[NAMESPACE], found[CLUSTER] = namespace, cluster
    if account:
        found[SERVICE_ACCOUNT] = account
    return {k: v for k, v in found.items() if counts(k)}
