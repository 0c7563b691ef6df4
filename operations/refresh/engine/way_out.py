"""A node's way out as a table of steps: what each waits for, and what it does meanwhile.

A node is at the first step that still waits for something, as the world tells it: nothing about it is remembered but
since when. How long each may take is in `Pace`.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from operations.refresh.engine.round import Round
from operations.refresh.model import marks
from operations.refresh.model.actions import Action, Deregister, DropNode, Evict, Key, Terminate
from operations.refresh.model.request import RefreshRequest
from operations.refresh.model.terms import Pace
from operations.refresh.model.values import Node, Pod, Target
from operations.refresh.model.world import World
from operations.refresh.pacing.disruption_budgets import DisruptionBudgets
from operations.refresh.pacing.replicas import Replicas

Thing = Pod | Target | str
"""A pod, a target group; a volume attachment, an instance or a node by name."""
UNREAD = "not read yet"
"""Stands for target groups of which no look has told yet."""


@dataclass(frozen=True)
class Step:
    """One step."""

    name: str
    waits_for: "Callable[[WayOut, Node], tuple[Thing, ...]]"
    """Nothing: the node is past this step."""
    does: "Callable[[WayOut, Stand, Round], list[Action]]"
    """Meanwhile, or when it has waited for too long."""


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a node stands on its way out."""

    node: Node
    step: Step
    since: float
    """Seconds of the clock of the decisions."""
    awaited: tuple[Thing, ...]


@dataclass
class WayOut:
    """What the steps look at.

    Args:
        free: whether an action may be asked for in this round.
    """

    world: World
    request: RefreshRequest
    pace: Pace
    budgets: DisruptionBudgets
    replicas: Replicas
    free: Callable[[Key, Round], bool]
    _returned: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often a pod of a controller that tolerates the cordon was moved off a node."""

    def stand(self, node: Node, before: Stand | None, now: float) -> Stand:
        """Where a node stands.

        Args:
            before: where it stood the last time.
        """
        for step in STEPS:
            awaited = step.waits_for(self, node)
            if awaited:
                since = before.since if before is not None and before.step is step else now
                return Stand(node, step, since, awaited)
        raise LookupError(f"no step is left for {node.name}, and the last one never ends")

    def moved(self, node: str, pod: Pod) -> None:
        """A pod was evicted."""
        if pod.owner is not None and pod.tolerates_cordon:
            self._returned[node, pod.owner.uid] += 1

    def ends(self, node: Node) -> bool:
        """Its instance ends, or has ended: nothing on it can be saved any more."""
        instance = self.world.instances.get(node.instance)
        return node.instance in self.world.gone or (instance is not None and instance.state == "ending")

    def _goes_with_node(self, pod: Pod) -> bool:
        """A pod that tolerates the cordon and came back every time it was moved."""
        if pod.owner is None or not pod.tolerates_cordon:
            return False
        return self._returned[pod.node, pod.owner.uid] >= self.pace.returns and self.budgets.spare(pod)

    # -- drain ----------------------------------------------------------------------------------

    def pods(self, node: Node) -> tuple[Pod, ...]:
        if self.ends(node):
            return ()
        return tuple(pod for pod in self.world.leaving(node.name) if not self._goes_with_node(pod))

    def drain(self, stand: Stand, round: Round) -> list[Action]:
        """Evict; where kubelet is silent and everything was told to stop, ending the instance is what stops it."""
        node = stand.node
        silent = not node.ready and all(pod.terminating for pod in self.world.leaving(node.name))
        if silent and round.over(round.now - stand.since, self.pace.unreachable):
            return self._end(node, round, silent=True)
        pods = (pod for pod in stand.awaited if isinstance(pod, Pod))
        return [Evict(pod.uid, pod.namespace, pod.name, pod.node) for pod in pods if self._goes_now(pod, round)]

    def _goes_now(self, pod: Pod, round: Round) -> bool:
        if pod.terminating or pod.bare:
            return False
        if pod.mark and marks.binds(pod.mark) and not self.request.marked:
            return False  # its owner asks that it be left alone
        if not self.free(("evict", pod.uid), round):
            return False
        self.replicas.see(pod)
        if self.replicas.short(pod, round.replicas) or not self.budgets.choose(pod, round.budgets):
            return False
        if pod.ready and pod.workload is not None:
            round.replicas[pod.workload] += 1
        return True

    # -- detach ---------------------------------------------------------------------------------

    def volumes(self, node: Node) -> tuple[str, ...]:
        return () if self.ends(node) else tuple(sorted(self.world.attached.get(node.name, ())))

    def detach(self, stand: Stand, round: Round) -> list[Action]:
        """Wait; volumes that stay attached for too long are no reason to keep the node."""
        waited = round.now - stand.since
        if not round.over(waited, self.pace.volumes):
            return []
        return self._leave_balancers(stand.node, round, waited - self.pace.volumes)

    # -- deregister -----------------------------------------------------------------------------

    def target_groups(self, node: Node) -> tuple[Target | str, ...]:
        if self.ends(node):
            return ()
        unread = () if node.instance in self.world.shown else (UNREAD,)
        return self.world.targets.get(node.instance) or unread

    def deregister(self, stand: Stand, round: Round) -> list[Action]:
        return self._leave_balancers(stand.node, round, round.now - stand.since)

    def _leave_balancers(self, node: Node, round: Round, waited: float) -> list[Action]:
        """Wait for its target groups, at most for their delay; take it out where their keeper does not."""
        if node.instance not in self.world.shown:
            return []
        targets = self.world.targets.get(node.instance, ())
        serving = [target for target in targets if target.serving]
        if serving:
            if round.over(waited, self.pace.in_service):
                return [Deregister(node.instance, target.target_group) for target in serving]
            return []
        bound = max((target.delay + self.pace.deregistration_margin for target in targets), default=0.0)
        return self._end(node, round) if round.over(waited, bound) else []

    # -- end ------------------------------------------------------------------------------------

    def instance(self, node: Node) -> tuple[str, ...]:
        return () if node.instance in self.world.gone else (node.instance,)

    def end(self, stand: Stand, round: Round) -> list[Action]:
        """End the instance, unless it ends already."""
        return [] if self.ends(stand.node) else self._end(stand.node, round)

    def _end(self, node: Node, round: Round, *, silent: bool = False) -> list[Action]:
        group = self.world.group_of(node)
        if group is None or group.sizes.minimum > 0 or group.rebalancing:
            round.wake(round.now + 1)
            return []  # Auto Scaling would refuse, or end another node in its place
        left = {pod.owner.uid for pod in self.world.leaving(node.name) if pod.owner and self._goes_with_node(pod)}
        return [Terminate(node.name, node.instance, frozenset(left), silent)]

    # -- drop -----------------------------------------------------------------------------------

    def node_object(self, node: Node) -> tuple[str, ...]:
        return (node.name,)

    def drop(self, stand: Stand, round: Round) -> list[Action]:
        """The cloud removes the Node object; where it does not, the refresh does."""
        if round.over(round.now - stand.since, self.pace.node_object):
            return [DropNode(stand.node.name, stand.node.uid)]
        return []


DRAIN = Step("drain", waits_for=WayOut.pods, does=WayOut.drain)
DETACH = Step("detach", waits_for=WayOut.volumes, does=WayOut.detach)
DEREGISTER = Step("deregister", waits_for=WayOut.target_groups, does=WayOut.deregister)
END = Step("end", waits_for=WayOut.instance, does=WayOut.end)
DROP = Step("drop", waits_for=WayOut.node_object, does=WayOut.drop)
STEPS = (DRAIN, DETACH, DEREGISTER, END, DROP)
"""In their order. A node is past the last one when it is no more."""
