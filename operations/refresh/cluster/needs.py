"""What a pod asks its node to have.

Source: Kubernetes, pkg/api/v1/resource (`PodRequests`): containers add up with sidecars; an init container runs with
the sidecars before it; the larger of both counts, and the overhead of the runtime class on top.
"""

import re
from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from math import ceil
from typing import Any, Final

from kube.transport import Obj

_QUANTITY: Final = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]{1,3})?)(Ki|Mi|Gi|Ti|Pi|Ei|m|u|n|k|M|G|T|P|E|)")
_TIMES: Final = {
    "": Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": Decimal(10**3),
    "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15), "E": Decimal(10**18),
    **{unit: Decimal(1024**power) for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}  # fmt: skip
_ELSEWHERE: Final = {"ephemeral-storage", "pods"}
"""Disks and numbers of pods are the group's own matter."""


def needs(spec: Obj) -> tuple[tuple[str, int], ...]:
    """Resource → amount of a pod: thousandths of CPUs, bytes, whole numbers of others; what is zero is left out."""
    together: dict[str, int] = {}
    most: dict[str, int] = {}
    for container in spec.get("initContainers") or []:
        asked = _asked(container)
        if container.get("restartPolicy") == "Always":
            _add(together, asked)
            continue
        for name, amount in asked.items():
            most[name] = max(most.get(name, 0), together.get(name, 0) + amount)
    for container in spec.get("containers") or []:
        _add(together, _asked(container))
    total = {name: max(together.get(name, 0), most.get(name, 0)) for name in together.keys() | most.keys()}
    _add(total, _amounts((spec.get("overhead") or {}).items()))
    return tuple(sorted((name, amount) for name, amount in total.items() if amount))


def _asked(container: Obj) -> dict[str, int]:
    """Requests; of what is only limited, the limit, as admission fills it in."""
    resources = container.get("resources") or {}
    return _amounts({**(resources.get("limits") or {}), **(resources.get("requests") or {})}.items())


def _amounts(given: Iterable[tuple[str, Any]]) -> dict[str, int]:
    found = {name: amount(str(value), thousandths=name == "cpu") for name, value in given if name not in _ELSEWHERE}
    return {name: number for name, number in found.items() if number}


def _add(total: dict[str, int], more: dict[str, int]) -> None:
    for name, number in more.items():
        total[name] = total.get(name, 0) + number


@lru_cache(maxsize=10_000)
def amount(text: str, *, thousandths: bool = False) -> int:
    """A quantity, rounded up; 0 for what is none, which no API server lets into a pod."""
    match = _QUANTITY.fullmatch(text)
    try:
        number = Decimal(match[1]) * _TIMES[match[2]] * (1_000 if thousandths else 1) if match else Decimal(0)
        return ceil(number)
    except ArithmeticError:
        return 0
