"""A cluster, its API server and its cloud in simulated time, for the decisions of the refresh.

Everything that happens is drawn from one seed. `Oracle` looks at the truth, not at what the engine believes.
"""

import heapq
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from operations.refresh.engine import explain
from operations.refresh.engine.decision import Decision
from operations.refresh.engine.engine import Engine
from operations.refresh.model.actions import (
    Action,
    Cordon,
    Deregister,
    DropNode,
    Evict,
    Look,
    Outcome,
    Rebalance,
    Reopen,
    Resize,
    SoftTaint,
    Terminate,
)
from operations.refresh.model.answers import Answer
from operations.refresh.model.request import CNI_OF, RefreshRequest
from operations.refresh.model.terms import Goal, Pace
from operations.refresh.model.values import (
    CloudView,
    DisruptionBudget,
    Group,
    Instance,
    Node,
    Owner,
    Pod,
    Sizes,
    Target,
    share,
)
from operations.refresh.model.values import Workload as Wanted
from operations.refresh.model.world import World

PACE = Pace(look=2.0, idle_look=5.0, node_object=20.0, in_service=15.0, deregistration_margin=5.0, uncordoned=60.0)


@dataclass
class Workload:
    """A controller."""

    name: str
    replicas: int
    stateful: bool = False
    start: float = 1.0
    stop: float = 0.5
    everywhere: bool = False
    """Tolerates the cordon."""
    volume: bool = False


@dataclass
class Scenario:
    """What a simulation starts from. Times in seconds."""

    old: int = 6
    new: int = 6
    zones: int = 3
    workloads: list[Workload] = field(default_factory=list)
    budgets: dict[str, int] = field(default_factory=dict)
    """Workload -> most pods that may be missing."""
    boot: float = 10.0
    ending: float = 3.0
    deregistration: float = 5.0
    balanced: bool = True
    """Old instances are registered at a target group."""
    lag: float = 0.2
    """Watches are at most so late, each in its own order."""
    node_lag: float | None = None
    """The same for the watch of nodes; None: as the others."""
    error_rate: float = 0.0
    kill_rate: float = 0.0
    """Kills a second."""
    uncordon_rate: float = 0.0
    vanish_rate: float = 0.0
    busy_rate: float = 0.0
    counting: float = 0.0
    """What the disruption controller, one goroutine, needs for each count of a budget."""
    cloud_removes_nodes: bool = True
    turn_at: float | None = None
    """When somebody wants everything back."""


class Violation(AssertionError):
    """An invariant does not hold."""


class Sim:
    """See the module."""

    def __init__(self, scenario: Scenario, request: RefreshRequest, seed: int) -> None:
        self.source, self.target = CNI_OF[request.source], CNI_OF[request.target]
        self.s, self.request, self.random = scenario, request, random.Random(seed)  # noqa: S311
        self.now = 0.0
        self.heap: list[tuple[float, int, Callable[[], None]]] = []
        self.count = itertools.count()
        self.nodes: dict[str, Node] = {}
        self.pods: dict[str, Pod] = {}
        self.owner: dict[str, Workload] = {}
        self.budgets: dict[str, DisruptionBudget] = {}
        self._to_count: set[str] = set()
        self._counts_until = 0.0
        self.instances: dict[str, Instance] = {}
        self.gone: set[str] = set()
        self.targets: dict[str, bool] = {}
        """Instance -> still gets connections."""
        self.attached: dict[str, str] = {}
        self.groups = {
            "old": Group("old", True, Sizes(1, scenario.old, scenario.old), ("asg-old",)),
            "new": Group("new", True, Sizes(0, 0, scenario.new), ("asg-new",)),
        }
        self.sources, self.targets_of = "old", "new"
        both = frozenset({"old", "new"})
        self.goal = Goal(("old",), {"new": Sizes(0, scenario.new, scenario.new)}, scenario.old, resume_rebalancing=both)
        self._booting: dict[str, list[int]] = defaultdict(list)
        self._shown: dict[str, float] = defaultdict(float)
        """Kind -> when its watch shows the last event so far."""
        self.answers: Counter[str] = Counter()
        self.dead = False
        self.uncordons = 0
        self.asked: dict[str, list[float]] = defaultdict(list)
        self.log: list[str] = []
        self.kills = 0
        self.generation = 0
        self._spread = itertools.cycle(range(scenario.zones))
        for n in range(scenario.old):
            self._join(f"old-{n}", "old", "aws")
        for load in scenario.workloads:
            for n in range(load.replicas):
                node = f"old-{(n + hash_of(load.name)) % scenario.old}"
                self._bind(self._new_pod(load, f"{load.name}-{n}"), node)
        for name in scenario.budgets:
            self._count_budget(name)
        for pod in list(self.pods.values()):
            self._ready(pod.uid)
        self.engine = self._engine()
        self.decision: Decision | None = None
        """Of the engine that runs now; None before its first."""
        for kind, rate in (("uncordon", scenario.uncordon_rate), ("vanish", scenario.vanish_rate)):
            if rate:
                self._plague(kind, rate)
        if scenario.kill_rate:
            self._plague("kill", scenario.kill_rate)

    # -- time -------------------------------------------------------------------------------------

    def at(self, delay: float, what: Callable[[], None]) -> None:
        self._on(self.now + delay, what)

    def _on(self, time: float, what: Callable[[], None]) -> None:
        heapq.heappush(self.heap, (time, next(self.count), what))

    def turn_round(self) -> None:
        """Half-way, somebody wants it back: source and target change places."""
        self.request = RefreshRequest.towards(
            self.request.source, strategy=str(self.request.strategy), node_budget=str(self.request.node_budget)
        )
        self.source, self.target = self.target, self.source
        self.sources, self.targets_of = self.targets_of, self.sources
        self.dead = False
        for pod in self.pods.values():
            if pod.uid.startswith("agent-"):
                pod.agent = self.nodes[pod.node].cni == self.target
        leaving = sum(node.cni == self.source for node in self.nodes.values())
        size = self.s.old if self.targets_of == "old" else self.s.new
        on = self.goal.resume_rebalancing
        self.goal = Goal((self.sources,), {self.targets_of: Sizes(0, size, size)}, leaving, resume_rebalancing=on)
        self.engine = self._engine()

    def run(self, limit: float = 3600.0) -> float:
        """Until the engine has finished; gives back the time."""
        self._decide()
        while self.dead or not self.engine.finished():
            if self.s.turn_at is not None and self.now > self.s.turn_at:
                self.s.turn_at = None
                self.turn_round()
                self._decide()
                continue
            wake = float("inf") if self.dead or self.decision is None else self.decision.wake_at
            if self.heap and self.heap[0][0] <= wake:
                self.now, _, what = heapq.heappop(self.heap)
                what()
            else:
                self.now = max(wake, self.now + 0.001)
            if self.now > limit:
                decision = self.decision or self.engine.decide(self.now, stopping=True)
                waits = [f"{b.object}: {b.reason}" for b in explain.waits(self.engine, decision)]
                raise Violation(f"not finished after {limit} s: {waits[:8]}; {self.log[-20:]}")
            self._decide()
        self._final()
        return self.now

    def _decide(self) -> None:
        if self.dead:
            return
        self.decision = self.engine.decide(self.now)
        for action in self.decision.actions:
            self._start(action)
        self._check()

    # -- the engine's view --------------------------------------------------------------------------

    def _engine(self) -> Engine:
        world = World(self.source, self.target)
        world.replace_nodes(replace(node) for node in self.nodes.values())
        world.replace_budgets(replace(budget) for budget in self.budgets.values())
        world.replace_pods(replace(pod) for pod in self.pods.values())
        world.replace_attachments(self.attached.items())
        world.present.replace("", self._wanted())
        self.generation += 1
        self.decision = None
        return Engine(world, self.request, self.goal, PACE, seed=self.random.randrange(1 << 30))

    def _wanted(self) -> list[Wanted]:
        """As the lists of workloads tell."""
        found = []
        for load in self.s.workloads:
            kind = "StatefulSet" if load.stateful else "ReplicaSet"
            found.append(Wanted((kind, "shop", load.name), load.replicas, share(load.replicas)))
        return found

    def _tell(self, kind: str, change: Callable[[World], None]) -> None:
        """An event of the watch of a kind, in order, a little late."""
        generation = self.generation

        def arrive() -> None:
            if generation == self.generation:
                change(self.engine.world)

        lag = self.s.node_lag if kind == "nodes" and self.s.node_lag is not None else self.s.lag
        self._shown[kind] = max(self._shown[kind], self.now + self.random.uniform(0, lag))
        # the very time, not a difference added again: rounding would let an event overtake the one before
        self._on(self._shown[kind], arrive)

    def _node_changed(self, name: str) -> None:
        self.nodes[name].version = str(next(self.count))
        copy = replace(self.nodes[name])
        self._tell("nodes", lambda world: world.see_node(copy))

    def _pod_changed(self, uid: str) -> None:
        copy = replace(self.pods[uid])
        self._tell("pods", lambda world: world.see_pod(copy))

    # -- nodes ------------------------------------------------------------------------------------

    def _join(self, name: str, group: str, cni: str) -> None:
        zone = f"z{next(self._spread)}"
        instance = f"i-{name}"
        self.instances[instance] = Instance(instance, group, f"asg-{group}", zone, "in-service")
        self.nodes[name] = Node(name, uid=f"node-{name}", cni=cni, group=group, zone=zone, instance=instance)
        if group == "old" and self.s.balanced:
            self.targets[instance] = True
        agent = Pod(
            f"agent-{name}",
            "kube-system",
            f"agent-{name}",
            name,
            Owner("DaemonSet", "agent", "ds"),
            ready=True,
            agent=cni == self.target,
        )
        self.pods[agent.uid] = agent
        if self.now > 0:
            self._node_changed(name)
            self._pod_changed(agent.uid)

    def _fill(self) -> None:
        """Auto Scaling reaches the wish."""
        for name, cni in (("new", "cilium"), ("old", "aws")):
            have = sum(i.group == name and i.alive for i in self.instances.values())
            wish = self.groups[name].sizes.desired - have
            for _ in range(wish - len(self._booting[name])):
                number = next(self.count)
                self._booting[name].append(number)
                self.at(self.random.uniform(0.5, 1.5) * self.s.boot, partial(self._up, name, cni, number))
            del self._booting[name][max(0, wish) :]
            alive = [i.id for i in self.instances.values() if i.group == name and i.alive]
            for instance in alive[::-1][: max(0, -wish)]:
                self._scaled_in(instance)

    def _scaled_in(self, instance: str) -> None:
        """Auto Scaling ends the newest instance by itself: nobody drained it."""
        nodes = {n.name for n in self.nodes.values() if n.instance == instance}
        left = [str(p) for p in self.pods.values() if p.node in nodes and not p.stays]
        if left:
            raise Violation(f"Auto Scaling ended {instance} with {left} on it")
        self._end_instance(instance, by_engine=False)

    def _up(self, name: str, cni: str, number: int) -> None:
        if number in self._booting[name]:
            self._booting[name].remove(number)
            self._join(f"{name}-{number}", name, cni)

    def _end_instance(self, instance: str, *, by_engine: bool) -> None:
        found = self.instances.get(instance)
        if found is None or found.state == "ending":
            return
        found.state = "ending"
        node = next((n for n in self.nodes.values() if n.instance == instance), None)
        if by_engine and node is not None:
            left = [
                str(p) for p in self.pods.values() if p.node == node.name and not p.stays and not p.tolerates_cordon
            ]
            if left:
                raise Violation(f"{node.name} ended with {left} on it")
            if self.targets.get(instance):
                raise Violation(f"{node.name} ended while it gets connections")
            if not node.active:
                raise Violation(f"{node.name} ended while it is open to pods")
        self.at(self.s.ending, lambda: self._ended(instance, node))

    def _ended(self, instance: str, node: Node | None) -> None:
        self.instances.pop(instance, None)
        self.gone.add(instance)
        self.targets.pop(instance, None)
        if node is not None and self.s.cloud_removes_nodes:
            self.at(1.0, lambda: self._drop(node.name))

    def _drop(self, name: str) -> None:
        node = self.nodes.pop(name, None)
        if node is None:
            return
        if node.instance in self.instances and self.instances[node.instance].alive:
            raise Violation(f"the Node object of {name} was removed while its instance runs")
        self._tell("nodes", lambda world: world.lose_node(name))
        for pod in [p for p in self.pods.values() if p.node == name]:
            self._pod_gone(pod.uid)

    # -- pods -------------------------------------------------------------------------------------

    def _new_pod(self, load: Workload, name: str) -> Pod:
        uid = f"{name}-{next(self.count)}"
        owner = Owner("StatefulSet" if load.stateful else "ReplicaSet", load.name, f"uid-{load.name}")
        pod = Pod(uid, "shop", name, "", owner, {"app": load.name}, tolerates_cordon=load.everywhere)
        self.pods[uid], self.owner[uid] = pod, load
        return pod

    def _bind(self, pod: Pod, node: str) -> None:
        pod.node = node
        if self.owner[pod.uid].volume:
            name = f"va-{pod.uid}"
            self.attached[name] = node
            self._tell("attachments", lambda world: world.see_attachment(name, node))

    def _schedule(self, uid: str) -> None:
        pod = self.pods.get(uid)
        if pod is None:
            return
        fits = [
            n
            for n in self.nodes.values()
            if (not n.unschedulable or pod.tolerates_cordon) and n.ready and n.instance in self.instances
        ]
        if not fits:
            self.at(1.0, lambda: self._schedule(uid))
            return
        prefer = [n for n in fits if not n.soft] or fits
        self._bind(pod, self.random.choice(prefer).name)
        self._pod_changed(uid)
        self.at(self.owner[uid].start * self.random.uniform(0.5, 1.5), lambda: self._ready(uid))

    def _ready(self, uid: str) -> None:
        pod = self.pods.get(uid)
        if pod is None or pod.terminating:
            return
        pod.ready = True
        if self.now > 0:
            self._pod_changed(uid)
        self._later_budgets(pod)

    def _start_deletion(self, uid: str) -> None:
        pod = self.pods[uid]
        pod.terminating = True
        load = self.owner[uid]
        self._pod_changed(uid)
        self._later_budgets(pod)
        if not load.stateful:
            self.at(0.05, lambda: self._replace(pod))
        self.at(load.stop * self.random.uniform(0.5, 1.5), lambda: self._pod_gone(uid))

    def _replace(self, pod: Pod) -> None:
        load = self.owner[pod.uid]
        alive = [p for p in self.pods.values() if p.owner == pod.owner and not p.terminating]
        if len(alive) < load.replicas:
            fresh = self._new_pod(load, pod.name if load.stateful else f"{load.name}-{next(self.count)}")
            self._pod_changed(fresh.uid)
            self.at(0.05, lambda: self._schedule(fresh.uid))

    def _pod_gone(self, uid: str) -> None:
        pod = self.pods.pop(uid, None)
        if pod is None:
            return
        self._tell("pods", lambda world: world.lose_pod(uid))
        load = self.owner.get(uid)
        if load is None:
            return
        self._later_budgets(pod)
        if load.stateful or not pod.terminating:
            self.at(0.1, lambda: self._replace(pod))
        name = f"va-{uid}"
        if name in self.attached:
            self.at(self.random.uniform(0.5, 3.0), lambda: self._detach(name))

    def _detach(self, name: str) -> None:
        if self.attached.pop(name, None):
            self._tell("attachments", lambda world: world.lose_attachment(name))

    # -- budgets ------------------------------------------------------------------------------------

    def _members(self, name: str) -> list[Pod]:
        return [p for p in self.pods.values() if p.labels.get("app") == name]

    def _count_budget(self, name: str) -> None:
        """The disruption controller."""
        load = next(w for w in self.s.workloads if w.name == name)
        healthy = sum(p.ready and not p.terminating for p in self._members(name))
        desired = load.replicas - self.s.budgets[name]
        budget = DisruptionBudget(
            ("shop", name),
            {"matchLabels": {"app": name}},
            allowed=max(0, healthy - desired),
            expected=load.replicas,
            desired=desired,
            healthy=healthy,
            version=str(next(self.count)),
        )
        self.budgets[name] = budget
        if self.now > 0:
            copy = replace(budget)
            self._tell("budgets", lambda world: world.see_budget(copy))

    def _later_budgets(self, pod: Pod) -> None:
        name = pod.labels.get("app", "")
        if name in self.s.budgets:
            if self.s.counting and (pod.terminating or (pod.ready and pod.uid in self.pods)):
                self._queue_count(name)
            elif not pod.ready or pod.terminating or pod.uid not in self.pods:
                self._count_budget(name)  # what lowers it is counted by the eviction itself, at once
            else:
                self.at(self.random.uniform(0, 0.3), lambda: self._count_budget(name))

    def _queue_count(self, name: str) -> None:
        """One budget after the other; one that waits already is not queued again."""
        if name in self._to_count:
            return
        self._to_count.add(name)
        spent = self.s.counting * self.random.uniform(0.5, 1.5)
        self._counts_until = max(self.now, self._counts_until) + spent

        def count() -> None:
            self._to_count.discard(name)
            self._count_budget(name)

        self._on(self._counts_until, count)

    # -- the API server and AWS -----------------------------------------------------------------------

    def _start(self, action: Action) -> None:
        generation, direction = self.generation, self.source
        latency = self.random.uniform(0.002, 0.08)

        def arrive() -> None:
            if direction != self.source:
                return  # who turns round ends the first run before, and it waits for its answers
            broken = self.random.random() < self.s.error_rate
            lost = broken and self.random.random() < 0.5
            outcome = Outcome(False, "broken", Answer.SERVER) if broken and not lost else self._carry_out(action)
            if lost:
                outcome = Outcome(False, "cut", Answer.LOST)
            if generation != self.generation:
                return  # the process that asked is dead

            def answered() -> None:
                if generation == self.generation:
                    self.engine.settle(action, outcome, self.now)

            self.at(latency, answered)

        self.at(latency, arrive)

    def _carry_out(self, action: Action) -> Outcome:
        match action:
            case Evict():
                return self._evict(action)
            case SoftTaint() | Cordon():
                node = self.nodes.get(action.node)
                if node is None:
                    return Outcome(True)
                if isinstance(action, SoftTaint):
                    node.soft = True
                else:
                    node.found_cordoned = action.already
                    node.ours = node.unschedulable = True
                    self.at(self.random.uniform(0.1, 2.0), lambda: self._begin_draining(node.instance))
                self._node_changed(node.name)
                return Outcome(True, version=node.version)
            case Reopen():
                self._reopen(action)
            case DropNode():
                self._drop(action.node)
            case Deregister():
                self._begin_draining(action.instance)
            case Resize():
                group = self.groups[action.group]
                group.sizes = Sizes(
                    group.sizes.minimum if action.minimum is None else action.minimum,
                    group.sizes.desired if action.desired is None else action.desired,
                    group.sizes.maximum if action.maximum is None else action.maximum,
                )
                self._fill()
            case Rebalance():
                self.groups[action.group].rebalancing = action.allowed
            case Terminate():
                return self._terminate(action)
            case Look():
                return Outcome(True, view=self._look(action.instances))
        return Outcome(True)

    def _reopen(self, action: Reopen) -> None:
        node = self.nodes.get(action.node)
        if node is not None:
            node.unschedulable = node.unschedulable and (node.found_cordoned or not node.ours)
            node.soft = node.ours = node.found_cordoned = False
            self._node_changed(node.name)

    def _begin_draining(self, instance: str) -> None:
        if self.targets.get(instance):
            self.targets[instance] = False
            self.at(self.s.deregistration, lambda: self._deregistered(instance))

    def _deregistered(self, instance: str) -> None:
        self.targets.pop(instance, None)

    def _terminate(self, action: Terminate) -> Outcome:
        node = self.nodes.get(action.node)
        if node is not None and not node.active:
            return Outcome(False, "somebody uncordoned it")
        for pod in self.pods.values():
            goes = pod.owner is not None and pod.owner.uid in action.left
            if pod.node == action.node and not (pod.stays or goes):
                return Outcome(False, f"pod {pod} is on it")
        found = self.instances.get(action.instance)
        if found is not None and found.alive:
            group = self.groups[found.group]
            if group.rebalancing:
                raise Violation(f"{action.instance} is ended while Auto Scaling may even out zones with another")
            if group.sizes.minimum >= group.sizes.desired:
                return Outcome(False, "ValidationError: the minimum is reached")
            group.sizes = replace(group.sizes, desired=group.sizes.desired - 1)
            self._end_instance(action.instance, by_engine=True)
        return Outcome(True)

    def _look(self, asked: frozenset[str]) -> CloudView:
        return CloudView(
            {name: replace(group) for name, group in self.groups.items()},
            {name: replace(i) for name, i in self.instances.items()},
            {i: (Target("tg/one/1", self.targets[i], self.s.deregistration),) for i in asked if i in self.targets},
            asked,
            frozenset(i for i in asked if i not in self.instances),
        )

    def _evict(self, action: Evict) -> Outcome:
        self.asked[action.uid].append(self.now)
        pod = self.pods.get(action.uid)
        if self.random.random() < self.s.busy_rate:
            outcome = Outcome(False, "busy", Answer.BUSY, retry_after=1.0)
        elif pod is None:
            outcome = Outcome(True, answer=Answer.GONE)
        else:
            outcome = self._evict_found(pod)
        self.answers[str(outcome.answer)] += 1
        return outcome

    def _evict_found(self, pod: Pod) -> Outcome:
        name = pod.labels.get("app", "")
        if pod.terminating:
            return Outcome(True, answer=Answer.EVICTED)
        if name in self.s.budgets and pod.ready:
            if self.budgets[name].allowed <= 0:
                return Outcome(False, "budget", Answer.BUDGET)
            budget = self.budgets[name]
            budget.allowed -= 1
            if self.s.counting:
                budget.unnoted = (*budget.unnoted, pod.name)
                budget.version = str(next(self.count))
                copy = replace(budget)
                self._tell("budgets", lambda world: world.see_budget(copy))
        self._start_deletion(pod.uid)
        return Outcome(True, answer=Answer.EVICTED)

    # -- plagues --------------------------------------------------------------------------------------

    def _restart(self) -> None:
        if self.dead:
            self.dead = False
            self.engine = self._engine()

    def _plague(self, kind: str, rate: float) -> None:
        def strike() -> None:
            self._plague(kind, rate)
            match kind:
                case "kill":
                    self.kills += 1
                    self.log.append(f"{self.now:.1f} kill")
                    self.generation += 1  # what it asked for still happens, its answers reach nobody
                    self.dead = True
                    self.at(0.5, self._restart)
                case "uncordon":
                    # who opens a node whose instance ends already loses the pods that go there: no refresh can help it
                    staying = {i.id for i in self.instances.values() if i.alive}
                    active = [n for n in self.nodes.values() if n.active and n.instance in staying]
                    if active and self.uncordons < 5:
                        self.uncordons += 1
                        node = self.random.choice(active)
                        node.unschedulable = False
                        self.log.append(f"{self.now:.1f} uncordon {node.name}")
                        self._node_changed(node.name)
                case "vanish":
                    alive = [i for i in self.instances.values() if i.alive and i.group == self.sources]
                    if alive:
                        self.log.append(f"{self.now:.1f} vanish")
                        sizes = self.groups[self.sources].sizes
                        self.groups[self.sources].sizes = replace(sizes, desired=max(0, sizes.desired - 1))
                        self._end_instance(self.random.choice(alive).id, by_engine=False)

        self.at(self.random.expovariate(rate), strike)

    # -- the oracle -------------------------------------------------------------------------------------

    def _check(self) -> None:
        """Invariants over the truth."""
        if self.s.vanish_rate == 0:
            for name, spare in self.s.budgets.items():
                load = next(w for w in self.s.workloads if w.name == name)
                healthy = sum(p.ready and not p.terminating for p in self._members(name))
                if healthy < load.replicas - spare and not load.everywhere:
                    raise Violation(f"{self.now:.2f}: {name} has {healthy} of {load.replicas}, may miss {spare}")
            for load in self.s.workloads:
                most = share(load.replicas)
                healthy = sum(p.ready and not p.terminating for p in self._members(load.name))
                if load.name not in self.s.budgets and healthy < load.replicas - most:
                    raise Violation(f"{self.now:.2f}: {load.name} has {healthy} of {load.replicas}, may miss {most}")
        leaving = [n for n in self.nodes.values() if n.cni == self.source and n.active]
        most = self.request.node_budget.of(self.goal.total)
        if self.s.vanish_rate == 0 and self.s.uncordon_rate == 0 and len(leaving) > most:
            raise Violation(f"{self.now:.2f}: {len(leaving)} nodes leave at once, the node budget is {most}")
        if self.request.zone_node_budget is not None:
            for zone, number in Counter(n.zone for n in leaving).items():
                if number > self.request.zone_node_budget.of(self.s.old):
                    raise Violation(f"{number} nodes leave zone {zone}")

    def _final(self) -> None:
        left = [n for n in self.nodes.values() if n.cni == self.source]
        if left:
            raise Violation(f"finished with {left}")
        alive = {i.id for i in self.instances.values() if i.alive}
        marked = [n.name for n in self.nodes.values() if (n.ours or n.soft) and n.instance in alive]
        if marked:
            raise Violation(f"finished with marks on {marked}")
        if not all(group.rebalancing for group in self.groups.values()):
            raise Violation("finished with rebalancing suspended")
        if any(i.group == self.sources and i.alive for i in self.instances.values()):
            raise Violation("finished with old instances")
        for uid, times in self.asked.items():
            quick = [b - a for a, b in itertools.pairwise(times) if b - a < 1.9]
            if len(quick) > self.kills + self.answers["lost"]:
                raise Violation(f"{uid} was asked for every {min(quick):.2f} s")


def hash_of(text: str) -> int:
    return sum(map(ord, text))


def scenario(seed: int) -> Scenario:
    """A random one."""
    rng = random.Random(seed)  # noqa: S311
    loads = [
        Workload(
            f"w{n}",
            rng.randint(2, 8),
            stateful=rng.random() < 0.3,
            start=rng.choice([0.5, 1, 3]),
            stop=rng.choice([0.2, 1, 4]),
            everywhere=rng.random() < 0.1,
            volume=rng.random() < 0.2,
        )
        for n in range(rng.randint(2, 6))
    ]
    return Scenario(
        old=rng.randint(1, 9),
        new=rng.randint(2, 9),
        zones=rng.randint(1, 3),
        workloads=loads,
        budgets={w.name: rng.randint(1, max(1, w.replicas // 2)) for w in loads if rng.random() < 0.7},
        boot=rng.choice([1.0, 10.0]),
        deregistration=rng.choice([0.0, 5.0, 20.0]),
        balanced=rng.random() < 0.7,
        lag=rng.choice([0.05, 0.5, 2.0]),
        node_lag=rng.choice([None, None, None, 40.0]),
        error_rate=rng.choice([0.0, 0.0, 0.05, 0.2]),
        kill_rate=rng.choice([0.0, 0.0, 0.02, 0.2]),
        uncordon_rate=rng.choice([0.0, 0.0, 0.0, 0.02]),
        vanish_rate=rng.choice([0.0, 0.0, 0.0, 0.01]),
        busy_rate=rng.choice([0.0, 0.0, 0.1]),
        counting=rng.choice([0.0, 0.02, 0.5]),
        cloud_removes_nodes=rng.random() < 0.8,
        turn_at=rng.choice([None, None, rng.uniform(1, 60)]),
    )
