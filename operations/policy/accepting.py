"""`policies/accepted.yaml`: what of it counts today, and what is said of the rest."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from migration.names import ACCEPTED
from netpol.compare.prove import Proof
from netpol.model.accepted import Accepted
from operations.continuity.accepted import accepted_today, said_expired
from operations.exits import UsageError
from operations.policy.answers import accepted_of
from operations.say import say


def accepted_by(arguments: argparse.Namespace) -> tuple[tuple[Accepted, ...], tuple[Accepted, ...]]:
    """What is accepted today, and what no longer is: of the file that the command line names, or of the usual one.

    Raises:
        PolicyError: every fault of the file.
        UsageError: the file that was named cannot be read.
    """
    path: Path = arguments.accepted or Path(ACCEPTED)
    if arguments.accepted is None and not path.is_file():
        return (), ()
    try:
        return accepted_today(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def report(proof: Proof, counts: tuple[Accepted, ...], expired: tuple[Accepted, ...]) -> dict[str, Any]:
    """What expired and what is not needed (any more): said to people, and given back. What counted, the proof says."""
    used = {e.accepted for e in proof.accepted}
    idle = [a for a in counts if a not in used]
    for gone in expired:
        say(said_expired(gone))
    for one_idle in idle:
        say(f"accepted and not needed: {one_idle} ({one_idle.place})")
    return {"accepted_expired": [accepted_of(a) for a in expired], "accepted_unused": [accepted_of(a) for a in idle]}
