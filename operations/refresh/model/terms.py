"""Words of a refresh: times, the goal, and what is waited for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from operations.refresh.model.values import Pod, Sizes

SHOWN_LATE = 30.0
"""Seconds after which the watch should have shown what was done."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Times in seconds."""

    look: float = 5.0
    """Between two looks at AWS while something there is awaited."""
    idle_look: float = 30.0
    join: float = 300.0
    """How long an instance may take to become a node."""
    node_object: float = 60.0
    """How long the cloud may take to remove the Node object of an instance that is gone."""
    unreachable: float = 300.0
    """How long pods may be stopping on a node whose kubelet is silent."""
    uncordoned: float = 600.0
    """How long a node that somebody uncordoned is left alone."""
    volumes: float = 600.0
    """How long volumes may stay attached to a node without pods; Kubernetes itself gives up after six minutes."""
    in_service: float = 60.0
    """How long a load balancer's keeper may take to begin with the deregistration."""
    deregistration_margin: float = 30.0
    recovery: float = 120.0
    """How long a moved workload may take to be ready before no further node is begun."""
    retry: tuple[float, float] = (1.0, 60.0)
    """Wait after the first failure of an action, and at most."""
    admission: float = 0.1
    returns: int = 3
    """How often a pod that tolerates the cordon is moved before it is left to go with its node."""


@dataclass(frozen=True)
class Goal:
    """Where a refresh ends."""

    sources: tuple[str, ...]
    """Groups that end at zero."""
    targets: Mapping[str, Sizes]
    """Groups that hold the workloads afterwards."""
    total: int
    """Old nodes when the refresh began."""
    unhealthy_before: frozenset[str] = frozenset()
    """Controllers ("namespace/name") that had pods that were not ready before anything was done."""
    resume_rebalancing: frozenset[str] = frozenset()
    """Groups whose rebalancing was on before."""

    @property
    def wanted(self) -> int:
        """New nodes at the end."""
        return sum(sizes.desired for sizes in self.targets.values())


@dataclass(frozen=True)
class Awaited:
    """What a node, or all of them, wait for before they go on."""

    object: str
    reason: str
    node: str = ""


def controller(pod: Pod) -> str:
    return f"{pod.namespace}/{pod.owner.name}" if pod.owner else str(pod)


def unhealthy(pods: Iterable[Pod]) -> frozenset[str]:
    """Controllers whose pods are not ready."""
    return frozenset(controller(pod) for pod in pods)


def duration(seconds: float) -> str:
    """`"41 s"`, `"3 min 05 s"`, `"1 h 02 min"`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
