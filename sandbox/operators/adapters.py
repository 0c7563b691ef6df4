"""The ports of the controllers, on the world of a running sandbox."""

from __future__ import annotations

from sandbox.cache import Informer
from sandbox.operators.kube import Cluster, Kind, Object, name, namespace
from sandbox.world import KubeError, World

_SYNC_SECONDS = 30.0


class WorldCluster(Cluster):
    """A cluster seen through shared informers and changed through the API."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._informers: dict[Kind, Informer] = {}

    def _informer(self, kind: Kind) -> Informer:
        informer = self._informers.get(kind)
        if informer is None:
            informer = self._informers[kind] = self._world.informer(kind.path())
        return informer

    def list(self, kind: Kind) -> list[Object]:
        informer = self._informer(kind)
        # An empty list that only means "not read yet" would look as if everything were gone.
        if not (informer.answered(_SYNC_SECONDS) if kind.custom else informer.wait(_SYNC_SECONDS)):
            raise TimeoutError(f"{kind.plural} were not listed within {_SYNC_SECONDS:.0f} s")
        return informer.list()

    def create(self, kind: Kind, body: Object) -> bool:
        # A definition is there a moment before the API server serves its kind.
        if kind.custom and not self._informer(kind).synced:
            return False
        try:
            self._world.call("POST", kind.path(namespace=namespace(body)), _typed(kind, body))
        except KubeError as error:
            if error.reason == "AlreadyExists":
                return False
            raise
        return True

    def apply(self, kind: Kind, body: Object, manager: str) -> None:
        path = kind.path(name(body), namespace(body))
        self._world.apply(path, _typed(kind, body), manager=manager)

    def patch(self, kind: Kind, target: Object, body: Object, subresource: str = "") -> bool:
        path = kind.path(name(target), namespace(target), subresource)
        try:
            self._world.patch(path, body, kind="merge" if kind.custom else "strategic")
        except KubeError as error:
            if error.status in (404, 409):
                return False
            raise
        return True

    def delete(self, kind: Kind, target: Object) -> None:
        path = kind.path(name(target), namespace(target))
        options = {"preconditions": {"uid": target["metadata"]["uid"]}, "propagationPolicy": "Background"}
        try:
            self._world.call("DELETE", path, options)
        except KubeError as error:
            if error.status not in (404, 409):
                raise


def _typed(kind: Kind, body: Object) -> Object:
    return {"apiVersion": kind.api_version, "kind": kind.kind, **body}
