"""What all parts of one deploy read, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from migration.desired import Desired
from migration.facts import Facts
from migration.manifests import Manifest
from migration.settings import Settings
from migration.transition import Move


@dataclass(frozen=True, kw_only=True)
class Deploy:
    """One deploy that is allowed, and what it is made of."""

    stack: str
    settings: Settings
    facts: Facts | None
    """Of an adopted cluster."""
    move: Move
    policies: Mapping[str, tuple[Manifest, ...]]
    """Those of the files, by engine."""
    earlier: Mapping[str, Any]
    """Resources of the state, by URN."""

    @property
    def wanted(self) -> Desired:
        """What the stage declares."""
        return self.move.desired
