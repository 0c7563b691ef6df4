"""The decisions of a refresh: what to do next, from what is known. No input or output, no clock of its own.

Nothing is remembered that could not be read again: `Engine` keeps only when to try what again. A new one, given the
same world, goes on where the other was killed.

Order for each node (see the design): soft taint on all old nodes → cordon and leave the load balancers → evict → wait
for volumes and target groups → end the instance → the Node object last → check.
"""

import math
from collections import Counter
from dataclasses import dataclass, field

from operations.refresh.engine.alarm import Alarm
from operations.refresh.engine.closing import Closing, cordon
from operations.refresh.engine.health import Health
from operations.refresh.engine.sizing import Sizing
from operations.refresh.model import marks
from operations.refresh.model.actions import (
    Action,
    Cordon,
    Deregister,
    DropNode,
    Evict,
    Key,
    Look,
    Outcome,
    Rebalance,
    Reopen,
    Resize,
    SoftTaint,
    Terminate,
)
from operations.refresh.model.answers import FIRST_DELAY, Answer
from operations.refresh.model.request import RefreshRequest, Strategy
from operations.refresh.model.terms import SHOWN_LATE, Awaited, Goal, Pace, Phase
from operations.refresh.model.values import BudgetKey, Node, Pod, WorkloadKey
from operations.refresh.model.world import World
from operations.refresh.pacing import admission
from operations.refresh.pacing.disruption_budgets import Stations
from operations.refresh.pacing.easing import Easing
from operations.refresh.pacing.replicas import Replicas
from operations.refresh.pacing.retries import Retries
from operations.refresh.pacing.tempo import Tempo
from operations.refresh.pacing.throttle import Bucket, Throttle

PREPARED = 500
"""Nodes that are prepared at a time; more are hardly asked for before the watch shows that they are."""
NODES_A_SECOND = 5000
"""Nodes that are looked through for the next one to begin with."""
IN_STORE = 5.0
"""Seconds for which there are evictions that only wait for their turn: until then no further node begins."""
NEVER = float("-inf")


@dataclass
class _Wait:
    """Since when a node has been in its phase."""

    phase: Phase
    since: float


@dataclass
class _Chosen:
    """Pods chosen in this round."""

    budgets: Counter[BudgetKey] = field(default_factory=Counter)
    replicas: Counter[WorkloadKey] = field(default_factory=Counter)


@dataclass
class Engine:
    """See the module.

    Args:
        world: kept up by the caller between calls.
        seed: of the jitter of retries.
    """

    world: World
    request: RefreshRequest
    goal: Goal
    pace: Pace = field(default_factory=Pace)
    throttle: Throttle = field(default_factory=Throttle)
    easing: Easing = field(default_factory=Easing)
    seed: int = 0

    def __post_init__(self) -> None:
        self.retries = Retries(self.seed)
        self.stations = Stations(self.world)
        self.replicas = Replicas(self.world, self.goal)
        self.tempo = Tempo(self.world, self.stations)
        self.sizing = Sizing(self.world, self.request, self.goal)
        self.alarm = Alarm()
        self.closing = Closing(self.world)
        self.health = Health(self.world, self.goal, self.pace, self.alarm)
        self.evictions = 0
        self.requests = 0
        """Changes asked for, refused ones included; looks at AWS are not counted."""
        self._inflight: dict[Key, tuple[Action, tuple[BudgetKey, ...]]] = {}
        self._in_store = 0
        """Evictions that only a rate holds back."""
        self._waits: dict[str, _Wait] = {}
        self._returned: Counter[tuple[str, str]] = Counter()
        # whoever starts a run means the nodes that were uncordoned before, too
        self._uncordoned = dict.fromkeys(self.world.reopened, NEVER)
        self._strays: dict[str, float] = {}
        self._order: dict[str, int] = {}
        self._pruned_at = self._admitted_at = self._looked_at = self._touched_at = NEVER
        self._leaving: list[Node] = []
        self._outside: set[str] = set()
        self._revision = -1

    # -- what others ask ------------------------------------------------------------------------

    @property
    def done(self) -> int:
        """Old nodes that are gone, with their Node objects."""
        return self.sizing.done

    @property
    def busy(self) -> bool:
        """Requests are under way."""
        return bool(self._inflight)

    @property
    def wake_at(self) -> float:
        """When to decide again even if nothing happens."""
        return self.alarm.at

    @property
    def leaving(self) -> list[Node]:
        """Old nodes that have begun, or whose instance somebody else ended; those that began first come first."""
        self._keep_up()
        return self._leaving

    def _keep_up(self) -> None:
        """What takes a look at every node is found once for each change of nodes or instances."""
        world = self.world
        if self._revision == world.revision:
            return
        self._revision = world.revision
        found = [node for name, node in world.old.items() if name in world.active or node.instance in world.ending]
        self._leaving = sorted(found, key=lambda node: (self._order.get(node.name, -1), node.name))
        ours = {i.id for i in world.instances.values() if i.group in self.goal.sources}
        self._outside = {name for name, node in world.old.items() if node.instance not in ours}

    def finished(self) -> bool:
        """Nothing is left to do, as a look at AWS shows that began after the last change there: one whose answer was
        lost may have been carried out."""
        world = self.world
        if world.looked == NEVER or world.looked < self._touched_at:
            return False
        return not (world.old or world.marked_new or self._inflight) and self.sizing.complete()

    def phase(self, node: Node) -> Phase:
        """How far a node is, from the world alone."""
        instance = self.world.instances.get(node.instance)
        if node.instance in self.world.gone:
            return Phase.LEFT
        if instance is not None and instance.state == "ending":
            return Phase.ENDING
        return self._draining_phase(node) if node.active else Phase.WAITING

    def _draining_phase(self, node: Node) -> Phase:
        world = self.world
        if any(not self._goes_with_node(pod) for pod in world.leaving(node.name)):
            return Phase.DRAINING
        if world.attached.get(node.name):
            return Phase.DETACHING
        if world.targets.get(node.instance) or node.instance not in world.shown:
            return Phase.DEREGISTERING
        return Phase.EMPTY

    # -- deciding -------------------------------------------------------------------------------

    def decide(self, now: float, *, stopping: bool = False) -> list[Action]:
        """What to begin now. Everything returned counts as under way until `settle` is called for it.

        Args:
            now: seconds of any steady clock.
            stopping: begin nothing more.
        """
        self.alarm.reset(now)
        if stopping:
            return []
        self._keep_house(now)
        self.closing.look(now)
        self.easing.look(self.stations.behind(now), self.stations.counted, now)
        wanted = [
            *self._looks(now),
            *self._prepare(),
            *self._advance(now),
            *self._end_strays(now),
            *self.closing.again(),
        ]
        keys = {action.key for action in wanted if isinstance(action, Resize | Rebalance)}
        self.retries.keep(("resize", "rebalance"), keys.__contains__)
        chosen = [action for action in wanted if self._may(action, now)]
        self._in_store = sum(isinstance(a, Evict) for a in wanted) - sum(isinstance(a, Evict) for a in chosen)
        chosen += [action for action in self._admit(now) if self._may(action, now)]
        for action in chosen:
            self._begin(action, now)
        return chosen

    def _keep_house(self, now: float) -> None:
        """What is kept up in every round."""
        self.health.look(now)
        self.replicas.look(now)
        # `replace` alone has no spare room: the only node, or pods that fit nowhere, get one new node ahead of time
        self.sizing.cramped = self.goal.total == 1 or self.health.homeless(now)
        if now > self._pruned_at + SHOWN_LATE:
            self._pruned_at = now
            self.retries.keep(("evict",), lambda key: key[1] in self.world.pods)
            self.retries.prune(now)

    def settle(self, action: Action, outcome: Outcome, now: float) -> None:
        """Take in what became of an action."""
        _, budgets = self._inflight.pop(action.key, (action, ()))
        if isinstance(action, Resize | Rebalance | Terminate):
            self._touched_at = now
        if outcome.busy or outcome.answer is Answer.BUSY:
            self.throttle.complained(now, outcome.retry_after)
        else:
            self.throttle.well()
        if isinstance(action, Evict):
            self.replicas.end(action.uid, outcome.answer)
            self.stations.end(budgets, evicted=outcome.answer is Answer.EVICTED)
            if outcome.answer is Answer.EVICTED:
                self.tempo.evicted(budgets, now)
            else:
                self.tempo.refused(budgets)
            self._settle_eviction(action, outcome, now)
        elif not outcome.ok:
            self.retries.failed(action.key, outcome, now, self.pace.retry)
            if isinstance(action, Cordon):
                self.closing.told(action.node, now, sure=False)
        else:
            if isinstance(action, Look | Resize | Rebalance):
                self.retries.forget(action.key)
            else:
                self.retries.rest(action.key, now + SHOWN_LATE)  # the watch will show it; ask again if it does not
            self._done(action, outcome, now)

    def _done(self, action: Action, outcome: Outcome, now: float) -> None:
        if isinstance(action, Cordon):
            self.closing.told(action.node, now, sure=True, closed=outcome.version)
        if outcome.view is not None:
            self.world.see_cloud(outcome.view, self._looked_at)
        elif isinstance(action, Resize | Rebalance) and action.group in self.world.groups:
            self.world.groups[action.group].changing = True  # until the next look shows what became of it

    def _settle_eviction(self, action: Evict, outcome: Outcome, now: float) -> None:
        answer = outcome.answer or Answer.LOST
        if answer not in (Answer.EVICTED, Answer.GONE):
            self.retries.failed(action.key, outcome, now, FIRST_DELAY[answer])
            return
        self.evictions += answer is Answer.EVICTED
        self.retries.rest(action.key, now + SHOWN_LATE)
        pod = self.world.pods.get(action.uid)
        if answer is Answer.EVICTED and pod is not None and pod.owner is not None and pod.tolerates_cordon:
            self._returned[action.node, pod.owner.uid] += 1

    def _begin(self, action: Action, now: float) -> None:
        budgets: tuple[BudgetKey, ...] = ()
        if isinstance(action, Evict):
            pod = self.world.pods[action.uid]
            budgets = pod.budgets
            self.replicas.begin(pod, now)
        self._inflight[action.key] = (action, budgets)
        self.stations.begin(budgets)
        if isinstance(action, Look):
            self._looked_at = now
        else:
            self.requests += 1

    def _may(self, action: Action, now: float) -> bool:
        """Whether nothing speaks against beginning it now; otherwise when to ask again is noted."""
        if action.key in self._inflight or self._resting(action.key, now):
            return False
        limits = self._limits(action, now)
        for limit in limits:
            if not limit.has(now):
                self.alarm.set(limit.next_at(now))
                return False
        for limit in limits:
            limit.spend()
        return True

    def _limits(self, action: Action, now: float) -> list[Bucket]:
        """What says how often such an action may be begun."""
        match action:
            case Evict():
                return [self.throttle, self.easing, *self.tempo.limits(self.world.pods[action.uid], now)]
            case SoftTaint() | Cordon() | Reopen() | DropNode():
                return [self.throttle]
        return []

    def _resting(self, key: Key, now: float) -> bool:
        at = self.retries.ready_at(key)
        if now < at:
            self.alarm.set(at)
        return now < at

    # -- before the first node, and after the last --------------------------------------------------

    def _looks(self, now: float) -> list[Action]:
        world = self.world
        asked = {node.instance for node in self.leaving if node.active} | world.unknown_instances()
        growing = len(world.ready_new) < self.sizing.needed_at_the_end
        soon = asked or growing or not world.old
        due = world.looked + (self.pace.look if soon else self.pace.idle_look)
        if now < due:
            self.alarm.set(due)
            return []
        return [Look(frozenset(asked - {""}))]

    def _prepare(self) -> list[Action]:
        if self.world.looked == NEVER:
            return []
        actions: list[Action] = [SoftTaint(name) for name in sorted(self.world.hard_old)[:PREPARED]]
        actions += [Reopen(name) for name in sorted(self.world.marked_new)]
        return actions + self.sizing.rebalancing() + self.sizing.to_set(final=not self.world.old)

    def _end_strays(self, now: float) -> list[Action]:
        """Instances of old groups that never became a node; a late one still may, and would then be drained."""
        if self.world.old:
            self._strays.clear()
            return []
        self._strays = {i: self._strays.get(i, now) for i in self.sizing.in_service()}
        late = [i for i, since in self._strays.items() if self.alarm.over(now - since, self.pace.join, now)]
        return [Terminate("", instance) for instance in late]

    # -- nodes on their way out -----------------------------------------------------------------

    def _advance(self, now: float) -> list[Action]:
        actions: list[Action] = []
        waits: dict[str, _Wait] = {}
        chosen = _Chosen()
        for node in self.leaving:
            phase, wait = self.phase(node), self._waits.get(node.name)
            if wait is None or wait.phase is not phase:
                wait = _Wait(phase, now)
            waits[node.name] = wait
            actions += self._step(node, phase, now - wait.since, now, chosen)
        self._waits = waits

        def later(action: Action) -> float:
            return -self.stations.urgency(self.world.pods[action.uid], now) if isinstance(action, Evict) else NEVER

        # there may not be room for all requests: those that most others wait for come first, then node by node
        return sorted(actions, key=later)

    def _step(self, node: Node, phase: Phase, waited: float, now: float, chosen: _Chosen) -> list[Action]:
        """What a node needs next, after it has waited in its phase for so long."""
        actions: list[Action] = []
        match phase:
            case Phase.DRAINING if self._unreachable(node, waited, now):
                actions = self._end(node, now, silent=True)
            case Phase.DRAINING:
                actions = self._evictions(node, now, chosen)
            case Phase.DETACHING if self.alarm.over(waited, self.pace.volumes, now):
                actions = self._leave_balancers(node, now, waited - self.pace.volumes)
            case Phase.DEREGISTERING:
                actions = self._leave_balancers(node, now, waited)
            case Phase.EMPTY:
                actions = self._end(node, now)
            case Phase.LEFT if self.alarm.over(waited, self.pace.node_object, now):
                actions = [DropNode(node.name, node.uid)]
        return actions

    def _unreachable(self, node: Node, waited: float, now: float) -> bool:
        """Its kubelet is silent and everything on it was told to stop: ending the instance is what stops it."""
        if node.ready or not all(pod.terminating for pod in self.world.leaving(node.name)):
            return False
        return self.alarm.over(waited, self.pace.unreachable, now)

    def _end(self, node: Node, now: float, *, silent: bool = False) -> list[Action]:
        group = self.world.group_of(node)
        if group is None or group.sizes.minimum > 0 or group.rebalancing:
            self.alarm.set(now + 1)
            return []  # Auto Scaling would refuse, or end another node in its place
        left = {pod.owner.uid for pod in self.world.leaving(node.name) if pod.owner and self._goes_with_node(pod)}
        return [Terminate(node.name, node.instance, frozenset(left), silent)]

    def _leave_balancers(self, node: Node, now: float, waited: float) -> list[Action]:
        """Wait for its target groups, at most for their delay; take it out where their keeper does not."""
        if node.instance not in self.world.shown:
            return []
        targets = self.world.targets.get(node.instance, ())
        serving = [target for target in targets if target.serving]
        if serving:
            if self.alarm.over(waited, self.pace.in_service, now):
                return [Deregister(node.instance, target.target_group) for target in serving]
            return []
        bound = max((target.delay + self.pace.deregistration_margin for target in targets), default=0.0)
        return self._end(node, now) if self.alarm.over(waited, bound, now) else []

    def _evictions(self, node: Node, now: float, chosen: _Chosen) -> list[Action]:
        actions: list[Action] = []
        for pod in self.world.leaving(node.name):
            if pod.terminating or pod.bare or self._goes_with_node(pod):
                continue
            if marks.binds(pod.mark) and not self.request.marked:
                continue  # its owner asks that it be left alone
            evict = Evict(pod.uid, pod.namespace, pod.name, pod.node)
            free = evict.key not in self._inflight and not self._resting(evict.key, now)
            if not free or self.replicas.short(pod, chosen.replicas):
                continue
            if self.stations.lets_go(pod, chosen.budgets):
                actions.append(evict)
                if pod.workload is not None and pod.ready:
                    chosen.replicas[pod.workload] += 1
        return actions

    def _goes_with_node(self, pod: Pod) -> bool:
        """A pod that tolerates the cordon and came back every time it was moved."""
        if pod.owner is None or not pod.tolerates_cordon:
            return False
        return self._returned[pod.node, pod.owner.uid] >= self.pace.returns and self.stations.spare(pod)

    # -- beginning with further nodes -----------------------------------------------------------

    def _admit(self, now: float) -> list[Action]:
        world = self.world
        if world.looked == NEVER or world.hard_old:
            return []
        # to look through thousands of nodes takes its time: the more there are, the less often it is done
        apart = max(self.pace.admission, len(world.old) / NODES_A_SECOND)
        if not self.alarm.over(now - self._admitted_at, apart, now):
            return []
        active = self._active()
        room = self._room(len(active))
        if room <= 0 or self.hold(now):
            return []
        useful, longest = self._useful(), self.tempo.longest
        if not useful and longest is None:
            return []
        names = admission.choose(
            world,
            active=active,
            held=self.held(now),
            room=min(room, useful or room),
            zone_budget=self.request.zone_budget,
            first=self.done == 0,
            only=None if useful else longest,
        )
        self._admitted_at = now
        for name in names:
            self._order[name] = len(self._order)
        return [cordon(world.old[name]) for name in names]

    def _useful(self) -> int:
        """How many more nodes are soon worked at: others would only stand there, closed and half empty. At 0 it is
        those alone that keep the longest queue busy."""
        rate = min(self.tempo.rate, self.easing.rate, self.throttle.rate)
        missing = rate * IN_STORE - self._in_store
        return max(0, math.ceil(missing * len(self.world.old) / max(1, self.world.remaining.pods)))

    def _active(self) -> set[str]:
        """Old nodes on their way, also those whose cordon the watch has not shown yet."""
        asked = {action.node for action, _ in self._inflight.values() if isinstance(action, Cordon)}
        return asked | {node.name for node in self.leaving} | self.closing.names()

    def held(self, now: float) -> set[str]:
        """Old nodes that are not begun: those of no group of ours, with pods that are to be left alone, and those that
        somebody uncordoned just now."""
        self._keep_up()
        self._uncordoned = {name: self._uncordoned.get(name, now) for name in self.world.reopened}
        over, alone = self.alarm.over, self.pace.uncordoned
        just_now = {name for name, since in self._uncordoned.items() if not over(now - since, alone, now)}
        return self._outside | just_now | self._kept()

    def _kept(self) -> set[str]:
        if self.request.marked:
            return set()
        return {name for name, pods in self.world.marked.items() if pods and name in self.world.old}

    def _room(self, active: int) -> int:
        """How many more nodes may begin."""
        sizing, ready = self.sizing, len(self.world.ready_new)
        room = min(self.request.budget.of(self.goal.total), admission.wave(self.done)) - active
        if self.request.strategy is Strategy.SURGE:
            while room > 0 and sizing.needed(self.done + active + room) > ready:
                room -= 1
        elif self.request.strategy is Strategy.REPLACE:
            open_nodes = ready + sum(not node.unschedulable for node in self.world.old.values())
            room = min(room - max(0, sizing.needed(self.done) - ready), open_nodes - 1)
        return room

    def hold(self, now: float) -> tuple[Awaited, ...]:
        """Workloads that must be ready again before a further node begins."""
        return self.health.hold(self.done, now)
