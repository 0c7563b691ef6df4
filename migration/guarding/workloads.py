"""How workloads stood before the move, and whether they stand worse now. Pure.

The record is a text of its own beside the mark (`mark.py` here), which has its digest: only deployers may write
either, nobody deletes them, and whoever takes a migration over takes the record with it. It is made when `canary` is
entered from the stage before, while no node uses Cilium, and again when `move-workloads` is: what was deployed in
between is known then, and of what stayed the same the better of the two counts.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from reading.failure import Failure

RECORDED: Final[Mapping[str, str]] = {"canary": "install-cilium", "move-workloads": "canary"}
"""Place that is entered -> the one that it must be entered from for the record to be made."""
_RESTARTED: Final = "kubectl.kubernetes.io/restartedAt"
"""Annotation that `kubectl rollout restart` puts into a template: a restart deploys nothing new."""


class DamagedRecord(Failure, ValueError):
    """The record is not what this program writes."""


@dataclass(frozen=True)
class Standing:
    """How a workload stands."""

    template: str
    """Digest of its pod template."""
    wanted: int
    ready: int

    def worse_than(self, before: Self) -> bool:
        """Whether the part of its pods that is ready has fallen."""
        return self.ready * before.wanted < before.ready * self.wanted

    def __str__(self) -> str:
        return f"{self.ready} of {self.wanted} ready"


Standings = Mapping[str, Standing]
"""`kind namespace/name`, kind in small letters -> how it stands."""


def digest(template: Mapping[str, Any]) -> str:
    """Twelve characters that differ when the template does; a restart does not count."""
    metadata = template.get("metadata") or {}
    notes = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != _RESTARTED}
    whole = {**template, "metadata": {**metadata, "annotations": notes}}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:12]


def dump(standings: Standings) -> str:
    """As it is kept."""
    compact = {key: [s.template, s.wanted, s.ready] for key, s in sorted(standings.items())}
    return json.dumps(compact, separators=(",", ":"))


def seal(text: str) -> str:
    """Digest of a record, by which the mark knows it; empty for none."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16] if text else ""


def load(text: str) -> Standings:
    """From its text.

    Raises:
        DamagedRecord: saying what is wrong.
    """
    try:
        found = {str(k): Standing(str(t), int(w), int(r)) for k, (t, w, r) in json.loads(text).items()}
    except (AttributeError, RecursionError, TypeError, ValueError) as error:
        raise DamagedRecord(f"it cannot be read: {error}") from None
    return found


def merged(before: Standings, now: Standings) -> Standings:
    """The record anew: of what has the same template, the better."""
    return {
        key: before[key]
        if key in before and before[key].template == here.template and here.worse_than(before[key])
        else here
        for key, here in now.items()
    }


@dataclass(frozen=True)
class Change:
    """A workload that does not stand as it did."""

    workload: str
    text: str
    worse: bool = False
    """With the same template and as many wanted, fewer are ready."""


def changes(before: Standings, now: Standings) -> Iterator[Change]:
    """What differs from the record."""
    for key, then in sorted(before.items()):
        here = now.get(key)
        if here is None:
            yield Change(key, "was deleted")
        elif here.template != then.template:
            yield Change(key, f"was newly deployed, {here}")
        elif here.wanted != then.wanted and not key.startswith("daemonset "):
            yield Change(key, f"was rescaled from {then.wanted}, {here}")
        elif here.worse_than(then):
            yield Change(key, f"has {here}, and had {then} before the move, with the same template", worse=True)
    for key in sorted(now.keys() - before.keys()):
        yield Change(key, f"was newly made, {now[key]}")
