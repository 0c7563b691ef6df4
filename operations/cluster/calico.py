"""Where Calico keeps its objects: under which of its two API groups, and whether the Calico that runs is seen there."""

from typing import Final

from kube.cluster import Cluster
from kube.transport import KubeError, Obj
from migration.names import CALICO_NODE
from migration.rules.versions import is_version
from operations.cluster import objects
from operations.evidence import UnknownError
from prover import calico as prover
from prover import kinds

STORED, NATIVE = kinds.STORED, kinds.NATIVE
_LOOK: Final = "Look at `kubectl get --raw /apis`, the DaemonSet calico-node and `kubectl get datastoremigrations`"


def api(kube: Cluster) -> str:
    """`STORED` or `NATIVE`: the one from which Calico enforces.

    As Calico's own parts find it (`prover.calico`).

    Raises:
        UnknownError: objects are being moved from one group to the other, or Calico runs and has left nothing in the
            group that would count: no policies there means nothing.
        kube.transport.KubeError: it cannot be read.
    """
    found: str = kube.once("calico's api", lambda: _found(kube))
    return found


def custom(kube: Cluster, plural: str) -> list[Obj]:
    """Calico's objects of a kind, from where Calico takes them. Raises as `api` does."""
    return kube.custom(api(kube), plural)


def running(kube: Cluster) -> list[Obj]:
    """The DaemonSets calico-node, in whichever namespace."""
    return [d for d in kube.daemonsets() if objects.name(d) == CALICO_NODE]


def version(kube: Cluster, live: Obj) -> str | None:
    """Version of the Calico that runs; None when nothing tells it.

    Args:
        live: its DaemonSet calico-node.
    """
    installations = kube.custom("operator.tigera.io/v1", "installations")
    information = kube.custom(STORED, "clusterinformations") or kube.custom(NATIVE, "clusterinformations")
    return told_version(live, *(_default(found) for found in (installations, information)))


def _default(found: list[Obj]) -> Obj | None:
    return next((one for one in found if objects.name(one) == "default"), None)


def told_version(live: Obj | None, installation: Obj | None, information: Obj | None) -> str | None:
    """Version of Calico; None when nothing tells it.

    An image that is pinned by digest, or whose tag is a word, has none. Then the operator is asked, and last what
    calico-node itself writes down when it starts.

    Args:
        live: the DaemonSet calico-node.
        installation: the Installation `default`.
        information: the ClusterInformation `default`.
    """
    for told in (
        objects.tag(objects.images(live)[0]) if live else None,
        ((installation or {}).get("status") or {}).get("calicoVersion"),
        ((information or {}).get("spec") or {}).get("calicoVersion"),
    ):
        if told and is_version(str(told)):
            return str(told)
    return None


def _found(kube: Cluster) -> str:
    runs = running(kube)
    # What calico-node is told counts, whatever moves.
    migrations = [] if prover.told(runs) else _migrations(kube)
    chosen = prover.chosen(runs, migrations, lambda group: _served(kube, group))
    if runs and not any(kube.custom(chosen, plural) for plural in prover.TRACES):
        raise UnknownError(
            f"calico-node runs and nothing of Calico is under {chosen}: where its policies are cannot be told",
            _LOOK,
            about="Calico's policies",
        )
    return chosen


def _migrations(kube: Cluster) -> list[Obj]:
    migrations = kube.items(prover.MIGRATIONS)
    if prover.moving(migrations):
        raise UnknownError(
            "a DatastoreMigration moves Calico's objects from one API group to the other",
            "Wait until it is complete",
            about="Calico's policies",
        )
    return migrations


def _served(kube: Cluster, group: str) -> bool:
    """Whether policies are served under the group. An API server behind another that fails is no answer."""

    def ask() -> bool:
        try:
            kube.request("GET", f"/apis/{group}/globalnetworkpolicies?limit=1")
        except KubeError as error:
            if error.status != 404:
                raise
            return False
        return True

    answer: bool = kube.once(f"served: {group}", ask)
    return answer
