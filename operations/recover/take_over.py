"""`recover --take-over`: this stack moves the cluster from now on. Explicit, as two that do would undo each other."""

import json
import sys
from dataclasses import replace
from typing import Final

from kube.transport import KubeError
from migration.guarding.mark import DamagedMark, Mark, Own
from operations.access.context import Context
from operations.checks.mark import traces
from operations.evidence import EXIT_CODES, UnknownError, Verdict
from operations.guarding import mark

RESTORE: Final = "restore the state that moved it (docs/recovery.md), or finish with the stack that did"


def run(context: Context, *, yes: bool) -> int:
    """Exit code 0: the mark is this stack's; 1: it is not, or may not become so; 2: it cannot be told."""
    try:
        own = context.own()
        live = mark.find(context.kube)
    except UnknownError as error:
        return _say(f"{error.finding.object} {error}. {error.finding.fix}", Verdict.UNKNOWN)
    try:
        found = live.mark()
    except DamagedMark as error:
        _say(f"mark   {live.about}: {error}")
        found = None
    else:
        _say(f"mark   {_shown(live, found)}")
    if own.id is None:
        return _without_state(context, own, found, yes=yes)
    if live.disagreement(found, own, context.stack) is None and found is not None:
        return _say("mark   it is this stack's already", Verdict.PASSED)
    _say(f"mark   to be: stack {context.stack} (id {own.id}), attempt {own.attempt}")
    if not yes:
        return _say("nothing was changed. Run again with --yes to do this", Verdict.FAILED)
    try:
        _write(context, own, found)
    except mark.MarkRefused as error:
        return _say(str(error), Verdict.FAILED)
    return _say("mark   taken over: the next deploy's gate looks at everything else", Verdict.PASSED)


def _without_state(context: Context, own: Own, found: Mark | None, *, yes: bool) -> int:
    """A stack that was never deployed begins at the first stage: only where no other one has begun."""
    if found is None:
        return _say("mark   there is none: this stack's first deploy writes it", Verdict.PASSED)
    if own.reached:
        return _say(
            f"the state of stack {context.stack} is of before there were marks, and older than this one: {RESTORE}",
            Verdict.FAILED,
        )
    left = tuple(traces(context, own))
    for trace in left:
        _say(f"found  {trace.object} {trace.problem}")
    if left:
        return _say(
            f"stack {context.stack} has no state, so it would begin at the first stage and undo this: {RESTORE}",
            Verdict.FAILED,
        )
    if not yes:
        _say("mark   to be deleted: nothing of a migration is left here")
        return _say("nothing was changed. Run again with --yes to do this", Verdict.FAILED)
    try:
        mark.give_up(context, found.id)
    except KubeError as error:
        return _say(
            f"{error}\nThe guard keeps the mark: one of its deployers ({', '.join(found.deployers)}) opens it first, "
            f"with `python -m operations guard open --stack {context.stack} --reason … --until 1h`",
            Verdict.FAILED,
        )
    return _say("mark   deleted: this stack's first deploy writes its own", Verdict.PASSED)


def _write(context: Context, own: Own, found: Mark | None) -> None:
    """The mark, as this stack's own. Of one that is damaged, what it said is lost: it is written as a whole."""
    identity = own.id or ""

    def taken(it: Mark) -> Mark:
        return replace(
            it,
            id=identity,
            stack=context.stack,
            attempt=own.attempt,
            entering="",
            deployers=mark.deployers(context, it.deployers),
            # a mark that is written anew guards what the last deploy did; another stack's keeps what it guarded
            reached=it.reached or own.place,
            guarded=it.guarded or own.guarded,
        )

    if found is None:
        live = mark.find(context.kube.again())
        if live.role is not None or live.earlier is not None:
            mark.put(context.kube, live, taken(Mark(id=identity, stack=context.stack, deployers=())))
            return
        mark.take(context, identity)
    mark.edit(context, None, taken)


def _shown(live: mark.Live, found: Mark | None) -> str:
    if found is None:
        return f"{live.about} does not exist"
    where = f"entering {found.entering}" if found.entering else f"at {found.reached or 'no stage'}"
    return f"{live.about} is of stack {found.stack} (id {found.id}), {where}, attempt {found.attempt}"


def _say(line: str, verdict: Verdict | None = None) -> int:
    print(line, file=sys.stderr, flush=True)
    if verdict is None:
        return 0
    print(json.dumps({"command": "recover", "takeOver": True, "verdict": verdict}, separators=(",", ":")), flush=True)
    return EXIT_CODES[verdict]
