"""Does the API server guard what nodes need?"""

from collections.abc import Iterator
from datetime import datetime

from kube.transport import Obj
from migration.guarding.mark import DamagedMark, Mark
from migration.journeys import CheckId
from migration.names import GUARD_DIGEST, GUARD_POLICY
from operations.access.context import Context
from operations.checks import AGAIN, check
from operations.evidence import Answer, Finding
from operations.guarding import guard, mark


@check(CheckId.GUARD_HOLDS)
def guard_holds(context: Context) -> Answer:
    """Policy, binding and mark stand as the last deploy left them, and nobody holds the guard open for too long."""
    live = mark.find(context.kube)
    policy, binding = guard.live(context)
    try:
        known = live.mark()
    except DamagedMark as error:
        return Answer("the mark is damaged", (Finding(live.about, str(error), "See the check mark-agrees"),))
    if known is None:
        return Answer("no mark", tuple(orphaned(policy, binding)))
    recorded = live.annotations.get(GUARD_DIGEST)
    if recorded is None:
        return Answer("not in force yet: this deploy makes it")
    findings = tuple(lost(policy, binding, recorded))
    if findings and known.entering:
        # A deploy died half-way: the next one makes the guard first, with --refresh also one that was deleted, and
        # goes no further before it is in force.
        return Answer(f"not as it was: {findings[0].problem}. The deploy puts it back first")
    if known.open is None:
        return Answer(f"guarded: {', '.join(known.guarded) or 'nothing'}", findings)
    now = context.kube.now()
    return Answer(f"OPEN: {guard.opening(known.open)}", (*findings, *held_open(known, now, context.stack)))


def orphaned(policy: Obj | None, binding: Obj | None) -> Iterator[Finding]:
    """A guard without its mark refuses every change that it is asked about."""
    if policy is not None and binding is not None:
        yield Finding(mark.ABOUT, "is gone, so the guard refuses everything", "See docs/recovery.md, The guard")


def lost(policy: Obj | None, binding: Obj | None, recorded: str) -> Iterator[Finding]:
    """How the guard differs from the one that the last deploy found in force.

    Args:
        recorded: its digest.
    """
    if policy is None:
        yield Finding(guard.ABOUT, "is gone: nothing keeps the network from being deleted", AGAIN)
    elif binding is None:
        about = f"validatingadmissionpolicybinding {GUARD_POLICY}"
        yield Finding(about, "is gone: nothing keeps the network from being deleted", AGAIN)
    elif guard.digest_of(policy, binding) not in {recorded, guard.declared()}:
        # The declared one instead of the recorded is of a deploy that changed the guard and died before it had waited.
        yield Finding(guard.ABOUT, "was changed since the last deploy, or its binding was", AGAIN)


def held_open(known: Mark, now: datetime, stack: str) -> Iterator[Finding]:
    """An opening whose time is over."""
    if known.open is not None and guard.overdue(known.open, now):
        yield Finding(
            mark.ABOUT,
            f"holds the guard {guard.opening(known.open)}; that time is over",
            f"`python -m operations guard close --stack {stack}`",
        )
