"""The mark: the object in the cluster that says which stack moves it, and how far. A value.

It is the annotations of a Role without rules, `names.MARK` in kube-system, written by `operations mark`. A stack that
finds somebody else's mark, or lost its own state, is told so before it changes anything; admission policies take it as
their parameter.

A Role, because every API server that authorizes by RBAC looks Roles up as long as it runs. Kinds that only a policy's
binding makes it look up, ConfigMaps among them, it forgets as soon as no binding has named them for a second, until it
is restarted (kubernetes/kubernetes#130887); a kind of our own would be unknown to it for half a minute after its start.
Versions before kept the mark in the data of a ConfigMap of the same name.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final, Self

import reading
from migration.guarding.workloads import seal
from migration.names import ANNOTATION_PREFIX
from reading.failure import Failure


class DamagedMark(Failure, ValueError):
    """The mark is not what this program writes."""


_DIGITS = 12
_PREFIX: Final = f"{ANNOTATION_PREFIX}/"
MOST_BYTES: Final = 128 * 1024
"""For the mark's own annotations: all those of an object may have 256 KiB, and the guard's log is one of them."""
_LOG_LINES, _LOG_BYTES = 50, 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What the mark says. In the cluster every value is text."""

    ID: ClassVar[str] = f"{_PREFIX}id"
    """Annotation of the id."""

    id: str
    """Random, made at the stack's first deploy and kept in its state. The only thing that is compared: a stack may be
    renamed, its backend moved."""
    stack: str
    """Name of the stack that wrote last; shown, never compared."""
    deployers: tuple[str, ...] = ()
    """Who may change what is frozen or guarded, see `migration/rules/deployers.py`."""
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
    """Digest of the record of how workloads stood before the move (`workloads.py` beside this file); empty: there is
    none."""

    def dump(self) -> dict[str, str]:
        """Key -> text."""
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

    def annotations(self) -> dict[str, str]:
        """What its Role has."""
        return {f"{_PREFIX}{key}": value for key, value in self.dump().items()}

    @classmethod
    def of(cls, annotations: Mapping[str, str]) -> Self:
        """The mark from the annotations of its Role; others may be among them.

        Raises:
            DamagedMark: naming the key that is missing or wrong.
        """
        return cls.load({k.removeprefix(_PREFIX): v for k, v in annotations.items() if k.startswith(_PREFIX)})

    @classmethod
    def of_earlier(cls, data: Mapping[str, str]) -> Self:
        """The mark from `data` of the ConfigMap of a version before, which held the record of workloads itself.

        Raises:
            DamagedMark: naming the key that is missing or wrong.
        """
        found = cls.load(data)
        return replace(found, workloads=seal(found.workloads))

    @classmethod
    def load(cls, data: Mapping[str, str]) -> Self:
        """The mark from what `dump` made.

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


def kept_log(lines: Sequence[str]) -> str:
    """Of the lines of the guard's log those that are kept: the newest, as many as fit beside the mark."""
    kept: list[str] = []
    size = 0
    for line in reversed(lines[-_LOG_LINES:]):
        size += len(line.encode()) + 1
        if size > _LOG_BYTES:
            break
        kept.insert(0, line)
    return "\n".join(kept)


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
