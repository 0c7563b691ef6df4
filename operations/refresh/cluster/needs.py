"""What a pod asks its node to have.

Source: Kubernetes, pkg/api/v1/resource (`PodRequests`): containers add up with sidecars; an init container runs with
the sidecars before it; the larger of both counts, and the overhead of the runtime class on top.
"""

from collections.abc import Iterable
from typing import Any, Final

from kube.transport import Obj
from operations.cluster import quantities

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
    counted = ((name, str(value)) for name, value in given if name not in _ELSEWHERE)
    found = {name: quantities.amount(text, thousandths=name == "cpu") for name, text in counted}
    return {name: number for name, number in found.items() if number}


def _add(total: dict[str, int], more: dict[str, int]) -> None:
    for name, number in more.items():
        total[name] = total.get(name, 0) + number
