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
        elif reason := value_problem(value):
            yield key, value, reason, "Choose such a value"
    size = sum(len(key) + len(value) + 2 for key, value in labels.items())
    if size > MOST_BYTES:
        yield (
            "",
            "",
            f"have {size} bytes, and the user data of a node has no room for more than {MOST_BYTES}",
            "Use fewer",
        )


def value_problem(value: str) -> str:
    """Why a text is no value of a label or taint; empty where it is one."""
    if len(value) <= _LONGEST and _VALUE.fullmatch(value):
        return ""
    return f"is not a label value: at most {_LONGEST} letters, digits, '-', '_' and '.', a letter or digit at each end"


def key_problem(key: str) -> str:
    """Why a text is no key of a label or taint; empty where it is one."""
    domain, slash, name = key.rpartition("/")
    if slash and (len(domain) > _LONGEST_DOMAIN or not _DOMAIN.fullmatch(domain)):
        return "is not a label key: what stands before / is not a domain name"
    if len(name) > _LONGEST or not _NAME.fullmatch(name):
        return (
            f"is not a label key: at most {_LONGEST} letters, digits, '-', '_' and '.', a letter or digit at each end"
        )
    return ""


def _key(key: str) -> tuple[str, str] | None:
    domain, slash, _ = key.rpartition("/")
    if reason := key_problem(key):
        fix = "Write it as DOMAIN/NAME or NAME" if slash and "domain" in reason else "Choose such a key"
        return reason, fix
    return _taken(key, domain)


def _taken(key: str, domain: str) -> tuple[str, str] | None:
    if key in {CNI_LABEL, EXCLUDE_FROM_LB_LABEL} or below(domain, ANNOTATION_PREFIX):
        return "is set by this program, which tells nodes apart by it", "Remove it"
    if below(domain, "eks.amazonaws.com"):
        return "is set by EKS", "Remove it"
    if key in _ITS_OWN:
        return "is set by kubelet, as the machine is", "Remove it"
    if any(below(domain, one) for one in _KUBERNETES) and not any(below(domain, one) for one in _KUBELETS):
        return "is of Kubernetes itself, and kubelet does not start with it", "Use a domain of your own"
    return None


def below(domain: str, of: str) -> bool:
    """Whether a domain is another one or lies below it."""
    return domain == of or domain.endswith(f".{of}")
