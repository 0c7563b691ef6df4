"""What a refresh waits for, in words."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from operations.refresh.blockers import judge
from operations.refresh.engine.decision import Decision, Waits
from operations.refresh.engine.engine import Engine
from operations.refresh.engine.way_out import DEREGISTER, DETACH, DRAIN, DROP, END, Stand
from operations.refresh.model.answers import REASONS, Answer
from operations.refresh.model.request import Strategy
from operations.refresh.model.terms import Awaited
from operations.refresh.model.values import Node, Pod, Target

TOLD = ("resize", "rebalance", "look", "cordon", "taint", "reopen")
"""Kinds of actions whose failures are of interest by themselves."""


def waits(engine: Engine, decision: Decision) -> tuple[Awaited, ...]:
    """Everything that a round found to be waited for, what concerns all nodes last.

    Args:
        engine: whose decision it is. What single pods and actions were answered is read there.
    """
    return tuple(_all(engine, decision.waits))


def _all(engine: Engine, found: Waits) -> Iterator[Awaited]:
    world = engine.world
    yield from found.unready
    for stand in found.stands:
        if stand.node.active:
            yield from _of_node(engine, stand)
    for node in found.held:
        yield from _of_held(engine, node)
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


def _of_held(engine: Engine, node: Node) -> Iterator[Awaited]:
    world, name = engine.world, node.name
    kept = [] if engine.request.marked else [world.pods[uid] for uid in sorted(world.marked.get(name, ()))]
    yield from (Awaited(f"pod {pod}", _why(engine, pod), name) for pod in kept)
    if not kept:
        why = "somebody uncordoned it; it is left alone for a while" if node.ours else judge.outside(name).problem
        yield Awaited(f"node {name}", why, name)


def _of_node(engine: Engine, stand: Stand) -> Iterator[Awaited]:
    name = stand.node.name
    if stand.step is DRAIN:
        # those that go with it are named too: whoever looks at the node sees them there
        yield from (Awaited(f"pod {pod}", _why(engine, pod), name) for pod in engine.world.leaving(name))
        return
    yield Awaited(f"node {name}", _TEXTS[stand.step.name](engine, stand), name)


def _attached(_: Engine, stand: Stand) -> str:
    return f"volumes are still attached: {', '.join(map(str, stand.awaited))}"


def _registered(_: Engine, stand: Stand) -> str:
    names = (t.target_group.rsplit("/", 2)[-2] if isinstance(t, Target) else str(t) for t in stand.awaited)
    return f"load balancers still know it: {', '.join(names)}"


def _ending(engine: Engine, stand: Stand) -> str:
    failed = engine.retries.of(("terminate", stand.node.instance))
    if failed is not None and failed.text:
        return failed.text
    return "its instance ends" if engine.way_out.ends(stand.node) else "is empty, and its instance is to end"


def _dropped(_: Engine, __: Stand) -> str:
    return "its instance is gone, its Node object is not"


_TEXTS: Final[Mapping[str, Callable[[Engine, Stand], str]]] = {
    DETACH.name: _attached,
    DEREGISTER.name: _registered,
    END.name: _ending,
    DROP.name: _dropped,
}
"""Step -> what a node waits for there."""


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
