"""Workloads: what keeps them from moving, whether they have moved, and for how long."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from kube.transport import Obj
from migration.guarding.mark import DamagedMark
from migration.guarding.workloads import Change, changes
from migration.journeys import CheckId
from migration.names import CILIUM_CNI, CNI_LABEL, LEGACY_CNI, PROBE, REFRESH_LEASE, SYSTEM_NAMESPACE
from operations.access.context import Context
from operations.checks import check
from operations.cluster import objects
from operations.cluster.standings import seen
from operations.evidence import Answer, Finding, UnknownError
from operations.guarding import mark
from operations.guarding.workloads import recorded
from operations.refresh.blockers import Blocker, spread, webhooks
from operations.refresh.blockers.judge import judge
from operations.refresh.plan import gather

CLOCKS_DIFFER: Final = timedelta(minutes=1)
"""Clocks that are kept right differ by less."""


# -- moving -----------------------------------------------------------------------------------------


@check(CheckId.NO_LEGACY_PODS)
def no_legacy_pods(context: Context) -> Answer:
    """No workload runs on a legacy node."""
    nodes = {objects.name(n) for n in context.kube.nodes() if objects.is_legacy(n)}
    findings = tuple(left_behind(nodes, context.kube.pods()))
    return Answer(f"{objects.count(len(nodes), 'legacy node')} without workloads", findings)


def left_behind(nodes: set[str], pods: Iterable[Obj]) -> Iterator[Finding]:
    for pod in pods:
        if objects.node_of(pod) in nodes and objects.is_workload(pod):
            yield Finding(
                f"pod {objects.key(pod)}",
                f"still runs on legacy node {objects.node_of(pod)}",
                "Run `python -m operations refresh run --to cilium`",
            )


@check(CheckId.REFRESH_UNBLOCKED)
def refresh_unblocked(context: Context) -> Answer:
    """Nothing is known that would keep the legacy nodes from being emptied: what `refresh plan` foresees, but for the
    addresses, of which a check of its own tells."""
    world = gather.picture(context)
    goal = gather.see_groups(context, world)
    request = gather.configured(context.settings)
    found = judge(world, request, goal, replace(gather.surroundings(context, world), addresses=None))
    pods = sum(len(world.leaving(name)) for name in world.old)
    notes = sum(not blocker.stops for blocker in found)
    told = f"; {objects.count(notes, 'note')}, see `refresh plan --to cilium`" if notes else ""
    shown = f"{objects.count(pods, 'pod')} on {objects.count(len(world.old), 'legacy node')}{told}"
    return Answer(shown, tuple(findings(found)))


@check(CheckId.WORKLOADS_NO_WORSE)
def workloads_no_worse(context: Context) -> Answer:
    """Of each workload as large a part is ready as before the move."""
    try:
        before = recorded(context.kube)
    except DamagedMark as error:
        raise UnknownError(str(error), "See the check mark-agrees", about=mark.ABOUT) from None
    found = list(changes(before, seen(context.kube)))
    accepted = set(context.settings.accept_worse)
    worse = [change for change in found if change.worse and change.workload not in accepted]
    excepted = sorted(change.workload for change in found if change.worse and change.workload in accepted)
    told = f"; worse, and accepted: {', '.join(excepted)}" if excepted else ""
    notes = len(found) - len(worse) - len(excepted)
    changed = f"; {notes} deleted, rescaled or deployed since (`workloads show`)" if notes else ""
    shown = f"{objects.count(len(before), 'workload')} recorded before the move{changed}{told}"
    return Answer(shown, tuple(no_worse(worse)))


def no_worse(worse: Iterable[Change]) -> Iterator[Finding]:
    for change in worse:
        yield Finding(
            change.workload,
            change.text,
            "Look at its pods: `kubectl get events` and their logs say what they lack on Cilium nodes. One that may "
            "stand worse is named in acceptWorse",
        )


@check(CheckId.SPREAD_UNHARMED)
def spread_unharmed(context: Context) -> Answer:
    """No workload's spread would count the canary nodes as places where it has no pod yet."""
    canaries = sum(map(objects.is_canary, context.kube.nodes()))
    if canaries:
        return Answer(f"{objects.count(canaries, 'canary node')} there already: refresh-unblocked tells")
    world = gather.picture(context)
    pods = [pod for name in world.old for pod in world.leaving(name)]
    around = gather.spreading(context, sorted(gather.addresses(context, 0, (), ()).free))
    found = tuple(findings(spread.blockers(pods, world.present, around)))
    return Answer(f"{objects.count(sum(bool(p.spread) for p in pods), 'pod')} with a spread that must hold", found)


def findings(found: Iterable[Blocker]) -> Iterator[Finding]:
    """What a gate fails on."""
    for blocker in found:
        if blocker.stops:
            yield Finding(blocker.object, blocker.problem, blocker.fix)


@check(CheckId.WEBHOOKS_ANSWER)
def webhooks_answer(context: Context) -> Answer:
    """Webhooks that fail closed are served, and those that a refresh depends on from more than one node."""
    legacy = {objects.name(n) for n in context.kube.nodes() if objects.is_legacy(n)}
    found = webhooks.blockers(gather.webhooks(context), legacy)
    return Answer("every webhook that fails closed is served", tuple(findings(found)))


# -- proof that it works ----------------------------------------------------------------------------


@check(CheckId.PROBES_PASS)
def probes_pass(context: Context) -> Answer:
    """Probe pods on every node of either kind reach the other kind, and the API server by name."""
    nodes = context.kube.nodes()
    kinds = {
        LEGACY_CNI: [n for n in nodes if objects.is_legacy(n)],
        CILIUM_CNI: [n for n in nodes if objects.is_cilium(n)],
    }
    if not kinds[LEGACY_CNI]:
        return Answer("no legacy node is left to reach")
    findings: list[Finding] = []
    for kind in kinds:
        name = f"{PROBE}-{kind}"
        live = context.kube.daemonset(SYSTEM_NAMESPACE, name)
        pods = context.kube.pods(SYSTEM_NAMESPACE, labels=f"app.kubernetes.io/name={PROBE},{CNI_LABEL}={kind}")
        findings += probe_findings(name, kind, live, pods)
    return Answer(f"{len(kinds[LEGACY_CNI])} legacy and {len(kinds[CILIUM_CNI])} Cilium nodes", tuple(findings))


def probe_findings(name: str, kind: str, live: Obj | None, pods: Iterable[Obj]) -> Iterator[Finding]:
    about = f"daemonset {SYSTEM_NAMESPACE}/{name}"
    other = CILIUM_CNI if kind == LEGACY_CNI else LEGACY_CNI
    if live is None:
        yield Finding(about, "does not exist", "Deploy the stage canary")
        return
    desired, ready = objects.rolled_out(live)
    if desired == 0:
        yield Finding(about, "runs on no node", f"There must be a node with {CNI_LABEL}={kind} that takes it")
        return
    failing = sorted(objects.node_of(p) for p in pods if not objects.holds(p, "Ready") and objects.node_of(p))
    for node in failing:
        yield Finding(
            f"node {node}",
            f"its probe does not reach {CNI_LABEL}={other} nodes and the API server by name",
            f"`kubectl -n {SYSTEM_NAMESPACE} describe pod -l app.kubernetes.io/name={PROBE}`; look at security groups, "
            "routes, DNS and network policies between the two kinds",
        )
    if not failing and ready < desired:
        yield Finding(about, f"{ready} ready of {desired} desired", "Wait, or look at its pods")


@check(CheckId.SOAKED)
def soaked(context: Context) -> Answer:
    """All workloads have run on Cilium nodes for the configured time."""
    wanted = timedelta(minutes=context.settings.soak_minutes)
    if not wanted:
        return Answer("soakMinutes is 0: no soak is asked for")
    lease = context.kube.get(f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM_NAMESPACE}/leases/{REFRESH_LEASE}")
    nodes = {objects.name(n) for n in context.kube.nodes() if objects.is_cilium(n)}
    pods = [p for p in context.kube.pods() if objects.node_of(p) in nodes and objects.is_workload(p)]
    waiting = tuple(not_running(pods))
    source, begin = soak_begin(lease, pods)
    if begin is None:
        return Answer(f"{source}: nothing to soak", waiting)
    answer = soak_answer(source, begin, wanted, context.kube.now())
    return replace(answer, findings=(*waiting, *answer.findings))


def soaking(pod: Obj) -> bool:
    """Whether a pod counts: those of Jobs come and go and say nothing."""
    return objects.owner_kind(pod) != "Job" and not pod["metadata"].get("deletionTimestamp")


def not_running(pods: Iterable[Obj]) -> Iterator[Finding]:
    """Workload pods whose time on Cilium has not begun."""
    for pod in filter(soaking, pods):
        if (objects.condition(pod, "Ready") or {}).get("status") == "False":
            yield Finding(
                f"pod {objects.key(pod)}",
                "is not Ready, so its soak has not begun",
                "Look at why; a workload that nobody needs is best removed",
            )


def soak_begin(lease: Obj | None, pods: Iterable[Obj]) -> tuple[str, datetime | None]:
    """Which object says since when, and the time: the latest of all.

    The refresh renews its Lease until the last legacy node has left, and a workload pod may have become Ready long
    after that.

    Raises:
        UnknownError: an object does not say when.
    """
    found: list[tuple[datetime, str]] = []
    if lease is not None:
        found.append((lease_end(lease), f"lease {objects.key(lease)}"))
    found += [(ready_since(pod), f"pod {objects.key(pod)}") for pod in pods if soaking(pod)]
    if not found:
        return "no workload pod", None
    begin, source = max(found)
    return source, begin


def lease_end(lease: Obj) -> datetime:
    """When the refresh renewed its Lease last: as the API server wrote it down, for the renewal itself carries the
    time of the machine that the refresh ran on."""
    renewed = (lease.get("spec") or {}).get("renewTime")
    when = objects.written(lease, "spec", "renewTime") or (objects.instant(renewed) if renewed else None)
    if when is None:
        raise UnknownError(
            f"lease {objects.key(lease)} does not say when it was renewed",
            "Run `python -m operations refresh run --to cilium` once more: it finds nothing to do and renews it",
            about=f"lease {objects.key(lease)}",
        )
    return when


def ready_since(pod: Obj) -> datetime:
    """When a pod became Ready: no earlier than its kubelet, whose clock may be wrong, and the API server say."""
    told, made = objects.since(pod, "Ready"), pod["metadata"].get("creationTimestamp")
    if told is None or made is None:
        raise UnknownError(
            f"pod {objects.key(pod)} does not say since when it is Ready",
            f"Look at its node {objects.node_of(pod)}",
            about=f"pod {objects.key(pod)}",
        )
    seen = objects.written(pod, "status", "conditions", 'k:{"type":"Ready"}')
    return max(told, objects.instant(made), *([seen] if seen else []))


def soak_answer(source: str, begin: datetime, wanted: timedelta, now: datetime) -> Answer:
    """Whether the soak is over.

    Args:
        now: by the API server's clock.

    Raises:
        UnknownError: it begins in the future.
    """
    if begin - now > CLOCKS_DIFFER:
        raise UnknownError(
            f"{source} says {begin:%Y-%m-%d %H:%M:%S} UTC, and the API server's clock {now:%Y-%m-%d %H:%M:%S} UTC",
            "Set the clock of the machine that it was written on; or wait",
            about=source,
        )
    minutes = max(0.0, (now - begin).total_seconds() / 60)
    summary = f"{minutes:.0f} of {wanted.total_seconds() / 60:.0f} min since {begin:%Y-%m-%d %H:%M:%S} UTC ({source})"
    if now - begin >= wanted:
        return Answer(summary)
    rest = f"Wait until {begin + wanted:%Y-%m-%d %H:%M:%S} UTC, or lower soakMinutes"
    return Answer(summary, (Finding(source, f"workloads have run on Cilium for {minutes:.0f} min only", rest),))
