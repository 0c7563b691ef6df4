"""What the configuration of Cilium's agents changes about policy, read off a live cluster.

Whoever compares policies with a cluster takes it from here: gates, and `policy … --live`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kube.cluster import Cluster
from kube.transport import Obj
from migration.names import SYSTEM_NAMESPACE
from netpol.model.world import CiliumOptions
from prover.cilium_config import declared, options, refuse_laid_over
from prover.counting import counted

CONFIG: Final = "cilium-config"
_NODE_CONFIGS: Final = ("cilium.io/v2", "cilium.io/v2alpha1")


def of_cluster(kube: Cluster, version: tuple[int, int], values: Mapping[str, Any] | None = None) -> CiliumOptions:
    """What the agents of a cluster are told; where there are none yet, what the values of their chart come to.

    Args:
        kube: the cluster.
        version: (major, minor) of Cilium.
        values: of the chart; None: nobody knows them, and the chart's own are taken.

    Raises:
        UndecidableError: nobody knows what it comes to; with the object, the key and the way out.
        kube.transport.KubeError, TimeoutError: the cluster cannot be read.
    """
    live = kube.get(f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps/{CONFIG}")
    if live is None:
        return declared(values or {}, version, counted)
    config = live.get("data") or {}
    refuse_laid_over(node_configs(kube), config)
    return options(config, version, counted)


def node_configs(kube: Cluster) -> list[Obj]:
    """Configuration that is laid over cilium-config on some nodes. One object, served in two versions."""
    return next((found for api in _NODE_CONFIGS if (found := kube.custom(api, "ciliumnodeconfigs"))), [])
