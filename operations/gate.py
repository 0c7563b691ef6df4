"""Asking many checks at once, each with a deadline of its own, again until they pass."""

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from migration.journeys import CheckId
from operations.access.context import Context
from operations.checks import Ask, missing, overdue
from operations.evidence import Evidence, Verdict
from operations.exits import UsageError

CHECK_SECONDS: Final = 20.0
PAUSE: Final = 3.0
FRESH: Final = 30.0
"""Seconds for which a passed check counts while others are asked again."""


PATIENCE: Final = "EKS_CILIUM_GATE_WAIT"
"""Environment variable: seconds for which a gate asks again at most, whatever its command says."""


def patience(seconds: float) -> float:
    """How long a gate asks again, in seconds.

    Raises:
        UsageError: the environment variable is not a number.
    """
    text = os.environ.get(PATIENCE) or "inf"
    try:
        return min(seconds, float(text))
    except ValueError:
        raise UsageError(f"{PATIENCE}={text!r} is not a number of seconds: correct it, or unset it") from None


def ask_all(
    context: Context,
    names: Sequence[CheckId],
    checks: Mapping[CheckId, Ask],
    *,
    wait: float = 0.0,
    seconds: float = CHECK_SECONDS,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[Evidence, ...]:
    """Evidence of every check, in the order of `names`.

    Args:
        wait: for so many seconds, failed and unknown checks are asked again. Passed ones that got old meanwhile are
            asked again too, so that all answers belong together.
        seconds: deadline of each check.
        tell: is given a line before each round after the first.
    """
    end = time.monotonic() + wait
    found: dict[CheckId, Evidence] = {}
    asked: dict[CheckId, float] = {}
    due: Iterable[CheckId] = names
    while True:
        for name, evidence in _round(context.again(), due, checks, seconds):
            found[name], asked[name] = evidence, time.monotonic()
        due = [name for name in names if found[name].verdict is not Verdict.PASSED]
        if not due:
            due = [name for name in names if time.monotonic() - asked[name] > FRESH]
            if not due:
                break
            continue
        if time.monotonic() + PAUSE >= end:
            break
        tell(f"waiting for {', '.join(due)} ({end - time.monotonic():.0f} s left)")
        time.sleep(PAUSE)
    return tuple(found[name] for name in names)


def _round(
    context: Context, names: Iterable[CheckId], checks: Mapping[CheckId, Ask], seconds: float
) -> Iterable[tuple[CheckId, Evidence]]:
    deadline = time.monotonic() + seconds
    own = context.until(deadline)
    answers: queue.SimpleQueue[tuple[CheckId, Evidence]] = queue.SimpleQueue()
    open_ = set()
    for name in names:
        if name not in checks:
            yield name, missing(name)
            continue
        open_.add(name)
        # daemon threads: one that hangs in a library must not keep the program from ending
        threading.Thread(target=lambda n=name: answers.put((n, checks[n](own))), name=name, daemon=True).start()
    while open_:
        try:
            name, evidence = answers.get(timeout=max(deadline - time.monotonic(), 0.0))
        except queue.Empty:
            break
        open_.discard(name)
        yield name, evidence
    for name in open_:
        yield name, overdue(name, seconds)
