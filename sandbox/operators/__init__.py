"""Controllers that stand for what runs inside an EKS cluster: CNI agents, Cilium, Calico, load balancing."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.operators.adapters import WorldCluster
from sandbox.operators.cilium import CiliumOperator
from sandbox.operators.cilium_agent import CiliumAgents
from sandbox.operators.cni import CniController
from sandbox.operators.loadbalancer import LoadBalancerController
from sandbox.operators.networks import AwsNetwork
from sandbox.operators.tigera import TigeraOperator
from sandbox.world import Controller, World

__all__ = ["controllers"]

_AGENT, _OPERATOR, _TIGERA = (
    f"system:serviceaccount:{account}"
    for account in ("kube-system:cilium", "kube-system:cilium-operator", "tigera-operator:tigera-operator")
)
"""Who the real ones are to the API server."""

controllers: list[Callable[[World], Controller]] = [
    lambda world: CniController(WorldCluster(world), AwsNetwork(world.aws)),
    lambda world: CiliumAgents(WorldCluster(world.acting_as(_AGENT)), AwsNetwork(world.aws)),
    lambda world: CiliumOperator(WorldCluster(world.acting_as(_OPERATOR)), AwsNetwork(world.aws)),
    lambda world: TigeraOperator(WorldCluster(world.acting_as(_TIGERA))),
    lambda world: LoadBalancerController(WorldCluster(world), world.aws),
]
"""What the daemon runs, each in a thread of its own."""
