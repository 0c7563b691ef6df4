"""`policies/accepted.yaml`: what of it counts today."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from netpol.model.accepted import Accepted
from netpol.read.accepted import accepted


def accepted_today(path: Path) -> tuple[tuple[Accepted, ...], tuple[Accepted, ...]]:
    """Differences that count today, and those that do not any more, since their last day is past.

    Raises:
        PolicyError: every fault of the file.
        OSError, UnicodeDecodeError: it cannot be read.
    """
    found = accepted(path.read_text(encoding="utf-8"), str(path))
    today = datetime.now(UTC).date()
    return tuple(a for a in found if not a.expired(today)), tuple(a for a in found if a.expired(today))


def said_expired(gone: Accepted) -> str:
    """One that does not count any more, in words."""
    return f"not accepted any more, since its last day is past: {gone} ({gone.place})"
