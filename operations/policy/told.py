"""What people read of a translation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netpol.translate.table import TRANSLATED
from netpol.translate.translation import Translation
from operations.continuity.worlds import said_of
from operations.say import say


def say_result(result: Translation, hosts: Sequence[str]) -> None:
    """What was refused, proved, assumed, accepted, left out and copied."""
    for refusal in result.refused:
        say(f"refused: {refusal}")
    say(str(result.proof).splitlines()[0])
    for line in result.proof.assumptions:
        say(f"assumed: {line}")
    for one in result.proof.accepted:
        say(f"accepted: {one}")
    for size in result.sizes:
        say(f"takes {size}{f': {size.fix}' if size.near else ''}")
    if hosts:
        say(f"left out with all policy on hosts: {', '.join(hosts)}")
    if result.left_out:
        say(f"left out: {said_of(result.left_out)}, which go with Calico")
    for name in result.copies:
        say(
            f"{name} stays, and a manifest adds what Cilium does not read in it: translate again when it changes, or "
            "the copy keeps allowing"
        )
    for name in result.written_out:
        say(f"{name} is written out in manifests (eks-cilium/written-out): translate again when it changes")


def say_table(fates: Sequence[Mapping[str, Any]], *, written: bool) -> None:
    """Each policy that was given with its file, or why there is none."""
    outcomes = {TRANSLATED: TRANSLATED if written else "sayable"}
    rows = [(f["policy"], outcomes.get(f["outcome"], f["outcome"]), ", ".join(f["files"]), f["why"]) for f in fates]
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(2)]
    for policy, outcome, files, why in rows:
        what = "; ".join(part for part in (files, why) if part)
        say(f"{policy:<{widths[0]}}  {outcome:<{widths[1]}}  {what}".rstrip())
