"""Labels that kubelet takes for its own node: its rules, and which labels are not a group's to give.

Source: Kubernetes 1.35, cmd/kubelet/app/options (`ValidateKubeletFlags`), kubelet/pkg/apis/well_known_labels.go and
apimachinery/pkg/api/validate/content (`IsQualifiedName`, `IsValidLabelValue`).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from migration.names import ANNOTATION_PREFIX, CNI_LABEL, EXCLUDE_FROM_LB_LABEL

_WORD: Final = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?"
_NAME: Final = re.compile(_WORD)
_VALUE: Final = re.compile(f"(?:{_WORD})?")
_DOMAIN: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_LONGEST, _LONGEST_DOMAIN = 63, 253

_ITS_OWN: Final = frozenset(
    {
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
    }
)
"""What kubelet may set, and sets by itself from the machine and from AWS."""
_KUBERNETES: Final = ("kubernetes.io", "k8s.io")
_KUBELETS: Final = ("kubelet.kubernetes.io", "node.kubernetes.io")

MOST_BYTES: Final = 12_000
"""Of all labels of a group: user data has at most 16 KiB (EC2 API reference, RequestLaunchTemplateData)."""


def problems(labels: Mapping[str, str]) -> Iterator[tuple[str, str, str, str]]:
    """Key, value, reason and fix of each label that a node group cannot give its nodes."""
    for key, value in labels.items():
        if found := _key(key):
            yield key, value, *found
        elif len(value) > _LONGEST or not _VALUE.fullmatch(value):
            yield (
                key,
                value,
                f"is not a label value: at most {_LONGEST} letters, digits, '-', '_' and '.', a letter or digit at "
                "each end",
                "Choose such a value",
            )
    size = sum(len(key) + len(value) + 2 for key, value in labels.items())
    if size > MOST_BYTES:
        yield (
            "",
            "",
            f"have {size} bytes, and the user data of a node has no room for more than {MOST_BYTES}",
            "Use fewer",
        )


def _key(key: str) -> tuple[str, str] | None:
    domain, slash, name = key.rpartition("/")
    if slash and (len(domain) > _LONGEST_DOMAIN or not _DOMAIN.fullmatch(domain)):
        return "is not a label key: what stands before / is not a domain name", "Write it as DOMAIN/NAME or NAME"
    if len(name) > _LONGEST or not _NAME.fullmatch(name):
        reason = f"at most {_LONGEST} letters, digits, '-', '_' and '.', a letter or digit at each end"
        return f"is not a label key: {reason}", "Choose such a key"
    return _taken(key, domain)


def _taken(key: str, domain: str) -> tuple[str, str] | None:
    if key in {CNI_LABEL, EXCLUDE_FROM_LB_LABEL} or _below(domain, ANNOTATION_PREFIX):
        return "is set by this program, which tells nodes apart by it", "Remove it"
    if _below(domain, "eks.amazonaws.com"):
        return "is set by EKS", "Remove it"
    if key in _ITS_OWN:
        return "is set by kubelet, as the machine is", "Remove it"
    if any(_below(domain, one) for one in _KUBERNETES) and not any(_below(domain, one) for one in _KUBELETS):
        return "is of Kubernetes itself, and kubelet does not start with it", "Use a domain of your own"
    return None


def _below(domain: str, of: str) -> bool:
    return domain == of or domain.endswith(f".{of}")
