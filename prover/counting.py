"""Which labels of a pod count for its identity, by `labels` in Cilium's configuration. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from bridge.labels import LabelFilter
from bridge.patterns import Unreadable
from netpol.model.errors import UndecidableError
from netpol.model.identity import in_identity
from prover.cilium_config import ABOUT


@dataclass(frozen=True)
class Counted:
    """Says of a label of a pod, by its key, whether it counts for the pod's identity. Equal for equal prefixes."""

    labels: str

    def __call__(self, key: str) -> bool:
        return _filter(self.labels).counts("k8s", key)


@lru_cache(maxsize=16)
def _filter(labels: str) -> LabelFilter:
    return LabelFilter(labels)


def counted(labels: str) -> Callable[[str], bool]:
    """Which labels count, for the value of `labels` in cilium-config.

    Raises:
        UndecidableError: a prefix that Cilium does not take, or may read differently than we do.
    """
    if not labels.strip():
        return in_identity
    try:
        _filter(labels)
    except Unreadable as error:
        raise UndecidableError(
            f"{ABOUT}: labels: {error}. Write prefixes that need no such expression, or leave `labels` out"
        ) from None
    return Counted(labels)
