"""The picture a refresh has of the cluster, kept up by watches, with the indexes that decisions ask for.

Only what decisions need is kept: pods of old nodes, agents, and pods elsewhere that are not ready.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from operations.refresh.model import marks
from operations.refresh.model.present import Present
from operations.refresh.model.remaining import Remaining
from operations.refresh.model.values import (
    BudgetKey,
    CloudView,
    DisruptionBudget,
    Group,
    Instance,
    Node,
    Pod,
    Selecting,
    Target,
)


class World:
    """Everything known at a moment.

    Args:
        source, target: values of the label `cni-plugin` of old and of new nodes.
    """

    def __init__(self, source: str, target: str) -> None:
        self.source, self.target = source, target
        self.nodes: dict[str, Node] = {}
        self.old: dict[str, Node] = {}
        """Nodes to be emptied."""
        self.new: dict[str, Node] = {}
        self.ready_new: set[str] = set()
        """New nodes that can hold workloads: ready, schedulable, wired by their own CNI."""
        self.hard_old: set[str] = set()
        """Old nodes without the soft taint."""
        self.marked_new: set[str] = set()
        """New nodes with marks of a refresh in the other direction."""
        self.active: set[str] = set()
        """Old nodes on their way out."""
        self.reopened: set[str] = set()
        """Old nodes that were, and were uncordoned by somebody."""
        self.revision = 0
        """Grows with every change of nodes or instances that could matter; heartbeats do not count."""
        self.pods: dict[str, Pod] = {}
        self.on: dict[str, dict[str, Pod]] = defaultdict(dict)
        """Node -> its pods, by uid."""
        self.unready: dict[str, Pod] = {}
        """Workload pods that should be ready and are not, wherever they are; also those without a node."""
        self.agents: dict[str, set[str]] = defaultdict(set)
        """Node -> uids of its ready CNI agents."""
        self.budgets: dict[BudgetKey, DisruptionBudget] = {}
        self.behind: set[BudgetKey] = set()
        """Budgets with evictions that their status does not count yet."""
        self.present = Present()
        self.marked: dict[str, set[str]] = defaultdict(set)
        """Node -> uids of its pods that are to be left alone."""
        self._selecting = Selecting()
        self.remaining = Remaining()
        self.attached: dict[str, set[str]] = defaultdict(set)
        """Node -> volume attachments."""
        self._attachments: dict[str, str] = {}
        self.groups: dict[str, Group] = {}
        self.instances: dict[str, Instance] = {}
        self.gone: frozenset[str] = frozenset()
        """Instances that exist no more, as far as was asked."""
        self.targets: dict[str, tuple[Target, ...]] = {}
        self.looked: float = float("-inf")
        """When the last look at AWS began."""
        self.ending: set[str] = set()
        """Instances that end, or have ended."""
        self._foreign: frozenset[str] = frozenset()
        """Instances that exist and belong to no group that is looked at."""
        self._unknown: tuple[int, set[str]] = (-1, set())
        self.shown: dict[str, float] = {}
        """Instance -> when the last look that asked for its targets began."""

    # -- nodes ----------------------------------------------------------------------------------

    def see_node(self, node: Node) -> None:
        before = self.nodes.get(node.name)
        self.revision += before is None or replace(before, version=node.version) != node
        self.nodes[node.name] = node
        for kind, label in ((self.old, self.source), (self.new, self.target)):
            if node.cni == label and not node.canary:
                kind[node.name] = node
            else:
                kind.pop(node.name, None)
        self._file(node.name)

    def lose_node(self, name: str) -> None:
        self.revision += 1
        for kind in (self.nodes, self.old, self.new):
            kind.pop(name, None)
        self._file(name)

    def _file(self, name: str) -> None:
        """Keep the sets of names right."""
        old, new = self.old.get(name), self.new.get(name)
        for names, belongs in (
            (self.hard_old, old is not None and not old.soft),
            (self.active, old is not None and old.active),
            (self.reopened, old is not None and old.ours and not old.unschedulable),
            (self.marked_new, new is not None and (new.ours or new.soft) and not self._dying(new)),
            (self.ready_new, new is not None and self.is_ready(new)),
        ):
            names.add(name) if belongs else names.discard(name)

    def is_ready(self, node: Node) -> bool:
        """Ready, schedulable, wired by its own CNI, and not about to end."""
        open_to_pods = node.ready and node.agent_ready and not node.unschedulable
        return open_to_pods and bool(self.agents.get(node.name)) and not self._dying(node)

    def _dying(self, node: Node) -> bool:
        instance = self.instances.get(node.instance)
        return node.instance in self.gone or (instance is not None and instance.state == "ending")

    def unknown_instances(self) -> set[str]:
        """Instances of nodes that no look has told of yet."""
        if self._unknown[0] != self.revision:
            found = {node.instance for nodes in (self.old, self.new) for node in nodes.values()}
            self._unknown = self.revision, found.difference(self.instances, self.gone, self._foreign, ("",))
        return self._unknown[1]

    # -- pods -----------------------------------------------------------------------------------

    def see_pod(self, pod: Pod) -> None:
        self.lose_pod(pod.uid)
        if pod.agent:
            if pod.ready and not pod.terminating:
                self.agents[pod.node].add(pod.uid)
            self._keep(pod)
            self._file(pod.node)
            return
        self.present.add(pod)
        if not pod.stays and not pod.ready and not pod.terminating:
            self.unready[pod.uid] = pod
        here = self.nodes.get(pod.node)
        if here is None or here.name in self.old:
            self._keep(pod)

    def _keep(self, pod: Pod) -> None:
        self.pods[pod.uid] = pod
        self.on[pod.node][pod.uid] = pod
        if not pod.stays:
            if marks.binds(pod.mark):
                self.marked[pod.node].add(pod.uid)
            pod.budgets = self._selecting.of(pod)
            if not pod.terminating:
                self.remaining.add(pod, 1)

    def lose_pod(self, uid: str) -> None:
        self.unready.pop(uid, None)
        self.present.remove(uid)
        pod = self.pods.pop(uid, None)
        if pod is None:
            return
        if pod.mark:
            self.marked[pod.node].discard(uid)
        here = self.on[pod.node]
        here.pop(uid, None)
        if not here:
            del self.on[pod.node]
        if pod.agent:
            self.agents[pod.node].discard(uid)
            self._file(pod.node)
        if not pod.stays and not pod.terminating:
            self.remaining.add(pod, -1)

    def leaving(self, node: str) -> list[Pod]:
        """Pods that must have gone before the instance of a node may end."""
        return [pod for pod in self.on.get(node, {}).values() if not pod.stays]

    # -- budgets and volumes --------------------------------------------------------------------

    def see_budget(self, budget: DisruptionBudget) -> None:
        before = self.budgets.get(budget.key)
        self.budgets[budget.key] = budget
        self.behind.add(budget.key) if budget.unnoted else self.behind.discard(budget.key)
        if before is not None:
            self._selecting.remove(before)
        self._selecting.add(budget)
        if before is None or before.selector != budget.selector:
            self._assign(budget.key[0])

    def lose_budget(self, key: BudgetKey) -> None:
        self.behind.discard(key)
        budget = self.budgets.pop(key, None)
        if budget is not None:
            self._selecting.remove(budget)
            self._assign(key[0])

    def _assign(self, namespace: str) -> None:
        """Find the budgets of every pod of a namespace again."""
        for pod in self.pods.values():
            if pod.namespace == namespace and not pod.stays and not pod.agent:
                if not pod.terminating:
                    self.remaining.add(pod, -1)
                pod.budgets = self._selecting.of(pod)
                if not pod.terminating:
                    self.remaining.add(pod, 1)

    def slots(self, key: BudgetKey) -> int:
        """Pods that a budget lets go at once while all are healthy; one at least, also for one that is not known."""
        budget = self.budgets.get(key)
        return max(1, budget.whole if budget else 1)

    def queue(self, key: BudgetKey) -> float:
        """Turns until the last pod under a budget may go: pods still to go for each that it lets go at once."""
        return self.remaining.under[key] / self.slots(key)

    def see_attachment(self, name: str, node: str) -> None:
        self._attachments[name] = node
        self.attached[node].add(name)

    def lose_attachment(self, name: str) -> None:
        node = self._attachments.pop(name, None)
        if node is not None:
            self.attached[node].discard(name)

    # -- whole kinds, after a list ----------------------------------------------------------------

    def replace_nodes(self, nodes: Iterable[Node]) -> None:
        found = {node.name: node for node in nodes}
        for name in set(self.nodes) - set(found):
            self.lose_node(name)
        for node in found.values():
            self.see_node(node)

    def replace_pods(self, pods: Iterable[Pod]) -> None:
        found = {pod.uid: pod for pod in pods}
        for uid in (set(self.pods) | set(self.unready) | set(self.present.pods)) - set(found):
            self.lose_pod(uid)
        for pod in found.values():
            self.see_pod(pod)

    def replace_budgets(self, budgets: Iterable[DisruptionBudget]) -> None:
        found = {budget.key: budget for budget in budgets}
        for key in set(self.budgets) - set(found):
            self.lose_budget(key)
        for budget in found.values():
            self.see_budget(budget)

    def replace_attachments(self, attachments: Iterable[tuple[str, str]]) -> None:
        found = dict(attachments)
        for name in set(self._attachments) - set(found):
            self.lose_attachment(name)
        for name, node in found.items():
            self.see_attachment(name, node)

    # -- AWS --------------------------------------------------------------------------------------

    def see_cloud(self, view: CloudView, began: float) -> None:
        self.revision += 1
        self.groups, self.instances = view.groups, view.instances
        self.gone = (self.gone - set(view.instances)) | view.gone
        self.ending = {i.id for i in view.instances.values() if i.state == "ending"} | self.gone
        self._foreign = (self._foreign | view.asked) - set(view.instances) - self.gone
        self.looked = began
        self.targets = {instance: view.targets.get(instance, ()) for instance in view.asked}
        self.shown = dict.fromkeys(view.asked, began)
        for name in self.new:
            self._file(name)

    def instance_of(self, node: Node) -> Instance | None:
        return self.instances.get(node.instance)

    def group_of(self, node: Node) -> Group | None:
        instance = self.instance_of(node)
        return self.groups.get(instance.group if instance else node.group)
