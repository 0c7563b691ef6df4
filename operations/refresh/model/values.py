"""What a refresh knows about nodes, pods, budgets, groups and instances, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from operations.cluster import selectors

BudgetKey = tuple[str, str]
"""Namespace and name of a PodDisruptionBudget."""


@dataclass(slots=True, frozen=True)
class Owner:
    """The controller of a pod."""

    kind: str
    name: str
    uid: str


WorkloadKey = tuple[str, str, str]
"""Kind, namespace and name of what makes pods anew."""
TEMPLATE_HASH: Final = "pod-template-hash"
"""Label of a Deployment's pods; their ReplicaSet is called by the Deployment and it (Kubernetes' deployment
controller)."""
ALONE: Final = frozenset({"DaemonSet", "Job", "Node"})
"""Controllers whose pods do not stand in for each other."""


@dataclass(slots=True, frozen=True)
class Workload:
    """Replicas, and how many of them its own rolling update takes away at once."""

    key: WorkloadKey
    replicas: int
    at_once: int
    """One at least."""

    def __str__(self) -> str:
        kind, namespace, name = self.key
        return f"{kind.lower()} {namespace}/{name}"


def share(replicas: int) -> int:
    """How many replicas may be missing at once where nobody says it: what a Deployment allows that says nothing."""
    return max(1, replicas // 4)


@dataclass(slots=True, frozen=True)
class Spread:
    """A topology spread constraint (core/v1) that keeps pods from being scheduled."""

    key: str
    """topologyKey."""
    skew: int
    selector: Mapping[str, Any] | None
    honours_taints: bool = False
    """nodeTaintsPolicy: Honor."""
    honours_affinity: bool = True
    """nodeAffinityPolicy: Honor."""


@dataclass(slots=True)
class Pod:
    """A pod, as far as draining its node asks."""

    uid: str
    namespace: str
    name: str
    node: str
    owner: Owner | None
    labels: Mapping[str, str] = field(default_factory=dict)
    mirror: bool = False
    """Made by kubelet from a file; goes with its node."""
    finished: bool = False
    terminating: bool = False
    finalizers: tuple[str, ...] = ()
    """What keeps its object after its containers have stopped."""
    ready: bool = False
    agent: bool = False
    """The CNI agent of its node: aws-node, or cilium."""
    tolerates_cordon: bool = False
    """The scheduler may put it on a cordoned node again."""
    hosts: frozenset[str] | None = None
    """Names of the only nodes that it can run on, by its selector and affinity; None: it asks for no name."""
    asks: tuple[Mapping[str, Any], ...] = ()
    """Node selector terms (core/v1), ORed, its nodeSelector in each of them; empty: any node will do."""
    host_network: bool = False
    """Takes the address of its node."""
    spread: tuple[Spread, ...] = ()
    tolerations: tuple[Mapping[str, Any], ...] = ()
    """Those that every pod has are left out, but of pods with a spread."""
    needs: tuple[tuple[str, int], ...] = ()
    """Resource and amount that its node has to have: thousandths of CPUs, bytes, whole numbers of others."""
    mark: str = ""
    """What its owner wrote on it to have it left alone, as key=value."""
    scratch: bool = False
    """Has an emptyDir or a hostPath: data that stays behind."""
    claims: tuple[str, ...] = ()
    """PersistentVolumeClaims it uses."""
    took: float = 0.0
    """Seconds from its creation until it was ready the last time; 0 when that is not known."""
    problem: str = ""
    """Why it is not ready, in the words of its conditions."""
    budgets: tuple[BudgetKey, ...] = ()
    """PodDisruptionBudgets that select it; kept by the world."""

    @property
    def stays(self) -> bool:
        """Whether it goes with its node instead of being evicted.

        A finished pod that is being deleted does not: kubelet calls a pod finished as soon as its containers have
        stopped, and a finalizer that still keeps it may need the node (`kubectl drain` waits for it too).
        """
        if self.mirror or (self.owner is not None and self.owner.kind == "DaemonSet"):
            return True
        return self.finished and not self.terminating

    @property
    def bare(self) -> bool:
        """Nothing would make it again."""
        return self.owner is None

    @property
    def workload(self) -> WorkloadKey | None:
        """What its replicas belong to; None where it has none."""
        owner, label = self.owner, self.labels.get(TEMPLATE_HASH)
        if owner is None or owner.kind in ALONE:
            return None
        if owner.kind == "ReplicaSet" and label and owner.name.endswith(f"-{label}"):
            return "Deployment", self.namespace, owner.name.removesuffix(f"-{label}")
        return owner.kind, self.namespace, owner.name

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(slots=True)
class Node:
    """A Kubernetes node."""

    name: str
    uid: str = ""
    cni: str = ""
    """Value of the label `cni-plugin`; empty without one."""
    group: str = ""
    """Managed node group it says it belongs to."""
    zone: str = ""
    instance: str = ""
    """EC2 instance id, from its provider id."""
    ready: bool = True
    agent_ready: bool = True
    """No taint says that its CNI agent is not ready."""
    unschedulable: bool = False
    ours: bool = False
    """The refresh cordoned it (annotation)."""
    found_cordoned: bool = False
    """It was cordoned by somebody else before the refresh did (value of the annotation)."""
    taints: tuple[Mapping[str, Any], ...] = ()
    """As the API holds them. The list is replaced as a whole by every patch: it has no merge key."""
    version: str = ""
    soft: bool = False
    """Has the soft taint of the refresh."""
    canary: bool = False

    @property
    def active(self) -> bool:
        """On its way out. One that somebody uncordoned is not."""
        return self.ours and self.unschedulable


@dataclass(slots=True)
class DisruptionBudget:
    """A PodDisruptionBudget and what it allows at the moment."""

    key: BudgetKey
    selector: Mapping[str, Any] | None
    """LabelSelector; {} selects every pod of the namespace, None no pod."""
    allowed: int = 0
    """status.disruptionsAllowed; 0 while the controller has not looked at the newest spec."""
    expected: int = 0
    desired: int = 0
    healthy: int = 0
    version: str = ""
    """Changes with every status."""
    unnoted: tuple[str, ...] = ()
    """Names of pods that were evicted and that the disruption controller has not counted since (disruptedPods)."""
    current: bool = True
    """The disruption controller has looked at the newest spec."""
    failure: str = ""
    """Why that controller cannot count its pods (condition DisruptionAllowed, reason SyncFailed)."""

    @property
    def unreadable(self) -> frozenset[str]:
        """Operators of its selector that are not known here: whether it selects a pod cannot be told."""
        return selectors.unknown_operators(self.selector)

    @property
    def whole(self) -> int:
        """Disruptions that it allows while all its pods are healthy."""
        return max(0, self.expected - self.desired)

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether it selects a pod of its namespace; one that cannot be told of may."""
        try:
            return self.selector is not None and selectors.matches(self.selector, labels)
        except selectors.UnknownOperator:
            return True

    def __str__(self) -> str:
        return f"{self.key[0]}/{self.key[1]}"


@dataclass(frozen=True)
class Sizes:
    """Bounds and wish of a node group."""

    minimum: int
    desired: int
    maximum: int

    def __str__(self) -> str:
        return f"{self.minimum}/{self.desired}/{self.maximum}"


@dataclass(slots=True)
class Group:
    """A node group: managed by EKS, or an Auto Scaling group of its own."""

    name: str
    managed: bool
    sizes: Sizes
    scaling_groups: tuple[str, ...] = ()
    changing: bool = False
    """EKS is carrying out an update; another one would be refused."""
    rebalancing: bool = True
    """Auto Scaling may end instances to even out zones."""
    issues: tuple[str, ...] = ()
    """What EKS or Auto Scaling complains about: no capacity, launches that failed."""


ALIVE = frozenset({"pending", "in-service"})


@dataclass(slots=True)
class Instance:
    """An instance of a node group, by its Auto Scaling life cycle."""

    id: str
    group: str
    scaling_group: str
    zone: str
    state: str
    """pending | in-service | ending | other"""

    @property
    def alive(self) -> bool:
        return self.state in ALIVE


@dataclass(frozen=True)
class Target:
    """An instance at a target group of a load balancer."""

    target_group: str
    serving: bool
    """Gets new connections (initial, healthy, unhealthy); False while draining."""
    delay: float
    """Deregistration delay of the target group, seconds."""


@dataclass
class CloudView:
    """One look at AWS."""

    groups: dict[str, Group]
    instances: dict[str, Instance]
    targets: dict[str, tuple[Target, ...]]
    """Instance id -> where it still is registered. Only of the instances asked for."""
    asked: frozenset[str] = frozenset()
    """Instances that were asked about."""
    gone: frozenset[str] = frozenset()
    """Those of them that EC2 does not know any more, or knows as terminated."""


class Selecting:
    """Which budgets select a pod, without asking each of them: by namespace, and by one label that they ask for."""

    def __init__(self) -> None:
        self._budgets: dict[tuple[str, str, str], dict[BudgetKey, DisruptionBudget]] = {}

    @staticmethod
    def _place(budget: DisruptionBudget) -> tuple[str, str, str]:
        wanted = (budget.selector or {}).get("matchLabels") or {}
        return (budget.key[0], *min(wanted.items(), default=("", "")))

    def add(self, budget: DisruptionBudget) -> None:
        self._budgets.setdefault(self._place(budget), {})[budget.key] = budget

    def remove(self, budget: DisruptionBudget) -> None:
        self._budgets.get(self._place(budget), {}).pop(budget.key, None)

    def of(self, pod: Pod) -> tuple[BudgetKey, ...]:
        places = [(pod.namespace, "", ""), *((pod.namespace, *label) for label in pod.labels.items())]
        asked = (budget for place in places for budget in self._budgets.get(place, {}).values())
        return tuple(budget.key for budget in asked if budget.selects(pod.labels))
