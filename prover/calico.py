"""Which of its API groups Calico takes its policies from, of what the cluster holds. Pure.

As Calico's own parts find it: what calico-node is told, else a finished DatastoreMigration, else `NATIVE` only where
`STORED` is not served (calico v3.32, libcalico-go/lib/backend/k8s, UsingV3CRDs; operator v1.42, pkg/apis).
"""

from collections.abc import Callable, Iterable
from typing import Final

from kube.transport import Obj
from prover.kinds import NATIVE, STORED

TOLD_BY: Final = "CALICO_API_GROUP"
"""Environment variable by which the operator tells Calico's parts which group to use."""
MIGRATIONS: Final = "/apis/migration.projectcalico.org/v1beta1/datastoremigrations"
TRACES: Final = ("clusterinformations", "tiers", "felixconfigurations", "globalnetworkpolicies", "networkpolicies")
"""What a Calico that runs keeps: calico-node writes the first when it starts, and tiers since v3.29."""
_MOVING: Final = frozenset({"Migrating", "WaitingForConflictResolution"})
_MOVED: Final = frozenset({"Converged", "Complete"})


def told(daemonsets: Iterable[Obj]) -> str:
    """What calico-node is told; empty when nothing."""
    said = {
        str(variable.get("value", ""))
        for daemonset in daemonsets
        for container in daemonset["spec"]["template"]["spec"].get("containers") or []
        for variable in container.get("env") or []
        if variable.get("name") == TOLD_BY and variable.get("value")
    }
    if not said:
        return ""
    # Whatever is not the one is the other to Calico, whose comparison ignores case.
    return NATIVE if {word.lower() for word in said} == {NATIVE} else STORED


def chosen(daemonsets: Iterable[Obj], migrations: Iterable[Obj], served: Callable[[str], bool]) -> str:
    """`STORED` or `NATIVE`.

    Args:
        daemonsets: calico-node, wherever it runs.
        migrations: the DatastoreMigrations.
        served: whether policies are served under a group; asked only where nothing else tells.
    """
    found = told(daemonsets) or (NATIVE if moved(migrations) else "")
    return found or (NATIVE if not served(STORED) and served(NATIVE) else STORED)


def moving(migrations: Iterable[Obj]) -> bool:
    """Whether objects are being moved from one group to the other: neither is the whole then."""
    return bool(_phases(migrations) & _MOVING)


def moved(migrations: Iterable[Obj]) -> bool:
    """Whether all of them have been moved to `NATIVE`."""
    return bool(_phases(migrations) & _MOVED)


def _phases(migrations: Iterable[Obj]) -> set[str]:
    return {str((m.get("status") or {}).get("phase", "")) for m in migrations}
