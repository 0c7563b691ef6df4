"""What must never be the case while a cluster is moved, as rules over what a watcher of the API has seen.

Pure: events go in, findings come out. `Watcher.feed` takes Kubernetes events in the order in which they happened,
`Watcher.account` takes readings of the AWS account; `Watcher.check` says what is wrong at that instant.

| rule | violated when |
|---|---|
| unenforced | a Ready workload pod runs where its CNI agent or enforcer is not Ready, beyond its grace |
| two-cnis | both CNI agents are on one node |
| pdb | pods went down until fewer are healthy than a PodDisruptionBudget demands |
| terminated-with-pods | an instance ends while a workload pod that no DaemonSet owns is bound to its node |
| terminated-in-service | an instance ends while a target group still sends traffic to it |
| identity-missing | Cilium does not know a pod of a legacy node by its labels, beyond its grace |
| policy-deleted | (for information) a network policy of any kind was deleted |

A workload pod is one without hostNetwork that no DaemonSet of kube-system or calico-system owns. `unenforced` counts
from the first instant at which every workload pod was enforced: before, there is nothing to lose. The grace is
START_GRACE for a pod that has never been enforced, because nothing was ever programmed for it, and RESTART_GRACE for
one that has been: its rules stay in the kernel while its agents are rolled out anew, and only an agent that does not
come back leaves it behind. `identity-missing` counts while there is a Cilium agent, from IDENTITY_GRACE after the pod
has its address: an endpoint says the address, and an identity of that number has the pod's labels and namespace.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.operators import kube
from sandbox.operators.agents import AWS, CILIUM, cni_of
from sandbox.operators.cni import WIRED_BY
from sandbox.operators.kube import Kind, Object

__all__ = ["IDENTITY_GRACE", "INFORMATION", "RESTART_GRACE", "RULES", "START_GRACE", "WATCHED", "Finding", "Watcher"]

START_GRACE = 2.0
"""Seconds that a pod may be Ready before its agents are."""
RESTART_GRACE = 15.0
"""Seconds that the agents of a pod which they have enforced before may be away."""

IDENTITY_GRACE = 5.0
"""Seconds that a pod of a legacy node may have an address before Cilium knows whose it is."""

RULES = (
    *("unenforced", "two-cnis", "pdb", "terminated-with-pods", "terminated-in-service", "identity-missing"),
    "policy-deleted",
)
INFORMATION = frozenset({"policy-deleted"})
POLICIES = (
    kube.NETWORK_POLICIES,
    kube.CILIUM_POLICIES,
    kube.CILIUM_CLUSTER_POLICIES,
    kube.CALICO_POLICIES,
    kube.CALICO_GLOBAL_POLICIES,
)
WATCHED = (
    *(kube.NODES, kube.PODS, kube.DISRUPTION_BUDGETS),
    *(kube.DAEMON_SETS, kube.DEPLOYMENTS, kube.REPLICA_SETS, kube.STATEFUL_SETS),
    *(kube.CILIUM_ENDPOINTS, kube.CILIUM_IDENTITIES),
    *POLICIES,
)
_IN_SERVICE = ("initial", "healthy", "unhealthy", "draining")
_NO_IDENTITY = frozenset({"pod-template-hash", "pod-template-generation", "controller-revision-hash", "controller-uid"})
"""Labels without a prefix that Cilium leaves out of identities (pkg/labelsfilter)."""
_SYSTEM = ("kube-system", "calico-system")
_RUNNING = ("pending", "running")


@dataclass(frozen=True)
class Finding:
    """A rule that began to be violated at `at` (seconds since the epoch), or with `seconds`, that ended then."""

    at: float
    rule: str
    object: str
    detail: str
    seconds: float | None = None

    @property
    def severity(self) -> str:
        return "info" if self.rule in INFORMATION else "violation"


_Key = tuple[str, str]


@dataclass
class _Budget:
    """A PodDisruptionBudget at the last look: its object, its healthy pods, was it met, why it is violated."""

    of: Object | None = None
    healthy: frozenset[_Key] = frozenset()
    met: bool = False
    violated: str = ""


@dataclass
class Watcher:
    """State of the cluster and the account as seen so far."""

    without: frozenset[str] = frozenset()
    """Rules that do not apply, e.g. two-cnis where one CNI is chained to the other."""
    armed: bool = False
    """Whether every workload pod was enforced at some instant."""
    objects: dict[Kind, dict[_Key, Object]] = field(default_factory=dict)
    _on_node: dict[str, dict[_Key, Object]] = field(default_factory=dict)
    _in_namespace: dict[str, dict[_Key, Object]] = field(default_factory=dict)
    _changed_pods: set[_Key] = field(default_factory=set)
    _changed_nodes: set[str] = field(default_factory=set)
    _changed_namespaces: set[str] = field(default_factory=set)
    _lacking: dict[tuple[str, float], str] = field(default_factory=dict)
    """Nodes with workload pods and without what these need, the pods' grace, and why."""
    _enforced: set[str] = field(default_factory=set)
    _covered: set[str] = field(default_factory=set)
    """UIDs of pods that have been enforced at some instant."""
    _both: dict[str, str] = field(default_factory=dict)
    _budgets: dict[str, dict[str, _Budget]] = field(default_factory=dict)
    _suspect: dict[tuple[str, float], float] = field(default_factory=dict)
    _nodes: dict[str, str] = field(default_factory=dict)
    _unknown: dict[_Key, tuple[float, str]] = field(default_factory=dict)
    """Pods of legacy nodes that Cilium does not know, since when, and why."""
    _cilium: set[_Key] = field(default_factory=set)
    """The pods that are Cilium agents."""
    _changed_ends: set[_Key] = field(default_factory=set)
    _open: dict[tuple[str, str], float] = field(default_factory=dict)
    _instances: dict[str, str] = field(default_factory=dict)
    _pending: list[Finding] = field(default_factory=list)

    # -- input ------------------------------------------------------------------------------------

    def feed(self, kind: Kind, event: str, item: Object, at: float) -> bool:
        """An event of the API server: ADDED, MODIFIED or DELETED. Whether it can matter to a rule."""
        stored = self.objects.setdefault(kind, {})
        key = (kube.namespace(item), kube.name(item))
        gone = event == "DELETED"
        before = stored.pop(key, None) if gone else stored.get(key)
        if not gone:
            stored[key] = item
            if kind is kube.NODES and (instance := kube.instance_of(item)):
                # Kept when the Node goes: its pods may outlive it.
                self._nodes[instance] = kube.name(item)
        elif kind in POLICIES:
            self._pending.append(Finding(at, "policy-deleted", _title(kind, item), "deleted"))
        if kind is kube.PODS:
            self._index(key, before, None if gone else item)
        if not gone and before is not None and _essence(kind, before) == _essence(kind, item):
            return False
        self._changed_namespaces.add(kube.namespace(item))
        if kind in (kube.PODS, kube.CILIUM_ENDPOINTS):
            self._changed_ends.add(key)
        elif kind is kube.CILIUM_IDENTITIES:
            self._changed_ends |= self.objects.get(kube.PODS, {}).keys()
        if kind is kube.PODS:
            self._agents(key, None if gone else item)
            self._changed_pods.add(key)
            self._changed_nodes |= {kube.node_of(p) for p in (before, item) if p is not None}
        return True

    def _agents(self, key: _Key, pod: Object | None) -> None:
        """With the first Cilium agent it begins to matter who the pods of legacy nodes are, with the last it ends."""
        before = bool(self._cilium)
        if pod is not None and cni_of(pod) == CILIUM:
            self._cilium.add(key)
        else:
            self._cilium.discard(key)
        if before != bool(self._cilium):
            self._changed_ends |= self.objects.get(kube.PODS, {}).keys()

    def _index(self, key: _Key, before: Object | None, after: Object | None) -> None:
        if before is not None:
            self._on_node.get(kube.node_of(before), {}).pop(key, None)
            self._in_namespace.get(key[0], {}).pop(key, None)
        if after is not None:
            self._on_node.setdefault(kube.node_of(after), {})[key] = after
            self._in_namespace.setdefault(key[0], {})[key] = after

    def account(self, instances: Mapping[str, str], targets: Mapping[str, Mapping[str, str]], at: float) -> None:
        """A reading of the account: state by instance, and per target group the health by instance."""
        for name, before in self._instances.items():
            ended = before in _RUNNING and instances.get(name, "terminated") not in _RUNNING
            if ended:
                self._judge_end(name, targets, at)
        self._instances = dict(instances)

    def _judge_end(self, instance: str, targets: Mapping[str, Mapping[str, str]], at: float) -> None:
        node = self._nodes.get(instance)
        # A DaemonSet's pod comes back to the node it is evicted from: no drain ever waits for one.
        pods = self._on_node.get(node or "-", {}).values()
        left = [p for p in pods if _workload(p) and not kube.owned_by_daemon_set(p)]
        if bound := [f"{kube.namespace(p)}/{kube.name(p)}" for p in left if not kube.finished(p)]:
            detail = f"node {node} still had {', '.join(sorted(bound))}"
            self._pending.append(Finding(at, "terminated-with-pods", instance, detail))
        for group, health in targets.items():
            if health.get(instance) in _IN_SERVICE:
                detail = f"target group {group} still had it {health[instance]}"
                self._pending.append(Finding(at, "terminated-in-service", instance, detail))

    # -- rules ------------------------------------------------------------------------------------

    def check(self, at: float) -> list[Finding]:
        """What began and what ended since the last call."""
        found = [f for f in self._pending if f.rule not in self.without]
        self._pending = []
        for node in self._changed_nodes - {""}:
            self._judge_node(node)
        for namespace in self._changed_namespaces:
            self._judge_budgets(namespace)
        for key in self._changed_ends:
            self._judge_identity(key, at)
        self._changed_ends = set()
        self._changed_pods, self._changed_nodes, self._changed_namespaces = set(), set(), set()
        now: dict[tuple[str, str], str] = {}
        for rule, states in (
            ("unenforced", self._unenforced(at).items()),
            ("two-cnis", self._both.items()),
            ("identity-missing", self._missing(at).items()),
            ("pdb", [(n, b.violated) for found in self._budgets.values() for n, b in found.items() if b.violated]),
        ):
            if rule not in self.without:
                now |= {(rule, name): detail for name, detail in states}
        for key, detail in now.items():
            if key not in self._open:
                self._open[key] = at
                found.append(Finding(at, *key, detail))
        for key in self._open.keys() - now.keys():
            began = self._open.pop(key)
            found.append(Finding(at, *key, "ended", seconds=round(at - began, 3)))
        return found

    def _all(self, kind: Kind) -> Iterable[Object]:
        return self.objects.get(kind, {}).values()

    def _judge_node(self, node: str) -> None:
        """Which agents a node has, and whether its workload pods have what they need of them."""
        pods = [*self._on_node.get(node, {}).values()]
        cnis = {cni for p in pods if (cni := cni_of(p))}
        ready = {cni_of(p) or _enforcer(p) for p in pods if kube.ready(p)}
        self._both.pop(node, None)
        for grace in (START_GRACE, RESTART_GRACE):
            self._lacking.pop((node, grace), None)
        self._enforced.discard(node)
        if len(cnis) > 1:
            self._both[node] = "aws-node and cilium are both here"
        for pod in pods:
            wired = kube.annotations(pod).get(WIRED_BY)
            if wired is None or not _workload(pod) or not kube.ready(pod):
                continue
            missing = ({CILIUM} if wired == CILIUM else {AWS, "calico"}) - ready
            if missing:
                grace = RESTART_GRACE if kube.uid(pod) in self._covered else START_GRACE
                example = f"{kube.namespace(pod)}/{kube.name(pod)}"
                self._lacking[node, grace] = f"no Ready {' and '.join(sorted(missing))} for {example}"
            else:
                self._enforced.add(node)
                self._covered.add(kube.uid(pod))

    def _unenforced(self, at: float) -> dict[str, str]:
        """Nodes on which the grace of some pod is over, and why."""
        self.armed = self.armed or (bool(self._enforced) and not self._lacking)
        if not self.armed:
            return {}
        self._suspect = {lacking: self._suspect.get(lacking, at) for lacking in self._lacking}
        return {
            node: self._lacking[node, grace] for (node, grace), since in self._suspect.items() if at - since > grace
        }

    def _judge_identity(self, key: _Key, at: float) -> None:
        pod = self.objects.get(kube.PODS, {}).get(key)
        why = ""
        if pod is not None and self._cilium and _legacy(pod):
            why = self._stranger(key, pod)
        if why:
            self._unknown[key] = (self._unknown.get(key, (at, ""))[0], why)
        else:
            self._unknown.pop(key, None)

    def _stranger(self, key: _Key, pod: Object) -> str:
        """Why Cilium takes a pod's address for nobody's, or for somebody else's; empty when it does not."""
        status = (self.objects.get(kube.CILIUM_ENDPOINTS, {}).get(key) or {}).get("status") or {}
        said = {pair.get("ipv4") for pair in (status.get("networking") or {}).get("addressing") or []}
        if pod["status"]["podIP"] not in said:
            return f"no endpoint says {pod['status']['podIP']}"
        number = str((status.get("identity") or {}).get("id"))
        identity = self.objects.get(kube.CILIUM_IDENTITIES, {}).get(("", number))
        if identity is None:
            return f"there is no identity {number}"
        held = identity.get("security-labels") or {}
        wanted = {f"k8s:{k}": v for k, v in kube.labels(pod).items() if "/" not in k and k not in _NO_IDENTITY}
        wanted["k8s:io.kubernetes.pod.namespace"] = key[0]
        unlike = sorted(label for label, value in wanted.items() if held.get(label) != value)
        return f"identity {number} is not alike in {', '.join(unlike)}" if unlike else ""

    def _missing(self, at: float) -> dict[str, str]:
        return {"/".join(key): why for key, (since, why) in self._unknown.items() if at - since > IDENTITY_GRACE}

    def _judge_budgets(self, namespace: str) -> None:
        seen, kept = self._budgets.get(namespace, {}), dict[str, _Budget]()
        for budget in self._all(kube.DISRUPTION_BUDGETS):
            if kube.namespace(budget) != namespace:
                continue
            name = f"{namespace}/{kube.name(budget)}"
            before = seen.get(name, _Budget())
            healthy = self._healthy(budget, before)
            expected, demanded = self._demand(budget)
            after = _Budget(of=budget, healthy=healthy, met=len(healthy) >= demanded)
            # Expecting more pods (a scale-up) is no disruption; losing pods is.
            fell = before.met and len(healthy) < len(before.healthy)
            if not after.met and (fell or before.violated):
                after.violated = f"{len(healthy)} of {expected} pods healthy, {demanded} demanded"
            kept[name] = after
        self._budgets[namespace] = kept

    def _healthy(self, budget: Object, before: _Budget) -> frozenset[_Key]:
        """Pods that a budget selects and that are up. Only pods that changed are looked at, if the budget did not."""
        pods = self._in_namespace.get(kube.namespace(budget), {})
        same = before.of is not None and before.of["spec"] == budget["spec"]
        looked_at = self._changed_pods if same else pods.keys()
        selector = budget["spec"].get("selector")
        up = {
            key
            for key in looked_at
            if key in pods and kube.selects(selector, kube.labels(pods[key])) and kube.ready(pods[key])
        }
        return frozenset((before.healthy - self._changed_pods) | up if same else up)

    def _demand(self, budget: Object) -> tuple[int, int]:
        """How many pods the controllers that a budget covers should have, and how many of them it demands."""
        spec, namespace = budget["spec"], kube.namespace(budget)
        expected = sum(
            int(owner["spec"].get("replicas", 1))
            for kind in (kube.DEPLOYMENTS, kube.REPLICA_SETS, kube.STATEFUL_SETS)
            for owner in self._all(kind)
            if kube.namespace(owner) == namespace
            and not kube.owner(owner)
            and not kube.deleting(owner)
            and kube.selects(spec.get("selector"), owner["spec"]["template"]["metadata"].get("labels") or {})
        )
        if spec.get("maxUnavailable") is not None:
            demanded = expected - _scaled(spec["maxUnavailable"], expected)
        else:
            demanded = _scaled(spec.get("minAvailable", 1), expected)
        return expected, max(0, min(demanded, expected))


def _essence(kind: Kind, item: Object) -> object:
    """What the rules look at in an object: heartbeats and the like leave it alone."""
    if kind is kube.NODES:
        return None
    if kind is kube.CILIUM_ENDPOINTS:
        status = item.get("status") or {}
        return status.get("identity"), status.get("networking")
    if kind is kube.CILIUM_IDENTITIES:
        return item.get("security-labels")
    if kind is not kube.PODS:
        return item["metadata"].get("generation"), kube.deleting(item), kube.labels(item)
    state = (kube.ready(item), kube.deleting(item), kube.finished(item), kube.node_of(item))
    return state, kube.labels(item), kube.annotations(item).get(WIRED_BY), (item.get("status") or {}).get("podIP")


def _scaled(value: Any, of: int) -> int:
    """A number of pods, or a percentage of them rounded up, as the disruption controller does."""
    text = str(value)
    return -(-int(text[:-1]) * of // 100) if text.endswith("%") else int(text)


def _workload(pod: Object) -> bool:
    system = kube.owned_by_daemon_set(pod) and kube.namespace(pod) in _SYSTEM
    return not kube.host_network(pod) and not system


def _legacy(pod: Object) -> bool:
    """Whether Cilium has to be told who a pod is: the VPC CNI wired it, it has its address, and it is not over."""
    wired = kube.annotations(pod).get(WIRED_BY) == AWS and not kube.host_network(pod)
    return wired and bool((pod.get("status") or {}).get("podIP")) and not kube.finished(pod) and not kube.deleting(pod)


def _enforcer(pod: Object) -> str:
    return "calico" if kube.owned_by_daemon_set(pod, "calico-node") and kube.namespace(pod) in _SYSTEM else ""


def _title(kind: Kind, item: Object) -> str:
    place = f"{kube.namespace(item)}/" if kube.namespace(item) else ""
    return f"{kind.kind}.{kind.group} {place}{kube.name(item)}"
