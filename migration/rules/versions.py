"""Which versions go together, as data, and the question whether a choice does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reading import brief

Minor = tuple[int, int]

CILIUM_KUBERNETES: Final[Mapping[Minor, tuple[Minor, Minor]]] = {
    (1, 18): ((1, 30), (1, 33)),
    (1, 19): ((1, 32), (1, 35)),
    (1, 20): ((1, 32), (1, 35)),
}
"""Cilium minor -> first and last Kubernetes minor tested by Cilium.

Source: Documentation/network/kubernetes/compatibility.rst; for 1.20 the EKS versions of its own CI."""

CALICO_KUBERNETES: Final[Mapping[Minor, tuple[Minor, Minor]]] = {
    (3, 29): ((1, 29), (1, 32)),
    (3, 30): ((1, 31), (1, 34)),
    (3, 31): ((1, 32), (1, 35)),
    (3, 32): ((1, 33), (1, 36)),
}
"""Calico minor -> first and last Kubernetes minor tested (system requirements page of that version)."""

CILIUM_DEFAULT: Final = "1.20.2"
CALICO_DEFAULT: Final = "v3.32.1"
KUBERNETES_DEFAULT: Final = "1.35"
PREFIX_DELEGATION: Final = (1, 20, 2)
"""First Cilium whose prefix delegation this program counts on."""
MINIMUM_KERNEL: Final[Minor] = (5, 10)
"""Cilium 1.18 and later (Documentation/operations/system_requirements.rst)."""


def release(version: str) -> tuple[int, ...]:
    """`"v1.20.2"` -> `(1, 20, 2)`.

    Raises:
        ValueError: it is not MAJOR.MINOR.PATCH.
    """
    return tuple(int(part) for part in version.removeprefix("v").split("."))


def is_version(text: str) -> bool:
    """Whether a text, such as an image's tag, names a version at all."""
    try:
        minor(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Misfit:
    """Two versions that do not go together; `text` says why and what would."""

    subject: str
    value: str
    text: str


def minor(version: str) -> Minor:
    """`"v1.35.4-eks-1"` -> `(1, 35)`.

    Raises:
        ValueError: the text does not begin with MAJOR.MINOR.
    """
    parts = version.removeprefix("v").split(".")
    try:
        return int(parts[0]), int(parts[1])
    except (IndexError, ValueError):
        raise ValueError(f"{brief(version)} is not a version: expected MAJOR.MINOR[.PATCH]") from None


def misfits(*, kubernetes: str, cilium: str | None, calico: str | None) -> tuple[Misfit, ...]:
    """What does not go together. An unknown minor is a misfit as well: nobody tested it. None is not there."""
    found = []
    k8s = minor(kubernetes)
    for product, version, table in (("Cilium", cilium, CILIUM_KUBERNETES), ("Calico", calico, CALICO_KUBERNETES)):
        if version is None:
            continue
        span = table.get(minor(version))
        if span is None:
            known = ", ".join(_text(m) for m in table)
            found.append(Misfit(product, version, f"{product} {version} is not known here; use one of {known}"))
        elif not span[0] <= k8s <= span[1]:
            fits = [_text(m) for m, (low, high) in table.items() if low <= k8s <= high]
            advice = f"use {product} {' or '.join(fits)}" if fits else f"change Kubernetes to {_text(span[1])} or below"
            text = (
                f"{product} {version} is tested with Kubernetes {_text(span[0])} to {_text(span[1])}, "
                f"not with {_text(k8s)}; {advice}"
            )
            found.append(Misfit(product, version, text))
    return tuple(found)


def _text(version: Minor) -> str:
    return f"{version[0]}.{version[1]}"
