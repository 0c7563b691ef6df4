"""Taints that kubelet registers its own node with, and which are not a group's to give.

Source: Kubernetes 1.35, pkg/util/taints (`ParseTaints`, `CheckTaintValidation`); cmd/kubelet/app/options.
"""

from collections.abc import Iterator, Sequence
from typing import Final, Literal, Protocol

from migration.names import AGENT_NOT_READY_TAINT, ANNOTATION_PREFIX, CANARY_TAINT
from migration.rules import node_labels

Effect = Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]
_OURS: Final = {AGENT_NOT_READY_TAINT, CANARY_TAINT}
_OTHERS: Final = ("node.kubernetes.io", "node.cloudprovider.kubernetes.io")


class Taint(Protocol):
    @property
    def key(self) -> str: ...
    @property
    def value(self) -> str: ...
    @property
    def effect(self) -> Effect: ...


def problems(taints: Sequence[Taint]) -> Iterator[tuple[int, str, str, str]]:
    """Place in the list, value, reason and fix of each taint that a node group cannot give its nodes."""
    seen: dict[tuple[str, str], int] = {}
    for index, taint in enumerate(taints):
        shown = f"{taint.key}={taint.value}:{taint.effect}"
        domain = taint.key.rpartition("/")[0]
        if reason := node_labels.key_problem(taint.key):
            yield index, shown, f"its key {reason}", "Choose such a key"
        elif reason := node_labels.value_problem(taint.value):
            yield index, shown, f"its value {reason}", "Choose such a value"
        elif taint.key in _OURS or node_labels.below(domain, ANNOTATION_PREFIX):
            yield index, shown, "is set by this program", "Remove it"
        elif any(node_labels.below(domain, one) for one in _OTHERS):
            yield index, shown, "is set by Kubernetes, as the node is, and taken away by it", "Use a domain of your own"
        elif (first := seen.setdefault((taint.key, taint.effect), index)) != index:
            yield index, shown, f"has the key and effect of entry {first}, and a node has one of each", "Remove one"
