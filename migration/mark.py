"""The mark: the object in the cluster that says which stack moves it, and how far. A value.

It is a ConfigMap, `names.MARK` in kube-system, written by `operations mark`. A stack that finds somebody else's mark,
or lost its own state, is told so before it changes anything; admission policies take it as their parameter.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import reading


class DamagedMark(ValueError):
    """The mark is not what this program writes."""


_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What the mark says. In the cluster every value is text."""

    id: str
    """Random, made at the stack's first deploy and kept in its state. The only thing that is compared: a stack may be
    renamed, its backend moved."""
    stack: str
    """Name of the stack that wrote last; shown, never compared."""
    deployers: tuple[str, ...] = ()
    """Who may change what is frozen or guarded, see `migration/deployers.py`."""
    reached: str = ""
    """Place that the last finished deploy reached."""
    entering: str = ""
    """Place of a deploy whose gate passed and that has not finished; empty between deploys."""
    attempt: int = 0
    """Attempt of the deploy that wrote last, as in the stack's marker."""
    guarded: tuple[str, ...] = ()
    """Pieces that nobody may delete now."""
    open: Mapping[str, str] | None = None
    """Reason, until when and by whom the guard is held open; None while it is closed."""
    workloads: str = ""
    """How workloads stood before the move (`migration/workloads.py`); empty: nobody has recorded it."""

    def dump(self) -> dict[str, str]:
        """`data` of the ConfigMap."""
        return {
            "id": self.id,
            "stack": self.stack,
            "deployers": "\n".join(self.deployers),
            "reached": self.reached,
            "entering": self.entering,
            "attempt": str(self.attempt),
            "guarded": ",".join(self.guarded),
            "open": json.dumps(dict(self.open), sort_keys=True) if self.open else "",
            "workloads": self.workloads,
        }

    @classmethod
    def load(cls, data: Mapping[str, str]) -> Self:
        """The mark from `data` of its ConfigMap.

        Raises:
            DamagedMark: naming the key that is missing or wrong.
        """
        wrong = next((key for key, value in data.items() if not isinstance(value, str)), None)
        if wrong is not None:
            raise DamagedMark(f"its {wrong} is {type(data[wrong]).__name__}, not text")
        if not data.get("id"):
            raise DamagedMark("it has no id")
        text = data.get("attempt") or "0"
        if not text.isascii() or not text.isdecimal() or len(text) > _DIGITS:
            raise DamagedMark(f"its attempt is {text[:80]!r}, not a number")
        try:
            held = reading.json_value(data["open"]) if data.get("open") else None
        except ValueError:
            held = data["open"]
        if held is not None and not isinstance(held, dict):
            raise DamagedMark(f"its open is {data['open'][:80]!r}, not a JSON object")
        return cls(
            id=data["id"],
            stack=data.get("stack", ""),
            deployers=tuple(line for line in data.get("deployers", "").splitlines() if line),
            reached=data.get("reached", ""),
            entering=data.get("entering", ""),
            attempt=int(text),
            guarded=tuple(piece for piece in data.get("guarded", "").split(",") if piece),
            open={str(k): str(v) for k, v in held.items()} if held else None,
            workloads=data.get("workloads", ""),
        )


@dataclass(frozen=True, kw_only=True)
class Own:
    """What a stack's own state says about the mark."""

    id: str | None = None
    """None before its first deploy, and in a state of a version without marks."""
    attempt: int = 0
    taken: bool = False
    """Whether a deploy has put the mark into the cluster."""
    reached: bool = False
    """Whether some stage was ever reached."""
    place: str = ""
    """Of the last deploy that began."""
    guarded: tuple[str, ...] = ()
    """Pieces that it guards."""
    deploys: bool = False
    """Whether a deploy asks: whoever only looks need not be a deployer."""


@dataclass(frozen=True)
class Disagreement:
    """Why a deploy of this stack would be one of two."""

    problem: str
    fix: str


def disagreement(mark: Mark | None, own: Own, stack: str) -> Disagreement | None:
    """What keeps a stack from moving a cluster; None when the mark is its own, or nobody's and not due yet."""
    take_over = f"`python -m operations recover --stack {stack} --take-over`"
    if mark is None:
        if not own.taken:
            return None
        return Disagreement(
            "is gone, so nothing keeps another stack from moving this cluster too",
            f"Find out who deleted it; {take_over} writes it again",
        )
    if mark.id != own.id:
        where = mark.entering or mark.reached or "its first stage"
        fix = (
            "Deploy with the stack and backend that wrote it. If its state is lost, restore it from the backend's "
            "versions or a backup"
        )
        return Disagreement(
            f"belongs to another stack or a lost state: it was written by stack {mark.stack!r} (id {mark.id}) at "
            f"{where}, this stack has {f'id {own.id}' if own.id else 'no id yet'}",
            f"{fix}; if this stack is to go on instead, {take_over}" if own.id else fix,
        )
    if mark.attempt > own.attempt:
        return Disagreement(
            f"was written by attempt {mark.attempt} of this stack, whose state knows {own.attempt}: the state is older "
            "than the cluster",
            f"Restore the newest state; if there is none, {take_over}",
        )
    return None
