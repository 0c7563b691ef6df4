"""`workloads`: how workloads stood before the move, and how they stand now."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kube.cluster import Cluster
from migration.guarding.mark import Mark
from migration.guarding.workloads import DamagedRecord, Standing, changes, dump, load, seal
from migration.names import SYSTEM_NAMESPACE, WORKLOADS
from operations.access.context import Context
from operations.arguments import acts
from operations.cluster import objects
from operations.cluster.standings import seen
from operations.evidence import EXIT_CODES, UnknownError, Verdict
from operations.guarding import mark
from operations.say import say


def fill(command: Any) -> None:
    texts = {
        "show": "what differs from the record; reads only",
        "record": "take how they stand now as how they stood before the move; deployers only",
    }
    acts(command, texts, renamed=False)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0: done, or none stands worse; 1: some do, or the mark is not this stack's; 2: it cannot be told."""
    context = Context.load(args.stack)
    return _record(context) if args.act == "record" else _show(context)


def recorded(kube: Cluster) -> Mapping[str, Standing]:
    """How they stood before the move.

    Raises:
        UnknownError: nobody recorded it, or the record is damaged, or not the one that the mark knows.
        migration.guarding.mark.DamagedMark: see `mark.read`.
    """
    fix = (
        "Compare by hand; if all is well, `python -m operations workloads record` takes how they stand now for it "
        "(docs/recovery.md, Workloads that stand worse)"
    )
    found = mark.read(kube)
    if found is None or not found.workloads:
        raise UnknownError("nobody has recorded how workloads stood before the move", fix, about=mark.ABOUT)
    about = f"configmap {SYSTEM_NAMESPACE}/{WORKLOADS}"
    text = mark.record(kube, found.workloads)
    if not text:
        reason = "is gone or changed: it does not hold how workloads stood before the move, as the mark knows it"
        raise UnknownError(reason, fix, about=about)
    try:
        return load(text)
    except DamagedRecord as error:
        raise UnknownError(f"its record of how workloads stood: {error}", fix, about=about) from None


def _show(context: Context) -> int:
    found = list(changes(recorded(context.kube), seen(context.kube)))
    for change in found:
        say(f"{'WORSE' if change.worse else 'note':6}{change.workload} {change.text}")
    worse = [change.workload for change in found if change.worse]
    print(json.dumps({"worse": worse, "notes": len(found) - len(worse)}, separators=(",", ":")))
    return EXIT_CODES[Verdict.FAILED if worse else Verdict.PASSED]


def _record(context: Context) -> int:
    now = seen(context.kube)
    text = dump(now)

    def change(found: Mark) -> Mark:
        mark.deployers(context, found.deployers)
        mark.keep(context.kube, text)
        return replace(found, workloads=seal(text))

    mark.edit(context, context.own().id or "", change)
    say(f"{objects.count(len(now), 'workload')} recorded")
    print(json.dumps({"recorded": len(now)}, separators=(",", ":")))
    return EXIT_CODES[Verdict.PASSED]
