"""What a refresh waits for, in words."""

from collections import Counter
from collections.abc import Iterator

from operations.refresh.blockers import judge
from operations.refresh.engine.engine import Engine
from operations.refresh.model.answers import REASONS, Answer
from operations.refresh.model.request import Strategy
from operations.refresh.model.terms import Awaited, Phase
from operations.refresh.model.values import Node, Pod

TOLD = ("resize", "rebalance", "look", "cordon", "taint", "reopen")
"""Kinds of actions whose failures are of interest by themselves."""


def blockers(engine: Engine, now: float) -> tuple[Awaited, ...]:
    """Everything, what concerns all nodes last."""
    return tuple(_all(engine, now))


def _all(engine: Engine, now: float) -> Iterator[Awaited]:
    world = engine.world
    yield from engine.hold(now)
    for node in engine.leaving:
        if node.active:
            yield from _of_node(engine, node)
    for name in sorted(engine.held(now)):
        kept = [] if engine.request.marked else [world.pods[uid] for uid in sorted(world.marked.get(name, ()))]
        yield from (Awaited(f"pod {pod}", _why(engine, pod), name) for pod in kept if not world.old[name].active)
        if kept:
            continue
        uncordoned = world.old[name].ours
        why = "somebody uncordoned it; it is left alone for a while" if uncordoned else judge.outside(name).problem
        yield Awaited(f"node {name}", why, name)
    for group in world.groups.values():
        for issue in group.issues:
            yield Awaited(f"node group {group.name}", issue)
    for kind in TOLD:
        for about, entry in engine.retries.of_kind(kind):
            if entry.text:
                yield Awaited(f"{kind} {about}".strip(), entry.text)
    needed = engine.sizing.needed_at_the_end
    short = needed - len(world.ready_new)
    if short > 0 and engine.request.strategy is Strategy.SURGE:
        yield Awaited("new nodes", f"{short} of {needed} are not ready yet")


def _of_node(engine: Engine, node: Node) -> Iterator[Awaited]:
    world, phase = engine.world, engine.phase(node)
    if phase is Phase.DRAINING:
        for pod in world.leaving(node.name):
            yield Awaited(f"pod {pod}", _why(engine, pod), node.name)
        return
    if phase is Phase.DETACHING:
        text = f"volumes are still attached: {', '.join(sorted(world.attached[node.name]))}"
    elif phase is Phase.DEREGISTERING:
        groups = ", ".join(t.target_group.rsplit("/", 2)[-2] for t in world.targets.get(node.instance, ()))
        text = f"load balancers still know it: {groups or 'not read yet'}"
    else:
        failed = engine.retries.of(("terminate", node.instance))
        text = failed.text if failed is not None and failed.text else f"is {phase}"
    yield Awaited(f"node {node.name}", text, node.name)


def _stopping(pod: Pod) -> str:
    if not (pod.finished and pod.finalizers):
        return "is stopping"
    return f"has stopped, but its finalizers keep it ({', '.join(pod.finalizers)}): their controller has to remove them"


def _short(engine: Engine, pod: Pod) -> str:
    kind, namespace, name = pod.workload or ("", "", "")
    most = engine.world.present.at_once((kind, namespace, name))
    return (
        f"waits its turn: {kind.lower()} {namespace}/{name} has no PodDisruptionBudget, so {most} of its pods may be "
        "missing at once, as its own rolling update allows"
    )


def _why(engine: Engine, pod: Pod) -> str:
    if pod.terminating:
        return _stopping(pod)
    found = next(judge.of_pod(pod, engine.world, marked=engine.request.marked), None)
    if found is not None:
        about = "" if found.object == f"pod {pod}" else f"{REASONS[Answer.BUDGET]}: {found.object} "
        return f"{about}{found.problem}: {found.fix}"
    entry = engine.retries.of(("evict", pod.uid))
    named = ", ".join("/".join(key) for key in pod.budgets)
    if entry is None and engine.replicas.short(pod, Counter()):
        return _short(engine, pod)
    if entry is None or entry.answer is None:
        return f"waits its turn under {named}" if named else "waits its turn"
    reason = REASONS.get(entry.answer, str(entry.answer))
    if entry.answer in (Answer.BUDGET, Answer.TWO_BUDGETS, Answer.TOO_MANY) and named:
        return f"{reason} ({named})"
    return f"{reason}: {entry.text}" if entry.text else reason
