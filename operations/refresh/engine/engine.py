"""The decisions of a refresh: what to do next, from what is known. No input or output, no clock of its own.

Nothing is remembered that could not be read again: `Engine` keeps only when to try what again. A new one, given the
same world, goes on where the other was killed.

Soft taint on all old nodes, sizes and rebalancing of their groups, cordons as far as there is room, and for each node
that is closed the steps of `way_out`. `decide` changes what the engine knows, as do `settle` and nothing else: whatever
is asked between them leaves the next decision as it was.
"""

import math
from dataclasses import dataclass, field

from operations.refresh.engine.closing import Closing, cordon
from operations.refresh.engine.decision import Decision, Waits
from operations.refresh.engine.health import Health
from operations.refresh.engine.round import LONGEST, Round
from operations.refresh.engine.sizing import Sizing
from operations.refresh.engine.way_out import Stand, WayOut
from operations.refresh.model.actions import (
    Action,
    Cordon,
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
from operations.refresh.model.terms import SHOWN_LATE, Goal, Pace
from operations.refresh.model.values import BudgetKey, Node
from operations.refresh.model.world import World
from operations.refresh.pacing import admission
from operations.refresh.pacing.disruption_budgets import DisruptionBudgets
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
        self.budgets = DisruptionBudgets(self.world)
        self.replicas = Replicas(self.world, self.goal)
        self.tempo = Tempo(self.world, self.budgets)
        self.sizing = Sizing(self.world, self.request, self.goal)
        self.closing = Closing(self.world)
        self.health = Health(self.world, self.goal, self.pace)
        self.way_out = WayOut(self.world, self.request, self.pace, self.budgets, self.replicas, self._free)
        self.evictions = 0
        self.requests = 0
        """Changes asked for, refused ones included; looks at AWS are not counted."""
        self._inflight: dict[Key, tuple[Action, tuple[BudgetKey, ...]]] = {}
        self._in_store = 0
        """Evictions that only a rate holds back."""
        self._stood: dict[str, Stand] = {}
        """Node -> where it stood in the last round."""
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

    # -- deciding -------------------------------------------------------------------------------

    def decide(self, now: float, *, stopping: bool = False) -> Decision:
        """What to begin now, and what is waited for. Every action counts as under way until `settle` is called for it.

        Args:
            now: seconds of any steady clock.
            stopping: begin nothing more.
        """
        stands = self._stands(now)
        if stopping:
            return Decision((), self._waits(stands, now), now + LONGEST)
        round = Round(now)
        self._keep_house(now)
        wanted = [
            *self._looks(round),
            *self._prepare(),
            *self._advance(stands, round),
            *self._end_strays(round),
            *self.closing.again(),
        ]
        keys = {action.key for action in wanted if isinstance(action, Resize | Rebalance)}
        self.retries.keep(("resize", "rebalance"), keys.__contains__)
        chosen = [action for action in wanted if self._may(action, round)]
        self._in_store = sum(isinstance(a, Evict) for a in wanted) - sum(isinstance(a, Evict) for a in chosen)
        chosen += [action for action in self._admit(round) if self._may(action, round)]
        for action in chosen:
            self._begin(action, now)
        return Decision(tuple(chosen), self._waits(stands, now), round.wake_at)

    def _stands(self, now: float) -> tuple[Stand, ...]:
        """Where each node on its way out stands. One that is open and goes on running takes no step."""
        way, before = self.way_out, self._stood.get
        nodes = (node for node in self.leaving if node.active or way.ends(node))
        return tuple(way.stand(node, before(node.name), now) for node in nodes)

    def _waits(self, stands: tuple[Stand, ...], now: float) -> Waits:
        begun = {stand.node.name for stand in stands}  # an instance that is gone belongs to no group any more
        held = tuple(self.world.old[name] for name in sorted(self.held(now) - begun))
        return Waits(stands, held, self.health.hold(self.done, now))

    def _keep_house(self, now: float) -> None:
        """What is kept up in every round."""
        self.health.look(now)
        self.replicas.look(now)
        self.closing.look(now)
        self.budgets.see_uncounted(now)
        self.easing.look(self.budgets.behind(now), self.budgets.counted, now)
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
            self.budgets.end(budgets, evicted=outcome.answer is Answer.EVICTED)
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
        if answer is Answer.EVICTED and pod is not None:
            self.way_out.moved(action.node, pod)

    def _begin(self, action: Action, now: float) -> None:
        budgets: tuple[BudgetKey, ...] = ()
        if isinstance(action, Evict):
            pod = self.world.pods[action.uid]
            budgets = pod.budgets
            self.replicas.begin(pod, now)
        self._inflight[action.key] = (action, budgets)
        self.budgets.begin(budgets)
        if isinstance(action, Look):
            self._looked_at = now
        else:
            self.requests += 1

    def _may(self, action: Action, round: Round) -> bool:
        """Whether nothing speaks against beginning it now, and if so, take it from what may be begun."""
        if not self._free(action.key, round):
            return False
        if isinstance(action, Evict):
            self.tempo.free(self.world.pods[action.uid], round.now)
        limits = self._limits(action)
        for limit in limits:
            limit.fill(round.now)
            if not limit.has(round.now):
                round.wake(limit.next_at(round.now))
                return False
        for limit in limits:
            limit.spend()
        return True

    def _limits(self, action: Action) -> list[Bucket]:
        """What says how often such an action may be begun."""
        match action:
            case Evict():
                return [self.throttle, self.easing, *self.tempo.limits(self.world.pods[action.uid])]
            case SoftTaint() | Cordon() | Reopen() | DropNode():
                return [self.throttle]
        return []

    def _free(self, key: Key, round: Round) -> bool:
        """It is not under way, and need not rest any more."""
        if key in self._inflight:
            return False
        at = self.retries.ready_at(key)
        if round.now < at:
            round.wake(at)
        return round.now >= at

    # -- before the first node, and after the last --------------------------------------------------

    def _looks(self, round: Round) -> list[Action]:
        world = self.world
        asked = {node.instance for node in self.leaving if node.active} | world.unknown_instances()
        growing = len(world.ready_new) < self.sizing.needed_at_the_end
        soon = asked or growing or not world.old
        due = world.looked + (self.pace.look if soon else self.pace.idle_look)
        if round.now < due:
            round.wake(due)
            return []
        return [Look(frozenset(asked - {""}))]

    def _prepare(self) -> list[Action]:
        if self.world.looked == NEVER:
            return []
        actions: list[Action] = [SoftTaint(name) for name in sorted(self.world.hard_old)[:PREPARED]]
        actions += [Reopen(name) for name in sorted(self.world.marked_new)]
        return actions + self.sizing.rebalancing() + self.sizing.to_set(final=not self.world.old)

    def _end_strays(self, round: Round) -> list[Action]:
        """Instances of old groups that never became a node; a late one still may, and would then be drained."""
        if self.world.old:
            self._strays.clear()
            return []
        self._strays = {i: self._strays.get(i, round.now) for i in self.sizing.in_service()}
        late = [i for i, since in self._strays.items() if round.over(round.now - since, self.pace.join)]
        return [Terminate("", instance) for instance in late]

    def _advance(self, stands: tuple[Stand, ...], round: Round) -> list[Action]:
        """What the nodes on their way out need next."""
        self._stood = {stand.node.name: stand for stand in stands}
        actions = [action for stand in stands for action in stand.step.does(self.way_out, stand, round)]
        if any(isinstance(action, Evict) for action in actions):
            self.budgets.measure(round.now)

        def later(action: Action) -> float:
            return -self.budgets.urgency(self.world.pods[action.uid]) if isinstance(action, Evict) else NEVER

        # there may not be room for all requests: those that most others wait for come first, then node by node
        return sorted(actions, key=later)

    # -- beginning with further nodes -----------------------------------------------------------

    def _admit(self, round: Round) -> list[Action]:
        world, now = self.world, round.now
        if world.looked == NEVER or world.hard_old:
            return []
        # to look through thousands of nodes takes its time: the more there are, the less often it is done
        apart = max(self.pace.admission, len(world.old) / NODES_A_SECOND)
        if not round.over(now - self._admitted_at, apart):
            return []
        active = self._active()
        room = self._room(len(active))
        if room <= 0:
            return []
        round.wake(self.health.next_at(self.done, now))
        if self.health.hold(self.done, now):
            return []
        useful, longest = self._useful(), self.tempo.longest
        if not useful and longest is None:
            return []
        self._see_uncordoned(round)
        names = admission.choose(
            world,
            active=active,
            held=self.held(now),
            room=min(room, useful or room),
            zone_node_budget=self.request.zone_node_budget,
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

    def _see_uncordoned(self, round: Round) -> None:
        self._uncordoned = {name: self._uncordoned.get(name, round.now) for name in self.world.reopened}
        for since in self._uncordoned.values():
            round.over(round.now - since, self.pace.uncordoned)

    def held(self, now: float) -> set[str]:
        """Old nodes that are not begun: those of no group of ours, with pods that are to be left alone, and those that
        somebody uncordoned just now."""
        self._keep_up()
        seen, alone = self._uncordoned, self.pace.uncordoned
        just_now = {name for name in self.world.reopened if now - seen.get(name, now) < alone}
        return self._outside | just_now | self._kept()

    def _kept(self) -> set[str]:
        if self.request.marked:
            return set()
        return {name for name, pods in self.world.marked.items() if pods and name in self.world.old}

    def _room(self, active: int) -> int:
        """How many more nodes may begin."""
        sizing, ready = self.sizing, len(self.world.ready_new)
        room = min(self.request.node_budget.of(self.goal.total), admission.wave(self.done)) - active
        if self.request.strategy is Strategy.SURGE:
            while room > 0 and sizing.needed(self.done + active + room) > ready:
                room -= 1
        elif self.request.strategy is Strategy.REPLACE:
            open_nodes = ready + sum(not node.unschedulable for node in self.world.old.values())
            room = min(room - max(0, sizing.needed(self.done) - ready), open_nodes - 1)
        return room
