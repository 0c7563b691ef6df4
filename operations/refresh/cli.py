"""`refresh plan | run | status | pause | undo`."""

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from migration.journeys import NodeKind
from operations.arguments import amount, whole
from operations.connection import Api, WrongClusterError
from operations.context import Context, UsageError
from operations.evidence import EXIT_CODES, Verdict, simulated
from operations.refresh.cluster import groups as grouping
from operations.refresh.cluster import rights
from operations.refresh.cluster.cloud import Cloud, UnknownGroupError
from operations.refresh.cluster.groups import Groups
from operations.refresh.cluster.kube import Kube
from operations.refresh.cluster.lease import Lease, LeaseError, Memory, forget
from operations.refresh.engine.engine import Engine
from operations.refresh.engine.explain import blockers as explain
from operations.refresh.model.actions import Resize
from operations.refresh.model.request import CNI_OF, InvalidRequest, RefreshRequest, Strategy
from operations.refresh.model.terms import Goal, Pace, unhealthy
from operations.refresh.model.world import World
from operations.refresh.plan import gather, planning
from operations.refresh.run.metrics import Metrics
from operations.refresh.run.progress import Progress, duration
from operations.refresh.run.runner import RIGHTS, Ended, Live, Runner, UnreadableError

SHOWN: Final = 10
"""Nodes and blockers named in the final JSON: it is kept in a stack's state."""


class DeniedError(Exception):
    """This identity has not the rights that a refresh needs. Nothing was touched."""


def add_parser(commands: Any) -> None:
    """The command and its own commands."""
    command = commands.add_parser("refresh", help="move workloads between legacy and Cilium nodes")
    verbs = command.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, text in (
        ("plan", "what a run would do, what would block it, how long it takes at least; reads only"),
        ("run", "empty the nodes of the other kind and remove them; may be run again at any time"),
        ("status", "how far a refresh is; reads only"),
        ("pause", "ask a running refresh to stop cleanly"),
        ("undo", "open the old nodes again and restore the sizes of their groups"),
        ("rights", "print the RBAC rules and the IAM policy that a refresh needs"),
    ):
        parser = verbs.add_parser(verb, help=text)
        parser.add_argument("--stack", help="left out: PULUMI_STACK, or the only stack here")
        if verb == "rights":
            parser.add_argument("--iam", action="store_true", help="the IAM policy; left out: the RBAC rules")
        if verb in ("pause", "rights"):
            continue
        parser.add_argument("--to", choices=[str(kind) for kind in NodeKind], required=verb in ("plan", "run"))
        if verb in ("plan", "run"):
            parser.add_argument("--strategy", help=f"{', '.join(Strategy)}; left out: as configured")
            parser.add_argument(
                "--budget", help="nodes on their way out at once, as 3 or 10%%; left out: as configured"
            )
            parser.add_argument("--zone-budget", help="the same in each zone; left out: no bound of its own")
            parser.add_argument(
                "--deadline", type=amount(0.01, 720, "minutes"), metavar="MINUTES", help="left out: as configured"
            )
            parser.add_argument("--json", action="store_true", help="JSON lines instead of progress for people")
        if verb == "run":
            parser.add_argument(
                "--metrics", type=whole(0, 65535), metavar="PORT", help="serve Prometheus metrics on the loopback"
            )
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry out one of the commands."""
    verbs: dict[str, Callable[[argparse.Namespace, Context], int]] = {
        "plan": _plan,
        "run": _run,
        "status": _status,
        "pause": _pause,
        "undo": _undo,
        "rights": _rights,
    }
    try:
        return verbs[args.verb](args, Context.load(args.stack))
    except (InvalidRequest, UnknownGroupError) as error:
        raise UsageError(str(error)) from None
    except (LeaseError, DeniedError) as error:
        _say(str(error))
        return EXIT_CODES[Verdict.FAILED]
    except UnreadableError as error:
        _say(str(error))
        return EXIT_CODES[Verdict.UNKNOWN]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def request_of(args: argparse.Namespace, context: Context) -> RefreshRequest:
    """From the arguments, and from the settings for those that were left out."""
    configured = context.settings.refresh
    return RefreshRequest.towards(
        NodeKind(args.to),
        strategy=args.strategy or configured.strategy,
        budget=args.budget or configured.budget,
        zone_budget=args.zone_budget,
        marked=configured.evict_marked,
        deadline=(configured.deadline_minutes if args.deadline is None else args.deadline) * 60,
    )


@dataclass
class Session:
    """Connections to one cluster, after it was made sure that it is the right one."""

    context: Context
    groups: Groups
    kube: Kube
    cloud: Cloud

    @classmethod
    def open(cls, context: Context) -> "Session":
        """Connect.

        Raises:
            WrongClusterError: account, cluster and API server do not belong together.
            InvalidRequest: no groups are known.
        """
        groups = grouping.groups(context.settings, context.facts if context.adopted else None)
        api = context.kube.transport
        if not isinstance(api, Api):
            raise TypeError("a refresh needs a connection of its own")
        described = context.aws.cluster(context.cluster_name)
        if described is None:
            raise WrongClusterError(f"EKS cluster {context.cluster_name} does not exist in {context.aws.region}")
        _same_account(context, described)
        cloud = Cloud(context.aws, context.cluster_name, groups.refs, described["resourcesVpcConfig"]["vpcId"])
        return cls(context, groups, Kube(api.api), cloud)

    def world(self, request: RefreshRequest) -> World:
        return World(CNI_OF[request.source], CNI_OF[request.target])


def _same_account(context: Context, described: Mapping[str, Any]) -> None:
    account = str(context.aws.caller()["Account"])
    owner = str(described["arn"]).split(":")[4]
    if account != owner:
        raise WrongClusterError(
            f"the credentials belong to account {account}, cluster {described['arn']} to {owner}: use credentials of it"
        )
    if context.facts is not None and context.adopted and context.facts.cluster.arn != described["arn"]:
        raise WrongClusterError(
            f"the facts are about {context.facts.cluster.arn}, the cluster found is {described['arn']}: "
            "correct the region or the name, or survey again"
        )


# -- run --------------------------------------------------------------------------------------------


def _run(args: argparse.Namespace, context: Context) -> int:
    request = request_of(args, context)
    deadline = time.monotonic() + request.deadline
    session = Session.open(context)
    lacking = rights.missing(session.kube)
    if lacking:
        raise DeniedError(f"this identity may not {', '.join(lacking)}. {RIGHTS}")
    progress = Progress(as_json=args.json)
    lease = Lease(session.kube)
    lease.read()
    live = Live(session.kube, session.world(request))
    live.start()
    try:
        look_at_all(session, live.world)
        goal = goal_of(session.groups, request, lease.memory, live.world)
        if nothing_to_do(live.world, goal, request, lease.memory):
            _forget_what_is_over(lease, request)
            return _report(request, Ended("", goal.total, goal.total, 0.0))
        metrics = Metrics(args.metrics) if args.metrics is not None else None
        lease.acquire()
        try:
            lease.remember(remembered(lease.memory, request, live.world, goal))
            goal = goal_of(session.groups, request, lease.memory, live.world)
            progress.say(_opening(request, goal, live.world))
            engine = Engine(live.world, request, goal, pace())
            bound = planning.bound(engine)
            runner = Runner(
                engine=engine,
                live=live,
                kube=session.kube,
                cloud=session.cloud,
                lease=lease,
                deadline=deadline,
                show=progress.show if metrics is None else metrics.beside(progress.show),
            )
            with _Signals(runner.interrupted):
                ended = runner.run()
            if not ended.reason and request.target is NodeKind.LEGACY:
                lease.remember(forget(lease.memory))
        finally:
            if metrics is not None:
                metrics.stop()
            lease.release()
    finally:
        live.stop()
    if not ended.reason:
        progress.say(planning.efficiency_text(engine, ended, bound))
    return _report(request, ended)


def _forget_what_is_over(lease: Lease, request: RefreshRequest) -> None:
    """A run that was ended behind its last step, on the way back, has left its memory."""
    if request.target is NodeKind.LEGACY and lease.memory.towards == request.target:
        lease.acquire()
        try:
            lease.remember(forget(lease.memory))
        finally:
            lease.release()


def pace() -> Pace:
    """AWS takes seconds for everything; the local cluster does not, so it is looked at more often."""
    return Pace(look=1.0, idle_look=5.0, node_object=10.0, in_service=10.0) if simulated() else Pace()


def look_at_all(session: Session, world: World) -> None:
    """The first look: groups, instances, and where those on their way out are registered.

    Raises:
        UnknownGroupError: a configured group does not exist.
    """
    began = time.monotonic()
    active = {node.instance for node in world.old.values() if node.active and node.instance}
    known = session.cloud.look(active)
    nodes = (*world.old.values(), *world.new.values())
    missing = {n.instance for n in nodes if n.instance} - set(known.instances) - active
    world.see_cloud(session.cloud.look(active | missing) if missing else known, began)


def goal_of(groups: Groups, request: RefreshRequest, memory: Memory, world: World) -> Goal:
    """Where the run ends, from the configuration and what is remembered of an earlier one."""
    goes_on = memory.towards == request.target
    return Goal(
        sources=tuple(ref.name for ref in groups.of(request.source)),
        targets=grouping.wanted(groups, request.target, memory),
        total=max(memory.total if goes_on else 0, len(world.old)),
        unhealthy_before=frozenset(memory.unhealthy) if goes_on else frozenset(),
        resume_rebalancing=memory.rebalancing,
    )


def remembered(memory: Memory, request: RefreshRequest, world: World, goal: Goal) -> Memory:
    """What the Lease must hold before the first change."""
    if memory.towards == request.target:
        return replace(memory, total=goal.total)
    sizes = {name: group.sizes for name, group in world.groups.items()} | dict(memory.sizes)
    for name in goal.sources:  # what is emptied now is what an undo gives back
        here = world.groups[name].sizes
        if here.desired > sizes[name].desired:
            sizes[name] = here
    on = {name for name, group in world.groups.items() if group.rebalancing}
    return Memory(
        towards=str(request.target),
        total=len(world.old),
        sizes=sizes,
        rebalancing=memory.rebalancing | on,
        unhealthy=tuple(sorted(unhealthy(world.unready.values()))),
    )


def nothing_to_do(world: World, goal: Goal, request: RefreshRequest, memory: Memory) -> bool:
    """No old node, no old instance, and the new groups are as they should be. Legacy groups that no refresh has
    shrunk are left at the sizes that their owner, or an autoscaler, gave them."""
    if world.old or any(i.alive and i.group in goal.sources for i in world.instances.values()):
        return False
    untouched = request.target is NodeKind.LEGACY and not memory.towards
    if untouched and any(i.alive and i.group in goal.targets for i in world.instances.values()):
        return True
    return Engine(world, request, goal).finished()


def _opening(request: RefreshRequest, goal: Goal, world: World) -> str:
    done = goal.total - len(world.old)
    begun = f", {done} done before" if done else ""
    return (
        f"refresh to {request.target}: {goal.total} {request.source} nodes{begun}; {request.strategy}, "
        f"budget {request.budget} ({request.budget.of(goal.total)}), {duration(request.deadline)} at most"
    )


class _Signals:
    """SIGINT and SIGTERM stop a run cleanly. Only the main thread can be told so."""

    def __init__(self, event: threading.Event) -> None:
        self.event, self.before = event, dict[int, Any]()

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.before[number] = signal.signal(number, lambda *_: self.event.set())

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


def _report(request: RefreshRequest, ended: Ended) -> int:
    verdict = Verdict.FAILED if ended.reason else Verdict.PASSED
    if ended.reason:
        _say(f"stopped, {ended.reason}: {ended.done} of {ended.total} nodes done. Run again to go on")
        for blocker in ended.blockers[:SHOWN]:
            _say(f"  - {blocker.object}: {blocker.reason}")
        if len(ended.blockers) > SHOWN:
            _say(f"  - and {len(ended.blockers) - SHOWN} more")
    elif ended.seconds:
        _say(f"{ended.total} of {ended.total} nodes done in {duration(ended.seconds)}")
    else:
        _say(f"nothing to do: every workload node is of kind {request.target}")
    _print(
        {
            "command": "refresh run",
            "to": request.target,
            "verdict": verdict,
            "stopped": ended.reason,
            "done": ended.done,
            "total": ended.total,
            "waits": [asdict(blocker) for blocker in ended.blockers[:SHOWN]],
            "simulated": simulated(),
        }
    )
    return EXIT_CODES[verdict]


def _print(value: Mapping[str, Any]) -> None:
    print(json.dumps(value, separators=(",", ":")), flush=True)


# -- the others -------------------------------------------------------------------------------------


def _plan(args: argparse.Namespace, context: Context) -> int:
    request = request_of(args, context)
    session = Session.open(context)
    lease = Lease(session.kube)
    lease.read()
    live = Live(session.kube, session.world(request))
    live.start()
    try:
        look_at_all(session, live.world)
        goal = goal_of(session.groups, request, lease.memory, live.world)
        plan = planning.plan(live.world, request, goal, gather.surroundings(context, live.world, request))
    finally:
        live.stop()
    if not args.json:
        _say(plan.text())
    _print(plan.json() | {"simulated": simulated()})
    return EXIT_CODES[Verdict.FAILED if plan.stops else Verdict.PASSED]


def _status(args: argparse.Namespace, context: Context) -> int:
    session = Session.open(context)
    lease = Lease(session.kube)
    lease.read()
    target = NodeKind(args.to or lease.memory.towards or NodeKind.CILIUM)
    request = RefreshRequest.towards(target)
    live = Live(session.kube, session.world(request))
    live.start()
    try:
        look_at_all(session, live.world)
        goal = goal_of(session.groups, request, lease.memory, live.world)
        engine = Engine(live.world, request, goal, pace())
        blockers = explain(engine, time.monotonic())
    finally:
        live.stop()
    sizes = {name: str(group.sizes) for name, group in sorted(live.world.groups.items())}
    holder = lease.other or "nobody"
    if not lease.memory.towards and not args.to:
        _say("no refresh has begun, or the last one was taken back")
        blockers = ()
    _say(f"to {target}: {engine.done} of {goal.total} nodes done; run by {holder}{'; paused' if lease.paused else ''}")
    for name, text in sizes.items():
        _say(f"  group {name}: {text} (min/desired/max)")
    for blocker in blockers[:SHOWN]:
        _say(f"  - {blocker.object}: {blocker.reason}")
    _print(
        {
            "command": "refresh status",
            "to": target,
            "done": engine.done,
            "total": goal.total,
            "holder": lease.other,
            "paused": lease.paused,
            "groups": sizes,
            "waits": [asdict(blocker) for blocker in blockers[:SHOWN]],
            "simulated": simulated(),
        }
    )
    return 0


def _pause(_: argparse.Namespace, context: Context) -> int:
    session = Session.open(context)
    running = Lease(session.kube).set_pause(True)
    _say("the refresh stops after what it has begun" if running else "no refresh runs")
    _print({"command": "refresh pause", "running": running, "simulated": simulated()})
    return 0


def _rights(args: argparse.Namespace, context: Context) -> int:
    if args.iam:
        caller = str(context.aws.caller()["Account"])
        print(rights.iam(context.cluster_name, caller, context.aws.region), end="")
    else:
        print(rights.rbac(), end="")
    return 0


def _undo(args: argparse.Namespace, context: Context) -> int:
    """Open nodes, restore sizes: what has moved stays where it is."""
    session = Session.open(context)
    lease = Lease(session.kube)
    lease.set_pause(True)
    lease.acquire(wait=60)
    try:
        memory = lease.memory
        target = NodeKind(args.to or memory.towards or NodeKind.CILIUM)
        request = RefreshRequest.towards(target)
        live = Live(session.kube, session.world(request))
        live.start()
        live.stop()
        look_at_all(session, live.world)
        failed = _reopen(session, live.world) + _restore(session, live.world, request, memory)
        if not failed:
            lease.remember(forget(memory))
    finally:
        lease.release()
    for text in failed:
        _say(f"  - {text}")
    opened = len(live.world.old)
    _say(
        f"{opened} {request.source} nodes are open again" if not failed else "not everything could be undone: run again"
    )
    if not failed:
        _say(f"to bring back what has moved: refresh run --to {request.source}")
    _print({"command": "refresh undo", "nodes": opened, "failed": failed, "simulated": simulated()})
    return EXIT_CODES[Verdict.FAILED if failed else Verdict.PASSED]


def _reopen(session: Session, world: World) -> list[str]:
    failed = []
    for name, node in sorted(world.old.items()):
        if node.ours or node.soft:
            outcome = session.kube.reopen(name)
            if not outcome.ok:
                failed.append(f"node {name}: {outcome.text}")
    return failed


def _restore(session: Session, world: World, request: RefreshRequest, memory: Memory) -> list[str]:
    failed = []
    for ref in session.groups.of(request.source):
        before = memory.sizes.get(ref.name)
        here = world.groups[ref.name]
        if before is None:
            continue
        if here.sizes != before:
            desired = max(before.desired, here.sizes.desired)
            outcome = session.cloud.resize(Resize(ref.name, before.minimum, desired, max(before.maximum, desired)))
            if not outcome.ok:
                failed.append(f"node group {ref.name}: {outcome.text}")
        if ref.name in memory.rebalancing and not here.rebalancing:
            outcome = session.cloud.rebalance(here, allowed=True)
            if not outcome.ok:
                failed.append(f"node group {ref.name}: {outcome.text}")
    return failed
