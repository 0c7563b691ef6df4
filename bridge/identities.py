"""Which CiliumIdentity a set of labels has, and which one is made when there is none.

Rules of Cilium's own allocator (`pkg/identity/cache`, `pkg/k8s/identitybackend`, 1.20): an equal one is used again, one
that is about to be collected is unmarked first, a new one gets a random number of the cluster's range.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bridge.known import Known
from bridge.labels import Labels

Pick = Callable[[int, int], int]
"""A number between two, both included; `random.randint` is one."""

_TRIES: Final = 64
_NAMESPACE: Final = "io.kubernetes.pod.namespace"


@dataclass(frozen=True, slots=True)
class Number:
    """The number of an identity, and what has to be written before anything may name it."""

    number: int
    make: bool = False
    unmark: bool = False


def number_for(
    known: Known, labels: Labels, *, current: int, asked: Mapping[frozenset[tuple[str, str]], int], pick: Pick
) -> Number | None:
    """The identity for a set of labels; None when the cluster's range is full.

    The number that an endpoint has already is kept while its labels are right, and used again when its identity was
    deleted: whoever knows it need not learn another one. Otherwise the smallest of equal ones counts.

    Args:
        current: number in the endpoint as it is, 0 without one.
        asked: numbers that are about to be made.
        pick: chooses a number.
    """
    wanted = frozenset(labels.items())
    if wanted in asked:
        return Number(asked[wanted], make=True)
    first, last = known.cilium.first, known.cilium.last
    equal = {number for number in known.numbers(wanted) if first <= number <= last}
    if current in equal:
        return Number(current)
    if equal:
        least = min(equal)
        return Number(least, unmark=known.identities[least].collected)
    taken = {*asked.values()}
    if first <= current <= last and current not in known.identities and current not in taken:
        return Number(current, make=True)
    for _ in range(_TRIES):
        number = pick(first, last)
        if number not in known.identities and number not in taken:
            return Number(number, make=True)
    free = (n for n in range(first, last + 1) if n not in known.identities and n not in taken)
    found = next(free, 0)
    return Number(found, make=True) if found else None


def body(number: int, labels: Labels) -> dict[str, Any]:
    """The CiliumIdentity, as an agent makes it."""
    namespace = labels.get(f"k8s:{_NAMESPACE}")
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumIdentity",
        "metadata": {"name": str(number), "labels": {_NAMESPACE: namespace} if namespace else {}},
        "security-labels": dict(labels),
    }
