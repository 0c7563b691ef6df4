"""Connections to one cluster, and the first look at it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from operations.access.connection import Api, WrongClusterError, own_account
from operations.access.context import Context
from operations.refresh.cluster import groups as grouping
from operations.refresh.cluster.cloud import Cloud
from operations.refresh.cluster.groups import Groups
from operations.refresh.cluster.kube import Kube
from operations.refresh.cluster.live import Live
from operations.refresh.cluster.proof import Proof, Published, Unasked
from operations.refresh.model.request import CNI_OF, RefreshRequest
from operations.refresh.model.world import World

CONNECTIONS: Final = 40
"""Requests at once: watches, and actions on as many nodes as may be on their way."""


@dataclass
class Session:
    """Connections to one cluster, after it was made sure that it is the right one."""

    context: Context
    groups: Groups
    kube: Kube
    cloud: Cloud

    @classmethod
    def open(cls, context: Context) -> "Session":
        """Connect.

        Raises:
            WrongClusterError: account, cluster and API server do not belong together.
            InvalidRequest: no groups are known.
        """
        groups = grouping.groups(context.settings, context.facts if context.adopted else None)
        api = context.kube.transport
        if not isinstance(api, Api):
            raise TypeError("a refresh needs a connection of its own")
        described = context.aws.cluster(context.cluster_name)
        if described is None:
            raise WrongClusterError(f"EKS cluster {context.cluster_name} does not exist in {context.aws.region}")
        own_account(context.aws, described)
        cloud = Cloud(context.aws, context.cluster_name, groups.refs, described["resourcesVpcConfig"]["vpcId"])
        return cls(context, groups, Kube(api.wide(CONNECTIONS)), cloud)

    @contextmanager
    def proof(self) -> Iterator[Proof]:
        """What the prover says, kept up meanwhile. A stack without the bridge has no prover."""
        if not self.context.settings.bridge.enabled:
            yield Unasked()
            return
        with Published(self.kube) as published:
            yield published

    @contextmanager
    def watched(self, request: RefreshRequest) -> Iterator[Live]:
        """The cluster as a refresh sees it, kept up meanwhile.

        Raises:
            UnreadableError: it cannot be read.
            UnknownGroupError: a configured group does not exist.
        """
        live = Live(self.kube, World(CNI_OF[request.source], CNI_OF[request.target]))
        live.start()
        try:
            look_at_all(self.cloud, live.world)
            yield live
        finally:
            live.stop()


def look_at_all(cloud: Cloud, world: World) -> None:
    """The first look: groups, instances, and where those on their way out are registered.

    Raises:
        UnknownGroupError: a configured group does not exist.
    """
    began = time.monotonic()
    active = {node.instance for node in world.old.values() if node.active and node.instance}
    known = cloud.look(active)
    nodes = (*world.old.values(), *world.new.values())
    missing = {n.instance for n in nodes if n.instance} - set(known.instances) - active
    world.see_cloud(cloud.look(active | missing) if missing else known, began)
