"""The labels of which Cilium makes a pod's identity, exactly as the agents of Cilium 1.20 choose them.

Sources, all of Cilium 1.20: `pkg/k8s/utils/utils.go` (SanitizePodLabels), `pkg/k8s/labels.go` (GetPodMetadata,
NamedPortsIdentityLabels), `pkg/labelsfilter/filter.go`, `pkg/types/portmap.go`, `pkg/iana/svcname.go`. A differential
test compares with these packages.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bridge.patterns import Unreadable, compiled, shown

Labels = Mapping[str, str]
"""`SOURCE:KEY` -> value, as in `security-labels` of a CiliumIdentity."""

_CILIUM: Final = "io.cilium.k8s"
_NAMESPACE: Final = "io.kubernetes.pod.namespace"
_NAMESPACE_LABELS: Final = f"{_CILIUM}.namespace.labels"
_ACCOUNT: Final = f"{_CILIUM}.policy.serviceaccount"
_CLUSTER: Final = f"{_CILIUM}.policy.cluster"
_NAMED_PORTS: Final = f"{_CILIUM}.named-ports"
_LONGEST_VALUE: Final = 63
_PORT_NAME: Final = re.compile(r"(?:[a-zA-Z0-9]-?)*[a-zA-Z](?:-?[a-zA-Z0-9])*")
_LONGEST_NAME: Final = 15
_MOST_KNOWN: Final = 100_000
_PROTOCOLS: Final = {
    name.lower(): name
    for name in ("ICMP", "IGMP", "IPIP", "TCP", "UDP", "IPv6", "GRE", "ESP", "AH", "ICMPv6", "VRRP", "SCTP")
}
_DEFAULT: Final = (
    "reserved:.*",
    *map(re.escape, (_NAMESPACE, _NAMESPACE_LABELS, "app.kubernetes.io", _CLUSTER, _ACCOUNT)),
    r"!io\.kubernetes",
    r"!kubernetes\.io",
    r"!statefulset\.kubernetes\.io/pod-name",
    r"!apps\.kubernetes\.io/pod-index",
    r"!batch\.kubernetes\.io/job-completion-index",
    r"!batch\.kubernetes\.io/controller-uid",
    r"!.*beta\.kubernetes\.io",
    r"!k8s\.io",
    "!pod-template-generation",
    "!pod-template-hash",
    "!controller-revision-hash",
    "!controller-uid",
    "!annotation.*",
    "!etcd_node",
    r"!topology\.kubernetes\.io",
)
"""What Cilium has in its list before any prefix of the user's."""


@dataclass(frozen=True, slots=True)
class NamedPort:
    """A container's port with a name, as Cilium keeps it."""

    name: str
    number: int
    protocol: str


@dataclass(frozen=True, slots=True)
class _Prefix:
    source: str
    pattern: re.Pattern[str]
    excludes: bool


class LabelFilter:
    """Says which labels count. Made of `labels` in cilium-config, which adds to Cilium's own list.

    Raises:
        Unreadable: for a prefix that Cilium does not take, or may read differently than we do.
    """

    def __init__(self, labels: str = "") -> None:
        """`labels`: prefixes with blanks between them; each is `[SOURCE:][!]EXPRESSION`."""
        own = [_prefix(text) for text in labels.split()]
        self._prefixes = (*map(_prefix, _DEFAULT), *own)
        self._only_included = any(not prefix.excludes for prefix in own)
        self._known: dict[tuple[str, str], bool] = {}

    def counts(self, source: str, key: str) -> bool:
        """Whether a label is part of an identity."""
        answer = self._known.get((source, key))
        if answer is None:
            if len(self._known) > _MOST_KNOWN:  # whoever makes up new keys costs time, not memory
                self._known.clear()
            answer = self._known[source, key] = self._asked(source, key)
        return answer

    def _asked(self, source: str, key: str) -> bool:
        included = excluded = 0
        for prefix in self._prefixes:
            if prefix.source and prefix.source != source:
                continue
            found = prefix.pattern.match(key)  # Cilium takes the leftmost match, and only one at the beginning counts
            if found is None:
                continue
            if not prefix.excludes:
                included = max(included, found.end())
            elif excluded == 0 or found.end() < excluded:
                excluded = found.end()
        return (not self._only_included and excluded == 0) or included > excluded


def _prefix(text: str) -> _Prefix:
    source, colon, rest = text.partition(":")
    if not colon:
        source, rest = "", text
    if not rest:
        raise Unreadable(f"{shown(text)} has nothing after its source")
    excludes = rest.startswith("!")
    return _Prefix(source, compiled(rest[1:] if excludes else rest), excludes)


def named_ports(ports: Iterable[tuple[str, int, str]]) -> tuple[NamedPort, ...]:
    """Ports of a pod's containers that have a name, sorted by it; of equal names the last counts.

    Args:
        ports: (name, number, protocol) in the order of the containers; an empty protocol is TCP.
    """
    found: dict[str, NamedPort] = {}
    for name, number, protocol in ports:
        spelled = _PROTOCOLS.get(protocol.lower() or "tcp")
        if len(name) <= _LONGEST_NAME and _PORT_NAME.fullmatch(name) and spelled and 0 < number <= 65_535:
            found[name.lower()] = NamedPort(name.lower(), number, spelled)
    return tuple(found[name] for name in sorted(found))


def named_ports_labels(ports: Sequence[NamedPort]) -> dict[str, str]:
    """The labels that Cilium 1.20 makes of named ports, so that pods with unlike ports differ in identity."""
    values: list[str] = []
    for port in ports:
        text = f"{port.name}.{port.protocol}.{port.number}"
        if values and len(values[-1]) + 1 + len(text) <= _LONGEST_VALUE:
            values[-1] += f"_{text}"
        else:
            values.append(text)
    return {f"gen:{_NAMED_PORTS}{f'-{i}' if i else ''}": value for i, value in enumerate(values)}


def identity_labels(
    pod: Mapping[str, str],
    *,
    namespace: str,
    namespace_labels: Mapping[str, str],
    service_account: str,
    cluster: str,
    ports: Sequence[NamedPort],
    counted: LabelFilter,
) -> dict[str, str]:
    """All labels of a pod's identity, as `security-labels` shows them.

    Args:
        pod: the pod's own labels.
        service_account: empty when the pod names none.
        cluster: name of the cluster.
        ports: the pod's named ports; none for agents before 1.20, which made no labels of them.
        counted: which labels count.
    """
    whole = {key: value for key, value in pod.items() if not key.startswith(_CILIUM)}
    whole |= {f"{_NAMESPACE_LABELS}.{key}": value for key, value in namespace_labels.items()}
    whole[_NAMESPACE] = namespace
    if service_account:
        whole[_ACCOUNT] = service_account
    whole[_CLUSTER] = cluster
    found = {f"k8s:{key}": value for key, value in whole.items() if counted.counts("k8s", key)}
    return found | named_ports_labels(ports)


def in_words(labels: Labels) -> list[str]:
    """The labels as a CiliumEndpoint lists them."""
    return sorted(f"{key}={value}" if value else key for key, value in labels.items())
