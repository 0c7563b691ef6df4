"""Marks by which owners ask that a pod be left alone: annotations, or labels, of tools that take nodes away."""

from collections.abc import Mapping
from typing import Final

BINDING: Final[Mapping[str, str]] = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
    "karpenter.sh/do-not-evict": "true",
    "cluster.x-k8s.io/drain": "skip",
    "agones.dev/safe-to-evict": "false",
}
"""Key -> the value with which the tool leaves the pod where it is, for as long as that stands there.

Sources: Cluster Autoscaler's FAQ; Karpenter's Disruption page (`do-not-evict` up to v1beta1); Cluster API's drain label
(1.9); Agones' GameServer pods.
"""
WISHES: Final = frozenset({"karpenter.sh/do-not-disrupt", "descheduler.alpha.kubernetes.io/prefer-no-eviction"})
"""Keys whose other values ask for less: for a while from the start of the pod (Karpenter 1.12), or where it can be."""
_KNOWN: Final = frozenset({*BINDING, *WISHES})


def of(*marked: Mapping[str, str]) -> str:
    """The mark on a pod as `key=value`, one that binds before a wish; empty without one.

    Args:
        marked: its annotations, its labels.
    """
    found = [f"{key}={value}" for texts in marked for key, value in texts.items() if key in _KNOWN]
    wishes = [text for text in found if text.partition("=")[0] in WISHES and not text.endswith("=false")]
    return min(filter(binds, found), default="") or min(wishes, default="")


def binds(mark: str) -> bool:
    """Whether a mark is to be kept for as long as it stands there."""
    key, _, value = mark.partition("=")
    return BINDING.get(key) == value.lower()
