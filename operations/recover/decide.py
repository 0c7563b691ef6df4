"""What to do about each pending operation. Pure but for the lookups it is given."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from operations.recover.lookup import Found, UnknownTypeError, repeatable
from operations.recover.stack_state import Pending


class Step(StrEnum):
    ADOPT = "adopt"
    """The object exists: the state takes it in as made."""
    DROP = "drop"
    """Forgotten; the next deploy does what is still to do."""
    LOOK = "look"
    """Forgotten, and the resource is read again."""
    KEEP = "keep"
    """Nobody can tell: it stays pending until somebody says."""


@dataclass(frozen=True)
class Decision:
    """One pending operation, and what becomes of it."""

    operation: Pending
    step: Step
    why: str
    id: str = ""
    """Of an object that is adopted."""

    def text(self) -> str:
        op = self.operation
        return f"{self.step:6} {op.kind} {op.type} {op.name}: {self.why}"


def decide(
    operations: Iterable[Pending],
    find: Callable[[Pending], Found | None],
    *,
    adopt: Mapping[str, str],
    drop: frozenset[str],
) -> list[Decision]:
    """One decision for each.

    Args:
        find: looks for the object of a create.
        adopt: URN → id, told by the user.
        drop: URNs, told by the user.
    """
    return [_one(operation, find, adopt, drop) for operation in operations]


def _one(
    operation: Pending, find: Callable[[Pending], Found | None], adopt: Mapping[str, str], drop: frozenset[str]
) -> Decision:
    urn = operation.urn
    if urn in adopt:
        return Decision(operation, Step.ADOPT, f"as told: {adopt[urn]}", adopt[urn])
    if urn in drop:
        return Decision(operation, Step.DROP, "as told")
    if repeatable(operation.type) or operation.kind not in _CHANGES:
        return Decision(operation, Step.DROP, "it may be done twice")
    if operation.kind != "creating":
        return Decision(operation, Step.LOOK, "it is read again, and the next deploy does what is still to do")
    return _create(operation, find)


_CHANGES: Final = frozenset({"creating", "updating", "deleting"})


def _create(operation: Pending, find: Callable[[Pending], Found | None]) -> Decision:
    try:
        found = find(operation)
    except UnknownTypeError:
        urn = operation.urn
        how = f"Look yourself, then give --adopt '{urn}=ID' or --drop '{urn}'"
        return Decision(operation, Step.KEEP, f"whether it exists cannot be told here. {how}")
    if found is None:
        return Decision(operation, Step.DROP, "it does not exist; the next deploy makes it")
    return Decision(operation, Step.ADOPT, f"it exists: {found.shown}", found.id)
